"""Bugchecks in a vmware.log: lines as Broadcom's articles 427504 and 417490 show them, and damaged ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from hypothesis import given
from hypothesis import strategies as st

from lab.machines.vsphere.crashes import logged
from lab.model import Bugcheck

LATER = datetime(2030, 1, 1, tzinfo=UTC)
AT = datetime(2025, 3, 4, 5, 6, 7, 123000, UTC)

# 427504, with a time in place of its YYYY-MM-DD
OLDER = """\
2025-03-04T05:06:07.123Z vcpu-0 - WinBSOD: Synthetic MSR[0x40000100] 0x80
2025-03-04T05:06:07.123Z vcpu-0 - WinBSOD: Synthetic MSR[0x40000101] 0x4f4454
2025-03-04T05:06:07.123Z vcpu-0 - WinBSOD: Synthetic MSR[0x40000102] 0x0
2025-03-04T05:06:07.123Z vcpu-0 - WinBSOD: Synthetic MSR[0x40000103] 0x0
2025-03-04T05:06:07.123Z vcpu-0 - WinBSOD: Synthetic MSR[0x40000104] 0x0
"""

# 417490, likewise
NEWER = """\
2025-03-04T05:06:07 Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000100] 0x5c
2025-03-04T05:06:07 Wa(03)+ vcpu-1 -
2025-03-04T05:06:07 Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000101] 0x115
2025-03-04T05:06:07 Wa(03)+ vcpu-1 -
2025-03-04T05:06:07 Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000102] 0xfffff7cb40015d10
2025-03-04T05:06:07 Wa(03)+ vcpu-1 -
2025-03-04T05:06:07 Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000103] 0x14555
2025-03-04T05:06:07 Wa(03)+ vcpu-1 -
2025-03-04T05:06:07 Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000104] 0xffffffffc0000001
"""

# the style of logs before ESXi 7, which is that of VMware Workstation
OLDEST = OLDER.replace("Z vcpu-0 - ", "+08:00| vcpu-0| I125: ")


def seen(text: str) -> list[tuple[datetime, Bugcheck]]:
    return [(each.at, each.bugcheck) for each in logged(text.splitlines(), LATER)]


def test_the_three_styles() -> None:
    nmi = Bugcheck(0x80, (0x4F4454, 0, 0, 0))
    assert seen(OLDER) == [(AT, nmi)]
    assert seen(OLDEST) == [(AT.replace(tzinfo=timezone(timedelta(hours=8))), nmi)]
    timer = Bugcheck(0x5C, (0x115, 0xFFFFF7CB40015D10, 0x14555, 0xFFFFFFFFC0000001))
    assert seen(NEWER) == [(AT.replace(microsecond=0), timer)]


def test_two_bugchecks_are_two() -> None:
    again = OLDER.replace("05:06:07", "05:30:00").replace(" 0x80", " 0xd1")
    assert [stop.code for _, stop in seen(OLDER + "2025-03-04T05:07:00Z vmx - reset\n" + again)] == [
        0x80,
        0xD1,
    ]
    at_once = seen(OLDER + OLDER.replace(" 0x80", " 0xd1"))
    assert [stop.code for _, stop in at_once] == [0x80, 0xD1]


def test_other_lines_between_do_not_matter() -> None:
    noise = "2025-03-04T05:06:07.123Z In(05) vcpu-0 - CPU reset: hard (mode Emulation)\n"
    assert seen("".join(line + noise for line in OLDER.splitlines(keepends=True))) == seen(OLDER)


def test_registers_may_come_in_another_order() -> None:
    assert seen("".join(reversed(OLDER.splitlines(keepends=True)))) == seen(OLDER)


def test_a_log_that_was_cut_off_says_what_is_missing() -> None:
    first = OLDER.splitlines()[:2]
    (found,) = logged(first, LATER)
    assert found.bugcheck == Bugcheck(0x80, (0x4F4454, 0, 0, 0)) and found.missing == 3


def test_parameters_without_a_code_are_no_bugcheck() -> None:
    assert seen("\n".join(OLDER.splitlines()[1:])) == []
    later = OLDER.replace("05:06:07", "05:06:30")
    assert [at for at, _ in seen("\n".join(OLDER.splitlines()[1:]) + "\n" + later)] == [AT.replace(second=30)]


def test_a_code_of_zero_is_no_bugcheck() -> None:
    assert seen(OLDER.replace(" 0x80", " 0x0")) == []


@pytest.mark.parametrize(
    "line",
    [
        "WinBSOD: Synthetic MSR[0x40000100] 0x80",
        "2025-03-04T99:06:07Z WinBSOD: Synthetic MSR[0x40000100] 0x80",
        "WinBSOD: Synthetic MSR [0x40000100]: 80",
        "WinBSOD: Synthetic MSR[0x40000100]:=0x80 trailing",
    ],
)
def test_lines_a_little_off_are_read(line: str) -> None:
    assert seen(line) == [(LATER, Bugcheck(0x80))]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "WinBSOD: Synthetic MSR[0x40000105] 0x80",  # the register that says that it is done
        "WinBSOD: Synthetic MSR[0x40000100]",
        "WinBSOD: Synthetic MSR[0x40000100] 0xg",
        "WinBSOD: Synthetic MSR[0x40000100] 0x11112222333344445",  # no register is so wide
        "SetMSR: unknown MSR[0x40000100] 0x80",
    ],
)
def test_other_lines_are_not(line: str) -> None:
    assert seen(line) == []


@given(st.lists(st.sampled_from([*OLDER.splitlines(), *NEWER.splitlines()]) | st.text()))
def test_nothing_in_a_log_is_an_error(lines: list[str]) -> None:
    for found in logged(lines, LATER):
        assert found.bugcheck.code and 0 <= found.missing <= 4 and found.at.tzinfo is not None
