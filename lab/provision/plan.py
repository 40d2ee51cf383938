"""From a pool, a number and what exists to a plan: what will be done, what is missing, how long. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from lab.inventory import Pool
from lab.model import ConfigurationError, InfrastructureError, LabError, Refused
from lab.provision.maker import AT_ONCE, MOST_TOLD, Candidate, Stock, first

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
    at_once: int = AT_ONCE

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
    seconds, seconds_from = _how_long(pool, wanted, stock, past)
    problem = (
        _never(pool, wanted)
        or _wrong(pool, stock)
        or _too_few(pool, wanted, chosen, left_out, out)
        or _no_room(pool, wanted, stock)
    )
    return Plan(
        pool.name,
        wanted,
        chosen,
        left_out,
        seconds,
        seconds_from,
        stock.warnings,
        problem,
        stock.at_once,
    )


def _never(pool: Pool, wanted: int) -> LabError | None:
    """What nothing but another number, or another pool, would change."""
    if wanted < 1:
        return ConfigurationError(f"{wanted} hosts cannot be provisioned", help="Ask for one or more.")
    if pool.members and wanted > len(pool.members):
        return ConfigurationError(
            f"pool '{pool.name}' has {_count(len(pool.members), 'member')}, and {wanted} were asked for",
            help="Ask for fewer, or name more hosts in 'members' of the pool.",
        )
    if wanted > pool.most:
        return ConfigurationError(
            f"pool '{pool.name}' gives {_count(pool.most, 'host')} at most, and {wanted} were asked for",
            help="Ask for fewer, or raise 'most' of the pool.",
        )
    return None


def _with_obstacle(candidate: Candidate, busy: Mapping[str, str]) -> Candidate:
    if candidate.obstacle or candidate.name not in busy:
        return candidate
    return replace(candidate, obstacle=busy[candidate.name])


def _fresh_names(pool: str, taken: set[str], wanted: int) -> list[str]:
    """The lowest numbers that are free: a name that was handed back is used again."""
    found: list[str] = []
    number = 0
    while len(found) < wanted:
        number += 1
        if f"{pool}-{number}".casefold() not in taken:
            found.append(f"{pool}-{number}")
    return found


def _how_long(pool: Pool, wanted: int, stock: Stock, past: Sequence[float]) -> tuple[float, str]:
    rounds = math.ceil(max(wanted, 1) / stock.at_once)
    if pool.make_seconds is not None:
        return pool.make_seconds * rounds, "make_seconds of the pool"
    if past:
        hosts = "host" if len(past) == 1 else "hosts"
        return statistics.median(past) * rounds, f"the median of {len(past)} {hosts} of this pool before"
    return stock.seconds * rounds, "a guess: this pool has made no host yet"


def _wrong(pool: Pool, stock: Stock) -> LabError | None:
    """What is wrong with the pool itself."""
    if stock.fresh and not pool.expendable:
        return Refused(
            f"pool '{pool.name}' is not marked 'expendable: true', so its hosts may not be crashed"
        )
    if stock.problem is not None:
        return stock.problem
    if stock.missing:
        missing, *others = stock.missing
        also = f" Also: {'; '.join(others)}." if others else ""
        return ConfigurationError(missing, help=f"Correct pool '{pool.name}' in the inventory.{also}")
    return None


def _too_few(
    pool: Pool,
    wanted: int,
    chosen: Sequence[Planned],
    left_out: Sequence[Candidate],
    out: Sequence[str],
) -> LabError | None:
    """Too few are free. Bad input when waiting would not help: too many members cannot be had as they are."""
    wrong = [each for each in left_out if each.correct]
    if pool.members and len(pool.members) - len(wrong) < wanted:
        corrections = list(dict.fromkeys(each.correct for each in wrong))
        return ConfigurationError(
            f"pool '{pool.name}' cannot give {_count(wanted, 'host')}: {_obstacles(left_out)}",
            help=" ".join(first(corrections, "The others likewise.")),
        )
    were = "was" if wanted == 1 else "were"
    if len(out) + wanted > pool.most:
        return InfrastructureError(
            f"pool '{pool.name}' gives {_count(pool.most, 'host')} at most, of which are out {len(out)} "
            f"({', '.join(first(out, '…'))}), and {wanted} more {were} asked for",
            help="Hand some back by 'lab provision return', ask for fewer, or raise 'most' of the pool.",
        )
    if len(chosen) < wanted:
        return InfrastructureError(
            f"pool '{pool.name}' has {len(chosen)} free of the {_count(wanted, 'host')} that "
            f"{were} asked for: {_obstacles(left_out)}",
            help="Ask for fewer, wait until hosts are free, or hand some back by 'lab provision return'.",
        )
    return None


def _no_room(pool: Pool, wanted: int, stock: Stock) -> LabError | None:
    if stock.room is None or not stock.fresh or stock.room >= wanted:
        return None
    return InfrastructureError(
        f"there is room for {stock.room} of the {_count(wanted, 'host')} that were asked of pool "
        f"'{pool.name}': {stock.room_because}",
        help="Ask for fewer, or make room.",
    )


def _obstacles(left_out: Sequence[Candidate]) -> str:
    """Hosts with the same obstacle are named together."""
    names: dict[str, list[str]] = {}
    for each in left_out:
        names.setdefault(each.obstacle, []).append(each.name)
    told = [f"{', '.join(first(some, '…'))}: {obstacle}" for obstacle, some in names.items()]
    return "; ".join(first(told, f"and {len(told) - MOST_TOLD} more"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
