"""The page of one dump: all there, escaped, standing alone, and honest about how much it says."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
import report_samples as samples
from html_outline import Outline

from lab.model import Bugcheck, Evidence, ExceptionRecord, Origin, Strength, Suspect, Triage
from lab.report.cleaned import cleaned
from lab.report.triage_html import render_triage_html
from lab.report.triage_page import page
from lab.report.unreadable import Unreadable, render_unreadable

RECORD = ExceptionRecord(
    0xC0000005,
    "STATUS_ACCESS_VIOLATION",
    0x10,
    "BadDriver+0x4",
    "parameter 3",
    0,
    (1, 0x20),
    (("rax", 0x77), ("eflags", 0x246)),
    "parameter 4",
)


def fault() -> Triage:
    return replace(samples.full_triage(), exception=RECORD)


def hostile() -> Triage:
    """Every text of the triage is one that would do harm."""
    return cleaned(fault(), lambda _: samples.HOSTILE)


def silent() -> Triage:
    """A dump of which nothing but its header could be read."""
    full = samples.full_triage()
    return Triage(full.dump, Bugcheck(0x20), None, (), (), full.signature, notes=("There is nothing.",))


TRIAGES = {
    "full": samples.full_triage,
    "fault": fault,
    "plain": samples.dispatch_triage,
    "hostile": hostile,
    "silent": silent,
}
PAGES = {name: render_triage_html(make()) for name, make in TRIAGES.items()}
PAGES["unreadable"] = render_unreadable(Unreadable("a.dmp", "it is cut off", "Half of it.", "Copy it again."))
PAGES["hostile unreadable"] = render_unreadable(Unreadable(*[samples.HOSTILE] * 4))
every = pytest.mark.parametrize("name", PAGES)


@every
def test_tags_are_balanced_ids_unique_and_references_lead_somewhere(name: str) -> None:
    outline = Outline(PAGES[name])
    assert outline.faults == [] and outline.open == []
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    links = [value for value in outline.values("href") if value != "data:,"]
    assert all(value.startswith("#") and value[1:] in ids for value in links)
    labels = [part for value in outline.values("aria-labelledby") for part in value.split()]
    assert set(labels) <= set(ids)


@every
def test_the_page_needs_nothing_from_outside(name: str) -> None:
    outline = Outline(PAGES[name])
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(outline.tags)
    assert outline.values("src") == []
    style = re.findall(r"<style>(.*?)</style>", PAGES[name], re.S)
    assert not any("url(" in s or "@import" in s or "@font-face" in s for s in style)
    policy = next(v for v in outline.values("content") if "default-src" in v)
    assert policy.startswith("default-src 'none'; ")


@every
def test_headings_form_an_outline(name: str) -> None:
    levels = Outline(PAGES[name]).headings
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", ["hostile", "hostile unreadable"])
def test_hostile_text_is_shown_and_does_nothing(name: str) -> None:
    outline = Outline(PAGES[name])
    assert outline.tags.count("script") == (name == "hostile")
    assert not [attribute for _, attribute, _ in outline.attributes if attribute.startswith("on")]
    assert "<script>alert('x')</script>" in outline.words
    assert not set(PAGES[name]) & {"\u202e", "\x1b", "\ud800"}
    PAGES[name].encode("utf-8")
    allowed = set(Outline(PAGES["full"]).tags) | set(Outline(PAGES["plain"]).tags)
    assert set(outline.tags) <= allowed


def test_everything_is_on_the_page() -> None:
    words = Outline(PAGES["full"]).words
    for part in (
        "DRIVER_VERIFIER_DETECTED_VIOLATION (c4)",
        "BadDriver.sys is suspected",
        "Arg2 fffff880`01345610",
        "points to BadDriver.sys",
        "saved state fffffa804b729790",
        "189600 BadDriver.sys",
        "nt!VfAfterCallDriver+0x33e",
        "rsi fffffa80`4b729792",
        "Suspect.sys made 90 of 110 entries",
        "12 older entries not shown",
        "PeakPagedBytes 4 096",
        "nt!KiIdleLoop+0x2d",
        "crashdmp.sys",
        "the length is a power of two",
        "nt!VfKeCriticalRegionTraces = nt+0x985c00 (built-in table)",
        "srv2.pdb 339E74133576439CBCDF7E0229DA37731",
        "They were looked for in: folder /symbols built-in",
        "The name of volume 0xfffffa804a3b0800 is not in the dump.",
    ):
        assert part in words, part


def test_an_exception_is_shown_with_its_registers() -> None:
    words = Outline(PAGES["fault"]).words
    for part in (
        "0xc0000005 STATUS_ACCESS_VIOLATION",
        "00000000`00000010 BadDriver+0x4",
        "Attempt to write to address 0000000000000020",
        "rax 00000000`00000077",
        "eflags iopl=0 nv up ei pl zr na pe nc",
        "Read from parameter 4.",
    ):
        assert part in words, part


def test_the_request_is_on_the_page() -> None:
    full = samples.full_triage()
    assert full.dispatch is not None
    asked = replace(full, dispatch=replace(full.dispatch, irp=0xFFFFFA804BA0DB80, major=3))
    assert "fffffa80`4ba0db80, IRP_MJ_READ" in Outline(render_triage_html(asked)).words


def test_equal_suspects_each_have_their_reason() -> None:
    two = tuple(Suspect(f"{name}.sys", 0.5, ("The same fact.",)) for name in ("A", "B"))
    found = render_triage_html(replace(samples.full_triage(), suspects=two))
    assert found.partition('id="evidence"')[0].count("The same fact.") == 2


def test_unwound_and_scanned_frames_are_told_apart() -> None:
    found = PAGES["full"]
    assert len(re.findall(r'<li class="[^"]*frame-scanned', found)) == 2
    assert found.count("<em>scanned</em>") == 3, "two frames and the sentence below"
    assert found.count("the headers of srv2.sys are not in the dump") == 1
    assert "scanned" not in Outline(PAGES["plain"]).words


def test_registers_are_there_on_demand() -> None:
    found = PAGES["full"]
    frames = re.findall(r"<details><summary class=\"frame\".*?</details>", found, re.S)
    assert len(frames) == 2
    assert not any("<details open" in frame for frame in frames)


@pytest.mark.parametrize(
    ("strength", "loud", "worth"),
    [
        (Strength.PROOF, True, "proof"),
        (Strength.STRONG, True, "strong, but not proof"),
        (Strength.MODERATE, False, "a lead"),
        (Strength.WEAK, False, "a hint"),
    ],
)
def test_the_verdict_is_as_loud_as_its_strongest_fact(strength: Strength, loud: bool, worth: str) -> None:
    fact = Evidence("rule", "It did it.", strength, "rbx", points_to=("BADDRIVER.sys",))
    other = Evidence("rule", "It stopped.", Strength.PROOF, "header")
    one = (Suspect("BadDriver.sys", 1.0, ("it did it",)),)
    answer = page(replace(samples.full_triage(), evidence=(fact, other), suspects=one)).answer
    assert answer.sentence == "BadDriver.sys is suspected"
    assert (answer.kind == "driver") is loud
    assert worth in answer.worth


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({}, "This dump speaks against no driver"),
        ({"a.sys": 0.5, "b.sys": 0.5}, "a.sys or b.sys is suspected"),
        ({"a.sys": 0.6, "b.sys": 0.4}, "a.sys is suspected"),
        ({"a.sys": 1 / 3, "b.sys": 1 / 3, "c.sys": 1 / 3}, "a.sys, b.sys or c.sys is suspected"),
        ({f"{i}.sys": 0.2 for i in range(5)}, "One of 5 drivers is suspected"),
    ],
)
def test_the_verdict_line(weights: dict[str, float], sentence: str) -> None:
    suspects = tuple(Suspect(image, weight, ()) for image, weight in weights.items())
    assert page(replace(samples.full_triage(), suspects=suspects)).answer.sentence == sentence


def test_a_module_of_windows_is_where_the_fault_shows_and_no_suspect() -> None:
    shown = samples.full_triage()
    image = next(m.name for m in shown.modules if m.origin is Origin.IN_BOX)
    answer = page(replace(shown, suspects=(Suspect(image, 1.0, ()),))).answer
    assert answer.sentence == f"The fault shows in {image}, which comes with Windows"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (0x80, "A non-maskable interrupt stopped the system"),
        (0xE2, "The system was stopped on purpose"),
    ],
)
def test_a_stop_from_outside_accuses_nobody(code: int, sentence: str) -> None:
    found = page(replace(samples.full_triage(), bugcheck=Bugcheck(code), suspects=()))
    assert found.answer.sentence == sentence


def test_the_way_of_a_request_is_told_as_the_stop_tells_it() -> None:
    shown = samples.dispatch_triage()
    assert shown.dispatch is not None
    irql = Bugcheck(0xC9, (0x12, shown.dispatch.dispatch_routine, 0, 2))
    found = page(replace(shown, bugcheck=irql, dispatch=replace(shown.dispatch, major=4, address=0))).path
    assert found is not None
    assert found.did == "its dispatch routine changed the IRQL"
    assert "handles WRITE" in {step.detail for step in found.steps}
    labels = {fact.label: fact.value for fact in found.facts}
    assert "APC disable count before" not in labels, "parameter 4 is an IRQL"
    assert "is a guess" in labels["Saved state"]


def test_equal_triages_give_equal_pages() -> None:
    assert render_triage_html(samples.full_triage()) == PAGES["full"]
