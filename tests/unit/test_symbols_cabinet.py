"""Compressed files of symbol stores: stored, MSZIP and LZX, against independent tools."""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cabinets import cabinet, mszip, stored
from pdb_samples import content

from lab.model import ConfigurationError
from lab.symbols.cabinet import expand
from lab.symbols.files import Bytes

PDB = content("layouts.pdb")
LIMIT = 1 << 30
LZX = {  # size and sum of what Free Pascal's chmcmd compressed, with blocks of both kinds
    "verbatim": (62000, "8d8177a6b3a54901c84e2aa569c3ec56c0117f40d053f04bde45b90407fcaebe"),
    "aligned": (61800, "033487ca38217e387c52d65db0f023a28edcba58b6652969bf3cf8818f1eb553"),
}
gcab = pytest.mark.skipif(shutil.which("gcab") is None, reason="gcab is not installed")
cabextract = pytest.mark.skipif(shutil.which("cabextract") is None, reason="cabextract is not installed")


def unpacked(data: bytes, name: str = "layouts.pdb", limit: int = LIMIT) -> bytes:
    target = io.BytesIO()
    expand(Bytes(data), name, target, limit)
    return target.getvalue()


def by_cabextract(data: bytes, folder: Path) -> bytes:
    (folder / "x.cab").write_bytes(data)
    return subprocess.run(
        ["cabextract", "-q", "-p", folder / "x.cab"], capture_output=True, check=True
    ).stdout


# --- against independent tools ---------------------------------------------------------------


@gcab
@pytest.mark.parametrize("option", ["-n", "-z"], ids=["stored", "mszip"])
def test_cabinets_of_gcab(tmp_path: Path, option: str) -> None:
    for name in ("layouts.pdb", "many.pdb"):
        (tmp_path / name).write_bytes(content(name))
        subprocess.run(["gcab", "-c", option, f"{name}.cab", name], cwd=tmp_path, check=True)
        assert unpacked((tmp_path / f"{name}.cab").read_bytes(), name) == content(name)


@gcab
def test_one_file_of_several(tmp_path: Path) -> None:
    for name in ("layouts.pdb", "classes.pdb"):
        (tmp_path / name).write_bytes(content(name))
    subprocess.run(["gcab", "-c", "-z", "x.cab", "layouts.pdb", "classes.pdb"], cwd=tmp_path, check=True)
    packed = (tmp_path / "x.cab").read_bytes()
    assert unpacked(packed, "CLASSES.PDB") == content("classes.pdb")
    with pytest.raises(ConfigurationError, match=r"it has 2 files, and none of them is srv2\.pdb"):
        unpacked(packed, "srv2.pdb")


@pytest.mark.parametrize("kind", LZX)
def test_lzx_of_another_tool(kind: str) -> None:
    found = unpacked(content(f"lzx-{kind}.cab"), "text")
    assert (len(found), hashlib.sha256(found).hexdigest()) == LZX[kind]


@cabextract
@pytest.mark.parametrize("kind", LZX)
def test_lzx_as_cabextract_unpacks_it(tmp_path: Path, kind: str) -> None:
    packed = content(f"lzx-{kind}.cab")
    assert unpacked(packed, "text") == by_cabextract(packed, tmp_path)


@cabextract
@pytest.mark.parametrize("method", [0, 1])
def test_the_cabinets_of_these_tests_are_sound(tmp_path: Path, method: int) -> None:
    packed = cabinet(mszip(PDB) if method else stored(PDB), "layouts.pdb", method=method)
    assert by_cabextract(packed, tmp_path) == unpacked(packed) == PDB


def lzx_uncompressed(frames: list[bytes], call_size: int) -> list[tuple[bytes, int]]:
    """LZX blocks without compression, one a frame. `call_size`: calls are translated for such a file."""
    blocks = []
    for number, frame in enumerate(frames):
        bits = "" if number else ("1" + f"{call_size:032b}" if call_size else "0")
        bits += f"{3:03b}{len(frame):024b}"
        bits += "0" * (16 - len(bits) % 16)  # one to sixteen bits
        words = b"".join(int(bits[i : i + 16], 2).to_bytes(2, "little") for i in range(0, len(bits), 16))
        blocks.append((words + struct.pack("<3I", 1, 1, 1) + frame + b"\0" * (len(frame) % 2), len(frame)))
    return blocks


@cabextract
@pytest.mark.parametrize("call_size", [0, 70_000, 12_000_000])
def test_translated_calls(tmp_path: Path, call_size: int) -> None:
    """x86 calls in several frames: absolute targets of every kind, at the end of a frame, one in another."""
    targets = [0, 5, 40_000, 69_999, 70_000, -1, -40_000, -70_001, 0x7FFFFFFF, -0x80000000, 11_999_999]
    code = b"".join(b"\x90\xe8" + struct.pack("<i", target) for target in targets)
    frame = (code * 1000)[: (1 << 15) - 12] + b"\xe8\xe8\xe8\xe8\xe8\x00\x00\x00\xe8\x01\x00\x00"
    frames = [frame, frame[::-1], frame[:101]]
    packed = cabinet(lzx_uncompressed(frames, call_size), "code", method=3 | 16 << 8)
    found = unpacked(packed, "code")
    assert found == by_cabextract(packed, tmp_path)
    assert (found == b"".join(frames)) == (call_size == 0)


# --- hand-made -------------------------------------------------------------------------------


def test_a_file_that_begins_further_in() -> None:
    assert unpacked(cabinet(mszip(PDB), "layouts.pdb", method=1, start=40_000)) == PDB[40_000:]
    assert unpacked(cabinet(stored(PDB), "layouts.pdb", start=40_000, size=5)) == PDB[40_000:40_005]


def test_reserved_areas() -> None:
    """A cabinet may keep room in its header, each folder and each block, for signatures."""
    packed = cabinet(stored(PDB[:100]), "layouts.pdb", checksums=False)
    head = bytearray(packed[:36])
    struct.pack_into("<H", head, 30, 4)
    struct.pack_into("<I", head, 16, 44 + 4 + 6 + 2)  # where the files are
    entry, block = packed[44:-108], packed[-108:]
    folder = struct.pack("<IHH", 56 + len(entry), 1, 0)
    moved = bytes(head) + struct.pack("<HBB", 6, 2, 3) + b"signed" + folder + b"??" + entry
    assert unpacked(moved + block[:8] + b"!!!" + block[8:]) == PDB[:100]


def damaged(change: int) -> bytes:
    packed = bytearray(cabinet(mszip(PDB), "layouts.pdb", method=1))
    packed[change] ^= 0x55
    return bytes(packed)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is not a cabinet"),
        (b"MSCF", "it is not a cabinet"),
        (PDB, "it is not a cabinet"),
        (cabinet(mszip(PDB), "layouts.pdb", method=1)[:-1], "it is cut off"),
        (damaged(-20), "the checksum of its block 2 is wrong"),
        (damaged(42), "its compression \\(method 4\\) is not known"),
        (cabinet([(b"CK\xff\xff", 10)], "layouts.pdb", method=1), "its MSZIP data is damaged"),
        (cabinet([(b"xx", 10)], "layouts.pdb", method=1), "a block of it is not MSZIP"),
        (cabinet([(b"abc", 4)], "layouts.pdb"), "its block 0 unpacks to 3 bytes instead of 4"),
        (cabinet([(b"abc", 40_000)], "layouts.pdb"), "its block 0 is of 40000 bytes"),
        (cabinet(stored(b"abc"), "layouts.pdb", size=4), "its file is cut off after 3 of 4 bytes"),
        (cabinet(stored(b"abc"), "layouts.pdb", size=LIMIT + 1), "more than the limit"),
        (cabinet(stored(b"abc"), "layouts.pdb", start=LIMIT, size=1), "more than the limit"),
        (cabinet([(b"\0\0", 9)], "layouts.pdb", method=3 | 15 << 8), "block of kind 0"),
        (cabinet([(b"", 9)], "layouts.pdb", method=3 | 15 << 8), "data is damaged"),
        (cabinet([(b"\0\0", 9)], "layouts.pdb", method=3 | 9 << 8), "window of 2\\^9 bytes"),
    ],
    ids=range(16),
)
def test_what_is_wrong_is_said(data: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the cabinet of layouts.pdb cannot be unpacked: .*{said}"):
        unpacked(data)


def test_a_folder_that_unpacks_to_more_than_its_file_is_read_no_further() -> None:
    """Only the file's own blocks are unpacked: behind them may be gigabytes. Here it is what cannot be."""
    block, noise = mszip(bytes(1 << 15))[0], (b"CK" + b"\xff" * 100, 1 << 15)
    packed = cabinet([block, noise], "layouts.pdb", method=1, size=10, checksums=False)
    assert unpacked(packed) == bytes(10)
    with pytest.raises(ConfigurationError, match="cannot be unpacked"):
        unpacked(cabinet([block, noise], "layouts.pdb", method=1, size=(1 << 15) + 1, checksums=False))


def test_what_takes_too_long_is_given_up() -> None:
    """A cabinet can be made that takes hours: the time is looked at after every block."""
    data = cabinet(mszip(PDB), "layouts.pdb", method=1)
    target = io.BytesIO()
    with pytest.raises(ConfigurationError, match="unpacked: after 32768 bytes, its time is over"):
        expand(Bytes(data), "layouts.pdb", target, LIMIT, seconds=0)
    assert target.tell() == 32768
