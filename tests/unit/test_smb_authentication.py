"""Tokens of a log-on: what is begun with, and that nothing a server says makes more than an error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import smb_vectors as vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.model import LabError
from lab.smb.authentication import Proof
from lab.smb.errors import Malformed, NotOffered
from lab.smb.target import Authentication, Security, SmbTarget

SECRET = "a very secret password"
MECHANISM = b"\x06\x0a+\x06\x01\x04\x01\x827\x02\x02\x0a"  # NTLM, 1.3.6.1.4.1.311.2.2.10
HINT = vectors.NEGOTIATE_RESPONSE[128 : 128 + 320]
CHALLENGE = vectors.SETUP_CHALLENGE[72 : 72 + 179]
NTLM_CHALLENGE = CHALLENGE[CHALLENGE.index(b"NTLMSSP") :]


@pytest.fixture(scope="module", autouse=True)
def no_realm() -> Iterator[None]:
    """Where Kerberos is installed, it must not look for the machine's own realm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRB5_CONFIG", "/dev/null")
        yield


def proof(
    authentication: Authentication = Authentication.NTLM, host: str = "localhost", user: str = "DOMAIN\\user"
) -> Proof:
    security = Security(authentication=authentication)
    return Proof(SmbTarget(host, 445, user, SECRET, "Data", "Admin", security))


def test_ntlm_goes_without_spnego_whatever_the_server_hints() -> None:
    for hint in (b"", HINT, b"rubbish"):
        assert proof().begin(hint).startswith(b"NTLMSSP\0\1\0\0\0")


def test_negotiate_goes_in_spnego_and_offers_ntlm() -> None:
    token = proof(Authentication.NEGOTIATE).begin(b"")
    assert token[0] == 0x60 and MECHANISM in token


@pytest.mark.parametrize(
    ("host", "user"), [("192.0.2.1", "user@REALM"), ("2001:db8::1", "DOMAIN\\user"), ("localhost", "user")]
)
def test_negotiate_is_ntlm_where_no_ticket_is_to_be_had(host: str, user: str) -> None:
    assert proof(Authentication.NEGOTIATE, host, user).begin(HINT).startswith(b"NTLMSSP\0\1\0\0\0")


def test_what_windows_answers_leads_to_a_proof_and_a_key() -> None:
    ours = proof()
    ours.begin(b"")
    assert not ours.complete
    assert ours.answer(NTLM_CHALLENGE).startswith(b"NTLMSSP\0\3\0\0\0")
    assert ours.complete and len(ours.session_key()) == 16


def test_there_is_no_key_before_the_end() -> None:
    ours = proof()
    ours.begin(b"")
    with pytest.raises(Malformed, match="before it proved who it is"):
        ours.session_key()


@pytest.mark.parametrize("authentication", [Authentication.NTLM, Authentication.NEGOTIATE])
@settings(deadline=None)
@given(data=st.data())
def test_a_damaged_answer_is_an_error_without_a_secret(
    authentication: Authentication, data: st.DataObject
) -> None:
    whole = NTLM_CHALLENGE if authentication is Authentication.NTLM else CHALLENGE
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    ours = proof(authentication)
    ours.begin(b"")
    try:
        ours.answer(bytes(damaged))
    except LabError as error:
        assert SECRET not in error.message and "\n" not in error.message
        assert "SpnegoError" not in error.message and error.help


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda tail: HINT[:40] + tail)))
def test_any_hint_is_taken_or_refused(hint: bytes) -> None:
    try:
        assert proof(Authentication.NEGOTIATE).begin(hint)
    except (Malformed, NotOffered) as error:
        assert SECRET not in error.message


WITHOUT_KERBEROS = """
import sys
sys.modules["gssapi"] = sys.modules["krb5"] = None
from lab.smb.authentication import Proof
from lab.smb.target import Authentication, Security, SmbTarget
try:
    security = Security(authentication=Authentication.KERBEROS)
    Proof(SmbTarget("host", 445, "user", "x", "Data", "Admin", security))
except Exception as error:
    print(type(error).__name__, error.message, error.help, sep="|")
"""


def test_without_the_kerberos_packages_it_says_what_to_install() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT_KERBEROS], capture_output=True, text=True, check=True)
    kind, message, help = ran.stdout.strip().split("|")
    assert kind == "InfrastructureError"
    assert message == "Kerberos is not installed here, and host:445 is to be logged on to by it"
    assert help == "Install it with: pip install 'bugcheck-lab[kerberos]'"
