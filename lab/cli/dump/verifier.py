"""Questions about Driver Verifier: `!verifier`, `!verifier 1`, `!verifier 100`, `!verifier 200`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from lab.cli.console import errors
from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.place import address as place
from lab.kernel.irplog import read_irp_log
from lab.kernel.verifier import IO_CHECKS, read_verifier
from lab.model import DumpError, VerifierFacts
from lab.report.debugger import verifier as shown
from lab.report.words import line

Thread = Annotated[str | None, typer.Option("--thread", "-t", help="Only entries of this KTHREAD.")]


def verifier(
    kernel: Kernel,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Counters and drivers, as !verifier 1.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="The critical-region log, as !verifier 200.")] = False,
    irps: Annotated[bool, typer.Option("--irps", help="The IRP log, as !verifier 100.")] = False,
) -> Answer:
    """Level, options and verified drivers; its counters and logs."""
    facts = _facts(kernel)

    def form(facts: VerifierFacts) -> list[str]:
        lines = list(shown.settings(facts))
        if statistics:
            lines += ["", *shown.statistics(facts)]
        if log:
            lines += ["", *shown.region_log(facts)]
        if irps:
            lines += ["", *shown.irp_log(facts.irp_log, nothing=_no_irps(kernel, facts))]
        return lines

    return answer(facts, form)


def log(
    kernel: Kernel,
    thread: Thread = None,
    irps: Annotated[bool, typer.Option("--irps", help="The IRP log, as !verifier 100.")] = False,
    most: Annotated[int | None, typer.Option("--most", "-n", min=1, help="At most so many entries.")] = None,
) -> Answer:
    """The Enter/Leave Critical Region log, newest first, with the balance of each driver."""
    facts = _facts(kernel)
    of = place(kernel, thread) if thread is not None else 0
    if irps:
        found = tuple(e for e in facts.irp_log if e.thread == of) if of else facts.irp_log
        why = _no_irps(kernel, facts)
        told = answer(facts, lambda f: shown.irp_log(f.irp_log, most=most, thread=of, nothing=why))
        return Answer(found, told.lines)
    entries = tuple(e for e in facts.log if e.thread == of) if of else facts.log
    value = {"allocated": facts.log_allocated, "capacity": facts.log_capacity, "entries": entries[:most]}
    return Answer(value, answer(facts, lambda f: shown.region_log(f, most=most, thread=of)).lines)


def _no_irps(kernel: Kernel, facts: VerifierFacts) -> str:
    """Why the IRP log has no entries, "" when it has."""
    if facts.irp_log:
        return ""
    if not facts.level & IO_CHECKS:
        return "I/O verification (0x10) was not on"
    try:
        found = read_irp_log(kernel)
    except DumpError as error:
        return f"I/O verification (0x10) was on, but the log cannot be read: {line(error.message)}"
    if found.allocated:
        return "I/O verification (0x10) was on, and nothing is written in the log"
    if found.note:
        return "I/O verification (0x10) was on, but the dump does not hold the log"
    return "I/O verification (0x10) was on, but the kernel had allocated no log, as some builds never do"


def _facts(kernel: Kernel) -> VerifierFacts:
    facts, notes = read_verifier(kernel)
    for note in notes:
        errors.print(f"[dim]{escape(line(note))}[/]", soft_wrap=True)
    return facts
