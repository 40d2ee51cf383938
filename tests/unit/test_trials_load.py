"""What a trial makes of its load."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.inventory import Host
from lab.journal import Heartbeat
from lab.model import (
    EntryKind,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LoadPlan,
    LoadReport,
    Outcome,
    Recipe,
    Refused,
    Survived,
    VerifierPlan,
)
from lab.smb.load.report import Progress
from lab.trials import run as module
from lab.trials.bench import Bench
from lab.trials.halt import Halt
from lab.trials.pulse import EVERY, Pulse

STOOD = LoadReport("burst", 8.0, 1000, 1000, 4_096_000)
STARVED = LoadReport("burst", 8.0, 1000, 100, 409_600, undelivered="100 of 1000 READs were answered")
DIED = LoadReport("burst", 3.0, 1000, 900, 0, target_died=True, died_after=3.0, undelivered="")


class FakeShell:
    """A shell beside the load."""

    def __init__(self) -> None:
        self.closed = False

    def queues(self) -> tuple[()]:
        return ()

    def restarted(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeBench:
    """A host that loads as `report` says, and after it runs boot `then` (None: it does not answer)."""

    report: LoadReport | BaseException
    then: str | None = "7"
    rate: float | None = None
    told: list[str] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    shell: FakeShell = field(default_factory=FakeShell)
    boots: int = 0
    clock: object = None
    target: object = "the target"
    machine: object = "no witness"
    case: str = "c"
    halt: Halt = field(default_factory=Halt)
    beats: list[Heartbeat] = field(default_factory=list)
    loaded: str = ""
    lost: str = ""  # why the lease is

    def ours(self) -> None:
        if self.lost:
            raise InfrastructureError(self.lost)

    @property
    def host(self) -> Host:
        smb = SimpleNamespace(
            most_connections=8, most_in_flight=8192, most_seconds=100.0, most_reads_per_second=self.rate
        )
        return cast(Host, SimpleNamespace(name="h", smb=smb))

    @property
    def journal(self) -> Any:
        return SimpleNamespace(beat=lambda case, number, beat: self.beats.append(beat))

    @property
    def guest(self) -> Any:
        return SimpleNamespace(boot=self._boot, log_position=lambda: 5)

    def _boot(self) -> Any:
        self.boots += 1
        identity = "7" if self.boots == 1 else self.then
        if identity is None:
            raise InfrastructureError("no answer")
        return SimpleNamespace(identity=identity)

    def dumps(self) -> Any:
        return nullcontext("dumps")

    def shell_beside_load(self, boot: Any) -> FakeShell:
        assert boot.identity == "7"
        return self.shell

    def tell(self, kind: EntryKind, text: str) -> None:
        self.told.append(text)


def outcome(bench: FakeBench, monkeypatch: pytest.MonkeyPatch, plan: LoadPlan | None = None) -> Outcome:
    def run_load(target: object, plan: LoadPlan, **more: Any) -> LoadReport:
        bench.asked = {"target": target, "plan": plan, **more}
        if isinstance(bench.report, BaseException):
            raise bench.report
        return bench.report

    def after_the_stop(
        bench: object, case: object, boot: object, at: int, stale: object, after: float, outside: object
    ) -> str:
        return f"stopped after {after:g} s"

    monkeypatch.setattr(module, "run_load", run_load)
    monkeypatch.setattr(module, "header_of", lambda source, name: None)
    monkeypatch.setattr(module, "after_the_stop", after_the_stop)
    recipe = Recipe(frozenset(), VerifierPlan(), plan or LoadPlan())
    at = module._Progress(1, frozenset({"a"}))
    found = module._load_and_watch(cast(Bench, bench), cast(Any, None), recipe, at)
    assert bench.shell.closed and (at.load is bench.report or at.load is None)
    return found


def test_a_delivered_load_that_is_stood_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(STOOD)
    assert outcome(bench, monkeypatch) == Survived(8.0)
    assert bench.asked["queues"] == bench.shell.queues and bench.asked["restarted"] == bench.shell.restarted


def test_one_that_was_not_delivered_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(FakeBench(STARVED), monkeypatch)
    assert found == Invalid(InvalidReason.LOAD_NOT_DELIVERED, "100 of 1000 READs were answered")


@pytest.mark.parametrize("then", ["8", None])
@pytest.mark.parametrize("report", [STOOD, STARVED])
def test_a_host_that_is_not_the_same_afterwards_has_stopped(
    report: LoadReport, then: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(outcome(FakeBench(report, then), monkeypatch)) == "stopped after 8 s"


def test_a_death_is_one_though_the_host_is_back_already(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(DIED)
    assert str(outcome(bench, monkeypatch)) == "stopped after 3 s"
    assert any("stopped answering 3.0 s into the load" in text for text in bench.told)


def test_the_shell_is_closed_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        outcome(bench, monkeypatch)
    assert bench.shell.closed


def test_a_trial_keeps_to_the_hosts_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(STOOD, rate=500.0)
    outcome(bench, monkeypatch)
    assert bench.asked["plan"].rate == 500.0
    with pytest.raises(Refused, match="9 connections is more than h may get"):
        outcome(FakeBench(STOOD), monkeypatch, LoadPlan(connections=9))


def test_a_heartbeat_is_written_before_the_load_and_knows_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(STOOD)
    outcome(bench, monkeypatch)
    assert bench.beats == [Heartbeat(0.0, "7", 5, frozenset({"a"}), None)]
    assert bench.loaded == "7", "the next trial starts in another boot"
    assert isinstance(bench.asked["on_progress"], Pulse)


def test_only_seconds_in_which_reads_are_answered_are_beaten() -> None:
    bench = FakeBench(STOOD)
    pulse = Pulse(cast(Bench, bench), 1, Heartbeat(0.0, "7", 5, frozenset()))
    for tenths, answered in ((5, 10), (10, 20), (21, 30), (35, 30), (45, 30), (47, 40), (70, 50)):
        pulse(Progress(tenths / 10, 60.0, "burst", 99, answered, 0, 1, 1.0))
    assert [beat.seconds for beat in bench.beats] == [0.0, 2.1, 2.1, 7.0]
    assert EVERY == 2.0 and pulse.seconds == 7.0


def test_a_load_on_a_host_that_is_not_ours_any_more_is_ended() -> None:
    bench = FakeBench(STOOD)
    pulse = Pulse(cast(Bench, bench), 1, Heartbeat(0.0, "7", 5, frozenset()))
    pulse(Progress(2.0, 60.0, "burst", 99, 10, 0, 1, 1.0))
    assert not bench.halt.asked
    bench.lost = "the lease of h was not renewed: taken over"
    pulse(Progress(4.0, 60.0, "burst", 99, 20, 0, 1, 1.0))
    assert bench.halt.why == bench.lost


def test_a_load_that_is_ended_from_outside_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(STOOD)
    bench.halt.ask("the verdict came first")
    long = LoadPlan(seconds=60.0, connections=4)
    assert outcome(bench, monkeypatch, long) == Survived(8.0, "the verdict came first")
    assert bench.asked["stop"].is_set()


def test_a_load_that_was_over_when_its_end_was_asked_for_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = FakeBench(STOOD)
    bench.halt.ask("the verdict came first")
    assert outcome(bench, monkeypatch) == Survived(8.0)


@pytest.mark.parametrize("then", ["8", None])
def test_a_host_that_stops_while_its_load_is_set_up_has_stopped(
    then: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = FakeBench(InfrastructureError("no connection"), then)
    assert str(outcome(bench, monkeypatch)) == "stopped after 0 s"


def test_a_load_that_cannot_be_set_up_on_a_host_that_is_up_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InfrastructureError, match="no connection"):
        outcome(FakeBench(InfrastructureError("no connection")), monkeypatch)
