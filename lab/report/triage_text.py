"""A triage as text that reads like a kernel debugger's output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lab.analysis.arguments import meanings
from lab.model import (
    CriticalRegionEntry,
    DispatchState,
    Frame,
    Origin,
    ThreadFacts,
    Triage,
    VerifierFacts,
)

LOG_SHOWN = 2
"""Entries of the critical-region log that are shown in full; the rest is summed up."""

_RULE = "=" * 70


def address(value: int) -> str:
    """`fffff880`05db1b08`, as the debugger writes addresses."""
    return f"{value >> 32:08x}`{value & 0xFFFFFFFF:08x}"


def render(triage: Triage) -> str:
    """The whole triage, sections separated by empty lines, ending with one newline."""
    sections = (
        _title(triage),
        _arguments(triage),
        _system(triage),
        _thread(triage.thread),
        _stack(triage.stack),
        _verifier(triage.verifier),
        _region_log(triage.verifier),
        _dispatch(triage.dispatch),
        _volume(triage.dispatch),
        _third_party(triage),
        _evidence(triage),
        _suspects(triage),
        _notes(triage),
    )
    return "\n\n".join("\n".join(lines) for section in sections if (lines := list(section))) + "\n"


def _title(triage: Triage) -> Iterator[str]:
    yield triage.bugcheck.title


def _arguments(triage: Triage) -> Iterator[str]:
    yield "Arguments:"
    for number, (value, meaning) in enumerate(
        zip(triage.bugcheck.parameters, meanings(triage.bugcheck), strict=True), 1
    ):
        yield f"Arg{number}: {value:016x}" + (f", {meaning}" if meaning else "")


def _system(triage: Triage) -> Iterator[str]:
    dump = triage.dump
    yield f"Dump:    {dump.path} ({dump.dump_type_name}, type {dump.dump_type}, {dump.size} bytes)"
    yield f"System:  Windows build {dump.build}, {dump.machine}, {dump.processors} processor(s)"
    yield f"Time:    {dump.system_time or 'unknown'}, up {_duration(dump.uptime)}"
    if not dump.complete:
        yield "The dump is not whole."
    for warning in dump.warnings:
        yield f"Warning: {warning}"


def _duration(seconds: float) -> str:
    """`3 days 4:05:06`, as the debugger writes the uptime."""
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} day{'s' if days != 1 else ''} {clock}"


def _thread(thread: ThreadFacts | None) -> Iterator[str]:
    if thread is None:
        return
    yield f"THREAD {thread.address:016x}  Cid {thread.cid or 'unknown'}  Image: {thread.process or 'unknown'}"
    if thread.start:
        yield f"Win32 Start Address {thread.start}"
    yield f"Base {thread.stack_base:016x} Limit {thread.stack_limit:016x}"
    yield (
        f"KernelApcDisable {_count(thread.kernel_apc_disable)}  "
        f"SpecialApcDisable {_count(thread.special_apc_disable)}"
    )


def _count(value: int | None) -> str:
    return "unknown" if value is None else f"{value} ({value & 0xFFFF:04x})"


def _stack(stack: tuple[Frame, ...]) -> Iterator[str]:
    if not stack:
        return
    yield " # Child-SP          RetAddr           Call Site"
    told: set[str] = set()
    for frame in stack:
        mark = f"  [{frame.how}]" if frame.how == "scanned" else ""
        note = f"  ({frame.note})" if frame.note and frame.note not in told else ""
        told.add(frame.note)
        yield (
            f"{frame.index:02x} {address(frame.child_sp)} {address(frame.return_address)} "
            f"{frame.symbol}{mark}{note}"
        )
    if any(frame.how == "scanned" for frame in stack):
        yield "Frames marked [scanned] were found by looking for return addresses; some may be left-overs."


def _verifier(verifier: VerifierFacts | None) -> Iterator[str]:
    if verifier is None:
        return
    yield "!verifier"
    if not verifier.level:
        yield "Verify Level 0 ... Driver Verifier is off"
        return
    yield f"Verify Level {verifier.level:x} ... enabled options are:"
    yield from (f"      {option}" for option in verifier.options)
    if verifier.drivers:
        yield "Verified drivers: " + ", ".join(verifier.drivers)


def _region_log(verifier: VerifierFacts | None) -> Iterator[str]:
    if verifier is None or not verifier.log_allocated:
        return
    yield "!verifier 200"
    yield "Enter/Leave Critical Region log:"
    yield f"There are up to {verifier.log_capacity:#x} entries in the log, {len(verifier.log)} are used."
    counts = Counter((entry.caller or "unknown", entry.direction) for entry in verifier.log)
    for caller in dict.fromkeys(entry.caller or "unknown" for entry in verifier.log):
        threads = {e.thread for e in verifier.log if (e.caller or "unknown") == caller}
        parts = [
            f"{counts[caller, way]} {way}" for way in ("enter", "leave", "unknown") if counts[caller, way]
        ]
        yield f"      {caller}: {', '.join(parts)}, on {len(threads)} thread(s)"
    for entry in verifier.log[:LOG_SHOWN]:
        yield from _region_entry(entry)


def _region_entry(entry: CriticalRegionEntry) -> Iterator[str]:
    yield _RULE
    yield f"Thread {entry.thread:016x}"
    yield from entry.stack


def _dispatch(state: DispatchState | None) -> Iterator[str]:
    if state is None:
        return
    if state.address:
        yield f"Saved state {address(state.address)} ({state.found_in})"
    else:
        yield f"Saved state not found; a device from {state.found_in}"
    yield from (f"      {check}" for check in state.checks)
    yield f"Dispatch routine {address(state.dispatch_routine)} {state.dispatch_symbol}"
    yield f"!devstack {address(state.device)}"
    yield "  !DevObj           !DrvObj"
    for device, driver in state.device_stack:
        mark = ">" if device == state.device else " "
        yield f"{mark} {device:016x}  {driver or '(name not in the dump)'}"


def _volume(state: DispatchState | None) -> Iterator[str]:
    if state is None or not state.volume:
        return
    yield f"!fltkd.volume {address(state.device)}"
    yield f'FLT_VOLUME: {state.volume:016x} "{state.volume_name}"'
    yield "   InstanceList:"
    for each in state.instances:
        image = each.image or "(driver not in the dump)"
        read = {True: "", False: ", no READ callback", None: ""}[each.handles_read]
        yield (
            f'      FLT_INSTANCE: {each.address:016x} "{each.name}" "{each.altitude}"  '
            f"{image}, {each.origin}{read}"
        )


def _third_party(triage: Triage) -> Iterator[str]:
    found = triage.third_party
    yield f"{len(triage.modules)} drivers, {len(found)} not known to come with Windows:"
    for module in found:
        because = f"  ({module.origin_because})" if module.origin is not Origin.THIRD_PARTY else ""
        yield f"{address(module.base)} {address(module.base + module.size)}   {module.name}{because}"


def _evidence(triage: Triage) -> Iterator[str]:
    if not triage.evidence:
        return
    yield "Evidence:"
    for fact in triage.evidence:
        yield f"  [{fact.strength}] {fact.statement}"
        yield f"      read from {fact.where}; rule {fact.rule}"


def _suspects(triage: Triage) -> Iterator[str]:
    if not triage.suspects:
        yield "Suspects: none in this dump."
        return
    yield "Suspects (shares of what this dump's evidence points to; no probabilities):"
    for suspect in triage.suspects:
        yield f"  {suspect.weight:4.0%}  {suspect.image}"
        yield from (f"        {reason}" for reason in suspect.because)


def _notes(triage: Triage) -> Iterator[str]:
    if not triage.notes:
        return
    yield "Notes:"
    yield from (f"  {note}" for note in triage.notes)
