"""A trial that is interrupted while its host's stop is being read: the next run reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from campaign_world import Computer, FakeBench, drivers

from lab.journal import Journal, open_journal
from lab.model import (
    Bugcheck,
    Crashed,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LoadPlan,
    LoadReport,
    Outcome,
    Recipe,
    Relation,
    Signature,
    SystemClock,
    VerifierPlan,
)
from lab.trials import recover
from lab.trials import run as module
from lab.trials.bench import Bench
from lab.trials.halt import Halted
from lab.trials.run import run_trial

ENABLED = frozenset({"drv00", "drv02"})
RECIPE = Recipe(frozenset({"drv01"}), VerifierPlan(), LoadPlan(connections=4))
DIED = LoadReport("burst", 31.5, 1000, 900, 0, target_died=True, died_after=31.5)
STOP = Crashed(31.5, Bugcheck(0x20), Relation.SAME)
SMB = SimpleNamespace(most_connections=8, most_in_flight=8192, most_seconds=1e5, most_reads_per_second=None)


@dataclass
class Loaded(FakeBench):
    """A bench as far as a trial needs one."""

    clock: SystemClock = field(default_factory=SystemClock)
    target: object = "the target"

    @property
    def host(self) -> Any:
        return SimpleNamespace(name=self.computer.name, smb=SMB)

    @property
    def guest(self) -> Any:
        known = super().guest
        known.boot, known.log_position = self.computer.boot, lambda: self.computer.bugchecks
        return known

    def dumps(self) -> Any:
        return nullcontext("dumps")

    def shell_beside_load(self, boot: object) -> Any:
        return SimpleNamespace(queues=None, restarted=None, close=lambda: None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Loaded]:
    with open_journal(tmp_path / "j.db") as journal:
        case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        yield Loaded(Computer("srv1", drivers(3)), journal, case)


def interrupted(bench: Loaded, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a trial whose host stops, and which `error` ends while the stop is read."""

    def crash(*arguments: object, **more: object) -> LoadReport:
        bench.computer.boots, bench.computer.bugchecks = (
            bench.computer.boots + 1,
            bench.computer.bugchecks + 1,
        )
        return DIED

    def read(*arguments: object) -> Outcome:
        raise error

    monkeypatch.setattr(module, "apply", lambda *arguments: ENABLED)
    monkeypatch.setattr(module, "header_of", lambda source, name: b"old")
    monkeypatch.setattr(module, "run_load", crash)
    monkeypatch.setattr(module, "after_the_stop", read)
    run_trial(cast(Bench, bench), RECIPE)


def read_by_the_next_run(bench: Loaded, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    (left,) = bench.journal.running_trials()
    assert left.heartbeat is not None
    assert (left.heartbeat.seconds, left.heartbeat.stale) == (31.5, b"old"), "as the load has counted"
    bench.computer.boots += 1  # it was put back meanwhile
    monkeypatch.setattr(recover, "after_the_stop", lambda *arguments: Crashed(arguments[5], *_of(STOP)))
    recover.end_those_left_behind(cast(Bench, bench))
    return only_one(bench.journal, bench.case)


def only_one(journal: Journal, case: str) -> Outcome:
    assert not journal.running_trials()
    (trial,) = journal.case(case).trials
    return trial.outcome


def _of(crash: Crashed) -> tuple[Bugcheck, Relation]:
    return crash.bugcheck, crash.relation


def test_ctrl_c_loses_no_stop(bench: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(bench, KeyboardInterrupt(), monkeypatch)
    assert read_by_the_next_run(bench, monkeypatch) == STOP


def test_nor_does_that_of_the_other_hosts(bench: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.halt.ask("interrupted", goes_on=True)
    with pytest.raises(Halted):
        interrupted(bench, Halted("interrupted"), monkeypatch)
    assert read_by_the_next_run(bench, monkeypatch) == STOP


def test_when_the_case_is_over_no_trial_stays_open(bench: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.halt.ask("the verdict came first")
    with pytest.raises(Halted):
        interrupted(bench, Halted("the verdict came first"), monkeypatch)
    assert only_one(bench.journal, bench.case) == Invalid(InvalidReason.INTERRUPTED, "the verdict came first")


def test_trouble_while_the_stop_is_read_is_an_end(bench: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(bench, InfrastructureError("no route"), monkeypatch)
    assert only_one(bench.journal, bench.case) == Invalid(InvalidReason.INFRASTRUCTURE, "no route")
