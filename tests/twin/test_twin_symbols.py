"""The twin's symbol server: what the product's symbol store fetches from it, and what the wire says."""

from __future__ import annotations

import http.client
import shutil
import subprocess
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


def test_a_cabinet_unpacks_elsewhere(tmp_path: Path) -> None:
    contents = bytes(range(256)) * 700 + b"end"
    (tmp_path / "x.pd_").write_bytes(cabinet("x.pdb", contents))
    tool = shutil.which("cabextract") or shutil.which("bsdtar") or shutil.which("7z")
    if tool is None:
        pytest.skip("no tool that unpacks cabinets is installed")
    command = {"cabextract": ["-q"], "bsdtar": ["-xf"], "7z": ["x"]}[Path(tool).name]
    subprocess.run([tool, *command, "x.pd_"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "x.pdb").read_bytes() == contents
