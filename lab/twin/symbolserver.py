"""The twin's symbol server: PDBs of Windows' images over HTTP, in the layout that debuggers expect.

It belongs to no machine: it answers while the guest is down. Most files are plain; the kernel's PDB is there
only compressed (`ntkrnlmp.pd_`), and that of srv2 is reached by a `file.ptr`, as real stores have them, too.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import unquote

from lab.twin.cabinet import cabinet
from lab.twin.catalogue import drivers
from lab.twin.crash import Image
from lab.twin.memory.symbols import SYSTEM, ImageSymbols, symbols_of

_ROOT = "symbols"
_ELSEWHERE = "kept"
_COMPRESSED, _POINTED = "ntkrnlmp.pdb", "srv2.pdb"

Contents = Callable[[], bytes]


class SymbolServer:
    """Serves the PDBs of every image of Windows `build`, from construction to `stop`.

    Those of other makers' drivers are on no public server, and not on this one.
    """

    def __init__(self, host: str, port: int, build: int) -> None:
        own = {image.name.casefold() for image in SYSTEM}
        others = (Image(driver.image, False) for driver in drivers(build) if not driver.third_party)
        images = (*SYSTEM, *(image for image in others if image.name.casefold() not in own))
        self._server = _Server((host, port), _Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}/{_ROOT}"
        self._server.files = _files(self.url, symbols_of(build, images))
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="symbol server", daemon=True
        ).start()

    def stop(self) -> None:
        """Returns at once: connections that are still open end with the process, or when they are idle."""
        self._server.shutdown()
        self._server.server_close()


def _files(url: str, found: tuple[ImageSymbols, ...]) -> dict[str, Contents]:
    """What is served, by path in lower case: paths of symbol stores have no case."""
    files: dict[str, Contents] = {}
    for symbols in found:
        folder = f"/{_ROOT}/{symbols.name}/{symbols.folder}"
        if symbols.name == _COMPRESSED:
            files[f"{folder}/{symbols.name[:-1]}_"] = partial(_compressed, symbols)
        elif symbols.name == _POINTED:
            place = f"{_ELSEWHERE}/{symbols.folder}.pdb"
            files[f"/{_ROOT}/{place}"] = symbols.contents
            files[f"{folder}/file.ptr"] = f"PATH:{url}/{place}\r\n".encode
        else:
            files[f"{folder}/{symbols.name}"] = symbols.contents
    return {path.casefold(): contents for path, contents in files.items()}


def _compressed(symbols: ImageSymbols) -> bytes:
    return cabinet(symbols.name, symbols.contents())


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a slow client must not keep server_close() waiting
    files: Mapping[str, Contents]

    def server_bind(self) -> None:
        """Binds only: HTTPServer also asks the name service for the host's name, which may take long."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nobody's news; anything else is a defect of the twin."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "twin-symbols"
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds without a byte

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        found = self.server.files.get(unquote(self.path.partition("?")[0]).casefold())
        if found is None:
            self.send_error(404)
            return
        contents = found()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(contents)))
        self.end_headers()
        if body:
            self.wfile.write(contents)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are nobody's news."""
