"""The PSRP shell's errors, against ports that are closed, silent or speak something else."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.inventory import PsrpShell, Timeouts
from lab.inventory.secrets import Secret
from lab.model import ConfigurationError, CredentialsRefused, InfrastructureError, SystemClock
from lab.windows.psrp import PsrpGuestShell, open_shell
from lab.windows.shell import Script

SCRIPT = Script("Get-LabBoot")
PASSWORD = "hunter2-äöü"


def shell(port: int, **changed: Any) -> PsrpGuestShell:
    settings: dict[str, Any] = {
        "user": "crash",
        "password": PASSWORD,
        "tls": False,
        "ca_file": None,
        "auth": "ntlm",
        "timeouts": Timeouts(connect=1, script=5),
        "clock": SystemClock(),
    } | changed
    return PsrpGuestShell("127.0.0.1", port, **settings)


@dataclass
class Listener:
    """Accepts connections and gives each the same answer; None keeps silent."""

    port: int
    connections: int = 0


@contextmanager
def listener(answer: bytes | None, tls: ssl.SSLContext | None = None) -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Listener(server.getsockname()[1])
        kept = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                found.connections += 1
                try:
                    connection = tls.wrap_socket(connection, server_side=True) if tls else connection
                except OSError:
                    continue
                kept.append(connection)
                if answer is not None:
                    connection.recv(65536)
                    connection.sendall(answer)
                    # unread bytes would turn the close into a reset, which may overtake the answer
                    connection.settimeout(0.2)
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def http(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


def failure(port: int, **changed: Any) -> InfrastructureError:
    with pytest.raises(InfrastructureError) as caught:
        shell(port, **changed).run(SCRIPT)
    message = str(caught.value)
    assert message.startswith(f"WinRM of 127.0.0.1:{port} ") and "\n" not in message
    assert PASSWORD not in message + caught.value.help
    return caught.value


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_closed_port() -> None:
    assert str(failure(closed_port())).endswith("could not be reached: Connection refused")


def test_a_port_that_never_answers() -> None:
    with listener(None) as silent:
        assert "did not answer in time" in str(failure(silent.port))
        assert silent.connections == 1  # not tried again and again


def test_a_server_that_hangs_up() -> None:
    with listener(b"") as rude:
        assert "could not be reached" in str(failure(rude.port))


def test_a_name_that_does_not_exist() -> None:
    broken = PsrpGuestShell(
        "no-such-host.invalid",
        5985,
        user="crash",
        password=PASSWORD,
        tls=False,
        ca_file=None,
        auth="ntlm",
        timeouts=Timeouts(connect=1),
        clock=SystemClock(),
    )
    with pytest.raises(InfrastructureError, match=r"no-such-host\.invalid:5985 could not be reached: "):
        broken.run(SCRIPT)


def test_refused_credentials() -> None:
    """A server that asks for NTLM again after the log-on has refused it."""
    challenge = http("401 Unauthorized", "WWW-Authenticate: Negotiate")
    with listener(challenge) as strict:
        error = failure(strict.port)
    assert isinstance(error, CredentialsRefused)
    assert "refused the credentials of crash" in str(error)
    assert "password" in error.help and error.exit_code == 4


def test_a_server_that_offers_only_basic() -> None:
    with listener(http("401 Unauthorized", "WWW-Authenticate: Basic")) as basic:
        assert "does not offer the log-on ntlm" in str(failure(basic.port))


def test_a_web_server_that_is_not_winrm() -> None:
    with listener(http("404 Not Found", body=b"<html>nope</html>")) as web:
        assert "does not answer as WinRM" in str(failure(web.port))
    with listener(http("404 Not Found", body=b"nope")) as web:
        assert "HTTP status 404" in str(failure(web.port))
    with listener(http("200 OK", body=b"hello")) as web:
        assert "broke the protocol" in str(failure(web.port))


def test_tls_on_a_port_without() -> None:
    with listener(http("400 Bad Request")) as plain:
        assert "does not speak TLS" in str(failure(plain.port, tls=True))


def test_a_guest_that_ends_the_tls_handshake_is_going_down() -> None:
    with listener(b"") as closing:
        error = failure(closing.port, tls=True)
        assert "could not be reached" in str(error) and "does not speak" not in str(error)


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(pem) + private)
    return path


def test_certificates_are_verified_against_the_inventorys_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, other = certificate(tmp_path, "good"), certificate(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(good))
    with listener(http("401 Unauthorized", "WWW-Authenticate: Negotiate"), context) as server:
        for given in (other, None):
            error = failure(server.port, tls=True, ca_file=given)
            assert "has a certificate whose issuer is not known here" in str(error)
            assert "guest.shell.ca_file" in error.help
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(other))
    with listener(http("401 Unauthorized", "WWW-Authenticate: Basic"), context) as server:
        # with its issuer's file the handshake is done, and the next thing goes wrong
        assert "does not offer the log-on ntlm" in str(failure(server.port, tls=True, ca_file=good))


def test_proxies_and_netrc_of_the_environment_have_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login crash password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with listener(http("200 OK")) as proxy, listener(http("404 Not Found", body=b"nope")) as web:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert "HTTP status 404" in str(failure(web.port))
        assert proxy.connections == 0 and web.connections == 1


def test_a_missing_certificate_file_and_a_missing_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEB_PASSWORD", raising=False)
    settings = PsrpShell(kind="psrp", user="crash", password=Secret("env", "WEB_PASSWORD"))
    with pytest.raises(ConfigurationError, match="WEB_PASSWORD is not set"):
        open_shell("127.0.0.1", settings, Timeouts(), SystemClock())
    without = settings.model_copy(update={"ca_file": tmp_path / "ca.pem"})
    with pytest.raises(ConfigurationError, match=r"ca\.pem of guest\.shell\.ca_file does not exist"):
        open_shell("127.0.0.1", without, Timeouts(), SystemClock())


def test_closing_what_was_never_opened() -> None:
    shell(closed_port()).close()
