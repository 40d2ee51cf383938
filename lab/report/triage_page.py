"""A triage turned into everything its page shows, as plain values. Pure: equal triages give equal pages."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import ExceptionRecord, IrpLogEntry, Module, Origin, Triage, VerifiedDriver
from lab.report import bugchecks, crash, words
from lab.report.answer import Answer, answer_of, foremost
from lab.report.cleaned import cleaned
from lab.report.debugger import exception
from lab.report.debugger.modules import timestamp
from lab.report.facts import Fact
from lab.report.path import Path, path
from lab.report.regions import Regions, regions
from lab.report.stack import FrameView, frames

IRPS_SHOWN = 48


@dataclass(frozen=True)
class ModuleRow:
    """One line of the table of modules."""

    name: str
    made_by: str
    version: str
    span: str
    pdb: str
    linked: str
    origin: str
    because: str
    suspected: bool


@dataclass(frozen=True)
class ProcessorRow:
    number: str
    prcb: str
    thread: str
    where: str
    stack_pointer: str
    crashed: bool


@dataclass(frozen=True)
class IrpRow:
    """One entry of the IRP log. `ours`: of the crashing thread."""

    irp: str
    thread: str
    irql: str
    kernel: str
    special: str
    caller: str
    stack: tuple[str, ...]
    ours: bool


@dataclass(frozen=True)
class ReadingView:
    reader: str
    summary: str
    facts: tuple[str, ...]
    checks: tuple[str, ...]


@dataclass(frozen=True)
class ExceptionView:
    """The exception of the stop. `registers` are of the code that raised it, "rax fffff880`05db1b08"."""

    facts: tuple[Fact, ...]
    registers: tuple[str, ...]
    where: str  # what the registers were read from


@dataclass(frozen=True)
class TriagePage:
    """What the template lays out. Names are those of `crash.CrashView` where a part is the same."""

    anchor: str
    title: str
    bugcheck: str
    meaning: str
    answer: Answer
    count: str
    count_text: str
    parameters: tuple[tuple[str, str, str], ...]
    stats: tuple[Fact, ...]
    suspects: tuple[crash.SuspectView, ...]
    evidence: tuple[crash.EvidenceView, ...]
    path: Path | None
    exception: ExceptionView | None
    frames: tuple[FrameView, ...]
    regions: Regions | None
    irps: tuple[IrpRow, ...]
    irps_left: int
    thread: tuple[Fact, ...]
    processors: tuple[ProcessorRow, ...]
    verifier: tuple[Fact, ...]
    verified: tuple[tuple[str, str], ...]
    counters: tuple[Fact, ...]
    third_party: tuple[ModuleRow, ...]
    in_box: tuple[ModuleRow, ...]
    unloaded: tuple[tuple[str, str, str], ...]
    readings: tuple[ReadingView, ...]
    wanted: tuple[Fact, ...]
    looked_in: tuple[str, ...]
    notes: tuple[str, ...]
    dump: tuple[Fact, ...]
    warnings: tuple[str, ...]


def page(triage: Triage) -> TriagePage:
    """The page of one dump. No text in it can deceive (`words.visible`)."""
    count = crash.apc_count(triage)
    suspected = frozenset(s.image.casefold() for s in foremost(triage))
    answer = answer_of(triage, count)
    facts = triage.verifier
    irps = facts.irp_log if facts else ()
    thread = triage.thread.address if triage.thread else 0
    modules = tuple(_module(m, suspected) for m in sorted(triage.modules, key=lambda m: m.name.casefold()))
    return cleaned(
        TriagePage(
            anchor="dump",
            title=triage.dump.path.replace("\\", "/").rpartition("/")[2],
            bugcheck=triage.bugcheck.title,
            meaning=bugchecks.happened(triage.bugcheck),
            answer=answer,
            count=answer.count,
            count_text=crash.count_text(count),
            parameters=crash.parameters(triage),
            stats=_stats(triage),
            suspects=crash.suspects(triage, suspected),
            evidence=crash.evidence(triage),
            path=path(triage, suspected),
            exception=_exception(triage.exception),
            frames=frames(triage),
            regions=regions(triage),
            irps=tuple(_irp(entry, thread) for entry in irps[:IRPS_SHOWN]),
            irps_left=max(len(irps) - IRPS_SHOWN, 0),
            thread=crash.thread_facts(triage),
            processors=_processors(triage),
            verifier=crash.verifier_facts(triage),
            verified=tuple((d.name, _used(d)) for d in (facts.loaded if facts else ())),
            counters=tuple(Fact(name, words.grouped(n)) for name, n in (facts.counters if facts else ())),
            third_party=tuple(m for m in modules if m.origin != Origin.IN_BOX),
            in_box=tuple(m for m in modules if m.origin == Origin.IN_BOX),
            unloaded=tuple((u.name, _span(u.start, u.end), words.moment(u.when)) for u in triage.unloaded),
            readings=tuple(
                ReadingView(r.reader, _summary(len(r.facts), len(r.checks)), r.facts, r.checks)
                for r in triage.readings
            ),
            wanted=tuple(Fact(w.module, f"{w.pdb} {w.key}", True) for w in triage.wanted),
            looked_in=tuple(dict.fromkeys(place for w in triage.wanted for place in w.looked_in)),
            notes=triage.notes,
            dump=_dump(triage),
            warnings=triage.dump.warnings,
        )
    )


def _stats(triage: Triage) -> tuple[Fact, ...]:
    d = triage.dump
    third = len(triage.third_party)
    return (
        Fact("Windows build", str(d.build)),
        Fact("Stopped", words.moment(d.system_time) or "not known"),
        Fact("Up for", words.seconds(d.uptime)),
        Fact("Drivers", f"{len(triage.modules)}, {third} not known to come with Windows")
        if triage.modules
        else Fact("Drivers", "not in the dump"),
        Fact("Dump", d.dump_type_name + ("" if d.complete else ", not whole")),
    )


def _exception(found: ExceptionRecord | None) -> ExceptionView | None:
    if found is None:
        return None
    code = f"0x{found.code:08x} {found.name}".rstrip()
    facts = [
        Fact("Exception", code, True),
        Fact("Address", f"{words.address(found.address)} {found.symbol}", True),
    ]
    if found.attempt:
        facts.append(Fact("What it did", found.attempt))
    if found.flags is not None:
        facts.append(Fact("Flags", f"0x{found.flags:08x}", True))
    if found.parameters:
        facts.append(Fact("Parameters", ", ".join(words.address(value) for value in found.parameters), True))
    facts.append(Fact("Read from", found.where))
    return ExceptionView(
        tuple(facts),
        tuple(
            f"{name} {exception.flags(value) if name == 'eflags' else words.address(value)}"
            for name, value in found.registers
        ),
        found.registers_where,
    )


def _module(m: Module, suspected: frozenset[str]) -> ModuleRow:
    return ModuleRow(
        name=m.name,
        made_by=m.company,
        version=m.version,
        span=_span(m.base, m.base + m.size),
        pdb=m.pdb,
        linked=timestamp(m.timestamp),
        origin=m.origin.value,
        because=m.origin_because,
        suspected=m.name.casefold() in suspected,
    )


def _span(start: int, end: int) -> str:
    return f"{words.address(start)} – {words.address(end)}"


def _processors(triage: Triage) -> tuple[ProcessorRow, ...]:
    return tuple(
        ProcessorRow(
            number=str(p.number),
            prcb=words.address(p.prcb),
            thread=words.address(p.thread),
            where=p.symbol or words.address(p.instruction),
            stack_pointer=words.address(p.stack_pointer),
            crashed=p.crashed,
        )
        for p in triage.processors
    )


def _irp(entry: IrpLogEntry, thread: int) -> IrpRow:
    return IrpRow(
        irp=words.address(entry.irp),
        thread=words.address(entry.thread),
        irql=str(entry.irql),
        kernel=words.signed(entry.kernel_apc_disable),
        special=words.signed(entry.special_apc_disable),
        caller=entry.caller or "unknown",
        stack=entry.stack,
        ours=entry.thread == thread,
    )


def _used(driver: VerifiedDriver) -> str:
    return ", ".join(f"{name} {words.grouped(n)}" for name, n in driver.counters if n)


def _summary(facts: int, checks: int) -> str:
    used = [f"{words.count(facts, 'fact')} of this build"] if facts else []
    held = [f"{words.count(checks, 'check')} passed"] if checks else []
    return ", ".join(used + held)


def _dump(triage: Triage) -> tuple[Fact, ...]:
    d = triage.dump
    return (
        Fact("File", d.path, True),
        Fact("Kind", f"{d.dump_type_name} (type {d.dump_type})"),
        Fact("Size", f"{words.size(d.size)}, {'whole' if d.complete else 'not whole'}"),
        Fact("Windows", f"build {d.build}, {d.machine}, {words.count(d.processors, 'processor')}"),
        Fact("Signature", " ‹ ".join(triage.signature.functions[:6]) or "no names on the stack", True),
    )
