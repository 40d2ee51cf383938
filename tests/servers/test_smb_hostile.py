"""Whatever a server answers, a client ends with the right bytes or a clear error, soon, in little memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from nullsmb import NullServer
from nullsmb_files import pattern
from nullsmb_modes import FOLDERS, LOGGING_ON, MODES, NEGOTIATING, OPENING, READING_BADLY, READING_ODDLY

import lab.smb.share
from lab.model import CredentialsRefused, InfrastructureError, LabError
from lab.smb.errors import AccessDenied, Malformed, NotOffered, Unreachable
from lab.smb.share import Share, connect
from lab.smb.target import Encryption, Security, Signing, SmbTarget

SIZE = 5_300_000
"""Bytes of the file: six READs of up to 1 MiB, four of them in flight; most modes strike at the third."""
SILENCE = 0.5
"""Seconds that the client is given for one answer where none will come."""
PATIENCE = 20.0
"""Seconds that the client is given where an answer will come, and that no mode may take longer than."""
MEMORY = 64 << 20
"""Bytes that the client may hold at any time."""

SIGNED = Security()
PLAIN = Security(signing=Signing.IF_ASKED)
SEALED = Security(encryption=Encryption.REQUIRED)
ROADS = {"signed": SIGNED, "plain": PLAIN, "sealed": SEALED}

SILENT = {
    *("negotiate: no answer", "negotiate: pending", "log-on: no answer", "tree: no answer"),
    *("read: no answer", "read: silence", "read: window closed", "read: interim for ever"),
    *("read: torn, silence", "read: two framing bytes"),
    *("read: nothing but breaks", "read: a byte at a time"),
}
UNREACHABLE = {
    *SILENT,
    *("negotiate: closed", "negotiate: reset", "log-on: closed", "log-on: another session"),
    *("read: closed", "read: reset", "read: torn, close", "read: torn, reset", "read: session deleted"),
}
OTHERS: dict[str, tuple[type[LabError], ...]] = {
    "negotiate: no common dialect": (NotOffered,),
    "log-on: token of noise": (Malformed, CredentialsRefused),
    "log-on: no session": (Malformed, CredentialsRefused),
    "log-on: guest": (CredentialsRefused,),
    "log-on: null session": (CredentialsRefused,),
    "log-on: unsigned guest": (CredentialsRefused,),
    "tree: refused": (AccessDenied,),
    "read: an error": (InfrastructureError,),
    "read: warning with data": (InfrastructureError,),
    "read: pending without a promise": (InfrastructureError, Unreachable),
}
HARMLESS = {"read: no credits", "read: another session", "read: another tree", "create: another session"}
"""Wrong in a field that a client of one session and one tree has no need of; or just slow."""
UNHEEDED = {"negotiate: token of noise", "log-on: end of token of noise", "log-on: last token of noise"}
"""Noise in what NTLM may do without. The server's signature still proves that it knows the password."""
UNPROTECTED = {"read: wrong signature", "read: unsigned", "read: bit flipped"}
"""Found out where messages are signed. An encrypted one has no signature; its seal finds flipped bits."""


@pytest.fixture(scope="module")
def server() -> Iterator[NullServer]:
    with NullServer(files={"some.bin": SIZE}, content="pattern") as running:
        yield running


@pytest.fixture(autouse=True)
def frugal(server: NullServer) -> Iterator[None]:
    """Within the limits of time and memory, and the server lives."""
    tracemalloc.start()
    started = time.monotonic()
    yield
    took, (_, most) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < PATIENCE and most < MEMORY
    server.counts()


def connected(server: NullServer, mode: str, security: Security = SIGNED, **settings: object) -> Share:
    server.behave(mode, **settings)
    target = SmbTarget(
        "127.0.0.1", server.port, server.settings.user, server.settings.password, "Data", "Admin", security
    )
    setting_up = mode in NEGOTIATING or mode in LOGGING_ON
    share = connect(target, "Data", seconds=SILENCE if setting_up and mode in SILENT else PATIENCE)
    share.seconds = SILENCE if mode in SILENT else PATIENCE
    return share


def content(share: Share) -> bytes:
    with share, share.open("some.bin") as file:
        return file.read_at(0, SIZE)


def expected(mode: str) -> tuple[type[LabError], ...]:
    return (Unreachable,) if mode in UNREACHABLE else OTHERS.get(mode, (Malformed,))


def check(error: LabError, mode: str) -> None:
    assert isinstance(error, expected(mode))
    assert error.help and len(error.message) < 400 and "\n" not in error.message
    assert "Null-Test-1" not in f"{error} {error!r}"


def test_each_mode_is_known_here() -> None:
    named = SILENT | UNREACHABLE | set(OTHERS) | HARMLESS | UNPROTECTED | UNHEEDED
    assert named <= set(MODES)


@pytest.mark.parametrize("mode", [*NEGOTIATING, *LOGGING_ON])
def test_no_share_comes_of_a_bad_beginning(server: NullServer, mode: str) -> None:
    if mode in UNHEEDED:
        with suppress(InfrastructureError):
            assert content(connected(server, mode)) == pattern("some.bin", 0, SIZE)
        return
    with pytest.raises(LabError) as raised:
        connected(server, mode)
    check(raised.value, mode)


@pytest.mark.parametrize("mode", FOLDERS)
def test_a_folder_that_is_none(server: NullServer, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.smb.share, "MOST_ENTRIES", 5_000)
    with connected(server, mode) as share:
        with pytest.raises(Malformed) as raised:
            share.list()
        check(raised.value, mode)


@pytest.mark.parametrize("mode", OPENING)
def test_a_file_that_cannot_be_what_it_is_said_to_be(server: NullServer, mode: str) -> None:
    share = connected(server, mode)
    if mode in HARMLESS:
        assert content(share) == pattern("some.bin", 0, SIZE)
        return
    with share, pytest.raises(Malformed) as raised:
        share.open("some.bin")
    check(raised.value, mode)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("mode", READING_BADLY)
def test_wrong_bytes_are_never_taken_for_the_file(server: NullServer, mode: str, road: str) -> None:
    share = connected(server, mode, ROADS[road])
    noticed = mode not in UNPROTECTED or road == "signed" or (road == "sealed" and "flipped" in mode)
    if mode in HARMLESS or not noticed:
        assert (content(share) == pattern("some.bin", 0, SIZE)) == ("flipped" not in mode)
        return
    with pytest.raises(LabError) as raised:
        content(share)
    check(raised.value, mode)
    assert not share.alive


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("mode", READING_ODDLY)
def test_what_is_odd_but_allowed_gives_the_right_bytes(server: NullServer, mode: str, road: str) -> None:
    before = server.counts()
    assert content(connected(server, mode, ROADS[road])) == pattern("some.bin", 0, SIZE)
    counts = server.counts() - before
    assert counts["read bytes"] >= SIZE and counts["READ"] >= 6
    assert counts["ids never granted"] == counts["wrong signatures"] == counts["wrong charges"] == 0


@pytest.mark.parametrize("credits", [1, 2, 7])
def test_a_server_of_few_credits_is_only_slow(server: NullServer, credits: int) -> None:
    share = connected(server, "odd: interim", max_credits=credits)
    server.behave(max_credits=8192)
    before = server.counts()
    assert content(share) == pattern("some.bin", 0, SIZE)
    counts = server.counts() - before
    assert counts["read bytes"] == SIZE and counts["ids never granted"] == 0


def test_encryption_that_the_server_asks_for_and_did_not_agree_on(server: NullServer) -> None:
    flags = {"on": "SESSION_SETUP", "number": 2, "do": "patch", "at": 2, "value": 4, "format": "<H"}
    server.behave(rules=[flags], encryption="off")
    target = SmbTarget("127.0.0.1", server.port, "tester", "Null-Test-1", "Data", "Admin")
    with pytest.raises(NotOffered):
        connect(target, "Data", seconds=PATIENCE)
    server.behave(rules=[{"on": "TREE_CONNECT", "do": "patch", "at": 4, "value": 0x8000}])
    with pytest.raises(NotOffered):
        connect(target, "Data", seconds=PATIENCE)
    server.behave(encryption="offered")


def test_a_server_that_does_not_answer_the_farewell(server: NullServer) -> None:
    silence = [{"on": name, "do": "unanswered"} for name in ("CLOSE", "TREE_DISCONNECT", "LOGOFF")]
    server.behave(rules=silence)
    target = SmbTarget("127.0.0.1", server.port, "tester", "Null-Test-1", "Data", "Admin")
    share = connect(target, "Data", seconds=PATIENCE)
    share.seconds = SILENCE
    file = share.open("some.bin")
    file.close()
    with pytest.raises(Unreachable, match="has not answered in time"):  # not: bad file descriptor
        share.stat("some.bin")
    share.close()
    assert not share.alive


def test_a_server_that_reads_no_more_while_it_is_written_to(server: NullServer) -> None:
    server.behave(rules=[{"on": "WRITE", "do": "end", "how": "deaf"}])
    target = SmbTarget("127.0.0.1", server.port, "tester", "Null-Test-1", "Data", "Admin")
    with connect(target, "Data", seconds=PATIENCE) as share, share.create("new.bin") as file:
        share.seconds = SILENCE
        with pytest.raises(Unreachable):
            file.write_at(0, bytes(16 << 20))
        assert not share.alive
