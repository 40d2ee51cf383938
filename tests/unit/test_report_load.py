"""What is said of a read load, on a terminal and on its page."""

from __future__ import annotations

import re
from dataclasses import replace

import load_samples as samples
import pytest
from html_outline import Outline
from report_samples import HOSTILE, minifilter_case

from lab.model import LoadPlan
from lab.report.cleaned import cleaned
from lab.report.html import render_html
from lab.report.load_html import PHASES_SHOWN, page, render_load_html
from lab.report.load_run import Ended, LoadRun, command, facts, headline, queues
from lab.report.load_text import COLUMNS, load_text
from lab.report.load_timeline import MOST_CELLS, MOST_DOTS, timeline


def hostile() -> LoadRun:
    """Every text of the load is one that would do harm."""
    return cleaned(samples.delivered(), lambda _: HOSTILE)


RUNS = {
    "delivered": samples.delivered,
    "died": samples.died,
    "undelivered": samples.undelivered,
    "interrupted": samples.interrupted,
    "nothing": samples.nothing,
    "long": samples.long,
    "hostile": hostile,
}
PAGES = {name: render_load_html(make()) for name, make in RUNS.items()}
every = pytest.mark.parametrize("name", RUNS)


def said(run: LoadRun) -> dict[str, str]:
    return {fact.label: fact.value.replace("\u00a0", " ") for fact in facts(run, str)}


def test_the_headline_says_how_it_ended() -> None:
    assert headline(samples.delivered(), str) == "Delivered: 159966 READs answered in 12 s"
    assert headline(samples.died(), str) == "The target died 6.42 s into the load, after 79966 READs"
    assert headline(samples.undelivered()).startswith("Not delivered: 12 of 40,000 READs were answered;")
    assert headline(samples.interrupted()) == "Interrupted 12 s into a load of 60 min"


def test_a_death_is_a_delivered_load_and_an_interrupted_one_is_no_failure() -> None:
    died, missed = samples.died(), samples.undelivered()
    assert replace(died, report=replace(died.report, undelivered="x"), interrupted=True).ended is Ended.DIED
    assert replace(missed, interrupted=True).ended is Ended.INTERRUPTED
    assert missed.ended is Ended.UNDELIVERED
    anew = replace(missed, restarted=True)
    assert (anew.ended, headline(anew)) == (
        Ended.DIED,
        "The target was started anew during the load of 12 READs",
    )


def test_every_read_is_accounted_for() -> None:
    facts_of = said(samples.delivered())
    assert facts_of["READs"] == "160006 sent: 159966 answered, 36 failed, 4 lost without an answer"
    assert facts_of["Failed"] == "36 × STATUS_INSUFFICIENT_RESOURCES"
    assert facts_of["Rate"] == "13330 READ/s over 12 s, 39990 in the busiest phase"
    assert facts_of["Latency"] == "half within 0.81 ms, 95 % within 4.20 ms, 99 % within 20 ms"
    assert facts_of["Verified"] == "9998 (one answer in 16)"
    assert (facts_of["Pending"], facts_of["Credit stalls"]) == ("31", "3")
    quiet = said(samples.nothing())
    assert quiet["Latency"] == "not known"
    assert not {"Pending", "Short", "Credit stalls", "Reconnects", "Failed", "Transport"} & set(quiet)


def test_the_policy_of_verification_is_named() -> None:
    run = samples.delivered()
    for every_, words in ((0, "answers of the set-up only"), (1, "all answers"), (100, "one answer in 100")):
        assert said(replace(run, plan=replace(run.plan, verify_every=every_)))["Verified"].endswith(
            f"({words})"
        )


def test_the_command_gives_the_same_load_again() -> None:
    plan = LoadPlan("churn", 9.5, 3, 8, in_flight=64, size=8192, rate=200.0, verify_every=1)
    run = replace(samples.delivered(), plan=plan)
    assert command(run) == (
        "lab load srv1 --profile churn --seconds 9.5 --connections 8 --in-flight 64 --size 8192 "
        "--rate 200 --verify all --seed 3"
    )
    assert "--verify set-up" in command(replace(run, plan=replace(plan, verify_every=0)))


def test_queues_give_their_peaks_the_busiest_first() -> None:
    first, second = queues(samples.delivered().report)
    assert (first.queue, first.most_active, first.most_threads, first.longest) == (
        "SMB2 NonBlocking 0",
        40,
        40,
        231,
    )
    assert (second.queue, second.samples, second.most_active) == ("SMB2 Blocking 0", 24, 1)


@every
def test_the_text_is_lines_without_anything_that_moves_a_cursor(name: str) -> None:
    text = load_text(RUNS[name]())
    assert all(line.startswith("  ") for line in text.splitlines())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)


def test_the_text_shows_the_load_in_time() -> None:
    lines = {line.split()[0]: line for line in load_text(samples.delivered()).splitlines()}
    bars = re.search(r"READ/s +([ ▁-█]+)  most 39,990", lines["READ/s"])
    assert bars is not None and len(bars[1].rstrip()) <= COLUMNS
    assert bars[1].split() == ["█████"] * 4
    assert "most 41" in lines["Threads"]
    assert "not known: the guest cannot be reached" in load_text(samples.undelivered())


@every
def test_the_page_is_well_formed_and_stands_alone(name: str) -> None:
    outline = Outline(PAGES[name])
    assert outline.faults == [] and outline.open == []
    assert outline.headings[0] == 1 and set(outline.headings) <= {1, 2, 3}
    assert "script" not in outline.tags
    assert not [v for v in outline.values("href") + outline.values("src") if not v.startswith(("#", "data:"))]
    assert not re.search(r'"[^"]*\b(nan|inf)\b', " ".join(outline.values("d") + outline.values("x")))


def test_the_page_lets_nothing_through() -> None:
    """All is text: no tag, no attribute and no mark of text direction comes from a server."""
    outline = Outline(PAGES["hostile"])
    assert "<script>alert('x')</script>" in outline.words, "it is shown"
    assert not {"script", "img"} & set(outline.tags)
    assert not [name for _, name, _ in outline.attributes if name.startswith("on")]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", PAGES["hostile"])


def test_the_page_of_a_death_marks_it_in_every_band() -> None:
    view = page(samples.died())
    assert view.kind == "driver" and view.timeline is not None
    assert view.timeline.death == pytest.approx(100 * 6.42 / 7.0, abs=0.01)
    assert max(start + width for start, width, _ in view.timeline.marks) == pytest.approx(view.timeline.death)
    assert "6.00 to 6.42 s, burst: 95" in view.timeline.marks[-1][2], "the rate until the death"
    assert PAGES["died"].count('class="death"') == len(view.timeline.bands) == 4
    assert "died 6.42 s" in PAGES["died"]
    assert 'class="death"' not in PAGES["delivered"]


def test_the_page_of_a_load_that_was_not_delivered_warns() -> None:
    words = Outline(PAGES["undelivered"]).words
    assert "The load was not delivered" in words and "says nothing about the server" in words
    assert "Not known. The guest cannot be reached." in words


def test_the_picture_stays_small_however_long_the_load() -> None:
    picture = timeline(samples.long().report)
    assert picture is not None
    assert len(picture.marks) <= MOST_CELLS + 1
    assert all(len(band.dots) <= MOST_DOTS for band in picture.bands)
    assert len(PAGES["long"]) < 300_000
    assert page(samples.long()).phases_left == 5000 - PHASES_SHOWN
    assert [text for _, text in picture.ticks][:3] == ["0 s", "30 min", "60 min"]


def test_the_picture_is_drawn_to_scale() -> None:
    picture = timeline(samples.delivered().report)
    assert picture is not None
    rate, in_flight, threads, queue = picture.bands
    assert rate.peak.endswith("39\u202f990") and in_flight.peak == "most 640"
    assert (threads.peak, queue.peak) == ("most 41", "most 231")
    assert in_flight.areas[0].path.startswith("M0.0 100V4.0H83.33V100ZM250.0 100V4.0H333.33V100Z")
    assert [share for share, _ in picture.ticks] == pytest.approx(
        [0, 100 / 6, 200 / 6, 50, 400 / 6, 500 / 6, 100], abs=0.01
    )
    assert timeline(samples.nothing().report) is None


def test_equal_loads_give_equal_pages() -> None:
    assert render_load_html(samples.died()) == PAGES["died"]


def test_a_case_shows_the_load_of_each_trial_in_time() -> None:
    case = minifilter_case()
    plain = render_html(case)
    assert 'class="timeline"' not in plain, "loads without phases have no picture"
    trials = tuple(replace(t, load=samples.died().report if t.load else None) for t in case.trials)
    outline = Outline(shown := render_html(replace(case, trials=trials)))
    assert outline.faults == [] and outline.open == []
    assert shown.count('class="timeline"') == sum(t.load is not None for t in trials) > 1
    assert shown.count("died 6.42 s") == shown.count('class="timeline"')
    many = replace(case, trials=(replace(case.trials[0], load=samples.long().report),))
    assert len(render_html(many)) - len(plain) < 40_000


@pytest.mark.parametrize(
    "seconds", [0.07, 0.5, 1, 2.2, 6.9, 7, 12, 59, 61, 99, 119, 121, 700, 5e3, 9e4, 6e5, 3e6]
)
def test_an_axis_has_some_ticks_and_not_too_many(seconds: float) -> None:
    report = replace(samples.delivered().report, seconds=seconds, queues=(), phases=samples.phases()[:1])
    report = replace(report, phases=(replace(report.phases[0], seconds=seconds),))
    picture = timeline(report)
    assert picture is not None and 3 <= len(picture.ticks) <= 7
    assert picture.ticks[0] == (0.0, "0 s") and picture.ticks[-1][0] <= 100
