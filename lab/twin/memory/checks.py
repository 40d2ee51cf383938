"""What a CrashState must fulfil before memory is made from it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from lab.twin.crash import CrashState, Stop

NEEDED = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "ntfs.sys", "srv2.sys")
LOG_LENGTH = 128
"""Entries of the critical region log: VfKeCriticalRegionTracesLength is 0x80."""


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
    if not 1 <= state.processors <= 16:
        raise ValueError(f"processors: {state.processors} is not in 1..16")
