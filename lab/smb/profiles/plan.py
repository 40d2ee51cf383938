"""A profile with a plan's own values, within the caps."""

from __future__ import annotations

import math
from dataclasses import replace

from lab.model import ConfigurationError, LoadPlan
from lab.smb.profiles.profile import Phase, Profile, Work

MOST_CONNECTIONS = 256
MOST_IN_FLIGHT = 32_768
"""Over all connections: 8,192, which is what Windows grants a connection by default, on four of them."""
MOST_RATE = 1_000_000.0
MOST_SECONDS = 30 * 24 * 3600.0
MOST_READ_BYTES = 8 << 20
"""The largest READ that Windows takes (MS-SMB2 3.3.5.4)."""
MOST_FILE_SET_BYTES = 4 << 30
MOST_FILES = 10_000
LEAST_PLACES = 4
"""READs that the large file has room for, side by side, at least."""
MOST_COMPOUND_READ_BYTES = 1 << 16
"""What one credit pays for (3.2.4.1.5): a READ within a compound."""
MOST_COMPOUND = 16
"""READs in one message: more bring nothing, and servers have limits of their own."""
BLOCK = 4096
"""Sizes and offsets of READs are multiples of it: those of unbuffered ones must be (MS-FSA 2.1.5.3)."""


def shaped(profile: Profile, plan: LoadPlan) -> Profile:
    """`profile` with the values that `plan` sets.

    Raises ConfigurationError for a value that is beyond a cap, or that the profile has no place for.
    """
    _within("seconds", plan.seconds, MOST_SECONDS, "seconds", above=0.0)
    _within("connections", plan.connections, MOST_CONNECTIONS, "connections", least=1)
    if plan.verify_every < 0:
        raise ConfigurationError(
            f"a load cannot check one in {plan.verify_every} answers",
            help="Give 1 to check all answers, 0 to check those of the set-up only.",
        )
    phases = profile.phases
    in_flight = plan.in_flight
    if profile.work is Work.SESSIONS:
        in_flight = _one_each(profile, plan)
    if in_flight is not None:
        phases = tuple(_scaled(phase, in_flight, profile.most) for phase in phases)
    if plan.idle_seconds is not None:
        phases = _idling(profile, phases, plan.idle_seconds)
    if plan.rate is not None:
        _within("rate", plan.rate, MOST_RATE, "READs a second", above=0.0)
        phases = tuple(replace(phase, at_most=plan.rate) for phase in phases)
    size = profile.size if plan.size is None else plan.size
    mine = replace(
        profile,
        phases=phases,
        size=size,
        file_bytes=max(profile.file_bytes, LEAST_PLACES * size),
        longest_idle=max(profile.longest_idle, plan.idle_seconds or 0.0),
    )
    _check(mine)
    return mine


def _check(profile: Profile) -> None:
    for phase in profile.phases:
        _within("seconds", phase.seconds, MOST_SECONDS, f"seconds of phase '{phase.name}'", above=0.0)
    _within("in flight", profile.most, MOST_IN_FLIGHT, "READs in flight", least=profile.compound)
    _within("compound", profile.compound, MOST_COMPOUND, "READs a message", least=1)
    compound = profile.compound > 1 or profile.work is Work.FILES
    most = MOST_COMPOUND_READ_BYTES if compound else MOST_READ_BYTES
    _within("size", profile.size, most, "bytes a READ", least=BLOCK)
    if profile.size % BLOCK:
        raise ConfigurationError(
            f"READs of {profile.size} bytes are not multiples of {BLOCK}",
            help=f"Give a size that is a multiple of {BLOCK}: unbuffered READs must be whole sectors.",
        )
    _within("files", profile.files, MOST_FILES, "files", least=1 if profile.work is Work.FILES else 0)
    _within("file set", profile.file_set_bytes, MOST_FILE_SET_BYTES, "bytes of files", least=profile.size)


def _within(
    cap: str, value: float, most: float, unit: str, *, least: float = 0.0, above: float | None = None
) -> None:
    low = value >= least if above is None else value > above
    if not (math.isfinite(value) and low and value <= most):
        bottom = f"{least:,.0f} to" if above is None else f"more than {above:g}, at most"
        raise ConfigurationError(
            f"a load can have {bottom} {most:,.0f} {unit}, not {f'{value:,}' if value % 1 == 0 else value}",
            help=f"Change the load's {cap}.",
        )


def _scaled(phase: Phase, in_flight: int, most: int) -> Phase:
    """The phase with the profile's `most` requests in flight made `in_flight`, and others in proportion."""

    def part(now: int) -> int:
        return math.ceil(now * in_flight / most) if in_flight > 0 else in_flight

    if phase.idle:
        return phase
    low = None if phase.rises_from is None else part(phase.rises_from)
    return replace(phase, in_flight=part(phase.in_flight), rises_from=low)


def _one_each(profile: Profile, plan: LoadPlan) -> int:
    if plan.in_flight is not None:
        raise ConfigurationError(
            f"profile '{profile.name}' has one request in flight on each connection",
            help="Change the number of connections instead.",
        )
    return plan.connections


def _idling(profile: Profile, phases: tuple[Phase, ...], seconds: float) -> tuple[Phase, ...]:
    if not any(phase.idle for phase in phases):
        raise ConfigurationError(
            f"profile '{profile.name}' has no idle phase to make {seconds:g} s long",
            help="Leave the idle time out, or choose a profile with bursts.",
        )
    _within("idle time", seconds, MOST_SECONDS, "idle seconds", above=0.0)
    return tuple(replace(phase, seconds=seconds) if phase.idle else phase for phase in phases)
