"""Dumps over SFTP, from a real sshd: contents, resume, and each way it can go wrong."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sshd import SSHD, USER, Sshd, can_have_accounts, hashed
from tcp_relay import Relay

from lab.capture import Replaced, Vault, fetch, find, header_of, wait_until_whole
from lab.capture import sftp as sftp_module
from lab.capture.sftp import SftpSource, remote_path
from lab.capture.sftp_channel import SftpChannel
from lab.cli import main
from lab.inventory import Host, load
from lab.model import ConfigurationError, CredentialsRefused, InfrastructureError, SystemClock
from lab.smb import AccessDenied, Busy, Malformed, NotOffered, NotThere, Unreachable
from lab.trials import dumps_of
from lab.windows.check import check_host
from lab.windows.ssh_connection import SshConnection

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd: tests/servers/install.sh installs it")

CONTENT = b"PAGEDU64" + random.Random(9).randbytes((40 << 20) + 4321)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    (server.folder / "Windows" / "Minidump").mkdir(parents=True)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def dump(server: Sshd) -> Path:
    path = server.folder / "Windows" / "MEMORY.DMP"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def source(server: Sshd) -> Iterator[SftpSource]:
    with source_of(server) as source:
        yield source


def source_of(server: Sshd, **access: Any) -> SftpSource:
    return SftpSource(server.access(**access), str(server.folder / "Windows"))


def test_dumps_are_listed_and_fetched_byte_for_byte(
    server: Sshd, dump: Path, source: SftpSource, tmp_path: Path
) -> None:
    small = dump.parent / "Minidump"
    for name in ("b.dmp", "a.DMP", "notes.txt"):
        (small / name).write_bytes(name.encode() * 1000)
    (small / "folder.dmp").mkdir()
    os.utime(dump, (1_700_000_000, 1_700_000_000))
    found = source.dumps()
    assert [(ref.name, ref.length) for ref in found] == [
        ("MEMORY.DMP", len(CONTENT)),
        ("Minidump\\a.DMP", 5000),
        ("Minidump\\b.dmp", 5000),
    ]
    assert found[0].modified == "2023-11-14T22:13:20Z"
    vault = Vault(tmp_path / "vault")
    for ref, content in ((found[0], CONTENT), (found[2], b"b.dmp" * 1000)):
        sha256 = fetch(source, ref, vault)
        assert sha256 == hashlib.sha256(content).hexdigest()
        assert vault.path(sha256).read_bytes() == content
    assert find(source, "memory.dmp") == found[0]
    assert header_of(source, "MEMORY.DMP") == CONTENT[:0x3000]


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 9 << 20])
def test_any_part_of_it_can_be_read(dump: Path, source: SftpSource, size: int) -> None:
    for at in (0, 1, 65535, 65536, 1 << 20, len(CONTENT) - 5):
        file = source.open(source.dumps()[0])
        assert file.read_at(at, size) == CONTENT[at : at + size]
        assert file.read_at(at, 7) == CONTENT[at : at + 7]  # also after a read to the end
        file.close()


def test_a_read_that_is_left_in_the_middle_spoils_nothing(dump: Path, source: SftpSource) -> None:
    file: Any = source.open(source.dumps()[0])
    for at in (0, 7 << 20, 1 << 20):
        pieces = file.stream(at, 8 << 20)
        piece = bytes(next(pieces))
        assert len(piece) >= sftp_module.PIECE and piece == CONTENT[at : at + len(piece)]
        pieces.close()
    assert file.read_at(11, 1 << 20) == CONTENT[11 : 11 + (1 << 20)]
    assert source.dumps()[0].length == len(CONTENT)


def test_a_fetch_goes_on_after_resets_and_a_restart_of_the_server(
    server: Sshd, dump: Path, tmp_path: Path
) -> None:
    received: list[int] = []

    def progress(done: int, of: int) -> None:
        received.append(done)
        if done > len(CONTENT) // 2 and len(killed) == 0:
            killed.append(done)
            server.kill()
            server.start()

    killed: list[int] = []
    with Relay(server.port) as relay, source_of(server, port=relay.port) as source:
        ref = source.dumps()[0]
        relay.cut_after = 9 << 20
        vault = Vault(tmp_path / "vault")
        sha256 = fetch(source, ref, vault, on_progress=progress, readers=2)
        assert relay.cut_after is None and killed
    assert vault.path(sha256).read_bytes() == CONTENT
    assert received == sorted(received)  # what was received stays


def test_an_interrupted_fetch_is_gone_on_with(server: Sshd, dump: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, of: int) -> None:
        if done > of // 3:
            raise Enough

    vault = Vault(tmp_path / "vault")
    with source_of(server) as source:
        ref = source.dumps()[0]
        with pytest.raises(Enough):
            fetch(source, ref, vault, on_progress=stop)
    first: list[int] = []
    with Relay(server.port) as relay, source_of(server, port=relay.port) as again:
        sha256 = fetch(again, ref, vault, on_progress=lambda done, of: first.append(done))
        assert relay.to_client < len(CONTENT) * 0.75
    assert first[0] > len(CONTENT) // 3
    assert vault.path(sha256).read_bytes() == CONTENT


def test_a_dump_that_is_replaced_on_the_way(server: Sshd, dump: Path, tmp_path: Path) -> None:
    def replace(done: int, of: int) -> None:
        if not changed:
            changed.append(done)
            dump.write_bytes(b"PAGEDU64" + bytes(len(CONTENT) - 8))

    changed: list[int] = []
    with source_of(server) as source, pytest.raises(Replaced, match="was replaced or cut short"):
        fetch(source, source.dumps()[0], Vault(tmp_path / "vault"), on_progress=replace)
    assert not list((tmp_path / "vault").rglob("*.dmp"))


def test_a_dump_that_is_cut_short_on_the_way(server: Sshd, dump: Path, tmp_path: Path) -> None:
    with source_of(server) as source:
        ref = source.dumps()[0]
        dump.write_bytes(CONTENT[: 20 << 20])
        with pytest.raises(Replaced):
            fetch(source, ref, Vault(tmp_path / "vault"))


def test_a_dump_that_is_still_written_is_waited_for(server: Sshd, source: SftpSource) -> None:
    path = server.folder / "Windows" / "MEMORY.DMP"

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(4):
                file.write(b"PAGEDU64".ljust(1 << 16, b"x"))
                file.flush()
                time.sleep(0.3)

    thread = threading.Thread(target=write)
    thread.start()
    ref = wait_until_whole(
        source,
        "MEMORY.DMP",
        not_like=None,
        expected_length=lambda head: 4 << 16,
        clock=SystemClock(),
        seconds=60,
        every=0.1,
    )
    thread.join()
    assert ref.length == 4 << 16


# --- what goes wrong -------------------------------------------------------------------------------------


def told(error: InfrastructureError) -> str:
    assert "\n" not in str(error) and error.help
    return str(error)


def test_what_is_not_there(server: Sshd, dump: Path) -> None:
    place = f"SSH of 127.0.0.1:{server.port}"
    with source_of(server) as source:
        ref = source.dumps()[0]
        dump.unlink()
        assert source.dumps() == []
        with pytest.raises(NotThere) as caught:
            source.open(ref)
        assert told(caught.value) == f"{dump} does not exist on {place}"
    with SftpSource(server.access(), "C:\\Windows") as source, pytest.raises(NotThere) as caught:
        source.dumps()
    assert told(caught.value) == f"C:\\Windows does not exist on {place}"


def test_a_folder_and_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    if not can_have_accounts():
        pytest.skip("needs root and mount namespaces, for a server with users of its own")
    server = Sshd(tmp_path / "sshd", accounts={"lab": f"{hashed('word')}:19000::::::"}, uid=54321)
    base = Path("/tmp") / f"lab-sftp-{os.getpid()}"
    folder = base / "Windows"
    folder.mkdir(parents=True)
    base.chmod(0o755)
    (folder / "MEMORY.DMP").write_bytes(b"PAGEDU64")
    (folder / "MEMORY.DMP").chmod(0o600)
    server.start()
    access = server.access(user="lab", password="word", key_file=None)
    try:
        with SftpSource(access, str(folder)) as source:
            (ref,) = source.dumps()
            with pytest.raises(Busy, match="permission denied to user 'lab', or another process") as busy:
                source.open(ref)
            told(busy.value)
            folder.chmod(0o700)
            with pytest.raises(AccessDenied, match=f"access denied for user 'lab' to {folder}") as caught:
                source.dumps()
            told(caught.value)
    finally:
        server.kill()
        (folder / "MEMORY.DMP").unlink()
        folder.rmdir()
        base.rmdir()


def test_a_server_without_sftp(tmp_path: Path) -> None:
    server = Sshd(tmp_path / "sshd", settings="# no Subsystem here\n")
    server.start()
    try:
        with source_of(server) as source, pytest.raises(NotOffered, match="offers no SFTP") as caught:
            source.dumps()
        assert "sshd_config" in told(caught.value) + caught.value.help
    finally:
        server.kill()


def test_a_subsystem_that_is_not_there_or_speaks_something_else(tmp_path: Path) -> None:
    for number, (program, error) in enumerate(
        [("/nowhere/sftp-server", Unreachable), ("/bin/echo This account is not available", Malformed)]
    ):
        server = Sshd(tmp_path / f"sshd-{number}", settings=f"Subsystem sftp {program}\n")
        server.start()
        try:
            with source_of(server) as source, pytest.raises(error) as caught:
                source.dumps()
            told(caught.value)
        finally:
            server.kill()


def test_a_server_that_falls_silent(server: Sshd, dump: Path) -> None:
    with Relay(server.port) as relay, source_of(server, port=relay.port, connect=5) as source:
        file = source.open(source.dumps()[0])
        relay.swallow()
        with pytest.raises(Unreachable, match="did not answer within 5 s over SFTP"):
            file.read_at(0, 1 << 20)
        file.close()
        assert source.dumps()[0].length == len(CONTENT)  # over a new connection
        assert relay.connections == 2


def test_a_source_outlives_a_restart_of_its_host(server: Sshd, dump: Path, source: SftpSource) -> None:
    ref = source.dumps()[0]
    server.kill()
    for _ in range(2):
        with pytest.raises(InfrastructureError):
            source.dumps()
    server.start()
    assert source.dumps() == [ref]


def test_credentials_and_host_key_are_those_of_the_shell(server: Sshd, dump: Path) -> None:
    with source_of(server, key_file=server.folder / "other") as source, pytest.raises(CredentialsRefused):
        source.dumps()
    other = " ".join((server.folder / "other.pub").read_text().split()[:2])
    with (
        source_of(server, host_key=other) as source,
        pytest.raises(InfrastructureError, match="another host key"),
    ):
        source.dumps()


def test_a_server_that_gives_less_than_it_is_asked_for(
    source: SftpSource, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSH gives at most 255 KiB a READ: asked for more, every answer is short."""
    monkeypatch.setattr(SftpChannel, "_limit", lambda channel: 1 << 20)
    file = source.open(source.dumps()[0])
    assert file.read_at(3, len(CONTENT)) == CONTENT[3:]
    file.close()


# --- names, and the way through the inventory ------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "name", "path"),
    [
        ("C:\\Windows", "MEMORY.DMP", "/C:/Windows/MEMORY.DMP"),
        ("C:\\Windows\\", "Minidump\\a b.dmp", "/C:/Windows/Minidump/a b.dmp"),
        ("d:/dumps", "MEMORY.DMP", "/d:/dumps/MEMORY.DMP"),
        ("C:\\", "MEMORY.DMP", "/C:/MEMORY.DMP"),
        ("/srv/dumps/", "Minidump\\a.dmp", "/srv/dumps/Minidump/a.dmp"),
        ("C:\\Windows", "", "/C:/Windows"),
    ],
)
def test_path_names(folder: str, name: str, path: str) -> None:
    assert remote_path(folder, name) == path


def test_windows_paths_over_the_wire(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for, where a drive's letter is a folder."""
    asked: list[str] = []
    real = SftpChannel.stat
    monkeypatch.setattr(SftpChannel, "stat", lambda channel, path: asked.append(path) or real(channel, path))
    with SftpSource(server.access(), "C:\\Windows") as source, pytest.raises(NotThere):
        source.dumps()
    assert asked == ["/C:/Windows/MEMORY.DMP", "/C:/Windows"]


def inventory(server: Sshd, folder: Path) -> Path:
    path = folder / "lab.yaml"
    path.write_text(
        f"hosts:\n  lab1:\n    address: 127.0.0.1\n    expendable: true\n"
        f"    machine: {{kind: fixed, state: [{sys.executable}, -c, print('on')]}}\n"
        f"    guest:\n      shell: {{kind: ssh, port: {server.port}, user: {USER}, "
        f"key_file: {server.folder}/user, host_key: {server.host_key}}}\n"
        f"    dumps: sftp\n    dump_folder: {server.folder}/Windows\n"
        f"    smb: {{port: 1, password: {{env: LAB1}}}}\n    timeouts: {{connect: 5}}\n"
    )
    return path


def test_a_host_whose_dumps_are_fetched_over_sftp(
    server: Sshd,
    dump: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = inventory(server, tmp_path)
    entry = load([place]).host("lab1")
    with dumps_of(entry) as source:
        assert isinstance(source, SftpSource)
        assert [ref.name for ref in source.dumps()] == ["MEMORY.DMP"]
    data = tmp_path / "data"
    arguments = ["fetch", "--host", "lab1", "--inventory", str(place), "--data", str(data)]
    monkeypatch.setattr(sys, "argv", ["lab", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code in (0, None), said.err
    assert hashlib.sha256(CONTENT).hexdigest() in said.out + said.err


def test_a_check_of_such_a_host_lists_its_dumps(server: Sshd, tmp_path: Path) -> None:
    entry = load([inventory(server, tmp_path)]).host("lab1")

    def list_dumps(host: Host) -> None:
        with dumps_of(host) as source:
            source.dumps()

    def looked() -> tuple[bool, str]:
        (check,) = [c for c in check_host(entry, None, None, list_dumps) if c.name == "dumps over sftp"]
        return check.ok, check.detail

    assert looked() == (True, f"{server.folder}/Windows opened as {USER}")
    (server.folder / "Windows" / "Minidump").rmdir()
    (server.folder / "Windows").rmdir()
    ok, detail = looked()
    assert not ok and "Windows does not exist" in detail


def test_sftp_wants_an_ssh_shell(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "hosts:\n  lab1:\n    address: 127.0.0.1\n    machine: {kind: fixed, state: [/bin/true]}\n"
        "    guest: {shell: {kind: psrp, user: lab, password: {env: LAB1}}}\n    dumps: sftp\n"
    )
    with pytest.raises(ConfigurationError, match=r"dumps: sftp needs a guest\.shell of kind ssh"):
        load([path])


def test_the_connection_stays_open_for_several_files(server: Sshd, dump: Path) -> None:
    connection = SshConnection(server.access())
    channel = SftpChannel(connection)
    assert channel.alive and len(server.sessions()) >= 1
    channel.close()
    assert not channel.alive
    connection.close()
