"""A bisect that is killed under load, started again, interrupted, and started again: nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bisect_twins import ENV, HOSTS, PASSWORD, Site, some_twins

from lab.journal import Journal, RunningTrial, open_journal
from lab.model import Crashed, Invalid, InvalidReason, Survived, VerdictKind
from lab.trials.recover import GONE
from lab.twin.catalogue import FEWEST

TWO = HOSTS[:2]
PATIENCE = 300.0  # a fifth of that is usual; the computer may be busy with something else


def bisect(site: Site, *what: str) -> subprocess.Popen[str]:
    return site.lab(
        *("bisect", *what, "--hosts", ",".join(TWO), "--load-seconds", "5", "--budget", "60", "--json"),
        *("-i", str(site.inventory), "--data", str(site.data)),
    )


def until(site: Site, process: subprocess.Popen[str], seen: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not seen():
        assert process.poll() is None, f"ended too early:\n{site.told()}"
        assert time.monotonic() < end, site.told()
        time.sleep(0.1)


def under_load(journal: Journal) -> list[RunningTrial]:
    """Trials that have been under load for a while."""
    return [r for r in journal.running_trials() if r.heartbeat is not None and r.heartbeat.seconds > 0]


@pytest.mark.skipif("BUGCHECK_LAB_LONG_STORIES" not in os.environ, reason="takes minutes: make story-bisect")
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_and_interrupted_and_the_same_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, PASSWORD)
    with some_twins(tmp_path, TWO, FEWEST, "random-single", hidden_seed=3, half_life=4.0) as site:
        before = site.settings()
        first = bisect(site, "--dump", str(site.customer_dump))
        site.data.mkdir(exist_ok=True)
        journal = open_journal(site.data / "journal.db")
        until(site, first, lambda: len(journal.cases()) == 1)
        case = journal.cases()[0].id
        until(site, first, lambda: len(journal.case(case).trials) >= 3 and bool(under_load(journal)))
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        left = journal.running_trials()
        ended = journal.case(case).trials
        assert 1 <= len(left) <= 2

        second = bisect(site, case)
        known = len(ended) + len(left)
        until(site, second, lambda: len(journal.case(case).trials) >= known + 2 and bool(under_load(journal)))
        trials = {t.number: t for t in journal.case(case).trials}
        for old in ended:
            assert trials[old.number] == old, "what is journalled stays as it is"
        for running in left:
            outcome, beat = trials[running.number].outcome, running.heartbeat
            if isinstance(outcome, Survived):
                assert beat is not None and outcome.after >= beat.seconds > 0
                assert outcome.cut_short == GONE
            elif isinstance(outcome, Crashed):
                assert beat is not None and outcome.dump in journal.case(case).crashes
            else:
                assert outcome.reason is InvalidReason.INTERRUPTED
        os.killpg(second.pid, signal.SIGINT)
        assert second.wait(timeout=PATIENCE) == 130, site.told()
        assert all(r.heartbeat is not None for r in journal.running_trials()), "stops that were being read"
        assert not any(journal.undo_pending(host) for host in TWO)
        assert site.settings() == before, "Ctrl-C leaves the hosts as they were found"
        assert journal.case(case).verdict is None

        third = bisect(site, case)
        told, _ = third.communicate(timeout=PATIENCE)
        assert third.returncode == 0, site.told()
        assert site.settings() == before
        answer = json.loads(told)
        trials_now = journal.case(case).trials
        assert [t.number for t in trials_now] == list(range(1, len(trials_now) + 1)), "none lost, none twice"
        invalid = [t.outcome for t in trials_now if isinstance(t.outcome, Invalid)]
        assert {each.reason for each in invalid} <= {InvalidReason.INTERRUPTED}, invalid
        assert answer["verdict"]["kind"] == VerdictKind.DRIVER
        assert tuple(answer["verdict"]["culprits"]) == site.culprits()
        assert "Traceback" not in site.told()
