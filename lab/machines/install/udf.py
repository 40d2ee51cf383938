"""UDF as Windows ISO images have it (ECMA-167, OSTA UDF 1.02 to 2.01): names to extents of bytes.

Everything in an image may be wrong: lengths are bounded, loops are noticed, and each problem is a BadImage.
"""

from __future__ import annotations

import binascii
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lab.machines.install.errors import BadImage

SECTOR = 2048
MOST_DIRECTORY = 16 << 20
MOST_EXTENTS = 16384
ANCHOR = 256
_DESCRIPTORS = 64
_CHECKED = struct.Struct("<HHBxHHHI")  # tag: identifier, version, checksum, serial, CRC, its length, location


class Tag:
    """Identifiers of descriptors."""

    ANCHOR = 2
    PARTITION = 5
    LOGICAL_VOLUME = 6
    TERMINATOR = 8
    INTEGRITY = 9
    FILE_SET = 256
    FILE_IDENTIFIER = 257
    FILE_ENTRY = 261
    EXTENDED_FILE_ENTRY = 266


class Extent(NamedTuple):
    """Bytes of the image."""

    offset: int
    length: int


@dataclass(frozen=True)
class Node:
    """A file or folder."""

    entry: int
    """Byte offset of its file entry."""

    folder: bool
    length: int
    extents: tuple[Extent, ...]


@dataclass(frozen=True)
class Name:
    """An entry of a folder: its bytes within the folder's data, and where it leads."""

    text: str
    start: int
    end: int
    entry: int
    parent: bool
    deleted: bool


def seal(descriptor: bytearray, location: int) -> None:
    """Write location, CRC and checksum of a descriptor's tag; its identifier and CRC length stay."""
    (length,) = struct.unpack_from("<H", descriptor, 10)
    crc = binascii.crc_hqx(bytes(descriptor[16 : 16 + length]), 0)
    struct.pack_into("<H", descriptor, 8, crc)
    struct.pack_into("<I", descriptor, 12, location)
    descriptor[4] = 0
    descriptor[4] = sum(descriptor[:16]) & 0xFF


class Udf:
    """An open image. Raises BadImage when it is not UDF; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise BadImage(f"the image {path} cannot be read: {error.strerror}") from None
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._mount()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Udf:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes."""
        try:
            data = os.pread(self._file.fileno(), size, offset)
        except (OSError, OverflowError) as error:
            raise BadImage(f"{self.path} cannot be read at byte {offset}: {error}") from None
        if len(data) != size:
            raise BadImage(
                f"{self.path} ends at byte {self.size}, within what it refers to; the copy is not whole",
                help="Copy it again and compare its SHA-256 with Microsoft's.",
            )
        return data

    def descriptor(self, offset: int, *identifiers: int) -> bytearray:
        """The sector at a byte offset, when it holds one of those descriptors."""
        data = self.read(offset, SECTOR)
        identifier = check_tag(data)
        if identifier not in identifiers:
            raise BadImage(f"{self.path} has no UDF descriptor {identifiers[0]} at byte {offset}")
        return bytearray(data)

    def block(self, number: int) -> int:
        """Byte offset of a logical block of the partition."""
        return (self.partition_start + number) * SECTOR

    def _mount(self) -> None:
        try:
            anchor = self.descriptor(ANCHOR * SECTOR, Tag.ANCHOR)
        except BadImage:
            raise BadImage(
                f"{self.path} has no UDF file system, as every Windows ISO of Microsoft's has",
                help="Take the ISO as Microsoft gives it, or make one with 'genisoimage -udf' or oscdimg.",
            ) from None
        self.sequences = [Extent(b * SECTOR, n) for n, b in struct.iter_unpack("<II", anchor[16:32])]
        volume = self._sequence()
        if struct.unpack_from("<I", volume, 212)[0] != SECTOR:
            raise BadImage(f"{self.path} has UDF blocks of another size than {SECTOR} bytes")
        maps = struct.unpack_from("<I", volume, 268)[0]
        if maps != 1 or volume[440] != 1:
            raise BadImage(f"{self.path} has UDF partitions of a kind that Windows ISOs do not have")
        length, at = struct.unpack_from("<II", volume, 432)
        self.integrity = Extent(at * SECTOR, length)
        file_set = self.descriptor(self.block(struct.unpack_from("<I", volume, 252)[0]), Tag.FILE_SET)
        self.root = self.node(self.block(struct.unpack_from("<I", file_set, 404)[0]))
        if not self.root.folder:
            raise BadImage(f"{self.path} has a root that is no folder")

    def _sequence(self) -> bytearray:
        """Read the volume descriptors; returns the logical volume's."""
        at, length = self.sequences[0]
        volume = partition = None
        for offset in range(at, at + min(length, _DESCRIPTORS * SECTOR), SECTOR):
            data = self.read(offset, SECTOR)
            identifier = check_tag(data)
            if identifier == Tag.PARTITION:
                partition = data
            elif identifier == Tag.LOGICAL_VOLUME:
                volume = bytearray(data)
            elif identifier == Tag.TERMINATOR:
                break
        if volume is None or partition is None:
            raise BadImage(f"{self.path} has no UDF volume")
        self.partition_start: int
        self.partition_length: int
        self.partition_start, self.partition_length = struct.unpack_from("<II", partition, 188)
        return volume

    def node(self, entry: int) -> Node:
        """What the file entry at a byte offset describes."""
        data = self.descriptor(entry, Tag.FILE_ENTRY, Tag.EXTENDED_FILE_ENTRY)
        extended = check_tag(data) == Tag.EXTENDED_FILE_ENTRY
        lengths = 208 if extended else 168
        (length,) = struct.unpack_from("<Q", data, 56)
        attributes, allocated = struct.unpack_from("<II", data, lengths)
        start = lengths + 8 + attributes
        folder = data[27] == 4
        kind = struct.unpack_from("<H", data, 34)[0] & 7
        if start + allocated > SECTOR:
            raise BadImage(f"{self.path}: the file entry at byte {entry} is longer than its sector")
        if kind == 3:  # the data themselves lie in the entry
            if length > allocated:
                raise BadImage(f"{self.path}: the file entry at byte {entry} lacks its data")
            return Node(entry, folder, length, (Extent(entry + start, length),))
        if kind > 1:
            raise BadImage(f"{self.path}: the file entry at byte {entry} is of an unknown kind")
        descriptors = bytes(data[start : start + allocated])
        return Node(entry, folder, length, tuple(self._extents(descriptors, (8, 16)[kind], length, entry)))

    def _extents(self, descriptors: bytes, width: int, length: int, entry: int) -> Iterator[Extent]:
        left, seen = length, 0
        at = 0
        while left and at + width <= len(descriptors):
            size, number = struct.unpack_from("<II", descriptors, at)
            kind, size = size >> 30, size & 0x3FFFFFFF
            at += width
            seen += 1
            if kind == 3 and seen < MOST_EXTENTS:  # more of them, in an extent of their own
                more = self.read(self.block(number), min(size, SECTOR))
                (used,) = struct.unpack_from("<I", more, 20)
                descriptors, at = more[24 : 24 + min(used, SECTOR - 24)], 0
            elif kind or not size or seen >= MOST_EXTENTS:
                break
            else:
                yield Extent(self.block(number), min(size, left))
                left -= min(size, left)
        if left:
            raise BadImage(f"{self.path}: the file entry at byte {entry} does not cover its {length} bytes")

    def data(
        self, node: Node, offset: int = 0, size: int | None = None, *, most: int = MOST_DIRECTORY
    ) -> bytes:
        """Bytes of a file or folder; BadImage when there are more than `most`."""
        size = node.length - offset if size is None else size
        if size > most or offset < 0 or size < 0 or offset + size > node.length:
            raise BadImage(f"{self.path}: a file of {node.length} bytes is not of a size to be read here")
        parts = []
        for extent in node.extents:
            skipped = min(offset, extent.length)
            take = min(size, extent.length - skipped)
            if take:
                parts.append(self.read(extent.offset + skipped, take))
            offset -= skipped
            size -= take
        return b"".join(parts)

    def names(self, folder: Node) -> list[Name]:
        """What the folder's data hold, deleted entries and the parent too."""
        data = self.data(folder)
        found, at = [], 0
        while at + 38 <= len(data):
            if struct.unpack_from("<H", data, at)[0] != Tag.FILE_IDENTIFIER:
                raise BadImage(f"{self.path}: a folder's entry at its byte {at} is damaged")
            flags, letters = data[at + 18], data[at + 19]
            (number,) = struct.unpack_from("<I", data, at + 24)
            (used,) = struct.unpack_from("<H", data, at + 36)
            end = at + (38 + used + letters + 3 & ~3)
            text = data[at + 38 + used : at + 38 + used + letters]
            if end > len(data):
                raise BadImage(f"{self.path}: a folder's entry at its byte {at} is longer than the folder")
            found.append(Name(_decoded(text), at, end, self.block(number), bool(flags & 8), bool(flags & 4)))
            at = end
        return found

    def find(self, path: str) -> Node | None:
        """The file or folder `a/b/c`, whatever the letters' case."""
        node = self.root
        for part in path.split("/"):
            if not node.folder:
                return None
            names = [n for n in self.names(node) if not n.parent and not n.deleted]
            entry = next((n.entry for n in names if n.text.casefold() == part.casefold()), None)
            if entry is None:
                return None
            node = self.node(entry)
        return node


def check_tag(data: bytes | bytearray) -> int:
    """The identifier of a descriptor; 0 when its tag's checksum is wrong."""
    identifier, _, checksum, *_ = _CHECKED.unpack_from(data)
    return identifier if (sum(data[:16]) - checksum) & 0xFF == checksum else 0


def _decoded(text: bytes) -> str:
    if not text:
        return ""
    return text[1:].decode("utf-16-be" if text[0] == 16 else "latin-1", errors="replace")
