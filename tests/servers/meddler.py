"""Someone in the middle: relays SMB2 messages between a client and a server, and may change them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

Change = Callable[[bytearray, bool], list[bytes | bytearray]]
"""Given a message (from its header on) and whether it goes to the server, what to send in its place."""


def untouched(message: bytearray, to_server: bool) -> list[bytes | bytearray]:
    return [message]


class Meddler:
    """Listens on `port` of 127.0.0.1. `seen` has every message as it arrived: (to the server?, bytes)."""

    def __init__(self, server_port: int, change: Change = untouched) -> None:
        self._server_port, self._change = server_port, change
        self.seen: list[tuple[bool, bytes]] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Meddler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            _end(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                for source, sink, to_server in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._relay, args=(source, sink, to_server), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:
        with suppress(OSError, EOFError), source.makefile("rb") as stream:
            while True:
                length = int.from_bytes(_exactly(stream.read, 4), "big")
                message = bytearray(_exactly(stream.read, length))
                self.seen.append((to_server, bytes(message)))
                for each in self._change(message, to_server):
                    sink.sendall(len(each).to_bytes(4, "big") + each)
        for each in (source, sink):
            _end(each)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise EOFError
    return data


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
