"""A bisect end to end, as a user runs it: four simulated servers with 32 third-party drivers each, a crash
that does not always come, and a culprit, or a pair, that no dump names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bisect_twins import ENV, HOSTS, PASSWORD, Site, four_twins

from lab.journal import open_journal
from lab.model import Invalid, InvalidReason, Survived, VerdictKind
from lab.trials.campaign import BETTER_USED

PATIENCE = 420.0  # a sixth of that is usual; the computer may be busy with something else
EXPECTED = (InvalidReason.INTERRUPTED, InvalidReason.NOT_BOOTED)
LONG = pytest.mark.skipif(
    "BUGCHECK_LAB_LONG_STORIES" not in os.environ, reason="takes minutes: make story-bisect"
)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, PASSWORD)


def solved(site: Site, soak: float, kind: VerdictKind, patience: float) -> None:
    """`lab bisect` names what the twins have sealed, writes its report, and leaves the hosts as found."""
    before = site.settings()
    process = site.lab(
        *("bisect", "--dump", str(site.customer_dump), "--hosts", ",".join(HOSTS)),
        *("--load-seconds", str(soak), "--budget", "60", "--json"),
        *("-i", str(site.inventory), "--data", str(site.data)),
    )
    told, _ = process.communicate(timeout=patience)
    found = process.returncode == 0 or kind is VerdictKind.SYSTEM  # which is no driver's name
    assert found, site.told()
    answer = json.loads(told)
    journal = open_journal(site.data / "journal.db")
    trials = journal.case(answer["case"]).trials
    ended = [
        t.outcome for t in trials if isinstance(t.outcome, Survived) and t.outcome.cut_short == BETTER_USED
    ]
    print(f"{len(trials)} trials, {len(ended)} ended early; {answer['machine_minutes']} machine-minutes")
    assert site.settings() == before
    assert not any(journal.undo_pending(host) for host in HOSTS) and not journal.running_trials()
    assert {trial.host for trial in trials} == set(HOSTS)
    wrong = [t.outcome for t in trials if isinstance(t.outcome, Invalid)]
    strange = [each for each in wrong if each.reason not in EXPECTED]
    assert len(strange) <= 2, strange  # a host that crashes while its load is set up
    verdict = answer["verdict"]
    assert verdict["kind"] == kind
    assert verdict["probability"] >= 0.99
    culprits = site.culprits()
    assert sorted(verdict["culprits"]) == sorted(culprits)
    report = Path(answer["report"]).read_text("utf-8")
    assert all(culprit in report for culprit in culprits)
    assert PASSWORD not in site.told() + report


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_unknown_driver_that_crashes_every_other_time(tmp_path: Path) -> None:
    with four_twins(tmp_path, "random-single", hidden_seed=7, half_life=4.0) as site:
        solved(site, 4.0, VerdictKind.DRIVER, PATIENCE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_unknown_pair_that_crashes_four_times_of_five(tmp_path: Path) -> None:
    with four_twins(tmp_path, "random-pair", hidden_seed=5, half_life=1.3) as site:
        solved(site, 3.0, VerdictKind.PAIR, PATIENCE)


@LONG
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("plots", "hidden_seed", "kind"),
    [
        (["random-single", "unrelated"], 3, VerdictKind.DRIVER),
        (["random-pair"], 11, VerdictKind.PAIR),
        (["random-either"], 2, VerdictKind.EACH_OF),
        (["random-lottery"], 9, VerdictKind.DRIVER),
        (["random-single", "no-boot"], 5, VerdictKind.DRIVER),
        (["system"], 1, VerdictKind.SYSTEM),
    ],
    ids=["driver-and-unrelated-crashes", "pair", "each-of-two", "lottery", "driver-and-no-boot", "system"],
)
def test_every_other_soak_of_eight_seconds(
    tmp_path: Path, plots: list[str], hidden_seed: int, kind: VerdictKind
) -> None:
    with four_twins(tmp_path, *plots, hidden_seed=hidden_seed, half_life=8.0) as site:
        solved(site, 8.0, kind, 1200.0)
