"""A load's timeline, its server queues, its percentiles, and whether it was delivered."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.model import LoadPhase, LoadPlan, LoadReport, QueueSample
from lab.smb.load.delivered import undelivered
from lab.smb.load.queues import MOST_SAMPLES, QueueWatch
from lab.smb.load.report import MOST_STATUSES, build, failures, percentile
from lab.smb.load.tally import Tally
from lab.smb.load.timeline import MOST_PHASES, Counts, Timeline
from lab.smb.profiles import Phase, Schedule, find_profile, shaped


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=1, max_size=3000))
def test_a_timeline_is_bounded_without_gaps_and_loses_no_count(gains: list[tuple[int, int]]) -> None:
    timeline, sent, failed = Timeline(), 0, 0
    for index, (more, wrong) in enumerate(gains):
        sent, failed = sent + more + wrong, failed + wrong
        name = "burst" if index % 2 == 0 else "idle"
        timeline.add(name, index * 0.5, (index + 1) * 0.5, Counts(sent, sent - failed, failed), more)
    phases = timeline.phases()
    assert len(phases) <= MOST_PHASES
    assert sum(p.sent for p in phases) == sent and sum(p.failed for p in phases) == failed
    assert sum(p.answered for p in phases) == sent - failed
    assert max(p.in_flight for p in phases) == max(more for more, _ in gains)
    assert phases[0].start == 0
    assert phases[-1].start + phases[-1].seconds == pytest.approx(len(gains) * 0.5)
    assert all(a.start + a.seconds == pytest.approx(b.start) for a, b in pairwise(phases))
    assert {p.name for p in phases} <= {"burst", "idle", "burst + idle", "idle + burst"}


def sample(queue: str = "SMB2 NonBlocking 0") -> QueueSample:
    return QueueSample(0.0, queue, 3, 7, 0)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 2500))
def test_queue_samples_are_thinned_evenly(queues: int, looks: int) -> None:
    watch = QueueWatch(None, lambda: 0.0, every=1.0)
    for look in range(looks):
        watch.take([replace(sample(str(queue)), after=float(look)) for queue in range(queues)])
    kept = watch.stop()
    assert len(kept) <= MOST_SAMPLES
    times = sorted({each.after for each in kept})
    assert times[0] == 0 and len(kept) == len(times) * queues
    assert len({b - a for a, b in pairwise(times)}) <= 1  # the same time between any two
    assert looks * queues <= MOST_SAMPLES or len(kept) > MOST_SAMPLES / 2 - 2 * queues


def test_a_shell_that_fails_loses_its_samples_and_nothing_else() -> None:
    answers: Iterator[list[QueueSample] | RuntimeError] = iter(
        [[sample()], RuntimeError("WinRM is gone"), [sample("other")]]
    )
    seen, clock = threading.Event(), iter(range(100))

    def look() -> Sequence[QueueSample]:
        answer = next(answers, None)
        if answer is None:
            seen.set()
            raise RuntimeError("over")
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    watch = QueueWatch(look, lambda: float(next(clock)), every=0.001)
    watch.start()
    assert seen.wait(20)
    kept = watch.stop()
    assert [(each.after, each.queue) for each in kept] == [(0.0, "SMB2 NonBlocking 0"), (2.0, "other")]
    assert watch.failure == "over"


def test_a_look_that_hangs_does_not_hold_up_the_end() -> None:
    hangs, go = threading.Event(), threading.Event()

    def look() -> Sequence[QueueSample]:
        hangs.set()
        go.wait(60)
        return [sample()]

    watch = QueueWatch(look, lambda: 0.0, every=0.001)
    watch.start()
    assert hangs.wait(20)
    assert watch.stop(0.05) == ()
    go.set()


def test_percentiles_are_those_of_the_sorted_list() -> None:
    latencies = Counter({100 * n: 1 for n in range(1, 101)})  # 1 ms ... 100 ms
    assert percentile(latencies, 0.50) == 50.0
    assert percentile(latencies, 0.95) == 95.0
    assert percentile(latencies, 0.99) == 99.0
    assert percentile(latencies, 1.0) == 100.0
    assert percentile(Counter({7: 3}), 0.5) == 0.07
    assert percentile(Counter(), 0.5) == 0.0


def test_failures_are_named_and_a_flood_of_kinds_is_bounded() -> None:
    tally = Tally()
    tally.failed.update({0xC0000022: 5, 0xC0FFEE00: 2})
    assert failures(tally) == (("0xC0FFEE00", 2), ("STATUS_ACCESS_DENIED", 5))
    tally.failed.update({0xE0000000 + n: 1 for n in range(1000)})
    named = failures(tally)
    assert len(named) == MOST_STATUSES + 1
    assert sum(count for _, count in named) == 1007 and ("others", 952) in named


def test_what_is_sent_is_answered_failed_or_lost() -> None:
    tally = Tally()
    tally.sent, tally.answered, tally.short = 100, 80, 3
    tally.failed.update({0xC0000022: 15})
    report = build(
        "burst", tally, start=5.0, ended=9.0, died=7.25, reconnects=2, transport="t", phases=(), queues=()
    )
    assert (report.reads_sent, report.reads_answered, report.lost, report.short) == (100, 80, 5, 3)
    assert report.target_died and report.died_after == 2.25 and report.seconds == 2.25


def report(**change: object) -> LoadReport:
    """Eight seconds of 'burst' that went as planned."""
    bursts = [
        LoadPhase(name, start, seconds, 1000 * on, 1000 * on, 0, 128 * on)
        for period in range(3)
        for name, start, seconds, on in (
            ("burst", period * 8 / 3, 0.8 * 8 / 7.5, 1),
            ("idle", period * 8 / 3 + 0.8 * 8 / 7.5, 1.7 * 8 / 7.5, 0),
        )
    ]
    whole = LoadReport("burst", 8.0, 3000, 3000, 3000 * 4096, phases=tuple(bursts))
    return replace(whole, **change)  # type: ignore[arg-type]


def why(seen: LoadReport, given_up: Sequence[str] = (), profile: str = "burst", **plan: object) -> str:
    mine = shaped(find_profile(profile), LoadPlan(profile, **plan))  # type: ignore[arg-type]
    return undelivered(mine, Schedule(mine, 8.0), seen, given_up, 4)


def test_a_load_that_went_as_planned_was_delivered() -> None:
    assert why(report()) == ""
    assert why(report(credit_stalls=9)) == ""  # stalls that did no harm


def test_a_load_whose_target_died_was_delivered_whatever_it_did() -> None:
    dead = report(reads_answered=3, target_died=True, died_after=0.1)
    assert why(dead, ["refused"]) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reads_sent": 0, "reads_answered": 0, "phases": ()}, "no READ was sent"),
        (
            {"reads_answered": 2000, "failed": (("STATUS_ACCESS_DENIED", 900),), "lost": 100},
            "2000 of 3000 READs were answered; 900 × STATUS_ACCESS_DENIED; 100 lost with their connection",
        ),
        ({"short": 1500}, "1500 of 3000 answers brought fewer bytes than were asked for"),
        (
            {
                "credit_stalls": 4,
                "phases": tuple(replace(p, in_flight=p.in_flight // 4) for p in report().phases),
            },
            "the server's credits allowed 32 READs in flight; 128 were wanted",
        ),
        (
            {
                "reads_sent": 2100,
                "reads_answered": 2000,
                "lost": 100,
                "phases": tuple(replace(p, answered=0) if p.start > 5 else p for p in report().phases),
            },
            "no READ was answered in the last 2.7 s",
        ),
    ],
)
def test_why_a_load_was_not_delivered(change: dict[str, object], says: str) -> None:
    assert why(report(**change)) == says


def test_a_lost_connection_is_the_first_reason() -> None:
    said = why(report(reads_answered=100), ["credentials refused for user 'ann' at h:445"])
    assert said == (
        "1 of 4 connections were lost and not made again: credentials refused for user 'ann' at h:445"
    )


def test_lost_reads_are_told_with_what_ended_their_connection() -> None:
    profile = find_profile("burst")
    seen = report(reads_answered=2000, lost=1000)
    said = undelivered(profile, Schedule(profile, 8.0), seen, (), 4, "h:445 sent an unsigned answer")
    assert said == (
        "2000 of 3000 READs were answered; 1000 lost with their connection (h:445 sent an unsigned answer)"
    )


def test_credits_that_run_dry_are_told_though_all_was_answered() -> None:
    profile = find_profile("steady")
    seen = LoadReport(
        "steady", 8.0, 511, 511, 0, credit_stalls=1, phases=(LoadPhase("s", 0, 8, 511, 511, 0, 32),)
    )
    said = undelivered(profile, Schedule(profile, 8.0), seen, (), 4, last=2.0)
    assert said == "the server gave no more credits: no READ was answered in the last 6.0 s of reading"
    assert undelivered(profile, Schedule(profile, 8.0), seen, (), 4, last=7.9) == ""


def test_idle_at_the_end_is_no_silence() -> None:
    seen = report()
    assert seen.phases[-1].answered == 0 and why(seen) == ""


def test_a_rate_that_the_profile_wants_is_held_against_what_was_reached() -> None:
    profile = replace(find_profile("steady"), phases=(Phase("s", 1.0, 32, reads_per_second=1000.0),))
    schedule = Schedule(profile, 8.0)
    steady = tuple(LoadPhase("s", float(n), 1.0, 100, 100, 0, 32) for n in range(8))
    slow = LoadReport("steady", 8.0, 800, 800, 0, phases=steady)
    said = undelivered(profile, schedule, slow, (), 4)
    assert said == "100 READs a second were answered while wanted; the plan asks for 1000"
    good = replace(slow, reads_sent=7000, reads_answered=7000)
    assert undelivered(profile, schedule, good, (), 4) == ""
    assert why(slow, profile="steady", rate=1000.0) == ""  # a cap is no wish


@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.integers(0, 100), st.integers(0, 32_768))
def test_the_judgement_is_a_sentence_or_nothing(sent: int, part: float, stalls: int, depth: int) -> None:
    answered = int(sent * part)
    phases = (LoadPhase("burst", 0.0, 8.0, sent, answered, 0, depth),)
    said = why(
        LoadReport("burst", 8.0, sent, answered, 0, lost=sent - answered, credit_stalls=stalls, phases=phases)
    )
    assert "\n" not in said
    if answered < 0.9 * sent or not sent:
        assert said
