"""What a search tells while it runs: each trial a line, without a terminal too."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lab.cli.bisect_watch import SearchWatch
from lab.journal import Heartbeat, Journal, open_journal
from lab.model import (
    Driver,
    EntryKind,
    LoadPlan,
    Origin,
    Recipe,
    Signature,
    StartType,
    Survived,
    VerifierPlan,
)

DRIVERS = [
    Driver(s, f"{s}.sys", "", StartType.SYSTEM, True, origin=Origin.THIRD_PARTY) for s in ("av", "dlp")
]


def play(journal: Journal, case: str) -> None:
    """A trial of an earlier run is not told again, those of now are."""
    number = journal.begin_trial(
        case, "srv1", Recipe(frozenset({"av"}), VerifierPlan(), LoadPlan(), "bisect")
    )
    journal.note(case, EntryKind.STEP, f"Bisect, srv1: step {number}", number)
    journal.note(case, EntryKind.ACTION, "restarting [red]", number)
    journal.beat(case, number, Heartbeat(3.0, "7", 1, frozenset({"dlp"})))
    journal.end_trial(case, number, Survived(8.0), {"dlp"}, None, 90.0)
    journal.note(case, EntryKind.WARNING, "no dump to read", number)
    journal.note(case, EntryKind.WARNING, "srv2 is left out: [bold]gone")


@pytest.mark.parametrize("terminal", [False, True])
def test_every_trial_is_told_once(tmp_path: Path, terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    with open_journal(tmp_path / "j.db") as journal:
        case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        journal.set_drivers(case, DRIVERS)
        play(journal, case)
        with SearchWatch(console, journal, case, 600.0):
            play(journal, case)
    said = text.getvalue()
    assert said.count("2. Bisect, srv1: step 2") == 1 and "step 1" not in said
    assert said.count("→ trial 2 on srv1: stood 8 s of load") == 1 and "trial 1" not in said
    assert "3 min of 10 min" in said
    assert said.count("srv2 is left out: [bold]gone") == 1
    assert "trial 2: no dump to read" in said
    assert "restarting" not in said


def test_what_was_interrupted_is_told_to_its_end(tmp_path: Path) -> None:
    text = io.StringIO()
    with open_journal(tmp_path / "j.db") as journal:
        case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        journal.set_drivers(case, DRIVERS)
        with (
            pytest.raises(KeyboardInterrupt),
            SearchWatch(Console(file=text, width=100), journal, case, None),
        ):
            play(journal, case)
            raise KeyboardInterrupt
    assert "→ trial 1 on srv1: stood 8 s of load" in text.getvalue()


def test_a_trial_that_a_dead_process_left_behind_is_not_shown_as_running(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, color_system=None)
    with open_journal(tmp_path / "j.db") as journal:
        case = journal.new_case("t", Signature(0x20, 0, "", ()), LoadPlan()).id
        journal.set_drivers(case, DRIVERS)
        recipe = Recipe(frozenset({"av"}), VerifierPlan(), LoadPlan(), "bisect")
        journal.begin_trial(case, "srv8", recipe)
        watch = SearchWatch(console, journal, case, 600.0)
        journal.begin_trial(case, "srv9", recipe)
        with watch:
            watch.look()
    said = text.getvalue()
    assert "srv9" in said and "srv8" not in said
    assert "dlp.sys" in said, "who it could be is shown before the first trial ends"
