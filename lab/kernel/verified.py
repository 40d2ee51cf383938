"""The verified drivers that are loaded, with verifier's counters of each (nt!ViTargetDriversAvl).

VF_AVL_TREE -> VF_AVL_TABLE[] -> RTL_AVL_TABLE -> nodes, whose data are VF_TARGET_DRIVERs. Where the build's
layout is not known it is found by what must hold: a node names the base of a loaded image, and what it points
to begins with an entry of the list of verified drivers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE, u32, u64
from lab.kernel.record import Record
from lab.kernel.target import Kernel
from lab.model import DumpError, VerifiedDriver

MOST_TABLES = 64
MOST_NODES = 4096
TARGET_COUNTERS = (
    *("CurrentPagedPoolAllocations", "CurrentNonPagedPoolAllocations"),
    *("PeakPagedPoolAllocations", "PeakNonPagedPoolAllocations"),
    *("PagedBytes", "NonPagedBytes", "PeakPagedBytes", "PeakNonPagedBytes"),
    *("RaiseIrqls", "AcquireSpinLocks", "SynchronizeExecutions"),
    *("AllocationsWithNoTag", "AllocationsFailed", "AllocationsFailedDeliberately"),
    *("LockedBytes", "PeakLockedBytes", "MappedLockedBytes", "PeakMappedLockedBytes"),
    *("MappedIoSpaceBytes", "PeakMappedIoSpaceBytes", "PagesForMdlBytes", "PeakPagesForMdlBytes"),
    *("ContiguousMemoryBytes", "PeakContiguousMemoryBytes"),
)
"""Counters of VF_TARGET_VERIFIED_DRIVER_DATA; those whose name ends in Bytes are 64 bits wide."""

_TREES = ((0x10, 0x18), (0x20, 0x28))
"""(Tables, TablesNo) of VF_AVL_TREE: since Windows 8.1, and before."""
_TABLES = (0xC0, 0x70)
_DATA = (0x38, 0x30, 0x28)
"""Where VF_TARGET_DRIVER.VerifiedData is in one build or another."""
_ROOT = 0x10  # RTL_AVL_TABLE.BalancedRoot.RightChild
_COUNT = 0x2C
_PAYLOAD = 0x20  # behind RTL_BALANCED_LINKS


@dataclass(frozen=True)
class _Tree:
    tables: int
    count: int
    size: int  # of one table


def read_verified(kernel: Kernel, suspects: frozenset[int] = frozenset()) -> tuple[VerifiedDriver, ...]:
    """Verified drivers in memory, by their base. `suspects` are the addresses of VF_SUSPECT_DRIVER_ENTRYs.

    Counters are left out where they cannot be known to be counters. DumpError when the tree is not known, or
    its layout is not recognised.
    """
    with kernel.reading("verified drivers in memory") as used:
        address = kernel.need("nt!ViTargetDriversAvl")
        tree = _tree(kernel, address)
        if tree is None:
            raise DumpError(f"the tree of verified drivers at {address:#x} has no layout that is known")
        bases = {module.base: module for module in kernel.modules}
        nodes = [node for node in _nodes(kernel, tree) if _image(kernel, node) in bases]
        if nodes:
            used.check(f"each of {len(nodes)} nodes names the base of a loaded image")
        data = _data_offset(kernel, nodes, suspects)
        if data is not None and suspects:
            used.check(f"VerifiedData (+{data:#x}) leads to entries of the list of verified drivers")
        fields = [
            (name, kernel.find_offset("_VF_TARGET_VERIFIED_DRIVER_DATA", name)) for name in TARGET_COUNTERS
        ]
        found = []
        for node in nodes:
            module = bases[_image(kernel, node)]
            counters = _counters(kernel, node, data, fields) if data is not None else ()
            found.append(VerifiedDriver(module.name, module.base, module.size, counters))
        return tuple(sorted(found, key=lambda driver: driver.base))


def _tree(kernel: Kernel, address: int) -> _Tree | None:
    """The tree by the build's layout, else by the one whose tables look like tables."""
    told = (
        kernel.find_offset("_VF_AVL_TREE", "Tables"),
        kernel.find_offset("_VF_AVL_TREE", "TablesNo"),
        kernel.find_size("_VF_AVL_TABLE"),
    )
    tables, number, size = told
    if tables is not None and number is not None and size is not None:
        return _plausible(kernel, address, tables, number, size)
    guesses = [
        _plausible(kernel, address, tables, number, size)
        for (tables, number), size in zip(_TREES, _TABLES, strict=True)
    ]
    found = [each for each in guesses if each is not None]
    return max(found, key=lambda tree: tree.count, default=None)  # zeros look like an empty tree


def _plausible(kernel: Kernel, address: int, tables: int, number: int, size: int) -> _Tree | None:
    try:
        first, count = u64(kernel.memory, address + tables), u32(kernel.memory, address + number)
        if first == 0 and count == 0:
            return _Tree(0, 0, size)
        if first < KERNEL_SPACE or not 0 < count <= MOST_TABLES:
            return None
        for index in range(count):
            if u32(kernel.memory, first + index * size + _COUNT) > MOST_NODES:
                return None
    except DumpError:
        return None
    return _Tree(first, count, size)


def _nodes(kernel: Kernel, tree: _Tree) -> Iterator[int]:
    """Addresses of the data of every node, in order of no meaning; capped, each node once."""
    seen: set[int] = set()
    for index in range(tree.count):
        todo = [tree.tables + index * tree.size + _ROOT]
        while todo and len(seen) < MOST_NODES:
            slot = todo.pop()
            try:
                node = u64(kernel.memory, slot)
                if node < KERNEL_SPACE or node in seen:
                    continue
                seen.add(node)
                kernel.memory.read(node, _PAYLOAD + 0x10)
            except DumpError:
                continue
            yield node + _PAYLOAD
            todo += [node + 8, node + 0x10]  # LeftChild, RightChild


def _image(kernel: Kernel, node: int) -> int:
    try:
        return u64(kernel.memory, node)
    except DumpError:
        return 0


def _data_offset(kernel: Kernel, nodes: list[int], suspects: frozenset[int]) -> int | None:
    """Offset of VerifiedData: where symbols have it, if it leads to verified drivers; else where it does."""
    told = kernel.find_offset("_VF_TARGET_DRIVER", "VerifiedData")
    for offset in dict.fromkeys((told, *_DATA)) if suspects else (told,):
        if offset is not None and nodes and all(_leads(kernel, node + offset, suspects) for node in nodes):
            return offset
    return None


def _leads(kernel: Kernel, slot: int, suspects: frozenset[int]) -> bool:
    """Whether the pointer at `slot` leads to data whose SuspectDriverEntry is one of `suspects`."""
    try:
        data = u64(kernel.memory, slot)
        entry = u64(kernel.memory, data) if data >= KERNEL_SPACE else 0
    except DumpError:
        return False
    return entry in suspects if suspects else data >= KERNEL_SPACE


def _counters(
    kernel: Kernel, node: int, data: int, fields: list[tuple[str, int | None]]
) -> tuple[tuple[str, int], ...]:
    """(name, value) of the counters whose offsets the build's symbols tell."""
    try:
        address = u64(kernel.memory, node + data)
    except DumpError:
        return ()
    size = max((at + 8 for _, at in fields if at is not None), default=0)
    return read_counters(Record(kernel.memory, address, size), fields)


def read_counters(record: Record, fields: list[tuple[str, int | None]]) -> tuple[tuple[str, int], ...]:
    """(name, value) of counters: 64 bits wide when they count bytes, else 32."""
    found = []
    for name, at in fields:
        value = record.number(at, 8 if name.endswith("Bytes") else 4)
        if value is not None:
            found.append((name, value))
    return tuple(found)
