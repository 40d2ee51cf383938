"""`!verifier`, `!verifier 1`, `!verifier 100` and `!verifier 200`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from lab.model import CriticalRegionEntry, IrpLogEntry, VerifiedDriver, VerifierFacts
from lab.report.debugger.threads import count

RULE = "=" * 70
MISCELLANEOUS = 0x800


def settings(facts: VerifierFacts) -> Iterator[str]:
    """Level and options, and the drivers they are for."""
    if not facts.level:
        yield "Verify Level 0 ... Driver Verifier is off"
        return
    yield f"Verify Level {facts.level:x} ... enabled options are:"
    yield from (f"      {option}" for option in facts.options)
    if facts.drivers:
        yield "Verified drivers: " + ", ".join(facts.drivers)


def statistics(facts: VerifierFacts) -> Iterator[str]:
    """The system's counters, and each verified driver that was loaded."""
    if facts.counters:
        yield "Summary of All Verifier Statistics"
        yield ""
        width = max(len(name) for name, _ in facts.counters)
        yield from (f"{name:<{width}}  {value:#x}" for name, value in facts.counters)
    if facts.loaded:
        yield ""
        yield "Driver Verification List"
        for driver in facts.loaded:
            yield from _driver(driver)


def _driver(driver: VerifiedDriver) -> Iterator[str]:
    yield f"{driver.base:016x} {driver.base + driver.size:016x}   Loaded   {driver.name}"
    yield from (f"      {name} {value:#x}" for name, value in driver.counters if value)


def region_log(facts: VerifierFacts, *, most: int | None = None, thread: int = 0) -> Iterator[str]:
    """The Enter/Leave Critical Region log, newest first: of one `thread`, at most `most` entries."""
    if not facts.log_allocated:
        why = (
            "Miscellaneous checks (0x800) were on, but the dump holds no log"
            if facts.level & MISCELLANEOUS
            else "Miscellaneous checks (0x800) were not on"
        )
        yield f"Enter/Leave Critical Region log is not available: {why}."
        return
    log = [entry for entry in facts.log if entry.thread == thread] if thread else facts.log
    yield "Enter/Leave Critical Region log:"
    used = f"{len(facts.log)} are used" + (f", {len(log)} by thread {thread:016x}" if thread else "")
    yield f"There are up to {facts.log_capacity:#x} entries in the log, {used}."
    yield from _balance(log)
    for entry in islice(log, most):
        yield RULE
        yield f"Thread {entry.thread:016x}"
        yield from entry.stack
    if most is not None and len(log) > most:
        yield RULE
        yield f"({len(log) - most} older entries are not shown: lab dump log)"


def _balance(log: Sequence[CriticalRegionEntry]) -> Iterator[str]:
    """Who made the calls: what the debugger leaves to the reader's patience."""
    counts = Counter((entry.caller or "unknown", entry.direction) for entry in log)
    for caller in dict.fromkeys(entry.caller or "unknown" for entry in log):
        threads = {e.thread for e in log if (e.caller or "unknown") == caller}
        ways = [
            f"{counts[caller, way]} {way}" for way in ("enter", "leave", "unknown") if counts[caller, way]
        ]
        yield f"      {caller}: {', '.join(ways)}, on {len(threads)} thread(s)"


def irp_log(
    log: Sequence[IrpLogEntry], *, most: int | None = None, thread: int = 0, nothing: str = ""
) -> Iterator[str]:
    """The IRP log, newest first: of one `thread`, at most `most` entries. `nothing`: why there are none."""
    if not log:
        yield f"The IRP log holds no entries{f': {nothing}' if nothing else ''}."
        return
    shown = [entry for entry in log if entry.thread == thread] if thread else log
    yield f"IRP log: {len(log)} entries" + (f", {len(shown)} by thread {thread:016x}" if thread else "")
    for entry in islice(shown, most):
        yield RULE
        yield f"IRP {entry.irp:016x}, Thread {entry.thread:016x}, IRQL = {entry.irql}"
        yield (
            f"KernelApcDisable = {count(entry.kernel_apc_disable)}, "
            f"SpecialApcDisable = {count(entry.special_apc_disable)}"
        )
        yield from entry.stack
    if most is not None and len(shown) > most:
        yield RULE
        yield f"({len(shown) - most} older entries are not shown: lab dump log --irps)"
