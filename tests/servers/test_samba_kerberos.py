"""Kerberos against a real KDC and Samba: a log-on without a password, and each way it can fail."""

from __future__ import annotations

import random
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kdc as kdc_server
import pytest
from kdc import Kdc
from smbd import PASSWORD, USER, Smbd, missing

from lab.model import CredentialsRefused, InfrastructureError, LabError
from lab.smb.errors import AccessDenied
from lab.smb.sealing import Cipher
from lab.smb.share import Share, connect
from lab.smb.signing import SigningAlgorithm
from lab.smb.target import Authentication, Encryption, Security, SmbTarget

CONTENT = random.Random(5).randbytes(300_000)
PRINCIPAL = f"{USER}@{kdc_server.REALM}"
KERBEROS = Security(authentication=Authentication.KERBEROS)
SETTINGS = """\
realm = {realm}
  kerberos method = dedicated keytab
  dedicated keytab file = FILE:{keytab}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, which is gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="lab-kdc-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def kdc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kdc]:
    """A running KDC that knows Samba's user; this process and what it starts use it and no other."""
    if reason := missing() or kdc_server.missing():
        pytest.skip(reason)
    server = Kdc(folder)
    server.administer(f"addprinc -pw {PASSWORD} {USER}")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def target(kdc: Kdc, smbd: Smbd) -> SmbTarget:
    """Samba, with the service's key; to be logged on to by Kerberos, with a ticket instead of a password."""
    smbd.kill()
    smbd.configure(SETTINGS.format(realm=kdc_server.REALM, keytab=kdc.keytab))
    smbd.start()
    (smbd.data / "read.bin").write_bytes(CONTENT)
    values = {"host": "localhost", "user": PRINCIPAL, "password": "", "security": KERBEROS}
    return smbd.target(**values)


def read(share: Share) -> bytes:
    with share.open("read.bin") as file:
        return file.read_at(0, len(CONTENT))


@pytest.mark.parametrize("authentication", [Authentication.KERBEROS, Authentication.NEGOTIATE])
@pytest.mark.parametrize(
    "protection",
    [
        pytest.param({"dialects": (0x0210,)}, id="2.1"),
        pytest.param({"dialects": (0x0302,)}, id="3.0.2"),
        pytest.param({"dialects": (0x0302,), "encryption": Encryption.REQUIRED}, id="3.0.2 encrypted"),
        *(pytest.param({"signing_algorithms": (each,)}, id=each.name) for each in SigningAlgorithm),
        *(
            pytest.param({"ciphers": (each,), "encryption": Encryption.REQUIRED}, id=each.name)
            for each in Cipher
        ),
    ],
)
def test_a_ticket_is_enough_to_read_signed_and_encrypted(
    kdc: Kdc,
    target: SmbTarget,
    smbd: Smbd,
    authentication: Authentication,
    protection: dict[str, object],
) -> None:
    kdc.log_in(USER, PASSWORD)
    security = Security(authentication=authentication, **protection)  # type: ignore[arg-type]
    with connect(target, "Data", security=security) as share:
        assert share.session.signer is not None or share.session.sealer is not None
        assert read(share) == CONTENT
        (session,) = smbd.status()["sessions"].values()
        assert session["username"] == USER
    assert kdc.tickets_issued() == 1
    assert smbd.no_connections_left()


@pytest.mark.parametrize("user", [PRINCIPAL, USER])
def test_a_password_is_enough_to_get_a_ticket(kdc: Kdc, target: SmbTarget, smbd: Smbd, user: str) -> None:
    wanted = smbd.target(host="localhost", user=user, security=KERBEROS)
    with connect(wanted, "Data") as share:
        assert read(share) == CONTENT
    assert kdc.tickets_issued() == 1


def test_where_no_ticket_can_be_had_negotiate_takes_ntlm(kdc: Kdc, target: SmbTarget, smbd: Smbd) -> None:
    domain_user = rf"{socket.gethostname()}\{USER}"
    kdc.stop()
    for host, user in (("localhost", domain_user), ("localhost", USER), ("127.0.0.1", domain_user)):
        with connect(smbd.target(host=host, user=user), "Data") as share:
            assert read(share) == CONTENT
    assert kdc.tickets_issued() == 0


def refused(kind: type[LabError], target: SmbTarget, says: str) -> None:
    """One plain sentence of the right kind, with what to do and without a secret or a library's codes."""
    with pytest.raises(kind, match=says) as caught:
        connect(target, "Data")
    message = caught.value.message
    assert type(caught.value) is kind and caught.value.help
    assert "\n" not in message and PASSWORD not in message
    assert not re.search(r"Major|Minor|Error|\d{6}", message)


def test_no_ticket_and_no_password(kdc: Kdc, target: SmbTarget) -> None:
    refused(CredentialsRefused, target, "there is neither a Kerberos ticket nor a password")


def test_a_wrong_password(kdc: Kdc, target: SmbTarget, smbd: Smbd) -> None:
    wrong = smbd.target(host="localhost", user=PRINCIPAL, password="wrong", security=KERBEROS)
    refused(CredentialsRefused, wrong, "the password is wrong")


def test_a_user_that_the_realm_does_not_know(kdc: Kdc, target: SmbTarget, smbd: Smbd) -> None:
    nobody = smbd.target(host="localhost", user=f"nobody@{kdc_server.REALM}", security=KERBEROS)
    refused(CredentialsRefused, nobody, "not found in Kerberos database")


def test_a_user_that_samba_does_not_know(kdc: Kdc, target: SmbTarget, smbd: Smbd) -> None:
    kdc.administer(f"addprinc -pw {PASSWORD} stranger")
    stranger = smbd.target(host="localhost", user=f"stranger@{kdc_server.REALM}", security=KERBEROS)
    refused(AccessDenied, stranger, "access denied for user 'stranger@LAB.TEST' to the log-on")


def test_a_server_that_the_realm_does_not_know(kdc: Kdc, target: SmbTarget, smbd: Smbd) -> None:
    by_address = smbd.target(user=PRINCIPAL, security=KERBEROS)
    refused(CredentialsRefused, by_address, "cifs/127.0.0.1@LAB.TEST not found in Kerberos database")


def test_a_server_without_the_key_of_its_name(kdc: Kdc, target: SmbTarget) -> None:
    kdc.administer(f"cpw -randkey {kdc_server.SERVICE}")  # Samba's keytab still has the key before
    kdc.log_in(USER, PASSWORD)
    refused(CredentialsRefused, target, "credentials refused for user 'daemon@LAB.TEST'")


def test_a_kdc_that_is_down(kdc: Kdc, target: SmbTarget, smbd: Smbd) -> None:
    kdc.stop()
    refused(
        InfrastructureError,
        smbd.target(host="localhost", user=PRINCIPAL, security=KERBEROS),
        "no Kerberos ticket for 'daemon@LAB.TEST' at localhost:.*: Cannot contact any KDC",
    )
