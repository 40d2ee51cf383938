"""Who called: reading a crashing stack from its top."""

from __future__ import annotations

from collections.abc import Sequence

from lab.analysis.facts import CHECKERS, KERNEL_IMAGES, Facts, function
from lab.model import Frame, Strength

TRAPS = frozenset(
    f"nt!{name}"
    for name in (
        *("KiBugCheckDispatch", "KiExceptionDispatch", "KiFastFailDispatch", "KiDispatchException"),
        *("KiPageFault", "KiPageFaultShadow", "KiGeneralProtectionFault", "KiGeneralProtectionFaultShadow"),
        *("KiRaiseSecurityCheckFailure", "KiRaiseSecurityCheckFailureShadow", "KiBreakpointTrap"),
        *("KiInvalidOpcodeFault", "KiDivideErrorFault", "KiStackFault", "KiRaiseAssertion"),
        *("KiDebugTrapOrFault", "KiNmiInterrupt", "KiMcheckAbort", "KiDoubleFaultAbort"),
    )
)
"""Handlers that save the interrupted code's registers: the frame behind the last of them is that code."""

INTERRUPTED = "interrupted here"
"""The note of a frame that the unwinder reached through saved registers instead of a return address."""

_DEEPEST_TRAP = 24
"""Frames from the top among which a handler belongs to this very stop."""


def interrupted(stack: Sequence[Frame]) -> tuple[Frame, ...]:
    """The stack from the code that was interrupted on; empty when no handler of exceptions is on it."""
    for position, frame in enumerate(stack[:_DEEPEST_TRAP]):
        if position and frame.note == INTERRUPTED:
            return tuple(stack[position:])
    last = None
    for position, frame in enumerate(stack[:_DEEPEST_TRAP]):
        if function(frame.symbol) in TRAPS:
            last = position
    return () if last is None else tuple(stack[last + 1 :])


def outside_kernel(stack: Sequence[Frame]) -> tuple[Frame, ...]:
    """The stack from the first frame on that is neither the kernel's nor Driver Verifier's."""
    for position, frame in enumerate(stack):
        name = frame.module.casefold()
        if name and name not in KERNEL_IMAGES and name not in CHECKERS:
            return tuple(stack[position:])
    return ()


def first_accusable(facts: Facts, stack: Sequence[Frame]) -> Frame | None:
    """The first frame of a driver that is not known to come with Windows."""
    return next((frame for frame in stack if frame.module and facts.accusable(frame.module)), None)


def as_found(strength: Strength, frame: Frame) -> Strength:
    """What a frame proves: one that was only scanned for may be a left-over."""
    return Strength.WEAK if frame.how == "scanned" else strength


def where(frame: Frame) -> str:
    """Which frame it is: its number in hexadecimal, as kn has it."""
    return f"frame {frame.index:x}, {frame.symbol} ({frame.how})"
