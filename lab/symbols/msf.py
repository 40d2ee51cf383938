"""MSF 7.00, the container of a PDB: numbered streams, each scattered over blocks of one size.

Layout: the superblock in block 0; it leads to the block map, the block map to the stream directory, and
the directory to the blocks of every stream (LLVM's "The MSF File Format").
"""

from __future__ import annotations

import struct
from itertools import accumulate

from lab.model import ConfigurationError
from lab.symbols.files import RandomAccess

MAGIC = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0"
_OTHERS = {
    b"BSJB": "a portable PDB, which describes .NET code and no driver",
    b"Microsoft C/C++ program database 2.00": "of the old form MSF 2.00, which no x64 image has",
    b"Microsoft MSFZ Container": "of the compressed form MSFZ",
}
_HEAD = 52  # bytes of the superblock before the numbers of its block map's blocks
_BLOCK_SIZES = frozenset(1 << bits for bits in range(9, 17))
_MAX_STREAMS = 1 << 16  # they are numbered in 16 bits
_MAX_DIRECTORY = 64 << 20
_ABSENT = 0xFFFF_FFFF


class Msf:
    """The streams of one file. Only the superblock and the directory are read at once.

    ConfigurationError when it is not such a file, is cut off, or contradicts itself; `name` is what the
    sentence calls it.
    """

    def __init__(self, source: RandomAccess, name: str) -> None:
        self._source = source
        self._name = name
        head = source.read(0, _HEAD)
        if head[:32] != MAGIC:
            other = other_form(head) or "it does not begin like one"
            raise ConfigurationError(f"{name} is not a PDB that can be read: {other}")
        if len(head) < _HEAD:
            raise self.damaged("its superblock is cut off")
        self._block: int
        self._block, _, self._blocks, directory = struct.unpack_from("<4I", head, 32)
        if self._block not in _BLOCK_SIZES:
            raise self.damaged(f"its block size is {self._block}")
        if self._blocks * self._block > source.size:
            raise self.damaged(
                f"it is cut off: {source.size} of {self._blocks * self._block} bytes are there"
            )
        if directory > min(_MAX_DIRECTORY, source.size):
            raise self.damaged("its stream directory is larger than the file")
        # Large files with small blocks have a block map of several blocks, anywhere in the file.
        map_size = 4 * self._count(directory)
        maps = 4 * self._count(map_size)
        if _HEAD + maps > self._block:
            raise self.damaged("its block map does not fit into its superblock")
        packed = self._join(_numbers(source.read(_HEAD, maps)), 0, map_size)
        self._directory = self._join(_numbers(packed), 0, directory)
        self._sizes, self._starts = self._parse_directory()

    def damaged(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._name} is damaged: {what}", help="Remove the file, or fetch it again."
        )

    def __len__(self) -> int:
        return len(self._sizes)

    def size(self, stream: int) -> int:
        """Bytes of a stream; 0 for one that does not exist."""
        return self._sizes[stream] if 0 <= stream < len(self._sizes) else 0

    def read(self, stream: int, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a stream, fewer at its end. ConfigurationError when its blocks lie outside the file."""
        whole = self.size(stream)
        end = whole if size is None else min(whole, offset + size)
        if offset < 0 or offset >= end:
            return b""
        first, last = offset // self._block, self._count(end)
        start = self._starts[stream] + 4 * first
        blocks = struct.unpack_from(f"<{last - first}I", self._directory, start)
        skip = first * self._block
        return self._join(blocks, offset - skip, end - skip)

    def _parse_directory(self) -> tuple[tuple[int, ...], list[int]]:
        """(size of every stream, where its block numbers begin in the directory)."""
        directory = self._directory
        count = struct.unpack_from("<I", directory)[0] if len(directory) >= 4 else 0
        if count > _MAX_STREAMS or 4 + 4 * count > len(directory):
            raise self.damaged(f"its directory cannot hold {count} streams")
        sizes = tuple(
            0 if size == _ABSENT else size for size in struct.unpack_from(f"<{count}I", directory, 4)
        )
        if any(size > self._source.size for size in sizes):
            raise self.damaged("a stream is larger than the file")
        lengths = (4 * self._count(size) for size in sizes)
        starts = list(accumulate(lengths, initial=4 + 4 * count))
        if starts[-1] > len(directory):
            raise self.damaged("its directory lacks blocks of its streams")
        return sizes, starts

    def _join(self, blocks: tuple[int, ...], start: int, end: int) -> bytes:
        """Bytes `start` to `end` of the blocks in order. Neighbouring blocks are read at once."""
        parts = []
        index = 0
        while index < len(blocks):
            run = index + 1
            while run < len(blocks) and blocks[run] == blocks[run - 1] + 1:
                run += 1
            if blocks[run - 1] >= self._blocks:
                raise self.damaged(f"it refers to block {blocks[run - 1]} of {self._blocks}")
            parts.append(self._source.read(blocks[index] * self._block, (run - index) * self._block))
            index = run
        return b"".join(parts)[start:end]

    def _count(self, size: int) -> int:
        return -(-size // self._block)


def other_form(head: bytes) -> str:
    """What a file is that begins like this, if it is symbols in a form that is not read; else ""."""
    return next((f"it is {form}" for magic, form in _OTHERS.items() if head.startswith(magic)), "")


def _numbers(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(packed) // 4}I", packed)
