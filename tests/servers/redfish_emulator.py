"""sushy-tools' Redfish emulator as a process of its own, over TLS with Basic authentication, on 127.0.0.1.

It is unmodified but for two things: power takes one second instead of 1 to 11, and what was asked of it is
written to a file, for tests that look at it from another side.
"""

from __future__ import annotations

import http.server
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import httpx
from vcsim import certificate

from lab.machines.redfish import RedfishMachine

SYSTEM = "27946b59-9e44-4fa7-8e91-f3527a1ef094"
USER = "lab"
PASSWORD = "s3cret ü"
ADDRESS = "192.0.2.1"

_MAIN = """
import random, sys
random.randint = lambda low, high: low
from sushy_tools.emulator import main
from sushy_tools.emulator.resources.systems import fakedriver
plain = fakedriver.FakeDriver.set_power_state
def noted(self, identity, state):
    before = self.get_power_state(identity)
    plain(self, identity, state)
    with open(RECORD, "a") as file:
        file.write(f"{before} {state}\\n")
fakedriver.FakeDriver.set_power_state = noted
main.main()
"""


class Emulator:
    """Started on the port that it had before, if it had one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_file, self.key = certificate(folder, "controller")
        self.other_ca, self._other_key = certificate(folder, "other")
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._record = folder / "record"
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{USER}:{hashed}\n")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self, *, other_certificate: bool = False) -> None:
        shown, key = (self.other_ca, self._other_key) if other_certificate else (self.ca_file, self.key)
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        systems = [{"uuid": SYSTEM, "name": "lab1", "power_state": "Off", "nics": []}]
        settings = self.folder / "emulator.conf"
        settings.write_text(
            f"SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {self.port}\n"
            f"SUSHY_EMULATOR_SSL_CERT = '{shown}'\nSUSHY_EMULATOR_SSL_KEY = '{key}'\n"
            f"SUSHY_EMULATOR_AUTH_FILE = '{self.folder}/htpasswd'\nSUSHY_EMULATOR_FAKE_DRIVER = True\n"
            f"SUSHY_EMULATOR_STATE_DIR = '{self.folder}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}\n"
        )
        main = self.folder / "emulator.py"
        main.write_text(_MAIN.replace("RECORD", repr(str(self._record))))
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(main), "--config", str(settings)],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    self.kill()
                    raise RuntimeError(f"the emulator did not start: {log.read_text()[-800:]}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def machine(self, **changed: Any) -> RedfishMachine:
        settings: dict[str, Any] = {
            "user": USER,
            "password": PASSWORD,
            "ca_file": self.ca_file,
            "system": "",
            "address": ADDRESS,
            "connect_seconds": 5,
        } | changed
        return RedfishMachine(settings.pop("url", self.url), **settings)

    def seen(self, path: str = f"/redfish/v1/Systems/{SYSTEM}") -> Any:
        """A resource, by another client than sushy."""
        with httpx.Client(
            verify=ssl.create_default_context(cafile=str(self.ca_file)), auth=(USER, PASSWORD), timeout=30
        ) as client:
            answer = client.get(f"{self.url}{path}")
        answer.raise_for_status()
        return answer.json()

    def powered(self) -> bool:
        return bool(self.seen()["PowerState"] == "On")

    def boots(self) -> int:
        """On asked of a machine that was off, and restarts."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        return sum(line in ("Off On", "On ForceRestart", "Off ForceRestart") for line in lines)

    def image(self) -> str:
        """What is in its virtual CD drive."""
        drive = self.seen(f"/redfish/v1/Systems/{SYSTEM}/VirtualMedia/Cd")
        return str(drive["Image"]) if drive["Inserted"] else ""


@contextmanager
def images(folder: Path, *names: str) -> Iterator[str]:
    """A web server with small images; its address."""
    for name in names:
        (folder / name).write_bytes(b"CD001" * 100)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, directory=str(folder), **more)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
