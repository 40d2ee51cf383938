"""Whether two crashes are the same crash, another face of the same defect, or something else."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

from lab.model.bugcheck import Bugcheck
from lab.model.triage import Signature


class Relation(StrEnum):
    SAME = "same"
    SIBLING = "sibling"
    OTHER = "other"
    OURS = "ours"


APC_FAMILY = frozenset(
    {
        (0x20, 0),
        (0x1, 0),
        (0xC4, 0xC5),
        (0xC4, 0xC6),
        (0xC4, 0xFB),
        (0xC4, 0x3E),
        (0xC4, 0x40003),
        (0x10D, 0xF),
    }
)
"""(code, kind) of stops about a critical region that was entered or left once too often."""

POOL_FAMILY = frozenset({0x19, 0xC1, 0xC2, 0xC5, 0x13A})
"""Damaged pool is noticed by whoever comes by next, so the same defect shows as any of these."""

POOL_VIOLATIONS = frozenset({0x51, 0x52, 0x53, 0x54, 0x59, 0x13A, 0x13B, 0x13C, 0x13D, 0x13E, 0x13F})
"""The kinds of 0xC4 that tell of damaged pool."""

EXCEPTIONS = frozenset({0x1E, 0x3B, 0x7E, 0x8E, 0x1000007E, 0x1000008E})
"""Stops for an exception; their kind is its NTSTATUS. Which of them it is depends on who caught it."""

TOUCHES = frozenset({0xA, 0x50, 0xBE, 0xD1, 0xD5, 0xD6, 0xFC})
"""Stops for memory that was touched wrongly. Which of them it is depends on the IRQL and on the address."""

_ACCESS_VIOLATION = 0xC0000005
_KERNEL = frozenset({"nt", "hal"})


def compare(expected: Signature, seen: Signature) -> Relation:
    """How `seen` relates to `expected`. What one of the two does not know does not separate them.

    Ours: a stop the lab causes itself. Same: equal code and kind, and the same place: the function (or
    module) at fault where both stops tell one, else the start routine of the thread. Sibling: another face
    of the same defect: a family of stops for APC disable counts, one for damaged pool, and faults of
    different codes in the same place.
    """
    if Bugcheck(seen.code).ours:
        return Relation.OURS
    if expected.code == seen.code and _same_kind(expected, seen):
        if expected.fault and seen.fault:
            same = same_place(expected, seen)
        else:
            starts = {s.casefold() for s in (expected.thread_start, seen.thread_start) if "!" in s}
            same = len(starts) < 2
        if same:
            return Relation.SAME
    return Relation.SIBLING if _siblings(expected, seen) else Relation.OTHER


def _same_kind(one: Signature, other: Signature) -> bool:
    """0 means "not known" for an exception, and in a signature of which only the code was given."""
    if one.sub_code == other.sub_code:
        return True
    nothing = next((each for each in (one, other) if each.sub_code == 0), None)
    if nothing is None:
        return False
    return nothing.code in EXCEPTIONS or not (nothing.functions or nothing.thread_start or nothing.fault)


def _siblings(one: Signature, other: Signature) -> bool:
    if all((each.code, each.sub_code) in APC_FAMILY for each in (one, other)):
        return True
    if all(_about_pool(each) for each in (one, other)):
        return True
    if not (one.fault and other.fault and one.code != other.code):
        return False
    first, second = _exception(one), _exception(other)
    return first is not None and second is not None and _agree(first, second) and same_place(one, other)


def _about_pool(signature: Signature) -> bool:
    if signature.code == 0xC4:
        return signature.sub_code in POOL_VIOLATIONS
    return signature.code in POOL_FAMILY


def _exception(signature: Signature) -> int | None:
    """The exception behind a fault, 0 when it is not known; None for any other stop."""
    if signature.code in TOUCHES:
        return _ACCESS_VIOLATION
    return signature.sub_code if signature.code in EXCEPTIONS else None


def _agree(first: int, second: int) -> bool:
    return first == second or 0 in (first, second)


def same_place(one: Signature, other: Signature) -> bool:
    """Whether both went wrong in the same function, or in the same module where a function is not known.

    A function that one build has and the other compiled into its caller is the same place. In the kernel,
    which everybody calls, the first module outside it must agree too.
    """
    module, function = _split(one.fault)
    other_module, other_function = _split(other.fault)
    if module != other_module:
        return False
    named = function and other_function and function != other_function
    if named and not (_inlined(one, other) or _inlined(other, one)):
        return False
    return module not in _KERNEL or _agree_on_caller(_outside(one), _outside(other))


def _inlined(one: Signature, other: Signature) -> bool:
    """Whether `one`'s place at fault is the caller of `other`'s."""
    calls = [name.casefold() for name in other.functions]
    fault, caller = other.fault.casefold(), one.fault.casefold()
    return (fault, caller) in pairwise(calls)


def _outside(signature: Signature) -> str:
    """The first module on the stack that is not the kernel, "" when there is none."""
    modules = (_split(name)[0] for name in signature.functions)
    return next((module for module in modules if module not in _KERNEL), "")


def _agree_on_caller(first: str, second: str) -> bool:
    return not first or not second or first == second


def _split(name: str) -> tuple[str, str]:
    module, _, function = name.casefold().partition("!")
    return module, function
