"""What became of a host whose load ended: whether it stopped, and what its log and its dump say."""

from __future__ import annotations

from lab.analysis import signature, triage
from lab.capture import DumpSource, Replaced, fetch, wait_until_whole, why_no_dump
from lab.machines import OutOfBandStop
from lab.model import (
    Boot,
    Bugcheck,
    Case,
    Crashed,
    EntryKind,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LabError,
    Outcome,
    PowerState,
    Relation,
    Signature,
    TimedOut,
    compare,
    wait_until,
)
from lab.trials.bench import Bench
from lab.trials.outside import Outside

DUMP = "MEMORY.DMP"


def still_up(bench: Bench, boot: Boot) -> bool:
    """Whether the same boot still answers; a guest that stopped just after the load, or hangs, does not."""
    try:
        return bench.guest.boot().identity == boot.identity
    except (InfrastructureError, TimedOut):
        return False


def after_the_stop(
    bench: Bench,
    case: Case,
    boot: Boot,
    position: int,
    stale: bytes | None,
    after: float,
    outside: Outside | None,
) -> Outcome:
    """Wait for the next boot, see what the log and the dump say, and what was seen from outside.

    `boot`, `position` (the newest record of the log) and `stale` (first bytes of the dump that was there) are
    of before the load; `after` are seconds of load; without `outside` nobody looked on.
    """
    if not _stopped(bench, boot):
        return Invalid(
            InvalidReason.INFRASTRUCTURE,
            f"connections broke, but the guest did not stop within {bench.host.timeouts.stop:g} s",
        )
    _bring_back(bench, boot)
    events = bench.guest.bugchecks(position)
    stops = [e.bugcheck for e in events if e.bugcheck is not None and e.bugcheck.code]
    witnessed = outside.stop() if outside is not None else None
    if not stops and not events and witnessed is None:
        return Invalid(
            InvalidReason.INFRASTRUCTURE,
            "connections broke and the host restarted, but its log has no bugcheck",
        )
    try:
        sha = _capture(bench, stale)
    except TimedOut:
        why = why_no_dump(bench.guest.crash_control(), events)
        return _without_dump(bench, case, stops, witnessed, after, why)
    except LabError as error:
        return _without_dump(
            bench, case, stops, witnessed, after, f"it could not be fetched: {error.message}"
        )
    try:
        seen = triage(bench.vault.path(sha), bench.symbols, known=case.drivers)
    except LabError as error:
        why = f"the dump {sha[:12]} in the vault cannot be read: {error.message}"
        return _without_dump(bench, case, stops, witnessed, after, why)
    bench.journal.add_crash(bench.case, sha, seen)
    bench.tell(EntryKind.FINDING, f"STOP: {seen.bugcheck.title}, dump {sha[:12]}")
    if stops and stops[-1].code != seen.bugcheck.code:
        bench.tell(EntryKind.WARNING, f"the log says {stops[-1].title}, the dump says {seen.bugcheck.title}")
    if witnessed is not None and witnessed.bugcheck.code not in (0, seen.bugcheck.code):
        said = f"{witnessed.source} says {witnessed.bugcheck.title}, the dump says {seen.bugcheck.title}"
        bench.tell(EntryKind.WARNING, said)
    for evidence in seen.evidence:
        bench.tell(EntryKind.FINDING, evidence.statement)
    return _crashed(case, after, seen.bugcheck, seen.signature, dump=sha)


def _crashed(
    case: Case, after: float, stop: Bugcheck, seen: Signature, *, dump: str = "", no_dump_because: str = ""
) -> Outcome:
    """A stop, held against the one that is looked for; one that the lab caused itself says nothing."""
    relation = compare(case.expected, seen)
    if relation is Relation.OURS:
        return Invalid(InvalidReason.OURS, f"the lab itself caused {stop.title}")
    return Crashed(after, stop, relation, dump, no_dump_because)


def _stopped(bench: Bench, boot: Boot) -> bool:
    """Whether the guest went down: a broken network alone is no stop, and no reason for a reset."""

    def gone() -> bool | None:
        return None if still_up(bench, boot) else True

    try:
        return wait_until(
            gone,
            wait="stop",
            seconds=bench.host.timeouts.stop,
            clock=bench.clock,
            every=bench.host.timeouts.poll,
        )
    except TimedOut:
        return False


def _bring_back(bench: Bench, boot: Boot) -> None:
    """Wait for the boot after the stop; a host that stays down is powered on or reset once."""
    try:
        bench.guest.wait_for_new_boot(boot)
        return
    except TimedOut as error:
        off = bench.machine.power_state() is PowerState.OFF
        bench.tell(EntryKind.WARNING, f"{error.message}; {'powering on' if off else 'resetting it'}")
    if off:
        bench.machine.power_on()
    else:
        bench.machine.reset()
    bench.guest.wait_for_new_boot(boot)


def _capture(bench: Bench, stale: bytes | None) -> str:
    """The SHA-256 of the new dump in the vault. Windows may touch it once more when it seems whole."""
    with bench.dumps() as source:
        try:
            return _fetch_when_whole(bench, source, stale)
        except Replaced as error:
            bench.tell(EntryKind.WARNING, f"{error.message}: once more")
            return _fetch_when_whole(bench, source, stale)


def _fetch_when_whole(bench: Bench, source: DumpSource, stale: bytes | None) -> str:
    ref = wait_until_whole(
        source,
        DUMP,
        not_like=stale,
        clock=bench.clock,
        seconds=bench.host.timeouts.dump,
        every=bench.host.timeouts.poll,
    )
    bench.tell(EntryKind.ACTION, f"fetching {ref.name}, {ref.length / 1e6:.1f} MB")
    return fetch(source, ref, bench.vault, clock=bench.clock, seconds=bench.host.timeouts.transfer)


def _without_dump(
    bench: Bench,
    case: Case,
    stops: list[Bugcheck],
    witnessed: OutOfBandStop | None,
    after: float,
    why: str,
) -> Outcome:
    """The stop by the guest's log, else by what was seen from outside."""
    bench.tell(EntryKind.WARNING, f"no dump to read: {why}")
    if not stops and witnessed is not None and witnessed.bugcheck.code:
        stops = [witnessed.bugcheck]
        bench.tell(EntryKind.FINDING, f"STOP: {witnessed.bugcheck.title}, by {witnessed.source}")
    if not stops:
        said = f"; {witnessed.source} tells of a crash, but not of which" if witnessed else ""
        return Invalid(
            InvalidReason.INFRASTRUCTURE, f"the host stopped, but neither log nor dump says why: {why}{said}"
        )
    stop = stops[-1]
    return _crashed(case, after, stop, signature(stop, None, ()), no_dump_because=why)
