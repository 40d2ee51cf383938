"""Dumps of inventory hosts where they lie, on the hosts: which one is meant, and reading it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.markup import escape

from lab.capture import DumpRef, DumpSource, Fetch, RandomAccessFile, ShareSource, Vault, VaultError
from lab.cli.console import errors
from lab.cli.copying import finished, size
from lab.cli.unc import parts
from lab.dumps import RemoteSource
from lab.dumps.source import FileSource, Source
from lab.inventory import Host, Inventory, load
from lab.model import ConfigurationError, DumpError
from lab.provision import folder_in
from lab.trials import dumps_of, target_of


@dataclass(frozen=True)
class RemoteDump:
    """One dump on a host. `symbols` are the host's own, from the inventory."""

    name: str  # "srv1:MEMORY.DMP", or "//srv1/ADMIN$/MEMORY.DMP"
    symbols: tuple[str, ...]
    share: DumpSource
    ref: DumpRef


@contextmanager
def remote_dump(
    inventory: list[Path], host: str | None, dump: str | None, data: Path
) -> Iterator[RemoteDump]:
    """The dump `dump` of a host, else its newest; or without `host` the one at //HOST/SHARE/PATH.

    Nothing is changed on the host. Raises ConfigurationError when the host is not in the inventory or has
    no such dump, and InfrastructureError when its share cannot be read.
    """
    hosts = load(inventory, folder_in(data))
    if host is not None:
        with dump_of_host(hosts.host(host), dump) as found:
            yield found
        return
    assert dump is not None
    server, share, path = parts(dump)
    entry = host_at(hosts, server)
    where = f"//{entry.name}/{share}/{path}"
    with ShareSource(
        target_of(entry), seconds=entry.timeouts.connect, share=share, file=path.replace("/", "\\")
    ) as source:
        ref = next(iter(source.dumps()), None)
        if ref is None:
            raise ConfigurationError(f"there is no {where}", help="Correct the path on that share.")
        yield RemoteDump(where, tuple(map(str, entry.symbols)), source, ref)


@contextmanager
def dump_of_host(host: Host, name: str | None) -> Iterator[RemoteDump]:
    """The newest dump of `host`, or the one called `name`."""
    with dumps_of(host) as share:
        found = share.dumps()
        ref = newest(found) if name is None else named(found, name)
        if ref is None:
            listed = ", ".join(each.name for each in found)
            raise ConfigurationError(
                f"{host.name} has no dump called {name}" if name is not None else f"{host.name} has no dump",
                help=f"It has: {listed}." if listed else "It keeps them as MEMORY.DMP and in Minidump.",
            )
        yield RemoteDump(f"{host.name}:{ref.name}", tuple(map(str, host.symbols)), share, ref)


def host_at(hosts: Inventory, name: str) -> Host:
    """The host of that name or address, compared without case. ConfigurationError when there is not one."""
    wanted = name.casefold()
    every = hosts.hosts.values()
    found = [each for each in every if each.name.casefold() == wanted]
    found = found or [each for each in every if each.address.casefold() == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(
            f"{name} is the address of several hosts: {', '.join(each.name for each in found)}",
            help="Write one of these names in its place.",
        )
    raise ConfigurationError(
        f"no host of {', '.join(map(str, hosts.files))} has the name or the address '{name}'",
        help=f"Add it to the inventory with 'address: {name}' and the account that may read its shares; "
        f"known hosts: {', '.join(sorted(hosts.hosts)) or 'none'}.",
    )


def newest(found: Sequence[DumpRef]) -> DumpRef | None:
    """The dump that was written last."""
    return max(found, key=lambda ref: (ref.modified, ref.name), default=None)


def named(found: Sequence[DumpRef], name: str) -> DumpRef | None:
    """The dump of that name, with its folder or without, compared without case."""
    wanted = name.replace("/", "\\").casefold()
    return next(
        (r for r in found if wanted in (r.name.casefold(), r.name.rpartition("\\")[2].casefold())), None
    )


class Reading:
    """A remote dump while it is read in place, and with a vault its copy in the background.

    What is wrong with the vault is told when everything else is done: an answer needs no copy.
    """

    def __init__(self, remote: RemoteDump, vault: Vault | None) -> None:
        self._remote, self._vault = remote, vault
        self._stack = ExitStack()
        self._fetch: Fetch | None = None
        self._trouble: VaultError | None = None
        self._file: _Counted | None = None  # None: the vault has the dump

    def __enter__(self) -> Reading:
        remote, name = self._remote, escape(self._remote.name)
        if self._vault is not None:
            try:
                self._fetch = self._stack.enter_context(Fetch(remote.share, remote.ref, self._vault))
            except VaultError as error:
                self._trouble = error
        if self._fetch is not None and self._fetch.sha256 is not None:
            assert self._vault is not None
            path = self._vault.path(self._fetch.sha256)
            errors.print(f"[dim]{name} is in the vault: reading {escape(str(path))}[/]", soft_wrap=True)
            self._source: Source = FileSource(path)
        else:
            self._file = _Counted(
                self._fetch.in_place() if self._fetch is not None else remote.share.open(remote.ref)
            )
            self._source = RemoteSource(self._file, remote.ref.length)
            copied = ", copying it in the background" if self._fetch else ""
            errors.print(f"[dim]reading {name} in place{copied}[/]", soft_wrap=True)
            self._start()
        self._stack.callback(self._source.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if isinstance(error, DumpError) and self._fetch is not None:
            self._fetch.discard()  # no dump, or one that is not whole: nobody goes on with that
        self._stack.close()

    def open(self) -> Source:
        """The dump. What one reader has read, the next one does not fetch again."""
        return _Lent(self._source)

    def finish(self) -> None:
        """Tell what was read, and bring the copy to its end. Raises what went wrong with it."""
        if self._file is not None:
            read, length = self._file.bytes_read, self._remote.ref.length
            share = f"{100 * read / max(length, 1):.2g} %"
            errors.print(f"[dim]read {size(read)} of {size(length)} ({share}) before the verdict[/]")
        if self._trouble is not None:
            raise self._trouble
        if self._fetch is not None and self._vault is not None:
            sha256 = finished(self._fetch, self._remote.name)
            errors.print(f"{escape(str(self._vault.path(sha256)))}\nSHA-256 {sha256}", soft_wrap=True)

    def _start(self) -> None:
        if self._fetch is not None:
            try:
                self._fetch.start()
            except VaultError as error:
                self._trouble = error


class _Counted:
    """A file that counts what is read of it."""

    def __init__(self, file: RandomAccessFile) -> None:
        self._file = file
        self.bytes_read = 0

    def read_at(self, offset: int, size: int) -> bytes:
        data = self._file.read_at(offset, size)
        self.bytes_read += len(data)
        return data

    def close(self) -> None:
        self._file.close()


class _Lent:
    """A source that stays open when its borrower closes it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = source.size
        self.read = source.read

    def close(self) -> None:
        """It is closed by whoever lent it."""
