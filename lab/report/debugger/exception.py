"""`.exr` and `r`: the exception of the stop, and the registers of the code that raised it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lab.model import ExceptionRecord

_ROWS = (
    ("rax", "rbx", "rcx"),
    ("rdx", "rsi", "rdi"),
    ("rip", "rsp", "rbp"),
    ("r8", "r9", "r10"),
    ("r11", "r12", "r13"),
    ("r14", "r15"),
)
_FLAGS = (
    (11, "ov", "nv"), (10, "dn", "up"), (9, "ei", "di"), (7, "ng", "pl"),
    (6, "zr", "nz"), (4, "ac", "na"), (2, "pe", "po"), (0, "cy", "nc"),
)  # fmt: skip
"""(bit of EFLAGS, the debugger's word when it is set, when it is clear)."""


def record(found: ExceptionRecord) -> Iterator[str]:
    """As `.exr` has it; what only an EXCEPTION_RECORD tells is left out when there is none."""
    yield f"ExceptionAddress: {found.address:016x} ({found.symbol})"
    yield f"   ExceptionCode: {found.code:08x}" + (f" ({found.name})" if found.name else "")
    if found.flags is not None:
        yield f"  ExceptionFlags: {found.flags:08x}"
        yield f"NumberParameters: {len(found.parameters)}"
    yield from (f"   Parameter[{i}]: {value:016x}" for i, value in enumerate(found.parameters))
    if found.attempt:
        yield found.attempt


def registers(values: Sequence[tuple[str, int]]) -> Iterator[str]:
    """As `r` has them: three to a line, and the flags by their names."""
    known: Mapping[str, int] = dict(values)
    for row in _ROWS:
        if line := " ".join(f"{name:>3}={known[name]:016x}" for name in row if name in known):
            yield line
    if "eflags" in known:
        yield f"{flags(known['eflags'])}  efl={known['eflags']:08x}"


def flags(eflags: int) -> str:
    """ "iopl=0  nv up ei pl zr na pe nc"."""
    words = (on if eflags >> bit & 1 else off for bit, on, off in _FLAGS)
    return f"iopl={eflags >> 12 & 3}  {' '.join(words)}"
