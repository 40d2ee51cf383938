"""A front before the Redfish emulator: passes on, and misbehaves as it is told, as real ones do."""

from __future__ import annotations

import http.server
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from redfish_emulator import SYSTEM, Emulator

Alter = Callable[[dict[str, Any]], None]

THE_SYSTEM = f"/redfish/v1/Systems/{SYSTEM}"


class Steps:
    """A clock that goes on when somebody sleeps, and not otherwise."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Front:
    """What it is told may change while it runs."""

    def __init__(self, emulator: Emulator) -> None:
        self.busy = 0
        """So many of the next requests are answered with 503."""
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        """Status and body instead of the emulator's own, by a pattern of "METHOD /path"."""
        self.alter: list[tuple[str, Alter]] = []
        """Changes to what is shown, by a pattern of the path."""
        self.seen: list[tuple[str, str, Any]] = []
        """What was asked: method, path, body."""
        front = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                front.seen.append((self.command, self.path, json.loads(body) if body else None))
                status, answer = front._answer(self.command, self.path, body, self.headers)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                if 300 <= status < 400:
                    self.send_header("Location", json.loads(answer)["Location"])
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PATCH = _handle  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._emulator = emulator
        self._client = httpx.Client(
            verify=ssl.create_default_context(cafile=str(emulator.ca_file)), timeout=60, trust_env=False
        )
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(emulator.ca_file, emulator.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def asked(self, method: str) -> list[Any]:
        return [body for each, _, body in self.seen if each == method]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def _answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, bytes]:
        if self.busy:
            self.busy -= 1
            return 503, b'{"error": {"message": "The service is starting"}}'
        for pattern, (status, answer) in self.answers.items():
            if re.fullmatch(pattern, f"{method} {path}"):
                return status, json.dumps(answer).encode()
        kept = {name: headers[name] for name in ("Authorization", "Content-Type") if headers[name]}
        told = self._client.request(method, f"{self._emulator.url}{path}", content=body, headers=kept)
        shown = told.content
        for pattern, change in self.alter:
            if method == "GET" and told.is_success and re.fullmatch(pattern, path.rstrip("/")):
                document = json.loads(shown)
                change(document)
                shown = json.dumps(document).encode()
        return told.status_code, shown


@contextmanager
def front_of(emulator: Emulator) -> Iterator[Front]:
    front = Front(emulator)
    try:
        yield front
    finally:
        front.close()


def made_by(manufacturer: str) -> tuple[str, Any]:
    return THE_SYSTEM, lambda system: system.update(Manufacturer=manufacturer)


def managed_by(model: str) -> tuple[str, Any]:
    return r"/redfish/v1/Managers/[^/]+", lambda manager: manager.update(Model=model)
