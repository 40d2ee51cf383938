"""What a dump says of which no kernel can be opened: its header's stop, and the registers at it."""

from __future__ import annotations

from lab.analysis.gather.attempt import attempt, sentence
from lab.analysis.signature import signature
from lab.dumps.dump import Dump
from lab.model import DumpError, Frame, Triage

NO_STACK = "the header's registers; no memory to go on from them"


def of_header(dump: Dump, why: DumpError) -> Triage:
    """The triage of a dump whose kernel `why` keeps closed. Its notes say what is missing because of it."""
    notes = [
        sentence(why.message),
        "Only the header was read: there are no drivers, threads, symbols and settings of Driver Verifier, "
        "and so nothing that speaks for or against a driver.",
    ]
    frame = attempt(notes, "The processor's registers", lambda: _frame(dump))
    return Triage(
        dump=dump.facts(),
        bugcheck=dump.bugcheck,
        thread=None,
        stack=(frame,) if frame else (),
        modules=(),
        signature=signature(dump.bugcheck, None, ()),
        notes=tuple(notes),
    )


def _frame(dump: Dump) -> Frame:
    """Where the processor was. DumpError when the header has no registers, or none to be believed."""
    context = dump.context
    if not context.plausible or not context.rip:
        raise DumpError("what is in their place in the header is no processor context")
    return Frame(
        index=0,
        child_sp=context.rsp,
        return_address=0,
        instruction=context.rip,
        symbol=f"{context.rip:#x}",
        module="",
        how="context",
        note=NO_STACK,
        registers=context.named,
    )
