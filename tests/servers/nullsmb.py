"""An SMB2 server of our own for tests and benchmarks: answers READs at full speed, and oddly when told to.

`python tests/servers/nullsmb.py --port 0` prints one line of JSON with its port, and serves 127.0.0.1 until
its standard input ends. A line on the standard input gets a line of JSON with what was counted so far.
`NullServer` starts, asks and ends it from a test.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from nullsmb_connection import Connection
from nullsmb_files import Folder
from nullsmb_modes import MODES, Rule
from nullsmb_session import Settings, accept_proofs_as_sent
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


# --- the program ----------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--file", action="append", default=[], help="NAME=BYTES, made at the start")
    parser.add_argument("--mode", default="", choices=["", *MODES], help="odd behaviour by name")
    parser.add_argument("--script", default="[]", help="odd behaviour as JSON: a list of rules")
    for name, value in vars(Settings()).items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, tuple):
            parser.add_argument(option, type=_numbers, default=value)
        else:
            parser.add_argument(option, type=type(value), default=value)
    chosen = parser.parse_args()
    settings = Settings(**{name: getattr(chosen, name) for name in vars(Settings())})
    rules = json.loads(chosen.script) + (MODES[chosen.mode] if chosen.mode else [])
    accept_proofs_as_sent()
    root = Path(tempfile.mkdtemp(prefix="nullsmb-"))
    try:
        users = root / "users"
        users.write_text("".join(f"{domain}:{settings.user}:{settings.password}\n" for domain in _domains()))
        os.environ["NTLM_USER_FILE"] = str(users)
        share = root / "share"
        share.mkdir()
        folder = Folder(share, keeps=settings.content == "pattern")
        for each in chosen.file:
            name, _, size = each.rpartition("=")
            folder.prepare(name, int(size))
        _serve(chosen, Making(settings, folder, rules), share)
    finally:
        if os.getpid() == _PARENT:
            shutil.rmtree(root, ignore_errors=True)


_PARENT = os.getpid()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each, 0) for each in text.split(",") if each)


def _domains() -> tuple[str, ...]:
    """Whatever domain a client thinks a local account belongs to."""
    return ("", "WORKSTATION", ".", socket.gethostname(), "127.0.0.1")


def _serve(chosen: argparse.Namespace, make: Making, share: Path) -> None:
    listener = socket.create_server(("127.0.0.1", chosen.port), backlog=512)
    listener.setblocking(False)
    server = Server(listener, make)
    children = []
    for _ in range(chosen.processes - 1):
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            for other in children:
                other.close()
            server.serve(theirs.fileno(), lambda: _report(theirs, server))  # noqa: B023
            os._exit(0)
        theirs.close()
        children.append(ours)
    print(json.dumps({"port": listener.getsockname()[1], "share": str(share)}), flush=True)

    def answer() -> bool:
        order = os.read(0, 1 << 16)
        if not order:
            return False
        if order.strip():
            make.change(order.decode())
        total = Counter(server.counters)
        for child in children:
            child.sendall(b"\n")
            total.update(json.loads(child.makefile().readline()))
        print(json.dumps(total), flush=True)
        return True

    server.serve(0, answer)


def _report(parent: socket.socket, server: Server) -> bool:
    if not parent.recv(1):
        return False
    parent.sendall(json.dumps(server.counters).encode() + b"\n")
    return True


class NullServer:
    """The server in a process of its own, for `with`. Options are those of the program: max_read=65536, …"""

    def __init__(
        self, mode: str = "", rules: list[Rule] | None = None, files: dict[str, int] | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        arguments = ["--mode", mode, "--script", json.dumps(rules or [])]
        for name, size in (files or {}).items():
            arguments += ["--file", f"{name}={size}"]
        for name, value in options.items():
            text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
            arguments += ["--" + name.replace("_", "-"), text]
        self.settings = Settings(**{n: options[n] for n in options if n in vars(Settings())})
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = self._line()
        self.port: int = said["port"]
        self.share = Path(said["share"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def counts(self) -> Counter[str]:
        """What was counted so far: requests by command, "read bytes", "logons", "hung up: …", …"""
        return self._told("")

    def behave(self, mode: str = "", rules: list[Rule] | None = None, **settings: Any) -> None:
        """Other odd behaviour, and changed settings, from the next connection on. For one process only."""
        chosen = (rules or []) + (MODES[mode] if mode else [])
        self._told(json.dumps({"rules": chosen, "settings": settings}))

    def _told(self, line: str) -> Counter[str]:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return Counter(self._line())

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the null server ended before its time")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> NullServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


if __name__ == "__main__":
    main()
