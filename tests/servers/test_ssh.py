"""The SSH shell against a real sshd, with a stand-in for powershell.exe that shows what arrives.

This tests the transport: command line, standard input and output, exit codes, keys, lost connections. No
PowerShell runs here. What it has in common with other shells is in tests/contract.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from shell_contract import said, wait_for
from sshd import SSHD, USER, Sshd, can_have_accounts, hashed, keygen
from tcp_relay import Relay

from lab.inventory import Host, load
from lab.machines import open_machine
from lab.model import ConfigurationError, CredentialsRefused, GuestError, InfrastructureError, TimedOut
from lab.windows import shell as windows_shell
from lab.windows.check import check_host
from lab.windows.ssh import LOADER, SshGuestShell, command
from lab.windows.ssh_connection import RECENT, refused

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd: tests/servers/install.sh installs it")

PASSWORD = "Pass word 7"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One server for the tests that leave it as they found it."""
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sshd]:
    """A server of the test's own."""
    server = Sshd(tmp_path / "sshd")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def opened(server: Sshd) -> Iterator[SshGuestShell]:
    shell = server.shell()
    yield shell
    shell.close()


def in_background(work: Callable[[], object]) -> tuple[threading.Thread, list[Exception]]:
    failures: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failures


def test_the_command_line_is_the_loader_and_fits_cmd_exe(server: Sshd, opened: SshGuestShell) -> None:
    opened.run(said("echo"), Secret="hunter2")
    assert (server.folder / "bin" / "loader").read_text("utf-8") == LOADER
    assert len(command("powershell.exe")) < 8191 - 100
    assert "hunter2" not in command("powershell.exe")


def test_noise_beside_the_answer_is_nothing_to_it(opened: SshGuestShell) -> None:
    """Banners and host output before it, progress as CLIXML and 800 kB of warnings on standard error."""
    assert opened.run(said("noise"), A="Größe") == [{"A": "Größe"}]


def test_what_powershell_says_when_it_does_not_run(opened: SshGuestShell) -> None:
    with pytest.raises(GuestError, match=r"exit code 9 \(the term is not recognised\)"):
        opened.run(said("broken the term is not recognised"))
    clixml = (
        'broken #< CLIXML\r<Objs><Obj S="progress"><MS><I64 N="SourceId">1</I64></MS></Obj>'
        '<S S="Warning">be careful</S>'
        '<S S="Error">The &quot;file&quot; C:\\x.ps1 cannot be loaded_x000D__x000A_</S>'
        '<S S="Error">+ CategoryInfo &lt;none&gt;_x000D__x000A_</S></Objs>'
    )
    with pytest.raises(GuestError) as caught:
        opened.run(said(clixml))
    assert str(caught.value).endswith(
        'exit code 9 (The "file" C:\\x.ps1 cannot be loaded + CategoryInfo <none>)'
    )
    assert opened.run(said("echo")) == [{}]  # a failed script does not spoil the connection


def test_no_powershell(server: Sshd) -> None:
    shell = server.shell(powershell="pwsh-that-is-not-there")
    with pytest.raises(GuestError, match="exit code 127"):
        shell.run(said("echo"))
    with pytest.raises(GuestError, match="exit code 127"):  # it had read nothing of this when it ended
        shell.run(said("echo\n" + "#" * 3_000_000))
    shell.close()


def test_a_powershell_that_dies_in_its_answer(opened: SshGuestShell) -> None:
    """The channel closes without an exit status, and without the rest of the answer."""
    with pytest.raises(InfrastructureError, match="ended Said without an exit code"):
        opened.run(said("stop"))
    assert opened.run(said("echo")) == [{}]


def test_output_without_end_is_not_collected(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_shell, "MOST_OUTPUT", 8 << 20)
    shell = server.shell()
    with pytest.raises(GuestError, match="wrote more than 8 MiB of output"):
        shell.run(said("flood"))
    assert shell.run(said("echo")) == [{}]
    shell.close()


def test_complaints_without_end_are_not_collected(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error that comes faster than it can be read leaves the script its end."""
    ready = paramiko.Channel.recv_stderr_ready
    asked = []

    def always(channel: paramiko.Channel) -> bool:
        asked.append(len(asked))
        while not ready(channel):
            time.sleep(0.001)
        return True

    monkeypatch.setattr(paramiko.Channel, "recv_stderr_ready", always)
    shell = server.shell(script=2)
    with pytest.raises(TimedOut, match="waited 2 s for script; last seen: Said still runs"):
        shell.run(said("complain"))
    assert asked
    monkeypatch.undo()
    assert shell.run(said("echo")) == [{}]
    shell.close()


def test_a_guest_that_goes_down_after_its_answer_has_answered(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that was told to restart: saying goodbye to it fails."""
    close = paramiko.Channel.close

    def gone(channel: paramiko.Channel) -> None:
        close(channel)
        raise EOFError

    monkeypatch.setattr(paramiko.Channel, "close", gone)
    shell = server.shell()
    assert shell.run(said("echo")) == [{}]
    monkeypatch.undo()
    shell.close()


@pytest.mark.parametrize("size", [0x7FFFFFFC, 0x00200004])
def test_a_packet_without_end_is_not_collected(server: Sshd, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            peer, _ = listening.accept()
            with suppress(OSError), peer:
                peer.sendall(b"SSH-2.0-Endless\r\n" + size.to_bytes(4, "big"))
                while True:
                    peer.sendall(bytes(65536))

        thread = threading.Thread(target=talk)
        thread.start()
        shell = server.shell(port=listening.getsockname()[1])
        with pytest.raises(
            InfrastructureError, match=r"could not be reached: it began a packet of \d+ bytes$"
        ):
            shell.run(said("echo"))
        thread.join(30)
        assert not thread.is_alive()


def test_slow_output_is_waited_for(server: Sshd) -> None:
    """Longer than three keep-alive intervals; what counts is silence, not the answer's length."""
    shell = server.shell(keep_alive=2)
    assert shell.run(said("slow 7")) == [{"slow": True}]
    shell.close()


def test_a_quiet_script_is_no_dead_peer(server: Sshd) -> None:
    """It writes nothing for longer than three intervals, but its server answers the keep-alive."""
    shell = server.shell(keep_alive=2)
    assert shell.run(said("hang 8")) == []
    shell.close()


def test_a_connection_that_is_reset_in_mid_output(server: Sshd) -> None:
    with Relay(server.port) as relay:
        shell = server.shell(port=relay.port)
        assert shell.run(said("echo")) == [{}]
        relay.cut_after = 3_000_000
        with pytest.raises(InfrastructureError, match="broke off while Said ran"):
            shell.run(said("large 1 20000000"))
        assert relay.cut_after is None and relay.to_client > 1_000_000
        assert shell.run(said("echo")) == [{}]
        assert relay.connections == 2
        shell.close()


def test_a_connection_that_is_lost_between_two_reads_of_the_output(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading widens the window, so it writes: to a socket that has just been closed."""
    read, cut = paramiko.Channel.recv, []

    def lost(channel: paramiko.Channel, size: int) -> bytes:
        if not cut:
            cut.append(channel.transport.sock)
            cut[0].shutdown(socket.SHUT_WR)
        return read(channel, size)

    shell = server.shell()
    assert shell.run(said("echo")) == [{}]
    monkeypatch.setattr(paramiko.Channel, "recv", lost)
    with pytest.raises(InfrastructureError, match="broke off while Said ran"):
        shell.run(said("large 1 20000000"))
    assert cut
    assert shell.run(said("echo")) == [{}]
    shell.close()


def test_an_sshd_that_is_killed_in_mid_output_and_started_again(own: Sshd) -> None:
    shell, runs = own.shell(), own.folder / "bin" / "runs"
    thread, failures = in_background(lambda: shell.run(said("started")))
    wait_for(runs.exists)
    own.kill()
    thread.join(30)
    (failure,) = failures
    assert type(failure) is InfrastructureError and "broke off while Said ran" in str(failure)
    with pytest.raises(InfrastructureError, match="Connection refused"):
        shell.run(said("echo"))
    own.start()
    assert shell.run(said("echo")) == [{}]
    assert runs.read_text() == "x"  # not sent again
    shell.close()


def test_a_peer_that_falls_silent_in_mid_script_is_noticed(server: Sshd) -> None:
    """Its TCP still acknowledges everything: only the keep-alive can tell."""
    with Relay(server.port) as relay:
        shell = server.shell(port=relay.port, keep_alive=1, script=60)
        assert shell.run(said("echo")) == [{}]
        thread, failures = in_background(lambda: shell.run(said("hang 50")))
        time.sleep(0.5)  # whenever it falls silent, the same is to happen
        relay.swallow()
        thread.join(40)
        (failure,) = failures
        assert "s while Said ran, and did not answer the keep-alive" in str(failure)
        assert shell.run(said("echo")) == [{}]
        shell.close()


def test_an_idle_shell_whose_peer_is_gone_is_replaced_before_anything_is_sent(server: Sshd) -> None:
    with Relay(server.port) as relay:
        shell = server.shell(port=relay.port, connect=5)
        assert shell.run(said("echo")) == [{}]
        relay.swallow()
        time.sleep(RECENT + 0.5)
        assert shell.run(said("echo"), A=1) == [{"A": 1}]
        assert relay.connections == 2
        shell.close()


def test_an_idle_shell_whose_peer_is_there_keeps_its_connection(server: Sshd) -> None:
    with Relay(server.port) as relay:
        shell = server.shell(port=relay.port)
        assert shell.run(said("echo")) == [{}]
        time.sleep(RECENT + 0.5)
        assert shell.run(said("echo")) == [{}]
        assert relay.connections == 1
        shell.close()


# --- host keys -------------------------------------------------------------------------------------------


def test_another_host_key_is_refused_before_the_log_on(server: Sshd) -> None:
    other = " ".join((server.folder / "other.pub").read_text().split()[:2])
    logged_on = server.log().count("Accepted publickey")
    with pytest.raises(InfrastructureError, match="has another host key") as caught:
        server.shell(host_key=other).run(said("echo"))
    assert "host_key" in caught.value.help
    assert server.log().count("Accepted publickey") == logged_on


def test_a_host_key_that_changed_between_two_scripts(own: Sshd) -> None:
    shell, new = own.shell(), ""
    assert shell.run(said("echo")) == [{}]
    own.kill()
    new = own.new_host_key()
    own.start()
    for _ in range(2):
        with pytest.raises(InfrastructureError, match=r"has another host key \(ssh-ed25519 SHA256:"):
            shell.run(said("count"))
    assert not (own.folder / "bin" / "runs").exists()
    renewed = own.shell(host_key=new)
    assert renewed.run(said("echo")) == [{}]
    renewed.close()


def test_a_host_key_of_a_kind_the_server_lacks_is_refused(server: Sshd, tmp_path: Path) -> None:
    key = keygen(tmp_path / "key", "-t", "ecdsa")
    with pytest.raises(InfrastructureError, match="has no host key of the kind the inventory pins"):
        server.shell(host_key=key).run(said("echo"))


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_host_keys_and_user_keys_of_other_kinds(own: Sshd, tmp_path: Path, kind: str) -> None:
    for name in ("host", "host.pub"):
        (own.folder / name).unlink()
    pinned = keygen(own.folder / "host", "-t", kind)
    (own.folder / "authorized").write_text(keygen(tmp_path / "mine", "-t", kind) + "\n")
    own.restart()
    shell = own.shell(host_key=pinned, key_file=tmp_path / "mine")
    assert shell.run(said("echo")) == [{}]
    shell.close()


def test_a_host_key_that_is_none(server: Sshd) -> None:
    with pytest.raises(ConfigurationError, match=r"guest\.shell\.host_key is not a public key"):
        server.shell(host_key="ssh-ed25519 AAAA").run(said("echo"))


# --- log-on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["key", "password"])
def test_wrong_credentials(server: Sshd, how: str) -> None:
    if how == "key":
        shell = server.shell(key_file=server.folder / "other")
    else:
        shell = server.shell(key_file=None, password="hunter2")
    with pytest.raises(CredentialsRefused, match="refused the credentials of") as caught:
        shell.run(said("echo"))
    assert "hunter2" not in str(caught.value) + caught.value.help


def test_a_key_with_a_passphrase(server: Sshd, tmp_path: Path) -> None:
    public = keygen(tmp_path / "sealed", "-t", "ed25519", passphrase="open sesame")
    authorized = server.folder / "authorized"
    authorized.write_text(authorized.read_text() + public + "\n")
    shell = server.shell(key_file=tmp_path / "sealed", key_passphrase="open sesame")
    assert shell.run(said("echo")) == [{}]
    shell.close()
    with pytest.raises(ConfigurationError, match="sealed needs a passphrase"):
        server.shell(key_file=tmp_path / "sealed").run(said("echo"))
    with pytest.raises(ConfigurationError, match="or its passphrase is wrong") as caught:
        server.shell(key_file=tmp_path / "sealed", key_passphrase="close").run(said("echo"))
    assert "close" not in str(caught.value)


def test_key_files_that_are_none(server: Sshd, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="gone does not exist"):
        server.shell(key_file=tmp_path / "gone").run(said("echo"))
    (tmp_path / "text").write_text("not a key")
    with pytest.raises(ConfigurationError, match="it is no private key that we know"):
        server.shell(key_file=tmp_path / "text").run(said("echo"))


@pytest.mark.parametrize(
    ("account", "error", "says"),
    [
        pytest.param(
            "!{hash}:19000::::::", CredentialsRefused, "refused the credentials of lab", id="locked"
        ),
        pytest.param(
            "{hash}:19000:::::1:", CredentialsRefused, "refused the credentials of lab", id="expired"
        ),
        pytest.param("{hash}:0:0:90::::", GuestError, "password has expired", id="password expired"),
        pytest.param("{hash}:19000::::::", None, "", id="good"),
    ],
)
def test_accounts(tmp_path: Path, account: str, error: type[Exception] | None, says: str) -> None:
    """Real ones of this server alone. A password that must be changed gets a session, but no program."""
    if not can_have_accounts():
        pytest.skip("needs root and mount namespaces, for a server with users of its own")
    server = Sshd(tmp_path / "sshd", accounts={"lab": account.format(hash=hashed(PASSWORD))})
    server.start()
    shell = server.shell(user="lab", password=PASSWORD, key_file=None)
    try:
        if error is None:
            assert shell.run(said("echo")) == [{}]
        else:
            with pytest.raises(error, match=says) as caught:
                shell.run(said("echo"))
            assert PASSWORD not in str(caught.value) + getattr(caught.value, "help", "")
    finally:
        shell.close()
        server.kill()


def test_an_account_that_the_server_does_not_let_in(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", settings=f"DenyUsers {USER}\n")
    server.start()
    try:
        with pytest.raises(CredentialsRefused, match="refused the credentials"):
            server.shell().run(said("echo"))
    finally:
        server.kill()


def test_a_server_that_wants_a_second_proof(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", settings="AuthenticationMethods publickey,password\n")
    server.start()
    try:
        with pytest.raises(CredentialsRefused, match=r"wants more than one proof of \w+: password as well"):
            server.shell().run(said("echo"))
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("said", "kind", "says"),
    [
        ("Authentication timeout.", InfrastructureError, "did not answer as an SSH server within 10 s"),
        (
            "Authentication failed: transport shut down or saw EOF",
            InfrastructureError,
            "could not be reached",
        ),
        ("Illegal info request from server", CredentialsRefused, "wants a new password for"),
    ],
)
def test_what_paramiko_says_of_a_log_on(server: Sshd, said: str, kind: type[Exception], says: str) -> None:
    error = refused(server.access(), paramiko.AuthenticationException(said))
    assert type(error) is kind and says in str(error)


# --- nobody there ----------------------------------------------------------------------------------------


def test_nobody_there(server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    with pytest.raises(
        InfrastructureError, match=f"127.0.0.1:{closed} could not be reached: Connection refused"
    ):
        server.shell(port=closed).run(said("echo"))


def test_a_name_that_is_not_known(server: Sshd) -> None:
    with pytest.raises(InfrastructureError, match="could not be reached: "):
        server.shell(address="no-such-host.invalid").run(said("echo"))


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_somebody_who_is_no_ssh_server(server: Sshd, greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kept: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                connection, _ = silent.accept()
                kept.append(connection)
                connection.sendall(greeting)

        threading.Thread(target=accept, daemon=True).start()
        shell = server.shell(port=silent.getsockname()[1], connect=1)
        with pytest.raises(InfrastructureError, match="did not answer as an SSH server within 1 s"):
            shell.run(said("echo"))
        for each in kept:
            each.close()


def test_a_server_that_has_no_room_for_a_session(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", settings="MaxSessions 0\n")
    server.start()
    try:
        with pytest.raises(InfrastructureError, match="opened no channel: "):
            server.shell().run(said("echo"))
    finally:
        server.kill()


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


def host(server: Sshd, folder: Path, *, expendable: bool = True) -> Host:
    """The server as a host of an inventory; its SMB port is closed."""
    (folder / "lab.yaml").write_text(
        f"hosts:\n  lab1:\n    address: 127.0.0.1\n    expendable: {str(expendable).lower()}\n"
        f"    machine: {{kind: fixed, state: [{sys.executable}, -c, print('on')]}}\n"
        f"    guest:\n      shell: {{kind: ssh, port: {server.port}, user: {USER}, "
        f"key_file: {server.folder}/user, host_key: {server.host_key}}}\n"
        f"    smb: {{port: 1, password: {{env: LAB1}}}}\n    timeouts: {{connect: 5}}\n"
    )
    return load([folder / "lab.yaml"]).host("lab1")


def prepare(server: Sshd, **answers: dict[str, object]) -> None:
    for name, row in answers.items():
        path = server.folder / "bin" / f"{name.replace('_', '-')}.json"
        path.write_text(json.dumps([row]), "utf-8")


def test_checking_a_host(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    server: Sshd, tmp_path: Path, changed: dict[str, object], name: str, says: str
) -> None:
    prepare(server, Get_LabBoot=BOOT, Get_LabCrashControl=CRASH | changed)
    (wrong,) = [c for c in check_host(host(server, tmp_path)) if c.name == name]
    assert not wrong.ok and says in wrong.detail and wrong.help


def test_a_check_of_a_host_that_lacks_everything(
    server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAB1", raising=False)
    (server.folder / "bin" / "Get-LabBoot.json").write_text("Access denied")
    wrong = {c.name: c for c in check_host(host(server, tmp_path, expendable=False)) if not c.ok}
    assert set(wrong) == {"expendable", "smb port", "smb password", "shell"}
    assert "LAB1 is not set" in wrong["smb password"].detail
    assert "did not answer with a JSON array" in wrong["shell"].detail
