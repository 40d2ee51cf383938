"""nt!ViTargetDriversAvl: the verified drivers that are loaded, each with Driver Verifier's counters.

VF_AVL_TREE, VF_AVL_TABLE, RTL_AVL_TABLE and VF_TARGET_VERIFIED_DRIVER_DATA are laid out as in the build's
public symbols; a node is an RTL_BALANCED_LINKS and, behind it, a VF_TARGET_DRIVER.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from lab.twin.crash import CrashState, Stop
from lab.twin.memory.layout import Layout, Module
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record

_LINKS = 0x20  # RTL_BALANCED_LINKS: Parent, LeftChild, RightChild, Balance
_LEFT, _RIGHT = 8, 0x10
_COUNT, _DEPTH = 0x2C, 0x30  # of RTL_AVL_TABLE


def write_targets(
    memory: Memory, pool: Pool, at: Layout, state: CrashState, suspects: dict[str, int], rng: Random
) -> dict[str, int]:
    """Write the tree; returns the address of each driver's counters by file name.

    `suspects` are the VF_SUSPECT_DRIVER_ENTRYs by file name in lower case.
    """
    loaded = sorted(
        (m for m in at.modules if m.name.casefold() in suspects and state.verifier_level),
        key=lambda m: m.base,
    )
    data = {m.name: _counters(pool, at, state, m, suspects[m.name.casefold()], rng) for m in loaded}
    types = at.nt.blueprint.types
    tree = types["_VF_AVL_TREE"][1]
    table = pool.take(types["_VF_AVL_TABLE"][0], b"VfAT")
    head = at.variable("ViTargetDriversAvl")
    memory.u64(head + tree["NodeRangeSize"], 0)
    memory.u64(head + tree["NodeCount"], len(loaded))
    memory.u64(head + tree["Tables"], table if state.verifier_level else 0)
    memory.u32(head + tree["TablesNo"], 1 if state.verifier_level else 0)
    root, depth = _subtree(memory, pool, at, loaded, data, table)
    memory.u64(table, table)
    memory.u64(table + _RIGHT, root)
    memory.u32(table + _COUNT, len(loaded))
    memory.u32(table + _DEPTH, depth)
    return data


def _subtree(
    memory: Memory, pool: Pool, at: Layout, modules: Sequence[Module], data: dict[str, int], parent: int
) -> tuple[int, int]:
    """A balanced tree of `modules`, which are sorted: its root (0 for none) and its depth."""
    if not modules:
        return 0, 0
    middle = len(modules) // 2
    module = modules[middle]
    size, fields = at.nt.blueprint.types["_VF_TARGET_DRIVER"]
    node = pool.take(_LINKS + size, b"VfTD")
    left, left_depth = _subtree(memory, pool, at, modules[:middle], data, node)
    right, right_depth = _subtree(memory, pool, at, modules[middle + 1 :], data, node)
    record = Record(_LINKS + size)
    record.u64(0, parent)
    record.u64(_LEFT, left)
    record.u64(_RIGHT, right)
    record.u8(0x18, right_depth - left_depth)
    record.u64(_LINKS, module.base)
    record.u64(_LINKS + 8, module.size)
    record.u64(_LINKS + fields["VerifiedData"], data[module.name])
    memory.write(node, record.data)
    return node, 1 + max(left_depth, right_depth)


def _counters(pool: Pool, at: Layout, state: CrashState, module: Module, suspect: int, rng: Random) -> int:
    """Its pool blocks now and at most, and how often it did what is counted."""
    size, fields = at.nt.blueprint.types["_VF_TARGET_VERIFIED_DRIVER_DATA"]
    record = Record(size)
    record.u64(fields["SuspectDriverEntry"], suspect)
    leaks = state.stop is Stop.POOL_LEAKED and module.name.casefold() == state.dispatch_owner.casefold()
    now = state.leaks if leaks else rng.randrange(2, 60)
    peak = now + rng.randrange(5, 90)
    for name, value in (
        ("CurrentNonPagedPoolAllocations", now),
        ("PeakNonPagedPoolAllocations", peak),
        ("PeakPagedPoolAllocations", rng.randrange(1, 30)),
        ("RaiseIrqls", rng.randrange(0, 900)),
        ("AcquireSpinLocks", rng.randrange(900, 90_000)),
    ):
        record.u32(fields[name], value)
    record.u64(fields["NonPagedBytes"], now * 0x180)
    record.u64(fields["PeakNonPagedBytes"], peak * 0x180)
    return pool.put(record.data, b"VfVd")
