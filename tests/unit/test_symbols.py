"""Symbols are of exactly the PDB that was asked for, or there are none."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from lab.model import ConfigurationError
from lab.symbols import PdbId, builtin_kernel, identify_kernel, symbol_store
from lab.symbols.builtin import builtin_layouts, kernels
from lab.symbols.isf import load_isf

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "isf"
real = pytest.mark.skipif(not SHARED.exists(), reason="the shared ISF files are not here")
SRV2 = PdbId("srv2.pdb", "A" * 32, 1)
WIN7 = PdbId("ntkrnlmp.pdb", "339E74133576439CBCDF7E0229DA3773", 1)


def _content(guid: str = "A" * 32, age: int = 1, **symbols: int) -> dict[str, object]:
    return {
        "metadata": {"windows": {"pdb": {"GUID": guid, "age": age, "database": "srv2.pdb"}}},
        "symbols": {name: {"address": address} for name, address in symbols.items()},
        "user_types": {
            "_IRP": {
                "size": 0xD0,
                "fields": {"Tail": {"offset": 0x78, "type": {"kind": "union", "name": "__unnamed_1"}}},
            },
            "__unnamed_1": {
                "size": 0x58,
                "fields": {
                    "Thread": {
                        "offset": 0x20,
                        "type": {"kind": "pointer", "subtype": {"kind": "struct", "name": "_X"}},
                    }
                },
            },
        },
    }


@real
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.xz")), ids=lambda p: p.name[:8])
def test_built_in_tables_agree_with_the_public_isf_files(path: Path) -> None:
    """Every name and every field of the built-in table of that build, against the whole ISF file."""
    guid, age = path.name.partition(".")[0].split("-")
    pdb = PdbId("ntkrnlmp.pdb", guid, int(age, 16))
    table, isf = builtin_kernel(pdb), symbol_store([SHARED]).find(pdb)
    assert isf is not None and isf.source == f"ISF file {path.name}"
    if table is None:
        pytest.skip("no built-in table of this build")
    for name, rva in table.rvas.items():
        assert isf.rva(name) == rva, name
        assert isf.nearest(rva + 1) is not None
    for type_name, (size, fields) in table.types.items():
        for field, offset in fields.items():
            assert isf.offset(type_name, field) == offset, (type_name, field)
        assert size is None or isf.size(type_name) == size, type_name


def test_the_kernel_falls_back_to_its_table(tmp_path: Path) -> None:
    found = symbol_store([tmp_path]).find(WIN7)
    assert found is not None and found.source == "built-in table 6.1.7601.24540"
    assert found.rva("VfKeCriticalRegionTraces") == 0x54A118
    assert found.offset("_KTHREAD", "KernelApcDisable") == 0x1C4
    assert found.size("_VF_KE_CRITICAL_REGION_TRACE") == 0x40
    assert found.nearest(0x54A118) == ("VfKeCriticalRegionTraces", 0)
    assert found.nearest(0x54A119) is None  # a sparse table does not know what lies in between
    assert found.rva("NoSuchName") is None and found.offset("_KTHREAD", "NoSuchField") is None
    assert symbol_store().find(PdbId("ntkrnlmp.pdb", "0" * 32, 1)) is None
    assert symbol_store().find(PdbId("ntkrnlmp.pdb", WIN7.guid, 2)) is None


@pytest.mark.parametrize("place", ["srv2.pdb/{}.json", "srv2.pdb/{}.json.xz", "{}.json", "{}.json.xz"])
def test_places_where_a_file_is_found(tmp_path: Path, place: str) -> None:
    pdb = PdbId("srv2.pdb", "A" * 32, 0x1B)
    path = tmp_path / place.format(f"{'A' * 32}-1b")
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(_content(age=0x1B, Smb2ExecuteRead=0x1000, Other=0x2000)).encode()
    path.write_bytes(lzma.compress(text) if place.endswith("xz") else text)
    found = symbol_store([tmp_path / "absent", tmp_path]).find(pdb)
    assert found is not None
    assert found.rva("Smb2ExecuteRead") == 0x1000
    assert found.nearest(0x19A6) == ("Smb2ExecuteRead", 0x9A6)
    assert found.nearest(0xFFF) is None
    assert found.offset("_IRP", "Tail.Thread") == 0x98
    assert found.offset("_IRP", "Tail.Thread.Behind") is None


def test_the_id_inside_the_file_decides(tmp_path: Path) -> None:
    (tmp_path / f"{'A' * 32}-1.json").write_text(json.dumps(_content(guid="B" * 32)))
    assert symbol_store([tmp_path]).find(PdbId("srv2.pdb", "A" * 32, 1)) is None


def test_names_and_fields_can_be_listed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_content(B=0x2000, A=0x1000)))
    isf = load_isf(path, SRV2)
    assert isf is not None and dict(isf.names()) == {"A": 0x1000, "B": 0x2000}
    assert isf.fields("_IRP") == (("Tail", 0x78),) and isf.fields("_NO") == ()
    table = builtin_kernel(WIN7)
    assert table is not None and dict(table.names())["VfKeCriticalRegionTraces"] == 0x54A118
    assert table.fields("_UNICODE_STRING") == (("Length", 0), ("MaximumLength", 2), ("Buffer", 8))
    assert table.fields("_NO") == ()


def test_names_of_one_address_are_ranked(tmp_path: Path) -> None:
    """Strings and labels of the compiler never name code."""
    path = tmp_path / "x.json"
    content = _content(
        **{
            "$$0": 0x100,
            "??_C@_0": 0x180,
            "Plain": 0x80,
            "?Decorated@@": 0x80,
            "KxStart": 0x90,
            "KiStart": 0x90,
        }
    )
    path.write_text(json.dumps(content))
    isf = load_isf(path, PdbId("srv2.pdb", "A" * 32, 1))
    assert isf is not None
    assert isf.nearest(0x85) == ("Plain", 5)
    assert isf.nearest(0x200) == ("KiStart", 0x170)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"metadata": 1}',
        b'{"metadata":{"windows":{"pdb":{}}}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".json.xz"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"{'A' * 32}-1{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="ISF file"):
        load_isf(path, SRV2)
    store = symbol_store([tmp_path])
    assert store.find(SRV2) is None  # a damaged file never ends a triage: it is told
    assert "ISF file" in store.answers(SRV2)[0]
    assert store.notes == (f"symbols of srv2.pdb {SRV2.folder}: {store.answers(SRV2)[0]}",)


def test_a_small_file_that_unpacks_without_end(tmp_path: Path) -> None:
    path = tmp_path / f"{'A' * 32}-1.json.xz"
    packer = lzma.LZMACompressor(preset=0)
    block = bytes(1 << 20)
    path.write_bytes(b"".join(packer.compress(block) for _ in range(140)) + packer.flush())
    assert symbol_store([tmp_path]).find(SRV2) is None
    with pytest.raises(ConfigurationError, match="too large"):
        load_isf(path, SRV2)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", "a/b.pdb", "a\\b.pdb", "", "x" * 500]
)
def test_a_pdb_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / f"{'A' * 32}-1.json").write_text(json.dumps(_content()))
    assert symbol_store([inner]).find(PdbId(name, "A" * 32, 1)) is None
    assert symbol_store([inner]).find(PdbId("srv2.pdb", "../" + "A" * 29, 1)) is None
    assert symbol_store([inner]).find(PdbId("é" * 128, "A" * 32, 1)) is None


def test_every_build_is_found_by_its_list_heads() -> None:
    """With the debugger data block at hand, no build is taken for another; twins keep what they share."""
    base = 0xFFFFF80003A00000
    for kernel in kernels():
        names = kernel.rvas
        found = identify_kernel(
            base=base,
            module_list=base + names["PsLoadedModuleList"],
            process_list=base + names["PsActiveProcessHead"],
            debugger_data=base + names["KdDebuggerDataBlock"],
            build=kernel.build,
        )
        assert found is not None
        assert found.pdb in (kernel.pdb, None)
        assert found.rvas.items() <= names.items()
        for type_name, (_, fields) in found.types.items():
            assert fields.items() <= kernel.types[type_name][1].items()
        assert found.offset("_KTHREAD", "KernelApcDisable") == kernel.offset("_KTHREAD", "KernelApcDisable")


def test_no_build_is_made_up() -> None:
    base = 0xFFFFF80003A00000
    heads = {"module_list": base + 0x239C90, "process_list": base + 0x21B988}
    assert identify_kernel(base=base, **heads) is None
    assert identify_kernel(base=base, module_list=None, process_list=base) is None


def test_layouts_of_a_build_whose_kernel_is_not_known() -> None:
    known = builtin_layouts(19045)
    assert known is not None and known.pdb is None and known.rvas == {}
    assert known.offset("_KTHREAD", "StackBase") == 0x38
    assert builtin_layouts(26100) is None
