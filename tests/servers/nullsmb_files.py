"""The share of the null server: files of a folder, as handles, as information classes and as listings."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from nullsmb_wire import (
    DIRECTORY_NOT_EMPTY,
    FILE_IS_A_DIRECTORY,
    INFO_LENGTH_MISMATCH,
    INVALID_PARAMETER,
    NO_MORE_FILES,
    NO_SUCH_FILE,
    NOT_A_DIRECTORY,
    NOT_SUPPORTED,
    OBJECT_NAME_COLLISION,
    OBJECT_NAME_INVALID,
    OBJECT_NAME_NOT_FOUND,
)

PAGE = 4096
DIRECTORY, ARCHIVE = 0x10, 0x20


class Failed(Exception):
    """A request that gets an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(hex(status))
        self.status = status


def pattern(name: str, offset: int, size: int) -> bytes:
    """What a generated file `name` holds at `offset`: no two pages are alike."""
    first, last = offset // PAGE, -(-(offset + size) // PAGE)
    pages = b"".join(_page(name, number) for number in range(first, last))
    return pages[offset - first * PAGE :][:size]


@lru_cache(1024)
def _page(name: str, number: int) -> bytes:
    return hashlib.shake_128(f"{name} {number}".encode()).digest(PAGE)


@dataclass
class Handle:
    number: int
    path: Path
    is_folder: bool
    tree_id: int
    delete: bool = False
    descriptor: int = -1
    names: list[str] | None = None
    """What a listing still has to give, or None before its first request."""
    file_id: bytes = field(default=b"", repr=False)

    def size(self) -> int:
        return 0 if self.is_folder else os.fstat(self.descriptor).st_size


class Folder:
    """A share. `keeps`: written bytes are kept and read again; else only lengths are, and answers canned."""

    def __init__(self, root: Path, *, keeps: bool) -> None:
        self.root, self.keeps = root, keeps

    def prepare(self, name: str, size: int) -> None:
        """A file of `size` bytes of the pattern, or of nothing when contents are not kept."""
        with (self.root / name).open("wb") as file:
            if not self.keeps:
                file.truncate(size)
            for offset in range(0, size if self.keeps else 0, 1 << 20):
                file.write(pattern(name, offset, min(1 << 20, size - offset)))

    def path(self, name: str) -> Path:
        parts = [part for part in name.split("\\") if part]
        if any(part in (".", "..") or set(part) & set('/:*?"<>|\0') for part in parts):
            raise Failed(OBJECT_NAME_INVALID)
        return self.root.joinpath(*parts)

    def open(
        self, name: str, disposition: int, options: int, number: int, tree_id: int
    ) -> tuple[Handle, int]:
        """The handle, and the create action (2.2.14): 0 superseded, 1 opened, 2 created, 3 overwritten."""
        path = self.path(name)
        exists = path.exists()
        if exists and disposition == 2:
            raise Failed(OBJECT_NAME_COLLISION)
        if not exists and disposition in (1, 4):
            raise Failed(OBJECT_NAME_NOT_FOUND)
        if not path.parent.is_dir() or disposition > 5:
            raise Failed(INVALID_PARAMETER if disposition > 5 else OBJECT_NAME_NOT_FOUND)
        is_folder = path.is_dir() if exists else bool(options & 1)
        if exists and is_folder and options & 0x40:
            raise Failed(FILE_IS_A_DIRECTORY)
        if exists and not is_folder and options & 1:
            raise Failed(NOT_A_DIRECTORY)
        handle = Handle(number, path, is_folder, tree_id, delete=bool(options & 0x1000))
        if is_folder:
            path.mkdir(exist_ok=True)
        else:
            cut = os.O_TRUNC if disposition in (0, 4, 5) else 0
            handle.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | cut, 0o644)
        changed = {0: 0, 4: 3, 5: 3}.get(disposition, 1)
        return handle, changed if exists else 2

    def close(self, handle: Handle) -> None:
        if handle.descriptor >= 0:
            os.close(handle.descriptor)
            handle.descriptor = -1
        if handle.delete:
            with suppress(OSError):
                handle.path.rmdir() if handle.is_folder else handle.path.unlink()

    def write(self, handle: Handle, offset: int, data: bytes) -> None:
        if self.keeps:
            os.pwrite(handle.descriptor, data, offset)
        elif offset + len(data) > handle.size():
            os.ftruncate(handle.descriptor, offset + len(data))

    def set_info(self, handle: Handle, kind: int, data: bytes) -> None:
        """FileBasicInformation (taken, not kept), disposition, end of file, allocation, rename."""
        if kind == 13:
            if data[0] and handle.is_folder and any(handle.path.iterdir()):
                raise Failed(DIRECTORY_NOT_EMPTY)
            handle.delete = bool(data[0])
        elif kind == 20:
            os.ftruncate(handle.descriptor, struct.unpack("<Q", data[:8])[0])
        elif kind == 10:
            replace, length = data[0], struct.unpack_from("<I", data, 16)[0]
            new = self.path(data[20 : 20 + length].decode("utf-16-le"))
            if new.exists() and not replace:
                raise Failed(OBJECT_NAME_COLLISION)
            handle.path = handle.path.rename(new)
        elif kind not in (4, 19):
            raise Failed(NOT_SUPPORTED)

    # --- information ------------------------------------------------------------------------------

    def file_information(self, handle: Handle, kind: int) -> bytes:
        times, allocated, size, attributes = facts(handle.path)
        basic = struct.pack("<4QII", *times, attributes, 0)
        standard = struct.pack("<QQIBBH", allocated, size, 1, handle.delete, handle.is_folder, 0)
        internal = struct.pack("<Q", handle.path.stat().st_ino)
        name = ("\\" + handle.path.name).encode("utf-16-le")
        everything = basic + standard + internal + struct.pack("<IIQII", 0, 0x1F_01FF, 0, 0, 0)
        known = {
            4: basic,
            5: standard,
            6: internal,
            7: bytes(4),
            18: everything + struct.pack("<I", len(name)) + name,
            35: struct.pack("<II", attributes, 0),
            34: struct.pack("<4QQQII", *times, allocated, size, attributes, 0),
        }
        if kind not in known:
            raise Failed(NOT_SUPPORTED)
        return known[kind]

    def volume_information(self, kind: int) -> bytes:
        use = shutil.disk_usage(self.root)
        label, system = "Null".encode("utf-16-le"), "NTFS".encode("utf-16-le")
        known = {
            1: struct.pack("<QIIBB", 0, 0x1234_5678, len(label), 0, 0) + label,
            3: struct.pack("<QQII", use.total // PAGE, use.free // PAGE, 8, 512),
            4: struct.pack("<II", 7, 0),
            5: struct.pack("<III", 0x0007, 255, len(system)) + system,
            7: struct.pack("<QQQII", use.total // PAGE, use.free // PAGE, use.free // PAGE, 8, 512),
        }
        if kind not in known:
            raise Failed(NOT_SUPPORTED)
        return known[kind]

    def listing(self, handle: Handle, kind: int, flags: int, wanted: str, room: int) -> bytes:
        """As many entries (MS-FSCC 2.4) as fit into `room` bytes, from where the last request stopped."""
        if not handle.is_folder:
            raise Failed(INVALID_PARAMETER)
        first = handle.names is None or bool(flags & 0x11)
        if first:
            found = [".", "..", *sorted(each.name for each in handle.path.iterdir())]
            handle.names = [name for name in found if wanted in ("", "*") or name == wanted]
        names = handle.names or []
        if not names:
            raise Failed(NO_SUCH_FILE if first else NO_MORE_FILES)
        entries: list[bytes] = []
        used = 0
        while names:
            entry = _entry(handle.path / names[0], names[0], kind)
            if used + len(entry) > room:
                break
            entry += bytes(-len(entry) % 8)
            used += len(entry)
            entries.append(entry)
            names.pop(0)
            if flags & 2:
                break
        if not entries:
            raise Failed(INFO_LENGTH_MISMATCH)
        linked = [struct.pack("<I", len(entry)) + entry[4:] for entry in entries[:-1]]
        return b"".join([*linked, entries[-1]])


def facts(path: Path) -> tuple[tuple[int, int, int, int], int, int, int]:
    """(times in units of 100 ns since 1601, allocated, size, attributes)."""
    state = path.stat()
    is_folder = path.is_dir()
    size = 0 if is_folder else state.st_size
    made, read, written = (
        filetime(state.st_ctime_ns),
        filetime(state.st_atime_ns),
        filetime(state.st_mtime_ns),
    )
    attributes = DIRECTORY if is_folder else ARCHIVE
    return (made, read, written, made), size + -size % PAGE, size, attributes


def filetime(nanoseconds: int) -> int:
    return nanoseconds // 100 + 116_444_736_000_000_000


def _entry(path: Path, name: str, kind: int) -> bytes:
    times, allocated, size, attributes = facts(path)
    text = name.encode("utf-16-le")
    if kind == 12:
        return struct.pack("<III", 0, 0, len(text)) + text
    common = struct.pack("<II4QQQII", 0, 0, *times, size, allocated, attributes, len(text))
    number = struct.pack("<Q", path.stat().st_ino)
    middle = {
        1: b"",
        2: bytes(4),
        3: bytes(4) + bytes(2 + 24),
        37: bytes(4) + bytes(2 + 24) + bytes(2) + number,
        38: bytes(4) + bytes(4) + number,
    }
    if kind not in middle:
        raise Failed(NOT_SUPPORTED)
    return common + middle[kind] + text
