"""From a pool, a number and what exists to a plan: what will be done, what is missing, how long. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from lab.inventory import Pool
from lab.model import ConfigurationError, InfrastructureError, LabError, Refused
from lab.provision.maker import Candidate, Stock

GUESS = 900.0
"""Seconds for one host when nothing better is known: a restore or a clone, a boot, and a look at it."""

AT_ONCE = 8
"""Hosts that are made at the same time."""

NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Planned:
    """One host, and what will be done to have it."""

    name: str
    how: str


@dataclass(frozen=True)
class Plan:
    """What `lab provision` would do. `problem` says why it cannot be done; then nothing may be touched."""

    pool: str
    wanted: int
    hosts: tuple[Planned, ...]
    left_out: tuple[Candidate, ...]  # those with an obstacle
    seconds: float
    seconds_from: str
    warnings: tuple[str, ...] = ()
    problem: LabError | None = None

    def check(self) -> None:
        """Raise the problem, if there is one."""
        if self.problem is not None:
            raise self.problem


def make_plan(
    pool: Pool,
    wanted: int,
    stock: Stock,
    *,
    out: Sequence[str] = (),
    busy: Mapping[str, str] = NOBODY,
    hosts: Iterable[str] = (),
    past: Sequence[float] = (),
) -> Plan:
    """`out` are the pool's hosts that were handed out or are being made: they count against its `most`.

    `busy` are hosts that cannot be had, each with the reason for a person. `hosts` are all names of the
    inventory, which a fresh host cannot have. `past` is how many seconds hosts of this pool took.
    """
    candidates = [_with_obstacle(each, busy) for each in stock.candidates]
    free = [Planned(each.name, each.how) for each in candidates if not each.obstacle]
    if stock.fresh:
        taken = {name.casefold() for name in (*hosts, *busy, *out, *stock.taken)}
        free += [Planned(name, stock.fresh) for name in _fresh_names(pool.name, taken, wanted)]
    chosen = tuple(free[: max(wanted, 0)])
    left_out = tuple(each for each in candidates if each.obstacle)
    seconds, seconds_from = _how_long(pool, wanted, past)
    problem = _too_many(pool, wanted, out) or _problem(pool, wanted, stock, chosen, left_out)
    return Plan(pool.name, wanted, chosen, left_out, seconds, seconds_from, stock.warnings, problem)


def _too_many(pool: Pool, wanted: int, out: Sequence[str]) -> LabError | None:
    if wanted < 1:
        return ConfigurationError(f"{wanted} hosts cannot be provisioned", help="Ask for one or more.")
    if len(out) + wanted <= pool.most:
        return None
    already = f", of which are out {len(out)} ({', '.join(out)})" if out else ""
    return ConfigurationError(
        f"pool '{pool.name}' gives {pool.most} hosts at most{already}, and {wanted} were asked for",
        help="Hand some back by 'lab provision return', ask for fewer, or raise 'most' of the pool.",
    )


def _with_obstacle(candidate: Candidate, busy: Mapping[str, str]) -> Candidate:
    if candidate.obstacle or candidate.name not in busy:
        return candidate
    return Candidate(candidate.name, candidate.how, busy[candidate.name])


def _fresh_names(pool: str, taken: set[str], wanted: int) -> list[str]:
    """The lowest numbers that are free: a name that was handed back is used again."""
    found: list[str] = []
    number = 0
    while len(found) < wanted:
        number += 1
        if f"{pool}-{number}".casefold() not in taken:
            found.append(f"{pool}-{number}")
    return found


def _how_long(pool: Pool, wanted: int, past: Sequence[float]) -> tuple[float, str]:
    rounds = math.ceil(max(wanted, 1) / AT_ONCE)
    if pool.make_seconds is not None:
        return pool.make_seconds * rounds, "make_seconds of the pool"
    if past:
        hosts = "host" if len(past) == 1 else "hosts"
        return statistics.median(past) * rounds, f"the median of {len(past)} {hosts} of this pool before"
    return GUESS * rounds, "a guess: this pool has made no host yet"


def _problem(
    pool: Pool, wanted: int, stock: Stock, chosen: Sequence[Planned], left_out: Sequence[Candidate]
) -> LabError | None:
    if stock.fresh and not pool.expendable:
        return Refused(
            f"pool '{pool.name}' is not marked 'expendable: true', so its hosts may not be crashed"
        )
    if stock.missing:
        first, *others = stock.missing
        also = f" Also: {'; '.join(others)}." if others else ""
        return ConfigurationError(first, help=f"Correct pool '{pool.name}' in the inventory.{also}")
    if stock.room is not None and stock.fresh and stock.room < wanted:
        return InfrastructureError(
            f"there is room for {stock.room} of the {wanted} hosts that were asked of pool '{pool.name}': "
            f"{stock.room_because}",
            help="Ask for fewer, or make room.",
        )
    if len(chosen) < wanted:
        why = "; ".join(f"{each.name}: {each.obstacle}" for each in left_out)
        return InfrastructureError(
            f"pool '{pool.name}' has {len(chosen)} free of the {wanted} hosts that were asked for"
            + (f" ({why})" if why else ""),
            help="Ask for fewer, wait until hosts are free, or hand some back by 'lab provision return'.",
        )
    return None
