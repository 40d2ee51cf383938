"""What every flow opens first: journal, inventory, lease, bench."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.inventory import Inventory, load, register_secret_source
from lab.journal import Journal, open_journal
from lab.model import ConfigurationError
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


def _bury_the_dead(journal: Journal, host: str) -> None:
    """Free a lease whose holder ran on this computer and is no more, instead of waiting for its end."""
    for lease in journal.leases():
        computer, _, pid = lease.owner.rpartition(":")
        if lease.host == host and computer == socket.gethostname() and not Path("/proc", pid).exists():
            journal.release(lease)


@contextmanager
def leased(journal: Journal, inventory: list[Path], host: str) -> Iterator[None]:
    """Hold the lease of a host, renewed in the background until the block ends."""
    load(inventory).host(host, for_use=True)
    _bury_the_dead(journal, host)
    lease = journal.acquire(host, f"{socket.gethostname()}:{os.getpid()}", LEASE_SECONDS)
    done = threading.Event()

    def renew() -> None:
        nonlocal lease
        while not done.wait(LEASE_SECONDS / 4):
            lease = journal.renew(lease, LEASE_SECONDS)

    keeper = threading.Thread(target=renew, name=f"lease-{host}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        journal.release(lease)


@contextmanager
def bench_for(journal: Journal, inventory: list[Path], host: str, case: str, data: Path) -> Iterator[Bench]:
    """The bench of one expendable host of the inventory. Raises Refused for any other."""
    entries: Inventory = load(inventory)
    with open_bench(entries.host(host, for_use=True), journal, case, vault_at(data)) as bench:
        yield bench
