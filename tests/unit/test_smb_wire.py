"""Requests as smbprotocol reads them, answers as smbprotocol builds them, and what is refused."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import connection as their_connection
from smbprotocol import header as their_header
from smbprotocol import open as their_open
from smbprotocol import session as their_session
from smbprotocol import tree as their_tree

from lab.smb import messages, wire
from lab.smb.errors import Malformed
from lab.smb.messages import Access, Disposition, Entry, Option
from lab.smb.wire import Command

FILE = bytes(range(16))


def theirs(structure: Any, body: bytes) -> dict[str, Any]:
    """The values of a request's body by smbprotocol's names."""
    rest = structure.unpack(body)
    assert not rest
    return {name: structure[name].get_value() for name in structure.fields}


def answer(structure: Any, **values: Any) -> bytes:
    """A whole message with a body of smbprotocol's."""
    for name, value in values.items():
        structure[name] = value
    body: bytes = structure.pack()
    return wire.header(Command.READ, message_id=1, flags=1) + body


def test_the_header_is_theirs() -> None:
    mine = wire.header(
        Command.READ, message_id=7, session_id=8, tree_id=9, credits=10, charge=2, flags=8, next_command=128
    )
    seen = theirs(their_header.SMB2HeaderRequest(), mine)
    assert (seen["credit_charge"], seen["credit_request"], seen["command"]) == (2, 10, 8)
    assert (seen["message_id"], seen["tree_id"], seen["session_id"]) == (7, 9, 8)
    assert (seen["flags"], seen["next_command"], seen["signature"]) == (8, 128, bytes(16))
    parsed = wire.parse_header(mine)
    assert (parsed.credit_charge, parsed.credits, parsed.command, parsed.message_id) == (2, 10, 8, 7)
    assert (parsed.tree_id, parsed.session_id, parsed.next_command) == (9, 8, 128)


def test_an_async_id_is_where_process_and_tree_are() -> None:
    raw = bytearray(wire.header(Command.READ, message_id=1, flags=2))
    raw[32:40] = (0x1122334455667788).to_bytes(8, "little")
    assert wire.parse_header(raw).async_id == 0x1122334455667788


@pytest.mark.parametrize(("length", "charge"), [(0, 1), (1, 1), (65536, 1), (65537, 2), (1 << 20, 16)])
def test_credit_charge(length: int, charge: int) -> None:
    assert wire.charge_of(length) == charge


@given(st.lists(st.integers(0, 5).map(lambda n: 64 + 8 * n), min_size=1, max_size=6))
def test_a_compound_falls_into_its_parts(sizes: list[int]) -> None:
    message = b""
    for index, size in enumerate(sizes):
        following = size if index + 1 < len(sizes) else 0
        message += wire.header(Command.READ, message_id=index, next_command=following) + bytes(size - 64)
    found = list(wire.parts(message))
    assert [len(part) for part in found] == sizes
    assert [wire.parse_header(part).message_id for part in found] == list(range(len(sizes)))


@pytest.mark.parametrize("following", [1, 8, 56, 63, 65, 136, 200, 0xFFFF_FFF8])
def test_a_compound_that_does_not_fit_is_refused(following: int) -> None:
    message = wire.header(Command.READ, message_id=1, next_command=following) + bytes(64)
    with pytest.raises(Malformed):
        list(wire.parts(message))


@pytest.mark.parametrize("framing", ["01000040", "00000000", "0000003f", "00010001", "ff534d42"])
def test_a_length_that_cannot_be_is_refused(framing: str) -> None:
    with pytest.raises(Malformed):
        wire.frame_length(bytes.fromhex(framing), 1 << 16)
    assert wire.frame_length(b"\0\1\0\0", 1 << 16) == 1 << 16


def test_read_and_write() -> None:
    seen = theirs(their_open.SMB2ReadRequest(), messages.read_request(FILE, 1 << 40, 4096, unbuffered=True))
    assert (seen["offset"], seen["length"], seen["file_id"], seen["flags"]) == (1 << 40, 4096, FILE, 1)
    assert (seen["padding"], seen["minimum_count"]) == (80, 0)
    seen = theirs(their_open.SMB2WriteRequest(), messages.write_request(FILE, 5, b"abc"))
    assert (seen["offset"], seen["length"], seen["buffer"], seen["file_id"]) == (5, 3, b"abc", FILE)
    got = answer(their_open.SMB2ReadResponse(), data_offset=80, data_length=4, buffer=b"data")
    assert bytes(messages.parse_read(got, 4)) == b"data"
    with pytest.raises(Malformed, match="4 bytes came where 3 were asked for"):
        messages.parse_read(got, 3)
    assert messages.parse_write(answer(their_open.SMB2WriteResponse(), count=77)) == 77


@pytest.mark.parametrize("name", ["", "a", "Minidump\\010126-1.dmp", "grün.bin"])
def test_create(name: str) -> None:
    body = messages.create_request(name, Access.READ, Disposition.OPEN, Option.NO_FOLDER)
    seen = theirs(their_open.SMB2CreateRequest(), body if name else body[:56])
    assert seen["name_length"] == 2 * len(name)
    assert seen["buffer_path"][: 2 * len(name)].decode("utf-16-le") == name
    assert (seen["desired_access"], seen["create_disposition"], seen["create_options"]) == (0x120089, 1, 0x40)
    assert (seen["share_access"], seen["name_offset"], seen["impersonation_level"]) == (7, 120, 2)
    assert len(body) >= 57, "StructureSize says that one byte of the name is always there"


def test_create_with_a_lease() -> None:
    context = messages.lease_context(b"K" * 16)
    body = messages.create_request("a.bin", Access.READ, oplock=0xFF, contexts=context)
    at = struct.unpack_from("<I", body, 48)[0] - 64
    assert at % 8 == 0 and body[at:] == context
    assert struct.unpack_from("<I", body, 52)[0] == len(context) == 56
    assert context[16:20] == b"RqLs" and context[24:40] == b"K" * 16


def test_what_create_answers() -> None:
    opened = their_open.SMB2CreateResponse()
    opened["end_of_file"], opened["file_id"], opened["oplock_level"] = 12345, FILE, 9
    raw = wire.header(Command.CREATE, message_id=1) + opened.pack()
    created = messages.parse_create(raw)
    assert (created.file_id, created.length, created.oplock) == (FILE, 12345, 9)


def test_session_tree_close_and_queries() -> None:
    seen = theirs(their_session.SMB2SessionSetupRequest(), messages.session_setup_request(b"token", 2))
    assert (seen["buffer"], seen["security_mode"]) == (b"token", 2)
    got = answer(their_session.SMB2SessionSetupResponse(), session_flags=1, buffer=b"answer")
    assert messages.parse_session_setup(got) == (1, b"answer")
    path = r"\\srv\Data"
    seen = theirs(their_tree.SMB2TreeConnectRequest(), messages.tree_connect_request(path))
    assert seen["buffer"] == path.encode("utf-16-le")
    got = answer(their_tree.SMB2TreeConnectResponse(), share_type=1, share_flags=0x8000)
    assert messages.parse_tree_connect(got) == (1, 0x8000)
    assert theirs(their_open.SMB2CloseRequest(), messages.close_request(FILE))["file_id"] == FILE
    seen = theirs(their_open.SMB2QueryDirectoryRequest(), messages.query_directory_request(FILE))
    assert seen["buffer"] == "*".encode("utf-16-le") and seen["output_buffer_length"] == 65536
    body = messages.query_info_request(FILE, messages.SYSTEM_INFORMATION, messages.FS_FULL_SIZE)
    seen = theirs(their_open.SMB2QueryInfoRequest(), body[:40])
    assert (seen["info_type"], seen["file_info_class"], seen["file_id"]) == (2, 7, FILE)
    free = struct.pack("<QQQII", 1000, 10, 20, 8, 512)
    assert messages.parse_free_space(answer(their_open.SMB2QueryInfoResponse(), buffer=free)) == 10 * 8 * 512
    seen = theirs(their_tree.SMB2IOCTLRequest(), messages.ioctl_request(0x140204, b"input"))
    assert (seen["ctl_code"], seen["buffer"], seen["flags"]) == (0x140204, b"input", 1)
    assert theirs(their_connection.SMB2Echo(), messages.NOTHING)["structure_size"] == 4


def entry(name: str, length: int, following: int) -> bytes:
    raw = name.encode("utf-16-le")
    head = struct.pack("<IIQQQQQQIII", following, 0, 1, 2, 3, 4, length, 4096, 0x20, len(raw), 0)
    return head + raw


def listing(*parts: bytes) -> bytes:
    return answer(their_open.SMB2QueryDirectoryResponse(), buffer=b"".join(parts))


def test_a_listing() -> None:
    first = entry("a.dmp", 10, 80)
    found = list(
        messages.parse_query_directory(listing(first + bytes(80 - len(first)), entry("b.dmp", 20, 0)))
    )
    assert found == [Entry("a.dmp", 10, 3, 0x20), Entry("b.dmp", 20, 3, 0x20)]


@pytest.mark.parametrize(
    "parts",
    [
        (entry("a", 1, 4), entry("b", 1, 0)),  # into itself
        (entry("a", 1, 4000),),  # behind the end
        (entry("abc", 1, 0)[:-2],),
        (entry("abc", 1, 0)[:30],),
    ],
)
def test_a_listing_that_does_not_fit_is_refused(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(Malformed):
        list(messages.parse_query_directory(listing(*parts)))


@pytest.mark.parametrize(
    "parse",
    [
        messages.parse_session_setup,
        messages.parse_tree_connect,
        messages.parse_create,
        lambda message: messages.parse_read(message, 10),
        messages.parse_write,
        lambda message: list(messages.parse_query_directory(message)),
        messages.parse_free_space,
        messages.parse_ioctl,
        messages.parse_break,
    ],
)
@given(body=st.binary(max_size=200), size=st.sampled_from([4, 9, 16, 17, 24, 44, 49, 60, 89]))
def test_whatever_a_server_says_is_read_within_bounds(parse: Any, body: bytes, size: int) -> None:
    message = wire.header(Command.READ, message_id=1) + struct.pack("<H", size) + body
    for cut in (message, message[: len(message) // 2 + 32], wire.header(Command.READ, message_id=1)):
        with suppress(Malformed):
            parse(cut)


def test_breaks() -> None:
    oplock = wire.header(Command.OPLOCK_BREAK, message_id=wire.UNSOLICITED) + struct.pack(
        "<HBBI16s", 24, 1, 0, 0, FILE
    )
    notice = messages.parse_break(oplock)
    assert notice == (False, FILE, 1, True)
    assert messages.break_acknowledgement(notice) == oplock[64:]
    lease = wire.header(Command.OPLOCK_BREAK, message_id=wire.UNSOLICITED) + struct.pack(
        "<HHI16sIIIII", 44, 1, 1, FILE, 7, 3, 0, 0, 0
    )
    notice = messages.parse_break(lease)
    assert notice == (True, FILE, 3, True)
    assert messages.break_acknowledgement(notice) == struct.pack("<HHI16sIQ", 36, 0, 0, FILE, 3, 0)
