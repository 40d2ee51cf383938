"""When a dump is whole."""

from __future__ import annotations

import pytest
from capture_sources import HandClock, MemorySource, dump

from lab.capture import header_of, wait_until_whole
from lab.dumps import expected_length
from lab.model import InfrastructureError, TimedOut
from lab.smb import AccessDenied

NAME = "MEMORY.DMP"
WHOLE = dump(pages=6)


def test_the_made_dump_says_its_length() -> None:
    assert expected_length(WHOLE[:0x3000]) == len(WHOLE)


def test_a_growing_dump_is_waited_for() -> None:
    source = MemorySource({NAME: b""})

    def grow(now: float) -> None:
        source.files[NAME] = WHOLE[: int(now * 4000)]

    clock = HandClock(grow)
    ref = wait_until_whole(source, "memory.dmp", not_like=None, clock=clock, seconds=60)
    assert (ref.name, ref.length) == (NAME, len(WHOLE))
    assert clock.time >= len(WHOLE) / 4000 + 0.5  # one more look after the last change


def test_a_dump_that_grows_beyond_its_least_length_is_not_taken_while_it_grows() -> None:
    source = MemorySource({NAME: WHOLE})

    def grow(now: float) -> None:
        source.files[NAME] = WHOLE + b"more" * int(min(now, 5.0) * 10)

    clock = HandClock(grow)
    ref = wait_until_whole(source, NAME, not_like=None, clock=clock, seconds=60)
    assert clock.time == 5.5 and ref.length == len(WHOLE) + 200


def test_the_old_dump_is_not_taken_for_the_new_one() -> None:
    old, new = dump(time=1), dump(time=2)
    source = MemorySource({NAME: old})
    stale = header_of(source, NAME)
    with pytest.raises(TimedOut, match=r"waited 3 s for dump; last seen: MEMORY\.DMP is still the one"):
        wait_until_whole(source, NAME, not_like=stale, clock=HandClock(), seconds=3)

    def replace(now: float) -> None:
        source.files[NAME] = new if now > 2 else old

    ref = wait_until_whole(source, NAME, not_like=stale, clock=HandClock(replace), seconds=10)
    assert ref.length == len(new)


@pytest.mark.parametrize(
    ("files", "last_seen"),
    [
        ({}, "no file MEMORY.DMP"),
        ({NAME: b""}, "MEMORY.DMP of 0 bytes does not begin as a dump"),
        ({NAME: b"\0" * 90_000}, "MEMORY.DMP of 90000 bytes does not begin as a dump"),
        ({NAME: b"MDMP" + WHOLE[4:]}, f"MEMORY.DMP of {len(WHOLE)} bytes does not begin as a dump"),
        ({NAME: WHOLE[:-1]}, f"MEMORY.DMP has {len(WHOLE) - 1} of {len(WHOLE)} bytes"),
    ],
)
def test_the_time_out_says_what_was_seen(files: dict[str, bytes], last_seen: str) -> None:
    with pytest.raises(TimedOut) as caught:
        wait_until_whole(MemorySource(files), NAME, not_like=None, clock=HandClock(), seconds=4)
    assert (caught.value.wait, caught.value.last_seen) == ("dump", last_seen)


def test_a_dump_that_does_not_say_its_length_must_stand_still_longer() -> None:
    clock = HandClock()
    source = MemorySource({NAME: b"PAGEDUMP" + b"\0" * 50_000})
    assert wait_until_whole(source, NAME, not_like=None, clock=clock, seconds=60).length == 50_008
    assert clock.time == 4.5


def test_a_host_that_is_still_booting_is_waited_out() -> None:
    source = MemorySource({NAME: WHOLE}, down=True)

    def boot(now: float) -> None:
        source.down = now < 5

    ref = wait_until_whole(source, NAME, not_like=None, clock=HandClock(boot), seconds=30)
    assert ref.length == len(WHOLE)
    source.down = True
    with pytest.raises(TimedOut, match="last seen: the host does not answer"):
        wait_until_whole(source, NAME, not_like=None, clock=HandClock(), seconds=2)


def test_denied_access_is_not_waited_out() -> None:
    class Closed(MemorySource):
        def dumps(self) -> list:  # type: ignore[type-arg]
            raise AccessDenied("access denied")

    clock = HandClock()
    with pytest.raises(InfrastructureError, match="access denied"):
        wait_until_whole(Closed(), NAME, not_like=None, clock=clock, seconds=60)
    assert clock.time == 0


def test_no_dump_has_no_header() -> None:
    assert header_of(MemorySource(), NAME) is None
