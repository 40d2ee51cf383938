"""A real small dump of a real machine, against what its bytes say when read without any code of ours."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.analysis import triage
from lab.model import Origin, Triage
from lab.report.triage_text import render
from lab.symbols import symbol_store

SHARED = Path(__file__).parents[2].parent / "shared"
DUMP = SHARED / "data" / "kernel-dumps" / "rizin-triage_x64.dmp"

pytestmark = pytest.mark.skipif(not DUMP.is_file(), reason=f"no test data at {DUMP}")


@dataclass(frozen=True)
class Raw:
    """What struct alone reads from the file."""

    code: int
    parameters: tuple[int, ...]
    drivers: tuple[tuple[str, int, int], ...]  # (file name, base, size)


@pytest.fixture(scope="module")
def raw() -> Raw:
    data = DUMP.read_bytes()
    (code,) = struct.unpack_from("<I", data, 0x38)
    parameters = struct.unpack_from("<4Q", data, 0x40)
    first, count, pool = struct.unpack_from("<3I", data, 0x2000 + 0x30)
    stride = (pool - first) // count
    drivers = []
    for at in range(first, first + count * stride, stride):
        (name_at,) = struct.unpack_from("<I", data, at)
        (length,) = struct.unpack_from("<I", data, name_at)
        path = data[name_at + 4 : name_at + 4 + 2 * length].decode("utf-16-le")
        (base,) = struct.unpack_from("<Q", data, at + 0x38)
        (size,) = struct.unpack_from("<I", data, at + 0x48)
        drivers.append((path.rsplit("\\", 1)[-1], base, size))
    return Raw(code, parameters, tuple(drivers))


@pytest.fixture(scope="module")
def found() -> Triage:
    return triage(DUMP, symbol_store([SHARED / "data" / "isf"]))


def test_the_bugcheck(found: Triage, raw: Raw) -> None:
    assert found.bugcheck.code == raw.code == 0x1000007E
    assert found.bugcheck.parameters == raw.parameters
    assert found.bugcheck.title == "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M (1000007e)"


def test_the_drivers(found: Triage, raw: Raw) -> None:
    assert [(m.name, m.base, m.size) for m in found.modules] == list(raw.drivers)
    assert len(found.modules) == 151


def test_the_driver_that_holds_the_fault_address_is_the_suspect(found: Triage, raw: Raw) -> None:
    address = raw.parameters[1]
    (holder,) = (name for name, base, size in raw.drivers if base <= address < base + size)
    assert holder == "amdppm.sys"
    assert [s.image for s in found.suspects] == [holder]
    (fault,) = (e for e in found.evidence if e.rule == "fault.address")
    assert fault.points_to == (holder,)
    assert "amdppm.sys+0x334c" in fault.statement


def test_third_party_drivers_of_that_machine(found: Triage) -> None:
    third = {m.name.casefold() for m in found.third_party}
    made_elsewhere = {"npcap.sys", "vboxdrv.sys", "vmci.sys", "nvlddmkm.sys", "wintun.sys", "asio2.sys"}
    assert made_elsewhere <= third
    in_box = {
        "ntoskrnl.exe",
        "hal.dll",
        "fltmgr.sys",
        "ntfs.sys",
        "tcpip.sys",
        "wdfilter.sys",
        "dump_stornvme.sys",
    }
    assert not in_box & third
    assert {m.origin for m in found.modules if m.name.casefold() in in_box} == {Origin.IN_BOX}


def test_the_thread(found: Triage) -> None:
    thread = found.thread
    assert thread is not None
    assert (thread.process, thread.start) == ("System", "nt!ExpWorkerThread")
    assert thread.stack_limit < found.stack[0].child_sp < thread.stack_base
    assert found.stack[0].instruction == found.bugcheck.parameters[1]
    assert found.stack[0].symbol == "amdppm+0x334c"


def test_the_text(found: Triage) -> None:
    text = render(found)
    assert text.splitlines()[0] == found.bugcheck.title
    for line in (
        "Arg2: fffff8048b58334c, Address of the instruction that raised it",
        "00 ffff8504`29892120 fffff804`8b5a2e2c amdppm+0x334c",
        "  100%  amdppm.sys",
    ):
        assert line in text.splitlines(), line
    assert "151 drivers" in text


def test_unloaded_drivers_are_told_the_latest_last(found: Triage) -> None:
    """By what they are: microcode first of all, boot drivers, then one that goes when the system is up."""
    assert [u.name for u in found.unloaded] == ["mcupdate.dll", "hwpolicy.sys", "WdBoot.sys", "dam.sys"]
