"""Dumps made by hand from the published layouts, independent of the code under test."""

from __future__ import annotations

import struct
from collections.abc import Mapping

PAGE = 0x1000
NT = 0xFFFFF80001600000
DRIVER = 0xFFFFF88004040000
POOL = 0xFFFFFA8048CE0000
STACK = 0xFFFFF88005DB0000  # three pages; the base is STACK + 0x3000
SYSTEM_TIME = 132_582_767_020_000_000  # FILETIME of 2021-02-20T06:38:22Z
NT_GUID = bytes.fromhex("339E74133576439CBCDF7E0229DA3773")  # printed order, 7601.24540


class World:
    """Physical memory with page tables of 4 or 5 levels. Writes to virtual addresses map pages as they go."""

    def __init__(self, levels: int = 4) -> None:
        self.frames: dict[int, bytearray] = {}
        self.mapped: dict[int, int] = {}  # address of a page -> its frame
        self.modules: list[tuple[str, int, int]] = []  # (name, base, size)
        self.levels = levels
        self._next = 0x105
        self.root = self.frame()

    def frame(self) -> int:
        """A new page frame; every fifth number is left out, so that page maps have holes."""
        self._next += 2 if self._next % 5 == 0 else 1
        self.frames[self._next] = bytearray(PAGE)
        return self._next

    def table(self, address: int, size: int) -> tuple[int, int]:
        """(frame of a page table, offset in it) of the entry of `address` that maps `size` bytes."""
        table = self.root
        for shift in (48, 39, 30, 21, 12)[5 - self.levels :]:
            offset = (address >> shift & 0x1FF) * 8
            if 1 << shift == size:
                return table, offset
            entry = self.word(table, offset)
            if not entry & 1:
                entry = self.frame() << 12 | 0x63
                self.set_word(table, offset, entry)
            table = entry >> 12 & 0xFFFFFFFFF
        raise ValueError(f"no entry maps {size:#x} bytes")

    def pte(self, address: int) -> tuple[int, int]:
        """(frame of the page table, offset in it) of the PTE of `address`; tables are made as needed."""
        return self.table(address, PAGE)

    def map_large(self, address: int, size: int, first: int, flags: int = 0xE3) -> None:
        """Map 2 MiB or 1 GiB at `address` to frames from `first` on; they exist once they are written."""
        self.set_word(*self.table(address, size), first << 12 | flags)

    def word(self, frame: int, offset: int) -> int:
        return int(struct.unpack_from("<Q", self.frames[frame], offset)[0])

    def set_word(self, frame: int, offset: int, value: int) -> None:
        struct.pack_into("<Q", self.frames[frame], offset, value)

    def map(self, address: int) -> int:
        """The frame behind a virtual page, mapped if it was not."""
        table, offset = self.pte(address)
        entry = self.word(table, offset)
        if not entry & 1:
            entry = self.frame() << 12 | 0x8000000000000063
            self.set_word(table, offset, entry)
            self.mapped[address & ~0xFFF] = entry >> 12 & 0xFFFFFFFFF
        return entry >> 12 & 0xFFFFFFFFF

    def write(self, address: int, data: bytes) -> None:
        while data:
            inside = address % PAGE
            count = min(len(data), PAGE - inside)
            self.frames[self.map(address)][inside : inside + count] = data[:count]
            address, data = address + count, data[count:]

    def write_words(self, address: int, *values: int) -> None:
        self.write(address, struct.pack(f"<{len(values)}Q", *values))


def context(rip: int, rsp: int, **registers: int) -> bytes:
    """A CONTEXT record."""
    raw = bytearray(0x4D0)
    struct.pack_into("<II", raw, 0x30, 0x10000F, 0x1F80)
    struct.pack_into("<HHHHHHI", raw, 0x38, 0x10, 0x2B, 0x2B, 0x53, 0x2B, 0x18, 0x246)
    names = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
    names += tuple(f"r{number}" for number in range(8, 16))
    for index, name in enumerate(names):
        struct.pack_into("<Q", raw, 0x78 + 8 * index, {"rsp": rsp, **registers}.get(name, 0x1000 + index))
    struct.pack_into("<Q", raw, 0xF8, rip)
    struct.pack_into("<I", raw, 0x118, 0x1F80)
    return bytes(raw)


def header(
    kind: int,
    *,
    root: int = 0,
    build: int = 7601,
    machine: int = 0x8664,
    runs: list[tuple[int, int]] | None = None,
    record: bytes = b"",
    module_list: int = NT + 0x239C90,
    process_list: int = NT + 0x21B960,
    debugger_data: int = NT + 0x1E2130,
    code: int = 0x20,
    parameters: tuple[int, int, int, int] = (0, 0xFFFF, 0, 1),
    attributes: int = 0x45474150,
) -> bytearray:
    """DUMP_HEADER64; what is not set keeps the pattern PAGE, as Windows leaves it."""
    raw = bytearray(b"PAGE" * 0x800)
    raw[4:8] = b"DU64"
    struct.pack_into("<IIQ", raw, 8, 0xF, build, root << 12)
    struct.pack_into("<QQQIII", raw, 0x18, 0xFFFFFA8000000000, module_list, process_list, machine, 2, code)
    struct.pack_into("<4Q", raw, 0x40, *parameters)
    struct.pack_into("<Q", raw, 0x80, debugger_data)
    if runs is not None:
        struct.pack_into("<I4xQ", raw, 0x88, len(runs), sum(count for _, count in runs))
        for index, run in enumerate(runs):
            struct.pack_into("<QQ", raw, 0x98 + 16 * index, *run)
    raw[0x348 : 0x348 + len(record)] = record
    struct.pack_into("<I", raw, 0xF98, kind)
    struct.pack_into("<Q", raw, 0xFA8, SYSTEM_TIME)
    struct.pack_into("<Q", raw, 0x1030, 36_000_000_000)  # an hour
    struct.pack_into("<I", raw, 0x1050, attributes)
    return raw


def _runs(frames: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and sum(runs[-1]) == frame:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((frame, 1))
    return runs


def dump(world: World, kind: int, *, surplus: int = 3, **fields: object) -> bytes:
    """The whole file of `world` as dump type 1, 2, 5, 6, 8, 9 or 0xA.

    `surplus`: by how many bits the bitmap ends short of a whole byte.
    """
    return stored(world.frames, kind, root=world.root, surplus=surplus, **fields)


def stored(
    frames: Mapping[int, bytes | bytearray], kind: int, *, root: int = 0, surplus: int = 3, **fields: object
) -> bytes:
    """A dump file of these page frames. The order of the pages is that of `frames` for types 8, 9, 0xA."""
    numbers = list(frames) if kind in (8, 9, 0xA) else sorted(frames)
    pages = b"".join(bytes(frames[number]) for number in numbers)
    runs = _runs(numbers)
    if kind == 1 and len(runs) > 42:
        raise ValueError("too many runs for a header")
    raw = header(kind, root=root, runs=runs if kind == 1 else None, **fields)  # type: ignore[arg-type]
    if kind == 1:
        return bytes(raw) + pages
    second = _ranges(kind, runs) if kind in (8, 9, 0xA) else _bitmap(kind, numbers, surplus)
    return bytes(raw) + second + pages


def _ranges(kind: int, runs: list[tuple[int, int]]) -> bytes:
    """RDMP header and table, up to the first page."""
    table = b"".join(struct.pack("<QQ", *run) for run in runs) + bytes(16)
    metadata = len(table) + 0x10 + 0x20 - 0x10
    first = 0x2040 - 0x20 + metadata
    second = struct.pack("<I8sIQQ", 0x40, b"RDMPDUMP", 0, metadata, first)
    total = sum(count for _, count in runs)
    second += struct.pack("<IHHQ", len(runs), 0, 0, total) if kind == 0xA else bytes(16)
    return (second + table).ljust(first - 0x2000, b"\0")


def _bitmap(kind: int, frames: list[int], surplus: int) -> bytes:
    """SDMP or FDMP header and bitmap, up to the first page."""
    bitmap = bytearray(frames[-1] // 8 + 2)
    bits = len(bitmap) * 8 - surplus
    for frame in frames:
        bitmap[frame >> 3] |= 1 << (frame & 7)
    if surplus:
        bitmap[-1] |= 0x80  # to be ignored
    start = 0x28 if kind == 2 else 0x38
    data = 0x2000 + -(-(start + len(bitmap)) // PAGE) * PAGE
    if kind == 2:
        second = struct.pack("<8s5I", b"SDMPDUMP", 1, data, bits, len(frames), bits).ljust(start, b"\0")
    else:
        mark = b"FDMPDUMP" if kind == 5 else b"SDMPDUMP"
        second = struct.pack("<8sI20xQQQ", mark, 1, data, len(frames), bits)
    return (second + bytes(bitmap)).ljust(data - 0x2000, b"\0")


def blobs(*content: tuple[bytes, bytes, int, int]) -> bytes:
    """Secondary data to put behind a dump: (tag of 16 bytes, data, padding before, padding behind) each."""
    raw = b"DumpBlob" + struct.pack("<II", 0x10, 7601)
    for tag, data, before, behind in content:
        raw += struct.pack("<I16sIII", 0x20, tag, len(data), before, behind)
        raw += b"\xcc" * before + data + b"\xcc" * behind
    return raw


def image(
    name: str,
    guid: bytes = bytes(16),
    *,
    size: int = 0x8000,
    text: dict[int, bytes] | None = None,
    functions: list[tuple[int, int, bytes]] | None = None,
) -> bytes:
    """A mapped PE32+ image: .text at 0x1000, .pdata at 0x5000, unwind data at 0x6000, RSDS at 0x7000.

    `functions` are (begin, end, UNWIND_INFO) in order. `guid` is in printed order.
    """
    raw = bytearray(size)
    raw[:2] = b"MZ"
    struct.pack_into("<I", raw, 0x3C, 0x80)
    struct.pack_into("<4sHHI8xHH", raw, 0x80, b"PE\0\0", 0x8664, 2, 0x4CE7951A, 0xF0, 0x22)
    optional = 0x98
    struct.pack_into("<H", raw, optional, 0x20B)
    struct.pack_into("<I", raw, optional + 0x38, size)
    struct.pack_into("<I", raw, optional + 0x6C, 16)
    entries = functions or []
    struct.pack_into("<II", raw, optional + 0x70 + 8 * 3, 0x5000 if entries else 0, 12 * len(entries))
    struct.pack_into("<II", raw, optional + 0x70 + 8 * 6, 0x7000, 28)
    section = optional + 0xF0
    struct.pack_into("<8sIII12xI", raw, section, b".text", 0x4000, 0x1000, 0x4000, 0)
    struct.pack_into("<I", raw, section + 36, 0x60000020)
    struct.pack_into("<8sIII12xI", raw, section + 40, b".rdata", 0x3000, 0x5000, 0x3000, 0)
    struct.pack_into("<I", raw, section + 76, 0x40000040)
    at = 0x6000
    for index, (begin, end, unwind) in enumerate(entries):
        struct.pack_into("<III", raw, 0x5000 + 12 * index, begin, end, at)
        raw[at : at + len(unwind)] = unwind
        at += -(-len(unwind) // 4) * 4
    for rva, code in (text or {}).items():
        raw[rva : rva + len(code)] = code
    first, second, third = struct.unpack(">IHH", guid[:8])
    record = b"RSDS" + struct.pack("<IHH", first, second, third) + guid[8:] + struct.pack("<I", 1)
    record += name.encode() + b"\0"
    struct.pack_into("<III", raw, 0x7000 + 12, 2, len(record), 0x7100)
    raw[0x7100 : 0x7100 + len(record)] = record
    return bytes(raw)


def add_modules(world: World, head: int, modules: list[tuple[str, int, int]], at: int = POOL) -> None:
    """PsLoadedModuleList at `head` with entries of (name, base, size)."""
    world.modules += modules
    entries = [at + 0x400 * index for index in range(len(modules))]
    ring = [head, *entries]
    for index, place in enumerate(ring):
        world.write_words(place, ring[(index + 1) % len(ring)], ring[index - 1])
    for place, (name, base, size) in zip(entries, modules, strict=True):
        world.write_words(place + 0x30, base, base + 0x1000, size)
        full = f"\\SystemRoot\\system32\\{name}".encode("utf-16-le")
        short = name.encode("utf-16-le")
        world.write(place + 0x48, struct.pack("<HHIQ", len(full), len(full) + 2, 0, place + 0x100))
        world.write(place + 0x58, struct.pack("<HHIQ", len(short), len(short) + 2, 0, place + 0x200))
        world.write(place + 0x80, struct.pack("<I", 0x4CE7951A))
        world.write(place + 0x100, full)
        world.write(place + 0x200, short)


def unwind_info(
    *codes: int,
    prologue: int = 0,
    register: int = 0,
    offset: int = 0,
    chained: tuple[int, int, int] | None = None,
) -> bytes:
    """UNWIND_INFO of 16-bit slots; `offset` in bytes, a multiple of 16."""
    flags = 4 if chained else 0
    raw = bytes([1 | flags << 3, prologue, len(codes), register | offset // 16 << 4])
    raw += struct.pack(f"<{len(codes)}H", *codes)
    raw += b"\0\0" * (len(codes) & 1)
    return raw + (struct.pack("<III", *chained) if chained else b"")


def slot(at: int, operation: int, info: int = 0) -> int:
    """One unwind code."""
    return at | operation << 8 | info << 12


def small_world() -> World:
    """A kernel with two modules, a thread and a stack: what most tests need."""
    world = World()
    world.write(NT, image("ntkrnlmp.pdb", NT_GUID))
    world.write(DRIVER, image("srv2.pdb", bytes(range(16))))
    add_modules(world, NT + 0x239C90, [("ntoskrnl.exe", NT, 0x5DD000), ("srv2.sys", DRIVER, 0x8000)])
    world.write_words(STACK + 0x2FF8, 0)
    return world
