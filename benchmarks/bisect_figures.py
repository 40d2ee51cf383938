"""Figures of each cell, from what was run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.bisect_cells import Work
from benchmarks.bisect_run import BINS, PEERS
from benchmarks.bisect_scenarios import Cell

OURS, SEARCH, EARLY = "ours", "ours, search alone", "ours, at 95 %"
"""To the confirmed answer; until the search is 99 %, or 95 %, certain for the first time. The others never
confirm, and are set up to be right 95 times in 100."""
PREFIXES = {OURS: "", SEARCH: "search_", EARLY: "early_"}
TOLERATED = 0.05
"""The best peer is the fastest of those that are not wrong more often than they aim to be."""

Run = dict[str, float]


@dataclass(frozen=True)
class Figures:
    """Of `count` searches. Minutes of machine time; `wall` on all hosts at once; `wrong` is a share.

    The baseline does not count, but in `whole` (machine minutes) and `clock`, from first to last.
    """

    count: int
    trials: float
    trials_95: float
    minutes: float
    minutes_95: float
    mean: float
    wall: float
    wrong: float
    baseline: float | None = None
    whole: float | None = None
    clock: float | None = None

    @classmethod
    def of(cls, runs: Sequence[Run], prefix: str = "", hosts: int = 1) -> Figures:
        trials, seconds = ([run[f"{prefix}{name}"] for run in runs] for name in ("trials", "machine"))
        wrong = sum(not run[f"{prefix}right"] for run in runs) / len(runs)
        ours = [(run, run["baseline"]) for run in runs if "baseline" in run]
        machine = [run["machine"] + baseline for run, baseline in ours]
        clock = [run["wall"] + baseline / hosts for run, baseline in ours]
        return cls(
            len(runs), statistics.median(trials), _late(trials), statistics.median(seconds) / 60,
            _late(seconds) / 60, statistics.fmean(seconds) / 60,
            statistics.median(run["wall"] for run in runs) / 60, wrong,
            *((statistics.fmean(b for _, b in ours) / 60,) if ours else ()),
            *((statistics.median(seconds) / 60 for seconds in (machine, clock)) if ours else ()),
        )  # fmt: skip

    @property
    def wrong_words(self) -> str:
        """In percent, with twice its standard deviation; as if one more had been wrong and one more right."""
        share = (self.wrong * self.count + 1) / (self.count + 2)
        return f"{100 * self.wrong:.1f} ± {200 * math.sqrt(share * (1 - share) / (self.count + 2)):.1f} %"


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
        return {"first certain": self.first, "by probability": self.bins}

    def figures(self, key: str, who: str = OURS, *, first: int | None = None) -> Figures:
        runs = self.runs[key, OURS if who in PREFIXES else who][:first]
        return Figures.of(runs, PREFIXES.get(who, ""), self.cell[key].hosts)

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
            for part in PREFIXES if who == OURS else (who,):
                found.append({"cell": key, "who": part} | asdict(self.figures(key, part)))
        return [{k: round(v, 4) if isinstance(v, float) else v for k, v in one.items()} for one in found]


def _late(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]
