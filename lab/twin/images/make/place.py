"""Where each function and variable of a kernel goes, and the padding that brings it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.twin.images.make.names import FUNCTIONS, VARIABLES

PAGE = 0x1000
SPLIT = "SPLIT_PspExitThread"
_SPLIT_AT = -0x1C530  # from PspExitThread, on 7601


@dataclass(frozen=True)
class Place:
    """A function or variable: its RVA, its size, the section (run) that holds it."""

    name: str
    rva: int
    size: int
    code: bool
    run: str = ""

    @property
    def section(self) -> str:
        return f"{self.run}${self.rva:08X}"


def wanted(build: int, symbols: dict[str, int]) -> tuple[list[str], list[str]]:
    """Functions and variables that the kernel of `build` has."""
    absent = {name for name in ("HalHandleNMI", "HalBugCheckSystem") if build < 19041}
    absent |= {"PopCheckIrpWatchdog"} if build > 7601 else {"PopIrpWatchdogBugcheck", "PopIrpWatchdog"}
    absent |= {"KeClockInterruptNotify"} if build == 7601 else set()
    absent |= {"KiInitialPCR"} - set(symbols)
    return [n for n in FUNCTIONS if n not in absent], [n for n in VARIABLES if n not in absent]


def place(build: int, symbols: dict[str, int], sizes: dict[str, int]) -> list[Place]:
    """All places by RVA; `sizes` gives those of functions. ValueError when two overlap."""
    functions, variables = wanted(build, symbols)
    found = [Place(n, symbols[n], sizes.get(n, 0), True) for n in functions if n in symbols]
    found += [Place(n, symbols[n], VARIABLES[n], False) for n in variables if n in symbols]
    if build == 7601:
        found.append(Place(SPLIT, symbols["PspExitThread"] + _SPLIT_AT, sizes.get(SPLIT, 0), True))
    free = (max(p.rva + p.size for p in found) // PAGE + 2) * PAGE
    for code, names in ((True, functions), (False, variables)):
        for name in (name for name in names if name not in symbols):
            size = sizes.get(name, 0) if code else VARIABLES[name]
            found.append(Place(name, free, size, code))
            free = (free + size + 0x4F) // 0x10 * 0x10
        free = (free // PAGE + 2) * PAGE
    return _runs(sorted(found, key=lambda p: (p.rva, p.size)))


def _runs(places: list[Place]) -> list[Place]:
    done: list[Place] = []
    number = -1
    for at in places:
        before = done[-1] if done else None
        if before is not None and before.rva + before.size > at.rva:
            if before.code or at.code:
                raise ValueError(f"{before.name} at {before.rva:#x}, {before.size:#x} long, and {at.name}")
            done[-1] = before = Place(before.name, before.rva, at.rva - before.rva, False, before.run)
        if before is None or before.code != at.code:
            number += 1
            if before is not None and (before.rva + before.size - 1) // PAGE >= at.rva // PAGE:
                raise ValueError(f"{before.name} and {at.name} are code and data on one page")
        done.append(Place(at.name, at.rva, at.size, at.code, f"K{number:02d}"))
    return done


def header(places: list[Place], build: int, facts: dict[str, Any]) -> str:
    """`layout.h`: the sections, and what the assembler must know of structures."""
    lines = [f'#define SECTION_{p.name} "{p.section}"' for p in places if p.name != SPLIT]
    lines += [f'#define {SPLIT} "{p.section}"' for p in places if p.name == SPLIT]
    thread = {f[0]: f[1] for f in facts["types"]["_KTHREAD"]["fields"]}
    lines += [
        f"#define KERNEL_STACK {thread['KernelStack']}",
        f"#define APC_DISABLE {thread['CombinedApcDisable']}",
        f"#define SYSTEM_THREAD {1 << {7601: 13, 9600: 11}.get(build, 10):#x}",  # bit of MiscFlags
    ]
    flags = next(f[1] for f in facts["types"]["_ETHREAD"]["fields"] if f[0] == "CrossThreadFlags")
    lines.append(f"#define CROSS_THREAD_FLAGS {flags}")
    if "_IOV_IRP_TRACE" in facts["types"]:
        lines.append("#define HAS_IRP_TRACES 1")
    return "\n".join([*lines, ""])


def padding(places: list[Place]) -> str:
    """Assembler source: the variables, and filling between all places so that each lies at its RVA."""
    lines: list[str] = []
    at = PAGE
    for index, place in enumerate(places):
        flags = "xr" if place.code else "dw"
        fill = "0xCC" if place.code else "0"
        first = index == 0 or places[index - 1].run != place.run
        start = at if index == 0 else (place.rva // PAGE * PAGE if first else at)
        if first and index:
            before = places[index - 1]
            # the run before reaches to this one's first page
            kind, filling = ("xr", "0xCC") if before.code else ("dw", "0")
            lines += _fill(before.run, at, start - at, kind, filling)
        lines += _fill(place.run, start, place.rva - start, flags, fill)
        if not place.code:
            lines += [f'.section "{place.section}","dw"', f".globl {place.name}", f"{place.name}:"]
            lines.append(f".space {place.size}")
        at = place.rva + place.size
    lines += ['.section ZPDATA,"dr"', '.section ZTAIL,"dr"', ".byte 0"]
    lines += ['.section .rsrc,"dr"', ".space 0x800"]
    return "\n".join([*lines, ""])


def _fill(run: str, start: int, size: int, flags: str, value: str) -> list[str]:
    return [f'.section "{run}${start:08X}","{flags}"', f".space {size}, {value}"] if size else []
