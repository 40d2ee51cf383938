"""Hosts by number as a flow: the plan, then each host a task."""

from __future__ import annotations

import threading
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.bench import journal_at
from flows.shop import open_desk, open_shop, plan_for, pool_called
from lab.inventory import load
from lab.provision import Made, Plan, Planned, Shop, folder_in, make_one, reap


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan(shop: Shop, inventory: list[Path], data: Path, count: int) -> Plan:
    found = plan_for(shop, load(inventory, folder_in(data)), count)
    rows = [{"host": each.name, "what": each.how} for each in found.hosts]
    rows += [{"host": each.name, "what": f"not: {each.obstacle}"} for each in found.left_out]
    create_table_artifact(rows, key="provision-plan", description=f"{count} of {found.pool}")
    found.check()
    return found


@task(name="host", task_run_name="host: {planned.name}", cache_policy=NO_CACHE, persist_result=False)
def host(shop: Shop, planned: Planned, turn: threading.Semaphore) -> Made:
    """One host. Not retried here: a host that is not fit is not made fit by trying again."""
    with turn:
        if shop.clock.stopped.is_set():
            raise KeyboardInterrupt
        made = make_one(shop, planned)
    if made.error is not None:
        raise made.error
    return made


@flow(name="provision", flow_run_name="provision-{what}", persist_result=False)
def provision(what: str, inventory: list[Path], count: int = 1, data: Path = Path("lab-data")) -> list[str]:
    """Hand out `count` hosts of a pool, or of the pool that fits a case. Returns their names.

    What dead processes left half-made in this pool is taken back first. The first error of a host passes
    through after the others have ended; those that are ready stay handed out.
    """
    journal = journal_at(data)
    known = load(inventory, folder_in(data))
    pool = pool_called(what, known, journal)
    for _ in reap(open_desk(known, data, journal), pool.name):
        pass
    shop = open_shop(pool, known, data, journal)
    planned = plan(shop, inventory, data, count)
    turn = threading.Semaphore(planned.at_once)
    try:
        futures = [host.submit(shop, each, turn) for each in planned.hosts]
        for future in futures:
            future.wait()
    except BaseException:  # cancelled: what is half-made is taken back before the run ends
        shop.clock.stop()
        raise
    rows = [
        {"host": each.name, "state": future.state.name}
        for each, future in zip(planned.hosts, futures, strict=True)
    ]
    create_table_artifact(rows, key="provisioned", description=f"{count} of {pool.name}")
    return [future.result().name for future in futures]
