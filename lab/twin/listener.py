"""A TCP service that comes and goes with the machine, and whose connections break when it stops."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s


class Listener:
    """Listens on one port while open; between times the port is kept, and connecting to it is refused.

    `serve` handles one connection in a thread of its own and returns when that ends. With `tls` it gets the
    decrypted stream; the handshake takes place when it first reads.
    """

    def __init__(
        self,
        host: str,
        port: int,
        name: str,
        serve: Callable[[socket.socket, int], None],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._serve = serve
        self._tls = tls
        self._name = name
        self._host = host
        self._keeper = _bound(host, port)
        self.port: int = self._keeper.getsockname()[1]
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._connections: dict[int, socket.socket] = {}
        self._ids = itertools.count(1)

    def open(self) -> None:
        with self._lock:
            if self._socket is not None:
                return
            listening = _bound(self._host, self.port)
            listening.listen(128)
            self._socket = listening
        threading.Thread(
            target=self._accept, args=(listening,), name=f"{self._name} accept", daemon=True
        ).start()

    def cut(self) -> None:
        """Stop listening and reset every connection, as when the computer at the other end is gone."""
        with self._lock:
            listening, self._socket = self._socket, None
            connections = list(self._connections.values())
            self._connections.clear()
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listening.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                # Wakes the thread that reads, and sends nothing; that thread's close() sends the RST.
                socket.socket.shutdown(connection, socket.SHUT_RD)

    def alive(self, number: int) -> bool:
        """False once the connection was cut: what still arrives on it must not be answered."""
        return number in self._connections

    def close(self) -> None:
        """Give the port back."""
        self.cut()
        self._keeper.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            if self._tls is not None:
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            number = next(self._ids)
            with self._lock:
                if self._socket is not listening:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                    connection.close()
                    return
                self._connections[number] = connection
            threading.Thread(
                target=self._run, args=(connection, number), name=f"{self._name} {number}", daemon=True
            ).start()

    def _run(self, connection: socket.socket, number: int) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(connection, number)
        except OSError:
            pass  # the peer went away, or the machine did
        finally:
            with self._lock:
                self._connections.pop(number, None)
            connection.close()


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound
