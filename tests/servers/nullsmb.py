"""An SMB2 server of our own for tests and benchmarks: answers READs at full speed, and oddly when told to.

`python tests/servers/nullsmb.py --port 0` prints one line of JSON with its port, and serves 127.0.0.1 until
its standard input ends. A line on the standard input gets a line of JSON with what was counted so far.
`NullServer` starts, asks and ends it from a test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from nullsmb_files import Folder
from nullsmb_loop import Making, Server
from nullsmb_modes import MODES, Rule
from nullsmb_session import Settings, accept_proofs_as_sent


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
    children: list[socket.socket] = []
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
