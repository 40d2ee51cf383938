"""Signatures carry no addresses, and compare across builds."""

from __future__ import annotations

from analysis_facts import dispatch_crash, exit_crash, frames, thread

from lab.analysis.facts import Facts, function
from lab.analysis.signature import DEPTH, signature
from lab.model import Bugcheck, Relation, Signature, compare


def of(facts: Facts) -> Signature:
    return signature(facts.bugcheck, facts.thread, facts.stack)


def test_functions_without_offsets() -> None:
    assert function("nt!VfAfterCallDriver+0x33e") == "nt!VfAfterCallDriver"
    assert function("nt!PspExitThread+0xffffffff`fffe3ae9") == "nt!PspExitThread"
    assert function("srv2!SrvProcWorkerThread(0xfffff88003c4b400)") == "srv2!SrvProcWorkerThread"
    assert function("BadDriver+0x12") == "BadDriver"


def test_the_exit_crash() -> None:
    found = of(exit_crash())
    assert found == Signature(
        0x20, 0, "srv2!SrvProcWorkerThread", ("nt!PspExitThread", "srv2!SrvProcWorkerThread")
    )
    assert compare(found, found) is Relation.SAME


def test_verifiers_view_of_it_is_a_sibling() -> None:
    verified = of(dispatch_crash("fltmgr.sys"))
    assert verified.sub_code == 0xC5
    assert compare(of(exit_crash()), verified) is Relation.SIBLING


def test_a_start_address_without_symbol_does_not_separate() -> None:
    bare = signature(Bugcheck(0x20, (0, 0xFFFF, 0, 1)), thread(start="srv2+0xb400"), ())
    assert bare.thread_start == ""
    assert compare(of(exit_crash()), bare) is Relation.SAME


def test_depth_and_nameless_frames() -> None:
    stack = frames("0xfffff88001234567", *(f"nt!F{i}" for i in range(40)))
    found = signature(Bugcheck(0x50), None, stack)
    assert found.functions[0] == "nt!F0"
    assert len(found.functions) == DEPTH
    assert found.thread_start == ""
