"""Load profiles: their place in time, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lab.model import ConfigurationError, LoadPlan, SystemClock
from lab.smb import PROFILES, Phase, Profile, SmbTarget, find_profile, run_load
from lab.smb.profiles import check, schedule, slot_at

TARGET = SmbTarget("127.0.0.1", 1, "user", "secret", "Data", "Admin")


@pytest.mark.parametrize("name", sorted(PROFILES))
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5, 8.0, 61.7])
def test_a_schedule_fills_the_plan_without_gaps(name: str, seconds: float) -> None:
    slots = schedule(find_profile(name), seconds)
    assert slots[0].start == 0 and slots[-1].end == seconds
    assert all(a.end == b.start and a.start < a.end for a, b in pairwise(slots))
    for slot in slots:
        assert slot_at(slots, slot.start) is slot
        assert slot_at(slots, (slot.start + slot.end) / 2) is slot
    assert slot_at(slots, seconds + 5) is slots[-1]


def test_burst_ends_in_silence_so_that_worker_threads_exit_within_the_load() -> None:
    burst = find_profile("burst")
    for seconds in (1.0, 6.0, 8.0, 30.0):
        slots = schedule(burst, seconds)
        assert [slot.phase.name for slot in slots] == ["burst", "idle"] * (len(slots) // 2)
        idle = sum(slot.end - slot.start for slot in slots if not slot.phase.in_flight)
        assert idle / seconds == pytest.approx(1.7 / 2.5)


def test_eight_seconds_are_three_bursts() -> None:
    slots = schedule(find_profile("burst"), 8.0)
    assert len(slots) == 6
    assert slots[2].start == pytest.approx(8 / 3)


def test_an_unknown_profile_lists_the_names() -> None:
    with pytest.raises(ConfigurationError, match="no load profile 'storm'; the profiles are burst, steady"):
        run_load(TARGET, LoadPlan(profile="storm"), clock=SystemClock())


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (LoadPlan(connections=65), "1 to 64 connections, not 65"),
        (LoadPlan(connections=0), "1 to 64 connections, not 0"),
        (LoadPlan(seconds=0), "0 seconds"),
        (LoadPlan(seconds=float("nan")), "nan seconds"),
    ],
)
def test_caps_are_checked_before_anything_is_connected(plan: LoadPlan, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        run_load(TARGET, plan, clock=SystemClock())


@pytest.mark.parametrize("in_flight", [0, 4097])
def test_reads_in_flight_are_capped(in_flight: int) -> None:
    profile = Profile("mine", "", (Phase("all", 1.0, in_flight=in_flight),))
    with pytest.raises(ConfigurationError, match=f"'mine' wants {in_flight} READs in flight"):
        check(profile, 1, 1.0)


def test_a_target_never_shows_its_password() -> None:
    assert "secret" not in repr(TARGET) and "secret" not in str(TARGET)
