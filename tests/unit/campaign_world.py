"""Simulated hosts for a campaign: real threads, one of which runs at a time, on a clock of their own."""

from __future__ import annotations

import heapq
import itertools
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lab.journal import Heartbeat, Journal, open_journal
from lab.model import (
    Boot,
    Bugcheck,
    Case,
    Crashed,
    Driver,
    EntryKind,
    Invalid,
    InvalidReason,
    LoadPlan,
    LoadReport,
    Outcome,
    PowerState,
    Recipe,
    Relation,
    Signature,
    StartType,
    Survived,
    Trial,
    Verdict,
)
from lab.model import Origin as DriverOrigin
from lab.trials import Bench, Done, Tasks, campaign
from lab.trials.halt import Halt

SETUP = 60.0
START = datetime(2026, 11, 22, tzinfo=UTC)


class Killed(BaseException):
    """What stands for kill -9 of the process: nothing of it runs any further."""


class Stage:
    """A crew whose jobs run one at a time, in simulated seconds: each until it sleeps or ends.

    At `kill_at` the whole process is gone; at `interrupt_at` Ctrl-C is pressed, and so it is at each look
    from then on if `impatient`.
    """

    def __init__(
        self, kill_at: float = float("inf"), interrupt_at: float = float("inf"), *, impatient: bool = False
    ) -> None:
        self.time, self.kill_at, self.interrupt_at = 0.0, kill_at, interrupt_at
        self.impatient = impatient
        self._asleep: list[tuple[float, int, threading.Event]] = []
        self._order = itertools.count()
        self._done: list[Done] = []
        self._resting = threading.Event()
        self.most_at_once: dict[str, int] = {}

    def now(self) -> float:
        return self.time

    def begin(self, host: str, job: Callable[[], object]) -> None:
        self.most_at_once[host] = self.most_at_once.get(host, 0) + 1
        assert self.most_at_once[host] == 1, f"{host} has two jobs"

        def work() -> None:
            try:
                done = Done(host, job())
            except BaseException as error:
                done = Done(host, error=error)
            self._done.append(done)
            self._resting.set()

        self._resting.clear()
        threading.Thread(target=work, daemon=True).start()
        self._rest()

    def sleep(self, seconds: float) -> None:
        """Of a job: let the others run until so many seconds have gone by."""
        wake = threading.Event()
        heapq.heappush(self._asleep, (self.time + seconds, next(self._order), wake))
        self._resting.set()
        wake.wait()

    def wait(self, seconds: float) -> Done | None:
        end = self.time + seconds
        while not self._done:
            if self.time >= self.kill_at:
                raise Killed
            if self.time >= self.interrupt_at:
                self.interrupt_at = self.time + 1.0 if self.impatient else float("inf")
                signal.raise_signal(signal.SIGINT)
            stop = min(end, self.kill_at, self.interrupt_at)
            if not self._asleep or self._asleep[0][0] > stop:
                self.time = stop
                if stop == end:
                    return None
                continue
            self.time, _, wake = heapq.heappop(self._asleep)
            self._resting.clear()
            wake.set()
            self._rest()
        done = self._done.pop(0)
        self.most_at_once[done.host] -= 1
        return done

    def _rest(self) -> None:
        assert self._resting.wait(30), "a job neither sleeps nor ends"


@dataclass
class Computer:
    """What stays of a host when the process that used it dies."""

    name: str
    drivers: tuple[Driver, ...]
    build: int = 17763
    boots: int = 1
    bugchecks: int = 0
    most_seconds: float = 86400.0
    put_back: int = 0

    def boot(self) -> Boot:
        return Boot(f"{self.name}/{self.boots}", "", "", "", self.build, "", "", 2, 1)


@dataclass
class FakeBench:
    """A bench of one computer."""

    computer: Computer
    journal: Journal
    case: str
    halt: Halt = field(default_factory=Halt)
    found: tuple[Driver, ...] = ()
    build: int = 0
    trial: int | None = None
    loaded: str = ""

    @property
    def host(self) -> Any:
        return SimpleNamespace(
            name=self.computer.name, smb=SimpleNamespace(most_seconds=self.computer.most_seconds)
        )

    @property
    def machine(self) -> Any:
        return SimpleNamespace(power_state=lambda: PowerState.ON, reset=lambda: None)

    @property
    def guest(self) -> Any:
        return SimpleNamespace(
            wait_until_reachable=self.computer.boot,
            bugchecks=lambda after: range(self.computer.bugchecks - after),
        )

    def ours(self) -> None:
        pass

    def tell(self, kind: EntryKind, text: str) -> None:
        self.journal.note(self.case, kind, text, self.trial)


def drivers(count: int = 12) -> tuple[Driver, ...]:
    return tuple(
        Driver(f"drv{i:02}", f"drv{i:02}.sys", "", StartType.SYSTEM, True, origin=DriverOrigin.THIRD_PARTY)
        for i in range(count)
    )


@dataclass
class Lab:
    """Computers with something in them, and a journal. `mean`: seconds of load until the crash on average."""

    folder: Path
    culprits: tuple[str, ...]
    hosts: int = 4
    mean: float = 8.0
    soak: float = 10.0
    seed: int = 1
    beat: float = 2.0
    invalid: Callable[[str, Recipe], Invalid | None] = lambda host, recipe: None
    raises: Callable[[str], BaseException | None] = lambda host: None
    slow: dict[str, float] = field(default_factory=dict)  # seconds until a host is prepared
    stage: Stage = field(default_factory=Stage)
    computers: list[Computer] = field(default_factory=list)
    gone_before: float = 0.0  # seconds that earlier processes have lived

    def __post_init__(self) -> None:
        names = [f"srv{n}" for n in range(1, self.hosts + 1)]
        self.computers = [Computer(name, drivers()) for name in names]
        with self.open() as journal:
            load = LoadPlan("burst", self.soak, self.seed)
            self.id = journal.new_case("t", Signature(0x20, 0, "", ()), load).id

    def open(self) -> Journal:
        return open_journal(self.folder / "j.db", now=self.wall)

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.gone_before + self.stage.time)

    def case(self) -> Case:
        with self.open() as journal:
            assert journal.running_trials() == [], "a trial is still open"
            return journal.case(self.id)

    def search(self, stage: Stage | None = None, budget: float | None = None) -> Verdict:
        """One process that works on the case, until it ends or is killed."""
        self.gone_before += self.stage.time
        self.stage = stage or Stage()
        journal = self.open()
        benches = [FakeBench(computer, journal, self.id) for computer in self.computers]
        tasks = Tasks(
            cast(Any, self._examine),
            cast(Any, lambda b, r, w: self._run(self.stage, b, r, w)),
            cast(Any, put_back),
        )
        return campaign(cast(list[Bench], benches), self.stage, budget=budget, tasks=tasks)

    def _examine(self, bench: FakeBench) -> None:
        if bench.computer.name in self.slow:
            self.stage.sleep(self.slow[bench.computer.name])
        error = self.raises(bench.computer.name)
        if error is not None:
            raise error
        bench.found, bench.build = bench.computer.drivers, bench.computer.build

    def _run(self, stage: Stage, bench: FakeBench, recipe: Recipe, why: str) -> Trial:
        computer, journal, began = bench.computer, bench.journal, stage.time
        number = journal.begin_trial(bench.case, computer.name, recipe)
        journal.note(bench.case, EntryKind.STEP, why, number)
        stage.sleep(SETUP)
        computer.boots += 1
        enabled = frozenset(d.service for d in computer.drivers) - recipe.disabled
        outcome: Outcome | None = self.invalid(computer.name, recipe)
        if bench.halt.asked:
            outcome = Invalid(InvalidReason.INTERRUPTED, bench.halt.why)
        if outcome is None:
            outcome = self._load(stage, bench, number, recipe, enabled)
        load = None if isinstance(outcome, Invalid) else LoadReport("burst", outcome.after, 9, 9, 9)
        seconds = stage.time - began
        journal.end_trial(bench.case, number, outcome, enabled, load, seconds)
        return Trial(number, computer.name, recipe, enabled, outcome, "", seconds, load)

    def _load(
        self, stage: Stage, bench: FakeBench, number: int, recipe: Recipe, enabled: frozenset[str]
    ) -> Outcome:
        computer, stood = bench.computer, 0.0
        bench.halt.load_begins()
        crash = random.Random(f"{self.seed}/{number}").expovariate(1 / self.mean)
        if not frozenset(self.culprits) <= enabled:
            crash = float("inf")
        while True:
            beat = Heartbeat(stood, computer.boot().identity, computer.bugchecks, enabled)
            bench.journal.beat(bench.case, number, beat)
            if stood >= recipe.load.seconds:
                return Survived(stood)
            if bench.halt.load.is_set():
                return Survived(stood, bench.halt.cut)
            step = min(self.beat, recipe.load.seconds - stood, crash - stood)
            stage.sleep(step)
            stood += step
            if stood >= crash:
                computer.boots, computer.bugchecks = computer.boots + 1, computer.bugchecks + 1
                return Crashed(stood, Bugcheck(0x20), Relation.SAME)


def put_back(bench: FakeBench) -> None:
    bench.computer.put_back += 1
