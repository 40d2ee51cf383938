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


def test_the_exception_and_its_registers(found: Triage) -> None:
    """The record as the file has it, at the address in parameter 3; the context at that in parameter 4."""
    code, address = found.bugcheck.parameters[:2]
    data = DUMP.read_bytes()
    at = data.index(struct.pack("<IIQQ", code & 0xFFFFFFFF, 0, 0, address))
    (number,) = struct.unpack_from("<I", data, at + 0x18)
    record = found.exception
    assert record is not None
    assert (record.code, record.name) == (0xC0000005, "STATUS_ACCESS_VIOLATION")
    assert (record.address, record.symbol) == (address, "amdppm+0x334c")
    assert record.parameters == struct.unpack_from(f"<{number}Q", data, at + 0x20)
    assert record.attempt == "Attempt to write to address ffffffffffffffff"
    raw = data[at - 0x7C8 :]  # the two lie that far apart: parameter 3 less parameter 4
    assert found.bugcheck.parameters[2] - found.bugcheck.parameters[3] == 0x7C8
    names = [
        "rax",
        "rcx",
        "rdx",
        "rbx",
        "rsp",
        "rbp",
        "rsi",
        "rdi",
        "r8",
        "r9",
        "r10",
        "r11",
        "r12",
        "r13",
        "r14",
        "r15",
        "rip",
    ]
    values = dict(zip(names, struct.unpack_from("<17Q", raw, 0x78), strict=True))
    assert dict(record.registers) == {**values, "eflags": struct.unpack_from("<I", raw, 0x44)[0]}
    assert dict(found.stack[0].registers) == values
    assert not any({"rax", "rcx", "r8"} & dict(frame.registers).keys() for frame in found.stack[1:])
    assert f"rax={values['rax']:016x} rbx={values['rbx']:016x}" in render(found)


def test_symbols_of_the_kernel_are_wanted_where_its_names_lack() -> None:
    found = triage(DUMP)
    (kernel,) = found.wanted
    assert (kernel.module, kernel.pdb) == ("ntoskrnl.exe", "ntkrnlmp.pdb")
    assert kernel.key == "5278AFF86C341677D7D7835C85B7B8441"
    assert any("nt+0x" in frame.symbol for frame in found.stack)


def test_headers_that_are_missing_are_said_to_be(found: Triage) -> None:
    note = "The PDB ids of amdppm.sys, Wdf01000.sys are not in the dump: their headers are missing."
    assert note in found.notes
