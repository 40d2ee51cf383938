"""Markdown, JSON, and files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import report_samples as samples
from markdown_it import MarkdownIt

from lab.model import ConfigurationError
from lab.report.data import read_json, render_json
from lab.report.files import write_report
from lab.report.markdown import code, render_markdown, text

GOLDEN = Path(__file__).parents[1] / "golden" / "report"


@pytest.mark.parametrize("name", ["played", "callback", "not-reproducible", "system"])
def test_markdown_is_as_last_approved(name: str) -> None:
    """Set BUGCHECK_LAB_APPROVE=1 to write the files anew, then read the difference."""
    golden = GOLDEN / f"{name}.md"
    found = render_markdown(samples.ALL[name]())
    if os.environ.get("BUGCHECK_LAB_APPROVE"):
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", samples.ALL)
def test_rows_of_a_markdown_table_have_as_many_cells_as_its_head(name: str) -> None:
    lines = render_markdown(samples.ALL[name]()).split("\n")
    for i, line in enumerate(lines):
        if not line.startswith("| --- ") and not line.startswith("|  --- ") and not line.startswith("| ---"):
            continue
        cells = line.count("|")
        for row in (lines[i - 1], *lines[i + 1 :]):
            if not row.startswith("|"):
                break
            assert len(re.findall(r"(?<!\\)\|", row)) == cells, row


def test_hostile_text_does_nothing_in_markdown() -> None:
    """As a CommonMark reader that lets HTML through sees it."""
    found = render_markdown(samples.hostile_case())
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(found)
    tags = set(re.findall(r"<(\w+)", shown))
    assert tags <= {"h1", "h2", "h3", "p", "ul", "ol", "li", "strong", "code", "blockquote"} | {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert "&lt;script&gt;alert" in shown
    found.encode("utf-8")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a_b*c", r"a\_b\*c"),
        ("two\nlines", "two lines"),
        ("# not a heading", r"\# not a heading"),
        ("- not a list", r"\- not a list"),
        ("a|b", r"a\|b"),
    ],
)
def test_markdown_text_is_escaped(given: str, shown: str) -> None:
    assert text(given) == shown


def test_a_code_span_holds_backticks() -> None:
    assert code("fffff880`05db1b08") == "`` fffff880`05db1b08 ``"
    assert code("plain") == "`plain`"
    assert code("") == ""


@pytest.mark.parametrize("name", [n for n in samples.ALL if n != "hostile"])
def test_json_reads_back_as_the_same_case(name: str) -> None:
    case = samples.ALL[name]()
    assert read_json(render_json(case)) == case


def test_json_of_hostile_text_is_ascii_and_readable() -> None:
    found = render_json(samples.hostile_case())
    assert found.isascii()
    read_json(found)


def test_json_holds_sets_in_order_and_whole_addresses() -> None:
    found = json.loads(render_json(samples.minifilter_case()))
    trial = found["trials"][0]
    assert trial["enabled"] == sorted(trial["enabled"])
    assert found["crashes"][samples.SHA[4]]["bugcheck"]["parameters"][1] == "0xfffff88001345610"


@pytest.mark.parametrize(
    ("suffix", "start"), [(".html", "<!DOCTYPE html>"), (".md", "# BadDriver"), (".json", "{")]
)
def test_the_suffix_decides_the_form(tmp_path: Path, suffix: str, start: str) -> None:
    path = write_report(samples.minifilter_case(), tmp_path / "new" / f"report{suffix}")
    assert path.read_text(encoding="utf-8").startswith(start)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_old_report_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    write_report(samples.undecided_case(), path)
    assert "Not decided yet" in path.read_text(encoding="utf-8")


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"its suffix is none of \.html, \.md, \.json"):
        write_report(samples.minifilter_case(), tmp_path / "report.pdf")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind_when_the_place_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="the report cannot be written to"):
        write_report(samples.minifilter_case(), tmp_path / "file" / "report.html")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(ConfigurationError, match="the report cannot be written to"):
        write_report(samples.minifilter_case(), tmp_path / "taken.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken.html"]
