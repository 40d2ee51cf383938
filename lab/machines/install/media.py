"""One image for a management controller, while an installation lasts: over HTTP(S), or on a share.

Controllers fetch virtual media by URL, in ranges, over many connections, and log on to nothing. The image
holds the administrator's password, so its path cannot be guessed and is gone with the installation.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from lab.inventory.install import InstallMedia
from lab.machines.install.image import Image
from lab.model import ConfigurationError, LabError

NAME = "windows.iso"
MOST_CONNECTIONS = 32
IDLE_SECONDS = 120


class Medium(Protocol):
    """An image that a controller can read, from `with` to its end."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def url(self) -> str:
        """What the controller is told; secret, as far as the image is."""

    @property
    def sent(self) -> int | None:
        """Bytes of the image that were sent, those sent again too; None when that cannot be seen."""

    @property
    def problem(self) -> LabError | None:
        """Why the image could not be read, when it could not."""


def offer(image: Image, settings: InstallMedia) -> Medium:
    """The image as the settings say. Raises ConfigurationError when it is entered."""
    if settings.image_folder is not None:
        return MediaFile(image, settings.image_folder, settings.url)
    return MediaServer(image, settings)


class MediaFile:
    """A copy of the image in a shared folder, for controllers that read media from NFS or CIFS alone."""

    problem = None
    sent = None

    def __init__(self, image: Image, folder: Path, url: str) -> None:
        self._image = image
        name = f"{secrets.token_urlsafe(24)}.iso"
        self._path = folder / name
        self.url = f"{url.rstrip('/')}/{name}"

    def __enter__(self) -> Self:
        if not self._path.parent.is_dir():
            raise ConfigurationError(f"the folder {self._path.parent} of install.media does not exist")
        self._image.write(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)


class MediaServer:
    """See `Medium`; only the image's own path is answered."""

    def __init__(self, image: Image, settings: InstallMedia) -> None:
        self._image = image
        self._settings = settings
        self._path = f"/{secrets.token_urlsafe(24)}/{NAME}"
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        settings = self._settings
        context = _context(settings)
        family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
        try:
            self._server = _Server(family, (settings.listen, settings.port), self._image, self._path, context)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error  # a UnicodeError has none
            raise ConfigurationError(
                f"install.media cannot listen on {settings.listen} port {settings.port}: {why}",
                help="Set listen to an address of this computer, and port to a free one.",
            ) from None
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None

    @property
    def url(self) -> str:
        assert self._server is not None
        host = self._settings.advertise or self._settings.listen
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self._settings.certificate_file else "http"
        return f"{scheme}://{host}:{self._server.server_address[1]}{self._path}"

    @property
    def sent(self) -> int:
        return self._server.sent if self._server else 0

    @property
    def problem(self) -> LabError | None:
        return self._server.problem if self._server else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[str, int],
        image: Image,
        path: str,
        context: ssl.SSLContext | None,
    ) -> None:
        self.address_family = family
        self.image, self.path, self.context = image, path, context
        self.sent = 0
        self.problem: LabError | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._open) >= MOST_CONNECTIONS
            if not full:
                self._open.add(request)
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Peers that hang up or speak no HTTP are no news."""

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size

    def hang_up(self) -> None:
        """End transfers that are under way."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def setup(self) -> None:
        if self.server.context is not None:
            self.request.settimeout(
                IDLE_SECONDS
            )  # the handshake is here, so that a silent peer blocks nobody
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self.server.context is not None:
            with contextlib.suppress(OSError):
                self.request.close()

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        image = self.server.image
        if not hmac.compare_digest(self.path.encode(), self.server.path.encode()):
            self.send_error(404)
            return
        wanted = _range(self.headers.get("Range"), image.size)
        if wanted is None:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{image.size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end, partial = wanted
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{image.size}")
        self.end_headers()
        if body:
            self._send(start, end)

    def _send(self, start: int, end: int) -> None:
        try:
            for data in self.server.image.chunks(start, end - start):
                self.server.count(len(data))
                self.wfile.write(data)
        except LabError as error:
            self.server.problem = error
            self.close_connection = True

    def version_string(self) -> str:
        return "media"

    def log_message(self, format: str, *args: object) -> None:
        """The path is a secret."""


def _range(header: str | None, size: int) -> tuple[int, int, bool] | None:
    """Start, end and whether that is a part (RFC 9110 14); None: there is no such range."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip()) if header else None
    if found is None or found.group(0) == "bytes=-":
        return 0, size, False  # several ranges, or nonsense: the whole is a correct answer
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if first and last and int(last) < int(first):
        return 0, size, False
    return (start, end, True) if start < end else None


def _context(settings: InstallMedia) -> ssl.SSLContext | None:
    if settings.certificate_file is None or settings.certificate_key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate_file, settings.certificate_key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"install.media cannot use the certificate {settings.certificate_file} "
            f"with the key {settings.certificate_key_file}: {error}",
            help="Give a PEM chain and its PEM key without passphrase.",
        ) from None
    return context
