"""I/O request packets: their stack locations, and what they ask for."""

from __future__ import annotations

import kernel_bytes as kb
import pytest

from lab.kernel.irp import is_irp, major_name, read_irp
from lab.model import DumpError

IRP, FILE, THREAD = kb.POOL + 0x30000, kb.POOL + 0x31000, kb.POOL + 0x32000
LOW, MIDDLE, HIGH = kb.POOL + 0x60, kb.POOL + 0x1060, kb.POOL + 0x2060


def memory(**kind: int) -> kb.Bytes:
    found = kb.Bytes()
    kb.file_object(found, FILE, r"\Shares\data\report.bin", HIGH)
    kb.irp(found, IRP, [LOW, MIDDLE, HIGH], file=FILE, thread=THREAD, **{"current": 2, **kind})
    return found


def test_a_read_on_its_way() -> None:
    kernel = kb.kernel(memory())
    irp = read_irp(kernel, IRP)
    assert (irp.thread, irp.stack_count, irp.current_location) == (THREAD, 3, 2)
    assert [each.device for each in irp.locations] == [LOW, MIDDLE, HIGH]
    current = irp.current
    assert current is not None
    assert (current.device, current.function, current.file_name) == (
        MIDDLE,
        "IRP_MJ_READ",
        r"\Shares\data\report.bin",
    )
    (reading,) = kernel.readings
    assert "CurrentStackLocation is where CurrentLocation says" in reading.checks


def test_power_irps_say_which() -> None:
    irp = read_irp(kb.kernel(memory(major=22, minor=2)), IRP)
    assert irp.current is not None
    assert irp.current.function == "IRP_MJ_POWER, IRP_MN_SET_POWER"


@pytest.mark.parametrize("current", [4, 5])
def test_one_that_was_not_sent_yet_or_is_completed_is_with_nobody(current: int) -> None:
    """IoCompleteRequest leaves CurrentLocation two beyond the stack; 0x44 is a second call."""
    irp = read_irp(kb.kernel(memory(current=current)), IRP)
    assert irp.current is None
    assert len(irp.locations) == 3


@pytest.mark.parametrize(("count", "current"), [(0, 0), (-1, 1), (3, 6), (3, -1)])
def test_impossible_locations_are_no_irp(count: int, current: int) -> None:
    found = memory()
    found.put(IRP + 0x42, bytes((count & 0xFF, current & 0xFF)))
    with pytest.raises(DumpError, match="no IRP"):
        read_irp(kb.kernel(found), IRP)


def test_what_is_no_irp_is_refused() -> None:
    kernel = kb.kernel(memory())
    assert is_irp(kernel, IRP)
    assert not is_irp(kernel, FILE)
    assert not is_irp(kernel, 0x1000)
    for address in (FILE, 0, 0x1000, IRP + 1):
        with pytest.raises(DumpError):
            read_irp(kernel, address)


def test_locations_outside_the_dump_are_left_out() -> None:
    found = memory()
    for address in range(IRP + 0xD0 + 0x48, IRP + 0xD0 + 0x90):
        del found.cells[address]
    irp = read_irp(kb.kernel(found), IRP)
    assert [each.index for each in irp.locations] == [1, 3]
    assert irp.current is None


@pytest.mark.parametrize(
    ("major", "name"),
    [(0, "IRP_MJ_CREATE"), (3, "IRP_MJ_READ"), (27, "IRP_MJ_PNP"), (28, "0x1c"), (255, "0xff")],
)
def test_major_functions_by_name(major: int, name: str) -> None:
    assert major_name(major) == name
