"""One running Windows: what it says of itself, what it can be told, and its boots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Self, TypeVar

from lab.inventory import Timeouts
from lab.model import (
    Boot,
    BugcheckEvent,
    Clock,
    CrashControl,
    CredentialsRefused,
    Driver,
    DriverSetting,
    GuestError,
    InfrastructureError,
    NotApplied,
    QueueSample,
    TimedOut,
    VerifierPlan,
    VerifierState,
    wait_until,
)
from lab.windows import rows
from lab.windows.shell import Script, Shell

T = TypeVar("T")

REFUSALS = 3
"""Refused log-ons in a row that are believed: a guest that is just starting may refuse for a moment."""

NO_PINS: Mapping[str, str] = MappingProxyType({})


class Guest:
    """A Windows guest through a shell.

    Every call raises InfrastructureError when the guest cannot be reached (CredentialsRefused when it does
    not let us in), GuestError when it refuses, and TimedOut naming the wait that ran out.
    `pinned` is the inventory's map of services to reasons.
    """

    def __init__(
        self, shell: Shell, clock: Clock, timeouts: Timeouts, *, pinned: Mapping[str, str] = NO_PINS
    ) -> None:
        self._shell = shell
        self._clock = clock
        self._timeouts = timeouts
        self._pinned = pinned
        self._known = False  # whether these credentials were ever good

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._shell.close()

    def boot(self) -> Boot:
        """The boot that is running."""
        script = Script("Get-LabBoot")
        return rows.one(script, self._shell.run(script), rows.boot)

    def drivers(self) -> tuple[Driver, ...]:
        """Every kernel and file system driver service, classified and pinned, by service name."""
        script = Script("Get-LabDriver")
        found = [rows.driver(script, row, self._pinned) for row in self._shell.run(script)]
        return tuple(sorted(found, key=lambda d: d.service.casefold()))

    def set_drivers(self, settings: Sequence[DriverSetting]) -> None:
        """Write what loads at the next boot. Raises NotApplied, naming what did not hold on reading back."""
        if not settings:
            return
        filters = [
            "|".join((s.service, f.class_guid, f.position, str(f.index)))
            for s in settings
            for f in s.class_filters
        ]
        script = Script("Set-LabDriver")
        answer = self._shell.run(
            script,
            Service=[s.service for s in settings],
            Start=[int(s.start) for s in settings],
            ClassFilter=filters,
        )
        read_back = {s.service.casefold(): s for s in (rows.setting(script, row) for row in answer)}
        wrong = {
            wanted.service: difference
            for wanted in settings
            if (difference := rows.difference(wanted, read_back.get(wanted.service.casefold())))
        }
        if wrong:
            raise NotApplied(
                f"driver settings did not hold: {'; '.join(wrong.values())}", services=tuple(wrong)
            )

    def verifier(self) -> VerifierState:
        """Driver Verifier's settings for the next boot, and what the running kernel does."""
        script = Script("Get-LabVerifier")
        return rows.one(script, self._shell.run(script), rows.verifier)

    def set_verifier(self, plan: VerifierPlan) -> None:
        """Settings to hold from the next boot; a plan that is off resets them.

        Raises GuestError with verifier's own message when it refuses, NotApplied when it agreed but the
        registry says otherwise.
        """
        script = Script("Set-LabVerifier")
        answer = self._shell.run(
            script, Flags=plan.flags, Driver=list(plan.drivers), BootMode=plan.boot_mode.value
        )
        done = rows.one(script, answer, rows.verifier_change)
        if done.exit_code not in (0, 2):  # 2: success, a reboot is needed
            raise GuestError(f"verifier refused the settings (exit code {done.exit_code}): {done.message}")
        wanted = {name.casefold() for name in plan.drivers}
        held = {name.casefold() for name in done.drivers}
        if done.flags != plan.flags or held != wanted:
            raise NotApplied(
                f"verifier settings did not hold: asked for flags {plan.flags:#x} and "
                f"{', '.join(plan.drivers) or 'no drivers'}, the registry has {done.flags:#x} and "
                f"{', '.join(done.drivers) or 'no drivers'}"
            )

    def crash_control(self) -> CrashControl:
        """How a crash dump would be written, and whether it can be."""
        script = Script("Get-LabCrashControl")
        return rows.one(script, self._shell.run(script), rows.crash_control)

    def set_crash_control(self, wanted: CrashControl) -> CrashControl:
        """Write the dump kind, auto reboot, overwrite and keep flags. They count after a reboot.

        Returns what was read back; raises NotApplied when it differs. The dump file is not moved.
        """
        return self.set_crash_values(
            crash_dump_enabled=wanted.crash_dump_enabled,
            auto_reboot=wanted.auto_reboot,
            overwrite=wanted.overwrite,
            always_keep=wanted.always_keep,
        )

    def set_crash_values(
        self, *, crash_dump_enabled: int, auto_reboot: bool, overwrite: bool, always_keep: bool
    ) -> CrashControl:
        """`set_crash_control` for who knows only the values that can be written."""
        script = Script("Set-LabCrashControl")
        answer = self._shell.run(
            script,
            CrashDumpEnabled=crash_dump_enabled,
            AutoReboot=int(auto_reboot),
            Overwrite=int(overwrite),
            AlwaysKeepMemoryDump=int(always_keep),
        )
        held = rows.one(script, answer, rows.crash_control)
        wanted = {
            "crash_dump_enabled": crash_dump_enabled,
            "auto_reboot": auto_reboot,
            "overwrite": overwrite,
            "always_keep": always_keep,
        }
        for key, value in wanted.items():
            if getattr(held, key) != value:
                raise NotApplied(f"crash control did not hold: {key} is {getattr(held, key)}")
        return held

    def log_position(self) -> int:
        """Record id of the newest event in the System log: events after it are news."""
        script = Script("Get-LabLogPosition")
        return rows.one(script, self._shell.run(script), lambda s, row: rows.integer(s, row, "record"))

    def bugchecks(self, after_record: int = 0) -> tuple[BugcheckEvent, ...]:
        """Events that tell of a stop, newer than a record id, oldest first."""
        script = Script("Get-LabBugcheck")
        return tuple(
            rows.bugcheck_event(script, row) for row in self._shell.run(script, AfterRecord=after_record)
        )

    def server_queues(self) -> tuple[QueueSample, ...]:
        """The server's own count of its work queues, now; `after` is 0, for the caller to fill in.

        To be asked at most every few seconds: each look starts a script, and Microsoft warns that counters
        of a file server cost under load. On a host that has just died it may take the time-out `script`.
        Raises GuestError with the reason when this Windows has no such counters.
        """
        script = Script("Get-LabServerQueue")
        reason, queues = rows.one(script, self._shell.run(script), rows.server_queues)
        if not queues:
            raise GuestError(
                f"the guest does not count its server's queues: {reason}",
                help="See that the Server service runs and that 'lodctr /q' lists PerfNet as enabled.",
            )
        return queues

    def restart(self, token: str) -> None:
        """Ask for a restart; `token` stands in the shutdown's comment, so that we know it for ours.

        Returns when Windows has accepted it; `wait_for_new_boot` waits for the rest.
        """
        script = Script("Restart-LabGuest")
        if not rows.one(script, self._shell.run(script, Token=token), rows.accepted):
            raise GuestError("the guest did not accept the restart")

    def wait_for_new_boot(self, old: Boot) -> Boot:
        """Wait (`boot`) until a boot other than `old` answers, whatever breaks in between."""

        def look() -> Boot | str:
            boot = self.boot()
            return boot if boot.identity != old.identity else f"still the boot of {old.started}"

        return self._wait("boot", self._timeouts.boot, look)

    def wait_until_reachable(self) -> Boot:
        """Wait (`reachable`) until the guest answers at all."""
        return self._wait("reachable", self._timeouts.reachable, self.boot)

    def _wait(self, wait: str, seconds: float, look: Callable[[], T | str]) -> T:
        """Like `wait_until`, but a guest that is down or still starting is not an error.

        Credentials that are refused `REFUSALS` times in a row are, unless they were good before: a Windows
        that is still starting may refuse for seconds.
        """
        seen, refusals = "nothing", 0

        def poll() -> T | None:
            nonlocal seen, refusals
            try:
                found = look()
            except CredentialsRefused as error:
                seen, refusals = error.message, refusals + 1
                if refusals >= REFUSALS and not self._known:
                    raise
                return None
            except (InfrastructureError, GuestError, TimedOut) as error:
                seen, refusals = error.message, 0
                return None
            refusals, self._known = 0, True
            if isinstance(found, str):
                seen = found
                return None
            return found

        return wait_until(
            poll,
            wait=wait,
            seconds=seconds,
            clock=self._clock,
            every=self._timeouts.poll,
            last_seen=lambda: seen,
        )
