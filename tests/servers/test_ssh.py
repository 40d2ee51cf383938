"""The SSH shell against a real sshd, with a stand-in for powershell.exe that shows what arrives.

This tests the transport: command line, standard input and output, exit codes, keys. No PowerShell runs here.
"""

from __future__ import annotations

import getpass
import json
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

import paramiko
import pytest

from lab.inventory import Host, Timeouts, load
from lab.machines import open_machine
from lab.model import (
    ConfigurationError,
    CredentialsRefused,
    GuestError,
    InfrastructureError,
    SystemClock,
    TimedOut,
)
from lab.windows.check import check_host
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
if "# Script: " in task["script"]:  # a script of the project: answers as the test has laid down
    name = task["script"].split("# Script: ")[1].split("\\n")[0]
    with open(os.path.join(os.path.dirname(__file__), name + ".json"), encoding="utf-8") as prepared:
        answer = {{"output": prepared.read()}}
elif what == "echo":
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
    with pytest.raises(CredentialsRefused, match="refused the credentials of") as caught:
        shell.run(Said("X", "echo"))
    assert "hunter2" not in str(caught.value) + caught.value.help


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("Authentication timeout.", "did not answer as an SSH server within 10 s"),
        ("Authentication failed: transport shut down or saw EOF", "could not be reached"),
    ],
)
def test_a_server_lost_in_the_middle_of_the_log_on_has_refused_nothing(
    server: Server, said: str, says: str
) -> None:
    error = server.shell()._refused(paramiko.AuthenticationException(said))
    assert type(error) is InfrastructureError and says in str(error)


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


BOOT = {
    "bootId": 7,
    "bootTime": "2026-01-02T03:04:05.000Z",
    "now": "2026-01-02T04:00:00.000Z",
    "computer": "LAB1",
    "build": 17763,
    "osName": "Windows Server 2019",
    "uuid": "4C4C4544-0000",
    "processors": 4,
    "memoryBytes": 16 << 30,
}
CRASH = {
    "crashDumpEnabled": 2,
    "autoReboot": 1,
    "overwrite": 1,
    "alwaysKeepMemoryDump": 1,
    "dumpFile": "C:\\Windows\\MEMORY.DMP",
    "systemDriveFreeBytes": 40 << 30,
    "dumpInitializationFailed": False,
}


def host(server: Server, folder: Path, *, expendable: bool = True) -> Host:
    """The server as a host of an inventory; its SMB port is closed."""
    (folder / "lab.yaml").write_text(
        f"hosts:\n  lab1:\n    address: 127.0.0.1\n    expendable: {str(expendable).lower()}\n"
        f"    machine: {{kind: fixed, state: [{sys.executable}, -c, print('on')]}}\n"
        f"    guest:\n      shell: {{kind: ssh, port: {server.port}, user: {getpass.getuser()}, "
        f"key_file: {server.folder}/user, host_key: {server.host_key}}}\n"
        f"    smb: {{port: 1, password: {{env: LAB1}}}}\n    timeouts: {{connect: 5}}\n"
    )
    return load([folder / "lab.yaml"]).host("lab1")


def prepare(server: Server, **answers: dict[str, object]) -> None:
    for name, row in answers.items():
        path = server.folder / "bin" / f"{name.replace('_', '-')}.json"
        path.write_text(json.dumps([row]), "utf-8")


def test_checking_a_host(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB1", "hunter2")
    prepare(server, Get_LabBoot=BOOT, Get_LabCrashControl=CRASH)
    checks = check_host(host(server, tmp_path), open_machine)
    assert {c.name: c.ok for c in checks} == {
        "expendable": True,
        "machine (fixed)": True,
        "ssh port": True,
        "smb port": False,
        "smb password": True,
        "shell": True,
        "guest": True,
        "crash dump": True,
        "disk space": True,
    }
    told = {c.name: c.detail for c in checks}
    assert "Connection refused" in told["smb port"]
    assert told["guest"].startswith("LAB1: Windows Server 2019, build 17763, 4 processors, 16 GiB")
    assert all(c.help for c in checks if not c.ok)
    assert "hunter2" not in repr(checks)


@pytest.mark.parametrize(
    ("changed", "name", "says"),
    [
        ({"dumpInitializationFailed": True}, "crash dump", "event 46"),
        ({"crashDumpEnabled": 3}, "crash dump", "the dump kind is 'small'"),
        ({"autoReboot": 0, "overwrite": 0}, "crash dump", "does not restart by itself, an old dump"),
        ({"systemDriveFreeBytes": 8 << 30}, "disk space", "8.0 GiB free on the system drive, up to 16.0"),
    ],
)
def test_what_a_check_finds_wrong(
    server: Server, tmp_path: Path, changed: dict[str, object], name: str, says: str
) -> None:
    prepare(server, Get_LabBoot=BOOT, Get_LabCrashControl=CRASH | changed)
    (wrong,) = [c for c in check_host(host(server, tmp_path)) if c.name == name]
    assert not wrong.ok and says in wrong.detail and wrong.help


def test_a_check_of_a_host_that_lacks_everything(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB1", raising=False)
    (server.folder / "bin" / "Get-LabBoot.json").write_text("Access denied")
    wrong = {c.name: c for c in check_host(host(server, tmp_path, expendable=False)) if not c.ok}
    assert set(wrong) == {"expendable", "smb port", "smb password", "shell"}
    assert "LAB1 is not set" in wrong["smb password"].detail
    assert "did not answer with a JSON array" in wrong["shell"].detail
