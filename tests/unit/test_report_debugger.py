"""Forms of the debugger, held against what it prints itself (Microsoft's debugger reference and blogs)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import report_samples as samples

from lab.model import ExceptionRecord, Frame, IrpLogEntry, ProcessFacts, ThreadSummary, VerifierFacts
from lab.report import words
from lab.report.cleaned import cleaned
from lab.report.data import render_triage
from lab.report.debugger import devices, exception, memory, modules, stack, threads, verifier, version


def test_devstack() -> None:
    found = [(0xFFFFFA804A3B0060, r"\FileSystem\FltMgr"), (0xFFFFFA804A3B1030, ""), (1, r"\Driver\volsnap")]
    assert list(devices.devstack(found, found[0][0])) == [
        "  !DevObj           !DrvObj",
        r"> fffffa804a3b0060  \FileSystem\FltMgr",
        "  fffffa804a3b1030  (name not in the dump)",
        r"  0000000000000001  \Driver\volsnap",
    ]


def test_dq_and_db() -> None:
    data = (0xFFFFFA804A3B0060).to_bytes(8, "little") + b"BadDriver.sys"
    assert list(memory.dq(0xFFFFFA804B729830, data)) == [
        "fffffa80`4b729830  fffffa80`4a3b0060 65766972`44646142"
    ]
    assert list(memory.db(0xFFFFFA804B729830, data)) == [
        "fffffa80`4b729830  60 00 3b 4a 80 fa ff ff-42 61 64 44 72 69 76 65  `.;J....BadDrive",
        "fffffa80`4b729840  72 2e 73 79 73         -                         r.sys",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 days 0:00:00.000"),
        (93784.25, "1 day 2:03:04.250"),
        (0.9996, "0 days 0:00:00.000"),
        (3 * 86400.0, "3 days 0:00:00.000"),
    ],
)
def test_uptime(seconds: float, text: str) -> None:
    assert version.uptime(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0x4A5BC11F, "Mon Jul 13 23:19:59 2009 (4A5BC11F)"), (0, "(00000000)"), (0xC6A8B5F3, "(C6A8B5F3)")],
)
def test_timestamps_that_are_times_and_those_that_are_hashes(value: int, text: str) -> None:
    assert modules.timestamp(value) == text


def test_registers_of_a_frame() -> None:
    frame = Frame(
        2, 0xFFFFF88005DB1B50, 0, 0xFFFFF80001B66B4E, "", "", "unwound", "", (("rbx", 1), ("r12", 2))
    )
    assert list(stack.frame_registers(frame)) == [
        "   rip=fffff80001b66b4e rsp=fffff88005db1b50 rbx=0000000000000001",
        "   r12=0000000000000002",
    ]


def test_what_a_context_has_in_full_is_told_once() -> None:
    frame = Frame(
        0, 0x10, 0, 0x20, "", "", "context", "", (("rax", 1), ("rsp", 0x10), ("r15", 2), ("rip", 0x20))
    )
    assert list(stack.frame_registers(frame)) == [
        "   rip=0000000000000020 rsp=0000000000000010 rax=0000000000000001",
        "   r15=0000000000000002",
    ]


def test_the_exception_record() -> None:
    found = ExceptionRecord(
        0xC0000005, "STATUS_ACCESS_VIOLATION", 0xFFFFF88001000004, "BadDriver+0x4", "here", 0, (1, 0x10)
    )
    assert list(exception.record(found)) == [
        "ExceptionAddress: fffff88001000004 (BadDriver+0x4)",
        "   ExceptionCode: c0000005 (STATUS_ACCESS_VIOLATION)",
        "  ExceptionFlags: 00000000",
        "NumberParameters: 2",
        "   Parameter[0]: 0000000000000001",
        "   Parameter[1]: 0000000000000010",
        "Attempt to write to address 0000000000000010",
    ]
    assert replace(found, parameters=(0, 16)).attempt == "Attempt to read from address 0000000000000010"
    assert "execute" in replace(found, parameters=(8, 16)).attempt
    assert replace(found, parameters=(5, 16)).attempt == replace(found, code=0xC0000094).attempt == ""
    unknown = list(exception.record(ExceptionRecord(0xE0000001, "", 0x10, "0x10", "parameters")))
    assert unknown == ["ExceptionAddress: 0000000000000010 (0x10)", "   ExceptionCode: e0000001"]


@pytest.mark.parametrize(
    ("eflags", "text"),
    [
        (0x246, "iopl=0  nv up ei pl zr na pe nc"),
        (0x10286, "iopl=0  nv up ei ng nz na pe nc"),
        (0x3C91, "iopl=3  ov dn di ng nz ac po cy"),
    ],
)
def test_the_flags_by_their_names(eflags: int, text: str) -> None:
    assert exception.flags(eflags) == text


def test_processes_with_their_threads() -> None:
    clean = ThreadSummary(0xFFFFFA8049F04B50, "4.998", "WAIT", "srv2!SrvProcWorkerThread", 0, 0)
    left = replace(clean, address=0xFFFFFA804B5BE040, cid="4.82c", state="RUNNING", kernel_apc_disable=-1)
    process = ProcessFacts(0xFFFFFA8048CAD9E0, 4, "System", 0x187000, (clean, left))
    lines = list(threads.processes([process]))
    assert lines[:4] == [
        "**** NT ACTIVE PROCESS DUMP ****",
        "PROCESS fffffa8048cad9e0",
        "    Cid: 0004    DirBase: 00187000",
        "    Image: System",
    ]
    assert "        THREAD fffffa8049f04b50  Cid 0004.0998  WAIT" in lines
    assert "            KernelApcDisable -1 (ffff)  SpecialApcDisable 0 (0000)" in lines
    only = list(threads.processes([process], only_disabled=True))
    assert not any("fffffa8049f04b50" in line for line in only)
    assert only[-1] == "1 of 2 threads have APC disable counts that are not zero."


def test_the_irp_log_of_one_thread() -> None:
    log = tuple(IrpLogEntry(0x1000 + i, i % 2, 0, -i, 0, "srv2.sys", ("nt!A+0x1",)) for i in range(4))
    lines = list(verifier.irp_log(log, thread=1))
    assert lines[0] == "IRP log: 4 entries, 2 by thread 0000000000000001"
    assert "IRP 0000000000001001, Thread 0000000000000001, IRQL = 0" in lines
    assert "KernelApcDisable = -3 (fffd), SpecialApcDisable = 0 (0000)" in lines
    assert next(verifier.irp_log(())).startswith("The IRP log holds no entries")


def test_a_log_that_was_not_kept_says_why() -> None:
    assert "0x800" in next(verifier.region_log(VerifierFacts(0x10, (), (), False, 0)))
    assert next(verifier.settings(VerifierFacts(0, (), (), False, 0))).endswith("Driver Verifier is off")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("BadDriver.sys", "BadDriver.sys"),
        ("a\nb\tc", "a\\u000ab\\u0009c"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\u202egnp.sys", "\\u202egnp.sys"),
        ("ü.sys", "ü.sys"),
    ],
)
def test_a_name_stays_on_its_line(text: str, shown: str) -> None:
    assert words.line(text) == shown


def test_cleaning_reaches_every_text_and_copies_nothing_that_is_clean() -> None:
    triage = samples.full_triage()
    assert cleaned(triage, words.line) is triage
    dirty = cleaned(triage, lambda text: f"{text}\n")
    assert "\n" not in json.dumps(json.loads(render_triage(cleaned(dirty, words.line))))
    assert cleaned(dirty, words.line).modules[0].name == f"{triage.modules[0].name}\\u000a"


def test_no_number_of_a_triage_is_rounded_by_javascript() -> None:
    text = render_triage(samples.full_triage())
    assert text.isascii()
    exact = json.loads(text)
    as_doubles = json.loads(text, parse_int=lambda digits: int(float(digits)))
    assert as_doubles == exact
    assert exact["dispatch"]["device_stack"][0] == ["0xfffffa804a3b0060", r"\FileSystem\FltMgr"]
    assert exact["stack"][3]["registers"][0] == ["rbx", "0xfffffa804b729790"]
    assert exact["thread"]["kernel_apc_disable"] == -1
    assert exact["verifier"]["level"] == "0x810"
