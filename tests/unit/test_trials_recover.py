"""What becomes of a trial whose process died, by what its host says afterwards."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from campaign_world import Computer, FakeBench, drivers

from lab.journal import Heartbeat, Journal, open_journal
from lab.model import (
    Bugcheck,
    Crashed,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LoadPlan,
    Outcome,
    PowerState,
    Recipe,
    Relation,
    Signature,
    Survived,
    VerifierPlan,
)
from lab.trials import recover
from lab.trials.bench import Bench
from lab.trials.recover import GONE, end_those_left_behind

RECIPE = Recipe(frozenset({"drv01"}), VerifierPlan(), LoadPlan())
ENABLED = frozenset({"drv02"})


@dataclass
class Off(FakeBench):
    """A bench whose computer is off until it is powered on, or cannot be reached at all."""

    reachable: bool = True
    told: list[str] = field(default_factory=list)

    @property
    def machine(self) -> Any:
        return SimpleNamespace(
            power_state=lambda: PowerState.OFF, power_on=lambda: self.told.append("powered on")
        )

    @property
    def guest(self) -> Any:
        if not self.reachable:
            raise InfrastructureError("srv1 cannot be reached")
        return super().guest


def left_behind(journal: Journal, *, stood: float | None, computer: Computer) -> str:
    case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
    number = journal.begin_trial(case, "srv1", RECIPE)
    if stood is not None:
        boot = computer.boot().identity
        journal.beat(case, number, Heartbeat(stood, boot, computer.bugchecks, ENABLED, b"old"))
    return case


def became(
    tmp_path: Path, stood: float | None, *, boots: int = 0, bugchecks: int = 0, **bench: Any
) -> Outcome:
    computer = Computer("srv1", drivers(3))
    with open_journal(tmp_path / "j.db") as journal:
        case = left_behind(journal, stood=stood, computer=computer)
        elsewhere = journal.begin_trial(case, "srv2", RECIPE)
        computer.boots += boots
        computer.bugchecks += bugchecks
        another = journal.new_case("of now", Signature(0x1, 0, "", ()), LoadPlan()).id
        kind = Off if bench else FakeBench
        now = kind(computer, journal, another, **bench)
        end_those_left_behind(cast(Bench, now))
        assert now.loaded == ("" if stood is None else "srv1/1"), "this boot was under load"
        still = [r.number for r in journal.running_trials() if r.case_id == case]
        assert still == [elsewhere], "another host's is not touched"
        (trial,) = journal.case(case).trials
        assert journal.case(another).entries == ()
        if not isinstance(trial.outcome, Invalid):
            assert trial.enabled == ENABLED
    return trial.outcome


def test_before_its_load_it_says_nothing(tmp_path: Path) -> None:
    assert became(tmp_path, None) == Invalid(InvalidReason.INTERRUPTED, GONE)
    outcome = became(tmp_path, 0.0)
    assert isinstance(outcome, Invalid) and "before a READ was answered" in outcome.why


def test_the_same_boot_has_stood_until_the_last_heartbeat(tmp_path: Path) -> None:
    assert became(tmp_path, 31.5) == Survived(31.5, GONE)
    assert became(tmp_path, 31.5, reachable=True) == Survived(31.5, GONE)


def test_another_boot_and_a_bugcheck_is_the_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def after_the_stop(*arguments: Any) -> Outcome:
        asked.extend(arguments[2:])
        return Crashed(arguments[5], Bugcheck(0x20), Relation.SAME)

    monkeypatch.setattr(recover, "after_the_stop", after_the_stop)
    assert became(tmp_path, 31.5, boots=1, bugchecks=1) == Crashed(31.5, Bugcheck(0x20), Relation.SAME)
    boot, position, stale, after, outside = asked
    assert (boot.identity, position, stale, after, outside) == ("srv1/1", 0, b"old", 31.5, None)


def test_another_boot_alone_says_nothing(tmp_path: Path) -> None:
    outcome = became(tmp_path, 31.5, boots=1)
    assert isinstance(outcome, Invalid) and outcome.reason is InvalidReason.INTERRUPTED
    assert outcome.why.endswith("the host was started anew since, without a bugcheck in its log")


def test_a_host_that_cannot_be_asked_leaves_no_trial_open(tmp_path: Path) -> None:
    outcome = became(tmp_path, 31.5, reachable=False)
    assert isinstance(outcome, Invalid) and outcome.reason is InvalidReason.INTERRUPTED
    assert outcome.why.endswith("srv1 cannot be reached")
