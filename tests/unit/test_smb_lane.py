"""A lane counts what a server answers, exactly, and keeps to its credits."""

from __future__ import annotations

import random
import struct

import pytest
from smb_lanes import CANCELLED, END_OF_FILE, FIRST, Rig, answer, pending, settle, success

from lab.model import ConfigurationError
from lab.smb.errors import Malformed
from lab.smb.load.tally import Tally, total
from lab.smb.load.tape import Reads
from lab.smb.load.wirelane import MOST_CREDITS
from lab.smb.signing import SigningAlgorithm
from lab.smb.wire import Command, Flags

SIZE = 4096
UNSOLICITED = 0xFFFF_FFFF_FFFF_FFFF


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
        assert not lane._put_off  # though it did not say that it answers what was put off


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
