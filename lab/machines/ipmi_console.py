"""An open serial console over IPMI (Serial-over-LAN)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from lab.machines.ipmi_session import CompletionCode, IpmiSession, SolChannel
from lab.model import InfrastructureError, TimedOut

KEEPALIVE_SECONDS = 15.0
"""Controllers end a session that was silent for 60 s (IPMI 2.0, 6.12.15), a console's too."""

MOST_UNREAD = 1 << 20
"""Bytes that are kept until they are read; a serial port sends 12 KB in a second."""

_APPLICATION, _PAYLOAD_INSTANCE, _SERIAL_OVER_LAN = 0x06, 0x4B, 0x01  # chapter 24.5


class IpmiConsole:
    """See `lab.machines.port.Console`."""

    def __init__(
        self,
        session: IpmiSession,
        port: int,
        seconds: float,
        translating: Callable[[], AbstractContextManager[None]],
        place: str,
    ) -> None:
        self._session, self._seconds = session, seconds
        self._translating, self._place = translating, place
        self._received = bytearray()
        self._lost = ""
        self._heard = time.monotonic()
        with translating():
            try:
                self._sol = SolChannel(session, port, self._take, seconds=seconds)
            except NotImplementedError:
                self._lost = "it wants the console on another UDP port"
        if self._lost:
            raise InfrastructureError(
                f"{place} opened no console: {self._lost}",
                help="End the other console, or look whether Serial-over-LAN is enabled for the account.",
            )

    def read(self, seconds: float) -> bytes:
        until = time.monotonic() + seconds
        with self._noting_loss():
            while not self._received and not self._lost:
                now = time.monotonic()
                if now - self._heard >= KEEPALIVE_SECONDS:
                    self._keep_alive()
                if now >= until:
                    break
                self._session.wait(min(until - now, KEEPALIVE_SECONDS))
        if not self._received:
            self._expect_open()
        data, self._received = bytes(self._received), bytearray()
        return data

    def write(self, data: bytes) -> None:
        with self._noting_loss():
            if data and not self._lost:
                self._sol.send(data)
        self._expect_open()

    def close(self) -> None:
        """Also after it was lost, and more than once."""
        if not self._lost:
            self._lost = "it was closed"
            with suppress(InfrastructureError, TimedOut), self._translating():
                self._sol.end()

    def _take(self, data: Any) -> None:
        """Bytes of the serial port, or a dict that says what has happened."""
        if isinstance(data, bytes):
            self._heard = time.monotonic()
            self._received += data
            del self._received[:-MOST_UNREAD]
        elif "error" in data:
            self._lost = str(data["error"])

    @contextmanager
    def _noting_loss(self) -> Iterator[None]:
        try:
            with self._translating():
                yield
        except (InfrastructureError, TimedOut) as error:
            self._lost = self._lost or error.message

    def _expect_open(self) -> None:
        if self._lost:
            raise InfrastructureError(f"the console of {self._place} was lost: {self._lost}")

    def _keep_alive(self) -> None:
        """Nothing came for long: is the console still ours?"""
        self._heard = time.monotonic()
        try:
            answer = self._session.command(
                _APPLICATION, _PAYLOAD_INSTANCE, (_SERIAL_OVER_LAN, 1), seconds=self._seconds
            )
        except CompletionCode:
            return  # it does not know the question, but it answered
        if answer[:4] != self._session.sessionid.to_bytes(4, "little"):
            self._lost = "somebody else ended it or took it over"
