"""PsLoadedModuleList and the unloaded drivers.

KLDR_DATA_TABLE_ENTRY: the kernel's own list entry. Up to 0x80 it is laid out like LDR_DATA_TABLE_ENTRY;
from there on it differs: TimeDateStamp is at 0x9C in the 10 family, and 7601 has none.
"""

from __future__ import annotations

import struct

from lab.twin.crash import CrashState
from lab.twin.memory.image import checksum
from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record, filetime

_UNLOADED = (("dump_storport.sys", 0x14000), ("dump_storahci.sys", 0x2A000), ("crashdmp.sys", 0x1E000))
_UNLOADED_SLOTS = 50
_BOOT_LOADED = 0xFFFFFFFFFFFFFFFF


def write_modules(
    memory: Memory, pool: Pool, at: Layout, exceptions: dict[str, tuple[int, int]]
) -> tuple[int, ...]:
    """The list in load order; returns its entries. `exceptions` gives address and size of .pdata by name."""
    head = at.variable("PsLoadedModuleList")
    size = 0xA0 if at.kernel.new else 0x90
    entries = [pool.take(size, b"MmLd") for _ in at.modules]
    ring = [head, *entries]
    for index, (module, address) in enumerate(zip(at.modules, entries, strict=True)):
        record = Record(size)
        record.u64(0, ring[(index + 2) % len(ring)])
        record.u64(8, ring[index])
        table, length = exceptions[module.name]
        record.u64(0x10, table)
        record.u32(0x18, length)
        record.u64(0x30, module.base)
        record.u64(0x38, module.entry)
        record.u32(0x40, module.size)
        folder = "" if module.prefix in ("nt", "hal") else "drivers\\"
        full = f"\\SystemRoot\\system32\\{folder}{module.name}"
        record.bytes(0x48, pool.string(full, b"MmLd"))
        record.bytes(0x58, pool.string(module.name, b"MmLd"))
        record.u32(0x68, 0x08804000 if module.prefix == "nt" else 0x49104000)
        record.u16(0x6C, 100 if module.prefix == "nt" else 1)
        record.u32(0x78, checksum(module))
        if at.kernel.new:
            record.u32(0x98, module.size)
            record.u32(0x9C, module.timestamp)
        else:
            record.u64(0x80, _BOOT_LOADED)  # LoadedImports
        memory.write(address, record.data)
    memory.write(head, struct.pack("<QQ", ring[1], ring[-1]))
    return tuple(entries)


def write_unloaded(
    memory: Memory, pool: Pool, at: Layout, state: CrashState
) -> tuple[tuple[str, int, int], ...]:
    """MmUnloadedDrivers: a ring of 50 with the crash dump helpers that each boot unloads, and more.

    Returns name, start and end of each, the oldest first.
    """
    table = Record(_UNLOADED_SLOTS * 0x28)
    base = at.modules[-1].base + at.modules[-1].size + 0x100000
    started = state.system_time - state.uptime_seconds
    gone = [(name, size, started + 12.5 + index / 8) for index, (name, size) in enumerate(_UNLOADED)]
    gone += [(one.name, one.size, state.system_time - one.seconds) for one in state.unloaded]
    found = []
    for index, (name, size, when) in enumerate(gone):
        start = base + index * 0x400000
        found.append((name, start, start + size))
        slot = index % _UNLOADED_SLOTS * 0x28
        table.bytes(slot, pool.string(name, b"TDnm"))
        table.u64(slot + 0x10, start)
        table.u64(slot + 0x18, start + size)
        table.u64(slot + 0x20, filetime(when))
    memory.u64(at.variable("MmUnloadedDrivers"), pool.put(table.data, b"MmUn"))
    memory.u32(at.variable("MmLastUnloadedDriver"), len(gone) % _UNLOADED_SLOTS)
    return tuple(found[-_UNLOADED_SLOTS:])
