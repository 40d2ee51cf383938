"""More files in the root of a UDF image, without a copy of it.

Nothing of the ISO is moved. New folders, entries and files are put after its end; the few sectors that must
know of them (the root's entry, the partition's length) are replaced while reading. So 5 GB are neither
unpacked nor written, and the boot images stay where the boot catalogue says.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from lab.machines.install.errors import BadImage
from lab.machines.install.image import Image, Piece
from lab.machines.install.udf import ANCHOR, SECTOR, Node, Tag, Udf, check_tag, seal
from lab.model import ConfigurationError

Content = bytes | Path
"""Of a file to be added: its bytes, or where they are."""

_Tree: TypeAlias = "dict[str, Content | _Tree]"

MOST_FILES = 50_000
MOST_NAME = 120
"""UTF-16 units of a name; the entry of a folder has one byte for their length."""

_EXTENT = 0x3FFFF800
"""Longest extent of a UDF file in whole sectors."""

_FOLDER, _FILE = 4, 5


class Graft:
    """Collects the changes of an open image; `finish` gives the image that has them."""

    def __init__(self, udf: Udf) -> None:
        self._udf = udf
        self._patches: dict[int, bytearray] = {}
        self._pieces: list[Piece] = []
        self._next = max(-(-udf.size // SECTOR), udf.partition_start + udf.partition_length)
        """Number of the next free sector."""
        root = udf.descriptor(udf.root.entry, Tag.FILE_ENTRY, Tag.EXTENDED_FILE_ENTRY)
        self._version = bytes(root[2:4])
        self._time = bytes(root[72:84] if check_tag(root) == Tag.FILE_ENTRY else root[80:92])
        self._unique = 1 << 24

    def sector(self, number: int) -> bytearray:
        """A sector of the ISO, to be changed in place."""
        if number not in self._patches:
            self._patches[number] = bytearray(self._udf.read(number * SECTOR, SECTOR))
        return self._patches[number]

    def add(self, files: Mapping[str, Content]) -> None:
        """Put `a/b/c` into the root; what has a name of its first part there is replaced. Once at most.

        Raises BadImage, and ConfigurationError for names or amounts that do not fit.
        """
        udf, tree = self._udf, _tree(files)
        root, data = udf.root, udf.data(udf.root)
        taken = {name.casefold() for name in tree}
        records = [
            bytearray(data[name.start : name.end])
            for name in udf.names(root)
            if not name.deleted and name.text.casefold() not in taken
        ]
        records += self._children(tree, root.entry)
        at, length = self._records(records)
        self._point_root_to(at, length)

    def rename(self, folder: Node, old: str, new: str) -> None:
        """Give a file of the ISO another name of the same length, in place; nothing when it is not there."""
        data = bytearray(self._udf.data(folder))
        for name in self._udf.names(folder):
            if name.text.casefold() != old.casefold() or name.deleted or len(new) != len(name.text):
                continue
            record = data[name.start : name.end]
            (used,) = struct.unpack_from("<H", record, 36)
            at, wide = 38 + used, record[38 + used] == 16
            record[at + 1 : at + record[19]] = new.encode("utf-16-be" if wide else "ascii")
            seal(record, struct.unpack_from("<I", record, 12)[0])
            self._write(folder, name.start, record)
            if (
                folder.extents[0].offset // SECTOR == folder.entry // SECTOR
            ):  # the names lie in the entry itself
                entry = self.sector(folder.entry // SECTOR)
                seal(entry, struct.unpack_from("<I", entry, 12)[0])

    def _write(self, node: Node, offset: int, data: bytes | bytearray) -> None:
        """Over what a file or folder of the ISO has there, whose extents it may cross."""
        for extent in node.extents:
            for at in range(max(offset, 0), min(offset + len(data), extent.length)):
                place = extent.offset + at
                self.sector(place // SECTOR)[place % SECTOR] = data[at - offset]
            offset -= extent.length

    def finish(self) -> Image:
        """The image, with partition and volume as long as they have become."""
        udf, last = self._udf, self._next
        length = last - udf.partition_start
        for sequence in udf.sequences:
            first = sequence.offset // SECTOR
            for number in range(first, first + min(sequence.length // SECTOR, 64)):
                identifier = check_tag(udf.read(number * SECTOR, SECTOR))
                if identifier == Tag.PARTITION:
                    struct.pack_into("<I", self.sector(number), 192, length)
                    seal(self.sector(number), number)
                elif identifier == Tag.TERMINATOR:
                    break
        self._tell_integrity(length)
        anchor = bytearray(udf.read(ANCHOR * SECTOR, SECTOR))
        seal(anchor, last)  # readers that cannot read the first look in the last sector
        self._pieces.append(Piece(last * SECTOR, SECTOR, bytes(anchor)))
        patches = {number: bytes(data) for number, data in self._patches.items()}
        return Image(udf.path, (last + 1) * SECTOR, patches, self._pieces)

    def _tell_integrity(self, length: int) -> None:
        number = self._udf.integrity.offset // SECTOR
        if check_tag(self._udf.read(number * SECTOR, SECTOR)) != Tag.INTEGRITY:
            return
        if struct.unpack_from("<I", self.sector(number), 72)[0] == 1:  # partitions
            struct.pack_into("<I", self.sector(number), 84, length)
            seal(self.sector(number), number)

    def _children(self, tree: _Tree, parent: int) -> list[bytearray]:
        """Place what a folder has; its records. `parent` is the byte offset of the folder's entry."""
        return [
            self._record(name, self._place(content, parent), folder=isinstance(content, dict))
            for name, content in sorted(tree.items())
        ]

    def _place(self, content: Content | _Tree, parent: int) -> int:
        """Put a file or folder after all others; the byte offset of its entry."""
        entry = self._take(1)
        if isinstance(content, dict):
            records = [self._record("", parent, folder=True), *self._children(content, entry * SECTOR)]
            at, length = self._records(records)
        else:
            length = _length(content)
            at = self._take(-(-length // SECTOR))
            if length:
                self._pieces.append(Piece(at * SECTOR, length, content))
        kind = _FOLDER if isinstance(content, dict) else _FILE
        self._pieces.append(Piece(entry * SECTOR, SECTOR, self._entry(kind, entry, at, length)))
        return entry * SECTOR

    def _take(self, sectors: int) -> int:
        start = self._next
        self._next += sectors
        if self._next >> 31:
            raise ConfigurationError("the files for the installation are too many for one image")
        return start

    def _number(self, sector: int) -> int:
        return sector - self._udf.partition_start

    def _records(self, records: list[bytearray]) -> tuple[int, int]:
        """Write a folder's data; their first sector and length."""
        length = sum(map(len, records))
        start = self._take(-(-length // SECTOR))
        data = bytearray()
        for record in records:
            seal(record, self._number(start) + len(data) // SECTOR)
            data += record
        self._pieces.append(Piece(start * SECTOR, length, bytes(data)))
        return start, length

    def _record(self, name: str, entry: int, *, folder: bool) -> bytearray:
        """A file identifier descriptor (ECMA-167 4/14.4); no name: the way to the parent."""
        wide = name.encode("utf-16-be")
        if len(wide) > 2 * MOST_NAME:
            raise ConfigurationError(f"the name '{name}' is too long for an image; {MOST_NAME} letters fit")
        text = (b"\x08" + name.encode() if name.isascii() else b"\x10" + wide) if name else b""
        record = bytearray(-(-(38 + len(text)) // 4) * 4)
        record[0:4] = struct.pack("<H", Tag.FILE_IDENTIFIER) + self._version
        struct.pack_into("<H", record, 10, len(record) - 16)
        struct.pack_into("<HBB", record, 16, 1, 2 * folder | 8 * (not name), len(text))
        struct.pack_into("<II", record, 20, SECTOR, self._number(entry // SECTOR))
        record[38 : 38 + len(text)] = text
        return record

    def _entry(self, kind: int, sector: int, at: int, length: int) -> bytes:
        """A file entry (ECMA-167 4/14.9) whose data begin at sector `at`."""
        extents = _extents(self._number(at), length)
        entry = bytearray(SECTOR)
        entry[0:4] = struct.pack("<H", Tag.FILE_ENTRY) + self._version
        struct.pack_into("<H", entry, 10, 160 + len(extents))
        struct.pack_into("<HHHBB", entry, 20, 4, 0, 1, 0, kind)
        struct.pack_into("<IIIH", entry, 36, 0xFFFFFFFF, 0xFFFFFFFF, 0x14A5, 1)
        struct.pack_into("<QQ", entry, 56, length, -(-length // SECTOR))
        entry[72:108] = self._time * 3
        struct.pack_into("<I", entry, 108, 1)
        entry[129:142] = b"*Bugcheck Lab"
        self._unique += 1
        struct.pack_into("<QII", entry, 160, self._unique, 0, len(extents))
        entry[176 : 176 + len(extents)] = extents
        seal(entry, self._number(sector))
        return bytes(entry)

    def _point_root_to(self, at: int, length: int) -> None:
        root = self._udf.root.entry // SECTOR
        entry = self.sector(root)
        lengths = 208 if check_tag(entry) == Tag.EXTENDED_FILE_ENTRY else 168
        (attributes,) = struct.unpack_from("<I", entry, lengths)
        start = lengths + 8 + attributes
        extents = _extents(self._number(at), length)
        if start + len(extents) > SECTOR:
            raise BadImage(f"{self._udf.path} has a root with too many attributes")
        (flags,) = struct.unpack_from("<H", entry, 34)
        struct.pack_into("<H", entry, 34, flags & ~7)  # short allocation descriptors from now on
        struct.pack_into("<Q", entry, 56, length)
        if lengths == 168:
            struct.pack_into("<Q", entry, 64, -(-length // SECTOR))
        else:
            struct.pack_into("<QQ", entry, 64, length, -(-length // SECTOR))
        struct.pack_into("<I", entry, lengths + 4, len(extents))
        entry[start:] = extents.ljust(SECTOR - start, b"\0")
        struct.pack_into("<H", entry, 10, start + len(extents) - 16)
        seal(entry, self._number(root))


def _extents(block: int, length: int) -> bytes:
    found = b""
    while length:
        size = min(length, _EXTENT)
        found += struct.pack("<II", size, block)
        block += size // SECTOR
        length -= size
    return found


def _length(content: Content) -> int:
    if isinstance(content, bytes):
        return len(content)
    try:
        return content.stat().st_size
    except OSError as error:
        raise ConfigurationError(f"{content} cannot be read: {error.strerror}") from None


def _tree(files: Mapping[str, Content]) -> _Tree:
    if len(files) > MOST_FILES:
        raise ConfigurationError(f"{len(files)} files are too many for the installation's image")
    tree: _Tree = {}
    for path, content in files.items():
        *folders, name = path.split("/")
        node = tree
        for folder in folders:
            below = node.setdefault(folder, {})
            if not isinstance(below, dict):
                raise ConfigurationError(f"'{folder}' of {path} is both a file and a folder")
            node = below
        if not all((*folders, name)) or name in node:
            raise ConfigurationError(f"{path} is no name for a file of the image, or is given twice")
        node[name] = content
    return tree
