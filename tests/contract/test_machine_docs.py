"""The back end of docs/how-to/add-a-machine.md passes the contract, as it stands there."""

from __future__ import annotations

import base64
import http.server
import json
import re
import ssl
import sys
import textwrap
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

from machine_contract import MachineContract, Rig
from vcsim import certificate

import lab.inventory
from lab.inventory import Host
from lab.inventory import machine as settings_module

PAGE = (Path(__file__).parents[2] / "docs/how-to/add-a-machine.md").read_text("utf-8")
PASSWORD = "socket secret"


class Socket:
    """What the example is for: a power socket with an HTTPS interface."""

    def __init__(self, folder: Path) -> None:
        self.on, self.boots = False, 0
        self.ca_file, key = certificate(folder, "socket")
        socket = self
        expected = "Basic " + base64.b64encode(f"lab:{PASSWORD}".encode()).decode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                admitted = self.headers["Authorization"] == expected
                if self.command == "PUT":
                    wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    if admitted:
                        socket.switch(wanted["state"] == "on")
                body = json.dumps({"state": "on" if socket.on else "off"}).encode()
                self.send_response(200 if admitted else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()

    def switch(self, on: bool) -> None:
        self.boots += on and not self.on
        self.on = on


class Impatient:
    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        pass


def example() -> tuple[types.ModuleType, Any]:
    """The page's module, and its settings."""
    module, settings = re.findall(r"^ *```python\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    names = dict(vars(settings_module))
    exec(compile(textwrap.dedent(settings), "settings of the page", "exec", dont_inherit=True), names)
    made = types.ModuleType("socket_machine")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lab.inventory, "SocketMachine", names["SocketMachine"], raising=False)
        exec(compile(module, "module of the page", "exec", dont_inherit=True), vars(made))
    return made, names["SocketMachine"]


class TestTheExample(MachineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
        folder = tmp_path_factory.mktemp("socket")
        socket = Socket(folder)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        module, settings = example()
        host = Host.model_validate(
            {
                "name": "desk",
                "address": "192.0.2.6",
                "machine": {"kind": "fixed"},
                "guest": {"shell": {"kind": "psrp", "user": "u", "password": {"env": "X"}}},
            }
        )

        def machine(port: int = socket.server.server_port) -> Any:
            chosen = settings.model_validate(
                {
                    "kind": "socket",
                    "url": f"https://127.0.0.1:{port}",
                    "user": "lab",
                    "password": {"file": str(secret)},
                    "ca_file": str(socket.ca_file),
                }
            )
            return module.open_machine(chosen, host, Impatient())

        yield Rig(
            machine(),
            "192.0.2.6",
            powered=lambda: socket.on,
            boots=lambda: socket.boots,
            gone=lambda: machine(9),
            secret=PASSWORD,
        )
        socket.server.shutdown()
        socket.server.server_close()
