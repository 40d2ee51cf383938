"""A lane takes nothing for an answer that is none: forged, unprotected, unasked, impossible."""

from __future__ import annotations

import pytest
from smb_lanes import END_OF_FILE, FIRST, SESSION, Rig, answer, pending, read_body, settle, success

from lab.smb.errors import Malformed, Unreachable
from lab.smb.load import readlane
from lab.smb.load.tape import Reads
from lab.smb.signing import SigningAlgorithm
from lab.smb.wire import Command, Flags

SIZE = 4096
UNSOLICITED = 0xFFFF_FFFF_FFFF_FFFF


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


@pytest.mark.parametrize("bad", ["forged", "another session", "structure size", "never asked"])
@pytest.mark.parametrize("good", [0, 1, 7])
def test_what_comes_before_a_bad_answer_counts(good: int, bad: str) -> None:
    with Rig(signing=SigningAlgorithm.AES_GMAC) as rig:
        lane = rig.lane()
        lane.release(10)
        rig.server.requests(10)
        flags = Flags.TO_CLIENT | Flags.SIGNED
        messages = [success(FIRST + at, flags=flags) for at in range(10)]
        if bad == "another session":
            messages[good] = success(FIRST + good, flags=flags, session=7)
        elif bad == "structure size":
            messages[good] = messages[good][:4] + b"\0" + messages[good][5:]
        elif bad == "never asked":
            messages[good] = success(FIRST + 10, flags=flags)
        frames = [bytearray(rig.server.framed(each)) for each in messages]
        if bad == "forged":
            frames[good][-1] ^= 1
        rig.server.peer.sendall(bytearray().join(frames))
        with pytest.raises(Malformed):
            settle(lane)
        assert (lane.tally.answered, lane.tally.lost) == (good, 10 - good)
        assert lane.tally.verified == good + (bad == "never asked") * (10 - good)


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
    "structure size of a header": success(FIRST)[:4] + b"\x41" + success(FIRST)[5:],
    "another session": success(FIRST, session=SESSION ^ 1 << 40),
    "another session, put off": pending(FIRST, session=0),
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
    for name in ("DROP_FROM", "SKIP_FROM"):
        monkeypatch.setattr(readlane, name, 0 if dropping else 1 << 30)
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
