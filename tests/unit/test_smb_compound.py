"""READs that go several in one message: however the server answers them, each is counted once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smb_lanes import (
    CANCELLED,
    END_OF_FILE,
    FIRST,
    SESSION,
    Rig,
    Serving,
    answer,
    chained,
    pending,
    settle,
    success,
)

from lab.model import ConfigurationError
from lab.smb.errors import Malformed, Unreachable
from lab.smb.load.readlane import ReadLane
from lab.smb.load.tally import Tally
from lab.smb.load.tape import Reads
from lab.smb.signing import SigningAlgorithm
from lab.smb.wire import Command, Flags

SIZE = 100  # of which the answers need padding
KINDS = ("plain", "signed", "sealed")
ASYNC = Flags.TO_CLIENT | Flags.ASYNC


def rig_of(kind: str) -> Rig:
    return Rig(
        signing=SigningAlgorithm.AES_CMAC if kind == "signed" else None, sealed=kind == "sealed", tcp=True
    )


def final_of(kind: str) -> int:
    return Flags.TO_CLIENT | (Flags.SIGNED if kind == "signed" else 0)


def whole(kind: str, first: int, count: int, *, size: int = SIZE, credits: int = 1) -> list[bytes]:
    """Successful answers to `count` READs. The last one brings the credits of all, as Samba's does."""
    last = first + count - 1
    return [
        success(mid, size, flags=final_of(kind), credits=credits * count if mid == last else 0)
        for mid in range(first, first + count)
    ]


def counts(tally: Tally) -> dict[str, object]:
    """What does not depend on time, nor on how many answers are sealed together."""
    not_these = ("latencies", "first_sent", "last_answer", "verified")
    return {name: getattr(tally, name) for name in Tally.__slots__ if name not in not_these}


def uncared(lane: ReadLane) -> None:
    """Nothing may be left to the careful reader, which would be slow."""

    def refuse(*_: object, **__: object) -> int:
        raise AssertionError("a usual answer was not taken in a run")

    lane._part = refuse  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [96, SIZE, 4096])
@pytest.mark.parametrize("count", [2, 3, 8, 16])
def test_whole_compounds_are_taken_in_runs(kind: str, size: int, count: int) -> None:
    with rig_of(kind) as rig:
        lane = rig.lane(Reads(size=size, compound=count))
        uncared(lane)
        assert lane.release(count * 12 + count - 1) == count * 12
        asked = rig.server.requests(count * 12)
        assert rig.server.frames == 12
        assert [each.message_id for each in asked] == list(range(FIRST, FIRST + count * 12))
        assert not any(each.flags & Flags.RELATED for each in asked)
        for at in range(12):
            rig.server.send(chained(whole(kind, FIRST + at * count, count, size=size)))
        settle(lane)
        tally = lane.tally
        assert (tally.sent, tally.answered, tally.bytes_read) == (12 * count, 12 * count, 12 * count * size)
        assert tally.verified == {"plain": 0, "signed": 12 * count, "sealed": 12}[kind]
        assert rig.connection.credits.balance == 512
        assert sum(tally.latencies.values()) == len(range(0, 12 * count, 17))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_their_own_are_taken_in_runs_too(kind: str) -> None:
    with rig_of(kind) as rig:
        lane = rig.lane(Reads(size=SIZE, compound=8))
        uncared(lane)
        lane.release(80)
        rig.server.requests(80)
        rig.server.send(*(success(FIRST + at, SIZE, flags=final_of(kind)) for at in range(79, -1, -1)))
        settle(lane)
        assert lane.tally.answered == 80 and rig.connection.credits.balance == 512


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_of_a_run_may_bring_other_credits(kind: str) -> None:
    with rig_of(kind) as rig:
        lane = rig.lane(Reads(size=SIZE, compound=4))
        uncared(lane)
        lane.release(32)
        rig.server.requests(32)
        frames = [chained(whole(kind, FIRST + 4 * at, 4, credits=at)) for at in range(7)]
        each = [success(FIRST + 28 + at, SIZE, flags=final_of(kind), credits=3) for at in range(4)]
        rig.server.send(*frames, chained(each))
        settle(lane)
        assert rig.connection.credits.balance == 512 - 32 + 4 * sum(range(7)) + 12


def stream(
    kind: str, rig: Rig, order: list[int], fates: list[str], groups: list[int], count: int
) -> tuple[bytes, int]:
    """Answers in that order, so many in each frame; and the length of them all."""
    made: dict[str, Callable[[int], bytes]] = {
        "whole": lambda mid: success(mid, SIZE, flags=final_of(kind)),
        "short": lambda mid: success(mid, 9, flags=final_of(kind)),
        "failed": lambda mid: answer(mid, status=END_OF_FILE, flags=final_of(kind)),
        "late": lambda mid: success(mid, SIZE, flags=final_of(kind) | Flags.ASYNC, async_id=mid, credits=0),
    }
    messages = [
        *(pending(FIRST + at, async_id=FIRST + at) for at in order if fates[at] == "late"),
        *(made[fates[at]](FIRST + at) for at in order),
    ]
    out, at = bytearray(), 0
    sizes = iter(groups)
    while at < len(messages):
        size = next(sizes, count)
        out += rig.server.framed(chained(messages[at : at + size]))
        at += size
    return bytes(out), len(out)


FATES = st.sampled_from(["whole"] * 6 + ["short", "failed", "late"])


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    order=st.permutations(range(48)) | st.just(list(range(48))),
    fates=st.lists(FATES, min_size=48, max_size=48) | st.just(["whole"] * 48),
    groups=st.lists(st.integers(1, 20), max_size=20) | st.just([8] * 6),
    cuts=st.sets(st.integers(1, 12_000), max_size=20),
)
def test_any_frames_in_any_pieces_are_counted_the_same(
    kind: str, order: list[int], fates: list[str], groups: list[int], cuts: set[int]
) -> None:
    with rig_of(kind) as rig:
        lane = rig.lane(Reads(size=SIZE, compound=8))
        lane.release(48)
        rig.server.requests(48)
        data, length = stream(kind, rig, order, fates, groups, 8)
        at = 0
        for cut in sorted(cuts | {length}):
            rig.server.peer.sendall(data[at:cut])
            at = min(cut, length)
            lane.receive(0)
        settle(lane)
        tally = lane.tally
        wanted = {
            "sent": 48,
            "answered": 48 - fates.count("failed"),
            "short": fates.count("short"),
            "pending": fates.count("late"),
            "bytes_read": SIZE * (fates.count("whole") + fates.count("late")) + 9 * fates.count("short"),
            "lost": 0,
        }
        assert counts(tally) == counts(tally) | wanted
        assert tally.failures == fates.count("failed")
        assert rig.connection.credits.balance == 512
        if kind == "signed":
            assert tally.verified == 48


def with_next(message: bytes, part: int, following: int) -> bytes:
    """The compound with another offset of the next answer in one part of whole answers."""
    at = part * (80 + SIZE + 4) + 20
    return message[:at] + following.to_bytes(4, "little") + message[at + 4 :]


EIGHT = whole("plain", FIRST + 8, 8)
BAD: dict[str, tuple[bytes, int]] = {
    "doubled": (chained([*EIGHT[:4], EIGHT[3], *EIGHT[4:7]]), 4),
    "doubled beyond a compound": (chained([*EIGHT, EIGHT[0]]), 8),
    "never asked": (chained([*EIGHT[:7], success(FIRST + 16, SIZE)]), 7),
    "already answered": (chained([success(FIRST, SIZE), *EIGHT[1:]]), 0),
    "another session": (chained([*EIGHT[:7], success(FIRST + 15, SIZE, session=SESSION + 1)]), 7),
    "another command": (
        chained([*EIGHT[:2], success(FIRST + 10, SIZE, command=Command.WRITE), *EIGHT[3:]]),
        2,
    ),
    "more than asked": (chained([*EIGHT[:7], success(FIRST + 15, SIZE + 1)]), 7),
    "part beyond the end": (with_next(chained(EIGHT), 3, 1 << 20), 3),
    "part at an odd place": (with_next(chained(EIGHT), 6, 83), 6),
    "part within a header": (with_next(chained(EIGHT), 0, 8), 0),
    "one more part said than there": (with_next(chained(EIGHT), 7, 184), 7),
    "cut in its last part": (chained(EIGHT)[:-1], 7),
    "cut in a header": (chained(EIGHT)[: -SIZE - 40], 6),
    "structure size of a header": (
        chained([*EIGHT[:5], EIGHT[5][:4] + b"\x41" + EIGHT[5][5:], *EIGHT[6:]]),
        5,
    ),
}


@pytest.mark.parametrize("kind", ["plain", "sealed"])
@pytest.mark.parametrize("bad", BAD)
def test_what_comes_before_a_bad_part_counts_and_the_rest_is_lost(bad: str, kind: str) -> None:
    message, good = BAD[bad]
    with rig_of(kind) as rig:
        lane = rig.lane(Reads(size=SIZE, compound=8))
        lane.release(16)
        rig.server.requests(16)
        rig.server.send(chained(whole("plain", FIRST, 8)), message)
        with pytest.raises(Malformed):
            settle(lane)
        assert not lane.alive and not rig.share.alive
        assert (lane.tally.answered, lane.tally.lost) == (8 + good, 8 - good)
        assert lane.tally.last_answer is not None


def test_fewer_parts_are_fewer_answers() -> None:
    """The last part's length is not told, so a part that hides behind it is not seen, and stays owed."""
    with Rig() as rig:
        lane = rig.lane(Reads(size=SIZE, compound=8))
        lane.release(8)
        rig.server.requests(8)
        rig.server.send(with_next(chained(whole("plain", FIRST, 8)), 3, 0))
        while lane.in_flight == 8:
            lane.receive(1.0)
        assert (lane.tally.answered, lane.in_flight) == (4, 4)
        rig.server.send(chained(whole("plain", FIRST + 4, 4)))
        settle(lane)
        assert lane.tally.answered == 8


@pytest.mark.parametrize("forged", [0, 5, 7, 8, 20, 31])
def test_a_forged_answer_ends_the_lane_and_those_before_it_count(forged: int) -> None:
    with rig_of("signed") as rig:
        lane = rig.lane(Reads(size=96, compound=8))
        lane.release(32)
        rig.server.requests(32)
        frames = [
            rig.server.framed(chained(whole("signed", FIRST + at, 8, size=96))) for at in (0, 8, 16, 24)
        ]
        data = bytearray().join(frames)
        data[forged // 8 * len(frames[0]) + 4 + forged % 8 * 176 + 100] ^= 1
        rig.server.peer.sendall(data)
        with pytest.raises(Malformed, match="signature"):
            settle(lane)
        tally = lane.tally
        assert (tally.answered, tally.lost, tally.verified) == (forged, 32 - forged, forged)


def test_an_unsigned_part_of_a_signed_compound_is_malformed() -> None:
    with rig_of("signed") as rig:
        lane = rig.lane(Reads(size=SIZE, compound=4), verify_every=0)
        lane.release(4)
        rig.server.requests(4)
        parts = whole("signed", FIRST, 4)
        parts[3] = success(FIRST + 3, SIZE)
        rig.server.send(chained(parts))
        with pytest.raises(Malformed, match="unsigned"):
            settle(lane)
        assert lane.tally.answered == 3


@settings(max_examples=100, deadline=None)
@given(data=st.binary(min_size=1, max_size=300), at=st.integers(0, 3200), kind=st.sampled_from(KINDS))
def test_no_bytes_make_it_hang_or_break_otherwise(data: bytes, at: int, kind: str) -> None:
    with rig_of(kind) as rig:
        lane = rig.lane(Reads(size=SIZE, compound=8))
        lane.release(16)
        stream_ = bytearray().join(
            rig.server.framed(chained(whole(kind, first, 8))) for first in (FIRST, FIRST + 8)
        )
        stream_[at : at + len(data)] = data
        rig.server.peer.sendall(stream_)
        rig.server.peer.shutdown(2)
        with pytest.raises((Malformed, Unreachable)):
            for _ in range(1000):
                lane.receive(1.0)
        tally = lane.tally
        assert tally.sent == tally.answered + tally.failures + tally.lost == 16


def test_only_whole_compounds_are_released_as_credits_and_the_count_allow() -> None:
    with Rig(credits=20) as rig:
        lane = rig.lane(Reads(size=SIZE, compound=8))
        assert lane.release(7) == 0 and lane.tally.credit_stalls == 0
        assert lane.release(30) == 16
        assert lane.release(7) == 0 and lane.release(8) == 0
        assert lane.tally.credit_stalls == 1
        rig.server.requests(16)
        rig.server.send(chained(whole("plain", FIRST, 4, credits=2)))
        while lane.in_flight > 12:
            lane.receive(1.0)
        assert rig.connection.credits.balance == 12
        assert lane.release(12) == 8
        assert [each.message_id for each in rig.server.requests(8)] == list(range(FIRST + 16, FIRST + 24))


def test_an_echo_and_a_cancel_between_compounds() -> None:
    with Rig() as rig:
        lane = rig.lane(Reads(size=SIZE, compound=4))
        lane.build()
        lane.release(4)
        lane.echo()
        lane.release(4)
        assert lane.cancel(2) == 2
        asked = rig.server.requests(11)
        assert [each.command for each in asked] == [8, 8, 8, 8, 13, 8, 8, 8, 8, 12, 12]
        assert [each.message_id for each in asked[:9]] == list(range(FIRST, FIRST + 9))
        assert [each.message_id for each in asked[9:]] == [FIRST + 8, FIRST + 7]
        rig.server.send(answer(FIRST + 4, command=Command.ECHO, body=b"\4\0\0\0"))
        parts = [*whole("plain", FIRST + 5, 2), *(answer(FIRST + at, status=CANCELLED) for at in (7, 8))]
        rig.server.send(chained(whole("plain", FIRST, 4)), chained(parts))
        settle(lane)
        assert (lane.tally.answered, dict(lane.tally.failed)) == (6, {CANCELLED: 2})


def test_a_full_socket_keeps_whole_compounds_for_later() -> None:
    with Rig(credits=8192) as rig:
        lane = rig.lane(Reads(size=SIZE, compound=16))
        sent = lane.release(8192)
        assert lane.blocked and 0 < sent < 8192 and sent % 16 == 0
        serving = Serving(rig)
        settle(lane)
        assert lane.tally.answered == len(serving.read) == sent


def test_reads_of_several_credits_do_not_go_into_a_compound() -> None:
    with Rig() as rig, pytest.raises(ConfigurationError, match="compound"):
        rig.lane(Reads(size=65537, compound=2))
