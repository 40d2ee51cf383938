"""`kn` and `.frame /r`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.model import Frame
from lab.report import words

SCANNED = "Frames marked [scanned] were found by looking for return addresses; some may be left-overs."


def kn(stack: Sequence[Frame], *, registers: bool = False) -> Iterator[str]:
    """The frames by number, and with `registers` below each one its nonvolatile registers.

    What the debugger has no way to say: frames that were found by scanning are marked.
    """
    yield " # Child-SP          RetAddr           Call Site"
    told: set[str] = set()
    for frame in stack:
        mark = "  [scanned]" if frame.how == "scanned" else ""
        note = f"  ({frame.note})" if frame.note and frame.note not in told else ""
        told.add(frame.note)
        where = frame.symbol or words.address(frame.instruction)
        yield (
            f"{frame.index:02x} {words.address(frame.child_sp)} {words.address(frame.return_address)} "
            f"{where}{mark}{note}"
        )
        if registers:
            yield from frame_registers(frame)
    if any(frame.how == "scanned" for frame in stack):
        yield SCANNED


def frame_registers(frame: Frame) -> Iterator[str]:
    """Three to a line, as `.frame /r` has them. Only registers whose value in this frame is known."""
    others = (each for each in frame.registers if each[0] not in ("rip", "rsp"))
    known = (("rip", frame.instruction), ("rsp", frame.child_sp), *others)
    for at in range(0, len(known), 3):
        yield "   " + " ".join(f"{name:>3}={value:016x}" for name, value in known[at : at + 3])
