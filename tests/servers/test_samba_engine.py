"""Lanes against a real Samba server: the contents are the file's, and the server counted what we counted."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from smbd import Smbd, missing, running

from lab.smb import Security, Signing
from lab.smb.errors import Unreachable
from lab.smb.load.churn import ChurnLane
from lab.smb.load.engine import Step, drive, drive_all
from lab.smb.load.lane import Lane
from lab.smb.load.readlane import ReadLane
from lab.smb.load.tally import Tally, total
from lab.smb.load.tape import Reads
from lab.smb.share import Share, connect
from lab.smb.signing import SigningAlgorithm
from lab.smb.target import Encryption
from lab.smb.wire import FRAMING, parse_header, parts

NAME, LENGTH = "read.bin", 8 << 20
LIMIT = 60.0
"""Seconds that a lane may take for what a test wants of it, on a machine that is busy with other things."""

PLAIN = Security(signing=Signing.IF_ASKED, encryption=Encryption.OFF)
SIGNED = Security(encryption=Encryption.OFF)
SEALED = Security(encryption=Encryption.REQUIRED)


@dataclass
class Counting:
    """A Samba server that counts its system calls, and its file."""

    server: Smbd
    content: bytes
    shares: list[Share] = field(default_factory=list)

    def share(self, security: Security = PLAIN) -> Share:
        self.shares.append(connect(self.server.target(security=security), "Data"))
        return self.shares[-1]

    def read(self, expected: int) -> tuple[int, int]:
        """How many times smbd read from files, and the bytes that it got; all connections are closed.

        What a process counted is there to see some time after its end: waits until it is `expected` or more.
        """
        for share in self.shares:
            share.close()
        deadline = time.monotonic() + LIMIT
        while (found := self._counts())[0] < expected and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _counts(self) -> tuple[int, int]:
        configuration = str(self.server.data.parent / "smb.conf")
        done = subprocess.run(["smbstatus", "-s", configuration, "-P"], capture_output=True, text=True)
        found = [
            re.search(rf"^syscall_pread_{name}: +(\d+)$", done.stdout, re.M) for name in ("count", "bytes")
        ]
        calls, size = (int(each.group(1)) if each else 0 for each in found)
        return calls, size


@pytest.fixture
def counting() -> Iterator[Counting]:
    if reason := missing():
        pytest.skip(reason)
    with running("aio read size = 0\n  smbd profiling level = count") as smbd:
        content = os.urandom(LENGTH)
        (smbd.data / NAME).write_bytes(content)
        server = Counting(smbd, content)
        yield server
        for share in server.shares:
            share.close(politely=False)


def until(count: int, lanes: Sequence[Lane], in_flight: int = 64) -> Callable[[float], Step]:
    """A pace for each of the lanes until they have sent so many READs together."""

    def pace(now: float) -> Step:
        left = max(0, count - sum(lane.tally.sent for lane in lanes))
        return Step(in_flight if left else 0, 0.01, budget=left)

    return pace


def run(count: int, lanes: Sequence[ReadLane | ChurnLane], *, in_flight: int = 64) -> Tally:
    """All lanes in this thread until they have sent `count` READs together, which all are answered."""
    over, pace = threading.Event(), until(count, lanes, in_flight)
    deadline = time.monotonic() + LIMIT

    def stop_when_done(now: float) -> Step:
        sent = sum(lane.tally.sent for lane in lanes)
        if (sent >= count and not any(lane.owed for lane in lanes)) or now > deadline:
            over.set()
        return pace(now)

    if len(lanes) == 1:
        drive(lanes[0], stop_when_done, over)
    else:
        assert not drive_all(lanes, [stop_when_done] * len(lanes), over)
    for lane in lanes:
        lane.finish()
        assert lane.alive
    return total(lane.tally for lane in lanes)


class Checked(ReadLane):
    """Looks at the payload of every answer that comes in a run."""

    content = b""
    right = 0

    def release(self, count: int) -> int:
        self.offsets: dict[int, int] = getattr(self, "offsets", {})
        return super().release(count)

    def _send(self, data: memoryview | bytes) -> None:
        for message in messages(data):
            self.offsets[parse_header(message).message_id] = struct.unpack_from("<Q", message, 72)[0]
        super()._send(data)

    def _run(self, now: float) -> int:
        incoming, start = self._incoming, self._incoming.start
        landed = super()._run(now)
        for message in messages(incoming.view[start : incoming.start]):
            offset = self.offsets.pop(parse_header(message).message_id)
            self.right += message[80 : 80 + self._size] == self.content[offset : offset + self._size]
        return landed


def messages(data: memoryview | bytes) -> Iterator[memoryview]:
    """Those of whole frames."""
    at = 0
    while at < len(data):
        (length,) = FRAMING.unpack_from(data, at)
        yield from parts(data[at + 4 : at + 4 + length])
        at += 4 + length


@pytest.mark.parametrize("size", [512, 4096, 65536, 98304])
@pytest.mark.parametrize("security", [PLAIN, SIGNED], ids=["plain", "signed"])
def test_the_contents_are_those_of_the_file(counting: Counting, security: Security, size: int) -> None:
    share = counting.share(security)
    lane = Checked(share, [share.open(NAME)], Reads(size=size, seed=size), verify_every=1)
    lane.content = counting.content
    found = run(1000, [lane], in_flight=32)
    assert (found.answered, found.bytes_read, lane.right) == (1000, 1000 * size, 1000)
    assert found.verified == (1000 if security is SIGNED else 0)
    assert share.open(NAME).read_at(12345, 70_000) == counting.content[12345 : 12345 + 70_000]


@pytest.mark.parametrize("size", [520, 4096, 65536])
@pytest.mark.parametrize("count", [2, 8, 16])
@pytest.mark.parametrize("security", [PLAIN, SIGNED], ids=["plain", "signed"])
def test_the_contents_of_compounds_are_those_of_the_file(
    counting: Counting, security: Security, count: int, size: int
) -> None:
    share = counting.share(security)
    reads = Reads(size=size, seed=size, compound=count)
    lane = Checked(share, [share.open(NAME)], reads, verify_every=1)
    lane.content = counting.content
    found = run(1008, [lane], in_flight=32)
    assert (found.answered, found.bytes_read, lane.right) == (1008, 1008 * size, 1008)
    assert found.verified == (1008 if security is SIGNED else 0)
    assert share.stat(NAME).length == LENGTH  # the connection is in step


DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)


@pytest.mark.parametrize("dialect", DIALECTS, ids=hex)
def test_every_dialect_is_counted_exactly(counting: Counting, dialect: int) -> None:
    counted_exactly(counting, dialect, sealed=False)


@pytest.mark.parametrize("dialect", DIALECTS[2:], ids=hex)
def test_every_dialect_that_encrypts_is_counted_exactly(counting: Counting, dialect: int) -> None:
    counted_exactly(counting, dialect, sealed=True)


@pytest.mark.parametrize("count", [2, 8, 16])
@pytest.mark.parametrize("security", [PLAIN, SIGNED, SEALED], ids=["plain", "signed", "sealed"])
def test_compounds_are_counted_exactly(counting: Counting, security: Security, count: int) -> None:
    share = counting.share(security)
    (counting.server.data / "small.bin").write_bytes(b"x" * 100)
    (counting.server.data / "empty.bin").write_bytes(b"")
    files = [share.open(name) for name in (NAME, NAME, NAME, "small.bin", "empty.bin")]
    whole = run(2000, [ReadLane(share, files[:1], Reads(compound=count), verify_every=1)])
    assert (whole.sent, whole.answered, whole.bytes_read) == (2000, 2000, 2000 * 4096)
    assert whole.verified == {PLAIN: 0, SIGNED: 2000, SEALED: 2000 // count}[security]
    mixed = run(2000, [ReadLane(share, files, Reads(compound=count, unbuffered=share.unbuffered))])
    assert mixed.sent == 2000 == mixed.answered + mixed.failures
    assert mixed.failed == {0xC000_0011: mixed.failures}
    assert mixed.bytes_read == 4096 * (mixed.answered - mixed.short) + 100 * mixed.short
    assert abs(mixed.short - 400) < 20 and abs(mixed.failures - 400) < 20
    assert counting.read(4000) == (4000, 4000 * 4096)  # it counts what it asked for


def counted_exactly(counting: Counting, dialect: int, *, sealed: bool) -> None:
    encryption = Encryption.REQUIRED if sealed else Encryption.OFF
    share = counting.share(Security(dialects=(dialect,), encryption=encryption))
    assert share.connection.dialect == dialect
    file = share.open(NAME)
    found = run(2000, [ReadLane(share, [file], Reads(unbuffered=share.unbuffered), verify_every=1)])
    assert (found.sent, found.answered, found.verified) == (2000, 2000, 2000)
    assert counting.read(2000) == (2000, 2000 * 4096)


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_every_signing_algorithm(counting: Counting, algorithm: SigningAlgorithm) -> None:
    share = counting.share(Security(signing_algorithms=(algorithm,), encryption=Encryption.OFF))
    found = run(500, [ReadLane(share, [share.open(NAME)], Reads(), verify_every=2)])
    assert (found.answered, found.verified) == (500, 250)


@pytest.mark.parametrize("security", [PLAIN, SIGNED, SEALED], ids=["plain", "signed", "sealed"])
def test_large_reads_whose_payload_is_dropped(counting: Counting, security: Security) -> None:
    share = counting.share(security)
    lane = ReadLane(share, [share.open(NAME)], Reads(size=1 << 20), verify_every=4)
    found = run(200, [lane], in_flight=4)
    assert (found.answered, found.bytes_read) == (200, 200 << 20)
    assert found.verified == (0 if security is PLAIN else 50)
    assert share.stat(NAME).length == LENGTH  # the connection is in step
    assert counting.read(200) == (200, 200 << 20)


def test_reads_at_the_end_of_a_file_are_short_or_failed(counting: Counting) -> None:
    (counting.server.data / "small.bin").write_bytes(b"x" * 100)
    (counting.server.data / "empty.bin").write_bytes(b"")
    share = counting.share()
    files = [share.open(name) for name in ("small.bin", NAME, "empty.bin")]
    found = run(300, [ReadLane(share, files, Reads())])
    assert (found.answered, found.short, found.bytes_read) == (200, 100, 100 * 4096 + 100 * 100)
    assert dict(found.failed) == {0xC000_0011: 100}


def test_files_are_opened_read_and_closed(counting: Counting) -> None:
    names = [f"churn{index}.bin" for index in range(50)]
    for name in names:
        (counting.server.data / name).write_bytes(b"y" * 5000)
    shares = [counting.share(security) for security in (PLAIN, SIGNED, SEALED)]
    lanes = [ChurnLane(share, [*names, "none.bin"], Reads(), verify_every=1) for share in shares]
    found = run(1530, lanes, in_flight=8)
    assert found.answered + found.failures == 1530
    assert found.operations["creates"] == found.operations["closes"] == found.answered
    assert counting.read(found.answered) == (found.answered, found.bytes_read)
    assert found.operations["create STATUS_OBJECT_NAME_NOT_FOUND"] == found.failed[0xC000_0034]
    assert found.failures >= 27  # one of 51 names


def test_one_thread_drives_many_connections(counting: Counting) -> None:
    shares = [counting.share() for _ in range(24)]
    lanes = [ReadLane(share, [share.open(NAME)], Reads(seed=at)) for at, share in enumerate(shares)]
    found = run(24_000, lanes, in_flight=16)
    assert found.answered == 24_000
    assert counting.read(24_000) == (24_000, 24_000 * 4096)
    assert all(lane.tally.answered > 100 for lane in lanes)


def test_a_server_killed_in_mid_load_is_told(counting: Counting) -> None:
    share = counting.share()
    lane = ReadLane(share, [share.open(NAME)], Reads())
    over = threading.Event()

    def pace(now: float) -> Step:
        if lane.tally.answered > 5000:
            counting.server.kill()
        return Step(64, 1.0)

    with pytest.raises(Unreachable):
        drive(lane, pace, over)
    tally = lane.tally
    assert not lane.alive and not share.alive
    assert tally.sent == tally.answered + tally.failures + tally.lost
    assert 0 < tally.lost <= 64


@pytest.mark.slow
def test_three_hundred_thousand_reads_are_counted_on_both_sides(counting: Counting) -> None:
    shares = [counting.share() for _ in range(2)]
    lanes = [ReadLane(share, [share.open(NAME)], Reads(size=512, seed=at)) for at, share in enumerate(shares)]
    found = run(300_000, lanes, in_flight=256)
    assert (found.sent, found.answered, found.bytes_read) == (300_000, 300_000, 300_000 * 512)
    assert found.lost == found.failures == found.short == 0
    assert counting.read(300_000) == (300_000, 300_000 * 512)
