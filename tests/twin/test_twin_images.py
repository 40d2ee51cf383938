"""The twin's compiled images and PDBs, held against real kernels' tables, by tools that did not make them."""

from __future__ import annotations

import json
import lzma
import re
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from capstone import CS_ARCH_X86, CS_MODE_64, Cs

from lab.symbols.builtin import kernels
from lab.symbols.pdb import Pdb
from lab.twin.images import Blueprint, Function, blueprint, pdb
from lab.twin.images.make import COMPILER, FACTS
from lab.twin.images.make.build import Shop, build_image, build_kernel, open_shop
from lab.twin.images.make.structures import header
from lab.twin.memory import BUILDS

DATA = Path(__file__).parents[2] / "lab" / "twin" / "images" / "data"
NAMES = sorted(path.name.removesuffix(".xz") for path in DATA.glob("*.xz") if ".pdb." not in path.name)
IMAGES = pytest.mark.parametrize("name", NAMES)
KERNELS = pytest.mark.parametrize("build", BUILDS)
ISF = Path(__file__).parents[2].parent / "shared" / "data" / "isf"
LLVM = Path("/usr/lib/llvm-19/bin")
GUID = bytes(range(16))
DUMPED = ("_KTHREAD", "_ETHREAD", "_EPROCESS", "_KPRCB")
"""Structures that dumps hold by the built-in kernel tables: the layouts here have another source."""


class Bytes:
    """Bytes as the PDB reader takes them."""

    def __init__(self, contents: bytes) -> None:
        self._contents = contents
        self.size = len(contents)

    def read(self, offset: int, size: int) -> bytes:
        return self._contents[offset : offset + size]


@cache
def symbols(name: str) -> Pdb:
    return Pdb(Bytes(pdb(name, GUID, 3)), name)


def test_all_of_it_is_small() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 500_000


@KERNELS
def test_a_kernel_is_laid_out_as_the_real_one(build: int) -> None:
    built = blueprint(f"nt-{build}")
    assert built.pdb_id is not None
    guid, age = built.pdb_id
    real = next(k for k in kernels() if k.pdb is not None and (k.pdb.guid, k.pdb.age) == (guid, age))
    assert real.build == build
    common = built.symbols.keys() & real.rvas.keys()
    assert len(common) > 30
    assert {n: built.symbols[n] for n in common} == {n: real.rvas[n] for n in common}
    told = symbols(f"nt-{build}")
    for name in (*DUMPED, "_DEVICE_OBJECT", "_DRIVER_OBJECT", "_IRP"):
        size, fields = real.types[name]
        assert told.size(name) == size or size is None
        for field, offset in fields.items():
            if name in DUMPED or told.offset(name, field) is not None:
                assert told.offset(name, field) == offset, f"{name}.{field}"
    assert told.offset("_KTHREAD", "KernelApcDisable") == real.offset("_KTHREAD", "KernelApcDisable")


@KERNELS
def test_every_public_name_of_the_real_kernel_is_where_it_is_there(build: int) -> None:
    built = blueprint(f"nt-{build}")
    assert built.pdb_id is not None
    path = ISF / f"{built.pdb_id[0]}-{built.pdb_id[1]}.json.xz"
    if not path.exists():
        pytest.skip("the public symbols of this kernel are not at hand")
    public: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))["symbols"]
    there = {name: rva for name, rva in built.symbols.items() if name in public}
    assert len(there) > 85
    assert there == {name: public[name]["address"] for name in there}


@IMAGES
def test_a_pdb_bears_the_id_it_is_given_and_names_what_the_image_holds(name: str) -> None:
    told = symbols(name)
    assert (told.guid, told.age) == ("03020100050407060809" + "0A0B0C0D0E0F", 3)
    assert told.notes == ()
    for symbol, rva in blueprint(name).symbols.items():
        assert told.rva(symbol) == rva
    for function in blueprint(name).functions:
        if not function.parent:
            nearest = told.nearest(function.rva + function.size - 1)
            assert nearest is not None
            assert blueprint(name).symbols[nearest[0]] == function.rva


@pytest.mark.parametrize(
    ("source", "base", "nodes"), [("7601", 0x20, 0x90), ("14393", 0x30, 0xA0), ("22000", 0x30, 0xA8)]
)
def test_the_filter_managers_structures(source: str, base: int, nodes: int) -> None:
    told = symbols(f"fltmgr-{source}")
    assert told.size("_FLT_OBJECT") == base
    assert told.offset("_FLT_VOLUME", "InstanceList") == base + 0x70
    assert told.offset("_FLT_INSTANCE", "CallbackNodes") == nodes
    assert told.offset("_FLT_FILTER", "DriverObject") == base + 0x30
    assert told.offset("_GLOBALS", "FrameList") == 0x58
    assert told.offset("_VOLUME_DEVICE_EXTENSION", "Volume") == 0x50


def code(built: Blueprint, function: Function) -> bytes:
    first = function.rva & ~0xFFF
    pages = b"".join(built.pages[page] for page in range(first, function.rva + function.size, 0x1000))
    return pages[function.rva - first : function.rva - first + function.size]


@IMAGES
def test_the_description_of_a_function_fits_its_code(name: str) -> None:
    """Calls are where an independent disassembler sees them, and the prologue takes the stack it says."""
    built = blueprint(name)
    at_address = {f.rva: f for f in built.functions}
    slots = dict(built.imports)
    machine = Cs(CS_ARCH_X86, CS_MODE_64)
    for function in built.functions:
        found = list(machine.disasm(code(built, function), function.rva))
        assert sum(i.size for i in found) == function.size
        calls = []
        for instruction in found:
            if instruction.mnemonic != "call":
                continue
            behind = instruction.address + instruction.size
            through = re.fullmatch(r"qword ptr \[rip \+ (0x[0-9a-f]+)\]", instruction.op_str)
            if through:
                calls.append((behind - function.rva, slots[behind + int(through[1], 16)]))
            elif instruction.op_str.startswith("0x"):
                callee = at_address[int(instruction.op_str, 16)]
                calls.append((behind - function.rva, callee.name))
            else:
                calls.append((behind - function.rva, "*"))
        assert calls == list(function.calls)
        prologue = [i for i in found if i.address < function.rva + function.prologue]
        taken = sum(8 for i in prologue if i.mnemonic == "push")
        taken += sum(int(i.op_str.split(", ")[1], 16) for i in prologue if i.mnemonic == "sub")
        assert taken == sum(op.taken for op in function.ops)


@IMAGES
def test_unwind_tables_are_sorted_and_whole(name: str) -> None:
    built = blueprint(name)
    rva, size = built.exception
    table = list(struct.iter_unpack("<III", built.pages[rva & ~0xFFF][rva & 0xFFF :][:size]))
    assert table == sorted(table)
    described = {f.rva: f.rva + f.size for f in built.functions if f.ops or f.parent}
    assert {begin: end for begin, end, _ in table} == described


@pytest.mark.parametrize("name", ["nt-7601", "nt-20348", "fltmgr-14393", "driver-2"])
def test_llvm_reads_the_pdb(name: str, tmp_path: Path) -> None:
    tool = LLVM / "llvm-pdbutil"
    if not tool.exists() and shutil.which("llvm-pdbutil") is None:
        pytest.skip("llvm-pdbutil is not installed")
    path = tmp_path / "x.pdb"
    path.write_bytes(pdb(name, GUID, 3))
    said = subprocess.run(
        [tool if tool.exists() else "llvm-pdbutil", "dump", "-summary", path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "{03020100-0504-0706-0809-0A0B0C0D0E0F}" in said
    assert re.search(r"Age: 3\b", said)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    tool = LLVM / "clang"
    command = [tool, "--version"]
    if not tool.exists() or COMPILER not in subprocess.run(command, capture_output=True, text=True).stdout:
        pytest.skip(f"{COMPILER}, which made the images, is not installed")
    return open_shop(tmp_path)


def same(shop: Shop, name: str) -> bool:
    files = (f"{name}.xz", f"{name}.pdb.xz")
    return all((shop.out / file).read_bytes() == (DATA / file).read_bytes() for file in files)


def test_the_images_are_those_of_the_sources(shop: Shop) -> None:
    facts = json.loads(lzma.decompress(FACTS.read_bytes()))
    headers = {"structures.h": header(facts["17763"]["types"])}
    build_image(shop, "inbox", "inbox.c", headers=headers)
    build_image(shop, "driver-2", "driver.c", "-DVARIANT=2", headers=headers)
    assert same(shop, "inbox") and same(shop, "driver-2")


@pytest.mark.slow
def test_a_kernel_is_that_of_the_sources(shop: Shop) -> None:
    facts = json.loads(lzma.decompress(FACTS.read_bytes()))
    build_kernel(shop, 7601, facts["7601"])
    assert same(shop, "nt-7601")
