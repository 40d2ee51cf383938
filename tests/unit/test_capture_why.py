"""Why no dump came: one sentence from the guest's own facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.capture import why_no_dump
from lab.model import Bugcheck, BugcheckEvent, CrashControl

SANE = CrashControl(
    crash_dump_enabled=2,
    auto_reboot=True,
    overwrite=True,
    always_keep=True,
    dump_file=r"C:\Windows\MEMORY.DMP",
    system_drive_free_bytes=50 << 30,
    dump_initialization_failed=False,
)
STOP = Bugcheck(0x20, (0, 0xFFFF, 0, 1))


def event(number: int, bugcheck: Bugcheck | None = None, path: str = "") -> BugcheckEvent:
    return BugcheckEvent(1, number, "2026-01-01T00:00:00Z", bugcheck, path)


WER = event(1001, STOP, r"C:\Windows\MEMORY.DMP")
POWER = event(41, STOP)


@pytest.mark.parametrize(
    ("control", "events", "says"),
    [
        (SANE, [event(46), POWER, WER], "event 46"),
        (replace(SANE, dump_initialization_failed=True), [POWER], "event 46"),
        (replace(SANE, crash_dump_enabled=0), [POWER], "CrashDumpEnabled is 0"),
        (replace(SANE, crash_dump_enabled=3), [WER], "small dumps only"),
        (replace(SANE, system_drive_free_bytes=100 << 20), [POWER], "only 100 MiB free"),
        (replace(SANE, overwrite=False), [POWER], "not to overwrite an old C:\\Windows\\MEMORY.DMP"),
        (SANE, [POWER, WER], "reports a dump at C:\\Windows\\MEMORY.DMP (event 1001)"),
        (replace(SANE, overwrite=False), [WER], "reports a dump at"),
        (SANE, [POWER], "stopped with KERNEL_APC_PENDING_DURING_EXIT (20) but saved no dump"),
        (None, [POWER], "stopped with KERNEL_APC_PENDING_DURING_EXIT (20)"),
        (SANE, [event(41, Bugcheck(0))], "without a bugcheck"),
        (SANE, [event(41)], "without a bugcheck"),
        (SANE, [], "tells of no stop"),
        (None, [], "tells of no stop"),
    ],
)
def test_each_set_of_facts_has_its_sentence(
    control: CrashControl | None, events: list[BugcheckEvent], says: str
) -> None:
    sentence = why_no_dump(control, events)
    assert says in sentence
    assert sentence.endswith(".") and "\n" not in sentence


def test_a_known_length_decides_whether_the_space_was_enough() -> None:
    tight = replace(SANE, system_drive_free_bytes=2 << 30)
    assert "for a dump of 4096 MiB" in why_no_dump(tight, [POWER], dump_bytes=4 << 30)
    assert "stopped with" in why_no_dump(tight, [POWER], dump_bytes=1 << 30)
