"""The text of a triage reads like the debugger's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples as samples
from analysis_facts import THREAD, dispatch_crash, exit_crash, frames, instance, modules, verifier

from lab.analysis.facts import Facts
from lab.analysis.rules import apply
from lab.analysis.signature import signature
from lab.analysis.suspects import rank
from lab.model import DumpFacts, ExceptionRecord, Triage
from lab.report import words
from lab.report.triage_text import opening, render, rest

FILE = DumpFacts(
    "MEMORY.DMP",
    4096,
    2,
    "kernel (summary)",
    7601,
    "x64",
    2,
    "2012-01-01T00:00:00Z",
    93784.0,
    True,
    ("short",),
)


def triage(facts: Facts, *notes: str) -> Triage:
    evidence, said = apply(facts)
    return Triage(
        FILE,
        facts.bugcheck,
        facts.thread,
        facts.stack,
        modules(),
        signature(facts.bugcheck, facts.thread, facts.stack),
        facts.verifier,
        facts.dispatch,
        evidence,
        rank(facts, evidence),
        (*notes, *said),
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0xFFFFF88005DB1B08, "fffff880`05db1b08"), (0, "00000000`00000000")]
)
def test_addresses(value: int, text: str) -> None:
    assert words.address(value) == text


def test_the_exit_crash() -> None:
    noise = [(THREAD + 0x1000, way, "Suspect.sys") for way in ("enter", "leave")] * 64
    lines = render(triage(exit_crash(verifier(*noise)), "Something is missing.")).splitlines()
    assert lines[0] == "KERNEL_APC_PENDING_DURING_EXIT (20)"
    assert lines[1].startswith("A thread ended with an APC pending, or with APC disable counts")
    assert lines[4:8] == [
        "Arg1: 0000000000000000, Address of the APC found pending during exit, 0 if none",
        "Arg2: 000000000000ffff, The thread's APC disable count",
        "Arg3: 0000000000000000, Current IRQL",
        "Arg4: 0000000000000001, Reserved",
    ]
    for line in (
        "System:  Windows build 7601, x64, 2 processor(s)",
        "Time:    2012-01-01T00:00:00Z, up 1 day 2:03:04.000",
        "Warning: short",
        "THREAD fffffa804b5be040  Cid 0004.0998  Image: System",
        "Win32 Start Address srv2!SrvProcWorkerThread",
        "KernelApcDisable -1 (ffff)  SpecialApcDisable 0 (0000)",
        " # Child-SP          RetAddr           Call Site",
        "01 00000000`00000000 00000000`00000000 nt!PspExitThread+0x100",
        "Verify Level 800 ... enabled options are:",
        "There are up to 0x80 entries in the log, 128 are used.",
        "      Suspect.sys: 64 enter, 64 leave, on 1 thread(s)",
        "8 drivers, 3 not known to come with Windows:",
        "  100%  Suspect.sys",
        "  Something is missing.",
    ):
        assert line in lines, line


def test_the_verified_crash() -> None:
    facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys", reads=False))
    assert facts.dispatch is not None
    facts = replace(
        facts,
        dispatch=replace(
            facts.dispatch,
            checks=("+0x30 is the dispatch routine of parameter 2",),
            device_stack=(
                (0xFFFFFA804A3B0060, r"\FileSystem\FltMgr"),
                (0xFFFFFA804A3B1030, r"\FileSystem\Ntfs"),
            ),
        ),
    )
    lines = render(triage(facts)).splitlines()
    assert lines[0] == "DRIVER_VERIFIER_DETECTED_VIOLATION (c4)"
    for line in (
        "Arg1: 00000000000000c5, Thread APC disable count changed by a driver's dispatch routine",
        "Saved state fffffa80`4b729790 (rbx of frame 2)",
        "!devstack fffffa80`4a3b0060",
        r"> fffffa804a3b0060  \FileSystem\FltMgr",
        r"  fffffa804a3b1030  \FileSystem\Ntfs",
        r'FLT_VOLUME: fffffa804a3b0800 "\Device\HarddiskVolume3"',
        '      FLT_INSTANCE: fffffa804b5b1010 "BadDriver.sys Instance" "189600"  BadDriver.sys, third-party',
        '      FLT_INSTANCE: fffffa804b5b1010 "Other.sys Instance" "189600"  '
        "Other.sys, third-party, no READ callback",
        "  100%  BadDriver.sys",
    ):
        assert line in lines, line


def test_the_request_can_be_asked_for() -> None:
    facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"))
    assert facts.dispatch is not None
    text = render(triage(replace(facts, dispatch=replace(facts.dispatch, irp=0xFFFFFA804BA0DB80, major=3))))
    assert "      IRP fffffa80`4ba0db80, IRP_MJ_READ\n\nDispatch routine " in text
    assert "IRP fffff" not in render(triage(replace(facts, dispatch=replace(facts.dispatch, irp=0))))


def test_the_exception_comes_before_the_thread() -> None:
    found = replace(
        triage(exit_crash()),
        exception=ExceptionRecord(
            0xC0000005, "", 0x10, "x", "here", 0, (1, 2), (("rax", 7), ("eflags", 0x246)), "its CONTEXT"
        ),
    )
    head, _, behind = render(found).partition("THREAD ")
    assert "Attempt to write to address 0000000000000002" in head
    assert "Registers of the fault (its CONTEXT):\nrax=0000000000000007\niopl=0" in head
    assert "ExceptionAddress" not in behind


def test_counters_of_verified_drivers_are_left_to_the_dump_command() -> None:
    text = render(samples.full_triage())
    assert "Loaded of them:   BadDriver.sys\n" in text
    assert "PeakPagedBytes" not in text


def test_callbacks_are_told_of_the_request_that_was_sent() -> None:
    facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys", reads=False))
    assert facts.dispatch is not None
    text = render(triage(replace(facts, dispatch=replace(facts.dispatch, major=4))))
    assert "Other.sys, third-party, no WRITE callback" in text
    assert "READ" not in text.partition("Evidence:")[0].partition("!fltkd")[2]


def test_the_text_is_as_last_approved() -> None:
    """Set BUGCHECK_LAB_APPROVE=1 to write the file anew, then read the difference."""
    golden = Path(__file__).parents[1] / "golden" / "report" / "triage.txt"
    found = render(samples.full_triage())
    if os.environ.get("BUGCHECK_LAB_APPROVE"):
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_what_the_header_tells_comes_first_and_nothing_is_told_twice() -> None:
    full = samples.full_triage()
    text = render(full)
    head = opening(full.dump, full.bugcheck)
    assert text == f"{head}\n{rest(full)}"
    assert "Evidence:" not in head and full.bugcheck.title not in rest(full)


def test_guessed_frames_are_marked_and_explained_once() -> None:
    stack = tuple(replace(f, note="why") for f in frames("nt!A", "nt!B", how="scanned"))
    text = render(triage(replace(exit_crash(), stack=stack)))
    assert text.count("[scanned]") == 3
    assert text.count("(why)") == 1


def test_a_dump_that_says_nothing() -> None:
    facts = Facts(exit_crash().bugcheck, ())
    text = render(triage(facts))
    assert "Suspects: none in this dump." in text
    assert "None" not in text
