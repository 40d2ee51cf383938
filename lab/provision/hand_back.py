"""Hosts handed back, and what dead processes left half-made taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.journal import Journal, Provision
from lab.model import ConfigurationError, LabError
from lab.provision.act import Hold, TellOf
from lab.provision.maker import Maker
from lab.provision.store import HostFiles

MakerOf = Callable[[str], Maker]
"""Opens the maker of the pool of that name. Raises ConfigurationError when the inventory has none."""

PutBack = Callable[[str], None]
"""Puts the host of that name back as the journal says its guest was found; raises LabError."""


@dataclass(frozen=True)
class Desk:
    """What handing back needs."""

    journal: Journal
    files: HostFiles
    maker: MakerOf
    hold: Hold
    put_back: PutBack
    tell: TellOf = lambda name, text: None


@dataclass(frozen=True)
class Reaped:
    """One half-made host that was looked at. `kept` says why it was left; "" when nothing is left of it."""

    name: str
    pool: str
    kept: str = ""


def hand_back(desk: Desk, name: str) -> None:
    """Give a host back clean: what was changed in its guest, then the host itself, its file, its entry.

    Interrupted at any point it is simply done again. Raises ConfigurationError when it is not handed out,
    InfrastructureError while somebody uses it, and what fails on the way; the entry then stays.
    """
    entry = _entry(desk.journal, name)
    maker = desk.maker(entry.pool)
    with desk.hold(name):
        _clear(desk, entry, maker)


def reap(desk: Desk, pool: str | None = None) -> Iterator[Reaped]:
    """Take back what processes that are no more left half-made, one at a time; of one pool, or of all."""
    for entry in desk.journal.provisions():
        if entry.ready is not None or pool not in (None, entry.pool):
            continue
        try:
            with desk.hold(entry.host):
                if any(each.id == entry.id and each.ready is None for each in desk.journal.provisions()):
                    _clear(desk, entry, desk.maker(entry.pool))
        except LabError as error:
            yield Reaped(entry.host, entry.pool, error.message)
        else:
            yield Reaped(entry.host, entry.pool)


def _clear(desk: Desk, entry: Provision, maker: Maker) -> None:
    name = entry.host
    changed = desk.journal.undo_pending(name)
    if changed and not maker.wipes(name):
        desk.tell(name, "putting its guest back as it was found")
        desk.put_back(name)
    maker.unmake(name, lambda text: desk.tell(name, text))
    for each in changed:
        desk.journal.undo_done(each.id)
    desk.files.remove(name)
    desk.journal.provision_end(entry.id)


def _entry(journal: Journal, name: str) -> Provision:
    known = journal.provisions()
    found = next((each for each in known if each.host == name), None)
    if found is None:
        names = ", ".join(each.host for each in known) or "none"
        raise ConfigurationError(f"host '{name}' is not provisioned", help=f"Provisioned hosts: {names}.")
    return found
