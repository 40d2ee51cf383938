"""Every dialect, signing algorithm and cipher against Samba, which says itself what it sees."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from protections import CMAC, GMAC, HMAC, PROTECTIONS, algorithms, ciphers, use
from smbd import Smbd

from lab.smb.errors import AccessDenied, NotOffered
from lab.smb.messages import Access, Disposition, Option, create_request, parse_create
from lab.smb.ntstatus import STATUS_CANCELLED
from lab.smb.sealing import Cipher
from lab.smb.share import Share, connect
from lab.smb.signing import SigningAlgorithm
from lab.smb.target import DIALECTS, Encryption, Security, Signing
from lab.smb.wire import Command

SAMBA_DIALECTS = dict(zip(DIALECTS, ("SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"), strict=True))
SAMBA_SIGNING = {GMAC: "AES-128-GMAC", CMAC: "AES-128-CMAC", HMAC: "HMAC-SHA256"}
SAMBA_CIPHERS = {cipher: cipher.name.replace("_", "-") for cipher in Cipher}
NOT_KNOWN_TO_SMBSTATUS = "???"  # what smbstatus 4.17 calls the 256-bit ciphers that its smbd speaks


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
