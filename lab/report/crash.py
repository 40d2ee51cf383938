"""One dump as a section of the page."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Case, Crashed, Evidence, Relation, Triage, Trial, compare
from lab.report import bugchecks, drivers, ladder, words
from lab.report.debugger.threads import cid
from lab.report.facts import Fact
from lab.report.path import Path, path
from lab.report.regions import Regions, regions
from lab.report.stack import FrameView, frames

RELATIONS = {
    Relation.SAME: "the same crash as expected",
    Relation.SIBLING: "another face of the same defect",
    Relation.OTHER: "a different crash",
    Relation.OURS: "caused by the lab",
}
_STRENGTHS = ("weak", "moderate", "strong", "proof")


@dataclass(frozen=True)
class EvidenceView:
    """One checked fact; `level` is its strength as 1..4."""

    statement: str
    strength: str
    level: int
    where: str
    rule: str
    points_to: tuple[str, ...]
    clears: tuple[str, ...]


@dataclass(frozen=True)
class SuspectView:
    image: str
    share: float  # percent
    percent: str
    because: str
    culprit: bool


@dataclass(frozen=True)
class CrashView:
    """All of one crash, ready to lay out. `anchor` is its id in the page."""

    anchor: str
    title: str
    subtitle: str
    relation: str
    is_open: bool
    bugcheck: str
    code: str
    meaning: str
    parameters: tuple[tuple[str, str, str], ...]  # (name, value, meaning)
    count: str
    count_text: str
    thread: tuple[Fact, ...]
    frames: tuple[FrameView, ...]
    regions: Regions | None
    verifier: tuple[Fact, ...]
    path: Path | None
    evidence: tuple[EvidenceView, ...]
    suspects: tuple[SuspectView, ...]
    notes: tuple[str, ...]
    sha256: str
    dump: tuple[Fact, ...]
    warnings: tuple[str, ...]


def best_dump(case: Case) -> str:
    """SHA-256 of the dump that says most, "" without dumps.

    Verifier's stop in the guilty call first, then the strongest evidence, then the customer's.
    """

    def weight(sha: str) -> tuple[bool, int, bool]:
        triage = case.crashes[sha]
        top = max((_STRENGTHS.index(e.strength.value) for e in triage.evidence), default=-1)
        return triage.dispatch is not None, top, sha == case.customer

    return max(sorted(case.crashes), key=weight, default="")


def anchors(case: Case) -> dict[str, str]:
    """Ids of the crashes' sections by SHA-256: the customer's first, then in the order of the trials."""
    return {sha: f"crash-{i}" for i, sha in enumerate(_order(case), 1)}


def crashes(case: Case) -> tuple[CrashView, ...]:
    best = best_dump(case)
    return tuple(_crash(case, sha, anchor, sha == best) for sha, anchor in anchors(case).items())


def _order(case: Case) -> list[str]:
    found = [case.customer] if case.customer in case.crashes else []
    for trial in case.trials:
        if isinstance(trial.outcome, Crashed) and trial.outcome.dump in case.crashes:
            found.append(trial.outcome.dump)
    return list(dict.fromkeys(found + sorted(case.crashes)))


def _trial_of(case: Case, sha: str) -> Trial | None:
    return next((t for t in case.trials if isinstance(t.outcome, Crashed) and t.outcome.dump == sha), None)


def _crash(case: Case, sha: str, anchor: str, is_open: bool) -> CrashView:
    triage = case.crashes[sha]
    trial = _trial_of(case, sha)
    customers = sha == case.customer
    count = apc_count(triage)
    culprits = drivers.culprit_names(case)
    return CrashView(
        anchor=anchor,
        title="The customer’s crash" if customers else f"Trial {trial.number}" if trial else "Another dump",
        subtitle=ladder.title(case, trial) if trial and not customers else "",
        relation="what the case is about"
        if customers
        else RELATIONS[compare(case.expected, triage.signature)],
        is_open=is_open,
        bugcheck=triage.bugcheck.name,
        code=f"0x{triage.bugcheck.code:X}",
        meaning=bugchecks.meaning(triage.bugcheck),
        parameters=parameters(triage),
        count=words.signed(count) if count is not None else "",
        count_text=count_text(count),
        thread=thread_facts(triage),
        frames=frames(triage),
        regions=regions(triage),
        verifier=verifier_facts(triage),
        path=path(triage, culprits),
        evidence=evidence(triage),
        suspects=suspects(triage, culprits),
        notes=triage.notes,
        sha256=sha,
        dump=_dump(triage, sha),
        warnings=triage.dump.warnings,
    )


def parameters(triage: Triage) -> tuple[tuple[str, str, str], ...]:
    """(name, value, meaning) of the four parameters."""
    return tuple(
        (f"Arg{i}", words.address(value), text)
        for i, (value, text) in enumerate(bugchecks.parameters(triage.bugcheck), 1)
    )


def apc_count(triage: Triage) -> int | None:
    """The kernel APC disable count of a stop that is about it."""
    if not bugchecks.about_apc(triage.signature):
        return None
    if triage.thread and triage.thread.kernel_apc_disable is not None:
        return triage.thread.kernel_apc_disable
    return bugchecks.apc_count(triage.bugcheck)


def count_text(count: int | None) -> str:
    if not count:
        return "in balance" if count == 0 else ""
    return (
        f"{words.count(count, 'enable')} too many"
        if count > 0
        else f"{words.count(-count, 'disable')} never undone"
    )


def thread_facts(triage: Triage) -> tuple[Fact, ...]:
    t = triage.thread
    if t is None:
        return ()
    counts = (
        ("Kernel APC disable count", t.kernel_apc_disable),
        ("Special APC disable count", t.special_apc_disable),
    )
    return (
        Fact("KTHREAD", words.address(t.address), True),
        Fact("Process", f"{t.process}, Cid {cid(t.cid)}"),
        Fact("Start address", t.start, True),
        *(Fact(label, words.signed(value), True) for label, value in counts if value is not None),
        Fact("Stack", f"{words.address(t.stack_limit)} – {words.address(t.stack_base)}", True),
    )


def verifier_facts(triage: Triage) -> tuple[Fact, ...]:
    v = triage.verifier
    if v is None:
        return ()
    return (
        Fact("Level", f"0x{v.level:x}", True),
        Fact("Options", words.names(v.options) or "none"),
        Fact("Verified drivers", words.names(v.drivers) or "none"),
    )


def evidence(triage: Triage) -> tuple[EvidenceView, ...]:
    """The checked facts, strongest first."""
    return tuple(sorted((_evidence(e) for e in triage.evidence), key=lambda e: -e.level))


def _evidence(e: Evidence) -> EvidenceView:
    level = _STRENGTHS.index(e.strength.value) + 1
    return EvidenceView(e.statement, e.strength.value, level, e.where, e.rule, e.points_to, e.clears)


def suspects(triage: Triage, culprits: frozenset[str]) -> tuple[SuspectView, ...]:
    """Suspects, most suspicious first; `culprits` are names of images, case-folded, to be marked."""
    return tuple(
        SuspectView(
            s.image,
            round(100 * min(max(s.weight, 0.0), 1.0), 1),
            words.percent(s.weight),
            words.names(s.because),
            s.image.casefold() in culprits,
        )
        for s in sorted(triage.suspects, key=lambda s: (-s.weight, s.image))
    )


def _dump(triage: Triage, sha: str) -> tuple[Fact, ...]:
    d = triage.dump
    whole = "whole" if d.complete else "not whole"
    return (
        Fact("SHA-256", sha, True),
        Fact("File", d.path, True),
        Fact("Kind", f"{d.dump_type_name} (type {d.dump_type}), {words.size(d.size)}, {whole}"),
        Fact("Windows", f"build {d.build}, {d.machine}, {words.count(d.processors, 'processor')}"),
        Fact("Stopped", words.moment(d.system_time)),
        Fact("Up for", words.seconds(d.uptime)),
    )
