"""A lane counts what a server answers, exactly, and takes nothing for an answer that is none."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smb_lanes import CANCELLED, END_OF_FILE, FIRST, Rig, answer, pending, read_body, settle, success

from lab.model import ConfigurationError
from lab.smb.errors import Malformed, Unreachable
from lab.smb.load import readlane
from lab.smb.load.tally import Tally, total
from lab.smb.load.tape import Reads
from lab.smb.load.wirelane import MOST_CREDITS
from lab.smb.signing import SigningAlgorithm
from lab.smb.wire import Command, Flags

SIZE = 4096
UNSOLICITED = 0xFFFF_FFFF_FFFF_FFFF


def counts(tally: Tally) -> dict[str, object]:
    """What does not depend on time."""
    times = ("latencies", "first_sent", "last_answer")
    return {name: getattr(tally, name) for name in Tally.__slots__ if name not in times}


# --- answers of every kind ------------------------------------------------------------------------


def test_every_answer_is_counted_once() -> None:
    with Rig(credits=100) as rig:
        lane = rig.lane()
        assert lane.release(64) == 64
        asked = rig.server.requests(64)
        assert [each.message_id for each in asked] == list(range(FIRST, FIRST + 64))
        rig.server.send(*(success(each.message_id) for each in asked))
        settle(lane)
        assert (lane.tally.sent, lane.tally.answered, lane.tally.bytes_read) == (64, 64, 64 * SIZE)
        assert lane.in_flight == 0 and lane.alive
        assert sum(lane.tally.latencies.values()) == len(range(0, 64, 17))


@pytest.mark.parametrize("seed", range(5))
def test_answers_may_come_in_any_order(seed: int) -> None:
    with Rig(credits=512) as rig:
        lane = rig.lane()
        lane.release(300)
        ids = [each.message_id for each in rig.server.requests(300)]
        random.Random(seed).shuffle(ids)
        for start in range(0, 300, 30):
            rig.server.send(*(success(each) for each in ids[start : start + 30]))
            lane.receive(1.0)
        settle(lane)
        assert lane.tally.answered == 300


def test_each_outcome_has_its_own_count() -> None:
    with Rig() as rig:
        lane = rig.lane()
        lane.release(6)
        first = rig.server.requests(6)[0].message_id
        rig.server.send(
            success(first),
            answer(first + 1, status=END_OF_FILE),
            success(first + 2, 1000),
            pending(first + 3),
            success(first + 4),
            answer(first + 5, status=CANCELLED),
        )
        while lane.in_flight > 1:
            lane.receive(1.0)
        assert lane.tally.pending == 1
        rig.server.send(success(first + 3, flags=Flags.TO_CLIENT | Flags.ASYNC, async_id=99, credits=0))
        settle(lane)
        tally = lane.tally
        assert (tally.answered, tally.short, tally.bytes_read) == (4, 1, 3 * SIZE + 1000)
        assert dict(tally.failed) == {END_OF_FILE: 1, CANCELLED: 1}
        assert tally.sent == tally.answered + tally.failures + tally.lost == 6


def test_answers_in_a_compound_are_answers() -> None:
    """Servers may put several answers into one frame, each padded to 8 bytes."""
    with Rig() as rig:
        lane = rig.lane(Reads(size=100))
        lane.release(3)
        first = rig.server.requests(3)[0].message_id
        whole = success(first, 100)
        padding = -len(whole) % 8
        following = len(whole) + padding
        head = b"".join(success(first + at, 100, following=following) + bytes(padding) for at in (0, 1))
        rig.server.send(head + success(first + 2, 100))
        settle(lane)
        assert (lane.tally.answered, lane.tally.bytes_read) == (3, 300)


def test_a_break_is_counted_and_kept_and_an_echo_is_answered() -> None:
    with Rig() as rig:
        lane = rig.lane()
        lane.release(1)
        lane.echo()
        lane.release(1)
        asked = rig.server.requests(3)
        assert [each.command for each in asked] == [Command.READ, Command.ECHO, Command.READ]
        assert [each.message_id for each in asked] == [FIRST, FIRST + 1, FIRST + 2]
        body = struct.pack("<HBBI16s", 24, 1, 0, 0, b"k" * 16)
        notice = answer(UNSOLICITED, command=Command.OPLOCK_BREAK, body=body)
        rig.server.send(notice, success(FIRST), answer(FIRST + 1, command=Command.ECHO, body=b"\4\0\0\0"))
        rig.server.send(success(FIRST + 2))
        settle(lane)
        assert lane.tally.operations == {"breaks": 1, "echoes": 1}
        assert lane.tally.answered == 2 and len(rig.connection.breaks) == 1


def test_cancel_names_the_latest_reads() -> None:
    with Rig(signing=SigningAlgorithm.AES_GMAC) as rig:
        lane = rig.lane()
        lane.release(4)
        rig.server.requests(4)
        rig.server.send(pending(FIRST + 2, async_id=0x1_0000_0007))
        lane.receive(1.0)
        assert lane.cancel(2) == 2
        last, put_off = rig.server.requests(2)
        assert (last.command, last.message_id, last.flags & Flags.ASYNC) == (Command.CANCEL, FIRST + 3, 0)
        assert put_off.flags & Flags.ASYNC and put_off.message[32:40] == (0x1_0000_0007).to_bytes(8, "little")
        assert rig.connection.credits.next_id == FIRST + 4  # a CANCEL takes no message id


# --- credits --------------------------------------------------------------------------------------


def test_no_more_is_sent_than_there_are_credits() -> None:
    with Rig(credits=10) as rig:
        lane = rig.lane()
        assert lane.release(64) == 10
        assert lane.release(64) == 0
        assert lane.tally.credit_stalls == 1  # one wait, however often it is tried
        asked = rig.server.requests(10)
        rig.server.send(*(success(each.message_id, credits=3) for each in asked[:4]))
        while lane.in_flight > 6:
            lane.receive(1.0)
        assert rig.connection.credits.balance == 12
        assert lane.release(12) == 12
        assert lane.release(5) == 0
        assert lane.tally.credit_stalls == 2


def test_interim_and_final_answers_both_give_credits() -> None:
    with Rig(credits=1) as rig:
        lane = rig.lane()
        lane.release(1)
        rig.server.requests(1)
        rig.server.send(pending(FIRST, credits=5))
        lane.receive(1.0)
        assert rig.connection.credits.balance == 5
        rig.server.send(success(FIRST, credits=2))
        settle(lane)
        assert rig.connection.credits.balance == 7


def test_credits_are_asked_for_until_there_are_enough() -> None:
    with Rig(credits=10) as rig:
        lane = rig.lane()
        lane.release(1)
        assert rig.server.requests(1)[0].credits == 1 + MOST_CREDITS - 10
    with Rig(credits=MOST_CREDITS) as rig:
        lane = rig.lane()
        lane.release(1)
        assert rig.server.requests(1)[0].credits == 1


def test_a_large_read_costs_several_credits() -> None:
    with Rig(credits=100) as rig:
        lane = rig.lane(Reads(size=1 << 20))
        assert lane.release(50) == 6
        asked = rig.server.requests(6)
        assert [(each.message_id, each.charge) for each in asked] == [
            (FIRST + 16 * at, 16) for at in range(6)
        ]
        rig.server.send(success(FIRST + 16, 1 << 20, credits=16))
        while lane.in_flight > 5:
            lane.receive(1.0)
        rig.server.send(success(FIRST + 17, 1 << 20))  # within the ids of the same READ
        with pytest.raises(Malformed, match="not in flight"):
            settle(lane)


def test_the_ledger_is_given_back() -> None:
    with Rig(credits=50) as rig:
        lane = rig.lane()
        lane.build()
        lane.release(3)
        asked = rig.server.requests(3)
        rig.server.send(*(success(each.message_id, credits=2) for each in asked))
        settle(lane)
        lane.finish()
        assert rig.connection.credits.next_id == FIRST + 3  # laid out and not sent: not taken
        assert rig.connection.credits.balance == 53
        mid = rig.connection.submit(Command.ECHO, b"\4\0\0\0", session=rig.share.session)
        assert rig.server.requests(1)[0].message_id == mid == FIRST + 3
        rig.server.send(answer(mid, command=Command.ECHO, body=b"\4\0\0\0"))
        assert rig.connection.wait(mid).status == 0


def test_an_unanswered_read_is_lost_and_its_connection_closed() -> None:
    with Rig() as rig:
        lane = rig.lane()
        lane.release(5)
        lane.finish()
        assert (lane.tally.lost, lane.alive, rig.share.alive) == (5, False, False)


# --- the stream in pieces -------------------------------------------------------------------------

SMALL = 64
KINDS = ("plain", "signed", "sealed", "dropped")
ASYNC = Flags.TO_CLIENT | Flags.ASYNC


def rig_of(kind: str) -> Rig:
    signing = SigningAlgorithm.AES_CMAC if kind == "signed" else None
    return Rig(signing=signing, sealed=kind == "sealed", tcp=True)


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
        if kind == "dropped":
            patch.setattr(readlane, "DROP_FROM", 0)
        lane = rig.lane(Reads(size=SMALL), verify_every=0 if kind == "dropped" else 1)
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
    assert found["verified"] == {"signed": 10, "sealed": 11}.get(kind, 0)
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
    with rig_of(kind) as rig:
        signed = Flags.SIGNED if kind == "signed" else 0
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
        if kind == "signed":
            assert tally.verified == 14  # of 40, one in 3 from the first one on


# --- protection -----------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [0, 1, 4])
def test_signatures_are_verified_by_policy(every: int) -> None:
    with Rig(signing=SigningAlgorithm.AES_GMAC) as rig:
        lane = rig.lane(verify_every=every)
        lane.release(20)
        asked = rig.server.requests(20)
        assert all(each.flags & Flags.SIGNED for each in asked)
        flags = Flags.TO_CLIENT | Flags.SIGNED
        rig.server.send(*(success(each.message_id, flags=flags) for each in asked))
        settle(lane)
        assert lane.tally.verified == {0: 0, 1: 20, 4: 5}[every]


def test_a_changed_answer_is_malformed() -> None:
    with Rig(signing=SigningAlgorithm.AES_GMAC) as rig:
        lane = rig.lane()
        lane.release(3)
        rig.server.requests(3)
        data = bytearray().join(
            rig.server.framed(success(FIRST + at, flags=Flags.TO_CLIENT | Flags.SIGNED)) for at in range(3)
        )
        data[-1] ^= 1
        rig.server.peer.sendall(data)
        with pytest.raises(Malformed, match="signature"):
            settle(lane)
        assert not lane.alive and not rig.share.alive


@pytest.mark.parametrize("status", [0, END_OF_FILE])
def test_an_unsigned_answer_to_a_signed_request_is_malformed(status: int) -> None:
    with Rig(signing=SigningAlgorithm.AES_CMAC) as rig:
        lane = rig.lane(verify_every=0)
        lane.release(1)
        rig.server.send(answer(FIRST, status=status, body=read_body(bytes(SIZE))))
        with pytest.raises(Malformed, match="unsigned"):
            settle(lane)


def test_a_deleted_session_cannot_sign_its_end() -> None:
    with Rig(signing=SigningAlgorithm.AES_CMAC) as rig:
        lane = rig.lane()
        lane.release(1)
        rig.server.send(answer(FIRST, status=0xC000_0203))
        settle(lane)
        assert dict(lane.tally.failed) == {0xC000_0203: 1}


def test_answers_in_the_clear_to_sealed_requests_are_malformed() -> None:
    with Rig(sealed=True) as rig:
        lane = rig.lane()
        lane.release(1)
        rig.server.requests(1)
        rig.server.sealer = None
        rig.server.send(success(FIRST))
        with pytest.raises(Malformed, match="in the clear"):
            settle(lane)


@pytest.mark.parametrize(("every", "verified"), [(0, 0), (1, 9), (4, 3)])
def test_large_sealed_answers_are_opened_by_policy(every: int, verified: int) -> None:
    with Rig(sealed=True) as rig:
        lane = rig.lane(Reads(size=65536), verify_every=every)
        lane.release(9)
        rig.server.requests(9)
        for at in range(9):
            rig.server.send(success(FIRST + at, 65536))
            lane.receive(1.0)
        settle(lane)
        assert (lane.tally.answered, lane.tally.verified) == (9, verified)


def test_a_changed_sealed_answer_is_malformed() -> None:
    with Rig(sealed=True) as rig:
        lane = rig.lane()
        lane.release(1)
        rig.server.requests(1)
        data = bytearray(rig.server.framed(success(FIRST)))
        data[-1] ^= 1
        rig.server.peer.sendall(data)
        with pytest.raises(Malformed):
            settle(lane)


# --- what is no answer ----------------------------------------------------------------------------

BAD: dict[str, bytes] = {
    "never asked": success(FIRST + 8),
    "before the first": success(FIRST - 1),
    "message id of a notification": success(UNSOLICITED),
    "twice": b"",
    "more than asked": success(FIRST, SIZE + 1),
    "more said than there": answer(FIRST, body=read_body(bytes(100), said=SIZE)),
    "data before its place": answer(FIRST, body=read_body(bytes(SIZE), offset=8)),
    "data behind the end": answer(FIRST, body=read_body(bytes(SIZE), offset=200)),
    "cut body": answer(FIRST, body=b"\x11\0\x50"),
    "another command": success(FIRST, command=Command.WRITE),
    "a request": success(FIRST, flags=0),
    "a header only": answer(FIRST, body=b""),
    "another protocol": b"\xffSMB" + success(FIRST)[4:],
    "a sealed frame": b"\xfdSMB" + success(FIRST)[4:],
    "next answer outside": success(FIRST, following=1 << 20),
    "next answer at itself": success(FIRST, following=8),
    "next answer askew": success(FIRST, following=81),
    "put off twice": b"",
}


@pytest.mark.parametrize("dropping", [False, True])
@pytest.mark.parametrize("bad", BAD)
def test_what_breaks_the_protocol_ends_the_lane(
    bad: str, dropping: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readlane, "DROP_FROM", 0 if dropping else 1 << 30)
    message = {
        "twice": success(FIRST + 2),
        "put off twice": pending(FIRST + 1),
    }.get(bad, BAD[bad])
    with Rig(tcp=True) as rig:
        lane = rig.lane()
        lane.release(8)
        rig.server.requests(8)
        rig.server.send(success(FIRST + 2), pending(FIRST + 1))
        while lane.in_flight == 8 or not lane.tally.pending:
            lane.receive(1.0)
        rig.server.send(message)
        with pytest.raises(Malformed):
            settle(lane)
        assert not lane.alive and not rig.share.alive
        assert lane.tally.sent == lane.tally.answered + lane.tally.failures + lane.tally.lost
        with pytest.raises(Unreachable):
            lane.receive(0)
        assert lane.release(1) == 0


@pytest.mark.parametrize(
    "framing", [b"\0\0\0\0", b"\0\0\0\x3f", b"\0\xff\xff\xff", b"\1\0\0\x60", b"GET / HT"]
)
def test_a_frame_of_no_possible_length_is_malformed(framing: bytes) -> None:
    with Rig() as rig:
        lane = rig.lane()
        lane.release(1)
        rig.server.peer.sendall(framing)
        with pytest.raises(Malformed):
            settle(lane)


def test_a_closed_connection_is_unreachable_and_its_reads_are_lost() -> None:
    with Rig() as rig:
        lane = rig.lane()
        lane.release(7)
        rig.server.requests(7)
        rig.server.send(success(FIRST))
        rig.server.peer.close()
        with pytest.raises(Unreachable, match="closed the connection"):
            settle(lane)
        assert (lane.tally.answered, lane.tally.lost) == (1, 6)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(min_size=1, max_size=400), at=st.integers(0, 1500), kind=st.sampled_from(KINDS))
def test_no_bytes_make_it_hang_or_break_otherwise(data: bytes, at: int, kind: str) -> None:
    """Anything may come: it is counted, or Malformed, or Unreachable when the stream ends."""
    with pytest.MonkeyPatch.context() as patch, rig_of(kind) as rig:
        patch.setattr(readlane, "DROP_FROM", 0 if kind == "dropped" else 1 << 30)
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


# --- a server that does not read ------------------------------------------------------------------


def test_a_full_socket_keeps_the_rest_for_later() -> None:
    with Rig(credits=8192) as rig:
        lane = rig.lane()
        sent = lane.release(8192)
        assert lane.blocked and 0 < sent < 8192
        assert lane.release(10) == 0
        lane.build()  # must not touch what is unsent
        asked = []
        while len(asked) < sent:
            asked += rig.server.waiting()
            lane.receive(0)
        assert not lane.blocked
        assert [each.message_id for each in asked] == list(range(FIRST, FIRST + sent))
        assert lane.release(10) == 10
        assert rig.server.requests(10)[0].message_id == FIRST + sent


# --- the rest -------------------------------------------------------------------------------------


def test_more_than_the_server_allows_is_refused() -> None:
    with Rig() as rig, pytest.raises(ConfigurationError, match="allows 1 to"):
        rig.lane(Reads(size=9 << 20))


def test_totals_are_sums() -> None:
    one, other = Tally(), Tally()
    one.sent, one.failed[5], one.first_sent, one.last_answer = 3, 2, 10.0, 20.0
    other.sent, other.failed[5], other.operations["echoes"] = 4, 1, 7
    other.first_sent, other.last_answer = 5.0, 15.0
    found = total([one, other, Tally()])
    assert (found.sent, found.failures, found.operations) == (7, 3, {"echoes": 7})
    assert (found.first_sent, found.last_answer) == (5.0, 20.0)
