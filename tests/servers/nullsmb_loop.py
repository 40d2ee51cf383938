"""The null server's loop: sockets, frames in, answers out, and timers."""

from __future__ import annotations

import heapq
import json
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from nullsmb_connection import Connection
from nullsmb_files import Folder
from nullsmb_modes import Rule
from nullsmb_session import Settings
from nullsmb_wire import BadFrame

ROOM = 1 << 20
MOST_PARTS = 512


class Client:
    """A socket with what has come and what must go."""

    connection: Connection

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.buffer, self.end = bytearray(ROOM), 0
        self.events = selectors.EVENT_READ

    def receive(self) -> bool:
        """False when the client has gone."""
        if self.end == len(self.buffer):
            self.buffer += bytes(len(self.buffer))
        try:
            with memoryview(self.buffer) as view:
                size = self.peer.recv_into(view[self.end :])
        except BlockingIOError:
            return True
        self.end += size
        if self.connection.ended is not None:  # silent: what comes is thrown away
            self.end = 0
        return size > 0

    def work(self) -> None:
        """Answer what has come, as far as the client takes the answers in."""
        while not self.connection.out:
            taken = self.connection.take(self.buffer, self.end)
            if not taken:
                break
            rest = self.end - taken
            self.buffer[:rest] = self.buffer[taken : self.end]
            self.end = rest
            self.flush()

    def flush(self) -> None:
        out = self.connection.out
        while out:
            try:
                sent = self.peer.sendmsg([out[at] for at in range(min(len(out), MOST_PARTS))])
            except BlockingIOError:
                return
            while out and sent >= len(out[0]):
                sent -= len(out.popleft())
            if sent:
                out[0] = out[0][sent:]


@dataclass
class Making:
    """How new connections are served."""

    settings: Settings
    folder: Folder
    rules: list[Rule]

    def __call__(self, counters: Counter[str], later: Callable[..., None]) -> Connection:
        return Connection(self.settings, self.folder, self.rules, counters, later)

    def change(self, order: str) -> None:
        """`order` is a JSON object with "rules" and changed "settings", from the next connection on."""
        wanted = json.loads(order)
        self.rules = wanted["rules"]
        self.settings = replace(self.settings, **wanted["settings"])


class Server:
    def __init__(self, listener: socket.socket, make: Making) -> None:
        self._listener, self._make = listener, make
        self._selector: selectors.BaseSelector
        self._timers: list[tuple[float, int, Client, Callable[[], None]]] = []
        self._order = count()
        self.counters: Counter[str] = Counter()

    def serve(self, control: int, answer: Callable[[], bool]) -> None:
        """Until `answer`, called whenever `control` is readable, says False."""
        self._selector = selectors.DefaultSelector()  # each process has its own
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(control, selectors.EVENT_READ, answer)
        while True:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, events in self._selector.select(wait):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, Client):
                    self._serve(key.data, events)
                elif not answer():
                    return
            while self._timers and self._timers[0][0] <= time.monotonic():
                _, _, client, action = heapq.heappop(self._timers)
                if client.peer.fileno() >= 0:
                    action()
                    self._serve(client, 0)

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except BlockingIOError:
            return
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(peer)
        client.connection = self._make(self.counters, partial(self._later, client))
        self.counters["connections"] += 1
        self._selector.register(peer, client.events, client)

    def _later(self, client: Client, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), client, action))

    def _serve(self, client: Client, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not client.receive():
                return self._end(client)
            client.flush()
            client.work()
        except BadFrame as wrong:
            self.counters[f"hung up: {wrong}"] += 1
            return self._end(client)
        except OSError:
            return self._end(client)
        ended = client.connection.ended
        if ended is not None and not client.connection.out and ended.how in ("close", "reset"):
            if ended.how == "reset":
                client.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return self._end(client)
        wanted = selectors.EVENT_WRITE if client.connection.out else 0
        if not client.connection.deaf and not client.connection.out:
            wanted |= selectors.EVENT_READ
        if wanted != client.events:
            if client.events:
                self._selector.unregister(client.peer)
            if wanted:
                self._selector.register(client.peer, wanted, client)
            client.events = wanted
        return None

    def _end(self, client: Client) -> None:
        if client.events:
            self._selector.unregister(client.peer)
        client.connection.commands.close_all()
        client.peer.close()
        self.counters["ended"] += 1
