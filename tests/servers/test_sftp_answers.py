"""SFTP answers that are wrong, hostile, or other servers': of a real sshd with a subsystem of ours."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import paramiko
import pytest
from paramiko.buffered_pipe import PipeTimeout
from sshd import SSHD, Sshd

from lab.capture import DumpRef
from lab.capture.sftp import SftpSource
from lab.capture.sftp_channel import SftpChannel
from lab.capture.sftp_inbox import Inbox
from lab.smb import Malformed, Unreachable
from lab.windows.ssh_connection import SshConnection

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd: tests/servers/install.sh installs it")


def name(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def message(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


@contextmanager
def answering(folder: Path, answers: bytes) -> Iterator[Sshd]:
    """A server whose SFTP writes those bytes, and takes in whatever it is sent."""
    (folder / "answers").write_bytes(answers)
    program = folder / "hostile"
    program.write_text(f"#!/bin/sh\ncat {folder}/answers\nexec cat >/dev/null\n")
    program.chmod(0o755)
    server = Sshd(folder / "sshd", settings=f"Subsystem sftp {program}\n")
    server.start()
    try:
        yield server
    finally:
        server.kill()


VERSION = message(2, struct.pack(">I", 3))
ATTRIBUTES = struct.pack(">IQ", 1, 1 << 20)
HANDLE = struct.pack(">II", 2, 1) + b"h"


def test_as_much_is_asked_for_at_a_time_as_the_server_tells(tmp_path: Path) -> None:
    """OpenSSH since 8.5 tells its limits."""
    server = Sshd(tmp_path / "sshd")
    server.start()
    try:
        with closing(SshConnection(server.access())) as connection:
            assert SftpChannel(connection).most == 255 << 10
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("answer", "most"),
    [
        pytest.param(None, 64 << 10, id="does not tell"),
        pytest.param(struct.pack(">IQQQQ", 1, 1 << 18, 100_000, 0, 0), 100_000, id="tells"),
        pytest.param(struct.pack(">IQQQQ", 1, 0, 0, 0, 0), 64 << 10, id="has none"),
        pytest.param(struct.pack(">IQQQQ", 1, 0, 1, 0, 0), 4 << 10, id="too small"),
        pytest.param(struct.pack(">IQQQQ", 1, 0, 1 << 63, 0, 0), 255 << 10, id="too large"),
        pytest.param(b"refused", 64 << 10, id="refuses"),
        pytest.param(struct.pack(">II", 1, 0), None, id="cut short"),
    ],
)
def test_limits_of_other_servers(tmp_path: Path, answer: bytes | None, most: int | None) -> None:
    answers = VERSION
    if answer is not None:
        answers = message(2, struct.pack(">I", 3) + name(b"limits@openssh.com") + name(b"1"))
        refusal = message(101, struct.pack(">II", 1, 8))
        answers += refusal if answer == b"refused" else message(201, answer)
    with (
        answering(tmp_path, answers) as server,
        closing(SshConnection(server.access(connect=5))) as connection,
    ):
        if most is None:
            with pytest.raises(Malformed, match="no limits"):
                SftpChannel(connection)
        else:
            assert SftpChannel(connection).most == most


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff" * 100, id="noise"),
        pytest.param(struct.pack(">I", 0) * 10, id="an empty message"),
        pytest.param(struct.pack(">IB", 1 << 20, 2) + bytes(1 << 20), id="a message too long"),
        pytest.param(message(2, b""), id="no version"),
        pytest.param(VERSION + message(105, struct.pack(">I", 1)), id="no attributes"),
        pytest.param(VERSION + message(105, struct.pack(">II", 7, 0)), id="an answer to nothing"),
        pytest.param(VERSION + message(105, struct.pack(">III", 1, 0x80000000, 1 << 31)), id="extensions"),
        pytest.param(VERSION + message(103, struct.pack(">II", 1, 0)), id="data for STAT"),
        pytest.param(
            VERSION + message(105, b"\0\0\0\1" + ATTRIBUTES) + message(102, b"\0"), id="a short status"
        ),
    ],
)
def test_answers_that_break_the_protocol(tmp_path: Path, answers: bytes) -> None:
    with answering(tmp_path, answers) as server, SftpSource(server.access(connect=5), "/dumps") as source:
        with pytest.raises((Malformed, Unreachable)) as caught:
            source.dumps()
        assert "\n" not in str(caught.value) and caught.value.help


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(message(103, struct.pack(">II", 3, 0)), id="no data"),
        pytest.param(message(103, struct.pack(">II", 3, 9) + b"x"), id="less than it says"),
        pytest.param(message(103, struct.pack(">II", 3, 9) + b"123456789"), id="more than asked for"),
        pytest.param(message(103, struct.pack(">II", 99, 4) + b"1234"), id="of another READ"),
        pytest.param(message(102, struct.pack(">I", 3) + HANDLE[4:]), id="a handle"),
    ],
)
def test_reads_answered_wrongly(tmp_path: Path, answer: bytes) -> None:
    stat = message(105, struct.pack(">I", 1) + ATTRIBUTES)
    answers = VERSION + stat + message(102, HANDLE) + answer
    with answering(tmp_path, answers) as server, SftpSource(server.access(connect=5), "/dumps") as source:
        file = source.open(DumpRef("MEMORY.DMP", 1 << 20, ""))
        with pytest.raises(Malformed):
            file.read_at(0, 4)


def test_more_than_the_window_is_not_kept() -> None:
    """paramiko's transport ends the connection with what its channel's buffer raises."""
    inbox = Inbox(10)
    inbox.feed(b"12345678")
    with pytest.raises(paramiko.SSHException, match="more data than the window allows"):
        inbox.feed(b"901")
    assert (inbox.read(5, 1.0), inbox.read(3, 1.0), len(inbox)) == (b"12345", b"678", 0)
    inbox.feed(bytes(10))
    inbox.close()
    assert (inbox.read(99, 1.0), inbox.read(99, 1.0)) == (bytes(10), b"")


def test_a_read_waits_for_all_that_it_asks_for() -> None:
    inbox, got = Inbox(100), []
    reader = threading.Thread(target=lambda: got.append(inbox.read(6, 30.0)))
    reader.start()
    for part in (b"ab", b"cd", b"efgh"):
        assert got == []
        inbox.feed(part)
    reader.join(30)
    assert got == [b"abcdef"] and len(inbox) == 2
    with pytest.raises(PipeTimeout):
        inbox.read(3, 0.01)
    assert inbox.read(2, 0.01) == b"gh"
