"""From figures to the rows of the table: what they are against the goals, and against other searches."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.analyser import Row
from benchmarks.bisect_cells import BASE, CHOICE, MISFITS, OTHERS, SYSTEM, name_of
from benchmarks.bisect_figures import EARLY, OURS, SEARCH, Table
from benchmarks.bisect_peers.bound import bound
from benchmarks.bisect_scenarios import ALWAYS, Cell


def rows_of(table: Table) -> list[Row]:
    """Those whose cells were run. Rows with a goal first."""
    rows = [
        *_culprits(table),
        *_hosts(table),
        *_truths(table),
        *_few(table),
        *_choice(table),
        *_stated(table),
    ]
    return [*(row for row in rows if row.goal), *(row for row in rows if not row.goal), *_each_peer(table)]


@dataclass(frozen=True)
class Goal:
    """At most so many, medians but for `mean`, which is a multiple of the bound."""

    cell: Cell
    trials: float
    minutes: float | None = None
    mean: float | None = None


GOALS = (
    Goal(Cell(64, "single", 0.5, 0.0), 16, 290, 1.45),
    Goal(Cell(64, "single", 0.5, 0.02), 17, 305),
    Goal(Cell(64, "single", 1.0, 0.0), 9),
    Goal(Cell(64, "single", 0.2, 0.02), 40),
    Goal(Cell(64, "pair", 0.5, 0.0), 38, 800),
)


def _culprits(table: Table) -> Iterator[Row]:
    for goal in GOALS:
        key = name_of(goal.cell)
        if not table.has(key):
            continue
        for part, words, judged in ((OURS, "confirmed", True), (SEARCH, "search alone", False)):
            mine, best = table.figures(key, part), table.best_peer(key)
            who, theirs = best or ("", None)
            yield Row(
                f"{key}: trials; wrong; {words}",
                f"{mine.trials:.0f}; {mine.wrong_words}",
                f"{theirs.trials:.0f}; {theirs.wrong_words}" if theirs else "",
                who,
                _two(theirs.trials / mine.trials) if theirs else None,
                f"≤ {goal.trials:g}; ≤ 1 %" if judged else "",
                mine.trials <= goal.trials and mine.wrong <= 0.01 if judged else None,
            )
            most = goal.minutes if judged else None
            yield Row(
                f"{key}: machine minutes, {words}",
                f"{mine.minutes:.0f}",
                f"{theirs.minutes:.0f}" if theirs else "",
                who,
                _two(theirs.minutes / mine.minutes) if theirs else None,
                f"≤ {most:g}" if most else "",
                mine.minutes <= most if most else None,
            )
            limit = bound(goal.cell.n, min(goal.cell.p, ALWAYS), goal.cell.q, goal.cell.truth).minutes
            times = goal.mean if judged else None
            yield Row(
                f"{key}: mean of machine minutes, {words}",
                f"{mine.mean:.0f}",
                f"{limit:.0f}",
                "bound of information",
                _two(limit / mine.mean),
                f"≤ {times:g} × the bound" if times else "",
                mine.mean <= times * limit if times else None,
            )


def _hosts(table: Table) -> Iterator[Row]:
    one, four = (name_of(Cell(64, "single", 0.5, 0.0, hosts=hosts)) for hosts in (1, 4))
    if not table.has(one, four):
        return
    many = table.figures(four)
    alone = table.figures(one, first=many.count)
    assert alone.clock and many.clock and alone.whole and many.whole
    faster, dearer = alone.clock / many.clock, many.whole / alone.whole
    yield Row(
        "Four hosts: minutes on the clock, from the first trial to the confirmed answer",
        f"{many.clock:.0f}, {faster:.2f} times faster",
        goal="≥ 3.4 times faster",
        met=faster >= 3.4,
    )
    yield Row(
        "Four hosts: machine minutes from the first trial to the confirmed answer; wrong",
        f"{many.whole:.0f}, {dearer:.2f} × one host's; {many.wrong_words}",
        goal="≤ 1.15 × one host's; ≤ 1 %",
        met=dearer <= 1.15 and many.wrong <= 0.01,
    )


def _truths(table: Table) -> Iterator[Row]:
    base = name_of(BASE)
    for key in (SYSTEM, *OTHERS):
        if table.has(key):
            mine = table.figures(key)
            judged = key == SYSTEM
            yield Row(
                f"{_capital(key)}: machine minutes; wrong; confirmed",
                f"{mine.minutes:.0f}; {mine.wrong_words}",
                goal="≤ 2 % wrong" if judged else "",
                met=mine.wrong <= 0.02 if judged else None,
            )
    for key in MISFITS:
        if table.has(base, key):
            mine = table.figures(key)
            more = mine.minutes / table.figures(base).minutes
            yield Row(
                f"{_capital(key)}: machine minutes; wrong; confirmed",
                f"{mine.minutes:.0f}, {more:.2f} × the usual case; {mine.wrong_words}",
                goal="≤ 1.5 × the usual case; ≤ 1.5 %",
                met=more <= 1.5 and mine.wrong <= 0.015,
            )


def _few(table: Table) -> Iterator[Row]:
    """The worst cell of eight drivers, by the share of the best peer's minutes."""
    for truth in ("single", "pair"):
        keys = [name_of(Cell(8, truth, p, q)) for p in (1.0, 0.8, 0.5, 0.2) for q in (0.0, 0.02)]
        keys = [key for key in keys if table.has(key) and table.best_peer(key)]
        for part, words in ((EARLY, "search to 95 %, as sure as the others"), (OURS, "confirmed")):
            found = []
            for key in keys:
                best = table.best_peer(key)
                assert best
                mine = table.figures(key, part).minutes
                found.append((best[1].minutes / mine, key, mine, best))
            if not found:
                continue
            ratio, key, mine, (who, theirs) = min(found)
            judged = part == EARLY
            yield Row(
                f"The worst of {len(keys)} cells like it: {key}: machine minutes, {words}", f"{mine:.0f} min",
                f"{theirs.minutes:.0f} min", who, _two(ratio),
                "≤ 5 % behind the best peer" if judged else "", ratio >= 1 / 1.05 if judged else None,
            )  # fmt: skip


def _choice(table: Table) -> Iterator[Row]:
    if table.choices:
        spent = statistics.median(table.choices)
        name = f"{_capital(CHOICE)} drivers with all pairs: CPU from what was seen to the next trial"
        yield Row(name, f"{1000 * spent:.0f} ms", goal="≤ 100 ms", met=spent <= 0.1)


def _stated(table: Table) -> Iterator[Row]:
    count, stated, true = table.first
    if count:
        right = true / count
        said = f"{100 * right:.2f} ± {200 * math.sqrt(right * (1 - right) / count):.2f} %"
        name = f"Stated 99 % (on average {100 * stated / count:.1f} %) is right, of {count:,.0f} statements"
        yield Row(name, said, goal="98.5 to 99.5 %", met=0.985 <= right <= 0.995)


def _each_peer(table: Table) -> Iterator[Row]:
    for key, cell in table.cell.items():
        words = "wall clock" if cell.hosts > 1 else "machine minutes"
        for who, theirs in table.peers(key).items():
            each = (table.figures(key), theirs)
            costs = [one.wall if cell.hosts > 1 else one.minutes for one in each]
            ours, other = (
                f"{cost:.0f} min; {one.wrong_words} wrong" for cost, one in zip(costs, each, strict=True)
            )
            yield Row(f"{_capital(key)}: {words}, confirmed", ours, other, who, _two(costs[1] / costs[0]))


def _two(value: float) -> float:
    return round(value, 2)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
