"""What a CrashState must fulfil before memory is made from it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from lab.twin.crash import CrashState, Stop

NEEDED = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "ntfs.sys", "srv2.sys")
LOG_LENGTH = 128
"""Entries of the critical region log (VfKeCriticalRegionTracesLength is 0x80), and here of the IRP log."""
IO_VERIFICATION = 0x10
BLAMING = frozenset({Stop.PAGED_AT_DISPATCH, Stop.POWER_IRP_BLOCKED, Stop.POOL_LEAKED, Stop.DPC_WATCHDOG})
"""Stops of the twin that are a third-party driver's."""


def check(state: CrashState) -> None:
    """ValueError, naming the field, when `state` contradicts itself."""
    names = [image.name.casefold() for image in state.images]
    missing = sorted(set(NEEDED) - set(names))
    if missing or names[0] != NEEDED[0]:
        raise ValueError(f"images: {NEEDED[0]} must be the first, and these are missing: {missing}")
    if len(names) != len(set(names)):
        raise ValueError("images: an image is loaded twice")
    if len(state.region_log) > LOG_LENGTH:
        raise ValueError(f"region_log: {len(state.region_log)} entries, but the log holds {LOG_LENGTH}")
    for entry in state.region_log:
        if entry.direction not in ("enter", "leave"):
            raise ValueError(f"region_log: direction '{entry.direction}' is neither enter nor leave")
        if entry.image.casefold() not in names:
            raise ValueError(f"region_log: {entry.image} is not among the images")
    for instance in state.instances:
        if instance.image.casefold() not in names:
            raise ValueError(f"instances: {instance.image} is not among the images")
        try:
            Decimal(instance.altitude)
        except InvalidOperation:
            raise ValueError(f"instances: altitude '{instance.altitude}' is not a number") from None
    if state.stop is Stop.DISPATCH_CHANGED_APC and state.dispatch_owner.casefold() not in names:
        raise ValueError(f"dispatch_owner: {state.dispatch_owner} is not among the images")
    if state.stop in BLAMING and not any(
        image.third_party and image.name.casefold() == state.dispatch_owner.casefold()
        for image in state.images
    ):
        raise ValueError(f"dispatch_owner: stop {state.stop} needs a third-party image")
    if state.stop is Stop.DPC_WATCHDOG and state.build == 7601:
        raise ValueError("stop: 7601 does not watch its deferred procedure calls")
    if state.irp_log and (state.build == 7601 or not state.verifier_level & IO_VERIFICATION):
        raise ValueError("irp_log: it is kept from build 9600 on, with verifier level 0x10")
    if len(state.irp_log) > LOG_LENGTH:
        raise ValueError(f"irp_log: {len(state.irp_log)} entries, but the log holds {LOG_LENGTH}")
    for logged in state.irp_log:
        if logged.action not in ("allocate", "complete"):
            raise ValueError(f"irp_log: action '{logged.action}' is neither allocate nor complete")
        if logged.image.casefold() not in names:
            raise ValueError(f"irp_log: {logged.image} is not among the images")
    for name in state.without_headers:
        if name.casefold() not in names[1:]:
            raise ValueError(f"without_headers: {name} is not among the images, or the kernel")
    if state.encoded_kdbg and state.build == 7601:
        raise ValueError("encoded_kdbg: 7601 keeps it in clear")
    if state.five_levels and state.build < 18362:
        raise ValueError(f"five_levels: {state.build} does not know such page tables")
    if not 1 <= state.processors <= 16:
        raise ValueError(f"processors: {state.processors} is not in 1..16")
