"""PE images in memory: headers, code, unwind information and the CodeView record.

Layout: Microsoft's PE Format. Only pages that have contents exist; the rest of an image reads as not
present, like the pageable parts of a real driver.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from lab.twin.memory.functions import Call, Function
from lab.twin.memory.layout import Module
from lab.twin.memory.physical import PAGE, Memory
from lab.twin.memory.prologue import chained
from lab.twin.memory.records import Record, up

_CODE, _DATA, _READ_ONLY = 0x68000020, 0xC8000040, 0x48000040
_DEBUG = 0xE00
"""RVA of the debug directory: in the page of the headers, because other analysers look for the kernel's
CodeView record in the first 4 MiB of its image, and here these are full of code."""


def write_image(
    memory: Memory,
    module: Module,
    *,
    resolve: Callable[[str], int | None],
    variables: Iterable[int],
    tail: int,
) -> tuple[int, int]:
    """Write the image of `module`; returns address and size of its .pdata.

    `resolve` gives the address of a called function. `variables` are RVAs that must lie in data sections.
    From the RVA `tail` (a page) to the end there must be nothing else.
    """
    slots = _import_slots(module, tail)
    for function in module.functions:
        memory.write(module.base + function.rva, _code(module, function, slots, resolve))
    read_only = Record(0x1000)
    for callee, rva in slots.items():
        read_only.u64(rva - tail, resolve(callee) or 0)
    memory.write(module.base + tail, read_only.data)
    exception, size, end = _unwind(memory, module, tail + PAGE)
    sections = _sections(module, variables, tail, exception, end)
    directories = {3: (exception, size), 6: (_DEBUG, 28), 12: (tail, 8 * len(slots))}
    memory.write(module.base, _headers(module, sections, directories))
    memory.write(module.base + _DEBUG, _codeview(module))
    memory.forbid_execution(module.base)
    return module.base + exception, size


def _codeview(module: Module) -> bytes:
    """The debug directory and its RSDS record."""
    rsds = b"RSDS" + module.guid + struct.pack("<I", module.age) + module.pdb.encode() + b"\0"
    at = _DEBUG + 28
    return struct.pack("<IIHHIIII", 0, module.timestamp, 0, 0, 2, len(rsds), at, at) + rsds


def _import_slots(module: Module, tail: int) -> dict[str, int]:
    names = {call.callee for function in module.functions for call in function.calls if call.how == "import"}
    return {name: tail + 8 * index for index, name in enumerate(sorted(names))}


def _code(
    module: Module, function: Function, slots: dict[str, int], resolve: Callable[[str], int | None]
) -> bytearray:
    """Prologue, filling, and a call before each return address; int 3 at the end."""
    body = bytearray(b"\x90" * function.size)
    body[-1] = 0xCC
    start = function.shape.code or b"\xcc\xc3"
    body[: len(start)] = start
    parent = next((f for f in module.functions if f.name == function.parent), None)
    for call in function.calls:
        # A call in a split-off block counts from its function; that function itself has none there.
        shift = parent.rva - function.rva if parent else 0
        at = call.offset + shift
        if at > 0:
            code = _call(module, call, module.base + function.rva + at, slots, resolve)
            body[at - len(code) : at] = code
    return body


def _call(
    module: Module, call: Call, after: int, slots: dict[str, int], resolve: Callable[[str], int | None]
) -> bytes:
    target = resolve(call.callee)
    if call.how == "import":
        return b"\xff\x15" + struct.pack("<i", module.base + slots[call.callee] - after)
    if call.how == "relative" and target is not None and abs(target - after) < 1 << 31:
        return b"\xe8" + struct.pack("<i", target - after)
    return b"\x41\xff\xd2"  # call r10


def _unwind(memory: Memory, module: Module, at: int) -> tuple[int, int, int]:
    """Write .pdata at RVA `at` and .xdata after it; returns RVA and size of .pdata, and where .xdata ends."""
    framed = [function for function in module.functions if function.shape.ops or function.parent]
    info = up(at + 12 * len(framed), 16)
    entries: dict[str, tuple[int, int, int]] = {}
    codes = bytearray()
    for function in sorted(framed, key=lambda f: bool(f.parent)):
        parent = entries.get(function.parent)
        entries[function.name] = (function.rva, function.rva + function.size, info + len(codes))
        codes += chained(parent) if parent else function.shape.unwind_info()
        codes += bytes(-len(codes) % 4)
    table = b"".join(struct.pack("<III", *entry) for entry in sorted(entries.values()))
    memory.write(module.base + at, table)
    memory.write(module.base + info, codes)
    return at, len(table), up(info + len(codes))


def _sections(
    module: Module, variables: Iterable[int], tail: int, exception: int, end: int
) -> list[tuple[str, int, int, int]]:
    """(name, RVA, size, characteristics), by RVA: code and data as the contents ask for."""
    code = {page for f in module.functions for page in range(f.rva >> 12, (f.rva + f.size >> 12) + 1)}
    kinds = dict.fromkeys(code, True) | {rva >> 12: False for rva in variables if rva >> 12 not in code}
    found: list[tuple[int, bool]] = []
    for page, executable in sorted(kinds.items()):
        if not found or found[-1][1] != executable:
            found.append((max(1, page) if found else 1, executable))
    names = {
        True: iter([".text", "PAGE", "PAGEVRFY", "PAGEKD"]),
        False: iter([".data", "ALMOSTRO", "PAGEVRFD"]),
    }
    sections = []
    for index, (page, executable) in enumerate(found):
        stop = found[index + 1][0] if index + 1 < len(found) else tail >> 12
        name = next(names[executable], f"PAGE{index:02X}")
        if module.prefix == "nt" and name == ".text" and stop - page > 1:
            # Other analysers know the kernel among all images by a section of this name.
            stop -= 1
            sections.append(("POOLCODE", stop << 12, PAGE, _CODE))
        sections.append((name, page << 12, (stop - page) << 12, _CODE if executable else _DATA))
    sections.sort(key=lambda section: section[1])
    sections.append((".rdata", tail, exception - tail, _READ_ONLY))
    sections.append((".pdata", exception, end - exception, _READ_ONLY))
    if end < module.size:
        sections.append((".reloc", end, module.size - end, 0x42000040))
    return sections


def _headers(
    module: Module, sections: list[tuple[str, int, int, int]], directories: dict[int, tuple[int, int]]
) -> bytearray:
    page = Record(PAGE)
    page.bytes(0, b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0\xb8")
    page.u32(0x3C, 0xE0)
    page.bytes(0x4E, b"This program cannot be run in DOS mode.\r\r\n$")
    page.bytes(0xE0, b"PE\0\0")
    page.bytes(0xE4, struct.pack("<HHIIIHH", 0x8664, len(sections), module.timestamp, 0, 0, 0xF0, 0x22))
    o = 0xF8  # IMAGE_OPTIONAL_HEADER64
    page.u16(o, 0x20B)
    page.u32(o + 16, module.functions[0].rva if module.functions else 0x1000)
    page.u32(o + 20, 0x1000)
    page.u64(o + 24, module.base)
    page.u32(o + 32, 0x1000)
    page.u32(o + 36, 0x200)
    for offset, value in ((40, 6), (42, 1), (48, 6), (50, 1)):
        page.u16(o + offset, value)
    page.u32(o + 56, module.size)
    page.u32(o + 60, PAGE)
    page.u32(o + 64, checksum(module))
    page.u16(o + 68, 1)
    for offset, value in ((72, 0x80000), (80, 0x2000), (88, 0x100000), (96, 0x1000)):
        page.u64(o + offset, value)
    page.u32(o + 108, 16)
    for index, (rva, size) in directories.items():
        page.u32(o + 112 + 8 * index, rva)
        page.u32(o + 116 + 8 * index, size)
    at = o + 0xF0
    for name, rva, size, flags in sections:
        page.bytes(at, struct.pack("<8sIIIIIIHHI", name.encode(), size, rva, size, rva, 0, 0, 0, 0, flags))
        at += 40
    return page.data


def checksum(module: Module) -> int:
    """The CheckSum that the headers and the module list agree on."""
    return (module.timestamp * 0x9E3779B1 >> 7) & 0xFFFFF
