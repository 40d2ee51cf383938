"""Dumps of which nothing but the header can be read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from cli_runs import Dumps, write

from lab.analysis import triage
from lab.dumps.source import BytesSource
from lab.model import Bugcheck, DumpError, Triage
from lab.model.bugcheck import IMAGER
from lab.report import bugchecks
from lab.report.data import render_triage
from lab.report.triage_html import render_triage_html
from lab.report.triage_text import render

IMAGED = Path(__file__).parents[2].parent / "shared" / "data" / "kernel-dumps" / "imhex-dmp64-header-16k.bin"
MOON, SOLS = (int.from_bytes(mark, "little") for mark in (b"MOON", b"SOLS"))


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    return write(tmp_path_factory.mktemp("dumps"))


def _of(data: bytes) -> Triage:
    return triage(BytesSource(data), name="half.dmp", allow_incomplete=True)


def _shown(found: Triage) -> tuple[str, str, str]:
    return render(found), render_triage(found), render_triage_html(found)


def test_the_stop_and_the_registers_are_those_of_the_whole_dump(dumps: Dumps) -> None:
    data = dumps.dump.read_bytes()
    whole, found = triage(dumps.dump), _of(data[:0x4000])
    assert found.bugcheck == whole.bugcheck
    assert (found.signature.code, found.signature.sub_code) == (
        whole.signature.code,
        whole.signature.sub_code,
    )
    (frame,), first = found.stack, whole.stack[0]
    assert (frame.instruction, frame.child_sp) == (first.instruction, first.child_sp)
    assert first.registers and set(first.registers) <= set(frame.registers)
    assert frame.symbol == f"{first.instruction:#x}"
    assert found.modules == () and not found.dump.complete and found.dump.defects
    assert "No module of half.dmp can be read" in found.notes[0]
    assert all(_shown(found))


def test_without_leave_it_stays_an_error(dumps: Dumps) -> None:
    with pytest.raises(DumpError):
        triage(BytesSource(dumps.dump.read_bytes()[:0x4000]))


@pytest.mark.parametrize("size", [9, 0x340, 0x800, 0x1FFF, 0x2000])
def test_a_header_that_is_cut_itself(dumps: Dumps, size: int) -> None:
    found = _of(dumps.dump.read_bytes()[:size])
    assert len(found.stack) == (size >= 0x800)
    assert found.stack or any("registers could not be read" in note for note in found.notes)
    assert all(_shown(found))


def test_registers_that_contradict_themselves_are_not_shown(dumps: Dumps) -> None:
    data = bytearray(dumps.dump.read_bytes()[:0x4000])
    struct.pack_into("<I", data, 0x348 + 0x34, 0x12345678)  # MxCsr, which FltSave has once more
    found = _of(bytes(data))
    assert found.stack == ()
    assert any("no processor context" in note for note in found.notes)


def test_the_marks_of_a_memory_imager_are_no_stop() -> None:
    marks = Bugcheck(IMAGER, (MOON, SOLS, MOON, SOLS))
    assert IMAGER.to_bytes(4, "little") == b"MATT"
    assert marks.title == "no stop: written by a memory imager (5454414d)"
    assert "memory imager" in bugchecks.meaning(marks)
    assert [text for _, text in bugchecks.parameters(marks)] == [
        f'The imager\'s mark "{mark}"' for mark in ("MOON", "SOLS", "MOON", "SOLS")
    ]
    assert Bugcheck(IMAGER, (MOON, SOLS, 1, SOLS)).name == "UNKNOWN_BUGCHECK"


def test_a_real_header_of_a_memory_imager() -> None:
    if not IMAGED.is_file():
        pytest.skip(f"no test data at {IMAGED}")
    found = triage(IMAGED, allow_incomplete=True)
    assert found.bugcheck.imaged
    assert found.stack[0].instruction == 0xFFFFF8072AA9136D
    for shown in _shown(found)[::2]:
        assert "written by a memory imager" in shown and "UNKNOWN_BUGCHECK" not in shown
