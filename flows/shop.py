"""What provisioning opens first: pool, plan, shop and desk. Like `flows.bench`, without Prefect."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

from flows.bench import bury_the_dead, leased
from lab.inventory import Host, Inventory, Pool
from lab.journal import Journal
from lab.model import ConfigurationError
from lab.provision import (
    Desk,
    HostFiles,
    Lab,
    Plan,
    Shop,
    StoppingClock,
    examine,
    folder_in,
    make_plan,
    maker_for,
    pool_for,
)
from lab.provision.act import TellOf
from lab.smb import connect
from lab.trials import dumps_of, restore, target_of

PAST = 20
"""Hosts of a pool whose times say how long the next one takes."""


def pool_called(what: str, inventory: Inventory, journal: Journal) -> Pool:
    """The pool of that name, else the one that fits the case of that id.

    Raises ConfigurationError when it is neither, or when no pool fits the case.
    """
    if what in inventory.pools:
        return inventory.pools[what]
    try:
        case = journal.case(what)
    except ConfigurationError as error:
        known = ", ".join(sorted(inventory.pools)) or "none"
        raise ConfigurationError(
            f"'{what}' is neither a pool of the inventory nor a case of the journal",
            help=f"Known pools: {known}. {error.help}",
        ) from None
    return pool_for(case, inventory.pools)


def open_shop(
    pool: Pool, inventory: Inventory, data: Path, journal: Journal, tell: TellOf = lambda name, text: None
) -> Shop:
    clock = StoppingClock()
    return Shop(
        pool=pool,
        maker=maker_for(pool, inventory, _lab(data, journal), clock),
        journal=journal,
        files=HostFiles(folder_in(data), inventory.controllers),
        hold=lambda name: leased(journal, name),
        examine=lambda host: examine(host, pool, open_share, clock, open_dumps=open_dumps),
        owner=f"{getpass.getuser()}@{socket.gethostname()}",
        tell=tell,
        clock=clock,
    )


def open_desk(
    inventory: Inventory, data: Path, journal: Journal, tell: TellOf = lambda name, text: None
) -> Desk:
    def put_back(name: str) -> None:
        restore(inventory.host(name, for_use=True), journal)

    lab = _lab(data, journal)
    return Desk(
        journal=journal,
        files=HostFiles(folder_in(data), inventory.controllers),
        maker=lambda name: maker_for(inventory.pool(name), inventory, lab, StoppingClock()),
        hold=lambda name: leased(journal, name),
        put_back=put_back,
        tell=tell,
    )


def _lab(data: Path, journal: Journal) -> Lab:
    return Lab(journal.lab_id(), folder_in(data))


def plan_for(shop: Shop, inventory: Inventory, wanted: int) -> Plan:
    """What there is, looked up now, as a plan. Changes nothing."""
    pool, journal = shop.pool, shop.journal
    busy: dict[str, str] = {}
    out: list[str] = []
    for lease in journal.leases():
        bury_the_dead(journal, lease.host)
    for lease in journal.leases():
        busy[lease.host] = f"leased by {lease.owner} until {lease.expires}"
    for entry in journal.provisions():
        state = f"handed out to {entry.owner}" if entry.ready else f"half-made by {entry.owner}"
        busy[entry.host] = f"{state} since {entry.ready or entry.intended}"
        out += [entry.host] if entry.pool == pool.name else []
    past = journal.provision_seconds(pool.name)[-PAST:]
    stock = shop.maker.stock()
    changed = {entry.host for entry in journal.undo_pending()}
    for each in stock.candidates:
        if each.name in changed and not each.obstacle and not shop.maker.wipes(each.name):
            busy.setdefault(
                each.name, f"changed by an earlier run: 'lab host restore {each.name}' puts it back"
            )
    return make_plan(pool, wanted, stock, out=out, busy=busy, hosts=inventory.hosts, past=past)


def open_share(host: Host, share: str) -> None:
    connect(target_of(host), share, seconds=host.timeouts.connect).close()


def open_dumps(host: Host) -> None:
    with dumps_of(host) as source:
        source.dumps()
