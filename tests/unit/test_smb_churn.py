"""CREATE, READ and CLOSE in one compound: each part answered, counted and named."""

from __future__ import annotations

import struct

import pytest
from smb_lanes import FIRST, SESSION, TREE, Request, Rig, answer, chained, pending, read_body, settle

from lab.model import ConfigurationError
from lab.smb.errors import Malformed
from lab.smb.load.churn import ChurnLane
from lab.smb.load.flights import FARTHEST, Flights
from lab.smb.load.tape import Reads
from lab.smb.signing import SigningAlgorithm
from lab.smb.wire import ANY_FILE, Command, Flags, parse_header

MISSING, CLOSED = 0xC000_0034, 0xC000_0128
NAMES = ["a.txt", "folder\\b.bin", "ccccccccc"]
ORDER = (Command.CREATE, Command.READ, Command.CLOSE)


def parts_of(first: int, size: int = 100, *, signed: bool = False) -> list[bytes]:
    """Successful answers to a compound's three requests."""
    flags = Flags.TO_CLIENT | (Flags.SIGNED if signed else 0)
    return [
        answer(first, command=Command.CREATE, body=struct.pack("<H86x", 89), flags=flags),
        answer(first + 1, body=read_body(bytes(size)), flags=flags),
        answer(first + 2, command=Command.CLOSE, body=struct.pack("<H58x", 60), flags=flags),
    ]


def names_of(requests: list[Request]) -> list[str]:
    creates = [each.message for each in requests if each.command == Command.CREATE]
    return [each[120 : 120 + int.from_bytes(each[110:112], "little")].decode("utf-16-le") for each in creates]


def test_a_compound_opens_reads_and_closes_a_file() -> None:
    with Rig() as rig:
        lane = rig.churn(NAMES, size=100)
        assert lane.release(6) == 6
        requests = rig.server.requests(18)
        assert rig.server.frames == 6
        assert [each.command for each in requests] == [*ORDER] * 6
        assert [each.message_id for each in requests] == list(range(FIRST, FIRST + 18))
        assert {(each.session_id, each.tree_id, each.charge) for each in requests} == {(SESSION, TREE, 1)}
        assert [bool(each.flags & Flags.RELATED) for each in requests] == [False, True, True] * 6
        assert all(parse_header(each.message).next_command % 8 == 0 for each in requests)
        assert requests[1].file_id == ANY_FILE and requests[2].message[72:88] == ANY_FILE
        opened = names_of(requests)
        assert sorted(opened[:3]) == sorted(NAMES) and opened[:3] == opened[3:]
        rig.server.send(*(chained(parts_of(FIRST + 3 * at)) for at in range(6)))
        settle(lane)
        assert (lane.tally.sent, lane.tally.answered, lane.tally.bytes_read) == (6, 6, 600)
        assert lane.tally.operations == {"creates": 6, "closes": 6}
        assert rig.connection.credits.balance == 512


def test_each_part_fails_under_its_own_name() -> None:
    with Rig() as rig:
        lane = rig.churn(NAMES, size=100)
        lane.release(2)
        rig.server.requests(6)
        failed = [
            answer(FIRST + at, command=command, status=MISSING)
            for at, command in enumerate((Command.CREATE, Command.READ, Command.CLOSE))
        ]
        other = parts_of(FIRST + 3)
        other[2] = answer(FIRST + 5, command=Command.CLOSE, status=CLOSED)
        rig.server.send(chained(failed), chained(other))
        settle(lane)
        assert dict(lane.tally.failed) == {MISSING: 1}
        assert lane.tally.operations == {
            "create STATUS_OBJECT_NAME_NOT_FOUND": 1,
            "close STATUS_OBJECT_NAME_NOT_FOUND": 1,
            "creates": 1,
            "close STATUS_FILE_CLOSED": 1,
        }


def test_parts_may_be_answered_apart_and_late() -> None:
    with Rig() as rig:
        lane = rig.churn(NAMES, size=100)
        lane.release(1)
        rig.server.requests(3)
        create, read, close = parts_of(FIRST)
        rig.server.send(create, pending(FIRST + 1), close)
        while lane.in_flight:
            lane.receive(1.0)
        assert lane.owed == 1  # its READ
        rig.server.send(read)
        settle(lane)
        assert (lane.tally.answered, lane.tally.pending) == (1, 1)


@pytest.mark.parametrize("sealed", [False, True])
def test_signed_and_sealed_compounds(sealed: bool) -> None:
    with Rig(signing=SigningAlgorithm.AES_CMAC, sealed=sealed) as rig:
        lane = rig.churn(NAMES, size=100)
        lane.build()
        lane.release(4)
        requests = rig.server.requests(12)  # which verifies, or opens, them
        assert all(bool(each.flags & Flags.SIGNED) is not sealed for each in requests)
        for at in range(4):
            rig.server.send(chained(parts_of(FIRST + 3 * at, signed=not sealed)))
        settle(lane)
        assert lane.tally.answered == 4
        assert lane.tally.verified == (4 if sealed else 12)


def test_an_echo_takes_the_next_message_id_and_no_file_is_left_out() -> None:
    with Rig() as rig:
        lane = rig.churn(NAMES)
        lane.build()
        lane.release(1)
        lane.echo()
        lane.release(2)
        requests = rig.server.requests(10)
        assert [each.message_id for each in requests] == list(range(FIRST, FIRST + 10))
        assert requests[3].command == Command.ECHO
        assert sorted(names_of(requests)) == sorted(NAMES)


def test_only_whole_compounds_are_sent() -> None:
    with Rig(credits=8) as rig:
        lane = rig.churn(NAMES)
        assert lane.release(5) == 2
        assert lane.tally.credit_stalls == 1
        lane.finish()
        assert lane.tally.lost == 2


def test_large_reads_do_not_go_into_a_compound() -> None:
    with Rig() as rig, pytest.raises(ConfigurationError, match="compound"):
        ChurnLane(rig.share, NAMES, Reads(size=65537))


def test_one_request_cannot_be_left_behind_for_ever() -> None:
    """Else a server that never answers one of them would make the ledger of those in flight grow on."""
    flights = Flights()
    flights.launch(bytes([Command.READ]), 0.0)
    with pytest.raises(Malformed, match="later ones"):
        for first in range(1, FARTHEST + 2, 4096):
            flights.launch(bytes([Command.READ]) * 4096, 0.0)
            assert flights.land_run(first, 4096)
            flights.sampled(first, 4096)


def test_requests_long_answered_are_not_in_flight() -> None:
    flights = Flights()
    flights.launch(bytes([Command.READ]) * 100_000, 0.0)
    assert flights.land_run(0, 100_000)
    flights.launch(bytes([Command.READ]) * 1000, 0.0)
    for first in (-1, 0, 99_900, 99_990, 100_990):
        assert not flights.land_run(first, 32)
        assert flights.command(first) == (Command.READ if first == 100_990 else 0)
    assert flights.land_run(100_000, 1000)


def test_the_ledger_of_requests_in_flight_stays_short() -> None:
    flights = Flights()
    for first in range(0, 1 << 20, 4096):
        flights.launch(bytes([Command.READ]) * 4096, 0.0)
        assert flights.land_run(first, 4096)
        assert len(flights.sampled(first, 4096)) in (240, 241)
        assert not flights.land_run(first, 1)
    assert flights.command(0) == 0 and flights.count(Command.READ) == 0
    assert len(flights._marks) < 1 << 17
