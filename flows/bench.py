"""What every flow opens first: journal, inventory, lease, bench."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.inventory import load, register_secret_source
from lab.journal import Journal, open_journal
from lab.model import ConfigurationError, InfrastructureError, LabError
from lab.provision import folder_in
from lab.trials import Bench, open_bench

LEASE_SECONDS = 120.0


def _prefect_secret(block: str, where: str) -> str:
    """The value of a Prefect Secret block. Raises ConfigurationError when there is no such block."""
    from prefect.blocks.system import Secret  # only when an inventory asks for one

    try:
        loaded = Secret.load(block)
    except ValueError:
        raise ConfigurationError(
            f"{where}: there is no Prefect Secret block '{block}'",
            help="Create it in the Prefect UI, or by Secret(value=...).save(name).",
        ) from None
    assert isinstance(loaded, Secret)
    return str(loaded.get())


register_secret_source("prefect", _prefect_secret)


def journal_at(data: Path) -> Journal:
    """The journal of a data folder; BUGCHECK_LAB_JOURNAL names another database."""
    data.mkdir(parents=True, exist_ok=True)
    return open_journal(os.environ.get("BUGCHECK_LAB_JOURNAL") or data / "journal.db")


def vault_at(data: Path) -> Path:
    return data / "vault"


def bury_the_dead(journal: Journal, host: str) -> None:
    """Free a lease whose holder ran on this computer and is no more, instead of waiting for its end."""
    for lease in journal.leases():
        computer, _, pid = lease.owner.rpartition(":")
        if lease.host == host and computer == socket.gethostname() and not Path("/proc", pid).exists():
            journal.release(lease)


def nobody_else_on(journal: Journal, case: str, hosts: Collection[str]) -> None:
    """Raises InfrastructureError when somebody else runs a trial of the case on another host than these: two
    searches of one case would not know of each other's trials, and spend its budget twice.
    """
    for running in journal.running_trials():
        if running.case_id == case and running.host not in hosts:
            bury_the_dead(journal, running.host)
            for lease in journal.leases():
                if lease.host == running.host:
                    raise InfrastructureError(
                        f"case {case} is being worked on by {lease.owner}, on {lease.host}",
                        help="Wait until that has ended, or end it; then name all hosts in one command.",
                    )


@contextmanager
def leased(journal: Journal, host: str) -> Iterator[Callable[[], None]]:
    """Hold the lease of a host that may be used, renewed in the background until the block ends.

    Gives a function that raises InfrastructureError when the host is not ours any more.
    """
    bury_the_dead(journal, host)
    lease = journal.acquire(host, f"{socket.gethostname()}:{os.getpid()}", LEASE_SECONDS)
    done = threading.Event()
    trouble: LabError | None = None

    def renew() -> None:
        nonlocal lease, trouble
        try:
            lease, trouble = journal.renew(lease, LEASE_SECONDS), None
        except LabError as error:
            trouble = error

    def keep() -> None:
        while not done.wait(LEASE_SECONDS / 4):
            renew()

    def ours() -> None:
        if trouble is not None:  # a locked journal passes; a lease that was taken over does not
            renew()
        if trouble is not None:
            raise InfrastructureError(f"the lease of {host} was not renewed: {trouble.message}")

    keeper = threading.Thread(target=keep, name=f"lease-{host}", daemon=True)
    keeper.start()
    try:
        yield ours
    finally:
        done.set()
        keeper.join()
        journal.release(lease)


@contextmanager
def bench_for(
    journal: Journal,
    inventory: list[Path],
    host: str,
    case: str,
    data: Path,
    symbols: tuple[str, ...] = (),
) -> Iterator[Bench]:
    """The bench of one expendable host of the inventory, leased. Raises Refused for any other."""
    entry = load(inventory, folder_in(data)).host(host, for_use=True)
    with (
        leased(journal, host) as ours,
        open_bench(entry, journal, case, vault_at(data), symbols=symbols, ours=ours) as bench,
    ):
        yield bench
