"""The pool block around an address."""

from __future__ import annotations

import struct

import kernel_bytes as kb
import pytest

from lab.kernel.pool import find_block
from lab.model import DumpError

PAGE = kb.POOL & ~0xFFF


def page(*blocks: tuple[int, str, int]) -> kb.Bytes:
    """A page of pool; `blocks` are (size with header, tag, type)."""
    found = kb.Bytes()
    found.fill(PAGE, 0x1000)
    at, before = PAGE, 0
    for size, tag, kind in blocks:
        found.put(at, struct.pack("<4B4s", before >> 4, 0, size >> 4, kind, tag.encode()))
        before, at = size, at + size
    return found


WHOLE = page((0x200, "Irp ", 2), (0x80, "File", 2), (0xD80, "Ntf0", 3))


@pytest.mark.parametrize(
    ("inside", "tag", "start", "size"),
    [
        (0x10, "Irp ", 0x10, 0x1F0),
        (0x1FF, "Irp ", 0x10, 0x1F0),
        (0x218, "File", 0x210, 0x70),
        (0xFFF, "Ntf0", 0x290, 0xD70),
    ],
)
def test_the_block_around_an_address(inside: int, tag: str, start: int, size: int) -> None:
    block = find_block(kb.kernel(WHOLE), PAGE + inside)
    assert (block.tag, block.address, block.size, block.sure) == (tag, PAGE + start, size, True)


def test_a_broken_chain_leaves_the_header_in_front() -> None:
    found = page((0x200, "Irp ", 2), (0x80, "File", 2))
    found.put(PAGE, bytes(0x10))
    block = find_block(kb.kernel(found), PAGE + 0x230)
    assert (block.tag, block.sure) == ("File", False)


def test_a_protected_tag_reads_as_its_letters() -> None:
    found = page((0x1000 - 0x10, "Irp ", 2))
    found.put(PAGE + 7, bytes((ord(" ") | 0x80,)))
    assert find_block(kb.kernel(found), PAGE + 0x100).tag == "Irp "


@pytest.mark.parametrize("address", [0x1000, PAGE + 0x5000])
def test_what_is_no_pool(address: int) -> None:
    with pytest.raises(DumpError):
        find_block(kb.kernel(WHOLE), address)


def test_a_page_of_nothing() -> None:
    with pytest.raises(DumpError, match="recognised"):
        find_block(kb.kernel(page()), PAGE + 0x800)
