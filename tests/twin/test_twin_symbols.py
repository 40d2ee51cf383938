"""The twin's symbol server: what the product's symbol store fetches from it, and what the wire says."""

from __future__ import annotations

import http.client
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lab.symbols import PdbId, symbol_store
from lab.twin.cabinet import cabinet
from lab.twin.memory.layout import guid_of, guid_text
from lab.twin.memory.tables import kernel
from lab.twin.symbolserver import SymbolServer


@pytest.fixture(scope="module")
def server() -> Iterator[SymbolServer]:
    serving = SymbolServer("127.0.0.1", 0, 17763)
    yield serving
    serving.stop()


def get(server: SymbolServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


NT = PdbId("ntkrnlmp.pdb", kernel(17763).pdb_guid, 1)


def own(image: str) -> PdbId:
    return PdbId(f"{image}.pdb", guid_text(guid_of(f"{image}.sys", 17763)), 1)


@pytest.mark.parametrize("pdb", [NT, own("srv2"), own("fltmgr"), own("ntfs"), own("volsnap")])
def test_a_symbol_store_fetches_plain_compressed_and_pointed_files(
    server: SymbolServer, tmp_path: Path, pdb: PdbId
) -> None:
    found = symbol_store([f"srv*{tmp_path}*{server.url}"]).find(pdb)
    assert found is not None
    assert (tmp_path / pdb.name / pdb.folder / pdb.name).is_file()
    entry = {"ntkrnlmp.pdb": "KeBugCheckEx", "fltmgr.pdb": "FltpDispatch"}.get(pdb.name, "DriverEntry")
    assert found.rva(entry)


def test_what_it_does_not_have_is_404(server: SymbolServer) -> None:
    plain = f"/symbols/fltmgr.pdb/{own('fltmgr').folder}/fltmgr.pdb"
    assert get(server, plain)[0] == 200
    assert get(server, plain.upper(), "HEAD") == (200, b"")
    for path in (
        plain.replace(own("fltmgr").folder, "0" * 33),
        f"/symbols/ntkrnlmp.pdb/{NT.folder}/ntkrnlmp.pdb",
        "/symbols/index2.txt",
        "/symbols/TvScout.pdb/",
        "/../../etc/passwd",
    ):
        assert get(server, path)[0] == 404


def said(server: SymbolServer, request: bytes) -> bytes:
    """The beginning of the answer to `request`."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(1000)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /symbols/../../../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /symbols/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"GET //etc/passwd%00.pdb HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /symbols/..\\..\\boot.ini HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /" + b"x" * 0x10000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 0x10000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"A: x\r\n" * 200 + b"\r\n", b"431"),
        (b"PUT /symbols/x HTTP/1.1\r\n\r\n", b"501"),
        (b"\xff\xfe\x00 nonsense\r\n\r\n", b"400"),
    ],
)
def test_a_hostile_request_gets_an_error(
    server: SymbolServer, capfd: pytest.CaptureFixture[str], request_: bytes, status: bytes
) -> None:
    assert status in said(server, request_)
    assert get(server, "/symbols/")[0] == 404, "it still answers"
    assert capfd.readouterr().err == ""


def test_clients_that_dawdle_or_go_away_disturb_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    server = SymbolServer("127.0.0.1", 0, 17763)
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(20)]
    for connection in slow:
        connection.sendall(b"GET /symbols/x HTTP/1.1\r\nHost")
    plain = f"/symbols/fltmgr.pdb/{own('fltmgr').folder}/fltmgr.pdb"
    gone = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.sendall(f"GET {plain} HTTP/1.1\r\n\r\n".encode() * 50)
    assert gone.recv(1)
    gone.close()  # a reset, in the middle of the answers
    assert get(server, plain)[0] == 200
    start = time.monotonic()
    server.stop()
    assert time.monotonic() - start < 25  # a client that dawdles is waited for 30 s
    for connection in slow:
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        get(server, plain)
    assert capfd.readouterr().err == ""


def test_a_cabinet_unpacks_elsewhere(tmp_path: Path) -> None:
    contents = bytes(range(256)) * 700 + b"end"
    (tmp_path / "x.pd_").write_bytes(cabinet("x.pdb", contents))
    tool = shutil.which("cabextract") or shutil.which("bsdtar") or shutil.which("7z")
    if tool is None:
        pytest.skip("no tool that unpacks cabinets is installed")
    command = {"cabextract": ["-q"], "bsdtar": ["-xf"], "7z": ["x"]}[Path(tool).name]
    subprocess.run([tool, *command, "x.pd_"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "x.pdb").read_bytes() == contents
