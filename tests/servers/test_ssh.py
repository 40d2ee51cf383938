"""The SSH shell against a real sshd, with a stand-in for powershell.exe that shows what arrives.

This tests the transport: command line, standard input and output, exit codes, keys. No PowerShell runs here.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.inventory import Timeouts
from lab.model import ConfigurationError, GuestError, InfrastructureError, SystemClock, TimedOut
from lab.windows.shell import Script
from lab.windows.ssh import LOADER, SshGuestShell, command

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd: install openssh-server")

STAND_IN = f"""\
#!{sys.executable}
import base64, json, os, signal, sys, time
encoded = sys.argv[sys.argv.index("-EncodedCommand") + 1]
with open(os.path.join(os.path.dirname(__file__), "loader"), "w", encoding="utf-8") as seen:
    seen.write(base64.b64decode(encoded).decode("utf-16-le"))
task = json.loads(sys.stdin.readline())
what, _, rest = task["script"].partition(" ")
code = 0
if what == "echo":
    answer = {{"output": json.dumps([task["parameters"]])}}
elif what == "large":
    answer = {{"output": json.dumps([{{"text": "x" * int(rest)}}])}}
elif what == "throw":
    answer, code = {{"error": rest}}, 1
elif what == "cut":
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
elif what == "hang":
    time.sleep(60)
elif what == "broken":
    sys.stderr.write("the term is not recognised\\n")
    sys.exit(9)
sys.stdout.write("\\ufeff" if rest == "with a mark" else "")
sys.stdout.write(json.dumps(answer) + "\\r\\n")
sys.exit(code)
"""


@dataclass(frozen=True)
class Said(Script):
    """A script whose text is given, for the stand-in to act upon."""

    what: str = ""

    def text(self) -> str:
        return self.what


@dataclass(frozen=True)
class Server:
    port: int
    folder: Path
    host_key: str

    def shell(self, **changed: Any) -> SshGuestShell:
        settings: dict[str, Any] = {
            "user": getpass.getuser(),
            "host_key": self.host_key,
            "password": None,
            "key_file": self.folder / "user",
            "key_passphrase": None,
            "powershell": "powershell.exe",
            "timeouts": Timeouts(connect=10, script=20),
            "clock": SystemClock(),
        } | changed
        return SshGuestShell("127.0.0.1", settings.pop("port", self.port), **settings)


def keygen(path: Path, *options: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", str(path), *options], check=True)
    kind, data, *_ = path.with_suffix(".pub").read_text().split()
    return f"{kind} {data}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert SSHD
    folder = tmp_path_factory.mktemp("sshd")
    host_key = keygen(folder / "host", "-t", "ed25519")
    keygen(folder / "other", "-t", "ed25519")
    (folder / "authorized").write_text(keygen(folder / "user", "-t", "ed25519") + "\n")
    stand_in = folder / "bin" / "powershell.exe"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        f"PasswordAuthentication yes\nPrintMotd no\nSetEnv PATH={stand_in.parent}:{os.environ['PATH']}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=(folder / "log").open("wb"))
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
        yield Server(port, folder, host_key)
    finally:
        process.terminate()
        process.wait(10)


def test_parameters_arrive_as_what_they_are(server: Server) -> None:
    sent = {
        "Text": "Größe \"quoted\" & $(calc) | ; `n 100% \\ 'x'",
        "Empty": "",
        "Number": 4_000_000_000,
        "Yes": True,
        "Names": ["BadDriver", "", "a b"],
        "Starts": [0, 4],
        "Nothing": [],
    }
    shell = server.shell()
    try:
        assert shell.run(Said("Echo", "echo"), **sent) == [sent]
        assert shell.run(Said("Echo", "echo with a mark"), A=1) == [{"A": 1}]  # on the same connection
    finally:
        shell.close()


def test_the_command_line_is_the_loader_and_fits_cmd_exe(server: Server) -> None:
    shell = server.shell()
    try:
        shell.run(Said("Echo", "echo"), Secret="hunter2")
    finally:
        shell.close()
    assert (server.folder / "bin" / "loader").read_text("utf-8") == LOADER
    assert len(command("powershell.exe")) < 8191 - 100
    assert "hunter2" not in command("powershell.exe")


def test_a_large_answer_and_a_large_script(server: Server) -> None:
    shell = server.shell()
    try:
        (row,) = shell.run(Said("Large", "large 8000000"))
        assert len(row["text"]) == 8_000_000
        assert shell.run(Said("Echo", "echo " + "#" * 300_000)) == [{}]
    finally:
        shell.close()


def test_the_guests_own_message_is_told(server: Server) -> None:
    shell = server.shell()
    try:
        with pytest.raises(GuestError, match="script Set-LabDriver failed: there is no service Nöpe"):
            shell.run(Said("Set-LabDriver", "throw there is no service Nöpe"))
        with pytest.raises(GuestError, match=r"exit code 9 \(the term is not recognised\)"):
            shell.run(Said("X", "broken"))
        assert shell.run(Said("Echo", "echo")) == [{}]  # a failed script does not spoil the connection
    finally:
        shell.close()


def test_no_powershell(server: Server) -> None:
    shell = server.shell(powershell="pwsh-that-is-not-there")
    try:
        with pytest.raises(GuestError, match="exit code 127"):
            shell.run(Said("X", "echo"))
    finally:
        shell.close()


def test_a_script_that_takes_too_long(server: Server) -> None:
    shell = server.shell(timeouts=Timeouts(connect=10, script=1))
    try:
        with pytest.raises(TimedOut, match="waited 1 s for script; last seen: Slow still runs") as caught:
            shell.run(Said("Slow", "hang"))
        assert caught.value.wait == "script"
        assert shell.run(Said("Echo", "echo")) == [{}]  # on a new connection
    finally:
        shell.close()


def test_a_connection_that_breaks_is_replaced(server: Server) -> None:
    shell = server.shell()
    try:
        with pytest.raises(InfrastructureError, match="broke off"):
            shell.run(Said("X", "cut"))
        assert shell.run(Said("Echo", "echo")) == [{}]
    finally:
        shell.close()


def test_another_host_key_is_refused(server: Server) -> None:
    other = " ".join((server.folder / "other.pub").read_text().split()[:2])
    with pytest.raises(InfrastructureError, match="has another host key") as caught:
        server.shell(host_key=other).run(Said("X", "echo"))
    assert "host_key" in caught.value.help


def test_a_host_key_of_a_kind_the_server_lacks_is_refused(server: Server, tmp_path: Path) -> None:
    rsa = keygen(tmp_path / "rsa", "-t", "ecdsa")
    with pytest.raises(InfrastructureError, match=r"another host key|no host key of the kind"):
        server.shell(host_key=rsa).run(Said("X", "echo"))


@pytest.mark.parametrize("how", ["key", "password"])
def test_wrong_credentials(server: Server, how: str) -> None:
    if how == "key":
        shell = server.shell(key_file=server.folder / "other")
    else:
        shell = server.shell(key_file=None, password="hunter2")
    with pytest.raises(InfrastructureError, match="refused the credentials of") as caught:
        shell.run(Said("X", "echo"))
    assert "hunter2" not in str(caught.value) + caught.value.help


def test_nobody_there(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    with pytest.raises(
        InfrastructureError, match=f"127.0.0.1:{closed} could not be reached: Connection refused"
    ):
        server.shell(port=closed).run(Said("X", "echo"))


def test_somebody_who_never_answers(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shell = server.shell(port=silent.getsockname()[1], timeouts=Timeouts(connect=1))
        with pytest.raises(InfrastructureError, match="did not answer as an SSH server within 1 s"):
            shell.run(Said("X", "echo"))


def test_a_powershell_that_is_not_a_plain_path() -> None:
    with pytest.raises(ConfigurationError, match="not a plain path"):
        command("powershell.exe & calc.exe")
