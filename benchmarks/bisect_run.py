"""Some scenarios of one cell in a process of its own: a JSON object on standard input, one on output.

    {"cell": {...}, "who": "ours" | a peer | "stated" | "choice", "first": 0, "count": 100}

Peers that are packages of their own need the interpreter of .venv-bench (benchmarks/install.sh).
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from typing import Any

from benchmarks.bisect_peers.meter import Peer
from benchmarks.bisect_scenarios import SETUP, SOAK, Cell, Scenario, scenario
from lab.bisect.belief import Belief, Question
from lab.bisect.confirming import CERTAIN
from lab.bisect.hypotheses import Hypothesis, Kind
from lab.bisect.search import next_trial
from lab.bisect.simulation import simulate
from lab.bisect.steps import Answer, Try
from lab.bisect.units import Units
from lab.model import VerdictKind

Result = dict[str, Any]

PEERS = {
    "git bisect": ("halving", "bisect_once"),
    "bisection, repeated": ("halving", "bisect_repeated"),
    "bisection, SPRT": ("halving", "bisect_sprt"),
    "syzkaller's rule": ("syzkaller", "syzkaller"),
    "ddmin (picire)": ("ddmin", "ddmin"),
    "syzkaller's Slice, SPRT": ("slicing", "slices"),
    "git-bayesect": ("bayesect", "bayesect"),
    "git-bayesect, tuned": ("bayesect", "bayesect_tuned"),
    "git-bayesect, tuned, to 99 %": ("bayesect", "bayesect_careful"),
}
OF_PAIRS = ("ddmin (picire)", "syzkaller's Slice, SPRT")
"""The others cannot name two."""

KINDS = {
    VerdictKind.SYSTEM: Kind.SYSTEM,
    VerdictKind.DRIVER: Kind.SINGLE,
    VerdictKind.PAIR: Kind.PAIR,
    VerdictKind.TRIPLE: Kind.TRIPLE,
    VerdictKind.EACH_OF: Kind.EITHER,
}


def peer(name: str) -> Peer:
    module, function = PEERS[name]
    found: Peer = getattr(importlib.import_module(f"benchmarks.bisect_peers.{module}"), function)
    return found


def peer_runs(cell: Cell, who: str, numbers: range) -> Result:
    search = peer(who)
    runs = []
    for number in numbers:
        asked = scenario(cell, number)
        found = search(asked.world, asked.told)
        runs.append([found.trials, found.machine, found.wall, found.answer == asked.truth])
    return {"columns": ["trials", "machine", "wall", "right"], "runs": runs}


MOST = 400
"""Trials after which a search of ours counts as without an answer."""


EARLY = 0.95
"""As sure as the peers are set up to be."""


def our_runs(cell: Cell, numbers: range) -> Result:
    """Also what the search had cost when it was `EARLY` and `CERTAIN` sure for the first time, and whether
    it was right then: the peers do not confirm. `wall` counts like `machine`, without the baseline."""
    columns = ["trials", "machine", "wall", "right"]
    marks = [f"{part}_{name}" for part in ("search", "early") for name in ("trials", "machine", "right")]
    return {
        "columns": [*columns, *marks, "baseline"],
        "runs": [_our_run(cell, scenario(cell, number)) for number in numbers],
    }


def _our_run(cell: Cell, asked: Scenario) -> list[float]:
    early: list[float] = []

    def watch(belief: Belief) -> None:
        leading, probability = belief.ranked(1)[0]
        if not early and probability >= EARLY:
            everything = frozenset(asked.question.units.names)
            spent = [o.seconds + SETUP for o in belief.observations if o.on != everything]
            early.extend([len(spent), sum(spent), leading == asked.truth])

    found = simulate(asked.question, asked.world, hosts=cell.hosts, most_trials=MOST, watch=watch)
    right = answered(found.answer) == asked.truth
    whole = [found.trials, found.machine_seconds, right]
    searched = [found.search_trials, found.search_seconds, found.accused == asked.truth]
    return [
        found.trials, found.machine_seconds,
        found.clock_seconds - found.baseline_seconds / cell.hosts, right,
        *(searched if found.accused is not None else whole), *(early or whole), found.baseline_seconds,
    ]  # fmt: skip


def answered(answer: Answer) -> Hypothesis | None:
    """None: it has not decided, or between some."""
    kind = KINDS.get(answer.kind)
    return None if kind is None else Hypothesis(kind, answer.culprits)


BINS = 20


class _Stated(Exception):
    """The first certain statement was made: what comes later does not count."""


def stated(cell: Cell, numbers: range) -> Result:
    """How often what is stated is true: by its probability, and at the first 99 %.

    Of each search the first statement in a bin counts: a long one says the same again and again.
    """
    bins = [[0, 0.0, 0] for _ in range(BINS)]
    first = [0, 0.0, 0]
    for number in numbers:
        asked = scenario(cell, number)
        fresh = set(range(BINS))

        def watch(belief: Belief, asked: Scenario = asked, fresh: set[int] = fresh) -> None:
            leading, probability = belief.ranked(1)[0]
            true, at = leading == asked.truth, min(BINS - 1, int(probability * BINS))
            if at in fresh:
                fresh.remove(at)
                _count(bins[at], probability, true)
            if probability >= CERTAIN:
                _count(first, probability, true)
                raise _Stated

        try:
            simulate(asked.question, asked.world, hosts=cell.hosts, watch=watch)
        except _Stated:
            continue
    return {"first": first, "bins": bins}


def _count(counted: list[Any], probability: float, true: bool) -> None:
    counted[0] += 1
    counted[1] += probability
    counted[2] += true


def choice(cell: Cell, numbers: range) -> Result:
    """CPU seconds from what was seen to the next trial, in mid-search, with nothing computed before."""
    spent = []
    for number in numbers:
        asked = scenario(cell, number)
        seen = simulate(asked.question, asked.world, most_trials=16).observations
        units = Units.plain(asked.question.units.names)
        began = time.process_time()
        step = next_trial(Question(units, None, SOAK, SETUP), seen)
        if isinstance(step, Try):
            spent.append(time.process_time() - began)
    return {"seconds": spent, "median": statistics.median(spent)}


def run(job: dict[str, Any]) -> Result:
    cell, numbers = Cell(**job["cell"]), range(job["first"], job["first"] + job["count"])
    own = {"ours": our_runs, "stated": stated, "choice": choice}.get(job["who"])
    return own(cell, numbers) if own else peer_runs(cell, job["who"], numbers)


if __name__ == "__main__":
    began = time.process_time()
    print(json.dumps(run(json.load(sys.stdin)) | {"cpu": time.process_time() - began}))
