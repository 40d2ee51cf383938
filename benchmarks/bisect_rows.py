"""From what was run to the rows of the table: figures of each cell, and what they are against the goals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.analyser import Row
from benchmarks.bisect_cells import BASE, CHOICE, MISFITS, Work, name_of
from benchmarks.bisect_peers.bound import bound
from benchmarks.bisect_run import BINS, PEERS
from benchmarks.bisect_scenarios import ALWAYS, Cell

OURS, SEARCH = "ours", "ours, search alone"
"""To the confirmed answer; until the search is 99 % certain for the first time. The others never confirm."""
TOLERATED = 0.05
"""The best peer is the fastest of those that are not wrong more often than they aim to be."""

Run = dict[str, float]


@dataclass(frozen=True)
class Figures:
    """Of `count` searches. Minutes of machine time; `wall` on all hosts at once; `wrong` is a share."""

    count: int
    trials: float
    trials_95: float
    minutes: float
    minutes_95: float
    mean: float
    wall: float
    wrong: float
    baseline: float | None = None

    @classmethod
    def of(cls, runs: Sequence[Run], prefix: str = "") -> Figures:
        trials, seconds = ([run[f"{prefix}{name}"] for run in runs] for name in ("trials", "machine"))
        wrong = sum(not run[f"{prefix}right"] for run in runs) / len(runs)
        baselines = [run["baseline"] / 60 for run in runs if "baseline" in run]
        return cls(
            len(runs), statistics.median(trials), _late(trials), statistics.median(seconds) / 60,
            _late(seconds) / 60, statistics.fmean(seconds) / 60,
            statistics.median(run["wall"] for run in runs) / 60, wrong,
            statistics.fmean(baselines) if baselines else None,
        )  # fmt: skip

    @property
    def wrong_words(self) -> str:
        """In percent, with twice its standard deviation."""
        return f"{100 * self.wrong:.1f} ± {200 * math.sqrt(self.wrong * (1 - self.wrong) / self.count):.1f} %"


@dataclass
class Table:
    """All that was run. `runs` by (name of the cell, who); `stated` and `choices` are kinds of their own."""

    cell: dict[str, Cell] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)
    choices: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=lambda: [0, 0.0, 0])
    bins: list[list[float]] = field(default_factory=lambda: [[0, 0.0, 0] for _ in range(BINS)])

    @classmethod
    def of(cls, results: Iterable[tuple[Work, str, dict[str, Any]]]) -> Table:
        table = cls()
        for work, who, result in results:
            table.cell[work.key] = work.cell
            if who == "choice":
                table.choices += result["seconds"]
            elif who == "stated":
                for mine, more in zip(
                    [table.first, *table.bins], [result["first"], *result["bins"]], strict=True
                ):
                    mine[:] = [a + b for a, b in zip(mine, more, strict=True)]
            else:
                runs = (dict(zip(result["columns"], run, strict=True)) for run in result["runs"])
                table.runs.setdefault((work.key, who), []).extend(runs)
        return table

    @property
    def stated(self) -> dict[str, Any]:
        """Counts of what was stated: [how often, sum of the probabilities, how often true]."""
        return {"first certain": self.first, "after each trial": self.bins}

    def figures(self, key: str, who: str = OURS, *, first: int | None = None) -> Figures:
        runs = self.runs[key, OURS if who == SEARCH else who][:first]
        return Figures.of(runs, "search_" if who == SEARCH else "")

    def peers(self, key: str) -> dict[str, Figures]:
        return {who: self.figures(key, who) for who in PEERS if (key, who) in self.runs}

    def best_peer(self, key: str) -> tuple[str, Figures] | None:
        """On one host; by machine minutes."""
        able = [(found.minutes, who) for who, found in self.peers(key).items() if found.wrong <= TOLERATED]
        return (min(able)[1], self.figures(key, min(able)[1])) if able else None

    def has(self, *keys: str) -> bool:
        return all((key, OURS) in self.runs for key in keys)

    def cells(self) -> list[dict[str, Any]]:
        """Every figure, for those who want to draw conclusions of their own."""
        found = []
        for key, who in self.runs:
            for part in (OURS, SEARCH) if who == OURS else (who,):
                found.append({"cell": key, "who": part} | asdict(self.figures(key, part)))
        return [{k: round(v, 4) if isinstance(v, float) else v for k, v in one.items()} for one in found]


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
            yield _at_most(f"{key}: trials, {words}", mine.trials, "", goal.trials, judged,
                           best and (best[0], best[1].trials))  # fmt: skip
            yield _at_most(f"{key}: machine minutes, {words}", mine.minutes, " min", goal.minutes, judged,
                           best and (best[0], best[1].minutes))  # fmt: skip
            yield _wrong(f"{key}: wrong, {words}", mine, 0.01, judged)
            cell = goal.cell
            limit = bound(cell.n, min(cell.p, ALWAYS), cell.q, cell.truth).minutes
            times = f"≤ {goal.mean:g} × the bound" if goal.mean and judged else ""
            met = mine.mean <= goal.mean * limit if goal.mean and judged else None
            yield Row(
                f"{key}: mean of machine minutes, {words}", f"{mine.mean:.0f} min",
                f"{limit:.0f} min", "bound of information", _two(limit / mine.mean), times, met,
            )  # fmt: skip


def _hosts(table: Table) -> Iterator[Row]:
    one, four = (name_of(Cell(64, "single", 0.5, 0.0, hosts=hosts)) for hosts in (1, 4))
    if not table.has(one, four):
        return
    many = table.figures(four)
    alone = table.figures(one, first=many.count)
    faster, dearer = alone.wall / many.wall, many.minutes / alone.minutes
    yield Row("Four hosts: wall clock, confirmed", f"{many.wall:.0f} min, {faster:.2f} times faster",
              goal="≥ 3.4 times faster", met=faster >= 3.4)  # fmt: skip
    yield Row("Four hosts: machine minutes, confirmed", f"{many.minutes:.0f} min, {dearer:.2f} of one host's",
              goal="≤ 1.15 of one host's", met=dearer <= 1.15)  # fmt: skip
    yield _wrong("Four hosts: wrong, confirmed", many, 0.01, True)


def _truths(table: Table) -> Iterator[Row]:
    base = name_of(BASE)
    if table.has("truth is the system"):
        yield _wrong("The system itself crashes: wrong", table.figures("truth is the system"), 0.02, True)
    for key in MISFITS:
        if not table.has(base, key):
            continue
        mine = table.figures(key)
        more = mine.minutes / table.figures(base).minutes
        said = f"{mine.minutes:.0f} min, {more:.2f} × the usual case's"
        yield _wrong(f"{_capital(key)}: wrong", mine, 0.015, True)
        yield Row(f"{_capital(key)}: machine minutes", said,
                  goal="≤ 1.5 × the usual case's", met=more <= 1.5)  # fmt: skip
    others = ("good evidence", "each of two is enough", "three together", "drivers that need others")
    for key in others:
        if table.has(key):
            mine = table.figures(key)
            yield Row(
                f"{_capital(key)}: machine minutes; wrong", f"{mine.minutes:.0f} min; {mine.wrong_words}"
            )


def _few(table: Table) -> Iterator[Row]:
    """The worst cell of eight drivers, by the share of the best peer's minutes."""
    for truth in ("single", "pair"):
        keys = [name_of(Cell(8, truth, p, q)) for p in (1.0, 0.8, 0.5, 0.2) for q in (0.0, 0.02)]
        keys = [key for key in keys if table.has(key) and table.best_peer(key)]
        for part, words in ((SEARCH, "search alone"), (OURS, "confirmed")):
            found = []
            for key in keys:
                best = table.best_peer(key)
                assert best
                mine = table.figures(key, part).minutes
                found.append((best[1].minutes / mine, key, mine, best))
            if not found:
                continue
            ratio, key, mine, (who, theirs) = min(found)
            judged = part == SEARCH
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


def _at_most(
    name: str, mine: float, unit: str, most: float | None, judged: bool, best: tuple[str, float] | None
) -> Row:
    goal = f"≤ {most:g}{unit}" if most is not None and judged else ""
    met = mine <= most if goal and most is not None else None
    if not best:
        return Row(name, f"{mine:.0f}{unit}", goal=goal, met=met)
    who, theirs = best
    return Row(name, f"{mine:.0f}{unit}", f"{theirs:.0f}{unit}", who, _two(theirs / mine), goal, met)


def _wrong(name: str, mine: Figures, most: float, judged: bool) -> Row:
    goal = f"≤ {100 * most:g} %" if judged else ""
    return Row(
        name, f"{mine.wrong_words} of {mine.count}", goal=goal, met=mine.wrong <= most if judged else None
    )


def _late(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def _two(value: float) -> float:
    return round(value, 2)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
