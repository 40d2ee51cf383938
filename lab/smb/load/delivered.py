"""Did the load reach the server as planned? One that did not says nothing of the server."""

from __future__ import annotations

from collections.abc import Sequence

from lab.model import LoadReport
from lab.smb.profiles import Profile, Schedule, Work

LEAST_ANSWERED = 0.9
"""Share of the READs that must be answered."""
LEAST_IN_FLIGHT = 0.75
"""Share of the wanted READs in flight that must have been reached once, where credits were short."""
LEAST_RATE = 0.5
"""Share of the wanted rate that must have been reached, where there is one."""
MOST_CAUSES = 4
LAST_PART = 0.1
"""Share of the time with READs, at its end, in which at least one must be answered."""


def undelivered(
    profile: Profile,
    schedule: Schedule,
    report: LoadReport,
    given_up: Sequence[str],
    connections: int,
    trouble: str = "",
    last: float | None = None,
) -> str:
    """Why this load did not reach the server as planned, in one sentence; "" when it did.

    A load whose target died was delivered: that is what it was for. `given_up` says of each connection that
    was lost and not made again why not; `trouble` is what ended the connection that was lost last, `last`
    the seconds of load after which the last answer came.
    """
    if report.target_died:
        return ""
    return (
        _lost_connections(given_up, connections)
        or _answered(report, trouble)
        or _short(report)
        or _silent_end(schedule, report)
        or _starved(profile, schedule, report, last)
        or _slow(schedule, report)
    )


def _lost_connections(given_up: Sequence[str], connections: int) -> str:
    if not given_up:
        return ""
    return f"{len(given_up)} of {connections} connections were lost and not made again: {given_up[-1]}"


def _answered(report: LoadReport, trouble: str) -> str:
    if not report.reads_sent:
        return "no READ was sent"
    if report.reads_answered >= LEAST_ANSWERED * report.reads_sent:
        return ""
    causes = [f"{count} × {status}" for status, count in report.failed]
    causes = causes[:MOST_CAUSES]
    if report.lost:
        causes.append(f"{report.lost} lost with their connection" + (f" ({trouble})" if trouble else ""))
    why = f"{report.reads_answered} of {report.reads_sent} READs were answered"
    return "; ".join((why, *causes))


def _short(report: LoadReport) -> str:
    if report.short <= (1 - LEAST_ANSWERED) * report.reads_answered:
        return ""
    return f"{report.short} of {report.reads_answered} answers brought fewer bytes than were asked for"


def _silent_end(schedule: Schedule, report: LoadReport) -> str:
    """Whether the end of the time with READs went by without an answer."""
    needed = LAST_PART * schedule.active_seconds(report.seconds)
    active = 0.0
    for phase in reversed(report.phases):
        if phase.answered:
            return ""
        active += schedule.active_seconds(phase.start + phase.seconds) - schedule.active_seconds(phase.start)
        if active > 0 and active >= needed:
            return f"no READ was answered in the last {report.seconds - phase.start:.1f} s"
    return ""


def _starved(profile: Profile, schedule: Schedule, report: LoadReport, last: float | None) -> str:
    reached = max((phase.in_flight for phase in report.phases), default=0)
    limited = any(phase.rate is not None for phase in profile.phases)
    if profile.work is Work.SESSIONS or limited or not report.credit_stalls:
        return ""
    if reached >= LEAST_IN_FLIGHT * profile.most:
        active = schedule.active_seconds(report.seconds)
        silent = 0.0 if last is None else active - schedule.active_seconds(last)
        if silent < LAST_PART * active:
            return ""
        return f"the server gave no more credits: no READ was answered in the last {silent:.1f} s of reading"
    return f"the server's credits allowed {reached} READs in flight; {profile.most} were wanted"


def _slow(schedule: Schedule, report: LoadReport) -> str:
    """Against the rate that the phases want; a load without one takes what comes."""
    wanted = schedule.reads_wanted(report.seconds)
    if wanted is None or report.reads_answered >= LEAST_RATE * wanted - 1:
        return ""
    active = schedule.active_seconds(report.seconds)
    return (
        f"{report.reads_answered / active:.0f} READs a second were answered while wanted; "
        f"the plan asks for {wanted / active:.0f}"
    )
