"""Dumps of every type: the same memory, told in different ways; and what a small dump keeps of it."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import kdmp_parser
import pytest
from dump_writer_walk import APC_DISABLE, Dump
from test_dump_writer import BUILDS, STATE

from lab.twin.crash import CrashState, Stop
from lab.twin.memory import DUMP_TYPES, parameters, write_dump

PAGED = [kind for kind in DUMP_TYPES if kind != 4]
PUBLICLY_READ = {1: 1, 5: 5, 6: 6, 8: 8, 9: 9, 0xA: 0xA}


def written(path: Path, kind: int, state: CrashState = STATE) -> Dump:
    write_dump(state, path, kind, filler_pages=8)
    return Dump(path)


@BUILDS
@pytest.mark.parametrize("kind", PAGED)
def test_every_type_holds_the_same_memory(tmp_path: Path, build: int, kind: int) -> None:
    state = replace(STATE, build=build)
    usual = written(tmp_path / "usual", 6, state)
    dump = written(tmp_path / "MEMORY.DMP", kind, state)
    assert dump.kind == dump.header32(0xF98) == kind
    assert dump.count == len(dump.frames)
    assert dump.header64(0xFA0) == len(dump.bytes) == dump.first + 0x1000 * len(dump.frames)
    runs = dump.u64(dump.u64(dump.header64(0x80) + 0x270))
    count = dump.u32(runs)
    assert dump.read(runs + 0x10, 16 * count) == dump.bytes[0x98 : 0x98 + 16 * count]
    assert count == dump.header32(0x88) <= 42
    # the pages that differ, because the machine's memory does
    described = {dump.translate(at) >> 12 for at in (runs, runs + 0x10 + 16 * 42 - 1)}
    for frame, offset in usual.frames.items():
        if frame not in described or kind != 1:
            here = dump.bytes[dump.frames[frame] : dump.frames[frame] + 0x1000]
            assert here == usual.bytes[offset : offset + 0x1000]
    assert [frame.ip for frame in dump.unwind()] == [frame.ip for frame in usual.unwind()]


@pytest.mark.parametrize("kind", PUBLICLY_READ)
def test_the_public_reader_agrees_on_every_type_it_knows(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "MEMORY.DMP"
    own = written(path, kind, replace(STATE, build=20348))
    public = kdmp_parser.KernelDumpParser(path)
    assert public.type == PUBLICLY_READ[kind]
    for frame, offset in own.frames.items():
        assert bytes(public.read_physical_page(frame << 12)) == own.bytes[offset : offset + 0x1000]
    assert (public.context.Rip, public.context.Rsp) == (own.registers()["rip"], own.registers()["rsp"])


def test_a_full_dump_stays_small(tmp_path: Path) -> None:
    for seed in range(4):
        write_dump(replace(STATE, seed=seed), tmp_path / "MEMORY.DMP", 1)
        assert (tmp_path / "MEMORY.DMP").stat().st_size < 40_000_000


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dump type 7 is not one of"):
        write_dump(STATE, tmp_path / "MEMORY.DMP", 7)
    assert list(tmp_path.iterdir()) == []


@BUILDS
def test_a_small_dump(tmp_path: Path, build: int) -> None:
    state = replace(STATE, build=build)
    whole = written(tmp_path / "whole", 6, state)
    write_dump(state, tmp_path / "Mini.dmp", 4)
    data = (tmp_path / "Mini.dmp").read_bytes()
    assert len(data) < 200_000
    assert data[:8] == b"PAGEDU64" and struct.unpack_from("<I", data, 0xF98) == (4,)
    assert struct.unpack_from("<I4x4Q", data, 0x38) == (parameters(state)[0], *parameters(state)[1])
    head = struct.unpack_from("<18I", data, 0x2000)
    _, size, end, context, exception, mm, unloaded, prcb, process, thread = head[:10]
    stack, stack_size, drivers, count, pool, pool_size, broken, options = head[10:]
    top, _, _, _, debugger, debugger_size, listed, blocks = struct.unpack_from("<Q16xQIIIIII", data, 0x2048)
    assert size == len(data) == struct.unpack_from("<Q", data, 0xFA0)[0]
    assert data[end : end + 4] == b"TRGD"
    assert (context, exception, broken, options) == (0x348, 0xF00, 0, 0)
    assert data[context : context + 0x4D0] == whole.bytes[0x348 : 0x348 + 0x4D0]
    version, mm_size, _, _, level, _ = struct.unpack_from("<6I", data, mm)
    assert (version, mm_size, level) == (1, 0x50, 0x810)
    # what was copied is what the kernel dump of the same crash has
    rsp = whole.registers()["rsp"]
    assert (top, data[stack : stack + stack_size]) == (rsp, whole.read(rsp, stack_size))
    crashed = struct.unpack_from("<Q", data, prcb + 8)[0]
    assert data[thread : thread + 0x300] == whole.read(crashed, 0x300)
    assert struct.unpack_from("<h", data, thread + APC_DISABLE[build]) == (-1,)
    owner = struct.unpack_from("<Q", data, thread + (0x210 if build == 7601 else 0x220))[0]
    assert data[process : process + 0x300] == whole.read(owner, 0x300)
    assert data[debugger : debugger + debugger_size] == whole.read(whole.header64(0x80), debugger_size)
    for address, offset, length in struct.iter_unpack("<QII", data[listed : listed + 16 * blocks]):
        assert data[offset : offset + length] == whole.read(address, length)
    # the modules
    stride = (pool - drivers) // count
    assert stride == (0x98 if build == 7601 else 0xA8)
    names, bases = [], []
    for entry in range(drivers, pool, stride):
        (text,) = struct.unpack_from("<I", data, entry)
        (length,) = struct.unpack_from("<I", data, text)
        names.append(data[text + 4 : text + 4 + 2 * length].decode("utf-16-le"))
        bases.append(struct.unpack_from("<Q", data, entry + 8 + 0x30)[0])
        assert pool <= text < pool + pool_size
    assert list(zip(names, bases, strict=True)) == [(i.name, i.base) for i in whole.images]
    (gone,) = struct.unpack_from("<Q", data, unloaded)
    first = data[unloaded + 8 + 16 : unloaded + 8 + 40].decode("utf-16-le").rstrip("\0")
    assert (gone, first) == (3, "crashdmp.sys")
    starts = sorted({mm, unloaded, prcb, process, thread, stack, debugger, listed, drivers, pool, end})
    assert all(later - sooner > 3 for sooner, later in pairwise(starts))


@BUILDS
def test_a_small_dump_names_the_driver_that_the_system_blames(tmp_path: Path, build: int) -> None:
    blaming = replace(STATE, build=build, stop=Stop.PAGED_AT_DISPATCH, dispatch_owner="BadDriver.sys")
    for state, name in ((blaming, "BadDriver.sys"), (replace(STATE, build=build), "")):
        write_dump(state, tmp_path / "Mini.dmp", 4)
        data = (tmp_path / "Mini.dmp").read_bytes()
        (at,) = struct.unpack_from("<I", data, 0x2040)
        length = struct.unpack_from("<I", data, at)[0] if at else 0
        assert data[at + 4 : at + 4 + 2 * length].decode("utf-16-le") == name
        assert struct.unpack_from("<I", data, 0x1038)[0] >> 7 & 1 == bool(name)
