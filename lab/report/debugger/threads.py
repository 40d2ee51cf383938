"""`!thread` and `!process 0 2`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.model import ProcessFacts, ThreadFacts, ThreadSummary


def count(value: int | None) -> str:
    """An APC disable count as a signed number and as the debugger's `dt` and bugchecks show it."""
    return "unknown" if value is None else f"{value} ({value & 0xFFFF:04x})"


def thread(facts: ThreadFacts) -> Iterator[str]:
    """The head of `!thread` for the crashing thread."""
    yield f"THREAD {facts.address:016x}  Cid {cid(facts.cid)}  Image: {facts.process or 'unknown'}"
    if facts.start:
        yield f"Win32 Start Address {facts.start}"
    yield f"Base {facts.stack_base:016x} Limit {facts.stack_limit:016x}"
    yield (
        f"KernelApcDisable {count(facts.kernel_apc_disable)}  "
        f"SpecialApcDisable {count(facts.special_apc_disable)}"
    )


def processes(found: Sequence[ProcessFacts], *, only_disabled: bool = False) -> Iterator[str]:
    """Every process with its threads. With `only_disabled`, threads whose APC counts are not both zero."""
    yield "**** NT ACTIVE PROCESS DUMP ****"
    for process in found:
        threads = [t for t in process.threads if disabled(t)] if only_disabled else process.threads
        if only_disabled and not threads:
            continue
        yield f"PROCESS {process.address:016x}"
        yield f"    Cid: {process.process_id:04x}    DirBase: {process.directory_table_base:08x}"
        yield f"    Image: {process.name or 'unknown'}"
        yield ""
        for each in threads:
            yield from _summary(each)
        yield ""
    if only_disabled:
        number = sum(disabled(t) for p in found for t in p.threads)
        of = sum(len(p.threads) for p in found)
        yield f"{number} of {of} threads have APC disable counts that are not zero."


def disabled(summary: ThreadSummary) -> bool:
    """Whether either of a thread's APC disable counts is known and not zero."""
    return bool(summary.kernel_apc_disable or summary.special_apc_disable)


def _summary(each: ThreadSummary) -> Iterator[str]:
    yield f"        THREAD {each.address:016x}  Cid {cid(each.cid)}  {each.state}"
    if each.start:
        yield f"            Win32 Start Address {each.start}"
    if disabled(each) or each.kernel_apc_disable is None:
        yield (
            f"            KernelApcDisable {count(each.kernel_apc_disable)}  "
            f"SpecialApcDisable {count(each.special_apc_disable)}"
        )


def cid(text: str) -> str:
    """ "4.998" with four digits each, as the debugger pads it: "0004.0998"."""
    return ".".join(part.rjust(4, "0") for part in text.split(".")) if text else "unknown"
