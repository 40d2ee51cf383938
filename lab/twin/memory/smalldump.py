"""What a small dump (type 4) holds: TRIAGE_DUMP64 and its parts, each found by an offset into the file."""

from __future__ import annotations

import struct

from lab.twin.crash import CrashState, Stop
from lab.twin.memory.machine import Machine
from lab.twin.memory.pagemaps import HEADER

CONTEXT, EXCEPTION = 0x348, 0xF00  # both are in the header
_FIELDS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x400 | 0x800
_BROKEN_DRIVER = 0x80
_HEAD = 0x80
_POOL_TAG, _LEVEL = 0, 0x10
_AROUND = 0x100  # bytes kept around what a register points to
_MOST_STACK = 0x4000
_UNLOADED_NAME = 12  # characters


class _File:
    """Parts one after the other, aligned to 8 bytes."""

    def __init__(self) -> None:
        self.data = bytearray(_HEAD)

    def add(self, part: bytes) -> int:
        """Offset into the file of `part`."""
        self.data += bytes(-len(self.data) % 8)
        at = HEADER + len(self.data)
        self.data += part
        return at


def names_driver(state: CrashState) -> bool:
    """Whether the system itself blames a driver (nt!KiBugCheckDriver)."""
    return state.stop is Stop.PAGED_AT_DISPATCH


def fields(state: CrashState) -> int:
    """MiniDumpFields: all parts but the data page, and the broken driver if there is one."""
    return _FIELDS | (_BROKEN_DRIVER if names_driver(state) else 0)


def small_dump(machine: Machine, state: CrashState) -> bytes:
    """Everything behind the header of the dump."""
    at, memory = machine.layout, machine.memory
    file = _File()
    sizes = at.kernel.sizes
    mm = file.add(_mm_storage(state))
    unloaded = file.add(_unloaded(machine))
    prcb = file.add(memory.read(machine.prcb, sizes["KPRCB"]))
    process = file.add(memory.read(machine.process, sizes["EPROCESS"]))
    thread = file.add(memory.read(machine.thread, sizes["ETHREAD"]))
    top = machine.registers.rsp
    stack_bytes = memory.read(top, min(machine.stack_base - top, _MOST_STACK))
    stack = file.add(stack_bytes)
    debugger = memory.read(at.variable("KdDebuggerDataBlock"), 0x360 if at.kernel.new else 0x340)
    debugger_at = file.add(debugger)
    blocks = _blocks(machine)
    contents = [(address, file.add(part), len(part)) for address, part in blocks]
    listed = file.add(b"".join(struct.pack("<QII", *block) for block in contents))
    entries, count, pool, pool_size, names = _drivers(machine, file)
    broken = names[at.module(state.dispatch_owner).name] if names_driver(state) else 0
    end = file.add(b"TRGD")
    size = HEADER + len(file.data)
    head = struct.pack(
        "<12I6I",
        *(0, size, end, CONTEXT, EXCEPTION, mm, unloaded, prcb, process, thread, stack, len(stack_bytes)),
        *(entries, count, pool, pool_size, broken, 0),
    )
    head += struct.pack("<Q16xQII", top, 0, 0, 0)
    head += struct.pack("<4I", debugger_at, len(debugger), listed, len(contents))
    file.data[:_HEAD] = head
    return bytes(file.data)


def _mm_storage(state: CrashState) -> bytes:
    """DUMP_MM_STORAGE64; Windows keeps all ones as the level while verifier is off."""
    level = state.verifier_level or 0xFFFFFFFF
    head = struct.pack("<6I", 1, 0x50, 0, 0, level, 0)
    return head + struct.pack("<7Q", 0x300000, 0x8F00, 0x2000000, 0x7A00, 0x41000, 0x47000, 0x17F000)


def _unloaded(machine: Machine) -> bytes:
    """A count, and DUMP_UNLOADED_DRIVERS64, the latest first."""
    found = [
        struct.pack("<HHIQ", *(2 * min(len(name), _UNLOADED_NAME),) * 2, 0, 0)
        + name[:_UNLOADED_NAME].encode("utf-16-le").ljust(2 * _UNLOADED_NAME, b"\0")
        + struct.pack("<QQ", start, end)
        for name, start, end in reversed(machine.unloaded)
    ]
    return struct.pack("<Q", len(found)) + b"".join(found)


def _blocks(machine: Machine) -> list[tuple[int, bytes]]:
    """Memory that the nonvolatile registers point to, as far as it exists."""
    found: dict[int, bytes] = {}
    own = range(machine.registers.rsp, machine.stack_base)
    for value in machine.registers.nonvolatile.values():
        start = value & ~0xF
        if value >> 47 == 0x1FFFF and value not in own and machine.memory.holds(start, _AROUND):
            found[start] = machine.memory.read(start, _AROUND)
    return sorted(found.items())


def _drivers(machine: Machine, file: _File) -> tuple[int, int, int, int, dict[str, int]]:
    """The list of modules and its strings: offset, count, offset of the strings, their size, each string."""
    size = 0xA0 if machine.layout.kernel.new else 0x90
    stride = 8 + size
    file.data += bytes(-len(file.data) % 8)
    start = HEADER + len(file.data)
    modules = machine.layout.modules
    pool = start + stride * len(modules)
    entries, strings = bytearray(), bytearray()
    names = {}
    for module, entry in zip(modules, machine.module_entries, strict=True):
        names[module.name] = pool + len(strings)
        entries += struct.pack("<II", names[module.name], 0) + machine.memory.read(entry, size)
        text = module.name.encode("utf-16-le")
        strings += struct.pack("<I", len(module.name)) + text + b"\0\0"
        strings += bytes(-len(strings) % 8)
    file.data += entries + strings
    return start, len(modules), pool, len(strings), names
