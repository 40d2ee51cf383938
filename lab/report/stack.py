"""The crashing thread's stack with a note on each frame that matters."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.model import Frame, Origin, Triage
from lab.report import words

_NOTES = {
    "nt!KeBugCheckEx": ("stop", "The stop itself."),
    "nt!VfBugCheckNoStackUsage": ("stop", "Driver Verifier stops the machine."),
    "nt!PspExitThread": ("key", "The thread ends here, and Windows checks its APC disable count: not zero."),
    "nt!PsTerminateSystemThread": ("", "The thread asked to end by itself."),
    "srv2!SrvProcTerminateWorkerThreadInternal": (
        "innocent",
        "An idle worker thread of the file server ends: innocent.",
    ),
    "nt!VfAfterCallDriver": (
        "key",
        "Verifier's check after the call: it compares the count with the one it saved before the call.",
    ),
    "nt!IovCallDriver": (
        "key",
        "Verifier's wrapper of IoCallDriver: the guilty call was made from here, and has returned.",
    ),
    "nt!VfFastIoCheckState": ("key", "Verifier's check after a fast I/O call."),
    "srv2!Smb2ExecuteRead": (
        "innocent",
        "The file server passes a client's READ down to the volume: innocent.",
    ),
    "srv2!SrvProcWorkerThread": ("", "The file server's worker thread."),
}
"""Notes for frames the analysis left without one, by function: (tone, note)."""


@dataclass(frozen=True)
class FrameView:
    """One line of `kn`. `tone`: stop, key, innocent, third-party or ""."""

    index: str  # two hexadecimal digits
    child_sp: str
    return_address: str
    symbol: str
    tone: str
    note: str
    doubt: str  # "" unless the frame was found by scanning
    registers: tuple[str, ...]


def frames(triage: Triage) -> tuple[FrameView, ...]:
    foreign = {m.name.casefold() for m in triage.modules if m.origin is not Origin.IN_BOX}
    saved = triage.dispatch.address if triage.dispatch else 0
    told: set[str] = set()
    found = []
    for frame in triage.stack:
        own = "" if frame.note in told else frame.note  # why frames are scanned is said once
        told.add(frame.note)
        found.append(_view(replace(frame, note=own), frame.module.casefold() in foreign, saved))
    return tuple(found)


def _view(frame: Frame, foreign: bool, saved: int) -> FrameView:
    """`saved` is the address of verifier's saved state, worth a word where a register holds it."""
    tone, said = _NOTES.get(frame.symbol.partition("+")[0], ("", ""))
    if foreign:
        tone = "third-party"
        said = said or "A third-party driver."
    elif frame.note and not tone and frame.how != "scanned":
        tone = "key"
    return FrameView(
        index=f"{frame.index:02x}",
        child_sp=words.address(frame.child_sp),
        return_address=words.address(frame.return_address),
        symbol=frame.symbol or words.address(frame.instruction),
        tone=tone,
        note=_join(frame.note or _holds(frame, saved), said),
        doubt="found by scanning the stack: may be left over" if frame.how == "scanned" else "",
        registers=tuple(f"{name} {words.address(value)}" for name, value in frame.registers),
    )


def _holds(frame: Frame, saved: int) -> str:
    if not saved or not frame.symbol.startswith("nt!VfAfterCallDriver"):
        return ""
    name = next((name for name, value in frame.registers if value == saved), "")
    return f"{name} holds the saved state of the call, {words.address(saved)}." if name else ""


def _join(own: str, general: str) -> str:
    """The analysis's note, after what the function is for."""
    if not own:
        return general
    own = own if own.endswith((".", "!", "?")) else own + "."
    return f"{general} {own}" if general and own != general else own
