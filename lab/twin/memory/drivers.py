"""The functions of a driver that is not the system's own: each has the same few, at its own addresses."""

from __future__ import annotations

import hashlib

from lab.twin.memory.functions import Call, Function
from lab.twin.memory.prologue import prologue

# name, RVA before the driver's own shift, prologue, and (callee, return offset, how); {} is the driver
_FUNCTIONS = (
    ("Dispatch", 0x1610, prologue("rbx1 rsi2", "rdi", 0x40), (("nt!VerifierKeEnterCriticalRegion", 0xB8),)),
    ("Worker", 0x1D80, prologue("rbx1", "rdi", 0x30), (("{}!Start", 0xB0), ("{}!Leave", 0xC8))),
    ("PreRead", 0x5200, prologue("", "rbx rsi rdi", 0x40), (("nt!VerifierKeEnterCriticalRegion", 0xA7),)),
    ("PostRead", 0x5400, prologue("", "rbx rsi rdi", 0x40), (("nt!VerifierKeLeaveCriticalRegion", 0x95),)),
    ("Enter", 0x6180, prologue("rbx1", "rdi", 0x20), (("nt!VerifierKeEnterCriticalRegion", 0x123),)),
    ("Start", 0xA700, prologue("rbx1 rbp2", "rdi", 0x60), (("{}!Enter", 0xE2),)),
    ("Leave", 0xAA80, prologue("rbx1", "rdi", 0x20), (("nt!VerifierKeLeaveCriticalRegion", 0x7A),)),
)


def driver_functions(prefix: str) -> tuple[Function, ...]:
    """Functions `prefix`!Dispatch, Worker, Start, Enter, Leave, PreRead and PostRead, by address."""
    shift = hashlib.sha256(prefix.casefold().encode()).digest()[0] * 0x10
    found = []
    for name, rva, shape, targets in _FUNCTIONS:
        own = f"{prefix}!{name}"
        calls = tuple(
            Call(own, callee.format(prefix), at, "import" if callee.startswith("nt!") else "relative")
            for callee, at in targets
        )
        size = max(at for _, at in targets) + 0x20
        found.append(Function(own, rva + shift, size, shape, calls))
    return tuple(found)
