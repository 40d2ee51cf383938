"""The pool block that an address lies in, by the POOL_HEADER in front of it.

POOL_HEADER is 0x10 bytes in every x64 build: sizes in units of 0x10 bytes, the type, the tag. Blocks of a
page or more have no header; those of special pool have none that lasts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.header import PAGE
from lab.dumps.memory import KERNEL_SPACE
from lab.kernel.target import Kernel
from lab.model import DumpError

UNIT = 0x10
_PROTECTED = 0x80  # top bit of a tag's last character


@dataclass(frozen=True)
class PoolBlock:
    """A block of pool. `address` is behind its header, `size` without it, in bytes.

    `sure` says that the headers from the beginning of the page lead to it; else it was recognised by its
    header alone.
    """

    address: int
    size: int
    tag: str  # "Irp ", a byte that is no character as "."
    kind: int  # POOL_TYPE as the header has it; 0 for a free block
    previous_size: int
    sure: bool

    @property
    def end(self) -> int:
        return self.address + self.size


def find_block(kernel: Kernel, address: int) -> PoolBlock:
    """The block that holds `address`. DumpError when none is recognised: it is large, or not of the pool."""
    with kernel.reading("pool block") as used:
        used.fact("POOL_HEADER as in every x64 build (public symbols)")
        if address < KERNEL_SPACE:
            raise DumpError(f"{address:#x} is not an address of the kernel's pool")
        page = address & ~(PAGE - 1)
        at, previous = page, 0
        while at < page + PAGE:
            block = _header(kernel, at)
            if block is None or block.previous_size != previous:
                break
            if block.end > address:
                used.check("the pool headers from the beginning of the page lead to the block")
                return PoolBlock(block.address, block.size, block.tag, block.kind, previous, True)
            previous = block.size + UNIT
            at = block.end
        # Newer kernels manage pages in other ways, but keep the header in front of a block.
        for at in range(address & ~(UNIT - 1), page - UNIT, -UNIT):
            block = _header(kernel, at)
            if block is not None and block.kind and block.address <= address < block.end:
                return block
        raise DumpError(f"no pool block around {address:#x} is recognised")


def _header(kernel: Kernel, at: int) -> PoolBlock | None:
    """The header at `at` if it can be one: it ends within its page and its tag is text."""
    try:
        raw = kernel.memory.read(at, UNIT)
    except DumpError:
        return None
    previous, _index, units, kind = struct.unpack_from("<4B", raw)
    tag = bytes((*raw[4:7], raw[7] & ~_PROTECTED))
    if not units or not all(0x20 <= byte < 0x7F for byte in tag):
        return None
    if (at & (PAGE - 1)) + units * UNIT > PAGE:
        return None
    return PoolBlock(at + UNIT, (units - 1) * UNIT, tag.decode("ascii"), kind, previous * UNIT, False)
