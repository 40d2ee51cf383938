"""The drivers that were loaded, and those that had been unloaded, when the system stopped."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from lab.dumps.dump import Dump
from lab.dumps.header import filetime_iso
from lab.dumps.memory import KERNEL_SPACE, Memory, text_or_nothing, u32, u64
from lab.kernel.debugger import read_debugger_data
from lab.kernel.image import read_image
from lab.model import DumpError
from lab.symbols.port import PdbId

_MAX_MODULES = 2048
_MAX_SIZE = 1 << 30
_UNLOADED_SLOTS = 50  # MI_UNLOADED_DRIVERS
_ENTRY = 0x6C  # of a KLDR_DATA_TABLE_ENTRY, up to its flags: the same in every build


@dataclass(frozen=True)
class LoadedModule:
    """A loaded image. `pdb` is None when its debug directory is not in the dump."""

    name: str  # file name, "BadDriver.sys"
    full_name: str  # as loaded, "\\SystemRoot\\System32\\drivers\\BadDriver.sys"
    base: int
    size: int
    timestamp: int
    pdb: PdbId | None = None
    flags: int = 0  # KLDR_DATA_TABLE_ENTRY.Flags

    @property
    def end(self) -> int:
        return self.base + self.size


@dataclass(frozen=True)
class UnloadedModule:
    """A driver that had been unloaded. `when` is UTC, ISO 8601, "" when the dump does not tell."""

    name: str
    start: int
    end: int
    when: str = ""


def read_modules(dump: Dump, memory: Memory) -> tuple[tuple[LoadedModule, ...], tuple[str, ...]]:
    """(modules in load order, what could not be read). Empty modules when there is no list at all."""
    if dump.triage is not None and dump.triage.drivers:
        loaded = tuple(
            _module(memory, _file_name(d.path), d.path, d.base, d.size, d.timestamp)
            for d in dump.triage.drivers
        )
        return loaded, ()
    head = dump.header.module_list or _told_by_debugger(dump, memory)
    return _walk(memory, head, dump.header.build)


def _told_by_debugger(dump: Dump, memory: Memory) -> int | None:
    """PsLoadedModuleList as KDDEBUGGER_DATA64 has it, when that is in clear."""
    if dump.header.debugger_data is None:
        return None
    try:
        return read_debugger_data(memory, dump.header.debugger_data).variable("PsLoadedModuleList")
    except DumpError:
        return None


def _walk(memory: Memory, head: int | None, build: int) -> tuple[tuple[LoadedModule, ...], tuple[str, ...]]:
    """PsLoadedModuleList by Flink. A list that breaks or bites its tail is kept as far as it goes.

    An entry without an image (base or size 0) is passed over; one whose image cannot be read, as those
    of session space in another session, is kept by what the list says of it.
    """
    if head is None or head < KERNEL_SPACE:
        return (), ("neither header nor debugger data say where the loaded module list is",)
    found: list[LoadedModule] = []
    seen = {head}
    try:
        entry = u64(memory, head)
    except DumpError as error:
        return (), (f"the loaded module list cannot be read: {error}",)
    while entry not in seen and len(seen) <= _MAX_MODULES:
        seen.add(entry)
        try:
            raw = memory.read(entry, _ENTRY)
        except DumpError as error:
            return tuple(found), (f"the loaded module list breaks off after {len(found)} modules: {error}",)
        following, base = struct.unpack_from("<Q40xQ", raw)
        (size,) = struct.unpack_from("<I", raw, 0x40)
        (flags,) = struct.unpack_from("<I", raw, 0x68)
        if base >= KERNEL_SPACE and 0 < size <= _MAX_SIZE:
            full, name = text_or_nothing(memory, entry + 0x48), text_or_nothing(memory, entry + 0x58)
            name = name or _file_name(full) or f"{base:x}"
            stamp = _timestamp(memory, entry, build)
            found.append(_module(memory, name, full or name, base, size, stamp, flags))
        entry = following
    if entry != head:
        return tuple(found), (f"the loaded module list does not close: {len(found)} modules were read",)
    return tuple(found), ()


def _timestamp(memory: Memory, entry: int, build: int) -> int:
    """KLDR_DATA_TABLE_ENTRY.TimeDateStamp, 0 before Windows 8, where the entry has none."""
    if build < 9200:
        return 0
    try:
        return u32(memory, entry + 0x9C)
    except DumpError:
        return 0


def _module(
    memory: Memory, name: str, full: str, base: int, size: int, timestamp: int, flags: int = 0
) -> LoadedModule:
    """The image's own headers know best; the list says what they cannot when they are not in the dump."""
    image = read_image(memory, base)
    stamp = image.timestamp if image else timestamp
    return LoadedModule(name, full, base, size, stamp, image.pdb if image else None, flags)


def _file_name(path: str) -> str:
    return path.rpartition("\\")[2]


def read_unloaded(
    dump: Dump, memory: Memory, address: Callable[[str], int | None]
) -> tuple[tuple[UnloadedModule, ...], str]:
    """(drivers unloaded before the stop, the latest last where order is known; what could not be read).

    `address` gives addresses of kernel symbols. Empty, without a word, when nothing tells where the list is:
    what lacks to tell it is noted already.
    """
    if dump.triage is not None:
        return tuple(UnloadedModule(u.name, u.start, u.end) for u in dump.triage.unloaded), ""
    variable = address("nt!MmUnloadedDrivers")
    if variable is None:
        return (), ""
    note = ""
    found: list[tuple[int, UnloadedModule]] = []
    try:
        table = u64(memory, variable)
        if table < KERNEL_SPACE:
            return (), ""  # none was unloaded yet
        for slot in range(_UNLOADED_SLOTS):
            start, end, when = struct.unpack("<16xQQQ", memory.read(table + 0x28 * slot, 0x28))
            if start < KERNEL_SPACE or end <= start:
                continue
            name = text_or_nothing(memory, table + 0x28 * slot)
            found.append((when, UnloadedModule(name or f"{start:x}", start, end, filetime_iso(when))))
    except DumpError as error:  # what was read so far is still true
        note = f"the list of unloaded drivers cannot be read to its end: {error}"
    return tuple(module for _, module in sorted(found, key=lambda pair: pair[0])), note
