"""WinRM without TLS: nobody on the way can read what is said, and what he says is not believed."""

from __future__ import annotations

from typing import Any

import pytest
import test_psrp_contract
from pydantic import ValidationError
from shell_contract import said, wait_for
from tcp_relay import Relay

from lab.inventory import PsrpShell
from lab.inventory.secrets import Secret
from lab.model import InfrastructureError
from lab.windows.psrp import UNKNOWN_SHELL

guests = test_psrp_contract.guests

ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
DETAIL = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"


def answer(status: str, kind: str, body: str) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", body)).encode()


DONE = f'<s:Envelope xmlns:s="{ENVELOPE}"><s:Body/></s:Envelope>'
FORGOTTEN = (
    f'<s:Envelope xmlns:s="{ENVELOPE}"><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code>'
    '<s:Reason><s:Text xml:lang="en-US">no such shell</s:Text></s:Reason><s:Detail>'
    f'<f:WSManFault xmlns:f="{DETAIL}" Code="{UNKNOWN_SHELL}" Machine="x"/></s:Detail></s:Fault></s:Body>'
    "</s:Envelope>"
)


@pytest.mark.parametrize("auth", ["ntlm", "negotiate"])
def test_nothing_of_a_script_can_be_read(guests: Any, auth: str) -> None:
    guest = guests(auth=auth)
    with Relay(guest.server.port) as relay:
        shell = guest.shell()
        shell._port = relay.port
        assert shell.run(said("echo"), Word="open sesame") == [{"Word": "open sesame"}]
        shell.close()
    sent = bytes(relay.to_server)
    assert b"multipart/encrypted" in sent and b"HTTP-SPNEGO-session-encrypted" in sent
    for word in (b"sesame", b"Envelope", b"RunspacePool", test_psrp_contract.PASSWORD.encode()):
        assert word not in sent


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        ("200 OK", "application/soap+xml;charset=UTF-8", DONE),
        ("200 OK", "text/xml", DONE),
        ("500 Internal Server Error", "application/soap+xml;charset=UTF-8", FORGOTTEN),
    ],
)
def test_an_answer_that_is_not_sealed_is_not_believed(guests: Any, status: str, kind: str, body: str) -> None:
    """The last one would say that nothing was run: believed, the script would be run a second time."""
    guest = guests()
    with Relay(guest.server.port) as relay:
        shell = guest.shell()
        shell._port = relay.port
        assert shell.run(said("echo")) == [{}]
        relay.instead = answer(status, kind, body)
        with pytest.raises(InfrastructureError, match="gave an answer that is not encrypted") as caught:
            shell.run(said("count"))
        assert "guest.shell.tls" in caught.value.help
        runs = guest.disk / "runs"
        wait_for(runs.exists)  # the guest had got it
        assert runs.read_text() == "x"
        assert shell.run(said("echo")) == [{}]
        shell.close()


def test_a_web_servers_refusal_in_between(guests: Any) -> None:
    guest = guests()
    with Relay(guest.server.port) as relay:
        shell = guest.shell()
        shell._port = relay.port
        assert shell.run(said("echo")) == [{}]
        relay.instead = answer("503 Service Unavailable", "text/html", "<html>busy</html>")
        with pytest.raises(InfrastructureError, match="does not answer as WinRM"):
            shell.run(said("echo"))
        assert shell.run(said("echo")) == [{}]
        shell.close()


@pytest.mark.parametrize(
    "settings", [{"auth": "credssp"}, {"auth": "basic", "tls": False}, {"auth": "certificate"}]
)
def test_log_ons_that_cannot_be_chosen(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"auth|basic"):
        PsrpShell(kind="psrp", user="u", password=Secret("env", "X"), **settings)


def test_credentials_are_not_handed_on(guests: Any) -> None:
    """No delegation of tickets, which a guest could use elsewhere."""
    guest = guests()
    shell = guest.shell(auth="negotiate")
    assert shell.run(said("echo")) == [{}]
    assert shell._pool.connection.transport.session.auth.delegate in (None, False)
    shell.close()
