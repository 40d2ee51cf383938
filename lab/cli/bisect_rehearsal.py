"""`lab bisect --simulate`: what a search would cost, before any host is touched."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lab.bisect.belief import Question
from lab.bisect.hypotheses import Kind
from lab.bisect.units import Units
from lab.cli.console import errors, out, to_json
from lab.inventory import load
from lab.model import Case, ConfigurationError, LoadPlan, Signature
from lab.playbook import View
from lab.playbook.rehearsal import UNRELATED, Expected, Played, Scene, expected, play
from lab.provision import folder_in
from lab.report import words
from lab.windows import open_guest

CRASH_RATES = (1.0, 0.5, 0.2)
CULPRITS = {Kind.SINGLE: "one driver", Kind.PAIR: "a pair"}
ANY = Signature(0, 0, "", ())
MOST_NAMES = 1000
MOST_BYTES = 1 << 20

Key = tuple[Kind, float]


def question_of(case: Case) -> Question:
    """What the search is asked about a case: its drivers, its evidence, its costs. Raises ConfigurationError
    when it has no drivers yet, or none that can be switched off."""
    view = View(case)
    if not view.services:
        raise ConfigurationError(
            f"case {case.id} has no drivers that can be switched off"
            if case.drivers
            else f"case {case.id} does not know the drivers of a host yet",
            help="Name a host, or a file with one service a line, by --drivers.",
        )
    return view.question


def question_from(drivers: str, inventory: list[Path], data: Path, soak: float) -> Question:
    """The drivers of a file (one service a line, `#` begins a comment) or of a host of the inventory."""
    path = Path(drivers)
    if path.is_file():
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        lines = (line.partition("#")[0].strip() for line in text.decode("utf-8", "replace").splitlines())
        names = sorted({line for line in lines if line})
        if not 1 < len(names) <= MOST_NAMES or len(text) > MOST_BYTES:
            raise ConfigurationError(
                f"{drivers} names {len(names)} services, not 2 to {MOST_NAMES}",
                help="Write one service a line.",
            )
        return Question(Units.of(names), soak=soak)
    known = load(inventory, folder_in(data))
    if drivers not in known.hosts:
        raise ConfigurationError(
            f"--drivers: '{drivers}' is neither a file nor a host of the inventory",
            help="Write one service a line into a file, or name a host: 'lab host list'.",
        )
    host = known.host(drivers)
    with open_guest(host) as guest:
        found = guest.drivers()
    return question_of(Case("of this host", "", "", ANY, LoadPlan(seconds=soak), found))


def rehearse(question: Question, *, hosts: int, budget: float | None, runs: int, json: bool) -> None:
    """Play `runs` searches for each culprit and crash rate, and print what to expect; `budget` in minutes."""
    keys = [
        (kind, p) for kind in CULPRITS for p in CRASH_RATES if kind is Kind.SINGLE or len(question.units) > 1
    ]
    left = None if budget is None else 60.0 * budget
    scenes = [Scene(kind, p, seed, hosts, left) for seed in range(runs) for kind, p in keys]
    played: dict[Key, list[Played]] = {key: [] for key in keys}
    for scene, run in _all_played(question, scenes):
        played[scene.kind, scene.p].append(run)
    found = {key: expected(all_runs) for key, all_runs in played.items()}
    if json:
        typer.echo(to_json(_as_json(question, found, hosts, budget, runs)))
        return
    out.print(
        f"{len(question.units)} units, soaks of {words.seconds(question.soak)}, "
        f"{words.seconds(question.setup)} besides, {words.count(hosts, 'host')}, "
        f"{'no limit' if budget is None else f'a budget of {budget:g} machine-minutes'}; "
        f"{runs} searches a line, {UNRELATED:.0%} unrelated crashes a soak",
        soft_wrap=True,
    )
    out.print(table_of(found))


def _all_played(question: Question, scenes: list[Scene]) -> Iterator[tuple[Scene, Played]]:
    columns = (TextColumn("rehearsing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _pool() as pool, Progress(*columns, console=errors, transient=True) as progress:
        bar = progress.add_task("", total=len(scenes))
        futures: dict[Future[Played], Scene] = {pool.submit(play, question, scene): scene for scene in scenes}
        for future in as_completed(futures):
            progress.advance(bar)
            yield futures[future], future.result()


@contextmanager
def _pool() -> Iterator[ProcessPoolExecutor]:
    """A process for each processor; what was not begun when the block ends early is not played."""
    pool = ProcessPoolExecutor(
        len(os.sched_getaffinity(0)), mp_context=multiprocessing.get_context("forkserver")
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def table_of(found: dict[Key, Expected]) -> Table:
    """A line for each culprit and crash rate."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("culprit", no_wrap=True)
    for name in (
        "crash a\nsoak",
        "right",
        "wrong",
        "undecided",
        "trials",
        "machine\nminutes",
        "wall\nminutes",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for (kind, p), each in found.items():
        table.add_row(
            CULPRITS[kind],
            f"{p:.0%}",
            *(f"{share:.0%}" for share in (each.right, each.wrong, each.undecided)),
            _range(each.trials, 1.0),
            _range(each.machine_seconds, 60.0),
            _range(each.wall_seconds, 60.0),
        )
    return table


def _range(values: tuple[float, float], unit: float) -> str:
    """Median, and what 95 of 100 searches stay below."""
    return f"{values[0] / unit:.0f}\u00a0≤\u00a0{values[1] / unit:.0f}"  # on one line


def _as_json(
    question: Question, found: dict[Key, Expected], hosts: int, budget: float | None, runs: int
) -> dict[str, object]:
    return {
        "units": len(question.units),
        "soak_seconds": question.soak,
        "setup_seconds": question.setup,
        "hosts": hosts,
        "budget_minutes": budget,
        "searches": runs,
        "expected": [{"culprit": str(kind), "p": p, "of": each} for (kind, p), each in found.items()],
    }
