"""Every dialect, signing algorithm and cipher against Samba, and what someone in the middle can do."""

from __future__ import annotations

import random
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from meddler import Change, Meddler
from smbd import Smbd, missing

from lab.model import LabError
from lab.smb.errors import AccessDenied, Malformed, NotOffered, Unreachable
from lab.smb.messages import Access, Disposition, Option, create_request, parse_create
from lab.smb.ntstatus import STATUS_CANCELLED, STATUS_PENDING
from lab.smb.sealing import BadSeal, Cipher
from lab.smb.share import Share, connect
from lab.smb.signing import SigningAlgorithm
from lab.smb.target import DIALECTS, Encryption, Security, Signing
from lab.smb.wire import Command, Flags

CONTENT = random.Random(4).randbytes(200_000)
MARK = CONTENT[1000:1064]
PENDING = STATUS_PENDING.to_bytes(4, "little")  # an interim answer, which is never signed (MS-SMB2 3.3.4.2)
GMAC, CMAC, HMAC = SigningAlgorithm.AES_GMAC, SigningAlgorithm.AES_CMAC, SigningAlgorithm.HMAC_SHA256

SAMBA_DIALECTS = dict(zip(DIALECTS, ("SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"), strict=True))
SAMBA_SIGNING = {GMAC: "AES-128-GMAC", CMAC: "AES-128-CMAC", HMAC: "HMAC-SHA256"}
SAMBA_CIPHERS = {cipher: cipher.name.replace("_", "-") for cipher in Cipher}
NOT_KNOWN_TO_SMBSTATUS = "???"  # what smbstatus 4.17 calls the 256-bit ciphers that its smbd speaks


def algorithms(dialect: int) -> list[SigningAlgorithm]:
    if dialect == 0x0311:
        return [GMAC, CMAC, HMAC]
    return [CMAC] if dialect >= 0x0300 else [HMAC]


def ciphers(dialect: int) -> list[Cipher]:
    if dialect == 0x0311:
        return list(Cipher)
    return [Cipher.AES_128_CCM] if dialect >= 0x0300 else []


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Smbd]]:
    """A running smbd for each set of global settings, started when it is first asked for."""
    if reason := missing():
        pytest.skip(reason)
    running: dict[str, Smbd] = {}
    with ExitStack() as ends:

        def server(extra: str) -> Smbd:
            if extra not in running:
                folder = Path(tempfile.mkdtemp(prefix="lab-smbd-"))
                ends.callback(shutil.rmtree, folder, ignore_errors=True)
                each = Smbd(folder)
                ends.callback(each.kill)
                each.configure(extra)
                each.start()
                running[extra] = each
            return running[extra]

        yield server


def use(share: Share, name: str) -> None:
    """Create, write, list, read back and remove a file."""
    with share.create(name) as file:
        file.write_at(0, CONTENT)
    assert name in [each.name for each in share.list()]
    with share.open(name) as file:
        assert file.length == len(CONTENT)
        assert file.read_at(0, len(CONTENT)) == CONTENT
        assert file.read_at(1000, 64) == MARK
    share.remove(name)


def protection(smbd: Smbd) -> tuple[str, dict[str, Any]]:
    """Samba's own account of the only connection: its dialect, and how its share is protected."""
    told = smbd.status()
    (session,), (tree,) = told["sessions"].values(), told["tcons"].values()
    return session["session_dialect"], tree


def expect(
    share: Share, smbd: Smbd, dialect: int, signed: SigningAlgorithm | None, sealed: Cipher | None
) -> None:
    """Files can be used, and both ends agree on how messages are protected."""
    use(share, "used.bin")
    samba_dialect, tree = protection(smbd)
    assert share.connection.dialect == dialect and samba_dialect == SAMBA_DIALECTS[dialect]
    name = SAMBA_CIPHERS[sealed] if sealed else "-"
    names = {name, NOT_KNOWN_TO_SMBSTATUS} if sealed and sealed.key_size == 32 else {name}
    assert tree["encryption"]["degree"] == ("full" if sealed else "none")
    assert tree["encryption"]["cipher"] in names
    assert (share.session.sealer is not None) == (sealed is not None)
    if sealed:
        assert share.session.sealer is not None and share.session.sealer.cipher is sealed
        return  # an encrypted message is not signed
    signing = ("full", SAMBA_SIGNING[signed]) if signed is not None else ("none", "-")
    assert (tree["signing"]["degree"], tree["signing"]["cipher"]) == signing
    assert (share.session.signer.algorithm if share.session.signer else None) is signed


SIGNED = [
    pytest.param(dialect, algorithm, server, client, id=f"{dialect:#06x}-{algorithm.name}-{name}")
    for dialect in DIALECTS
    for algorithm in algorithms(dialect)
    for server, client, name in (
        ("server signing = mandatory", Signing.IF_ASKED, "server insists"),
        ("", Signing.REQUIRED, "client insists"),
    )
]


@pytest.mark.parametrize(("dialect", "algorithm", "server", "client"), SIGNED)
def test_signed(
    servers: Callable[[str], Smbd], dialect: int, algorithm: SigningAlgorithm, server: str, client: Signing
) -> None:
    smbd = servers(server)
    security = Security(dialects=(dialect,), signing=client, signing_algorithms=(algorithm,))
    with connect(smbd.target(security=security), "Data") as share:
        expect(share, smbd, dialect, algorithm, None)
    assert smbd.no_connections_left()


@pytest.mark.parametrize("dialect", DIALECTS, ids=hex)
def test_unsigned_when_nobody_insists(servers: Callable[[str], Smbd], dialect: int) -> None:
    smbd = servers("")
    with connect(
        smbd.target(security=Security(dialects=(dialect,), signing=Signing.IF_ASKED)), "Data"
    ) as share:
        expect(share, smbd, dialect, None, None)
    assert smbd.no_connections_left()


SEALED = [
    pytest.param(dialect, cipher, server, client, id=f"{dialect:#06x}-{cipher.name}-{name}")
    for dialect in DIALECTS
    for cipher in ciphers(dialect)
    for server, client, name in (
        ("smb encrypt = required", Encryption.IF_ASKED, "server insists"),
        ("smb encrypt = desired", Encryption.IF_ASKED, "server asks"),
        ("", Encryption.REQUIRED, "client insists"),
    )
]


@pytest.mark.parametrize(("dialect", "cipher", "server", "client"), SEALED)
@pytest.mark.parametrize("signing", Signing)
def test_encrypted(
    servers: Callable[[str], Smbd],
    dialect: int,
    cipher: Cipher,
    server: str,
    client: Encryption,
    signing: Signing,
) -> None:
    smbd = servers(server)
    security = Security(dialects=(dialect,), encryption=client, ciphers=(cipher,), signing=signing)
    with connect(smbd.target(security=security), "Data") as share:
        expect(share, smbd, dialect, None, cipher)
    assert smbd.no_connections_left()


@pytest.mark.parametrize("dialect", DIALECTS, ids=hex)
def test_encryption_that_only_the_server_wishes_for_can_be_off(
    servers: Callable[[str], Smbd], dialect: int
) -> None:
    smbd = servers("smb encrypt = desired")
    security = Security(dialects=(dialect,), encryption=Encryption.OFF)
    with connect(smbd.target(security=security), "Data") as share:
        expect(share, smbd, dialect, algorithms(dialect)[0], None)


@pytest.mark.parametrize("dialect", DIALECTS, ids=hex)
def test_encryption_that_cannot_be_had_is_an_error_on_either_side(
    servers: Callable[[str], Smbd], dialect: int
) -> None:
    demanding = servers("smb encrypt = required")
    with pytest.raises(AccessDenied, match="requires encryption"):
        connect(demanding.target(security=Security(dialects=(dialect,), encryption=Encryption.OFF)), "Data")
    unable = servers("smb encrypt = off")
    security = Security(dialects=(dialect,), encryption=Encryption.REQUIRED)
    with pytest.raises(NotOffered, match="does not offer encryption"):
        connect(unable.target(security=security), "Data")
    assert demanding.no_connections_left() and unable.no_connections_left()


def test_left_to_itself_it_takes_the_best(servers: Callable[[str], Smbd]) -> None:
    with connect(servers("").target(), "Data") as share:
        expect(share, servers(""), 0x0311, GMAC, None)
    with connect(servers("smb encrypt = desired").target(), "Data") as share:
        expect(share, servers("smb encrypt = desired"), 0x0311, None, Cipher.AES_128_GCM)


@pytest.mark.parametrize(
    ("best", "signing", "sealing"),
    [("HMAC-SHA256", HMAC, "AES-256-CCM"), ("AES-128-CMAC", CMAC, "AES-128-CCM")],
)
def test_it_follows_what_the_server_has(
    servers: Callable[[str], Smbd], best: str, signing: SigningAlgorithm, sealing: str
) -> None:
    smbd = servers(
        f"server smb3 signing algorithms = {best}\n  server smb3 encryption algorithms = {sealing}"
    )
    with connect(smbd.target(), "Data") as share:
        expect(share, smbd, 0x0311, signing, None)
    with connect(smbd.target(security=Security(encryption=Encryption.REQUIRED)), "Data") as share:
        expect(share, smbd, 0x0311, None, Cipher[sealing.replace("-", "_")])


PROTECTIONS = [
    *(
        pytest.param(
            Security(dialects=(dialect,), signing_algorithms=(each,)), id=f"{dialect:#06x}-{each.name}"
        )
        for dialect in DIALECTS
        for each in algorithms(dialect)
    ),
    *(
        pytest.param(
            Security(dialects=(dialect,), encryption=Encryption.REQUIRED, ciphers=(each,)),
            id=f"{dialect:#06x}-{each.name}",
        )
        for dialect in DIALECTS
        for each in ciphers(dialect)
    ),
]


@pytest.mark.parametrize("security", PROTECTIONS)
def test_a_cancel_is_protected_as_everything_else(servers: Callable[[str], Smbd], security: Security) -> None:
    smbd = servers("")
    with connect(smbd.target(security=security), "Data") as share:
        connection, session = share.connection, share.session
        opened = parse_create(
            share.exchange(
                Command.CREATE,
                create_request("", Access.LIST, Disposition.OPEN, Option.FOLDER),
                "the root",
            ).message
        )
        body = struct.pack("<HHI16sII", 32, 0, 4096, opened.file_id, 0x17, 0)  # CHANGE_NOTIFY, 2.2.35
        number = connection.submit(Command.CHANGE_NOTIFY, body, session=session, tree_id=share.tree_id)
        assert share.list() == ()  # answered before: nothing changes, the request stays
        connection.cancel(number, session, share.tree_id)
        assert connection.wait(number).status == STATUS_CANCELLED
        assert share.list() == ()


# --- what is on the wire ------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", [Encryption.OFF, Encryption.REQUIRED])
@pytest.mark.parametrize("dialect", [0x0302, 0x0311], ids=hex)
def test_what_someone_on_the_way_can_read(
    servers: Callable[[str], Smbd], dialect: int, encryption: Encryption
) -> None:
    smbd = servers("")
    security = Security(dialects=(dialect,), encryption=encryption)
    with Meddler(smbd.port) as between:
        with connect(smbd.target(port=between.port, security=security), "Data") as share:
            use(share, "watched.bin")
        after_log_on = between.seen[6:]  # negotiate and two rounds of session setup, with their answers
    assert len(after_log_on) > 20
    if encryption is Encryption.REQUIRED:
        assert {message[:4] for _, message in after_log_on} == {b"\xfdSMB"}
        assert not any(MARK in message for _, message in after_log_on)
    else:
        final = [message for _, message in after_log_on if message[8:12] != PENDING]
        assert all(message[16] & Flags.SIGNED and any(message[48:64]) for message in final)
        assert any(MARK in message for _, message in after_log_on)


# --- someone in the middle: the negotiation -----------------------------------------------------------


def command_of(message: bytes | bytearray) -> int:
    return int(struct.unpack_from("<H", message, 12)[0]) if message[:4] == b"\xfeSMB" else -1


def in_negotiate_request(change: Callable[[bytearray], None]) -> Change:
    def changed(message: bytearray, to_server: bool) -> list[bytes | bytearray]:
        if to_server and command_of(message) == Command.NEGOTIATE:
            change(message)
        return [message]

    return changed


def in_negotiate_answer(change: Callable[[bytearray], None]) -> Change:
    def changed(message: bytearray, to_server: bool) -> list[bytes | bytearray]:
        if not to_server and command_of(message) == Command.NEGOTIATE:
            change(message)
        return [message]

    return changed


def dialects_down_to(most: int) -> Callable[[bytearray], None]:
    """Each dialect above `most` is written over with `most`."""

    def change(message: bytearray) -> None:
        (count,) = struct.unpack_from("<H", message, 66)
        for at in range(100, 100 + 2 * count, 2):
            (dialect,) = struct.unpack_from("<H", message, at)
            struct.pack_into("<H", message, at, min(dialect, most))

    return change


def rename_context(kind: int) -> Callable[[bytearray], None]:
    """A negotiate context of the request gets a number that no server knows: as if it were not there."""

    def change(message: bytearray) -> None:
        at, count = struct.unpack_from("<IH", message, 92)
        for _ in range(count):
            found, length = struct.unpack_from("<HH", message, at)
            if found == kind:
                struct.pack_into("<H", message, at, 0x7777)
            at += 8 + length + -length % 8

    return change


def clear(at: int, bit: int) -> Callable[[bytearray], None]:
    def change(message: bytearray) -> None:
        assert message[at] & bit, "the bit to be taken away is not there"
        message[at] &= ~bit

    return change


ANSWERED_MODE, ANSWERED_CAPABILITIES = 66, 88

NOT_WHAT_WAS_OFFERED = "asked to confirm the negotiation"
NOT_WHAT_WAS_ANSWERED = "was changed on its way"
NOT_SIGNED_WITH_THE_KEY = "did not prove that it knows the session's key"


@pytest.mark.parametrize("signing", Signing)
@pytest.mark.parametrize(
    ("dialects", "change", "error", "says"),
    [
        pytest.param(
            DIALECTS,
            in_negotiate_request(dialects_down_to(0x0302)),
            Unreachable,
            NOT_WHAT_WAS_OFFERED,
            id="3.1.1 taken from the request",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_request(dialects_down_to(0x0210)),
            Unreachable,
            NOT_WHAT_WAS_OFFERED,
            id="all of 3.x taken from the request",
        ),
        pytest.param(
            (0x0202, 0x0300),
            in_negotiate_request(dialects_down_to(0x0202)),
            Unreachable,
            NOT_WHAT_WAS_OFFERED,
            id="down to 2.0.2",
        ),
        pytest.param(
            (0x0300, 0x0302),
            in_negotiate_answer(clear(ANSWERED_CAPABILITIES, 0x40)),
            Malformed,
            NOT_WHAT_WAS_ANSWERED,
            id="3.0.2, encryption taken from the answer",
        ),
        pytest.param(
            (0x0300, 0x0302),
            in_negotiate_answer(clear(ANSWERED_MODE, 0x02)),
            Malformed,
            NOT_WHAT_WAS_ANSWERED,
            id="3.0.2, the need to sign taken from the answer",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_answer(clear(ANSWERED_MODE, 0x02)),
            Malformed,
            NOT_SIGNED_WITH_THE_KEY,
            id="3.1.1, the need to sign taken from the answer",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_request(rename_context(8)),
            Malformed,
            NOT_SIGNED_WITH_THE_KEY,
            id="3.1.1, signing algorithms taken from the request",
        ),
        pytest.param(
            DIALECTS,
            in_negotiate_request(rename_context(2)),
            Malformed,
            NOT_SIGNED_WITH_THE_KEY,
            id="3.1.1, ciphers taken from the request",
        ),
    ],
)
def test_a_negotiation_that_was_changed_on_its_way(
    servers: Callable[[str], Smbd],
    dialects: tuple[int, ...],
    change: Change,
    error: type[LabError],
    says: str,
    signing: Signing,
) -> None:
    smbd = servers("server signing = mandatory")
    security = Security(dialects=dialects, signing=signing)
    with Meddler(smbd.port, change) as between, pytest.raises(error, match=says):
        connect(smbd.target(port=between.port, security=security), "Data")
    with Meddler(smbd.port) as between:  # the same through someone who changes nothing
        connect(smbd.target(port=between.port, security=security), "Data").close()


# --- someone in the middle: answers -------------------------------------------------------------------


def read_answers(change: Callable[[bytearray], list[bytes | bytearray]]) -> Change:
    """Changes the answers to READs of 64 bytes, encrypted or not."""

    def changed(message: bytearray, to_server: bool) -> list[bytes | bytearray]:
        long = len(message) - (52 if message[:4] == b"\xfdSMB" else 0) == 64 + 16 + 64
        return change(message) if long and not to_server else [message]

    return changed


def flipped(at: int) -> Callable[[bytearray], list[bytes | bytearray]]:
    def change(message: bytearray) -> list[bytes | bytearray]:
        message[at] ^= 1
        return [message]

    return change


def stripped(message: bytearray) -> list[bytes | bytearray]:
    message[16] &= ~Flags.SIGNED
    message[48:64] = bytes(16)
    return [message]


def another_session(message: bytearray) -> list[bytes | bytearray]:
    message[44] ^= 1
    return [message]


def read_through(smbd: Smbd, security: Security, change: Change) -> bytes:
    (smbd.data / "small.bin").write_bytes(MARK)
    with Meddler(smbd.port, change) as between:
        share = connect(smbd.target(port=between.port, security=security), "Data")
        with share, share.open("small.bin") as file:
            return file.read_at(0, 64)


@pytest.mark.parametrize("security", PROTECTIONS)
@pytest.mark.parametrize("at", [-1, -64, None], ids=["last byte", "first byte", "signature"])
def test_a_changed_answer_is_never_accepted(
    servers: Callable[[str], Smbd], security: Security, at: int | None
) -> None:
    smbd = servers("")
    sealed = security.encryption is Encryption.REQUIRED
    at = at or (10 if sealed else 50)
    with pytest.raises(BadSeal if sealed else Malformed, match="encrypted answer" if sealed else "signature"):
        read_through(smbd, security, read_answers(flipped(at)))
    assert read_through(smbd, security, read_answers(lambda message: [message])) == MARK


@pytest.mark.parametrize("dialect", DIALECTS, ids=hex)
def test_an_answer_without_its_signature_is_never_accepted(
    servers: Callable[[str], Smbd], dialect: int
) -> None:
    with pytest.raises(Malformed, match="unsigned answer"):
        read_through(servers(""), Security(dialects=(dialect,)), read_answers(stripped))


@pytest.mark.parametrize("encryption", [Encryption.OFF, Encryption.REQUIRED])
def test_an_answer_that_comes_twice_is_never_accepted(
    servers: Callable[[str], Smbd], encryption: Encryption
) -> None:
    smbd = servers("")
    (smbd.data / "small.bin").write_bytes(MARK)
    with Meddler(smbd.port, read_answers(lambda message: [message, message])) as between:
        target = smbd.target(port=between.port, security=Security(encryption=encryption))
        with connect(target, "Data") as share, share.open("small.bin") as file:
            with pytest.raises(Malformed, match="request that was not made"):
                for _ in range(2):
                    file.read_at(0, 64)
            assert not share.alive


def test_an_encrypted_answer_of_another_session_is_never_accepted(servers: Callable[[str], Smbd]) -> None:
    with pytest.raises(Malformed, match="a session that is not ours"):
        read_through(servers(""), Security(encryption=Encryption.REQUIRED), read_answers(another_session))
