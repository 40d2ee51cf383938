"""A TCP relay on 127.0.0.1 that can look at, change or swallow what passes, or cut it after so many bytes."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay:
    """Listens on `port`. `swallow()` makes all connections there are silent, in both directions, for good."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._sockets: list[socket.socket] = []
        self._silent: set[int] = set()
        self.connections = 0
        self.to_client = 0
        self.cut_after: int | None = None
        """Bytes to a client after which its connection is reset, once."""
        self.to_server = bytearray()
        """What clients sent."""
        self.instead: bytes | None = None
        """What a client gets in place of the next that its server says, once."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            _end(each)

    def swallow(self) -> None:
        self._silent |= set(range(1, self.connections + 1))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                self.connections += 1
                for source, sink, back in ((client, server, False), (server, client, True)):
                    threading.Thread(
                        target=self._relay, args=(source, sink, back, self.connections), daemon=True
                    ).start()

    def _relay(self, source: socket.socket, sink: socket.socket, back: bool, number: int) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if number in self._silent:
                    continue
                passed += len(data)
                if back and self.cut_after is not None and passed > self.cut_after:
                    self.cut_after = None
                    for each in (source, sink):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    break
                if not back:
                    self.to_server += data
                elif self.instead is not None:
                    data, self.instead = self.instead, None
                sink.sendall(data)
                self.to_client += len(data) if back else 0
        if number not in self._silent:
            for each in (source, sink):
                _end(each)


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
