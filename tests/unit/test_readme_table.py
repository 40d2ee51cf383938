"""README's table of measurements is the one of the last run of `make bench-analyser`."""

from __future__ import annotations

import json

from benchmarks.readme_table import README, RESULTS, between, replaced, table


def test_readme_shows_what_was_measured() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    text = README.read_text("utf-8")
    assert between(text) == table(results), "run `python -m benchmarks.readme_table`"
    assert replaced(text, table(results)) == text


def test_every_goal_is_met() -> None:
    rows = json.loads(RESULTS.read_text("utf-8"))["rows"]
    assert [row["name"] for row in rows if row["goal"] and row["met"] is not True] == []
    assert len([row for row in rows if row["goal"]]) >= 8
