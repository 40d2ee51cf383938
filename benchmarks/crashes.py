"""Crashes that dumps are made of for comparisons, measurements and fuzzing."""

from __future__ import annotations

from dataclasses import replace

from lab.twin.crash import CrashState, Image, Instance, IrpLogEntry, RegionLogEntry, Stop

BUILDS = (7601, 17763, 20348)
_SYSTEM = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
_THIRD = ("BadDriver.sys", "Suspect.sys", "Other.sys", "Disk1.sys")
_IMAGES = tuple(Image(name, name in _THIRD) for name in _SYSTEM + _THIRD)


def dispatch_crash(build: int, seed: int = 1) -> CrashState:
    """0xC4/0xC5: verifier caught a minifilter behind the filter manager; two instances on the volume."""
    return CrashState(
        build,
        seed,
        Stop.DISPATCH_CHANGED_APC,
        _IMAGES,
        thread=7,
        instances=(
            Instance("BadDriver.sys Instance", "189600", "BadDriver.sys"),
            Instance("Other Instance", "328010", "Other.sys"),
        ),
        verifier_level=0x810,
        verified=("BadDriver.sys", "Other.sys"),
    )


def exit_crash(build: int, seed: int = 1) -> CrashState:
    """0x20 at the end of a worker thread, with a critical-region log."""
    log = tuple(
        RegionLogEntry(7 if i % 5 == 0 else 50, ("enter", "leave")[i % 2], _THIRD[i % 2]) for i in range(31)
    )
    return CrashState(
        build,
        seed,
        Stop.APC_PENDING_DURING_EXIT,
        _IMAGES,
        thread=7,
        verifier_level=0x800,
        verified=("BadDriver.sys", "Suspect.sys"),
        region_log=log,
    )


def odd_crashes(build: int) -> tuple[CrashState, ...]:
    """The other kinds of stops, each with something about it that is unusual."""
    dispatch = dispatch_crash(build)
    log = tuple(IrpLogEntry(7, ("allocate", "complete")[i % 2], "BadDriver.sys", -(i % 3)) for i in range(20))
    return (
        replace(dispatch, irp_log=log, state_on_stack=True, five_levels=True),
        replace(dispatch, stop=Stop.POWER_IRP_BLOCKED, dispatch_owner="BadDriver.sys", encoded_kdbg=True),
        replace(
            dispatch, stop=Stop.DPC_WATCHDOG, dispatch_owner="BadDriver.sys", without_headers=("hal.dll",)
        ),
        replace(dispatch, stop=Stop.POOL_LEAKED, dispatch_owner="BadDriver.sys", leaks=5),
        replace(dispatch, stop=Stop.PAGED_AT_DISPATCH, dispatch_owner="BadDriver.sys", log_paged_out=True),
    )
