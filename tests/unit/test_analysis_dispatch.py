"""Routines that broke a rule, the minifilters behind the filter manager's, and verifier's logs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from analysis_facts import (
    GONE,
    THREAD,
    base,
    dispatch_crash,
    exit_crash,
    frames,
    instance,
    unloaded,
    verifier,
)

from lab.analysis.facts import Facts
from lab.analysis.rules import apply
from lab.analysis.rules.dispatch_routine import KINDS
from lab.analysis.rules.irp_log import departure
from lab.analysis.rules.minifilters import major_by_sender
from lab.analysis.suspects import rank
from lab.model import Bugcheck, Evidence, IrpLogEntry, Strength

OPEN_ENTER = (THREAD, "enter", "BadDriver.sys")


def evidence(facts: Facts) -> dict[str, Evidence]:
    return {each.rule: each for each in apply(facts)[0]}


def notes(facts: Facts) -> str:
    return " ".join(apply(facts)[1])


def suspects(facts: Facts) -> list[str]:
    return [s.image for s in rank(facts, apply(facts)[0])]


class TestRoutine:
    @pytest.mark.parametrize(("code", "number"), KINDS, ids=[kind.id for kind in KINDS.values()])
    def test_a_drivers_own_routine_is_proof(self, code: int, number: int) -> None:
        facts = replace(
            dispatch_crash("BadDriver.sys", found=False),
            bugcheck=Bugcheck(code, (number, base("BadDriver.sys") + 0x10, 0xFFFF, 0)),
        )
        said = evidence(facts)[f"{KINDS[code, number].id}.dispatch-routine"]
        assert (said.strength, said.points_to) == (Strength.PROOF, ("BadDriver.sys",))
        assert rank(facts, apply(facts)[0])[0].weight == 1

    @pytest.mark.parametrize(("code", "number"), KINDS, ids=[kind.id for kind in KINDS.values()])
    def test_a_routine_of_windows_accuses_nobody(self, code: int, number: int) -> None:
        facts = replace(
            dispatch_crash("Ntfs.sys", found=False),
            bugcheck=Bugcheck(code, (number, base("Ntfs.sys") + 0x10, 0xFFFF, 0)),
        )
        assert suspects(facts) == []
        assert "not suspected itself" in notes(facts)

    def test_a_librarys_routine_leads_to_the_driver_whose_device_was_called(self) -> None:
        """As with the driver framework, whose routine is in the driver object of every driver it serves."""
        facts = dispatch_crash("Ntfs.sys")
        assert facts.dispatch is not None
        served = replace(facts, dispatch=replace(facts.dispatch, image="BadDriver.sys"))
        said = evidence(served)["0xc4.c5.served-driver"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))
        guessed = replace(facts, dispatch=replace(facts.dispatch, address=0, image="BadDriver.sys"))
        windows_own = replace(facts, dispatch=replace(facts.dispatch, image="Ntfs.sys"))
        for other in (guessed, windows_own):
            assert suspects(other) == []
            assert "not suspected itself" in notes(other)

    def test_a_routine_of_an_unloaded_driver(self) -> None:
        facts = dispatch_crash("BadDriver.sys", found=False)
        facts = replace(
            facts, bugcheck=Bugcheck(0xC4, (0xC5, GONE + 8, 0xFFFF, 0)), unloaded=(unloaded("Gone.sys"),)
        )
        assert suspects(facts) == ["Gone.sys"]

    def test_a_routine_in_no_module(self) -> None:
        facts = replace(dispatch_crash("BadDriver.sys"), bugcheck=Bugcheck(0xC4, (0xC5, 0x1234, 0xFFFF, 0)))
        assert suspects(facts) == []
        assert "no loaded module" in notes(facts)

    @pytest.mark.parametrize(("now", "sense"), [(0xFFFF, "did not enable"), (1, "more often")])
    def test_the_sense_of_the_change(self, now: int, sense: str) -> None:
        facts = dispatch_crash("BadDriver.sys")
        _, routine, _, before = facts.bugcheck.parameters
        facts = replace(facts, bugcheck=Bugcheck(0xC4, (0xC5, routine, now, before)))
        assert sense in evidence(facts)["0xc4.c5.apc-count"].statement


class TestMinifilters:
    def test_the_only_one_is_strong(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("fltmgr.sys"))
        said = evidence(facts)["0xc4.c5.only-minifilter"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))
        assert "0xfffffa804b5b1010" in said.where

    def test_several_stay_a_set(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        said = evidence(facts)["0xc4.c5.minifilters"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys", "Other.sys"))
        assert [s.weight for s in rank(facts, apply(facts)[0])] == [0.5, 0.5]

    def test_what_it_did_is_what_the_stop_says(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        assert "changed the thread's APC disable count" in evidence(facts)["0xc4.c5.minifilters"].statement
        irql = Bugcheck(0xC9, (0x12, facts.bugcheck.parameters[1], 0, 2))
        said = evidence(replace(facts, bugcheck=irql))["0xc9.12.minifilters"].statement
        assert "changed the IRQL" in said

    def test_two_instances_of_one_driver_are_one_driver(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("BadDriver.sys"))
        assert evidence(facts)["0xc4.c5.only-minifilter"].points_to == ("BadDriver.sys",)

    def test_one_without_callback_for_the_request_is_cleared_weakly(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys", reads=False))
        said = evidence(facts)
        cleared = said["0xc4.c5.no-callback"]
        assert (cleared.clears, cleared.strength) == (("Other.sys",), Strength.WEAK)
        assert "IRP_MJ_READ" in cleared.statement
        assert cleared.where.endswith("[25]")
        only = said["0xc4.c5.only-minifilter"]
        assert (only.points_to, only.strength) == (("BadDriver.sys",), Strength.MODERATE)
        assert only.statement.endswith("that registered for IRP_MJ_READ."), "it is not the only one there"

    def test_the_irp_tells_the_request_better_than_the_callers_name(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys", reads=False))
        said = evidence(replace(facts, major=4))["0xc4.c5.no-callback"]
        assert "IRP_MJ_WRITE" in said.statement
        assert said.where.endswith("[26]")

    def test_of_an_unknown_request_nobody_is_cleared(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys", reads=False))
        facts = replace(facts, stack=frames("nt!KeBugCheckEx", "nt!IovCallDriver+0x1", "srv2+0x14000"))
        assert suspects(facts) == ["BadDriver.sys", "Other.sys"]

    def test_when_nobody_handles_it_the_callbacks_are_not_believed(self) -> None:
        facts = dispatch_crash(
            "fltmgr.sys", instance("BadDriver.sys", reads=False), instance("Other.sys", reads=False)
        )
        assert suspects(facts) == ["BadDriver.sys", "Other.sys"]

    def test_an_instance_without_image_keeps_the_set_open_and_its_altitude_hints(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance(""))
        assert evidence(facts)["0xc4.c5.minifilters"].points_to == ("BadDriver.sys",)
        assert "FSFilter HSM" in notes(facts)

    def test_only_windows_own_instances_accuse_nobody_and_say_what_to_do(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("fltmgr.sys"))
        assert suspects(facts) == []
        assert "0x800" in notes(facts)
        assert "No third-party minifilter" in notes(facts)

    def test_without_the_saved_state_any_volumes_minifilters_are_a_weak_set(self) -> None:
        facts = dispatch_crash("fltmgr.sys", found=False)
        assert suspects(facts) == []
        assert "Without verifier's saved state" in notes(facts)
        facts = replace(
            facts, elsewhere=(instance("BadDriver.sys"), instance("Other.sys"), instance("Ntfs.sys"))
        )
        said = evidence(facts)["0xc4.c5.minifilters-of-any-volume"]
        assert (said.strength, said.points_to) == (Strength.WEAK, ("BadDriver.sys", "Other.sys"))

    def test_one_that_is_attached_elsewhere_only_is_cleared_weakly(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"))
        facts = replace(facts, elsewhere=(instance("BadDriver.sys"), instance("Other.sys")))
        said = evidence(facts)["0xc4.c5.other-volumes"]
        assert (said.clears, said.strength) == (("Other.sys",), Strength.WEAK)
        assert suspects(facts) == ["BadDriver.sys"]

    def test_a_guessed_device_makes_it_weaker_and_clears_nobody(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"))
        assert facts.dispatch is not None
        guessed = replace(facts.dispatch, address=0)
        facts = replace(facts, dispatch=guessed, elsewhere=(instance("Other.sys"),))
        assert evidence(facts)["0xc4.c5.only-minifilter"].strength is Strength.MODERATE
        assert "0xc4.c5.other-volumes" not in evidence(facts)

    @pytest.mark.parametrize(
        ("sender", "major"),
        [("srv2!Smb2ExecuteRead+0x1", 3), ("srv2!Smb2ExecuteWrite+0x1", 4), ("srv2+0x1", None)],
    )
    def test_the_request_by_the_name_of_its_sender(self, sender: str, major: int | None) -> None:
        assert major_by_sender(frames("nt!VfAfterCallDriver+1", "nt!IovCallDriver+0x1", sender)) == major
        assert major_by_sender(frames("nt!KeBugCheckEx", sender)) is None


class TestLogs:
    def test_the_region_log_tells_several_minifilters_apart(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        facts = replace(facts, verifier=verifier(OPEN_ENTER))
        ranked = rank(facts, apply(facts)[0])
        assert [s.image for s in ranked] == ["BadDriver.sys", "Other.sys"]
        assert ranked[0].weight == pytest.approx(12 / 15)

    @pytest.mark.parametrize(
        ("before", "enters", "strength"),
        [(0, 1, Strength.STRONG), (-1, 1, Strength.WEAK), (-1, 2, Strength.STRONG)],
    )
    def test_who_was_inside_before_the_call_is_not_said_to_have_leaked(
        self, before: int, enters: int, strength: Strength
    ) -> None:
        """A driver above may call down from within a critical region, and leaves it afterwards."""
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        _, routine, _, _ = facts.bugcheck.parameters
        bugcheck = Bugcheck(0xC4, (0xC5, routine, before - 1 & 0xFFFF, before & 0xFFFF))
        facts = replace(facts, bugcheck=bugcheck, verifier=verifier(*[OPEN_ENTER] * enters))
        assert evidence(facts)["0xc4.c5.region-log.unbalanced-thread"].strength is strength

    def test_the_irp_log_is_read_from_the_count_before_the_call(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        _, routine, _, _ = facts.bugcheck.parameters
        log = irps((0, "Ntfs.sys"), (-1, "Other.sys"), (-1, "Ntfs.sys"), (-2, "BadDriver.sys"))
        facts = replace(
            facts,
            bugcheck=Bugcheck(0xC4, (0xC5, routine, 0xFFFE, 0xFFFF)),
            verifier=replace(verifier(), irp_log=log),
        )
        assert evidence(facts)["0xc4.c5.irp-log.bracket"].points_to == ("BadDriver.sys",)

    def test_a_positive_change_asks_for_extra_leaves(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        _, routine, _, before = facts.bugcheck.parameters
        facts = replace(
            facts,
            bugcheck=Bugcheck(0xC4, (0xC5, routine, 1, before)),
            verifier=verifier((THREAD, "leave", "Other.sys"), OPEN_ENTER),
        )
        assert evidence(facts)["0xc4.c5.region-log.unbalanced-thread"].points_to == ("Other.sys",)

    def test_the_irp_log_brackets_the_guilty_call(self) -> None:
        log = irps((0, "Ntfs.sys"), (0, "Ntfs.sys"), (-1, "BadDriver.sys"), (-1, "Ntfs.sys"))
        facts = exit_crash(replace(verifier(), irp_log=log))
        said = evidence(facts)["0x20.irp-log.bracket"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))
        assert suspects(facts) == ["BadDriver.sys"]

    def test_images_on_the_stacks_of_the_bracket_count(self) -> None:
        log = irps((0, "Ntfs.sys"), (-1, "Ntfs.sys"), stack=("nt!IoAllocateIrp+1", "Other+0x55"))
        said = evidence(exit_crash(replace(verifier(), irp_log=log)))["0x20.irp-log.bracket"]
        assert said.points_to == ("Other.sys",)

    def test_several_drivers_in_the_bracket_are_weak(self) -> None:
        log = irps((0, "Other.sys"), (-1, "BadDriver.sys"))
        said = evidence(exit_crash(replace(verifier(), irp_log=log)))["0x20.irp-log.bracket"]
        assert (said.strength, set(said.points_to)) == (Strength.WEAK, {"BadDriver.sys", "Other.sys"})

    def test_other_threads_entries_do_not_count(self) -> None:
        log = tuple(replace(entry, thread=1) for entry in irps((0, "BadDriver.sys"), (-1, "BadDriver.sys")))
        assert suspects(exit_crash(replace(verifier(), irp_log=log))) == []

    def test_a_region_that_was_left_again_brackets_nothing(self) -> None:
        assert departure(tuple(reversed(irps((0, "A"), (-1, "B"), (0, "C"))))) is None
        assert departure(tuple(reversed(irps((-1, "A"), (-1, "B"))))) is None
        assert departure(()) is None
        found = departure(tuple(reversed(irps((0, "A"), (-1, "B"), (0, "C"), (-1, "D"), (-1, "E")))))
        assert found is not None
        assert [entry.caller for entry in found] == ["C", "D"]


def irps(*entries: tuple[int, str], stack: tuple[str, ...] = ()) -> tuple[IrpLogEntry, ...]:
    """An IRP log of the crashing thread, newest first, from (count, caller) in order of time."""
    return tuple(
        IrpLogEntry(0x1000 + n, THREAD, 0, count, 0, caller, stack)
        for n, (count, caller) in reversed(list(enumerate(entries)))
    )
