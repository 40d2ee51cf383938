"""What a person reads when SMB goes wrong."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.model import InfrastructureError, LabError
from lab.smb import (
    AccessDenied,
    Busy,
    CredentialsRefused,
    Malformed,
    NotThere,
    ShareFull,
    SmbTarget,
    Unreachable,
    connect,
)
from lab.smb.errors import of_status, reason

SLOWEST = 9.0
"""Seconds that a wait of one second may take on a busy machine; the default would take longer."""


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """A server on 127.0.0.1 that gives each caller `answer` and hangs up, or stays silent when None."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                held.append(caller)
                if answer is not None:
                    caller.recv(4096)
                    caller.sendall(answer)
                    caller.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=2)
        for caller in held:
            caller.close()


def at(port: int) -> SmbTarget:
    return SmbTarget("127.0.0.1", port, "ann", "secret", "Data", "ADMIN$")


def test_a_silent_server_costs_the_given_seconds_and_no_more() -> None:
    with listener(None) as port:
        begun = time.monotonic()
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port} has not answered in time"):
            connect(at(port), "Data", seconds=1.0)
        assert time.monotonic() - begun < SLOWEST


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (b"\x00\x00\x00\x05HELLO", Malformed, "a message of 5 bytes is announced"),
        (b"\x00\x00\x00\x20" + b"\xfeSMB" + b"\x00" * 28, Malformed, "a message of 32 bytes"),
        (b"SSH-2.0-OpenSSH_9.2", Malformed, "which is not SMB2 over TCP"),
        (b"", Unreachable, "the connection was closed"),
    ],
)
def test_a_server_of_something_else_is_one_sentence(
    answer: bytes, kind: type[LabError], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with listener(answer) as port, pytest.raises(kind, match=says) as caught:
        connect(at(port), "Data", seconds=10.0)
    assert "\n" not in caught.value.message
    out, err = capfd.readouterr()
    assert out + err == ""


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable, match="connection refused"):
        connect(at(port), "Data", seconds=2.0)


def test_socket_errors_keep_their_reason() -> None:
    assert reason(OSError(errno.EHOSTUNREACH, "x")) == "no route to host"
    assert reason(TimeoutError("timed out")) == "no answer in time"
    assert reason(socket.gaierror(-2, "x")) == "the name is not known"
    assert reason(ConnectionAbortedError()) == "the connection was closed"


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (
            0xC000006D,
            CredentialsRefused,
            "credentials refused for user 'ann' at h:445 (STATUS_LOGON_FAILURE)",
        ),
        (0xC0000022, AccessDenied, "access denied for user 'ann' to share 'Data' on h:445"),
        (0xC00000CC, NotThere, "share 'Data' does not exist on h:445"),
        (0xC0000043, Busy, "share 'Data' is in use on h:445"),
        (0xC000007F, ShareFull, "h:445 has no space left for share 'Data' (STATUS_DISK_FULL)"),
        (0xC00000C9, Unreachable, "h:445 dropped the session during share 'Data'"),
        (0xC00002FF, InfrastructureError, "h:445 answered "),
    ],
)
def test_what_a_status_means(status: int, kind: type[InfrastructureError], says: str) -> None:
    error = of_status(status, "h:445", "ann", "share 'Data'")
    assert type(error) is kind and error.message.startswith(says) and error.help
