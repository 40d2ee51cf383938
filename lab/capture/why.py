"""Why no dump came, from what the guest says of itself."""

from __future__ import annotations

from collections.abc import Sequence

from lab.model import BugcheckEvent, CrashControl

_WER = 1001  # Microsoft-Windows-WER-SystemErrorReporting: the computer has rebooted from a bugcheck
_POWER = 41  # Microsoft-Windows-Kernel-Power: rebooted without cleanly shutting down first
_VOLMGR = 46  # volmgr: crash dump initialization failed

LITTLE_SPACE = 1 << 30
"""Free bytes below which a kernel dump of a lab machine is likely not to fit."""


def why_no_dump(
    control: CrashControl | None,
    events: Sequence[BugcheckEvent],
    *,
    dump_bytes: int | None = None,
) -> str:
    """One sentence: the most likely reason, the certain ones first.

    `control`: crash settings read after the reboot, None when they could not be read. `events`: the
    System log's records since before the load. `dump_bytes`: how long a dump would be, when known.
    """
    reported = [event for event in events if event.event_id == _WER]
    stopped = [event for event in events if event.bugcheck is not None and event.bugcheck.code]
    if (control is not None and control.dump_initialization_failed) or _has(events, _VOLMGR):
        return (
            "Windows could not prepare to write dumps (event 46, volmgr): "
            "its page file or the storage driver of its boot disk is not fit for it."
        )
    if control is not None:
        setting = _setting(control, dump_bytes, bool(reported))
        if setting:
            return setting
    if reported:
        where = next((event.dump_path for event in reversed(reported) if event.dump_path), "its dump file")
        return (
            f"Windows reports a dump at {where} (event 1001), but none was whole there in time: "
            "it was still being written, or something removed it."
        )
    if stopped:
        bugcheck = stopped[-1].bugcheck
        assert bugcheck is not None
        return (
            f"Windows stopped with {bugcheck.title} but saved no dump (event 41 without 1001): the stop may "
            "have hit the storage driver that writes it, or the machine was reset before it was written."
        )
    if _has(events, _POWER):
        return (
            "Windows came back from an unclean shutdown without a bugcheck (event 41 with code 0): "
            "power was lost, or the machine was reset or hung."
        )
    return "The guest's log tells of no stop since the load began: it may have restarted for another reason."


def _setting(control: CrashControl, dump_bytes: int | None, reported: bool) -> str:
    """The crash setting that explains it, or ""."""
    free = control.system_drive_free_bytes
    needed = dump_bytes if dump_bytes is not None else LITTLE_SPACE
    if control.crash_dump_enabled == 0:
        return "Windows is set to write no dump (CrashDumpEnabled is 0)."
    if control.crash_dump_enabled == 3:
        return (
            "Windows is set to write small dumps only (CrashDumpEnabled is 3): look into its Minidump folder."
        )
    if free < needed:
        return (
            f"The guest's system drive has only {free >> 20} MiB free, "
            f"too little for a dump of {'about ' if dump_bytes is None else ''}{needed >> 20} MiB."
        )
    if not control.overwrite and not reported:
        return f"Windows is set not to overwrite an old {control.dump_file} (Overwrite is 0)."
    return ""


def _has(events: Sequence[BugcheckEvent], event_id: int) -> bool:
    return any(event.event_id == event_id for event in events)
