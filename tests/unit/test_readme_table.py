"""The tables in README and docs are those of the last runs, and what was measured meets its goals."""

from __future__ import annotations

import json

import pytest

from benchmarks.readme_table import FUZZ, RESULTS, between, replaced, tables


@pytest.mark.parametrize("index", [0, 1], ids=["speed", "damaged files"])
def test_the_table_is_what_was_measured(index: int) -> None:
    path, marks, content = tables()[index]
    text = path.read_text("utf-8")
    assert between(text, marks) == content, "run `python -m benchmarks.readme_table`"
    assert replaced(text, marks, content) == text


def test_every_goal_is_met() -> None:
    rows = json.loads(RESULTS.read_text("utf-8"))["rows"]
    assert [row["name"] for row in rows if row["goal"] and row["met"] is not True] == []
    assert len([row for row in rows if row["goal"]]) >= 8


def test_a_hundred_thousand_damaged_files_without_a_finding() -> None:
    results = json.loads(FUZZ.read_text("utf-8"))
    assert results["inputs"] >= 100_000
    assert results["findings"] == 0
    assert max(row["slowest_cpu_seconds"] for row in results["rows"]) < results["limits"]["cpu_seconds"]
    assert max(row["most_memory_mib"] for row in results["rows"]) < results["limits"]["memory_mib"]
