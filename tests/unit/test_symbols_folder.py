"""A folder as a place for symbols: stores as debuggers and symstore make them, and loose files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cabinets import cabinet, mszip
from pdb_samples import content, pdb_id

from lab.model import ConfigurationError
from lab.symbols import PdbId, symbol_store

PDB = pdb_id("layouts")
WHOLE = content("layouts.pdb")
PACKED = cabinet(mszip(WHOLE), "layouts.pdb", method=1)
ID = PDB.folder


def put(folder: Path, path: str, data: bytes) -> Path:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (f"layouts.pdb/{ID}/layouts.pdb", WHOLE),
        (f"layouts.pdb/{ID.lower()}/layouts.pdb", WHOLE),
        (f"layouts.pdb/{ID}/layouts.pd_", PACKED),
        ("layouts.pdb", WHOLE),
    ],
)
def test_where_a_pdb_may_be(tmp_path: Path, path: str, data: bytes) -> None:
    put(tmp_path / "store", path, data)
    store = symbol_store([tmp_path / "store"], cache=tmp_path / "cache")
    found = store.find(PDB)
    assert found is not None and found.rva("Visible") == 0x1000
    assert store.answers(PDB) == (f"folder {tmp_path}/store: found as {path}",) and store.notes == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (WHOLE, "found"),
        (content("classes.pdb"), "is of another PDB"),
        (WHOLE[:-1], "any.pdb is damaged: it is cut off: 73727 of 73728 bytes are there"),
    ],
)
def test_a_file_alone(tmp_path: Path, data: bytes, said: str) -> None:
    path = put(tmp_path, "any.pdb", data)
    store = symbol_store([path])
    assert (store.find(PDB) is not None) == (data is WHOLE)
    assert store.answers(PDB)[0] == f"file {path}: {said}"


def test_two_tiers(tmp_path: Path) -> None:
    put(tmp_path, "index2.txt", b"")
    put(tmp_path, f"la/layouts.pdb/{ID}/layouts.pdb", WHOLE)
    assert symbol_store([tmp_path]).find(PDB) is not None


def test_names_in_lower_case(tmp_path: Path) -> None:
    put(tmp_path, f"layouts.pdb/{ID}/layouts.pdb", WHOLE)
    assert symbol_store([tmp_path]).find(PdbId("Layouts.PDB", PDB.guid.lower(), 1)) is not None


def test_a_compressed_file_is_unpacked_once(tmp_path: Path) -> None:
    packed = put(tmp_path / "store", f"layouts.pdb/{ID}/layouts.pd_", PACKED)
    assert symbol_store([tmp_path / "store"], cache=tmp_path / "cache").find(PDB) is not None
    assert (tmp_path / f"cache/layouts.pdb/{ID}/layouts.pdb").read_bytes() == WHOLE
    packed.write_bytes(b"")
    assert symbol_store([tmp_path / "store"], cache=tmp_path / "cache").find(PDB) is not None


@pytest.mark.parametrize("text", ["PATH:{}", "{}", "path: {}\r\n", "\ufeffPATH:{}\0"])
def test_a_pointer_to_a_file(tmp_path: Path, text: str) -> None:
    real = put(tmp_path, "elsewhere/x.pdb", WHOLE)
    put(tmp_path / "store", f"layouts.pdb/{ID}/file.ptr", text.format(real).encode())
    assert symbol_store([tmp_path / "store"]).find(PDB) is not None


@pytest.mark.parametrize(
    ("path", "data", "said", "trouble"),
    [
        (f"layouts.pdb/{ID}/layouts.pdb", content("classes.pdb"), "layouts.pdb has another id: ", False),
        ("layouts.pdb", content("classes.pdb"), "layouts.pdb has another id: ", False),
        (f"layouts.pdb/{ID}/layouts.pdb", WHOLE[:-1], "layouts.pdb is damaged: it is cut off: ", True),
        (f"layouts.pdb/{ID}/layouts.pdb", b"<html>", "layouts.pdb is not a PDB", True),
        (f"layouts.pdb/{ID}/layouts.pd_", WHOLE, "the cabinet of layouts.pdb cannot be unpacked", True),
        (f"layouts.pdb/{ID}/layouts.pd_", PACKED[:-1], "the cabinet of layouts.pdb cannot be unpacked", True),
        (f"layouts.pdb/{ID}/file.ptr", b"MSG: gone", "file.ptr says: gone", True),
        (
            f"layouts.pdb/{ID}/file.ptr",
            b"PATH:\\\\server\\x.pdb",
            "file.ptr points to \\\\server\\x.pdb, which",
            True,
        ),
        (f"layouts.pdb/{ID}/file.ptr", b"PATH:/dev/zero", "file.ptr points to /dev/zero, which is not", True),
        (f"layouts.pdb/{ID}/file.ptr", b"PATH:" + b"x" * 190, "file.ptr points to xxx", True),
        (f"layouts.pdb/{ID}/file.ptr", b"PATH:" + b"x" * 5000, "file.ptr does not name a file", True),
        (f"layouts.pdb/{ID}/file.ptr", b"PATH:a\0b\nc", "file.ptr does not name a file", True),
        (f"layouts.pdb/{ID}/file.ptr", b"", "file.ptr does not name a file", True),
        (f"layouts.pdb/{PDB.guid}2/layouts.pdb", WHOLE, "not there", False),
    ],
    ids=range(14),
)
def test_what_is_not_the_file(tmp_path: Path, path: str, data: bytes, said: str, trouble: bool) -> None:
    put(tmp_path / "store", path, data)
    store = symbol_store([tmp_path / "store"], cache=tmp_path / "cache")
    assert store.find(PDB) is None
    assert store.answers(PDB)[0].startswith(f"folder {tmp_path}/store: {said}")
    assert bool(store.notes) == trouble
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_a_later_place_serves_when_an_earlier_one_is_broken(tmp_path: Path) -> None:
    put(tmp_path / "bad", f"layouts.pdb/{ID}/layouts.pdb", WHOLE[:-1])
    put(tmp_path / "good", "layouts.pdb", WHOLE)
    store = symbol_store([tmp_path / "none", tmp_path / "bad", tmp_path / "good"])
    assert store.find(PDB) is not None
    assert [answer.partition(": ")[2][:12] for answer in store.answers(PDB)] == [
        "there is no ",
        "layouts.pdb ",
        "found as lay",
    ]
    assert len(store.notes) == 1 and "is damaged" in store.notes[0]


def test_what_is_damaged_inside_a_pdb_that_is_used_becomes_a_note(tmp_path: Path) -> None:
    from pdb_samples import container, streams

    parts = streams(WHOLE)
    parts[2] = parts[2][:-4]
    put(tmp_path, "layouts.pdb", container(parts))
    store = symbol_store([tmp_path])
    found = store.find(PDB)
    assert found is not None and found.size("_IRP") == 0x1A8
    assert any("layouts.pdb: types were read only up to" in note for note in store.notes)


def test_answers_of_kernels_come_from_the_tables_last(tmp_path: Path) -> None:
    kernel = PdbId("ntkrnlmp.pdb", "339E74133576439CBCDF7E0229DA3773", 1)
    store = symbol_store([tmp_path])
    assert store.find(kernel) is not None
    assert store.answers(kernel) == (
        f"folder {tmp_path}: not there",
        "the built-in tables: built-in table 6.1.7601.24540",
    )
    assert store.answers(PDB)[-1] == "the built-in tables: not among them"


@pytest.mark.parametrize("folder", ["x" * 5000, "/" + "y" * 300, "nul\0byte"])
def test_folders_that_cannot_be(tmp_path: Path, folder: str) -> None:
    store = symbol_store([folder], cache=tmp_path)
    assert store.find(PDB) is None and store.answers(PDB)[0].endswith(": there is no such folder")


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers: nothing needs a cache until a place is given, and then one may be named."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert symbol_store().find(PDB) is None
    assert symbol_store([tmp_path], cache=tmp_path).find(PDB) is None
    with pytest.raises(ConfigurationError, match="there is no home folder to keep symbols in"):
        symbol_store([tmp_path])
