"""What each connection of a load is to do at a moment."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.model import LoadPlan
from lab.smb.load.engine import Step
from lab.smb.load.pacing import LanePace
from lab.smb.profiles import Phase, Schedule, find_profile, shaped

START = 1000.0


def paces(schedule: Schedule, connections: int, sent: list[int]) -> list[LanePace]:
    return [
        LanePace(schedule, index, connections, start=START, sent=lambda index=index: sent[index])  # type: ignore[misc]
        for index in range(connections)
    ]


def schedule(profile: str = "burst", seconds: float = 5.0, **plan: object) -> Schedule:
    return Schedule(shaped(find_profile(profile), LoadPlan(profile, **plan)), seconds)  # type: ignore[arg-type]


@given(st.integers(1, 64), st.floats(0.0, 4.999), st.integers(1, 5000))
def test_the_lanes_parts_make_the_whole(connections: int, elapsed: float, in_flight: int) -> None:
    burst = schedule(in_flight=in_flight)
    now = START + elapsed  # rounded: the phase is that of this moment
    steps = [pace(now) for pace in paces(burst, connections, [0] * connections)]
    parts = [step.in_flight for step in steps]
    assert sum(parts) == (0 if burst.at(now - START).phase.idle else in_flight)
    assert max(parts) - min(parts) <= 1
    assert all(0 < step.due <= 2.0 and step.budget is None for step in steps)


def test_all_lanes_begin_a_burst_at_the_same_moment_and_end_with_the_plan() -> None:
    for pace in paces(schedule(), 3, [0] * 3):
        assert pace(START - 0.5) == Step(0, 0.5, None)
        assert pace(START).in_flight > 0
        in_idle = pace(START + 0.9)
        assert in_idle.in_flight == 0
        assert abs(0.9 + in_idle.due - 2.5) < 1e-6  # the next burst, for all of them
        assert pace(START + 5.1).in_flight == 0


def test_a_ramp_is_looked_at_again_soon() -> None:
    (pace,) = paces(schedule("sawtooth", 20.0), 1, [0])
    assert [pace(START + at).in_flight for at in (0.0, 2.5, 5.0, 15.0, 19.99)] == [0, 128, 256, 256, 1]
    assert pace(START + 3.0).due <= 0.05


@settings(deadline=None)
@given(
    st.integers(1, 16),
    st.floats(0.5, 5000.0),
    st.lists(st.floats(0.0005, 0.2), min_size=1, max_size=60),
    st.sampled_from(["steady", "burst"]),
)
def test_a_rate_is_never_exceeded_and_is_kept_where_the_server_keeps_up(
    connections: int, rate: float, waits: list[float], profile: str
) -> None:
    seconds = 20.0
    limited = schedule(profile, seconds, rate=rate)
    sent = [0] * connections
    lanes = paces(limited, connections, sent)
    elapsed, bursts = 0.0, 1
    for wait in waits:
        if elapsed >= seconds:
            break
        bursts += limited.at(elapsed).phase.idle
        for index, pace in enumerate(lanes):
            step = pace(START + elapsed)
            if step.in_flight and step.budget:
                sent[index] += step.budget
        wanted = limited.active_seconds(elapsed) * rate
        assert sum(sent) <= wanted + bursts + 1e-6
        if profile == "steady":  # with a lane's part always in flight, all that is due is sent
            assert sum(sent) >= int(wanted) - connections
        elapsed += wait


def test_a_lane_without_a_budget_says_when_it_may_send_again() -> None:
    sent = [0, 0]
    first, second = paces(schedule("steady", 60.0, rate=2.0), 2, sent)
    step = first(START)
    assert step.budget == 1
    assert second(START).budget == 0 and second(START).due == 0.5  # lane after lane
    sent[0] = 1
    step = first(START + 0.25)
    assert step.budget == 0 and abs(step.due - 0.75) < 1e-9
    assert first(START + 1.0).budget == 1


def test_a_profiles_own_rate_holds_too() -> None:
    profile = replace(find_profile("steady"), phases=(Phase("s", 1.0, 8, reads_per_second=10.0),))
    (pace,) = paces(Schedule(profile, 10.0), 1, [0])
    assert pace(START).budget == 1
    assert pace(START + 2.05).budget == 21


@given(st.integers(1, 64), st.integers(8, 5000))
def test_compounds_are_whole_and_spread_over_the_lanes(connections: int, in_flight: int) -> None:
    steps = [
        pace(START + 0.5) for pace in paces(schedule("compound", in_flight=in_flight), connections, [0] * 64)
    ]
    parts = [step.in_flight for step in steps]
    assert sum(parts) == in_flight // 8 * 8
    assert max(parts) - min(parts) in (0, 8) and all(part % 8 == 0 for part in parts)


@settings(max_examples=50)
@given(st.integers(1, 8), st.floats(1.0, 5000.0))
def test_a_rate_is_kept_in_whole_compounds(connections: int, rate: float) -> None:
    """Each lane sends what it may as soon as it may, and is never told to wait for nothing."""
    sent = [0] * connections
    lanes = paces(schedule("compound", 10.0, rate=rate, in_flight=4096), connections, sent)
    for index, pace in enumerate(lanes):
        now = START
        for _ in range(500):
            step = pace(now)
            assert step.budget is not None and step.budget % 8 == 0
            sent[index] += step.budget
            assert sent[index] <= (now - START) * rate / connections + 1.001
            now += 1e-6 if step.budget else max(step.due, 1e-6)
            if now >= START + 9.9:
                break
        done = min(now - START, 9.9) * rate / connections
        assert sent[index] >= done - 8 - 1
