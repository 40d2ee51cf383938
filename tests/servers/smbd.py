"""A private Samba server on 127.0.0.1 for tests: its own configuration, users and state in one folder."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lab.smb import SmbTarget

USER = "daemon"  # an account that every Debian has; its Samba password lives in our own folder only
PASSWORD = "Samba-Test-1"

CONFIGURATION = """\
[global]
  smb ports = {port}
  interfaces = 127.0.0.1/8
  bind interfaces only = yes
  server role = standalone server
  disable netbios = yes
  load printers = no
  disable spoolss = yes
  passdb backend = tdbsam
  private dir = {state}
  state directory = {state}
  cache directory = {state}
  lock directory = {state}
  pid directory = {state}
  ncalrpc dir = {state}/ncalrpc
  log file = {state}/log.smbd
  log level = 1
  map to guest = never
  server min protocol = SMB2_02
  {extra}
[Data]
  path = {data}
  read only = no
  force user = root
[Admin]
  path = {admin}
  read only = yes
  force user = root
[Locked]
  path = {data}
  read only = no
  force user = root
  strict locking = yes
[Denied]
  path = {data}
  valid users = nobody
"""


def missing() -> str:
    """Why smbd cannot be started here, or ""."""
    if os.geteuid() != 0:
        return "smbd keeps its users in files that only root may write"
    if _program("smbd") and _program("smbpasswd"):
        return ""
    if os.environ.get("BUGCHECK_LAB_INSTALL") != "1":
        return "samba is not installed; set BUGCHECK_LAB_INSTALL=1 to install it"
    subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
    done = subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "samba"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    return "" if _program("smbd") else f"samba could not be installed: {done.stderr.strip()[-200:]}"


def version() -> tuple[int, ...]:
    """Of the Samba that is installed: (4, 17, 12)."""
    told = subprocess.run([_program("smbd"), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", told.stdout)
    assert found is not None, told.stdout
    return tuple(map(int, found[0].split(".")))


def _program(name: str) -> str:
    """Its path, or ""; the system's own folders are searched also when PATH lacks them."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin") or ""


def free_port() -> int:
    """A free port below those that the kernel gives to clients.

    Knocking at one of the kernel's own, until a server listens there, now and then connects to itself.
    """
    for port in random.sample(range(20_000, 32_000), 50):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 32000")


class Smbd:
    """One smbd of our own. `data` and `admin` are the folders behind its shares Data and Admin."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.data, self.admin, self._state = folder / "data", folder / "admin", folder / "state"
        for each in (self.data, self.admin, self._state):
            each.mkdir()
        self._configuration = folder / "smb.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self.configure("")
        self.set_password(PASSWORD)

    def set_password(self, password: str) -> None:
        """The user's password from now on; sessions that stand are not touched."""
        subprocess.run(
            [_program("smbpasswd"), "-c", str(self._configuration), "-L", "-s", "-a", USER],
            input=f"{password}\n{password}\n".encode(),
            check=True,
            capture_output=True,
        )

    def drop_share(self, name: str) -> None:
        """Take a share out of the configuration and throw its users out, as an administrator would."""
        text = self._configuration.read_text()
        start = text.index(f"[{name}]")
        end = text.find("[", start + 1)
        self._configuration.write_text(text[:start] + (text[end:] if end > 0 else ""))
        for message in (["reload-config"], ["close-share", name]):
            subprocess.run(
                [_program("smbcontrol"), "-s", str(self._configuration), "smbd", *message],
                check=True,
                capture_output=True,
            )

    def freeze(self) -> None:
        """Stop our smbd and its children where they are; the kernel goes on taking connections for them."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def freeze_one_connection(self) -> int:
        """Stop one of the processes that serve a connection; its id."""
        pid = self.children_serving()[0]
        os.kill(pid, signal.SIGSTOP)
        return pid

    def configure(self, extra: str) -> None:
        """Write the configuration with more lines for [global]; holds from the next start."""
        self._configuration.write_text(
            CONFIGURATION.format(
                port=self.port, state=self._state, data=self.data, admin=self.admin, extra=extra
            )
        )

    def start(self) -> None:
        self._process = subprocess.Popen(
            [_program("smbd"), "-F", "--no-process-group", "-s", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # its own process group: we end that one and nothing else
        )
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"smbd did not start: {(self._state / 'log.smbd').read_text()[-500:]}")

    @property
    def pid(self) -> int:
        """Of the smbd that listens; each connection has a child of it."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End our smbd and all of its children, as a crash would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._wait_until_deaf()

    def _wait_until_deaf(self) -> None:
        """A child that is not gone yet still holds the listening socket: the next smbd could not have it."""
        deadline = time.monotonic() + 3
        with suppress(OSError):
            while time.monotonic() < deadline:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                time.sleep(0.02)

    def target(self, **change: object) -> SmbTarget:
        """This server as a target, with some of its fields changed."""
        values: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
            "data_share": "Data",
            "admin_share": "Admin",
        }
        return SmbTarget(**(values | change))  # type: ignore[arg-type]

    def status(self) -> dict[str, Any]:
        """What Samba itself says of its sessions ("sessions") and tree connections ("tcons")."""
        told = subprocess.run(
            [_program("smbstatus"), "-s", str(self._configuration), "--json"], capture_output=True, check=True
        )
        found: dict[str, Any] = json.loads(told.stdout)
        return found

    def no_connections_left(self) -> bool:
        """True as soon as no process of ours serves a connection; False after 3 s."""
        deadline = time.monotonic() + 3
        while self.children_serving():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def children_serving(self) -> list[int]:
        """Process ids of our smbd processes that serve a connection."""
        assert self._process is not None
        inodes = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == self.port and fields[3] == "01":  # established
                inodes.add(f"socket:[{fields[9]}]")
        found = []
        for pid in self._group():
            try:
                links = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
            except OSError:
                continue
            if links & inodes:
                found.append(pid)
        return found

    def kill_one_connection(self) -> None:
        """The next call kills another: the killed one is gone, or a zombie, when this returns."""
        pid = self.children_serving()[0]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while pid in self.children_serving():
            assert time.monotonic() < deadline, f"the killed process {pid} still holds its connection"
            time.sleep(0.01)

    def _group(self) -> list[int]:
        assert self._process is not None
        listing = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in listing.stdout.split()]


@contextmanager
def running(extra: str = "") -> Iterator[Smbd]:
    """A started smbd with more lines for [global]; ended, and its folder removed, with the block."""
    folder = Path(tempfile.mkdtemp(prefix="lab-smbd-"))
    server = Smbd(folder)
    server.configure(extra)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def after(seconds: float, action: Callable[[], object]) -> None:
    """Do `action` in a thread of its own after so many seconds."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
