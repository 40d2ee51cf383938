"""Everything one trial needs of one host, opened once and closed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.capture import ShareSource, Vault
from lab.inventory import Host
from lab.journal import Journal
from lab.machines import Machine, open_machine
from lab.model import Boot, Clock, Driver, EntryKind, SystemClock
from lab.smb import SmbTarget
from lab.symbols import SymbolStore, symbol_store
from lab.trials.dumps import dumps_of
from lab.trials.halt import Halt, HaltingClock
from lab.trials.host_shell import HostShell
from lab.trials.target import target_of
from lab.windows import Guest, open_guest

if TYPE_CHECKING:
    from lab.capture.sftp import SftpSource


@dataclass
class Bench:
    """One host on the bench. `case` is the id that journal entries go to."""

    host: Host
    machine: Machine
    guest: Guest
    target: SmbTarget
    vault: Vault
    symbols: SymbolStore
    journal: Journal
    case: str
    ours: Callable[[], None] = lambda: None  # raises InfrastructureError when the lease is lost
    clock: Clock = field(default_factory=SystemClock)
    trial: int | None = None  # the running one, so that entries carry its number
    halt: Halt = field(default_factory=Halt)  # to end what is done here from another thread
    found: tuple[Driver, ...] = ()  # this host's drivers as found, once it was examined
    build: int = 0  # its Windows', likewise
    loaded: str = ""  # identity of the last boot that was under load

    def tell(self, kind: EntryKind, text: str) -> None:
        """One line into the journal of the case."""
        self.journal.note(self.case, kind, text, self.trial)

    def dumps(self) -> ShareSource | SftpSource:
        return dumps_of(self.host)

    def shell_beside_load(self, boot: Boot) -> HostShell:
        """A shell of its own, so that a look at the host that hangs holds nothing else up. Close it."""
        return HostShell(open_guest(self.host, self.clock), boot.identity)


@contextmanager
def open_bench(
    host: Host,
    journal: Journal,
    case: str,
    vault: Path,
    *,
    symbols: tuple[str | Path, ...] = (),
    ours: Callable[[], None] = lambda: None,
) -> Iterator[Bench]:
    """Open a host of the inventory. Nothing is changed on it; connections are made when first needed.

    `ours` raises InfrastructureError once the caller's lease of the host is lost.
    """
    halt = Halt()
    clock = HaltingClock(halt)
    with open_guest(host, clock) as guest:
        yield Bench(
            host=host,
            machine=open_machine(host, clock),
            guest=guest,
            target=target_of(host),
            vault=Vault(vault),
            symbols=symbol_store((*symbols, *host.symbols)),
            journal=journal,
            case=case,
            ours=ours,
            clock=clock,
            halt=halt,
        )
