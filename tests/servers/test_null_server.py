"""The null server is a correct SMB2 server: two clients that are not ours say so."""

from __future__ import annotations

import io
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import smbclient
from impacket.smbconnection import SessionError, SMBConnection
from nullsmb import NullServer
from nullsmb_commands import CANNED
from nullsmb_files import pattern
from nullsmb_wire import HEADER, MAGIC, NEGOTIATE
from smbprotocol.connection import Connection, Dialects
from smbprotocol.exceptions import Cancelled, EndOfFile, FileClosed, LogonFailure
from smbprotocol.open import CreateDisposition, ImpersonationLevel, Open
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

SIZE = 1_000_001
DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
FILE = r"\\127.0.0.1\Data\some.bin"


def serving(**options: Any) -> NullServer:
    return NullServer(**{"files": {"some.bin": SIZE}, "content": "pattern", **options})


@contextmanager
def logged_on(server: NullServer, password: str = "", **options: Any) -> Iterator[dict[str, Any]]:
    """smbclient's arguments for a session of its own."""
    cache: dict[str, Any] = {}
    settings = server.settings
    arguments = {"username": settings.user, "password": password or settings.password, "port": server.port}
    try:
        smbclient.register_session("127.0.0.1", connection_cache=cache, **arguments, **options)
        yield {**arguments, "connection_cache": cache}
    finally:
        smbclient.reset_connection_cache(fail_on_error=False, connection_cache=cache)


@contextmanager
def opened(server: NullServer, dialect: int = Dialects.SMB_3_1_1, *, signing: bool = True) -> Iterator[Open]:
    """some.bin through smbprotocol's lower layer, which can have many requests in flight."""
    connection = Connection(uuid.uuid4(), "127.0.0.1", server.port, require_signing=signing)
    connection.connect(dialect)
    try:
        settings = server.settings
        session = Session(connection, settings.user, settings.password, require_encryption=False)
        session.connect()
        tree = TreeConnect(session, r"\\127.0.0.1\Data")
        tree.connect()
        file = Open(tree, "some.bin")
        file.create(ImpersonationLevel.Impersonation, 0x0012_0089, 0, 7, CreateDisposition.FILE_OPEN, 0x40)
        yield file
    finally:
        connection.disconnect(close=False)


def content(arguments: dict[str, Any], path: str = FILE) -> bytes:
    with smbclient.open_file(path, mode="rb", **arguments) as file:
        return bytes(file.read())


def whole(server: NullServer, **options: Any) -> None:
    with logged_on(server, **options) as arguments:
        assert content(arguments) == pattern("some.bin", 0, SIZE)
    counts = server.counts()
    assert counts["read bytes"] == SIZE
    assert counts["wrong signatures"] == counts["ids never granted"] == counts["wrong charges"] == 0


@pytest.mark.parametrize("dialect", DIALECTS, ids=hex)
def test_smbprotocol_reads_a_file_in_each_dialect(dialect: int) -> None:
    with serving(dialects=[dialect]) as server, logged_on(server) as arguments:
        assert content(arguments) == pattern("some.bin", 0, SIZE)
        (connection,) = arguments["connection_cache"].values()
        assert connection.dialect == dialect
        counts = server.counts()
    assert counts["read bytes"] == SIZE and counts["logons"] == 1 and counts["refused logons"] == 0
    assert counts["signed requests"] >= counts["READ"] > 0


@pytest.mark.parametrize("algorithm", [0, 1, 2], ids=["hmac", "cmac", "gmac"])
def test_each_signing_algorithm(algorithm: int) -> None:
    with serving(signing="required", signing_algorithms=[algorithm]) as server:
        whole(server)
        assert server.counts()["signed requests"] > 0


@pytest.mark.parametrize("cipher", [1, 2, 3, 4], ids=["ccm-128", "gcm-128", "ccm-256", "gcm-256"])
def test_each_cipher(cipher: int) -> None:
    with serving(encryption="session", ciphers=[cipher]) as server:
        whole(server)
        assert server.counts()["signed requests"] == 0  # all that follows the log-on is sealed


def test_a_share_that_asks_for_encryption_and_dialect_3_0() -> None:
    with serving(encryption="share", dialects=[0x0300]) as server:
        whole(server)


@pytest.mark.parametrize("dialect", [0x0202, 0x0210, 0x0300, 0x0311], ids=hex)
def test_impacket_reads_a_file(dialect: int) -> None:
    with serving(max_read=65536) as server:
        client = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=server.port, preferredDialect=dialect)
        client.login(server.settings.user, server.settings.password)
        read = io.BytesIO()
        client.getFile("Data", "some.bin", read.write)
        listed = {each.get_longname(): each.get_filesize() for each in client.listPath("Data", "*")}
        client.close()
        assert read.getvalue() == pattern("some.bin", 0, SIZE)
        assert listed == {".": 0, "..": 0, "some.bin": SIZE}
        assert server.counts()["read bytes"] == SIZE


def test_a_wrong_password_is_refused_to_both() -> None:
    with serving() as server:
        with pytest.raises(LogonFailure), logged_on(server, password="not this"):
            pass
        client = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=server.port, preferredDialect=0x0311)
        with pytest.raises(SessionError, match="LOGON_FAILURE"):
            client.login(server.settings.user, "nor this")
        counts = server.counts()
    assert (counts["refused logons"], counts["logons"], counts["TREE_CONNECT"]) == (2, 0, 0)


def test_files_are_written_listed_and_removed() -> None:
    with serving() as server, logged_on(server) as arguments:
        folder = r"\\127.0.0.1\Data\sub"
        smbclient.mkdir(folder, **arguments)
        names = [f"file {number:03}.bin" for number in range(300)]
        for number, name in enumerate(names):
            with smbclient.open_file(rf"{folder}\{name}", mode="wb", **arguments) as file:
                file.write(b"%d" % number)
        assert sorted(smbclient.listdir(folder, **arguments)) == names
        assert content(arguments, rf"{folder}\{names[7]}") == b"7"
        assert smbclient.stat(rf"{folder}\{names[123]}", **arguments).st_size == 3
        for name in names:
            smbclient.remove(rf"{folder}\{name}", **arguments)
        smbclient.rmdir(folder, **arguments)
        assert smbclient.listdir(r"\\127.0.0.1\Data", **arguments) == ["some.bin"]


@pytest.mark.parametrize("signing", [False, True], ids=["plain", "signed"])
@pytest.mark.parametrize("size", [512, 4096, 65536, 100_000])
def test_reads_by_the_batch_are_as_right_as_one_by_one(size: int, signing: bool) -> None:
    """In 3.0.2: smbprotocol leaves TREE_CONNECT unsigned in 3.1.1 when asked not to sign."""
    with serving(content="canned") as server, opened(server, Dialects.SMB_3_0_2, signing=signing) as file:
        connection, session, tree = file.connection, file.tree_connect.session, file.tree_connect
        while connection.sequence_window["high"] - connection.sequence_window["low"] < 260:
            connection.echo(session.session_id, credit_request=64)
        made = []
        for number in range(100):
            message, take = file.read(number * 64, size, send=False)
            made.append((connection.send(message, session.session_id, tree.tree_connect_id), take))
        assert all(take(request) == CANNED[:size] for request, take in made)
        counts = server.counts()
    assert counts["READ"] == 100 and counts["read bytes"] == 100 * size
    assert 0 < counts["READ by the batch"] < 100
    assert (counts["signed requests"] > 3) == signing


def test_reads_behind_the_end_and_of_closed_files_fail_after_a_batch_was_learned() -> None:
    with serving(content="canned") as server, opened(server) as file:
        for offset in (0, 4096):
            assert file.read(offset, 4096) == CANNED[:4096]
        assert file.read(SIZE - 100, 4096) == CANNED[:100]
        with pytest.raises(EndOfFile):
            file.read(SIZE, 4096)
        late, _ = file.read(0, 4096, send=False)
        file.close()
        connection, tree = file.connection, file.tree_connect
        with pytest.raises(FileClosed):
            connection.receive(connection.send(late, tree.session.session_id, tree.tree_connect_id))
        counts = server.counts()
    assert counts["read bytes"] == 2 * 4096 + 100


def test_a_pending_read_is_cancelled() -> None:
    rules = [{"on": "READ", "do": "interim", "ms": 600_000}]
    with serving(rules=rules) as server, opened(server) as file:
        message, _ = file.read(0, 4096, send=False)
        tree = file.tree_connect
        request = file.connection.send(message, tree.session.session_id, tree.tree_connect_id)
        request.cancel()
        with pytest.raises(Cancelled):
            file.connection.receive(request)


def test_a_message_id_that_was_not_granted_ends_the_connection() -> None:
    with serving() as server, socket.create_connection(("127.0.0.1", server.port), 10) as peer:
        header = HEADER.pack(MAGIC, 64, 0, 0, NEGOTIATE, 1, 0, 0, 5, 0, 0, 0, bytes(16))
        peer.sendall(len(header).to_bytes(4, "big") + header)
        assert peer.recv(1) == b""
        assert server.counts()["ids never granted"] == 1


def test_several_processes_share_one_port_and_one_folder() -> None:
    with serving(processes=2) as server:
        for _ in range(4):
            with logged_on(server) as arguments:
                assert content(arguments) == pattern("some.bin", 0, SIZE)
        counts = server.counts()
    assert (counts["connections"], counts["read bytes"]) == (4, 4 * SIZE)


def test_a_server_that_is_stopped_leaves_nothing_behind() -> None:
    with serving() as server:
        share = server.share
        assert (share / "some.bin").stat().st_size == SIZE
    assert not share.exists()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), 5).close()
