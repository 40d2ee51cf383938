"""A private OpenSSH server on 127.0.0.1, with a stand-in for powershell.exe. No PowerShell runs here."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.inventory import Timeouts
from lab.model import SystemClock
from lab.windows.ssh import SshGuestShell
from lab.windows.ssh_connection import SshAccess

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
USER = getpass.getuser()
SCRIPTS = Path(__file__).parents[1] / "contract"

STAND_IN = f"""\
#!{sys.executable}
import base64, json, os, sys
sys.path.insert(0, {str(SCRIPTS)!r})
import shell_scripts

encoded = sys.argv[sys.argv.index("-EncodedCommand") + 1]
folder = os.path.dirname(__file__)
with open(os.path.join(folder, "loader"), "w", encoding="utf-8") as seen:
    seen.write(base64.b64decode(encoded).decode("utf-16-le"))
task = json.loads(sys.stdin.readline())
try:
    answer, code = {{"output": shell_scripts.answer(task["script"], task["parameters"], folder)}}, 0
except shell_scripts.Failed as error:
    answer, code = {{"error": str(error)}}, 1
packed = base64.b64encode(json.dumps(answer).encode()).decode()
sys.stdout.write("<" + task["mark"] + "<" + packed + ">" + task["mark"] + ">")
sys.exit(code)
"""


class Sshd:
    """An sshd with its own keys in `folder`. `settings` are further lines of its configuration.

    `accounts` are lines of /etc/shadow by user: users that this server alone sees, which needs root. Their
    number is root's if nothing else is said: Python itself may be for root alone.
    """

    def __init__(
        self, folder: Path, settings: str = "", accounts: dict[str, str] | None = None, *, uid: int = 0
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.host_key = keygen(folder / "host", "-t", "ed25519")
        keygen(folder / "other", "-t", "ed25519")
        (folder / "authorized").write_text(keygen(folder / "user", "-t", "ed25519") + "\n")
        stand_in = folder / "bin" / "powershell.exe"
        stand_in.parent.mkdir()
        stand_in.write_text(STAND_IN)
        stand_in.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._accounts, self._uid = accounts or {}, uid
        self.configure(settings)

    def configure(self, settings: str = "") -> None:
        """Write the configuration anew; `start` reads it."""
        lines = f"""\
Port {self.port}
ListenAddress 127.0.0.1
HostKey {self.folder}/host
PidFile {self.folder}/pid
AuthorizedKeysFile {self.folder}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
PrintMotd no
SetEnv PATH={self.folder}/bin:{os.environ["PATH"]}
"""
        if "Subsystem" not in settings:
            lines += "Subsystem sftp internal-sftp\n"
        (self.folder / "sshd_config").write_text(settings + lines)

    def start(self) -> None:
        assert SSHD
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if self._accounts:
            command = ["unshare", "-m", "sh", "-c", f'{self._private_accounts()} exec "$@"', "sh", *command]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"sshd did not start: {self.log()}")

    def _private_accounts(self) -> str:
        """Shell commands that give this server its own /etc/passwd and /etc/shadow."""
        passwd, shadow = Path("/etc/passwd").read_text(), Path("/etc/shadow").read_text()
        for user, line in self._accounts.items():
            passwd += f"{user}:x:{self._uid}:{self._uid}::/:/bin/sh\n"
            shadow += f"{user}:{line}\n"
        for name, text in (("passwd", passwd), ("shadow", shadow)):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o644 if name == "passwd" else 0o600)
        binds = (f"mount --bind {self.folder}/{name} /etc/{name};" for name in ("passwd", "shadow"))
        return "set -e; " + " ".join(binds)

    def sessions(self) -> list[int]:
        """Processes that serve one connection each."""
        assert self._process is not None
        return _children(self._process.pid)

    def cut(self) -> None:
        """Kill every connection's process: the kernel closes their sockets. New ones are accepted."""
        for number in self.sessions():
            _kill_tree(number)

    def kill(self) -> None:
        """The server and all its connections are gone."""
        if self._process is not None:
            _kill_tree(self._process.pid)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def new_host_key(self) -> str:
        """Another host key from the next start on."""
        for name in ("host", "host.pub"):
            (self.folder / name).unlink()
        return keygen(self.folder / "host", "-t", "ed25519")

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def access(self, **changed: Any) -> SshAccess:
        settings: dict[str, Any] = {
            "address": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "host_key": self.host_key,
            "key_file": self.folder / "user",
            "connect": 10,
        }
        return SshAccess(**(settings | changed))

    def shell(
        self, *, powershell: str = "powershell.exe", script: float = 20, **changed: Any
    ) -> SshGuestShell:
        access = self.access(**changed)
        timeouts = Timeouts(connect=access.connect, script=script)
        return SshGuestShell(access, powershell=powershell, timeouts=timeouts, clock=SystemClock())


def can_have_accounts() -> bool:
    """Whether this machine lets a server have users of its own."""
    return os.getuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def hashed(password: str) -> str:
    """As /etc/shadow holds it."""
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password.encode(), capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def keygen(path: Path, *options: str, passphrase: str = "") -> str:
    """Make a key pair; returns the public key as `kind base64`."""
    command = ["ssh-keygen", "-q", "-N", passphrase, "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    kind, data, *_ = path.with_suffix(".pub").read_text().split()
    return f"{kind} {data}"


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent:
                    found.append(int(entry.name))
    return found


def _kill_tree(number: int) -> None:
    below = _children(number)
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
    for child in below:
        _kill_tree(child)
