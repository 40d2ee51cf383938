"""Is a new host fit to be handed out? Everything a case will stand on, looked at; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lab.inventory import Host, Pool
from lab.machines import Interference, open_machine
from lab.model import Boot, Clock, Driver, GuestError, LabError
from lab.windows import open_guest
from lab.windows.check import Check, check_host

OpenShare = Callable[[Host, str], None]
"""Logs on over SMB, opens the share of that name and closes it again; raises LabError."""

OpenDumps = Callable[[Host], None]
"""Opens where the host's dumps are fetched from, and lists them; raises LabError."""


class NotAccepted(GuestError):
    """A host was made, but is not fit to be handed out."""

    help = "Correct what is told of it, and provision again."


@dataclass(frozen=True)
class Examined:
    """What was looked at. `drivers` are the third-party ones that run, each as service, image and version.

    `source` is what a host that is not fit has its faults from, in words: where they are corrected.
    """

    checks: tuple[Check, ...]
    drivers: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    source: str = ""

    def check(self, name: str) -> None:
        """Raises NotAccepted that names everything that is wrong."""
        wrong = [each for each in self.checks if not each.ok]
        if wrong:
            again = f"Correct {self.source}, and provision again." if self.source else ""
            helps = " ".join(filter(None, dict.fromkeys((*(each.help for each in wrong), again))))
            raise NotAccepted(
                f"host {name} is not fit: {'; '.join(f'{each.name}: {each.detail}' for each in wrong)}",
                help=helps or None,
            )


def examine(
    host: Host, pool: Pool, open_share: OpenShare, clock: Clock, *, open_dumps: OpenDumps | None = None
) -> Examined:
    """Never raises a LabError: what goes wrong is a check that is not ok."""
    source = source_of(pool)
    checks = check_host(host, lambda h: open_machine(h, clock), open_share, open_dumps, clock=clock)
    try:
        with open_guest(host, clock) as guest:
            before = datetime.now(UTC)
            boot = guest.boot()
            after = datetime.now(UTC)
            found = [each for each in guest.drivers() if each.in_question]
    except LabError as error:
        # `check_host` has met the same, most likely, and says it by itself
        told = any(not each.ok and each.detail == error.message for each in checks)
        rest = () if told else (Check("guest", False, error.message, error.help),)
        return Examined((*checks, *rest), source=source)
    return Examined(
        (
            *checks,
            *_build(pool, boot, source),
            *_drivers(pool, found, source),
            _clock(pool, boot, before, after),
        ),
        tuple(sorted((each.service, each.image, each.version) for each in found)),
        _meddlers(host, clock),
        source,
    )


def source_of(pool: Pool) -> str:
    """Where the faults of a pool's hosts are corrected, in words."""
    if pool.machine is not None:
        return "the template"
    if pool.install is not None:
        return "the answer file, 'drivers' or 'commands' of install"
    return "the host itself"


def differences(examined: Sequence[tuple[str, Examined]]) -> tuple[str, ...]:
    """What each host's third-party drivers have other than the first one's, one sentence a host."""
    if not examined:
        return ()
    (first, reference), *others = examined
    wanted = set(reference.drivers)
    told = []
    for name, each in others:
        has = set(each.drivers)
        parts = [
            f"{word} {', '.join(' '.join(filter(None, d[1:])) for d in sorted(some))}"
            for word, some in (("lacks", wanted - has), ("has", has - wanted))
            if some
        ]
        if parts:
            told.append(f"the drivers of {name} differ from those of {first}: it {' and '.join(parts)}")
    return tuple(told)


def _build(pool: Pool, boot: Boot, source: str) -> Iterable[Check]:
    if pool.build is None:
        return
    fits = boot.build == pool.build
    detail = f"{boot.build}" if fits else f"{boot.build}, and the pool's is {pool.build}"
    yield Check("build", fits, detail, "" if fits else f"Correct {source}, or the pool's 'build'.")


def _drivers(pool: Pool, found: Sequence[Driver], source: str) -> Iterable[Check]:
    wanted = pool.accept.drivers
    if wanted is None:
        return
    has = {each.service.casefold(): each.service for each in found}
    asked = {each.casefold(): each for each in wanted}
    missing = sorted(asked[key] for key in asked.keys() - has.keys())
    extra = sorted(has[key] for key in has.keys() - asked.keys())
    wrong = []
    if missing:
        wrong.append(f"{', '.join(missing)} not running")
    if extra:
        wrong.append(f"{', '.join(extra)} running, and not of the pool's list")
    detail = "; ".join(wrong) or f"the {len(has)} third-party drivers of the pool's list run"
    yield Check("drivers", not wrong, detail, "" if not wrong else f"Correct {source}, or accept.drivers.")


def _clock(pool: Pool, boot: Boot, before: datetime, after: datetime) -> Check:
    """The guest's time was read somewhen between the two, so what lies between them is no offset."""
    try:
        now = datetime.fromisoformat(boot.now)
    except ValueError:
        return Check("clock", False, f"the guest's time is {boot.now[:40]!r}", "Look at the guest's clock.")
    offset = max((before - now).total_seconds(), (now - after).total_seconds(), 0.0)
    fits = offset <= pool.accept.clock_offset
    behind = "behind" if now < before else "ahead"
    detail = f"{offset:.0f} s {behind}" if offset >= 1 else "within a second"
    if not fits:
        detail += f", and {pool.accept.clock_offset:g} s are allowed"
    return Check("clock", fits, detail, "" if fits else "See that the guest takes its time from somewhere.")


def _meddlers(host: Host, clock: Clock) -> tuple[str, ...]:
    try:
        machine = open_machine(host, clock)
        return machine.meddlers() if isinstance(machine, Interference) else ()
    except LabError as error:
        return (f"whether something resets {host.name} when it crashes is not known: {error.message}",)
