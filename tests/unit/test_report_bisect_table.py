"""The live table of a search: who it could be, what each host does, what is spent."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta

import bisect_samples as plays
import pytest
import report_samples as samples
from rich.console import Console

from lab.cli import bisect_table as live
from lab.journal import Heartbeat, RunningTrial
from lab.model import Case, LoadPlan, Recipe, VerifierPlan
from lab.playbook import SEARCH

PLAY = plays.undecided()
CASE = PLAY.case(None, "")
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def running(
    number: int, host: str, begun: float, *, stood: float | None = None, beat: float = 2.0
) -> RunningTrial:
    """A trial begun so many seconds ago, whose last heartbeat is `beat` seconds old."""
    recipe = Recipe(frozenset(PLAY.services[:14]), VerifierPlan(), LoadPlan(seconds=600.0), "bisect")
    at = (NOW - timedelta(seconds=beat)).isoformat()
    heartbeat = None if stood is None else Heartbeat(stood, "boot", 0, frozenset(), None, at)
    return RunningTrial(
        CASE.id, number, host, recipe, (NOW - timedelta(seconds=begun)).isoformat(), heartbeat
    )


HOSTS = (
    running(15, "lab-1", 70.0),
    running(16, "lab-2", 400.0, stood=210.0),
    running(17, "lab-3", 900.0, stood=510.0, beat=94.0),
)


def shown(
    case: Case, hosts: tuple[RunningTrial, ...] = (), *, budget: float | None = 86400.0, width: int = 100
) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(live.render(case, hosts, budget_seconds=budget, now=NOW))
    return out.getvalue()


def test_suspects_are_those_of_the_playbook_and_leave_a_rest() -> None:
    found = live.suspects(CASE)
    assert len(found) == live.SHOWN
    odds = [s.probability for s in found]
    assert odds == sorted(odds, reverse=True)
    text = shown(CASE)
    assert re.search(rf"{re.escape(found[0].name)} +━+.* \d+ %", text)
    assert "all others" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_every_host_says_what_it_does_at_any_width(width: int) -> None:
    text = " ".join(shown(CASE, HOSTS, width=width).split())
    assert re.search(r"lab-1 trial 15 14 off .*getting ready", text)
    assert re.search(r"lab-2 trial 16 14 off .*under load", text)
    assert "lab-3 trial 17" in text and "silent" in text
    assert max(map(len, shown(CASE, HOSTS, width=width).splitlines())) <= width


def test_times_are_those_of_the_heartbeat() -> None:
    text = shown(CASE, HOSTS, width=120)
    assert "getting ready for 70 s" in text
    assert "under load 3 min 30 s of 10 min\n" in re.sub(" +\n", "\n", text)
    assert "under load 8 min 30 s of 10 min, silent 94 s" in text


def test_trials_of_other_cases_are_not_shown() -> None:
    other = RunningTrial("case-else", 1, "lab-9", HOSTS[0].recipe, NOW.isoformat())
    assert "lab-9" not in shown(CASE, (other,))


def test_the_budget_counts_what_is_under_way() -> None:
    done = sum(t.seconds for t in CASE.trials if t.recipe.purpose in set(SEARCH.values()))
    assert live.spent(CASE, (), NOW) == pytest.approx(done) and done > 0
    assert live.spent(CASE, HOSTS, NOW) == pytest.approx(done + 70 + 400 + 900)
    assert " of 24 h" in shown(CASE)
    assert " of " not in shown(CASE, budget=None).splitlines()[-1]


def test_an_open_case_and_a_host_without_candidates_have_a_table_too() -> None:
    assert live.suspects(samples.open_case()) == ()
    assert "no trials done" in shown(samples.open_case())


def test_names_are_no_markup_and_no_escapes() -> None:
    play = plays.hostile()
    case = play.case(None, "")
    host = RunningTrial(case.id, 1, "[red]evil\x1b[2J", HOSTS[0].recipe, NOW.isoformat())
    text = shown(case, (host,), width=160)
    assert "[red]evil\\u001b[2J" in text
    assert "\x1b" not in text and "\u202e" not in text


def test_without_a_terminal_a_trial_is_one_line() -> None:
    found = live.suspects(CASE)
    text = live.line(CASE, CASE.trials[-1], found, 86400.0)
    last = CASE.trials[-1]
    ended = r"(stood|crashed after) [\d]+ (s|min)( \d+ s)? of load"
    assert re.match(rf"trial {last.number} on {last.host}: {ended}; leading: ", text)
    assert text.endswith(" of 24 h") and "\n" not in text
