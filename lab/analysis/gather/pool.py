"""Blocks of pool: the tag in front of one, and the images whose code uses that tag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.analysis.facts import PoolFacts
from lab.analysis.gather.attempt import quietly
from lab.dumps.memory import KERNEL_SPACE, u32
from lab.kernel.modules import LoadedModule
from lab.kernel.pool import find_block
from lab.kernel.target import Kernel
from lab.model import DumpError

_TAG = 4  # POOL_HEADER.PoolTag
_PAGE = 0x1000
_PIECE = 0x10000
MOST_CODE = 24 << 20
"""Bytes of code that are searched for a tag at most."""


def tag_text(value: int) -> str:
    """A pool tag as the debugger writes it; "" for a number that is no text."""
    raw = (value & 0x7FFFFFFF).to_bytes(4, "little")  # the top bit marks a protected allocation
    return raw.decode("ascii").rstrip() if all(0x20 <= byte < 0x7F for byte in raw) else ""


def read_block(kernel: Kernel, address: int, *, special: bool = False) -> PoolFacts | None:
    """The block that holds `address`; None when no header with a tag is in the dump.

    A block of special pool has its header at the start of its page; blocks of a page and more have none.
    """
    if address < KERNEL_SPACE:
        return None
    if special:
        header = address & -_PAGE
        tag = tag_text(quietly(lambda: u32(kernel.memory, header + _TAG)) or 0)
        return PoolFacts(address, tag, 0, f"header of special pool {header:#x}") if tag else None
    block = quietly(lambda: find_block(kernel, address))
    if block is None:
        return None
    how = "" if block.sure else ", recognised by itself"
    return PoolFacts(address, block.tag.rstrip(), block.size, f"POOL_HEADER of {block.address:#x}{how}")


def users(kernel: Kernel, tag: str, modules: Iterable[LoadedModule]) -> tuple[str, ...]:
    """Images of `modules` whose code holds the tag as a constant, as calls to allocate pool do."""
    wanted = tag.ljust(4).encode("ascii")
    found: list[str] = []
    left = MOST_CODE
    for module in modules:
        for piece in _code(kernel, module, left):
            left -= len(piece)
            if wanted in piece:
                found.append(module.name)
                break
        if left <= 0:
            break
    return tuple(dict.fromkeys(found))


def _code(kernel: Kernel, module: LoadedModule, most: int) -> Iterator[bytes]:
    """The executable sections of an image, in pieces, as far as the dump holds them."""
    image = kernel.image(module)
    for section in image.sections if image is not None else ():
        if not section.executable:
            continue
        end = min(section.rva + section.size, module.size)
        for rva in range(section.rva, end, _PIECE):
            if most <= 0:
                return
            for piece in _readable(kernel, module.base + rva, min(_PIECE, end - rva)):
                most -= len(piece)
                yield piece


def _readable(kernel: Kernel, start: int, size: int) -> Iterator[bytes]:
    """The bytes of a range, or those of its pages that are in the dump."""
    try:
        yield kernel.memory.read(start, size)
    except DumpError:
        for page in range(start, start + size, _PAGE):
            try:
                yield kernel.memory.read(page, min(_PAGE, start + size - page))
            except DumpError:
                continue
