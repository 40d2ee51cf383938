"""Facts by hand: the article's crashes as plain values."""

from __future__ import annotations

from lab.analysis.facts import ExceptionFacts, Facts
from lab.model import (
    Bugcheck,
    CriticalRegionEntry,
    DispatchState,
    FilterInstance,
    Frame,
    Module,
    Origin,
    ThreadFacts,
    UnloadedDriver,
    VerifierFacts,
)

THREAD, ELSE = 0xFFFFFA804B5BE040, 0xFFFFFA8048CE4B50
IN_BOX = ("ntoskrnl.exe", "fltmgr.sys", "Ntfs.sys", "srv2.sys", "amdppm.sys")
THIRD = ("BadDriver.sys", "Suspect.sys", "Other.sys")


def base(image: str) -> int:
    """Where `modules()` puts an image."""
    return 0xFFFFF88001000000 + 0x100000 * (IN_BOX + THIRD).index(image)


def modules() -> tuple[Module, ...]:
    return tuple(
        Module(
            name, base(name), 0x100000, 1, "", Origin.IN_BOX if name in IN_BOX else Origin.THIRD_PARTY, "told"
        )
        for name in IN_BOX + THIRD
    )


GONE = 0xFFFFF88009000000
"""Where a driver was that has been unloaded."""


def unloaded(name: str) -> UnloadedDriver:
    return UnloadedDriver(name, GONE, GONE + 0x10000, "")


def frames(*symbols: str, how: str = "unwound") -> tuple[Frame, ...]:
    """Frames of those symbols; a symbol without `!` belongs to a third-party image of that name."""
    names = {"nt": "ntoskrnl.exe", "fltmgr": "fltmgr.sys", "srv2": "srv2.sys", "Ntfs": "Ntfs.sys"} | {
        "VerifierExt": "VerifierExt.sys"
    }
    return tuple(
        Frame(i, 0, 0, 0, s, names.get(s.split("!")[0], f"{s.split('+')[0]}.sys"), how)
        for i, s in enumerate(symbols)
    )


def thread(count: int | None = -1, start: str = "srv2!SrvProcWorkerThread") -> ThreadFacts:
    return ThreadFacts(THREAD, "System", "4.998", start, count, 0, 0, 0)


def entries(*calls: tuple[int, str, str]) -> tuple[CriticalRegionEntry, ...]:
    """A log from (thread, direction, image), given oldest first as it happened."""
    return tuple(CriticalRegionEntry(t, way, image, ()) for t, way, image in reversed(calls))


def verifier(
    *calls: tuple[int, str, str], level: int = 0x800, capacity: int = 128, allocated: bool = True
) -> VerifierFacts:
    return VerifierFacts(level, (), THIRD, allocated, capacity, entries(*calls))


def exit_crash(log: VerifierFacts | None = None, *, parameter: int = 0xFFFF, count: int | None = -1) -> Facts:
    """STOP 0x20 in a worker thread that exits."""
    return Facts(
        Bugcheck(0x20, (0, parameter, 0, 1)),
        modules(),
        thread(count),
        frames("nt!KeBugCheckEx", "nt!PspExitThread+0x100", "srv2!SrvProcWorkerThread+0x1b6"),
        log,
    )


def instance(image: str, *, reads: bool | None = True) -> FilterInstance:
    origin = Origin.IN_BOX if image in IN_BOX else Origin.THIRD_PARTY
    return FilterInstance(0xFFFFFA804B5B1010, f"{image} Instance", "189600", image, image, origin, reads)


def dispatch_crash(owner: str, *instances: FilterInstance, found: bool = True, sub_code: int = 0xC5) -> Facts:
    """STOP 0xC4/0xC5 with the dispatch routine of `owner`, during a READ."""
    routine = base(owner) + 0x5610
    state = DispatchState(
        0xFFFFFA804B729790,
        "rbx of frame 2",
        (),
        routine,
        f"{owner.split('.')[0]}!Dispatch",
        0,
        0xFFFFFA804A3B0060,
        "",
        (),
        0xFFFFFA804A3B0800 if owner == "fltmgr.sys" else 0,
        r"\Device\HarddiskVolume3",
        instances,
    )
    stack = frames(
        "nt!KeBugCheckEx",
        "nt!VfBugCheckNoStackUsage+0x30",
        "nt!VfAfterCallDriver+0x33e",
        "nt!IovCallDriver+0x57e",
        "srv2!Smb2ExecuteRead+0x9a6",
    )
    return Facts(
        Bugcheck(0xC4, (sub_code, routine, 0xFFFF, 0)),
        modules(),
        thread(),
        stack,
        None,
        state if found else None,
    )


def stop(code: int, parameters: tuple[int, int, int, int], *symbols: str, how: str = "unwound") -> Facts:
    """Any bugcheck on the article's thread."""
    return Facts(
        Bugcheck(code, parameters), modules(), thread(), frames("nt!KeBugCheckEx", *symbols, how=how)
    )


def fault(code: int, parameters: tuple[int, int, int, int], *symbols: str, how: str = "unwound") -> Facts:
    exception = ExceptionFacts(0xC0000005, parameters[1], "bugcheck parameters 1 and 2")
    return Facts(
        Bugcheck(code, parameters), modules(), thread(), frames(*symbols, how=how), exception=exception
    )
