"""Virtual memory made of pieces, for dumps that have no physical pages."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise

from lab.dumps.memory import MAX_READ, NotInDump
from lab.dumps.source import Source
from lab.model import DumpError


@dataclass(frozen=True, order=True)
class Block:
    """`size` bytes of virtual memory at `address`, stored at `offset` of the file."""

    address: int
    size: int
    offset: int

    @property
    def end(self) -> int:
        return self.address + self.size


class BlockMemory:
    """Blocks that may touch and overlap; a read may run across several. What lacks is NotInDump."""

    def __init__(self, source: Source, blocks: list[Block]) -> None:
        self._source = source
        self._blocks = disjoint(blocks)
        self._starts = [block.address for block in self._blocks]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Disjoint, by address."""
        return tuple(self._blocks)

    def read(self, address: int, size: int) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise DumpError(f"a read of {size} bytes at {address:#x} is more than is sensible")
        parts = []
        while size:
            block = self._block_at(address)
            if block is None:
                raise NotInDump(f"{address:#x} is not in the dump")
            inside = address - block.address
            count = min(size, block.size - inside)
            data = self._source.read(block.offset + inside, count)
            if len(data) < count:
                raise NotInDump(f"{address:#x} lies behind the end of the file: the dump is cut off")
            parts.append(data)
            address += count
            size -= count
        return b"".join(parts)

    def _block_at(self, address: int) -> Block | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._blocks[index].end:
            return None
        return self._blocks[index]


def disjoint(blocks: list[Block]) -> list[Block]:
    """The same bytes as blocks that do not overlap; where two overlap, the one listed first is kept.

    One sweep over all edges: time stays near-linear whatever a damaged file lists.
    """
    sound = [block for block in blocks if block.size > 0 and block.end <= 1 << 64]
    if all(one.end <= other.address for one, other in pairwise(sound)):
        return sound
    edges = sorted({block.address for block in sound} | {block.end for block in sound})
    starting = sorted(range(len(sound)), key=lambda i: sound[i].address)
    pieces: list[Block] = []
    active: list[int] = []  # heap of indexes: the smallest was listed first
    taken = 0
    for at, until in pairwise(edges):
        while taken < len(starting) and sound[starting[taken]].address <= at:
            heappush(active, starting[taken])
            taken += 1
        while active and sound[active[0]].end <= at:
            heappop(active)
        if not active:
            continue
        block = sound[active[0]]
        piece = Block(at, until - at, block.offset + at - block.address)
        last = pieces[-1] if pieces else None
        if last and last.end == at and last.offset + last.size == piece.offset:
            pieces[-1] = Block(last.address, last.size + piece.size, last.offset)
        else:
            pieces.append(piece)
    return pieces
