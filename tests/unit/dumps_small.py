"""Small dumps (type 4) made by hand from the published layout, independent of the code under test."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dumps_builder import STACK, World, header


@dataclass(frozen=True)
class Small:
    """What a small dump holds. Everything is optional but the thread's stack."""

    thread: int = 0xFFFFFA8048CE1060
    process: int = 0xFFFFFA8048C00040
    stack_at: int = STACK + 0x2000
    stack: bytes = bytes(0x1000)
    drivers: tuple[tuple[str, int, int], ...] = ()  # (path, base, size)
    stride: int = 0x90
    gap: int = 0  # bytes between driver list and string pool: none in a real one
    unloaded: tuple[tuple[str, int, int], ...] = ()
    broken: str = ""
    data_page: tuple[int, bytes] | None = None
    debugger_data: bytes = b""
    blocks: tuple[tuple[int, bytes], ...] = ()
    verifier_level: int = 0xFFFFFFFF
    mm_size: int = 0x50
    options: int = 0xFFFFFFFF
    build: int = 7601
    record: bytes = b""


def small_of(world: World, record: bytes = b"", build: int = 7601) -> bytes:
    """The small dump of a `world`: its modules, and all of its memory as data blocks."""
    drivers = tuple((f"\\SystemRoot\\system32\\{name}", base, size) for name, base, size in world.modules)
    blocks = tuple(
        (address, bytes(world.frames[frame]))
        for address, frame in world.mapped.items()
        if frame in world.frames
    )
    return small_dump(Small(drivers=drivers, blocks=blocks, record=record, build=build))


def small_dump(content: Small) -> bytes:
    """The whole file. Parts follow one another in the order in which Windows writes them."""
    body = bytearray(bytes(0x80))

    def put(data: bytes) -> int:
        body.extend(bytes(-len(body) % 8))
        body.extend(data)
        return 0x2000 + len(body) - len(data)

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode("utf-16-le") + b"\0\0"

    mm = struct.pack("<6I7Q", 1, content.mm_size, 0x1234, 7, content.verifier_level, 1, *range(100, 107))
    mm_at = put(mm[: content.mm_size])
    gone = [
        struct.pack("<HH12x24sQQ", 2 * len(name), 24, name.encode("utf-16-le")[:24], start, end)
        for name, start, end in content.unloaded
    ]
    unloaded_at = put(struct.pack("<Q", len(gone)) + b"".join(gone))
    prcb_at = put(struct.pack("<QQ", 0, content.thread).ljust(0x100, b"\0"))
    process_at = put(b"process ".ljust(0x80, b"."))
    thread = bytearray(b"thread ".ljust(0x400, b"."))
    struct.pack_into("<Q", thread, 0x220 if content.build >= 9200 else 0x210, content.process)
    thread_at = put(bytes(thread))
    stack_at = put(content.stack)
    list_at = put(bytes(content.stride * len(content.drivers)))
    body.extend(bytes(content.gap))
    pool_at = 0x2000 + len(body)
    for index, (path, base, size) in enumerate(content.drivers):
        entry = bytearray(content.stride)
        struct.pack_into("<I", entry, 0, put(text(path)))
        struct.pack_into("<QQI", entry, 0x38, base, base + 0x1000, size)
        if content.stride == 0x90:  # KLDR_DATA_TABLE_ENTRY64
            struct.pack_into("<I", entry, 0x88, 0x4CE7951A)
        else:  # the kernel's own record: LoadedImports or CoverageSection, and the timestamp of the later one
            struct.pack_into("<Q", entry, 0x88, 0xFFFFF8A000123450)
        if content.stride == 0xA8:
            struct.pack_into("<I", entry, 0xA4, 0x4CE7951A)
        at = list_at - 0x2000 + index * content.stride
        body[at : at + content.stride] = entry
    pool_end = 0x2000 + len(body)
    broken_at = put(text(content.broken)) if content.broken else 0
    page_at = put(content.data_page[1]) if content.data_page else 0
    kdbg_at = put(content.debugger_data) if content.debugger_data else 0
    places = [(address, put(data), len(data)) for address, data in content.blocks]
    blocks_at = put(b"".join(struct.pack("<QII", *place) for place in places)) if places else 0
    valid_at = put(b"TRGD")
    struct.pack_into(
        "<18I", body, 0, 1, 0x2000 + len(body), valid_at, 0x348, 0xF00, mm_at, unloaded_at, prcb_at,
        process_at, thread_at, stack_at, len(content.stack), list_at, len(content.drivers), pool_at,
        pool_end - pool_at, broken_at, content.options,
    )  # fmt: skip
    page, data = content.data_page or (0, b"")
    struct.pack_into("<Q16xQII", body, 0x48, content.stack_at, page, page_at, len(data))
    struct.pack_into("<4I", body, 0x70, kdbg_at, len(content.debugger_data), blocks_at, len(places))
    return bytes(header(4, build=content.build, record=content.record)) + bytes(body)
