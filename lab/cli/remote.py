"""A dump of an inventory host, read where it lies: over the host's share, without a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.capture import DumpRef, ShareSource
from lab.dumps import RemoteSource
from lab.inventory import load
from lab.model import ConfigurationError
from lab.trials import target_of


@dataclass(frozen=True)
class RemoteDump:
    """One dump on a host's share. `symbols` are the host's own, from the inventory."""

    name: str  # "srv1:MEMORY.DMP"
    symbols: tuple[str, ...]
    share: ShareSource
    ref: DumpRef

    def open(self) -> RemoteSource:
        """The file as a source of bytes; whoever opens it closes it."""
        return RemoteSource(self.share.open(self.ref), self.ref.length)


@contextmanager
def dump_of_host(inventory: list[Path], host: str, name: str | None) -> Iterator[RemoteDump]:
    """The newest dump of `host`, or the one called `name`. Nothing is changed on the host.

    Raises ConfigurationError when the host is not in the inventory or has no such dump, and
    InfrastructureError when its share cannot be read.
    """
    entry = load(inventory).host(host)
    with ShareSource(target_of(entry), seconds=entry.timeouts.connect) as share:
        found = share.dumps()
        ref = newest(found) if name is None else named(found, name)
        if ref is None:
            listed = ", ".join(each.name for each in found)
            raise ConfigurationError(
                f"{host} has no dump called {name}" if name is not None else f"{host} has no dump",
                help=f"It has: {listed}." if listed else "It keeps them as MEMORY.DMP and in Minidump.",
            )
        yield RemoteDump(f"{host}:{ref.name}", tuple(map(str, entry.symbols)), share, ref)


def newest(found: Sequence[DumpRef]) -> DumpRef | None:
    """The dump that was written last."""
    return max(found, key=lambda ref: (ref.modified, ref.name), default=None)


def named(found: Sequence[DumpRef], name: str) -> DumpRef | None:
    """The dump of that name, with its folder or without, compared without case."""
    wanted = name.replace("/", "\\").casefold()
    return next(
        (r for r in found if wanted in (r.name.casefold(), r.name.rpartition("\\")[2].casefold())), None
    )
