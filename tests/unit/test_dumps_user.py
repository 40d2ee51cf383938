"""User-mode minidumps are summarised, not refused without a word."""

from __future__ import annotations

import contextlib
import struct
import time
from pathlib import Path

import pytest

from lab.dumps.user import summarise
from lab.model import DumpError

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "user-dumps"
real = pytest.mark.skipif(not SHARED.exists(), reason="the shared test data are not here")


@real
def test_an_access_violation() -> None:
    summary = summarise(SHARED / "rust-minidump-test.dmp")
    assert (summary.machine, summary.system, summary.build, summary.process_id) == (
        "x86",
        "Windows XP",
        2600,
        3932,
    )
    assert (summary.exception_code, summary.exception_name) == (0xC0000005, "access violation")
    assert (summary.exception_address, summary.exception_module) == (0x40429E, "c:\\test_app.exe")
    assert len(summary.modules) == 13
    assert summary.warnings == ()


@real
def test_a_dump_without_exception() -> None:
    summary = summarise(SHARED / "rust-minidump-simple-crashpad.dmp")
    assert (summary.machine, summary.exception_code, summary.exception_module) == ("x64", None, "")
    assert len(summary.modules) == 40


@real
def test_a_damaged_one() -> None:
    with pytest.raises(DumpError, match="damaged"):
        summarise(SHARED / "rust-minidump-invalid-range.dmp")


@real
@pytest.mark.parametrize("keep", [4, 31, 32, 100, 1000, 5000])
def test_cut_off(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "user.dmp"
    path.write_bytes((SHARED / "rust-minidump-test.dmp").read_bytes()[:keep])
    with contextlib.suppress(DumpError):  # too little is left
        assert "not within the file" in summarise(path).warnings[0]


@real
def test_counts_that_run_wild(tmp_path: Path) -> None:
    data = bytearray((SHARED / "rust-minidump-test.dmp").read_bytes())
    directory = struct.unpack_from("<I", data, 12)[0]
    for index in range(struct.unpack_from("<I", data, 8)[0]):
        kind, _size, offset = struct.unpack_from("<III", data, directory + 12 * index)
        if kind == 4:  # ModuleListStream
            struct.pack_into("<I", data, offset, 0xFFFFFFFF)
    path = tmp_path / "user.dmp"
    path.write_bytes(data)
    summary = summarise(path)
    assert summary.modules == ()
    assert "4294967295 modules" in summary.warnings[0]
    struct.pack_into("<I", data, 8, 0xFFFFFFFF)
    path.write_bytes(data)
    with pytest.raises(DumpError, match="4294967295 streams"):
        summarise(path)


def test_a_text_that_runs_wild(tmp_path: Path) -> None:
    """Thousands of modules, each with a name as long as the file: read once each, that is hundreds of GB."""
    modules, name = 2000, 44 + 4 + 2000 * 108
    path = tmp_path / "user.dmp"
    with path.open("wb") as file:
        file.write(struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, 1, 32, 0, 0, 0))
        file.write(struct.pack("<III", 4, 4 + modules * 108, 44))
        file.write(struct.pack("<I", modules))
        for index in range(modules):
            file.write(struct.pack("<QIIII", index << 16, 0x1000, 0, 0, name).ljust(108, b"\0"))
        file.write(struct.pack("<I", 40 << 20))
        file.truncate(name + (40 << 20))
    before = time.process_time()
    found = summarise(path).modules
    assert (len(found), max(len(module.name) for module in found)) == (modules, 0x800)
    assert time.process_time() - before < 30  # it takes a tenth of a second; hundreds of GB take minutes


def test_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.dmp"
    path.write_bytes(b"PAGEDU64" + bytes(100))
    with pytest.raises(DumpError, match="not a user-mode minidump"):
        summarise(path)
