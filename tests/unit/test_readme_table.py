"""The tables in README and docs are those of the last runs, and what was measured meets its goals."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.readme_table import BISECT, FUZZ, RESULTS, SFTP, SMB, SMB_PICTURE, between, replaced, tables


@pytest.mark.parametrize(
    "index", range(6), ids=["speed", "damaged files", "SMB2 goals", "SMB2", "SFTP", "bisect"]
)
def test_the_table_is_what_was_measured(index: int) -> None:
    path, marks, content = tables()[index]
    text = path.read_text("utf-8")
    assert between(text, marks) == content, "run `python -m benchmarks.readme_table`"
    assert replaced(text, marks, content) == text


NOT_REACHED = {
    ("4 KiB READs a second from Samba", "aiosmb"),
}
"""Why: docs/explanation/smb-speed.md. The table says so, too."""


@pytest.mark.parametrize(
    ("path", "goals"),
    [(RESULTS, 8), (SMB, 12), (SFTP, 1), (BISECT, 20)],
    ids=["analyser", "SMB2", "SFTP", "bisect"],
)
def test_every_goal_is_met(path: Path, goals: int) -> None:
    rows = json.loads(path.read_text("utf-8"))["rows"]
    missed = {(row["name"], row["peer_name"]) for row in rows if row["goal"] and row["met"] is not True}
    assert missed - NOT_REACHED == set()
    assert len([row for row in rows if row["goal"]]) >= goals


def test_the_picture_shows_every_client_that_the_table_compares_with() -> None:
    shown = {text.text for text in ElementTree.parse(SMB_PICTURE).iter("{http://www.w3.org/2000/svg}text")}
    rows = json.loads(SMB.read_text("utf-8"))["rows"]
    assert {row["peer_name"] for row in rows if not row["name"].startswith("Copy")} - {""} <= shown


def test_a_hundred_thousand_damaged_files_without_a_finding() -> None:
    results = json.loads(FUZZ.read_text("utf-8"))
    assert results["inputs"] >= 100_000
    assert results["findings"] == 0
    assert max(row["slowest_cpu_seconds"] for row in results["rows"]) < results["limits"]["cpu_seconds"]
    assert max(row["most_memory_mib"] for row in results["rows"]) < results["limits"]["memory_mib"]
