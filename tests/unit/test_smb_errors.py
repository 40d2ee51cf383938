"""What a person reads when SMB goes wrong."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.model import InfrastructureError
from lab.smb import CredentialsRefused, SmbTarget, Unreachable, connect
from lab.smb.legacy.translate import translated
from lab.smb.legacy.wire import status_name

TARGET = SmbTarget("127.0.0.1", 445, "LAB\\ann", "secret", "Data", "ADMIN$")


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
        with pytest.raises(Unreachable, match="gave no answer within 1 s"):
            connect(at(port), "Data", seconds=1.0)
        assert time.monotonic() - begun < 2.5


@pytest.mark.parametrize(
    "answer", [b"\x00\x00\x00\x05HELLO", b"\x00\x00\x00\x20" + b"\xfeSMB" + b"\x00" * 28, b""]
)
def test_a_server_of_something_else_is_one_sentence(answer: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with listener(answer) as port, pytest.raises(Unreachable) as caught:
        connect(at(port), "Data", seconds=3.0)
    assert caught.value.message.startswith(f"no SMB connection to 127.0.0.1:{port} for the negotiation: ")
    out, err = capfd.readouterr()
    assert out + err == ""  # no traceback of smbprotocol's receiver thread


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable, match="connection refused"):
        connect(at(port), "Data", seconds=2.0)


def test_socket_errors_keep_their_reason() -> None:
    lost = translated(OSError(errno.EHOSTUNREACH, "x"), TARGET, "the negotiation")
    assert isinstance(lost, Unreachable) and lost.message.endswith("no route to host")


def test_our_own_errors_pass_unchanged() -> None:
    ours = CredentialsRefused("no")
    assert translated(ours, TARGET, "x") is ours
    assert isinstance(ours, InfrastructureError)


def test_status_names() -> None:
    assert status_name(0xC0000022) == "STATUS_ACCESS_DENIED"
    assert status_name(0xC0FFEE00) == "0xC0FFEE00"
