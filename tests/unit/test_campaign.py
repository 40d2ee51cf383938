"""Several hosts on one case: no barriers, nothing lost, hosts left out, killed, interrupted."""

from __future__ import annotations

import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from campaign_world import SETUP, Killed, Lab, Stage, put_back

from lab import playbook
from lab.model import (
    Bugcheck,
    Crashed,
    EntryKind,
    GuestError,
    InfrastructureError,
    Invalid,
    InvalidReason,
    Outcome,
    Recipe,
    Relation,
    Survived,
    Verdict,
    VerdictKind,
)
from lab.playbook import Conclude, Pause, RunTrial, View
from lab.trials import Tasks, recover
from lab.trials.campaign import BETTER_USED, VERDICT_FIRST
from lab.trials.halt import Halt

ONE = (VerdictKind.DRIVER, ("drv05",))


def told(lab: Lab, kind: EntryKind) -> list[str]:
    return [entry.text for entry in lab.case().entries if entry.kind is kind]


@pytest.mark.parametrize("seed", range(4))
def test_four_hosts_find_one_driver(tmp_path: Path, seed: int) -> None:
    lab = Lab(tmp_path, ("drv05",), seed=seed)
    verdict = lab.search()
    case = lab.case()
    assert (verdict.kind, verdict.culprits) == ONE and verdict.probability >= 0.99
    assert case.verdict == verdict
    assert told(lab, EntryKind.VERDICT)[0].startswith("verdict: driver, drv05.sys (service drv05)")
    assert {t.host for t in case.trials} == {"srv1", "srv2", "srv3", "srv4"}
    busy = sum(t.seconds for t in case.trials)
    assert lab.stage.time < 0.35 * busy, "hosts do not wait for each other"
    assert all(c.put_back == 2 for c in lab.computers), "cleared before, put back after"


@pytest.mark.parametrize("seed", [0, 2])
def test_a_trial_whose_host_is_better_used_ends_early_and_what_it_stood_counts(
    tmp_path: Path, seed: int
) -> None:
    lab = Lab(tmp_path, ("drv05",), soak=600.0, mean=900.0, beat=20.0, seed=seed)
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == ONE
    trials = lab.case().trials
    ended = [t for t in trials if isinstance(t.outcome, Survived) and t.outcome.cut_short == BETTER_USED]
    assert ended and len(ended) < len(trials) / 2
    for trial in ended:
        assert isinstance(trial.outcome, Survived)
        assert 0 < trial.outcome.after < trial.recipe.load.seconds
        assert any(t.host == trial.host and t.number > trial.number for t in trials), "the host went on"
    seen = View(lab.case()).observations
    assert {t.number for t in ended} <= {o.trial for o in seen if o.seconds > 0 and not o.crashed}


def test_one_host_never_ends_its_own_trial(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=1, soak=600.0, mean=900.0, beat=20.0)
    assert (lab.search().kind, lab.search().culprits) == ONE
    assert not any(isinstance(t.outcome, Survived) and t.outcome.cut_short for t in lab.case().trials)


def test_what_ends_a_load_leaves_the_host_at_work() -> None:
    halt = Halt()
    halt.end_load("too early: no load has begun")
    halt.load_begins()
    assert not halt.load.is_set() and halt.cut == ""
    halt.end_load("enough")
    assert halt.load.is_set() and halt.cut == "enough" and not halt.asked
    halt.load_begins()
    assert not halt.load.is_set() and halt.cut == ""
    halt.ask("over")
    halt.load_begins()
    assert halt.load.is_set() and halt.asked and halt.cut == "over"


@pytest.mark.parametrize("trials", [1, 5])
def test_trials_that_the_verdict_overtakes_are_ended_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int
) -> None:
    """Under load they are cut short, and what they stood counts; before it they say nothing."""
    verdict = Verdict(VerdictKind.DRIVER, ("drv05",), 0.99, ())

    def ask(view: View, *running: object, **more: object) -> RunTrial | Pause | Conclude:
        done = len(view.case.trials) >= trials
        return Conclude(verdict) if done else playbook.ask(view, *running, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sys.modules[Tasks.__module__], "ask", ask)
    lab = Lab(tmp_path, ("drv05",), soak=300.0, mean=100.0, beat=30.0)
    assert lab.search() == verdict
    late = lab.case().trials[trials:]
    assert len(late) == 3
    assert all(t.seconds < SETUP + t.recipe.load.seconds for t in late)
    ends = [t.outcome for t in late]
    before = [end for end in ends if end == Invalid(InvalidReason.INTERRUPTED, VERDICT_FIRST)]
    cut = [end for end in ends if isinstance(end, Survived) and end.cut_short == VERDICT_FIRST]
    crashed = [end for end in ends if isinstance(end, Crashed)]  # before its halt was heard
    assert cut and len(before) + len(cut) + len(crashed) == 3
    assert bool(before) == (trials == 5)


def test_four_hosts_find_a_pair(tmp_path: Path) -> None:
    verdict = Lab(tmp_path, ("drv02", "drv09"), mean=4.0).search()
    assert (verdict.kind, verdict.culprits) == (VerdictKind.PAIR, ("drv02", "drv09"))


def test_the_same_hosts_do_the_same_again(tmp_path: Path) -> None:
    runs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        lab = Lab(tmp_path / name, ("drv05",))
        lab.search()
        runs.append([(t.number, t.host, t.recipe, t.outcome) for t in lab.case().trials])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("moment", [0.0, 30.0, 61.0, 66.5, 130.0, 201.0, 260.0, 333.0])
def test_killed_at_any_moment_and_started_again(tmp_path: Path, moment: float) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2)
    with pytest.raises(Killed):
        lab.search(Stage(kill_at=moment))
    with lab.open() as journal:
        before = {(r.host, r.number): r.heartbeat for r in journal.running_trials()}
        ended = journal.case(lab.id).trials
    assert before, "something was under way"
    verdict = lab.search()
    case = lab.case()
    assert (verdict.kind, verdict.culprits) == ONE
    assert case.trials[: len(ended)] == ended or {t.number for t in ended} <= {t.number for t in case.trials}
    assert [t.number for t in case.trials] == list(range(1, len(case.trials) + 1)), "none lost, none twice"
    for trial in case.trials:
        if (trial.host, trial.number) not in before:
            continue
        beat = before[trial.host, trial.number]
        if beat is None or beat.seconds == 0:
            assert isinstance(trial.outcome, Invalid) and trial.outcome.reason is InvalidReason.INTERRUPTED
        else:
            assert trial.outcome == Survived(beat.seconds, recover.GONE)
            assert trial.enabled == beat.enabled


def test_killed_again_and_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=3)
    for _ in range(40):
        try:
            verdict = lab.search(Stage(kill_at=150.0))
            break
        except Killed:
            continue
    assert (verdict.kind, verdict.culprits) == ONE


def test_a_host_that_crashed_while_nobody_looked_has_crashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2, mean=1000.0)
    with pytest.raises(Killed):
        lab.search(Stage(kill_at=64.5))
    lab.computers[0].boots += 1
    lab.computers[0].bugchecks += 1
    lab.computers[1].boots += 1  # somebody has reset this one

    def after_the_stop(bench: object, case: object, boot: object, *rest: object) -> Outcome:
        position, _, after, outside = rest
        assert (position, outside) == (0, None)
        return Crashed(float(after), Bugcheck(0x20), Relation.SAME)  # type: ignore[arg-type]

    monkeypatch.setattr(recover, "after_the_stop", after_the_stop)
    lab.mean = 2.0
    lab.search()
    first, second = lab.case().trials[:2]
    assert first.outcome == Crashed(4.0, Bugcheck(0x20), Relation.SAME)
    assert isinstance(second.outcome, Invalid) and "without a bugcheck" in second.outcome.why


@pytest.mark.parametrize("impatient", [False, True])
def test_ctrl_c_cuts_trials_short_and_puts_hosts_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: bool
) -> None:
    """However often it is pressed: a host that is left changed because of a second one would help nobody."""
    lab = Lab(tmp_path, ("drv05",), hosts=3, mean=1000.0)
    monkeypatch.setattr(sys.modules[Tasks.__module__], "put_back", put_back)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        lab.search(Stage(interrupt_at=66.0, impatient=impatient))
    assert signal.getsignal(signal.SIGINT) is before
    assert all(c.put_back == 2 for c in lab.computers)
    trials = lab.case().trials
    assert {type(t.outcome) for t in trials} == {Survived} and len(trials) == 3
    assert all(6.0 <= t.outcome.after <= 8.0 for t in trials if isinstance(t.outcome, Survived))
    assert {t.outcome.cut_short for t in trials if isinstance(t.outcome, Survived)} == {"interrupted"}
    assert "interrupted: ending the trials, putting the hosts back" in told(lab, EntryKind.WARNING)
    assert lab.case().verdict is None
    assert not [text for text in told(lab, EntryKind.WARNING) if "still changed" in text]
    lab.mean = 8.0
    assert lab.search().culprits == ("drv05",)


def test_a_host_that_fails_again_and_again_is_left_out(tmp_path: Path) -> None:
    broken = Invalid(InvalidReason.INFRASTRUCTURE, "the network is down")
    lab = Lab(tmp_path, ("drv05",), invalid=lambda host, recipe: broken if host == "srv2" else None)
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == ONE
    assert sum(t.host == "srv2" for t in lab.case().trials) == 3
    (said,) = told(lab, EntryKind.WARNING)
    assert said.startswith("srv2 is left out: 3 trials in a row were invalid") and said.endswith("down")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [(InvalidReason.INFRASTRUCTURE, InfrastructureError), (InvalidReason.NOT_APPLIED, GuestError)],
)
def test_without_any_host_there_is_no_verdict(
    tmp_path: Path, reason: InvalidReason, kind: type[Exception]
) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2, invalid=lambda host, recipe: Invalid(reason, "never"))
    with pytest.raises(kind, match="3 trials in a row were invalid on srv"):
        lab.search()
    assert len(lab.case().trials) == 6 and lab.case().verdict is None


def test_a_host_that_cannot_be_prepared_is_left_out_and_one_of_many_errors_is_told(tmp_path: Path) -> None:
    gone = InfrastructureError("srv1 cannot be reached")
    lab = Lab(tmp_path, ("drv05",), raises=lambda host: gone if host == "srv1" else None)
    assert lab.search().culprits == ("drv05",)
    assert "srv1 is left out: srv1 cannot be reached" in told(lab, EntryKind.WARNING)
    lab.raises = lambda host: gone
    with pytest.raises(InfrastructureError, match="srv1 cannot be reached"):
        lab.search()


def test_what_is_no_error_of_the_lab_ends_it_all(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), raises=lambda host: ZeroDivisionError() if host == "srv3" else None)
    with pytest.raises(ZeroDivisionError):
        lab.search()
    assert lab.case().trials == ()


def test_a_set_that_does_not_boot_is_left_alone_and_its_host_put_back(tmp_path: Path) -> None:
    dead = Invalid(InvalidReason.NOT_BOOTED, "waited 600 s for boot")

    def invalid(host: str, recipe: Recipe) -> Invalid | None:
        return dead if {"drv09", "drv10"} <= recipe.disabled else None

    lab = Lab(tmp_path, ("drv05",), hosts=2, invalid=invalid)
    verdict = lab.search()
    assert (verdict.kind, verdict.culprits) == ONE
    failed = [t.recipe.disabled for t in lab.case().trials if t.outcome == dead]
    assert failed and all(failed.count(each) <= 2 for each in failed)
    assert sum(c.put_back for c in lab.computers) == 4 + len(failed)


def test_a_budget_is_kept_and_what_would_decide_is_said(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2)
    verdict = lab.search(budget=600.0)
    spent = sum(t.seconds for t in lab.case().trials)
    assert verdict.kind in (VerdictKind.UNDECIDED, VerdictKind.ONE_OF)
    assert any(text.startswith("what would decide it") for text in verdict.because)
    assert 400.0 < spent <= 600.0 + 2 * 10.0
    again = lab.search(budget=600.0)
    assert again == verdict and sum(t.seconds for t in lab.case().trials) == spent
    assert lab.search(budget=6000.0).culprits == ("drv05",)


def test_no_load_is_longer_than_its_host_allows(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",), hosts=2)
    lab.computers[1].most_seconds = 11.0
    lab.search()
    longest = {
        h: max(t.recipe.load.seconds for t in lab.case().trials if t.host == h) for h in ("srv1", "srv2")
    }
    assert longest["srv2"] <= 11.0 < longest["srv1"]


def test_no_two_trials_get_the_same_load(tmp_path: Path) -> None:
    lab = Lab(tmp_path, ("drv05",))
    lab.search()
    trials = lab.case().trials
    assert all(a.recipe.load.seed != b.recipe.load.seed for a, b in pairwise(trials))
