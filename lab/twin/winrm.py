"""WinRM over HTTP with NTLM, where pyspnego checks the log-on and seals every message, and over HTTPS.

One security context a TCP connection, as Windows does it. A wrong log-on gets 401. Without TLS, Basic is not
offered and a message that is not sealed gets 500 and no content, as from a service with AllowUnencrypted off.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import spnego
from impacket.ntlm import compute_nthash
from spnego.exceptions import SpnegoError

from lab.twin.listener import Listener
from lab.twin.wsman import Endpoint

_SEALED = "application/HTTP-SPNEGO-session-encrypted"
_BOUNDARY = b"--Encrypted Boundary"
_LARGEST_REQUEST = 4 << 20

_environment = threading.Lock()  # pyspnego's acceptor takes its users from an environment variable


class Accounts:
    """The guest's one local account, in a file that pyspnego's NTLM acceptor can read (mode 0600)."""

    def __init__(self, path: Path, user: str, password: str, computer: str) -> None:
        self._path = path
        nt_hash = compute_nthash(password).hex().upper()
        self._user, self._digest = user.casefold(), hashlib.sha256(password.encode()).digest()
        lines = [
            f"{domain}{user}:1000:{'0' * 32}:{nt_hash}:[U]:LCT-00000000"
            for domain in ("", f"{computer}\\", ".\\", "WORKGROUP\\")
        ]
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")

    def context(self, token: bytes) -> Any:
        """A security context that accepts a log-on which begins with that token."""
        protocol = "ntlm" if token.startswith(b"NTLMSSP\0") else "negotiate"
        with self.known():
            return spnego.server(protocol=protocol, options=spnego.NegotiateOptions.use_negotiate)

    def knows(self, user: str, password: str) -> bool:
        given = hashlib.sha256(password.encode()).digest()
        return user.casefold() == self._user and hmac.compare_digest(given, self._digest)

    @contextlib.contextmanager
    def known(self) -> Iterator[None]:
        with _environment:
            before = os.environ.get("NTLM_USER_FILE")
            os.environ["NTLM_USER_FILE"] = str(self._path)
            try:
                yield
            finally:
                if before is None:
                    del os.environ["NTLM_USER_FILE"]
                else:
                    os.environ["NTLM_USER_FILE"] = before


class WinRm:
    """A service of the machine, over HTTP and HTTPS. Sessions end when it is cut."""

    def __init__(
        self,
        host: str,
        port: int,
        accounts: Accounts,
        endpoint: Endpoint,
        *,
        tls_port: int = 0,
        tls: ssl.SSLContext,
    ) -> None:
        self._accounts = accounts
        self._endpoint = endpoint
        self._plain = Listener(host, port, "winrm", self._serve)
        self._tls = Listener(host, tls_port, "winrm tls", self._serve_tls, tls=tls)

    @property
    def port(self) -> int:
        return self._plain.port

    @property
    def tls_port(self) -> int:
        return self._tls.port

    def open(self) -> None:
        self._plain.open()
        self._tls.open()

    def cut(self) -> None:
        self._plain.cut()
        self._tls.cut()
        self._endpoint.forget()

    def close(self) -> None:
        self._plain.close()
        self._tls.close()
        self._endpoint.forget()

    def _serve(self, connection: socket.socket, number: int) -> None:
        _Connection(connection, self._accounts, self._endpoint, partial(self._plain.alive, number), False)

    def _serve_tls(self, connection: socket.socket, number: int) -> None:
        _Connection(connection, self._accounts, self._endpoint, partial(self._tls.alive, number), True)


class _Connection(BaseHTTPRequestHandler):
    """One TCP connection: constructed, it serves until that ends."""

    protocol_version = "HTTP/1.1"
    server_version = "Microsoft-HTTPAPI/2.0"
    sys_version = ""

    def __init__(
        self,
        connection: socket.socket,
        accounts: Accounts,
        endpoint: Endpoint,
        alive: Callable[[], bool],
        tls: bool,
    ) -> None:
        self._alive = alive
        self._tls = tls
        self._basic = False
        self._accounts = accounts
        self._endpoint = endpoint
        self._context: Any = None
        super().__init__(connection, ("", 0), None)  # type: ignore[arg-type]  # there is no socketserver

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a server's access log is of no use here."""

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_REQUEST:
            self.close_connection = True
            return self._reply(413)
        body = self.rfile.read(length)
        if self.path.split("?")[0] != "/wsman":
            return self._reply(404)
        header = self.headers.get("Authorization")
        answer = self._log_on(header) if header is not None else None
        offered = 'Negotiate, Basic realm="WSMAN"' if self._tls else "Negotiate"
        authenticate = {"WWW-Authenticate": answer or offered}
        if not self._basic and (self._context is None or not self._context.complete):
            return self._reply(401, headers=authenticate)
        if not body:  # the client only logs on; the last word of the log-on may go back with this
            return self._reply(200, headers=authenticate if answer else None)
        if self._tls and (self.headers.get("Content-Type") or "").lower().startswith("application/soap+xml"):
            reply = self._endpoint.answer(body)
            return self._reply(
                reply.status, reply.body, {"Content-Type": "application/soap+xml;charset=UTF-8"}
            )
        message = self._unseal(body) if self._context is not None else None
        if message is None:
            return self._reply(500)
        reply = self._endpoint.answer(message)
        sealed = self._seal(reply.body)
        kind = f'multipart/encrypted;protocol="{_SEALED}";boundary="Encrypted Boundary"'
        return self._reply(reply.status, sealed, {"Content-Type": kind})

    def _log_on(self, header: str) -> str | None:
        """One step of the log-on. Returns what goes back in WWW-Authenticate, None when there is nothing."""
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() == "basic":
            self._basic = self._tls and self._knows(encoded)
            return None
        if scheme.lower() not in ("negotiate", "ntlm"):
            return None
        try:
            token = base64.b64decode(encoded, validate=True)
            if self._context is None or self._context.complete:
                self._context = self._accounts.context(token)
            with self._accounts.known():
                answer = self._context.step(token)
        except (SpnegoError, ValueError, binascii.Error, struct.error):
            self._context = None
            return None
        return f"{scheme} {base64.b64encode(answer).decode()}" if answer else None

    def _knows(self, encoded: str) -> bool:
        try:
            given = base64.b64decode(encoded, validate=True)
        except ValueError:
            return False
        user, _, password = given.decode("latin-1").partition(":")  # as most clients send it
        return self._accounts.knows(user, password)

    def _unseal(self, body: bytes) -> bytes | None:
        """The message, or None when it is not a sealed one."""
        if not (self.headers.get("Content-Type") or "").lower().startswith("multipart/encrypted"):
            return None
        head, mark, rest = body.partition(b"Content-Type: application/octet-stream\r\n")
        length = re.search(rb"Length=(\d+)", head)
        data, end, _ = rest.rpartition(_BOUNDARY + b"--")
        if not mark or not end or length is None or len(data) < 4:
            return None
        (signature,) = struct.unpack_from("<I", data)
        try:
            message: bytes = self._context.unwrap_winrm(data[4 : 4 + signature], data[4 + signature :])
        except SpnegoError:
            return None
        return message if len(message) == int(length[1]) else None

    def _seal(self, message: bytes) -> bytes:
        header, data, padding = self._context.wrap_winrm(message)
        return b"".join(
            (
                _BOUNDARY,
                f"\r\n\tContent-Type: {_SEALED}\r\n\tOriginalContent: type=application/soap+xml;"
                f"charset=UTF-8;Length={len(message) + padding}\r\n".encode(),
                _BOUNDARY,
                b"\r\n\tContent-Type: application/octet-stream\r\n",
                struct.pack("<I", len(header)),
                header,
                data,
                _BOUNDARY,
                b"--\r\n",
            )
        )

    def _reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        if not self._alive():
            raise ConnectionAbortedError
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
