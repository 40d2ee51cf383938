"""Load profiles: their place in time, what a plan may change, and what is refused."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model import ConfigurationError, LoadPlan, SystemClock
from lab.smb import PROFILES, Phase, Profile, SmbTarget, find_profile, run_load
from lab.smb import profiles as package
from lab.smb.profiles import Schedule, Work, shaped
from lab.smb.profiles.plan import MOST_CONNECTIONS, MOST_FILE_SET_BYTES, MOST_IN_FLIGHT

TARGET = SmbTarget("127.0.0.1", 1, "user", "secret", "Data", "Admin")

phases = st.builds(
    Phase,
    name=st.sampled_from(["a", "b", "c"]),
    seconds=st.floats(0.01, 20.0),
    in_flight=st.integers(0, 500),
    rises_from=st.none() | st.integers(0, 500),
)
profiles = st.builds(
    Profile,
    name=st.just("p"),
    summary=st.just(""),
    exercises=st.just(""),
    phases=st.lists(phases, min_size=1, max_size=4).map(tuple),
    idle_growth=st.sampled_from([1.0, 1.5, 2.0]),
    longest_idle=st.floats(1.0, 600.0),
)


def test_the_profiles_are_found_by_themselves() -> None:
    assert list(PROFILES) == [
        "bandwidth",
        "burst",
        "churn",
        "compound",
        "idle-sweep",
        "mixed",
        "sawtooth",
        "sessions",
        "steady",
        "wide-burst",
    ]


def test_the_example_of_the_how_to_is_found_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/add-a-load-profile.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "staircase.py").write_text(example, "utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "lab.smb.profiles.staircase", raising=False)
    found = package.found()
    profile = found["staircase"]
    assert set(found) == {*PROFILES, "staircase"}
    assert shaped(profile, LoadPlan()) == profile
    assert [slot.phase.name for slot in Schedule(profile, 20.0)] == ["low", "middle", "high", "idle"] * 2


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_each_profile_is_within_the_caps_and_says_what_it_is_for(profile: Profile) -> None:
    assert shaped(profile, LoadPlan(profile.name)) == profile
    assert "srv2" in profile.exercises or "READ" in profile.exercises or "read path" in profile.exercises
    assert profile.summary and "\n" not in profile.summary + profile.exercises


@given(profiles, st.floats(0.05, 5000.0))
def test_a_schedule_fills_the_plan_without_gaps(profile: Profile, seconds: float) -> None:
    schedule = Schedule(profile, seconds)
    slots = [schedule.slot(index) for index in range(min(len(schedule), 200))]
    assert slots[0].start == 0 and schedule.slot(len(schedule) - 1).end == seconds
    assert all(a.end == b.start and a.start < a.end for a, b in pairwise(slots))
    for slot in [*slots, schedule.slot(len(schedule) - 1)]:
        assert schedule.at(slot.start) == slot
        assert schedule.at((slot.start + slot.end) / 2) == slot
    assert schedule.at(seconds + 5).index == len(schedule) - 1
    assert schedule.at(-1.0).index == 0


@given(profiles, st.floats(0.05, 200.0))
def test_active_seconds_are_those_of_the_slots_that_want_requests(profile: Profile, seconds: float) -> None:
    schedule = Schedule(profile, seconds)
    until = seconds * 0.7
    by_hand = sum(
        max(0.0, min(slot.end, until) - slot.start)
        for slot in schedule
        if not slot.phase.idle and slot.start < until
    )
    assert schedule.active_seconds(until) == pytest.approx(by_hand, abs=1e-6)
    assert schedule.active_seconds(0.0) == 0.0


@given(st.floats(0.5, 4000.0), st.floats(0.5, 30.0))
def test_a_sweep_idles_longer_each_time(seconds: float, first: float) -> None:
    plan = LoadPlan("idle-sweep", seconds=seconds, idle_seconds=first)
    slots = list(Schedule(shaped(find_profile("idle-sweep"), plan), seconds))
    idle = [slot.end - slot.start for slot in slots if slot.phase.idle]
    assert len(idle) == len(slots) / 2
    for before, after in pairwise(idle):
        assert after > before or after == pytest.approx(idle[0])  # longer, or all over again


def test_a_whole_sweep_goes_from_a_second_to_ten_minutes() -> None:
    profile = find_profile("idle-sweep")
    whole = sum(min(600.0, 2.0**n) + 3 for n in range(11))
    idle = [s.end - s.start for s in Schedule(profile, whole) if s.phase.idle]
    assert idle == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600])


def test_burst_ends_in_silence_so_that_worker_threads_exit_within_the_load() -> None:
    burst = find_profile("burst")
    for seconds in (1.0, 6.0, 8.0, 30.0):
        slots = list(Schedule(burst, seconds))
        assert [slot.phase.name for slot in slots] == ["burst", "idle"] * (len(slots) // 2)
        idle = sum(slot.end - slot.start for slot in slots if slot.phase.idle)
        assert idle / seconds == pytest.approx(1.7 / 2.5)


def test_eight_seconds_are_three_bursts() -> None:
    schedule = Schedule(find_profile("burst"), 8.0)
    assert len(schedule) == 6
    assert schedule.slot(2).start == pytest.approx(8 / 3)


def test_wide_burst_wants_more_than_twenty_reads_a_processor() -> None:
    assert find_profile("wide-burst").most > 20 * 16
    assert find_profile("wide-burst").unbuffered


def test_a_sawtooth_rises_and_falls_evenly() -> None:
    rise, fall = list(Schedule(find_profile("sawtooth"), 20.0))
    assert [rise.in_flight(at) for at in (0.0, 5.0, 10.0)] == [0, 256, 512]
    assert [fall.in_flight(at) for at in (10.0, 15.0, 20.0)] == [512, 256, 0]


def test_a_load_of_days_keeps_no_list_of_its_slots() -> None:
    schedule = Schedule(find_profile("burst"), 30 * 24 * 3600.0)
    assert len(schedule) > 2_000_000
    assert schedule.at(1_000_000.3).start <= 1_000_000.3 < schedule.at(1_000_000.3).end


def test_a_plan_changes_what_it_names() -> None:
    plan = LoadPlan("burst", in_flight=1000, idle_seconds=30.0, size=65_536, rate=5000.0)
    mine = shaped(find_profile("burst"), plan)
    assert mine.phases == (
        Phase("burst", 0.8, in_flight=1000, at_most=5000.0),
        Phase("idle", 30.0, at_most=5000.0),
    )
    assert mine.size == 65_536 and mine.most == 1000
    assert shaped(find_profile("sawtooth"), LoadPlan(in_flight=100)).most == 100
    capped = replace(find_profile("steady"), phases=(Phase("a", 1.0, 8, reads_per_second=10.0),))
    assert shaped(capped, LoadPlan(rate=50.0)).phases[0].rate == 10.0
    assert shaped(capped, LoadPlan(rate=5.0)).phases[0].rate == 5.0
    assert shaped(find_profile("sessions"), LoadPlan(connections=9)).most == 9
    wide = shaped(find_profile("burst"), LoadPlan(size=8 << 20))
    assert wide.file_bytes == 32 << 20  # room for more than one place


def test_wanted_reads_are_those_of_the_profile_and_not_of_a_cap() -> None:
    own = (Phase("a", 1.0, 8, reads_per_second=10.0), Phase("idle", 1.0))
    profile = replace(find_profile("steady"), phases=own)
    assert Schedule(profile, 4.0).reads_wanted(4.0) == pytest.approx(20.0)
    assert Schedule(profile, 4.0).reads_wanted(2.5) == pytest.approx(15.0)
    slowed = shaped(profile, LoadPlan(rate=2.0))
    assert Schedule(slowed, 4.0).reads_wanted(4.0) == pytest.approx(4.0)
    capped = shaped(find_profile("steady"), LoadPlan(rate=2.0))
    assert Schedule(capped, 4.0).reads_wanted(4.0) is None


def test_an_unknown_profile_lists_the_names() -> None:
    with pytest.raises(
        ConfigurationError, match="no load profile 'storm'; the profiles are bandwidth, burst"
    ):
        run_load(TARGET, LoadPlan(profile="storm"), clock=SystemClock())


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (LoadPlan(connections=257), "1 to 256 connections, not 257"),
        (LoadPlan(connections=0), "1 to 256 connections, not 0"),
        (LoadPlan(seconds=0), "more than 0, at most 2,592,000 seconds, not 0"),
        (LoadPlan(seconds=float("nan")), "seconds, not nan"),
        (LoadPlan(seconds=float("inf")), "seconds, not inf"),
        (LoadPlan(in_flight=0), "1 to 32,768 READs in flight, not 0"),
        (LoadPlan(in_flight=-5), "1 to 32,768 READs in flight"),
        (LoadPlan(in_flight=32_769), "1 to 32,768 READs in flight, not 32,769"),
        (LoadPlan(rate=0), "more than 0, at most 1,000,000 READs a second, not 0"),
        (LoadPlan(size=1000), "4,096 to 8,388,608 bytes a READ, not 1,000"),
        (LoadPlan(size=5000), "READs of 5000 bytes are not multiples of 4096"),
        (LoadPlan(size=16 << 20), "bytes a READ, not 16,777,216"),
        (LoadPlan("churn", size=128 << 10), "4,096 to 65,536 bytes a READ, not 131,072"),
        (LoadPlan("compound", size=128 << 10), "4,096 to 65,536 bytes a READ, not 131,072"),
        (LoadPlan("compound", in_flight=7), "8 to 32,768 READs in flight, not 7"),
        (LoadPlan(idle_seconds=0.0), "idle seconds, not 0"),
        (LoadPlan("steady", idle_seconds=5.0), "profile 'steady' has no idle phase to make 5 s long"),
        (LoadPlan("sessions", in_flight=8), "profile 'sessions' has one request in flight on each"),
        (LoadPlan(verify_every=-1), "cannot check one in -1 answers"),
    ],
)
def test_caps_are_checked_before_anything_is_connected(plan: LoadPlan, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        run_load(TARGET, plan, clock=SystemClock())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"phases": (Phase("all", 1.0, in_flight=0),)}, "READs in flight, not 0"),
        ({"phases": (Phase("all", 0.0, in_flight=1),)}, "seconds of phase 'all', not 0"),
        ({"file_bytes": MOST_FILE_SET_BYTES + 1}, "bytes of files, not 4,294,967,297"),
        ({"compound": 17, "phases": (Phase("all", 1.0, in_flight=64),)}, "1 to 16 READs a message, not 17"),
        ({"compound": 0}, "1 to 16 READs a message, not 0"),
        ({"work": Work.FILES, "files": 10_001}, "1 to 10,000 files, not 10,001"),
        ({"work": Work.FILES, "files": 10_000, "size": 8 << 20}, "65,536 bytes a READ, not 8,388,608"),
    ],
)
def test_a_profile_beyond_the_caps_is_refused(change: dict[str, object], says: str) -> None:
    profile = Profile("mine", "", "", (Phase("all", 1.0, in_flight=1),))
    with pytest.raises(ConfigurationError, match=says):
        shaped(replace(profile, **change), LoadPlan())  # type: ignore[arg-type]


def test_the_caps_leave_room_for_every_profile_at_its_widest() -> None:
    plan = LoadPlan("wide-burst", connections=MOST_CONNECTIONS, in_flight=MOST_IN_FLIGHT, seconds=3600.0)
    assert shaped(find_profile("wide-burst"), plan).most == MOST_IN_FLIGHT


def test_a_target_never_shows_its_password() -> None:
    assert "secret" not in repr(TARGET) and "secret" not in str(TARGET)
