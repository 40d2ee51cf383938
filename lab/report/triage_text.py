"""A triage as text that reads like a kernel debugger's output."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from lab.model import Bugcheck, DumpFacts, Origin, Strength, Triage
from lab.report import bugchecks, words
from lab.report.cleaned import cleaned
from lab.report.debugger import devices, exception, modules, processors, stack, threads, verifier, version

_STRENGTHS = (Strength.WEAK, Strength.MODERATE, Strength.STRONG, Strength.PROOF)

LOG_SHOWN = 2
"""Entries of a log that are shown in full; the rest is summed up."""


def render(triage: Triage) -> str:
    """The whole triage, sections separated by empty lines, ending with one newline."""
    return opening(triage.dump, triage.bugcheck) + "\n" + rest(triage)


def opening(dump: DumpFacts, bugcheck: Bugcheck) -> str:
    """What the file's header alone tells: it is known at once, however long the rest takes."""
    dump = cleaned(dump, words.line)
    return _joined(_title(bugcheck), _arguments(bugcheck), _system(dump))


def rest(triage: Triage) -> str:
    """Everything behind the opening."""
    triage = cleaned(triage, words.line)
    return _joined(
        _exception(triage),
        threads.thread(triage.thread) if triage.thread else (),
        stack.kn(triage.stack) if triage.stack else (),
        _processors(triage),
        _verifier(triage),
        _region_log(triage),
        _irp_log(triage),
        _dispatch(triage),
        _volume(triage),
        _third_party(triage),
        _unloaded(triage),
        _evidence(triage),
        _suspects(triage),
        _wanted(triage),
        _notes(triage),
    )


def _joined(*sections: Iterator[str] | tuple[str, ...]) -> str:
    return "\n\n".join("\n".join(lines) for section in sections if (lines := list(section))) + "\n"


def _title(bugcheck: Bugcheck) -> Iterator[str]:
    yield bugcheck.title
    if said := bugchecks.meaning(bugcheck):
        yield said


def _arguments(bugcheck: Bugcheck) -> Iterator[str]:
    yield "Arguments:"
    for number, (value, meaning) in enumerate(bugchecks.parameters(bugcheck), 1):
        yield f"Arg{number}: {value:016x}" + (f", {meaning}" if meaning else "")


def _system(dump: DumpFacts) -> Iterator[str]:
    yield f"Dump:    {dump.path}, {dump.dump_type_name}, type {dump.dump_type}, {dump.size} bytes"
    yield f"System:  Windows build {dump.build}, {dump.machine}, {dump.processors} processor(s)"
    yield f"Time:    {dump.system_time or 'unknown'}, up {version.uptime(dump.uptime)}"
    if not dump.complete:
        yield "The dump is not whole."
    for warning in dump.warnings:
        yield f"Warning: {warning}"


def _exception(triage: Triage) -> Iterator[str]:
    found = triage.exception
    if found is None:
        return
    yield from exception.record(found)
    if found.registers:
        yield ""
        yield f"Registers of the fault ({found.registers_where}):"
        yield from exception.registers(found.registers)


def _processors(triage: Triage) -> Iterator[str]:
    if len(triage.processors) > 1:
        yield "!running"
        yield from processors.running(triage.processors)


def _verifier(triage: Triage) -> Iterator[str]:
    if triage.verifier is not None:
        yield "!verifier"
        yield from verifier.settings(triage.verifier)
        if triage.verifier.loaded:
            yield "Loaded of them:   " + ", ".join(driver.name for driver in triage.verifier.loaded)


def _region_log(triage: Triage) -> Iterator[str]:
    if triage.verifier is not None and triage.verifier.log_allocated:
        yield "!verifier 200"
        yield from verifier.region_log(triage.verifier, most=LOG_SHOWN)


def _irp_log(triage: Triage) -> Iterator[str]:
    if triage.verifier is not None and triage.verifier.irp_log:
        thread = triage.thread.address if triage.thread else 0
        known = any(entry.thread == thread for entry in triage.verifier.irp_log)
        yield "!verifier 100"
        yield from verifier.irp_log(triage.verifier.irp_log, most=LOG_SHOWN, thread=thread if known else 0)


def _dispatch(triage: Triage) -> Iterator[str]:
    state = triage.dispatch
    if state is not None:
        yield from devices.saved_state(state)
        yield ""
        yield f"!devstack {words.address(state.device)}"
        yield from devices.devstack(state.device_stack, state.device)


def _volume(triage: Triage) -> Iterator[str]:
    state = triage.dispatch
    if state is not None and state.volume:
        yield f"!fltkd.volume {words.address(state.device)}"
        yield from devices.volume(state.volume, state.volume_name, state.instances, state.major)


def _third_party(triage: Triage) -> Iterator[str]:
    if not triage.modules:
        yield "The loaded drivers are not in the dump."
        return
    found = triage.third_party
    yield f"{len(triage.modules)} drivers, {len(found)} not known to come with Windows:"
    for module in found:
        made = " ".join(part for part in (module.company, module.version) if part)
        because = f"  ({module.origin_because})" if module.origin is not Origin.THIRD_PARTY else ""
        yield (
            f"{words.address(module.base)} {words.address(module.base + module.size)}   {module.name}"
            + (f"  {made}" if made else "")
            + because
        )


def _unloaded(triage: Triage) -> Iterator[str]:
    if triage.unloaded:
        yield from modules.unloaded(triage.unloaded)


def _evidence(triage: Triage) -> Iterator[str]:
    if not triage.evidence:
        return
    yield "Evidence:"
    for fact in sorted(triage.evidence, key=lambda e: -_STRENGTHS.index(e.strength)):
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


def _wanted(triage: Triage) -> Iterator[str]:
    if not triage.wanted:
        return
    yield "Symbols that would say more (names are given as module+offset without them):"
    for each, following in zip_longest(triage.wanted, triage.wanted[1:]):
        yield f"  {each.module}: {each.pdb} {each.key}"
        if following is None or following.looked_in != each.looked_in:
            yield f"      looked for in: {', '.join(each.looked_in) or 'nowhere'}"


def _notes(triage: Triage) -> Iterator[str]:
    if not triage.notes:
        return
    yield "Notes:"
    yield from (f"  {note}" for note in triage.notes)
