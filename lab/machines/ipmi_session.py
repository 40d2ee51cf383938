"""An IPMI 2.0 session (RMCP+) by pyghmi, on a socket of its own and with limits of our own.

pyghmi's usual session shares sockets, a thread and callbacks among all machines of a process, and some of its
waits take 40 s. Its simple session shares nothing, but resends nothing and may wait for ever. This is the
simple one with a deadline on every wait, resending, and no silent fall-back to a weaker cipher suite or to
IPMI 1.5 (whose log-on is MD5). Protocol: IPMI 2.0 rev. 1.1, chapters 13 (RMCP+), 24 (SOL).
"""

# mypy: allow-untyped-calls
from __future__ import annotations

import math
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi import console
from pyghmi.ipmi.private import simplesession

RESEND_SECONDS = 1.0
"""UDP loses packets; controllers drop what comes while they are busy."""

CLOSE_SECONDS = 2.0
WRITE_SECONDS = 20.0

NO_CIPHER = "cipher suite refused"
IPMI_15 = "only IPMI 1.5"

_PACKETS_AT_ONCE = 100
_OPEN, _EXPECTING_RAKP = (
    "OPENSESSION",
    ("EXPECTINGRAKP2", "EXPECTINGRAKP4"),
)  # pyghmi's names of where a log-on is
_HASHES = {3: 1, 17: 256}  # cipher suite to what pyghmi calls its hash
_ALGORITHMS = {
    3: (1, 1, 1),
    17: (3, 4, 1),
}  # authentication, integrity, confidentiality: tables 13-17 to 13-19


class Silent(Exception):
    """The controller did not answer in time; `log_on`: it answered before, but not to the log-on."""

    def __init__(self, *, log_on: bool) -> None:
        super().__init__()
        self.log_on = log_on


class CompletionCode(Exception):
    """The controller answered, with something else than success (table 5-2)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} (0x{code:02X})")
        self.code = code


class IpmiSession(simplesession.Session):
    """Logs on when made. For one thread at a time.

    Raises Silent, OSError, or IpmiException with pyghmi's text, NO_CIPHER or IPMI_15.
    """

    def __init__(
        self, address: str, port: int, user: str, password: str, *, cipher: int, seconds: float
    ) -> None:
        self._cipher = cipher
        self._deadline = time.monotonic() + seconds
        self._resend_at = math.inf
        self._resends = True
        self._overtime = False
        self.strange = 0
        """Packets that are no IPMI, and were dropped."""
        try:
            super().__init__(address, user, password, port)
        except BaseException:
            self._close_socket()
            raise

    def command(
        self, netfn: int, command: int, data: tuple[int, ...] = (), *, seconds: float, again: bool = True
    ) -> bytes:
        """The data of the answer. `again`: whether to resend when no answer comes.

        Raises Silent, CompletionCode, IpmiException, OSError.
        """
        self.limit(seconds, again=again)
        answer = self.raw_command(netfn, command, data=data)
        if answer["code"]:
            raise CompletionCode(answer["code"], answer.get("error") or "refused")
        return bytes(answer["data"])

    def wait(self, seconds: float) -> None:
        """Take in what comes; returns at once when something did."""
        self.limit(math.inf, again=False)
        self.wait_for_rsp(seconds)

    def limit(self, seconds: float, *, again: bool = True) -> None:
        """All that follows, until the next call of this."""
        self._deadline, self._resends, self._overtime = time.monotonic() + seconds, again, False

    def end(self) -> None:
        """Log off without waiting for the answer."""
        self.limit(CLOSE_SECONDS, again=False)
        self.sol_handler = None
        self.incommand = False  # whatever is still unanswered
        try:
            if self.logged:
                self.logout()
        except (OSError, Silent, IpmiException):
            pass  # the controller ends idle sessions by itself
        finally:
            self.keepalive_sessions.pop(self, None)  # pyghmi's list of sessions, which would keep this one
            self._close_socket()

    # What pyghmi calls, with limits

    def wait_for_rsp(self, timeout: float | None = None, callout: bool = True) -> None:
        now = time.monotonic()
        until = min(self._deadline, self._resend_at if self._resends else math.inf)
        if timeout is not None:
            until = min(until, now + timeout)
        if select.select([self._wire], [], [], None if until == math.inf else max(0.0, until - now))[0]:
            if now >= self._deadline:  # once more, in case we are late and not they
                if self._overtime:
                    raise self._silent()
                self._overtime = True
            self.process_pktqueue()
            return
        now = time.monotonic()
        if now >= self._deadline:
            raise self._silent()
        if self._resends and now >= self._resend_at:
            self._resend()

    def _silent(self) -> Silent:
        return Silent(log_on=self.sessioncontext in _EXPECTING_RAKP)

    def awaitresponse(self, retry: bool) -> None:
        while retry and self.lastresponse is None and self.logged:
            self.wait_for_rsp()

    def process_pktqueue(self) -> None:
        for _ in range(_PACKETS_AT_ONCE):
            if not select.select([self._wire], [], [], 0)[0]:
                return
            packet = bytearray(self._wire.recv(3000))
            if len(packet) < 16 or packet[0] != 6 or packet[2:4] != b"\xff\x07":
                self.strange += 1
                continue
            try:
                self._handle_ipmi_packet(packet)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error):
                self.strange += 1  # as if it had been lost on the way

    def _getmaxtimeout(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _assignsocket(self, server: object = None) -> socket.socket:  # type: ignore[override]
        """Connected, so that an answer comes from the controller alone and a closed port is known at once."""
        family, kind, protocol, _, place = socket.getaddrinfo(self.bmc, self.port, type=socket.SOCK_DGRAM)[0]
        self._wire = socket.socket(family, kind, protocol)
        self._wire.connect(place)
        return self._wire

    def _xmit_packet(self, retry: bool = True, delay_xmit: object = None, timeout: object = None) -> None:
        if self.sequencenumber:  # 0 is for what is sent outside of a session
            self.sequencenumber += 1
        self._resend_at = time.monotonic() + RESEND_SECONDS
        self._wire.send(self.netpacket)

    def _resend(self) -> None:
        self._resend_at = time.monotonic() + RESEND_SECONDS
        if not self.lastpayload:
            return
        if self.sessioncontext == _OPEN:
            self.lastpayload = None
            self._open_rmcpplus_request()
        elif self.sessioncontext in _EXPECTING_RAKP:
            self.lastpayload = None  # controllers do not like to see RAKP 1 or 3 twice
            self._relog()
        else:
            self.hasretried = 1
            self.send_payload()  # with its old rqSeq, by which the controller knows that it is the same one

    # What to agree on

    def _initsession(self) -> None:
        super()._initsession()
        self.attemptedhash = _HASHES[self._cipher]
        self.__dict__.pop("remseqnumber", None)  # the new session counts from the start

    def _open_rmcpplus_request(self) -> None:
        if self.attemptedhash != _HASHES[self._cipher]:  # pyghmi goes from 17 to 3 by itself
            self.onlogon({"error": NO_CIPHER})
        else:
            super()._open_rmcpplus_request()

    def _got_rmcp_response(self, data: bytearray) -> None:
        accepted = data[1] == 0 and data[0] == self.rmcptag and self.sessioncontext == _OPEN
        if accepted and tuple(data[at] & 0x3F for at in (16, 24, 32)) != _ALGORITHMS[self._cipher]:
            self.onlogon({"error": NO_CIPHER})
        else:
            super()._got_rmcp_response(data)

    def _get_session_challenge(self) -> None:
        self.onlogon({"error": IPMI_15})

    def _close_socket(self) -> None:
        wire: socket.socket | None = getattr(self, "_wire", None)  # none when the name was not found
        if wire is not None:
            wire.close()


class SolChannel(console.Console):
    """Serial-over-LAN on a session that is there already; `handler` takes bytes, and a dict with `error`."""

    def __init__(
        self, session: IpmiSession, port: int, handler: Callable[[Any], None], *, seconds: float
    ) -> None:
        # All that pyghmi's own constructor sets; it would log on by itself, in a session that is shared.
        self.outputlock = threading.RLock()
        self.keepaliveid = None
        self.connected = self.broken = self.activated = self.awaitingack = False
        self.force_session = False
        self.out_handler = handler
        self.remseq = self.myseq = self.lastsize = self.retriedpayload = 0
        self.pendingoutput: list[Any] = []
        self.port = port
        self.ipmi_session = session  # type: ignore[assignment]
        self._session = session
        session.limit(seconds)
        self._got_session({})

    def send(self, data: bytes) -> None:
        """Returns when the controller has acknowledged it, or the handler was told that it has not."""
        self._session.limit(WRITE_SECONDS, again=False)  # SOL has numbers and acknowledgements of its own
        self.send_data(data)

    def end(self) -> None:
        self._session.limit(CLOSE_SECONDS)
        self.close()

    def wait_for_rsp(self, timeout: float) -> None:  # type: ignore[override]
        self._session.wait_for_rsp(timeout)
