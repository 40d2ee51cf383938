"""HTTP servers for tests that answer as symbol servers do, in order and out of it."""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass
class Reply:
    """What a path is answered with. `length` is the Content-Length that is claimed."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    wait: threading.Event | None = None
    drip: float = 0.0  # seconds between two bytes
    heads: bool = False  # the headers never end


@dataclass
class Fake:
    """A symbol store behind http.server. `asked` are the requests so far."""

    url: str = ""
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def put(self, path: str, body: bytes = b"", status: int = 200, **more: object) -> None:
        self.replies[path] = Reply(body, status, **more)  # type: ignore[arg-type]

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def drip(target: BinaryIO, data: bytes, pause: float) -> None:
    """Write byte by byte, if there is a pause between them."""
    for at in range(0, len(data), 1 if pause else max(len(data), 1)):
        target.write(data[at : at + (1 if pause else len(data))])
        time.sleep(pause)


def serve(fake: Fake, certificate: Path | None = None) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append((self.path, dict(self.headers)))
            reply = fake.replies.get(self.path, Reply(b"no such file", 404))
            if reply.wait is not None:
                reply.wait.wait(30)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.length != -1:
                length = len(reply.body) if reply.length is None else reply.length
                self.send_header("Content-Length", str(length))
            if reply.heads:
                self.flush_headers()
                drip(self.wfile, b"X-Slow: " + b"x" * 999, reply.drip)
            self.end_headers()
            with suppress(ConnectionError):  # the client may have seen enough
                drip(self.wfile, reply.body, reply.drip)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def self_signed(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that no authority signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "symbols")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    return path
