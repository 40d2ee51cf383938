"""What a running Windows says of itself, and what it can be told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lab.model.bugcheck import Bugcheck


class PowerState(StrEnum):
    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Boot:
    """One boot of one guest. Two readings belong to the same boot iff `identity` is equal."""

    identity: str  # "<BootId>/<LastBootUpTime, UTC ISO 8601>"
    started: str  # UTC, ISO 8601, guest's clock
    now: str  # UTC, ISO 8601, guest's clock
    computer: str
    build: int
    os_name: str
    machine_uuid: str
    processors: int
    memory_bytes: int


class BootMode(StrEnum):
    """`verifier /bootmode`."""

    PERSISTENT = "persistent"
    RESET_ON_BOOT_FAIL = "resetonbootfail"
    ONE_BOOT = "oneboot"
    RESET_ON_UNUSUAL_SHUTDOWN = "resetonunusualshutdown"


@dataclass(frozen=True)
class VerifierPlan:
    """Driver Verifier settings to hold from the next boot. Flags as for `verifier /flags`.

    `drivers` are image file names, or "*" alone: every driver (`verifier /all`). No flags
    and no drivers means: verifier off.
    """

    flags: int = 0
    drivers: tuple[str, ...] = ()
    boot_mode: BootMode = BootMode.PERSISTENT

    @property
    def off(self) -> bool:
        return self.flags == 0 and not self.drivers


@dataclass(frozen=True)
class VerifierState:
    """Pending (registry, holds from the next boot) against active (running kernel)."""

    pending: VerifierPlan
    active_flags: int
    active_drivers: tuple[str, ...]


@dataclass(frozen=True)
class CrashControl:
    """Values of Control\\CrashControl and what decides whether a dump can be written."""

    crash_dump_enabled: int  # 0 none, 1 complete, 2 kernel, 3 small, 7 automatic
    auto_reboot: bool
    overwrite: bool
    always_keep: bool
    dump_file: str
    system_drive_free_bytes: int
    dump_initialization_failed: bool  # event 46 of volmgr since this boot


@dataclass(frozen=True)
class BugcheckEvent:
    """A record of the System log that tells of a stop: 1001 (WER), 41 (Kernel-Power) or 46 (volmgr)."""

    record: int
    event_id: int
    time: str  # UTC, ISO 8601, guest's clock
    bugcheck: Bugcheck | None
    dump_path: str
