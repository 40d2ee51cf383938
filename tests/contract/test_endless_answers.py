"""Servers that never stop sending, as management controller and as WinRM: an end, in one sentence."""

from __future__ import annotations

import gzip
import itertools
import re
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from shell_contract import LONG, said

from lab.inventory import Timeouts
from lab.machines import redfish_link
from lab.machines.redfish import RedfishMachine
from lab.model import InfrastructureError, SystemClock, TimedOut
from lab.twin.winrm import Accounts, WinRm
from lab.twin.wsman import Endpoint, Reply
from lab.windows import psrp
from lab.windows.psrp import PsrpGuestShell

MIB = 1 << 20
FULL = b"x" * 65536
Says = Callable[[], Iterator[bytes]]


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", "Content-Type: application/json", *lines, "", "")).encode()


def a_body_of_a_terabyte() -> Iterator[bytes]:
    yield head("Content-Length: 1099511627776")
    yield from itertools.repeat(FULL)


def a_body_without_length() -> Iterator[bytes]:
    yield head("Connection: close")
    yield from itertools.repeat(FULL)


def chunks_without_end() -> Iterator[bytes]:
    yield head("Transfer-Encoding: chunked")
    yield from itertools.repeat(b"10000\r\n" + FULL + b"\r\n")


def a_chunk_of_a_terabyte() -> Iterator[bytes]:
    yield head("Transfer-Encoding: chunked") + b"10000000000\r\n"
    yield from itertools.repeat(FULL)


def continue_for_ever() -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def a_bomb() -> Iterator[bytes]:
    """100 KiB that become 100 MiB."""
    packed = gzip.compress(bytes(100 * MIB))
    yield head("Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed


def a_refusal_without_end() -> Iterator[bytes]:
    """Where the log-on reads the body before it goes on."""
    yield head("WWW-Authenticate: Negotiate", "Connection: keep-alive", status="401 Unauthorized")
    yield from itertools.repeat(FULL)


FLOODS: list[Says] = [
    *(a_body_of_a_terabyte, a_body_without_length, chunks_without_end, a_chunk_of_a_terabyte),
    *(continue_for_ever, a_bomb, a_refusal_without_end),
]


def headers_in_drops() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    yield from itertools.repeat(b"x")


def a_body_in_drops() -> Iterator[bytes]:
    yield head("Content-Length: 1000000")
    yield from itertools.repeat(b"x")


DRIPS: list[Says] = [headers_in_drops, a_body_in_drops]


class Talker:
    """Accepts connections over TLS, and says the same to each until its peer hangs up."""

    def __init__(self, says: Says, context: ssl.SSLContext | None, pause: float = 0.0) -> None:
        self._says, self._context, self._pause = says, context, pause
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.connections, self.sent = 0, 0
        self._ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        peer.settimeout(LONG)
        with suppress(OSError), peer:
            wire = self._context.wrap_socket(peer, server_side=True) if self._context else peer
            with wire:
                wire.recv(65536)
                for part in self._says():
                    if self._ended.is_set():
                        return
                    wire.sendall(part)
                    self.sent += len(part)
                    time.sleep(self._pause)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "issuer")


@pytest.fixture
def talker(authority: Authority) -> Iterator[Callable[..., Talker]]:
    made: list[Talker] = []

    def make(says: Says, *, tls: bool = True, pause: float = 0.0) -> Talker:
        made.append(Talker(says, authority.context("127.0.0.1") if tls else None, pause))
        return made[-1]

    yield make
    for each in made:
        each.close()


def controller(port: int, authority: Authority, **changed: Any) -> RedfishMachine:
    settings: dict[str, Any] = {"user": "lab", "password": "hunter2", "connect_seconds": 5} | changed
    return RedfishMachine(
        f"https://127.0.0.1:{port}", ca_file=authority.file, system="", address="", **settings
    )


def guest(port: int, authority: Authority, **changed: Any) -> PsrpGuestShell:
    settings: dict[str, Any] = {"tls": True, "auth": "ntlm", "timeouts": Timeouts(connect=5, script=LONG)}
    return PsrpGuestShell(
        "127.0.0.1",
        port,
        user="lab",
        password="hunter2",
        ca_file=authority.file,
        clock=SystemClock(),
        **settings | changed,
    )


@pytest.mark.parametrize("says", FLOODS)
def test_a_controller_that_floods(says: Says, talker: Any, authority: Authority) -> None:
    server = talker(says)
    with pytest.raises(InfrastructureError) as caught:
        controller(server.port, authority).power_state()
    assert caught.value.message == (
        f"Redfish at https://127.0.0.1:{server.port} sent more than 8192 KiB as one answer"
    )
    assert caught.value.help and server.connections == 1
    assert server.sent < 8 * MIB + 32 * MIB  # what was taken in, and what lay in buffers on the way


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("says", FLOODS)
def test_a_guest_that_floods(says: Says, tls: bool, talker: Any, authority: Authority) -> None:
    server = talker(says, tls=tls)
    with pytest.raises(InfrastructureError) as caught:
        guest(server.port, authority, tls=tls).run(said("echo"))
    assert caught.value.message == (f"WinRM of 127.0.0.1:{server.port} sent more than 8192 KiB as one answer")
    assert server.connections == 1 and server.sent < 8 * MIB + 32 * MIB


@pytest.mark.parametrize("says", DRIPS)
def test_a_controller_that_drips(
    says: Says, talker: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes long before the read time-out, and the answer never ends."""
    monkeypatch.setattr(redfish_link, "ANSWER_SECONDS", 0.5)
    server = talker(says, pause=0.02)
    with pytest.raises(InfrastructureError, match=r"had not ended its answer after 0\.5 s$"):
        controller(server.port, authority).power_state()


@pytest.mark.parametrize("says", DRIPS)
def test_a_guest_that_drips(
    says: Says, talker: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psrp, "OPERATION_SECONDS", 0)
    server = talker(says, pause=0.02)
    shell = guest(server.port, authority, timeouts=Timeouts(connect=1, script=LONG))
    with pytest.raises(InfrastructureError, match=r"had not ended its answer after 2 s$"):
        shell.run(said("echo"))


def test_json_that_is_nested_without_end(talker: Any, authority: Authority) -> None:
    deep = b"[" * 200_000

    def says() -> Iterator[bytes]:
        yield head(f"Content-Length: {len(deep)}", "Connection: close") + deep

    with pytest.raises(InfrastructureError, match=r"gave an answer that is not Redfish: "):
        controller(talker(says).port, authority).power_state()


# --- WinRM that speaks its protocol -----------------------------------------------------------------------


class Server:
    """The twin's WinRM over TLS; `altered` may answer instead of it."""

    def __init__(self, folder: Path, authority: Authority, altered: Callable[[bytes], Reply | None]) -> None:
        self.asked: list[bytes] = []
        server = self

        class Altered(Endpoint):
            def answer(self, message: bytes) -> Reply:
                server.asked.append(message)
                return altered(message) or super().answer(message)

        self.endpoint = Altered(lambda text, given: "[]", "LAB1")
        self._server = WinRm(
            "127.0.0.1",
            0,
            Accounts(folder / "accounts", "lab", "hunter2", "LAB1"),
            self.endpoint,
            tls=authority.context("127.0.0.1"),
        )
        self._server.open()
        self.port, self.close = self._server.tls_port, self._server.close

    def counted(self, action: str) -> int:
        return sum(f"/shell/{action}<".encode() in message for message in self.asked)


@pytest.fixture
def winrm(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(altered: Callable[[bytes], Reply | None] = lambda message: None) -> Server:
        made.append(Server(tmp_path, authority, altered))
        return made[-1]

    yield make
    for each in made:
        each.close()


def nothing_yet(message: bytes) -> Reply | None:
    """To each Receive, at once: there will be more."""
    if b"/shell/Receive<" not in message:
        return None
    found = re.search(rb"MessageID>([^<]*)<", message)
    assert found
    return Reply(
        200,
        b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        b'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        b'xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header><a:RelatesTo>'
        + found[1]
        + b"</a:RelatesTo></s:Header><s:Body><rsp:ReceiveResponse/></s:Body></s:Envelope>",
    )


def test_a_session_that_is_never_open(winrm: Any, authority: Authority) -> None:
    server = winrm(nothing_yet)
    shell = guest(server.port, authority, timeouts=Timeouts(connect=5, script=1))
    with pytest.raises(TimedOut, match=r"waited 1 s for script; last seen: Said is not begun yet$"):
        shell.run(said("echo"))
    assert server.counted("Receive") > 1 and not server.counted("Command")


def test_a_session_whose_opening_is_all_there_is(
    winrm: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is too large by itself; together they are."""
    monkeypatch.setattr("lab.windows.shell.MOST_OUTPUT", 20_000)
    server = winrm(nothing_yet)
    with pytest.raises(InfrastructureError, match=r"sent more than 40000 bytes, and opened no session$"):
        guest(server.port, authority).run(said("echo"))


def test_a_guest_that_forgets_the_session_in_mid_script(winrm: Any, authority: Authority) -> None:
    """To the script it would mean that nothing was run; to the question for its output it does not."""
    forgets = False

    def altered(message: bytes) -> Reply | None:
        nonlocal forgets
        if forgets and b"/shell/Receive<" in message:
            forgets = False
            server.endpoint._sessions.clear()
        return None

    server = winrm(altered)
    shell = guest(server.port, authority)
    assert shell.run(said("echo")) == []
    forgets = True
    with pytest.raises(InfrastructureError, match=r"answered with a fault \(2150858843\): .*not found"):
        shell.run(said("echo"))
    assert server.counted("Command") == 2
    assert shell.run(said("echo")) == []  # in a new session
    shell.close()


def test_the_log_on_is_still_bound_to_the_certificate(winrm: Any, authority: Authority) -> None:
    """pypsrp warns when it cannot find the certificate behind our reader, and logs on without it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shell = guest(winrm().port, authority, auth="negotiate")
        assert shell.run(said("echo")) == []
        shell.close()
