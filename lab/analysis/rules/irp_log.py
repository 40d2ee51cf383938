"""Driver Verifier's IRP log: between which two calls the thread's APC disable count went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.analysis.facts import Facts
from lab.analysis.rules.registry import rule
from lab.model import Evidence, IrpLogEntry, Strength

LOG = "nt!IovIrpTraces"


@rule(0x20, 0x1)
def irp_log(facts: Facts) -> Iterator[Evidence]:
    """The log notes the count whenever an IRP is allocated, completed or cancelled."""
    yield from bracketed(facts, f"{facts.bugcheck.code:#x}")


def bracketed(facts: Facts, family: str, usual: int = 0) -> Iterator[Evidence]:
    """The two entries of the crashing thread between which the count left `usual` for good."""
    if facts.verifier is None or facts.thread is None:
        return
    thread = facts.thread.address
    own = [entry for entry in reversed(facts.verifier.irp_log) if entry.thread == thread]
    found = departure(own, usual)
    if found is None:
        return
    before, after = found
    images = [image for entry in (before, after) for image in _images(facts, entry)]
    accused = tuple(dict.fromkeys(image for image in images if facts.accusable(image)))
    yield Evidence(
        rule=f"{family}.irp-log.bracket",
        statement=f"The thread's APC disable count was {usual} when "
        f"{before.caller or 'the kernel'} last worked on an IRP with it, and {after.kernel_apc_disable} at "
        f"the next IRP, by {after.caller or 'the kernel'}; it was not {usual} again.",
        strength=Strength.MODERATE if len(accused) == 1 else Strength.WEAK,
        where=f"{LOG}, IRPs {before.irp:#x} and {after.irp:#x} of thread {thread:#x}",
        points_to=accused,
    )


def departure(entries: Sequence[IrpLogEntry], usual: int = 0) -> tuple[IrpLogEntry, IrpLogEntry] | None:
    """(last entry with the count `usual`, the next one) of one thread's entries, oldest first.

    None when the count is `usual` to the end, or in no entry of the log. A count that came back to it was a
    critical region that was left again.
    """
    for older, newer in zip(reversed(entries[:-1]), reversed(entries[1:]), strict=True):
        if newer.kernel_apc_disable == usual:
            return None
        if older.kernel_apc_disable == usual:
            return older, newer
    return None


def _images(facts: Facts, entry: IrpLogEntry) -> Iterator[str]:
    """Images on the stack of an entry, its caller first."""
    if entry.caller:
        yield entry.caller
    for symbol in entry.stack:
        module = facts.module_called(symbol.split("!", 1)[0].split("+0x", 1)[0])
        if module is not None:
            yield module.name
