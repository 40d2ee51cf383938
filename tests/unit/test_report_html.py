"""The page is whole, stands alone, escapes everything, and says each kind of verdict honestly."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import report_samples as samples
from html_outline import Outline

from lab.model import Case, Verdict, VerdictKind
from lab.report.html import render_html

PAGES = {name: render_html(make()) for name, make in samples.ALL.items()}
every = pytest.mark.parametrize("name", PAGES)


@every
def test_tags_are_balanced_and_ids_are_unique(name: str) -> None:
    outline = Outline(PAGES[name])
    assert outline.faults == []
    assert outline.open == []
    ids = outline.values("id")
    assert len(ids) == len(set(ids))


@every
def test_every_reference_leads_somewhere(name: str) -> None:
    outline = Outline(PAGES[name])
    ids = set(outline.values("id"))
    links = [v for v in outline.values("href") if v != "data:,"]
    assert all(v.startswith("#") and v[1:] in ids for v in links)
    labels = [part for v in outline.values("aria-labelledby") for part in v.split()]
    assert set(labels) <= ids


@every
def test_the_page_needs_nothing_from_outside(name: str) -> None:
    outline = Outline(PAGES[name])
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(outline.tags)
    assert outline.values("src") == []
    style = re.findall(r"<style>(.*?)</style>", PAGES[name], re.S)
    assert not any("url(" in s or "@import" in s or "@font-face" in s for s in style)
    assert "http:" not in PAGES[name] and "https:" not in PAGES[name]


@every
def test_headings_form_an_outline(name: str) -> None:
    levels = Outline(PAGES[name]).headings
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@every
def test_the_policy_allows_exactly_the_pages_own_script(name: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", PAGES[name], re.S)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = next(v for v in Outline(PAGES[name]).values("content") if "default-src" in v)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_hostile_text_is_shown_and_does_nothing() -> None:
    page = PAGES["hostile"]
    outline = Outline(page)
    assert outline.tags.count("script") == 1
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert "<script>alert('x')</script>" in outline.words
    assert "\\u202egnp.sys" in outline.words
    assert not set(page) & {"\u202e", "\x1b", "\ud800"}
    page.encode("utf-8")
    allowed = set(Outline(PAGES["minifilter"]).tags)
    assert set(outline.tags) <= allowed


def test_equal_cases_give_equal_pages_in_every_process() -> None:
    here = Path(__file__).parent
    program = (
        "import hashlib, report_samples as s; from lab.report.html import render_html;"
        "print(hashlib.sha256(render_html(s.callback_case()).encode()).hexdigest())"
    )
    expected = hashlib.sha256(PAGES["callback"].encode()).hexdigest()
    for seed in ("1", "2"):
        path = os.pathsep.join((str(here), str(here.parents[1])))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == expected


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("minifilter", "BadDriver.sys leaves APCs disabled; removing it stops the crash."),
        ("callback", "GuardHook.sys leaves APCs disabled; removing it stops the crash."),
        ("undecided", "Not decided yet: it may be GuardHook.sys, LucernaMon.sys or Suspect.sys."),
        ("one-of", "Either GuardHook.sys or hvstor.sys leaves APCs disabled."),
        ("system", "None of the removable third-party drivers is to blame: the crash comes without them."),
        ("not-reproducible", "The crash did not come back in the lab."),
        ("open", "This case is still open."),
    ],
)
def test_the_verdict_is_one_sentence(name: str, headline: str) -> None:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", PAGES[name], re.S)
    assert found and re.sub("<[^>]+>", "", found[1]) == headline


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("minifilter", "Without it: stood 40 s of load where crashes came after 6.6 s on average (trial 5)."),
        ("minifilter", "With it alone: crashed after 5.9 s of load (trial 6)."),
        ("minifilter", "99.4 %"),
        ("minifilter", "minifilter at altitude 189600 (hierarchical storage)"),
        ("minifilter", "for a version newer than 4.2.1.88"),
        ("minifilter", samples.SHA[4]),  # the dump to send is the one of the guilty call
        ("undecided", "A crash with I/O verification (0x10) on"),
        ("one-of", "A host where hvstor.sys can be switched off. Here it cannot"),
        ("one-of", "With hvstor.sys on and GuardHook.sys off: stood 60 s"),
        ("system", "The same trial on other hardware"),
        ("not-reproducible", "A lab host that also has VanArsdelFs.sys"),
        ("not-reproducible", "Change nothing on this evidence alone"),
        ("no-dump", "No dump: the page file was too small for a kernel dump."),
        ("no-dump", "No dump has been read in this case"),
        ("callback", "Says nothing"),
    ],
)
def test_the_page_says(name: str, words: str) -> None:
    assert words in Outline(PAGES[name]).words


def test_a_removal_is_promised_only_when_it_was_tried() -> None:
    case = samples.minifilter_case()
    untried = replace(case, trials=case.trials[:4])
    page = Outline(render_html(untried)).words
    assert "BadDriver.sys leaves APCs disabled." in page
    assert "removing it" not in page


def test_crashes_against_the_verdict_are_not_hidden() -> None:
    case = samples.minifilter_case()
    wrong = replace(case, verdict=Verdict(VerdictKind.DRIVER, ("Suspect",), 0.7, ()))
    page = Outline(render_html(wrong)).words
    assert "Against this verdict: trials 3, 4 and 6 crashed with it off." in page
    assert "removing it" not in page


def test_the_dump_that_says_most_is_open_and_the_customers_comes_first() -> None:
    page = PAGES["minifilter"]
    heads = re.findall(
        r'<details class="crash" id="(crash-\d+)"( open)?>\s*<summary>(.*?)</summary>', page, re.S
    )
    assert "The customer’s crash" in heads[0][2]
    assert [(anchor, "Trial 4" in text) for anchor, is_open, text in heads if is_open] == [("crash-5", True)]


def test_a_title_of_ones_own_replaces_the_cases() -> None:
    page = render_html(samples.minifilter_case(), title="FS-PROD-04 & friends")
    assert "FS-PROD-04 &amp; friends" in page
    assert "stops several times a day" not in page


def test_a_case_that_is_not_about_apcs_gets_no_sign() -> None:
    case = samples.minifilter_case()
    other = replace(case, expected=replace(case.expected, code=0xD1), crashes={}, customer="")
    page = Outline(render_html(other)).words
    assert "BadDriver.sys causes the crash" in page
    assert "do not disturb" not in page


def test_a_culprit_the_host_does_not_list_is_still_named() -> None:
    case = replace(samples.minifilter_case(), drivers=())
    assert "BadDriver leaves APCs disabled" in Outline(render_html(case)).words


def _contrast(a: str, b: str) -> float:
    """Contrast ratio of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        text = colour.lstrip("#")
        text = "".join(c * 2 for c in text) if len(text) == 3 else text
        parts = [int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_its_ground(scheme: int) -> None:
    root = re.findall(r":root \{(.*?)\}", PAGES["open"], re.S)[scheme]
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", root))
    pairs = [(ink, ground) for ink in ("ink", "ink-2", "ink-3", "blue", "red") for ground in ("bg", "card")]
    pairs += [(name, f"{name}-soft") for name in ("red", "green", "amber", "blue")]
    pairs += [("hang-ink", "hang"), ("green", "card"), ("ink-2", "blue-soft"), ("ink-3", "red-soft")]
    poor = {pair: round(_contrast(*(colour[c] for c in pair)), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in poor.items() if ratio < 4.5} == {}


def test_long_cases_still_make_a_page() -> None:
    case: Case = samples.callback_case()
    many = tuple(replace(case.trials[i % 9], number=i + 1) for i in range(120))
    outline = Outline(render_html(replace(case, trials=many)))
    assert outline.faults == []
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
