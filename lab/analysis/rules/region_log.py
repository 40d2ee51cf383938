"""Driver Verifier's critical-region log: who enters and does not leave, leaves too often, or is loud."""

from __future__ import annotations

from collections.abc import Iterator

from lab.analysis.facts import Facts
from lab.analysis.regionlog import Balance, balances, is_full, monopolist, unpaired
from lab.analysis.rules.apc_count import count_is_negative
from lab.analysis.rules.registry import Note, rule
from lab.model import CriticalRegionEntry, Evidence, Strength, VerifierFacts

MISC_CHECKS = 0x800
MONOPOLISED = "0x20.region-log.monopolised"
LOG = "nt!VfKeCriticalRegionTraces"
SHOWN = 5
"""Drivers that are named in a note at most."""


@rule(0x20, 0x1)
def region_log(facts: Facts) -> Iterator[Evidence | Note]:
    """What the critical-region log says: nothing (and why), or who entered without leaving."""
    verifier = facts.verifier
    if verifier is None:
        yield Note("Driver Verifier's settings could not be read, so its critical-region log is not known.")
        return
    if not verifier.level & MISC_CHECKS:
        yield Note(
            "Driver Verifier's Miscellaneous checks (0x800) were off, so no critical-region log was kept: "
            "turn them on for the third-party drivers and reproduce."
        )
        return
    if verifier.log_missing:
        yield Note(
            "What lacks of the critical-region log was paged out, or this kind of dump leaves it out: a "
            "complete dump has it."
        )
    elif not verifier.log_allocated:
        yield Note(
            "Miscellaneous checks were on, but no critical-region log was found, so who entered or left "
            "critical regions is not known."
        )
    if not verifier.log_allocated:
        return
    yield from _not_verified(facts, verifier)
    if not verifier.log:
        if not verifier.log_missing:
            yield from _empty(verifier)
        return
    if facts.thread is not None:
        yield from _crashing_thread(facts, verifier, facts.thread.address)
    yield from _other_threads(facts, verifier)
    yield from _monopolised(facts, verifier)


def _not_verified(facts: Facts, verifier: VerifierFacts) -> Iterator[Note]:
    """Only calls that verified drivers import are logged: what the log cannot have seen is said."""
    verified = {driver.name.casefold() for driver in verifier.loaded}
    seen = verified | {entry.caller.casefold() for entry in verifier.log}
    missing = [m.name for m in facts.modules if facts.accusable(m.name) and m.name.casefold() not in seen]
    if verified and missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        yield Note(
            f"Not verified, so their calls are in no log: {', '.join(missing[:SHOWN])}{more} (third-party)."
        )


def _empty(verifier: VerifierFacts) -> Iterator[Evidence | Note]:
    yield Evidence(
        rule="0x20.region-log.empty",
        statement=f"The critical-region log (room for {verifier.log_capacity} entries) is empty although "
        "Miscellaneous checks were on.",
        strength=Strength.WEAK,
        where=LOG,
    )
    yield Note(
        "The log is empty: the calls are probably inlined by the compiler or made through mutexes or FsRtl. "
        "I/O verification (0x10) does not depend on them; go on with that."
    )


def _crashing_thread(facts: Facts, verifier: VerifierFacts, thread: int) -> Iterator[Evidence | Note]:
    """Unbalanced calls of the crashing thread itself: what else is unbalanced there is the count."""
    own, _ = _own(facts)
    if not own:
        yield Note(
            f"The crashing thread {thread:#x} is not among the {len(verifier.log)} entries of the log."
        )
        return
    said = left_open if count_is_negative(facts) else left_too_often
    found = [*said(facts, "0x20"), *undirected(facts, "0x20")]
    yield from found
    if not found:
        yield Note("The crashing thread's calls that are still in the critical-region log are balanced.")


def left_open(facts: Facts, family: str, *, inside: int = 0) -> Iterator[Evidence]:
    """Drivers that entered a critical region on the crashing thread and did not leave it.

    `inside` is how many regions the thread was in before the call that went wrong. Their enters are in the
    log, too, and whoever made them is still to leave.
    """
    own, where = _own(facts)
    missing = facts.verifier.log_missing if facts.verifier else 0
    for balance in balances(own):
        if balance.open_enters and facts.accusable(balance.image):
            if balance.open_enters <= inside:
                strength, said = (
                    Strength.WEAK,
                    "has not left it; it may rightly be inside, as before the call",
                )
            elif missing:
                strength, said = Strength.MODERATE, "never left it, as far as the dump holds the log"
            else:
                strength, said = Strength.STRONG, "never left it"
            yield Evidence(
                rule=f"{family}.region-log.unbalanced-thread",
                statement=f"{balance.image} entered a critical region {_times(balance.open_enters)} on the "
                f"crashing thread and {said}.",
                strength=strength,
                where=where,
                points_to=(balance.image,),
            )


def left_too_often(facts: Facts, family: str) -> Iterator[Evidence]:
    """Drivers that left more often than they entered; a full log may have lost their enters."""
    own, where = _own(facts)
    partly = _is_partial(facts)
    for balance in balances(own):
        if balance.extra_leaves and facts.accusable(balance.image):
            yield Evidence(
                rule=f"{family}.region-log.unbalanced-thread",
                statement=f"{balance.image} left a critical region {_times(balance.extra_leaves)} on the "
                "crashing thread without having entered it"
                + (", as far as the log still shows." if partly else "."),
                strength=Strength.MODERATE if partly else Strength.STRONG,
                where=where,
                points_to=(balance.image,),
            )


def undirected(facts: Facts, family: str) -> Iterator[Evidence]:
    """For newer kernels, which do not log whether a call entered or left: an odd number is no pairs."""
    own, where = _own(facts)
    partly = _is_partial(facts)
    for _, image, calls in unpaired(own):
        if facts.accusable(image):
            yield Evidence(
                rule=f"{family}.region-log.odd-calls",
                statement=f"{image} made {calls} call{'s' if calls > 1 else ''} to enter or leave a critical "
                "region on the crashing thread, which cannot be pairs"
                + (", as far as the log still shows." if partly else "."),
                strength=Strength.WEAK if partly else Strength.MODERATE,
                where=f"{where}; this kernel does not log the direction",
                points_to=(image,),
            )


def _other_threads(facts: Facts, verifier: VerifierFacts) -> Iterator[Evidence | Note]:
    """The same defect on other threads, which will crash when they exit."""
    crashing = facts.thread.address if facts.thread else 0
    others = [balance for balance in balances(verifier.log) if balance.thread != crashing]
    if count_is_negative(facts):
        yield from _entered_elsewhere(facts, others, whole=not verifier.log_missing)
    elif not _is_partial(facts):
        yield from _left_elsewhere(facts, others)


def _entered_elsewhere(facts: Facts, others: list[Balance], *, whole: bool) -> Iterator[Evidence]:
    for image, found in _by_image(facts, [balance for balance in others if balance.open_enters]).items():
        sure = whole and any(balance.went_on or balance.open_enters > 1 for balance in found)
        yield Evidence(
            rule="0x20.region-log.enter-without-leave",
            statement=f"{image} entered a critical region without leaving it on {len(found)} other "
            f"thread{'s' if len(found) > 1 else ''}"
            + ("." if sure else "; it may have been inside at the moment of the crash."),
            strength=Strength.MODERATE if sure else Strength.WEAK,
            where=_threads(found),
            points_to=(image,),
        )


def _left_elsewhere(facts: Facts, others: list[Balance]) -> Iterator[Evidence]:
    for image, found in _by_image(facts, [balance for balance in others if balance.extra_leaves]).items():
        yield Evidence(
            rule="0x20.region-log.leave-without-enter",
            statement=f"{image} left a critical region that it had not entered on {len(found)} other "
            f"thread{'s' if len(found) > 1 else ''}.",
            strength=Strength.MODERATE,
            where=_threads(found),
            points_to=(image,),
        )


def _by_image(facts: Facts, found: list[Balance]) -> dict[str, list[Balance]]:
    by_image: dict[str, list[Balance]] = {}
    for balance in found:
        if facts.accusable(balance.image):
            by_image.setdefault(balance.image, []).append(balance)
    return by_image


def _threads(found: list[Balance]) -> str:
    listed = ", ".join(f"{balance.thread:#x}" for balance in found[:4])
    return f"{LOG}, entries of thread{'s' if len(found) > 1 else ''} {listed}"


def _monopolised(facts: Facts, verifier: VerifierFacts) -> Iterator[Evidence | Note]:
    """One driver fills the log: a lead at most, and a reason to run again without it."""
    top = monopolist(verifier.log, verifier.log_capacity)
    if top is None or not facts.accusable(top[0]):
        return
    image, entries = top
    yield Evidence(
        rule=MONOPOLISED,
        statement=f"{image} made {entries} of the {len(verifier.log)} calls in the critical-region log. A "
        "noisy driver is a lead and no proof: its calls push all others out of the log.",
        strength=Strength.WEAK,
        where=LOG,
        points_to=(image,),
    )
    yield Note(
        f"Disable {image} and reproduce: either it was the culprit, or the log will show the other drivers."
    )


def _own(facts: Facts) -> tuple[list[CriticalRegionEntry], str]:
    """(the crashing thread's entries, where they were read); none when thread or log are not known."""
    if facts.verifier is None or facts.thread is None:
        return [], ""
    thread = facts.thread.address
    entries = [entry for entry in facts.verifier.log if entry.thread == thread]
    return entries, f"{LOG}, entries of thread {thread:#x}"


def _is_partial(facts: Facts) -> bool:
    """Whether calls lack: the oldest were overwritten, or pages of the log are not in the dump."""
    log = facts.verifier
    return log is not None and (log.log_missing > 0 or is_full(log.log, log.log_capacity))


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
