"""Stops that tell of damaged pool: 0x19, 0xC1, 0xC2, 0x13A (Microsoft's bug check code reference)."""

from __future__ import annotations

from lab.analysis.stops.shape import (
    BLOCK,
    BYTES,
    IRQL,
    NOTHING,
    POOL_TYPE,
    RESERVED,
    Kinds,
    Parameter,
    Role,
    Stop,
    violation,
)

_OTHER = Parameter("Other pool entry", Role.POOL)
_ENTRY = Parameter("Pool entry", Role.POOL)
_BAD_ENTRY = Parameter("Bad pool entry", Role.POOL)
_HEADER = Parameter("Pool header", Role.POOL)
_CONTENTS = Parameter("Pool header contents")
_START = Parameter("Address freed", Role.POOL)
_CALLER = Parameter("Address of the caller", Role.CODE)
_TAG = Parameter("Pool tag", Role.TAG)

_CHANGED = violation("The header of a freed block was changed, usually by an overrun of the block before it")

BAD_POOL_HEADER: Kinds = {
    0x2: violation("The special pool pattern check failed: the owner damaged the block", _ENTRY, BYTES),
    0x3: violation("The pool free list is damaged", _ENTRY, Parameter("Flink read"), Parameter("Blink read")),
    0x5: violation("Headers of neighbouring pool entries contradict each other", _ENTRY, RESERVED, _OTHER),
    0x6: violation("A header's previous size is too large", _ENTRY, RESERVED, _BAD_ENTRY),
    0x7: violation("A header's size is damaged", NOTHING, RESERVED, _BAD_ENTRY),
    0x8: violation("A header's size is zero", NOTHING, RESERVED, _BAD_ENTRY),
    0x9: violation("A header's size is too large", _ENTRY, RESERVED, _BAD_ENTRY),
    0xA: violation("A header's size is damaged", _ENTRY, RESERVED, Parameter("Page that should hold it")),
    **dict.fromkeys((0xD, 0xE, 0xF, 0x23, 0x24, 0x25), _CHANGED),
    0x20: violation("A header's size is damaged", _ENTRY, Parameter("Next pool entry", Role.POOL)),
    0x21: violation(
        "Data behind the block being freed is damaged: typically its user has overrun it",
        BLOCK,
        BYTES,
        Parameter("Damaged value"),
    ),
    0x22: violation("An address without tracking entry was freed: freed already, or never allocated", _START),
}

BAD_POOL_CALLER: Kinds = {
    0x00: violation("Zero bytes of pool were requested", NOTHING, POOL_TYPE, _TAG),
    **{
        kind: violation("A pool header is damaged", _HEADER, Parameter("First part of its contents"))
        for kind in (0x1, 0x2, 0x4)
    },
    0x06: violation("Pool was freed twice", RESERVED, _HEADER, _CONTENTS),
    0x07: violation("Pool was freed twice", RESERVED, _CONTENTS, BLOCK),
    0x08: violation("Pool was allocated at a bad IRQL", IRQL, POOL_TYPE, BYTES),
    0x09: violation("Pool was freed at a bad IRQL", IRQL, POOL_TYPE, BLOCK),
    0x0A: violation(
        "Pool was freed with the wrong tag: it may belong to another",
        BLOCK,
        Parameter("Tag of the allocation", Role.TAG),
        Parameter("Tag of the free", Role.TAG),
    ),
    **{
        kind: violation(
            "A quota was released on a damaged allocation", BLOCK, _TAG, Parameter("Bad process pointer")
        )
        for kind in (0xB, 0xC, 0xD)
    },
    0x40: violation(
        "Kernel pool was freed at a user-mode address", _START, Parameter("Start of system space")
    ),
    **{
        kind: violation("A nonpaged pool address was freed that is not allocated", _START)
        for kind in (0x41, 0x44, 0x47)
    },
    **{kind: violation("An address was freed that was never in any pool", _START) for kind in (0x42, 0x43)},
    0x46: violation("A bad pool address was freed", _START),
    0x48: violation("A paged pool address was freed that is not allocated", _START),
    0x50: violation(
        "A paged pool address was freed that is not allocated",
        _START,
        Parameter("Offset in paged pool, in pages"),
        Parameter("Size of paged pool"),
    ),
    0x60: violation("MmFreeContiguousMemory was given a bad address", _START),
    0x99: violation("Pool was freed at a bad address, or a header is damaged", _START),
    0x9A: violation("Must-succeed pool was requested", POOL_TYPE, BYTES, _TAG),
    0x9B: violation("Pool was allocated with a tag of 0", POOL_TYPE, BYTES, _CALLER),
    0x9C: violation('Pool was allocated with the tag "BIG"', POOL_TYPE, BYTES, _CALLER),
    0x9D: violation(
        "Pool was allocated with a tag without letters or digits",
        Parameter("Wrong tag", Role.TAG),
        POOL_TYPE,
        _CALLER,
    ),
    0x41286: violation(
        "A paged pool address was freed in the middle of an allocation",
        RESERVED,
        RESERVED,
        Parameter("Offset in paged pool, in pages"),
    ),
}


def _special(
    meaning: str, first: Parameter, second: Parameter = RESERVED, third: Parameter = RESERVED
) -> Stop:
    return Stop(meaning, (first, second, third, Parameter(meaning)))


_DAMAGED = Parameter("Where bits are damaged")

SPECIAL_POOL: Kinds = {
    0x20: _special("Pool was freed that is not allocated", _START),
    0x21: _special("A bad address was freed", _START, Parameter("Bytes requested"), Parameter("Bytes given")),
    0x22: _special("A bad address was freed", _START, Parameter("Bytes requested"), Parameter("Bytes given")),
    0x23: _special("Bytes near the freed block, on the same page, are damaged", _START, _DAMAGED),
    0x24: _special("Bytes behind the end of the freed block are damaged", _START, _DAMAGED),
    0x30: _special("Pool was allocated at a bad IRQL", IRQL, POOL_TYPE, BYTES),
    0x31: _special("Pool was freed at a bad IRQL", IRQL, POOL_TYPE, _START),
    0x32: _special("One bit near the freed block is wrong", _START, Parameter("Where the bit is wrong")),
}
"""0xC1, by parameter 4."""

_HEAP = {
    0x3: "An entry header is damaged",
    0x4: "Several entry headers are damaged",
    0x5: "The entry header of a large allocation is damaged",
    0x6: "Damage like that of a buffer overrun",
    0x7: "Damage like that of a buffer underrun",
    0x8: "A free block was used where only a busy one may be",
    0x9: "A bad argument was given",
    0xA: "A bad allocation type was found",
    0xB: "Damage like that of a use after free",
    0xC: "The wrong heap was given",
    0xD: "A free list is damaged",
    0xE: "A list other than the free list is damaged",
    0xF: "A free block was used where only a busy one may be",
    0x10: "The internal state is bad, usually after a buffer overrun",
    0x11: "The internal state is bad, usually after a buffer overrun",
    0x12: "The internal state is bad, usually after a buffer overrun",
    0x13: "A NULL heap handle was given",
    0x14: "An allocation larger than the limit was requested",
    0x15: "A commit request exceeds the limit",
    0x16: "A query of a large allocation's size is invalid",
}

HEAP_CORRUPTION: Kinds = {
    kind: violation(
        meaning, Parameter("Heap that reports it"), Parameter("Where the damage was found", Role.POOL)
    )
    for kind, meaning in _HEAP.items()
}
