"""Signatures carry no addresses, and compare across builds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from analysis_facts import GONE, base, dispatch_crash, exit_crash, fault, frames, stop, thread, unloaded
from hypothesis import given
from hypothesis import strategies as st

from lab.analysis.facts import Facts, RequestFacts, TrapFacts, function
from lab.analysis.signature import DEPTH, place_at_fault, plain, signature, signature_of
from lab.model import Bugcheck, Relation, Signature, compare
from lab.model.relation import APC_FAMILY, EXCEPTIONS, POOL_FAMILY, TOUCHES

BAD = base("BadDriver.sys") + 0x10
NT = base("ntoskrnl.exe") + 0x10


def test_functions_without_offsets() -> None:
    assert function("nt!VfAfterCallDriver+0x33e") == "nt!VfAfterCallDriver"
    assert function("nt!PspExitThread+0xffffffff`fffe3ae9") == "nt!PspExitThread"
    assert function("srv2!SrvProcWorkerThread(0xfffff88003c4b400)") == "srv2!SrvProcWorkerThread"
    assert function("BadDriver+0x12") == "BadDriver"


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("Bad!Read$filt$0+0x4", "Bad!Read"),
        ("Bad!Read$fin$1", "Bad!Read"),
        ("Bad!Read.cold+0x1", "Bad!Read"),
        ("Bad!Read.part.0.cold", "Bad!Read"),
        ("nt!KxStartSystemThread+0x16", "nt!KiStartSystemThread"),
        ("nt!memmove+0x40", "nt!memcpy"),
    ],
)
def test_a_function_is_one_function_however_it_was_split(symbol: str, name: str) -> None:
    assert plain(symbol) == name


def test_the_exit_crash() -> None:
    found = signature_of(exit_crash())
    assert found == Signature(
        0x20, 0, "srv2!SrvProcWorkerThread", ("nt!PspExitThread", "srv2!SrvProcWorkerThread")
    )
    assert compare(found, found) is Relation.SAME


def test_verifiers_view_of_it_is_a_sibling() -> None:
    verified = signature_of(dispatch_crash("fltmgr.sys"))
    assert (verified.sub_code, verified.fault) == (0xC5, "")
    assert compare(signature_of(exit_crash()), verified) is Relation.SIBLING


def test_a_start_address_without_symbol_does_not_separate() -> None:
    bare = signature(Bugcheck(0x20, (0, 0xFFFF, 0, 1)), thread(start="srv2+0xb400"), ())
    assert bare.thread_start == ""
    assert compare(signature_of(exit_crash()), bare) is Relation.SAME


def test_another_start_routine_does() -> None:
    other = signature(Bugcheck(0x20, (0, 0xFFFF, 0, 1)), thread(start="nt!ExpWorkerThread"), ())
    assert compare(signature_of(exit_crash()), other) is Relation.SIBLING, "of the same family, still"
    first = signature(Bugcheck(0x3D), thread(start="nt!A"), ())
    assert compare(first, signature(Bugcheck(0x3D), thread(start="nt!B"), ())) is Relation.OTHER


def test_depth_nameless_frames_and_handlers_of_exceptions() -> None:
    stack = frames("0xfffff88001234567", "nt!KiPageFault+0x1", *(f"nt!F{i}" for i in range(40)))
    found = signature(Bugcheck(0x50), None, stack)
    assert found.functions[0] == "nt!F0"
    assert len(found.functions) == DEPTH
    assert found.thread_start == ""


class TestPlaceAtFault:
    def test_by_the_frame_that_holds_the_instruction(self) -> None:
        facts = fault(0x7E, (0xC0000005, BAD, 0, 0), "BadDriver!Read+0x10")
        facts = replace(facts, stack=(replace(facts.stack[0], instruction=BAD),))
        assert place_at_fault(facts) == "BadDriver!Read"

    def test_by_the_module_where_there_are_no_names(self) -> None:
        assert place_at_fault(fault(0x7E, (0xC0000005, BAD, 0, 0))) == "BadDriver"
        assert place_at_fault(fault(0xD1, (0, 2, 0, NT))) == "nt"
        gone = replace(fault(0xD1, (0, 2, 0, GONE)), unloaded=(unloaded("Gone.sys"),))
        assert place_at_fault(gone) == "Gone"

    def test_by_the_trap_frame(self) -> None:
        facts = replace(stop(0x139, (3, 1, 2, 0)), trap=TrapFacts(BAD, "BadDriver!Unlink+0x1", "trap"))
        assert place_at_fault(facts) == "BadDriver!Unlink"

    def test_of_a_violation_without_a_driver_it_is_the_caller(self) -> None:
        assert place_at_fault(stop(0xC4, (0x3E, 0, 0, 0), "nt!VerifierX+0x1", "BadDriver!Read+0x1")) == (
            "BadDriver!Read"
        )

    def test_by_what_the_parameters_name(self) -> None:
        leaked = replace(stop(0xC4, (0x62, 0x5000, 0, 3)), texts={0x5000: "BadDriver.sys"})
        assert place_at_fault(leaked) == "BadDriver"
        assert place_at_fault(stop(0x116, (0, BAD, 0, 0))) == "BadDriver"
        assert place_at_fault(stop(0xC9, (0x226, BAD, 0, 0), "nt!X+0x1", "Ntfs!NtfsRead+0x1")) == "BadDriver"
        gone = replace(stop(0xCE, (GONE, 0, 0, 0)), unloaded=(unloaded("Gone.sys"),))
        assert place_at_fault(gone) == "Gone"
        held = {0x8000: RequestFacts(0x8000, 22, 2, 1, "BadDriver.sys")}
        assert place_at_fault(replace(stop(0x9F, (3, 0, 0, 0x8000)), requests=held)) == "BadDriver"
        assert place_at_fault(stop(0x9F, (3, 0, 0, 0x8000))) == ""

    def test_damaged_pool_and_apc_counts_have_none(self) -> None:
        assert place_at_fault(stop(0x19, (0x20, 0, 0, 0), "nt!ExFreePool+0x1", "BadDriver+0x1")) == ""
        assert place_at_fault(exit_crash()) == ""


def at(code: int, place: str, *functions: str, kind: int = 0, start: str = "") -> Signature:
    return Signature(code, kind, start, functions or (place,), place)


class TestSamePlace:
    def test_the_same_function_is_the_same_crash_on_any_thread_and_stack(self) -> None:
        first = at(0xD1, "Bad!Read", "Bad!Read", "nt!A", start="nt!X")
        second = at(0xD1, "Bad!Read", "Bad!Read", "nt!B", start="nt!Y")
        assert compare(first, second) is Relation.SAME
        assert compare(first, at(0xD1, "Bad!Write")) is Relation.OTHER
        assert compare(first, at(0xD1, "Other!Read")) is Relation.OTHER

    def test_without_names_the_module_must_do(self) -> None:
        assert compare(at(0xD1, "Bad!Read"), at(0xD1, "bad")) is Relation.SAME
        assert compare(at(0xD1, "Bad!Read"), at(0xD1, "other")) is Relation.OTHER

    def test_a_function_compiled_into_its_caller_is_the_same_place(self) -> None:
        apart = at(0xD1, "Bad!Helper", "Bad!Helper", "Bad!Read", "nt!A")
        inlined = at(0xD1, "Bad!Read", "Bad!Read", "nt!A")
        assert compare(apart, inlined) is compare(inlined, apart) is Relation.SAME

    def test_in_the_kernel_the_caller_must_agree_too(self) -> None:
        first = at(0xA, "nt!memcpy", "nt!memcpy", "Bad!Read")
        assert compare(first, at(0xA, "nt!memcpy", "nt!memcpy", "bad")) is Relation.SAME
        assert compare(first, at(0xA, "nt!memcpy", "nt!memcpy", "Other!Read")) is Relation.OTHER

    @pytest.mark.parametrize(("one", "other"), [(0xA, 0xD1), (0x50, 0xD1), (0xD5, 0x50)])
    def test_the_same_bad_access_under_another_code(self, one: int, other: int) -> None:
        assert compare(at(one, "Bad!Read"), at(other, "Bad!Read")) is Relation.SIBLING
        assert compare(at(one, "Bad!Read"), at(other, "Bad!Write")) is Relation.OTHER
        assert compare(at(one, "Bad!Read"), at(other, "")) is Relation.OTHER, (
            "an unknown place proves nothing"
        )

    @pytest.mark.parametrize(("one", "other"), [(0x1E, 0x7E), (0x7E, 0x1000007E), (0x3B, 0x8E)])
    def test_the_same_exception_caught_by_another(self, one: int, other: int) -> None:
        first = at(one, "Bad!Read", kind=0xC0000005)
        assert compare(first, at(other, "Bad!Read", kind=0xC0000005)) is Relation.SIBLING
        assert compare(first, at(other, "Bad!Read", kind=0x80000003)) is Relation.OTHER

    def test_an_access_violation_may_show_as_a_page_fault(self) -> None:
        first = at(0x7E, "Bad!Read", kind=0xC0000005)
        assert compare(first, at(0x50, "Bad!Read")) is Relation.SIBLING
        assert compare(at(0x7E, "Bad!Read", kind=0xC0000094), at(0x50, "Bad!Read")) is Relation.OTHER

    @pytest.mark.parametrize("code", sorted(POOL_FAMILY))
    def test_damaged_pool_shows_in_many_ways(self, code: int) -> None:
        assert compare(Signature(0x19, 0x20, "nt!A", ("nt!ExFreePool",)), Signature(code, 7, "nt!B", ())) in (
            Relation.SIBLING,
            Relation.SAME,
        )
        verified = Signature(0xC4, 0x13A, "", ())
        assert compare(verified, Signature(code, 7, "nt!B", ())) is Relation.SIBLING

    def test_violations_by_different_drivers_are_different(self) -> None:
        first = at(0xC4, "Bad!Read", kind=0x32)
        assert compare(first, at(0xC4, "bad", kind=0x32)) is Relation.SAME
        assert compare(first, at(0xC4, "Other!Read", kind=0x32)) is Relation.OTHER
        assert compare(first, at(0xC4, "Bad!Read", kind=0x33)) is Relation.OTHER

    def test_a_code_alone_expects_any_kind(self) -> None:
        asked = Signature(0xC4, 0, "", ())
        assert compare(asked, at(0xC4, "Bad!Read", kind=0x32)) is Relation.SAME
        assert compare(Signature(0xC4, 0, "", ("nt!A",)), at(0xC4, "", kind=0x32)) is Relation.OTHER

    def test_an_older_signature_of_an_exception_has_no_status(self) -> None:
        old = Signature(0x7E, 0, "nt!A", ("Bad!Read",))
        assert compare(old, at(0x7E, "Bad!Read", kind=0xC0000005, start="nt!A")) is Relation.SAME


CODES = sorted(
    {code for code, _ in APC_FAMILY} | POOL_FAMILY | EXCEPTIONS | TOUCHES | {0x139, 0x9F, 0x80, 0xE2}
)
NAMES = ["", "bad", "Bad!Read", "Bad!Write", "nt!memcpy", "nt", "Other!Read"]
SIGNATURES = st.builds(
    Signature,
    code=st.sampled_from(CODES),
    sub_code=st.sampled_from([0, 3, 0xF, 0x3E, 0xC5, 0xC0000005, 0x80000003]),
    thread_start=st.sampled_from(["", "nt!A", "srv2!B"]),
    functions=st.lists(st.sampled_from(NAMES[1:]), max_size=4).map(tuple),
    fault=st.sampled_from(NAMES),
)


@given(SIGNATURES)
def test_every_crash_is_the_same_as_itself_unless_it_is_ours(crash: Signature) -> None:
    assert compare(crash, crash) is (Relation.OURS if crash.code in (0x80, 0xE2) else Relation.SAME)


@given(SIGNATURES, SIGNATURES)
def test_same_and_sibling_hold_both_ways(one: Signature, other: Signature) -> None:
    if Relation.OURS not in (compare(one, other), compare(other, one)):
        assert compare(one, other) is compare(other, one)


@given(SIGNATURES, SIGNATURES)
def test_ours_dominates(expected: Signature, seen: Signature) -> None:
    assert (compare(expected, seen) is Relation.OURS) == (seen.code in (0x80, 0xE2))


@given(SIGNATURES)
def test_knowing_less_never_separates(crash: Signature) -> None:
    for less in (replace(crash, thread_start=""), replace(crash, fault="")):
        if crash.code not in (0x80, 0xE2):
            assert compare(crash, less) in (Relation.SAME, Relation.SIBLING)


def test_a_signature_needs_no_dump() -> None:
    facts = Facts(Bugcheck(0xC4, (0xC5, BAD, 0xFFFF, 0)), ())
    assert signature_of(facts) == Signature(0xC4, 0xC5, "", ())
