"""Requests in flight on one connection: sent without waiting, collected as they arrive."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from lab.smb.legacy import wire


@dataclass(eq=False, slots=True)
class Flight:
    """One request. `arrived` is the time of its last response (an interim one counts)."""

    offset: int
    size: int
    sent: float
    request: Any = None
    arrived: float = 0.0
    landed: bool = False


@dataclass(frozen=True)
class Landing:
    """The final response of a flight: `status` is "" for success, `data` the bytes of a READ."""

    flight: Flight
    status: str
    data: bytes

    @property
    def seconds(self) -> float:
        return self.flight.arrived - self.flight.sent


class _Arrival:
    """Stands in for a request's `response_event`: notes the time and tells one queue for all requests.

    smbprotocol sets a request's event when a response has come and when its connection has ended.
    """

    def __init__(self, flight: Flight, arrivals: SimpleQueue[Flight], now: Callable[[], float]) -> None:
        self._flight, self._arrivals, self._now = flight, arrivals, now

    def set(self) -> None:
        self._flight.arrived = self._now()
        self._arrivals.put(self._flight)


class Flights:
    """All requests in flight on one connection. For the one thread that owns the connection."""

    def __init__(self, connection: Any, session_id: int, now: Callable[[], float]) -> None:
        self._connection, self._session_id, self._now = connection, session_id, now
        self._arrivals: SimpleQueue[Flight] = SimpleQueue()
        self._up: set[Flight] = set()
        self._lock = threading.Lock()
        self.heard = now()  # when the server last answered anything, or was first owed an answer

    def __len__(self) -> int:
        return len(self._up)

    @property
    def credits(self) -> int:
        """Single-credit requests that may be sent now."""
        window = self._connection.sequence_window
        return int(window["high"]) - int(window["low"])

    def send_read(self, opened: Any, offset: int, size: int, *, want: int, unbuffered: bool = False) -> None:
        """Send one READ of at most 64 KiB (one credit). `want` is the number of credits to ask for.

        Raises the errors of smbprotocol and of the socket; nothing is in flight then.
        """
        message, _ = opened.read(offset, size, unbuffered=unbuffered, send=False)
        self._send(message, opened.tree_connect.tree_connect_id, offset, size, want)

    def send_echo(self, *, want: int = 1) -> None:
        """Send one ECHO: it keeps no worker thread of the server busy with a read."""
        self._send(wire.Echo(), None, 0, 0, want)

    def _send(self, message: Any, tree_id: int | None, offset: int, size: int, want: int) -> None:
        flight = Flight(offset, size, self._now())
        flight.request = self._connection.send(
            message, sid=self._session_id, tid=tree_id, credit_request=max(1, want)
        )
        if not self._up:
            self.heard = flight.sent
        self._up.add(flight)
        arrival = _Arrival(flight, self._arrivals, self._now)
        with flight.request.response_event_lock:
            early = flight.request.response_event.is_set()
            flight.request.response_event = arrival
        if early:
            arrival.set()

    def collect(self, seconds: float) -> list[Landing]:
        """Wait up to `seconds` for one response, then take all that have come."""
        landings: list[Landing] = []
        try:
            flight = self._arrivals.get(timeout=seconds) if seconds > 0 else self._arrivals.get_nowait()
            while True:
                landing = self._land(flight)
                if landing is not None:
                    landings.append(landing)
                flight = self._arrivals.get_nowait()
        except Empty:
            return landings

    def _land(self, flight: Flight) -> Landing | None:
        response = flight.request.response
        if flight.landed or response is None:  # None: the connection ended before an answer
            return None
        self.heard = flight.arrived
        status = int(response["status"].get_value())
        if status == wire.NtStatus.STATUS_PENDING:
            return None
        flight.landed = True
        self._up.discard(flight)
        self._connection.outstanding_requests.pop(flight.request.message["message_id"].get_value(), None)
        if status != wire.NtStatus.STATUS_SUCCESS:
            return Landing(flight, wire.status_name(status), b"")
        return Landing(flight, "", _read_data(response["data"].get_value()) if flight.size else b"")


def _read_data(body: bytes) -> bytes:
    """The data of a READ response body (MS-SMB2 2.2.20); its offset counts from the 64-byte header."""
    offset, length = struct.unpack_from("<BxI", body, 2)
    start = offset - 64
    return body[start : start + length]
