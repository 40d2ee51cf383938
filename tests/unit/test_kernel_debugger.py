"""KDDEBUGGER_DATA64: in clear, encoded, damaged; and where it stands in for symbols."""

from __future__ import annotations

import struct
from pathlib import Path

import kernel_bytes as kb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.dumps.dump import open_dump
from lab.kernel.debugger import FIELDS, SIZES, VARIABLES, DebuggerData, decode, read_debugger_data
from lab.kernel.opening import open_kernel
from lab.model import Bugcheck, DumpError
from lab.symbols import symbol_store

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
BLOCK = kb.NT + 0x1F0000
NEVER, ALWAYS, ENCODED = kb.NT + 0x29D130, kb.NT + 0x29D218, kb.NT + 0x1FFD1B
KEYS = (0x8A3F_55C1_0B7E_D42D, 0x0000_7F31_9C44_E0A6)
WORD = st.integers(0, (1 << 64) - 1)


def block(**variables: int) -> bytes:
    raw = bytearray(0x340)
    raw[0x10:0x14] = b"KDBG"
    struct.pack_into("<I", raw, 0x14, 0x340)
    struct.pack_into("<Q", raw, 0x18, kb.NT)
    for name, address in variables.items():
        struct.pack_into("<Q", raw, VARIABLES[name], address)
    for offset, value in ((0x29C, 0x58), (0x2AE, 0x28), (0x2B0, 0x7000), (0x338, 0x53E0)):
        struct.pack_into("<H", raw, offset, value)
    return bytes(raw)


def encode(data: bytes, never: int, always: int, address: int) -> bytes:
    """What a running kernel does to the block: each step of decoding undone, last first."""
    turn, mask = never & 0x3F, (1 << 64) - 1
    words = []
    for (word,) in struct.iter_unpack("<Q", data):
        word = int.from_bytes((word ^ always).to_bytes(8, "big"), "little") ^ address
        words.append(((word >> turn | word << 64 - turn) & mask) ^ never)
    return struct.pack(f"<{len(words)}Q", *words)


def encoded_memory(data: bytes) -> kb.Bytes:
    found = kb.Bytes()
    found.put(BLOCK, encode(data, *KEYS, ENCODED))
    found.u64(NEVER, KEYS[0])
    found.u64(ALWAYS, KEYS[1])
    return found


def keys(name: str) -> int | None:
    return {"nt!KiWaitNever": NEVER, "nt!KiWaitAlways": ALWAYS, "nt!KdpDataBlockEncoded": ENCODED}.get(name)


@given(WORD, WORD, WORD, st.binary(min_size=8, max_size=64).map(lambda data: data[: len(data) & ~7]))
def test_decoding_undoes_encoding(never: int, always: int, address: int, data: bytes) -> None:
    assert decode(encode(data, never, always, address), never, always, address) == data


def test_in_clear() -> None:
    found = kb.Bytes()
    found.put(BLOCK, block(KiProcessorBlock=kb.NT + 0x5000))
    data = read_debugger_data(found, BLOCK)
    assert (data.encoded, data.kernel_base) == (False, kb.NT)
    assert data.variable("KiProcessorBlock") == kb.NT + 0x5000
    assert data.variable("MmUnloadedDrivers") is None
    assert data.variable("NoSuchName") is None
    assert data.offset("_KTHREAD", "KernelStack") == 0x58
    assert data.offset("_KTHREAD", "State") is None
    assert data.size("_KPRCB") == 0x7000


def test_encoded_as_in_a_running_system() -> None:
    plain = block(KiProcessorBlock=kb.NT + 0x5000)
    data = read_debugger_data(encoded_memory(plain), BLOCK, keys)
    assert data.encoded
    assert data.raw == plain


@pytest.mark.parametrize("lacking", [NEVER, ALWAYS])
def test_without_its_keys_it_stays_encoded(lacking: int) -> None:
    found = encoded_memory(block())
    del found.cells[lacking]
    with pytest.raises(DumpError, match="encoded"):
        read_debugger_data(found, BLOCK, keys)
    with pytest.raises(DumpError, match="encoded"):
        read_debugger_data(encoded_memory(block()), BLOCK)


def test_what_is_no_block_is_refused() -> None:
    found = encoded_memory(bytes(0x340))
    with pytest.raises(DumpError, match="neither in clear nor encoded"):
        read_debugger_data(found, BLOCK, keys)


@pytest.mark.parametrize("size", [0, 0x100, 0xFFFFFFFF])
def test_an_impossible_size_is_refused(size: int) -> None:
    found = kb.Bytes()
    found.put(BLOCK, block())
    found.u32(BLOCK + 0x14, size)
    with pytest.raises(DumpError, match="size"):
        read_debugger_data(found, BLOCK)


def test_a_block_cut_by_a_missing_page_tells_what_is_there() -> None:
    found = kb.Bytes()
    at = kb.NT + 0x1F0D00
    found.put(at, block(KiProcessorBlock=kb.NT + 0x5000)[:0x300])
    data = read_debugger_data(found, at)
    assert data.variable("KiProcessorBlock") == kb.NT + 0x5000
    assert data.offset("_KPRCB", "Context") is None


def test_it_stands_in_where_symbols_lack_a_name() -> None:
    found = kb.Bytes()
    found.put(BLOCK, block(MmUnloadedDrivers=kb.NT + 0x6000, KiProcessorBlock=kb.NT + 0x5000))
    kernel = kb.kernel(found, debugger_data=BLOCK)
    with kernel.reading("test"):
        assert kernel.address("nt!MmUnloadedDrivers") == kb.NT + 0x6000
        assert kernel.address("nt!KiProcessorBlock") == kb.NT + kb.PROCESSORS, "symbols come first"
        assert kernel.find_offset("_KTHREAD", "KernelStack") == 0x58
    assert kernel.address("srv2!MmUnloadedDrivers") is None
    (reading,) = kernel.readings
    assert [fact for fact in reading.facts if "KDDEBUGGER_DATA64" in fact] == [
        f"nt!MmUnloadedDrivers = {kb.NT + 0x6000:#x} (KDDEBUGGER_DATA64)",
        "nt!_KTHREAD.KernelStack = +0x58 (KDDEBUGGER_DATA64)",
    ]


def test_a_block_of_another_kernel_is_not_believed() -> None:
    found = kb.Bytes()
    raw = bytearray(block(MmUnloadedDrivers=kb.NT + 0x6000))
    struct.pack_into("<Q", raw, 0x18, kb.NT + 0x100000)
    found.put(BLOCK, bytes(raw))
    assert kb.kernel(found, debugger_data=BLOCK).address("nt!MmUnloadedDrivers") is None


def test_the_stop_is_read_from_memory_when_the_header_has_none() -> None:
    found = kb.Bytes()
    found.u64(kb.NT + 0x266780, 0x20, 0, 0xFFFF, 0, 1)
    names = {"KiBugCheckData": 0x266780}
    kernel = kb.kernel(found, bugcheck=Bugcheck(0, (0, 0, 0, 0)), more=names)
    assert kernel.bugcheck == Bugcheck(0x20, (0, 0xFFFF, 0, 1))
    assert kb.kernel(found, more=names).bugcheck == kb.VIOLATION, "what the header says comes first"
    nothing = kb.kernel(kb.Bytes(), bugcheck=Bugcheck(0, (0, 0, 0, 0)), more=names)
    assert nothing.bugcheck.code == 0


def test_a_real_block_agrees_with_the_symbols_of_its_kernel() -> None:
    path = SHARED / "kernel-dumps" / "rizin-triage_x64.dmp"
    if not path.is_file():
        pytest.skip(f"no test data at {path}")
    with open_dump(path) as dump:
        kernel = open_kernel(dump, symbol_store([SHARED / "isf"]))
        data, symbols = kernel.debugger, kernel.nt_symbols
        assert isinstance(data, DebuggerData) and symbols is not None
        assert data.kernel_base == kernel.nt.base
        for name in VARIABLES:
            rva = symbols.rva(name)
            assert rva is not None and data.variable(name) == kernel.nt.base + rva, name
        for type_name, field in FIELDS:
            expected = symbols.offset(type_name, field)
            assert data.offset(type_name, field) == expected, (type_name, field)
        for type_name in SIZES:
            assert data.size(type_name) == symbols.size(type_name), type_name
        state, frame = (
            symbols.offset("_KPRCB", "ProcessorState"),
            symbols.offset("_KPROCESSOR_STATE", "ContextFrame"),
        )
        assert state is not None and frame is not None and data.context_frame == state + frame
