"""What `make bench-bisect` runs: cells, how many scenarios of each, and who takes part."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bisect_run import OF_PAIRS, PEERS
from benchmarks.bisect_scenarios import Cell

ALL = tuple(PEERS)
SOME = ("bisection, repeated", "bisection, SPRT", "git-bayesect, tuned, to 99 %")
"""Those that are at all right in a world that is not the one they expect."""


@dataclass(frozen=True)
class Work:
    """`count` scenarios of a full run, `chunk` of them in one process of ours."""

    key: str
    cell: Cell
    count: int
    chunk: int
    peers: tuple[str, ...] = ()
    who: str = "ours"


BASE = Cell(64, "single", 0.5, 0.02)
"""The case that misfits are measured against."""

MISFITS = {
    "crashes decided at boot": Cell(64, "single", 0.5, 0.02, times="per boot"),
    "early or never (Weibull, shape 1/2)": Cell(64, "single", 0.5, 0.02, times="early or never"),
    "slow start (Weibull, shape 2)": Cell(64, "single", 0.5, 0.02, times="slow start"),
    "misleading evidence": Cell(64, "single", 0.5, 0.02, evidence="misleading"),
    "wrong signatures": Cell(64, "single", 0.5, 0.05, misread=0.03),
    "hosts that lie": Cell(64, "single", 0.5, 0.02, unapplied=0.01, lie=0.005),
}

CHOICE, STATED = "choice at 300", "stated 99 %"
SYSTEM = "the system itself is to blame"
OTHERS = ("good evidence", "each of two is enough", "three together", "drivers that need others")


def name_of(cell: Cell) -> str:
    """Of an ordinary cell."""
    hosts = f", {cell.hosts} hosts" if cell.hosts > 1 else ""
    return f"{cell.n} drivers, {cell.truth}, p = {cell.p:g}, q = {cell.q:g}{hosts}"


def works() -> list[Work]:
    """All of a full run, the longest first."""
    plan = [
        Work(STATED, Cell(16, "prior", 0.5, 0.0), 20_000, 500, who="stated"),
        Work(CHOICE, Cell(300, "pair", 0.5, 0.02), 11, 11, who="choice"),
    ]
    for p, q, count in (
        (1.0, 0.0, 600),
        (1.0, 0.02, 400),
        (0.5, 0.0, 1000),
        (0.5, 0.02, 1000),
        (0.2, 0.0, 300),
        (0.2, 0.02, 400),
    ):
        plan.append(_plain(Cell(64, "single", p, q), count, 100))
    for p, q, count in ((1.0, 0.0, 300), (0.5, 0.0, 400), (0.5, 0.02, 200)):
        plan.append(_plain(Cell(64, "pair", p, q), count, 40))
    plan.append(_plain(Cell(64, "single", 0.5, 0.0, hosts=4), 400, 50))
    plan += [Work(name, cell, 1000, 100, SOME) for name, cell in MISFITS.items()]
    plan += [
        Work(SYSTEM, Cell(64, "system", 0.5, 0.02), 1000, 100),
        Work(OTHERS[0], Cell(64, "single", 0.5, 0.0, evidence="good"), 300, 100, ALL),
        Work(OTHERS[1], Cell(64, "either", 0.5, 0.0), 100, 20),
        Work(OTHERS[2], Cell(64, "triple", 0.5, 0.0), 30, 6),
        Work(OTHERS[3], Cell(64, "single", 0.5, 0.0, needs=True), 200, 50),
    ]
    for truth in ("single", "pair"):
        for p in (1.0, 0.8, 0.5, 0.2):
            plan += [_plain(Cell(8, truth, p, q), 400, 200) for q in (0.0, 0.02)]
    return plan


def _plain(cell: Cell, count: int, chunk: int) -> Work:
    return Work(name_of(cell), cell, count, chunk, ALL if cell.truth == "single" else OF_PAIRS)
