"""However an answer stream is cut, ordered and protected, a lane counts the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smb_lanes import END_OF_FILE, FIRST, Rig, answer, pending, settle, success

from lab.smb.errors import Malformed, Unreachable
from lab.smb.load import readlane
from lab.smb.load.tally import Tally
from lab.smb.load.tape import Reads
from lab.smb.signing import SigningAlgorithm
from lab.smb.wire import Flags


def counts(tally: Tally) -> dict[str, object]:
    """What does not depend on time."""
    times = ("latencies", "first_sent", "last_answer")
    return {name: getattr(tally, name) for name in Tally.__slots__ if name not in times}


SMALL = 64
KINDS = ("plain", "signed", "sealed", "skipped", "dropped", "skipped, signed", "dropped, signed")
ASYNC = Flags.TO_CLIENT | Flags.ASYNC


def rig_of(kind: str) -> Rig:
    signing = SigningAlgorithm.AES_CMAC if "signed" in kind else None
    return Rig(signing=signing, sealed=kind == "sealed", tcp=True)


def as_large(kind: str, patch: pytest.MonkeyPatch) -> None:
    """Small READs are treated as large ones are."""
    if "dropped" in kind:
        patch.setattr(readlane, "DROP_FROM", 0)
    if "dropped" in kind or "skipped" in kind:
        patch.setattr(readlane, "SKIP_FROM", 0)


def stream(rig: Rig) -> bytes:
    """Answers of all kinds to ten READs of 64 bytes."""
    signed = Flags.SIGNED if rig.share.session.signer else 0
    whole = [success(FIRST + at, SMALL, flags=Flags.TO_CLIENT | signed) for at in range(10)]
    put_off = success(FIRST + 2, SMALL, flags=ASYNC | signed, async_id=99)
    failed = answer(FIRST + 5, status=END_OF_FILE, flags=Flags.TO_CLIENT | signed)
    short = success(FIRST + 6, 17, flags=Flags.TO_CLIENT | signed)
    messages = [*whole[:2], pending(FIRST + 2), whole[4], whole[3], failed, short, put_off, *whole[7:]]
    return b"".join(map(rig.server.framed, messages))


def in_pieces(kind: str, cuts: set[int]) -> tuple[dict[str, object], int]:
    """What a lane counts when the stream comes in these pieces, and its credits at the end."""
    with pytest.MonkeyPatch.context() as patch, rig_of(kind) as rig:
        as_large(kind, patch)
        lane = rig.lane(Reads(size=SMALL), verify_every=1)
        lane.release(10)
        rig.server.requests(10)
        data, at = stream(rig), 0
        for cut in sorted(cuts | {len(data)}):
            rig.server.peer.sendall(data[at:cut])
            at = min(cut, len(data))
            lane.receive(0)
        settle(lane)
        return counts(lane.tally), rig.connection.credits.balance


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_in_one_piece_and_byte_by_byte(kind: str) -> None:
    found, credits = in_pieces(kind, set())
    expected = {"sent": 10, "answered": 9, "bytes_read": 8 * SMALL + 17, "short": 1, "pending": 1, "lost": 0}
    assert found == found | expected | {"failed": {END_OF_FILE: 1}}
    assert found["verified"] == 10 * ("signed" in kind) + 11 * (kind == "sealed")
    assert credits == 512 - 10 + 11
    assert in_pieces(kind, set(range(1, 3000))) == (found, credits)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(KINDS), cuts=st.sets(st.integers(1, 2000), max_size=30))
def test_any_pieces_give_the_same_counts(kind: str, cuts: set[int]) -> None:
    assert in_pieces(kind, cuts) == in_pieces(kind, set())


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    order=st.permutations(range(40)),
    fates=st.lists(st.sampled_from(["whole", "short", "failed", "late"]), min_size=40, max_size=40),
    most=st.integers(1, 40),
)
def test_any_outcomes_in_any_order_are_counted(
    kind: str, order: list[int], fates: list[str], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, rig_of(kind) as rig:
        as_large(kind, patch)
        signed = Flags.SIGNED if "signed" in kind else 0
        final = Flags.TO_CLIENT | signed
        lane = rig.lane(Reads(size=SMALL), verify_every=3)
        lane.release(40)
        rig.server.requests(40)
        made: dict[str, Callable[[int], bytes]] = {
            "whole": lambda mid: success(mid, SMALL, flags=final),
            "short": lambda mid: success(mid, 9, flags=final),
            "failed": lambda mid: answer(mid, status=END_OF_FILE, flags=final),
            "late": lambda mid: success(mid, SMALL, flags=ASYNC | signed, async_id=mid, credits=0),
        }
        rig.server.send(*(pending(FIRST + at, async_id=FIRST + at) for at in order if fates[at] == "late"))
        for start in range(0, 40, most):
            rig.server.send(*(made[fates[at]](FIRST + at) for at in order[start : start + most]))
            lane.receive(0)
        settle(lane)
        tally = lane.tally
        assert (tally.answered, tally.failures) == (40 - fates.count("failed"), fates.count("failed"))
        assert (tally.short, tally.pending) == (fates.count("short"), fates.count("late"))
        assert rig.connection.credits.balance == 512
        if "signed" in kind:
            assert tally.verified == 14  # of 40, one in 3 from the first one on


@settings(max_examples=150, deadline=None)
@given(data=st.binary(min_size=1, max_size=400), at=st.integers(0, 1500), kind=st.sampled_from(KINDS))
def test_no_bytes_make_it_hang_or_break_otherwise(data: bytes, at: int, kind: str) -> None:
    """Anything may come: it is counted, or Malformed, or Unreachable when the stream ends."""
    with pytest.MonkeyPatch.context() as patch, rig_of(kind) as rig:
        as_large(kind, patch)
        lane = rig.lane(Reads(size=SMALL))
        lane.release(10)
        whole = bytearray(stream(rig))
        whole[at : at + len(data)] = data
        rig.server.peer.sendall(whole)
        rig.server.peer.shutdown(2)
        with pytest.raises((Malformed, Unreachable)):
            for _ in range(1000):
                lane.receive(1.0)
        tally = lane.tally
        assert tally.sent == tally.answered + tally.failures + tally.lost == 10
