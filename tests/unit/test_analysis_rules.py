"""What each rule concludes from facts, and whom it accuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from analysis_facts import ELSE, THREAD, base, dispatch_crash, exit_crash, fault, instance, verifier

from lab.analysis.facts import Facts
from lab.analysis.rules import apply
from lab.analysis.rules.apc_count import MONOPOLISED
from lab.analysis.suspects import rank
from lab.model import Bugcheck, Evidence, Strength

NOISE = [(ELSE, "enter", "Suspect.sys"), (ELSE, "leave", "Suspect.sys")] * 64
OPEN_ENTER = (THREAD, "enter", "BadDriver.sys")


def evidence(facts: Facts) -> dict[str, Evidence]:
    return {each.rule: each for each in apply(facts)[0]}


def notes(facts: Facts) -> str:
    return " ".join(apply(facts)[1])


def suspects(facts: Facts) -> list[str]:
    return [s.image for s in rank(facts, apply(facts)[0])]


class TestApcCount:
    def test_negative_means_entered_and_not_left(self) -> None:
        said = evidence(exit_crash())["0x20.apc-count.negative"]
        assert "is -1" in said.statement
        assert "KernelApcDisable" in said.where
        assert said.points_to == ()

    def test_positive_means_left_once_too_often(self) -> None:
        assert "0x20.apc-count.positive" in evidence(exit_crash(parameter=2, count=2))

    def test_the_special_count_is_in_the_upper_half(self) -> None:
        said = evidence(exit_crash(parameter=0xFFFF0000, count=0))["0x20.apc-count.negative"]
        assert "special APC disable count is -1" in said.statement

    def test_the_two_places_may_disagree(self) -> None:
        assert "is believed" in notes(exit_crash(count=0))

    def test_the_worker_thread_is_innocent(self) -> None:
        assert "0x20.worker-thread" in evidence(exit_crash())


class TestRegionLog:
    def test_verifier_unknown_off_or_without_log(self) -> None:
        assert "not known" in notes(exit_crash(None))
        assert "0x800" in notes(exit_crash(verifier(level=0x10)))
        assert "not allocated" in notes(exit_crash(verifier(allocated=False)))
        for log in (None, verifier(level=0x10), verifier(allocated=False)):
            assert suspects(exit_crash(log)) == []

    def test_an_empty_log_means_inlined_calls(self) -> None:
        facts = exit_crash(verifier())
        assert "0x20.region-log.empty" in evidence(facts)
        assert "inlined" in notes(facts)
        assert suspects(facts) == []

    def test_the_threads_own_open_enter_is_strong(self) -> None:
        facts = exit_crash(
            verifier(OPEN_ENTER, (THREAD, "enter", "Other.sys"), (THREAD, "leave", "Other.sys"))
        )
        said = evidence(facts)["0x20.region-log.unbalanced-thread"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))
        assert suspects(facts) == ["BadDriver.sys"]

    def test_a_noisy_driver_is_weak_and_visible(self) -> None:
        facts = exit_crash(verifier(*NOISE))
        said = evidence(facts)[MONOPOLISED]
        assert (MONOPOLISED, said.strength) == ("0x20.region-log.monopolised", Strength.WEAK)
        assert said.points_to == ("Suspect.sys",)
        assert "no proof" in said.statement
        assert f"{THREAD:#x}" in notes(facts)

    def test_noise_does_not_outweigh_the_threads_own_enter(self) -> None:
        facts = exit_crash(verifier(*NOISE[:-1], OPEN_ENTER))
        ranked = rank(facts, apply(facts)[0])
        assert [s.image for s in ranked] == ["BadDriver.sys", "Suspect.sys"]
        assert ranked[0].weight > 0.8
        assert sum(s.weight for s in ranked) == pytest.approx(1)

    def test_other_threads_show_the_same_defect(self) -> None:
        went_on = [
            (ELSE, "enter", "BadDriver.sys"),
            (ELSE, "enter", "Other.sys"),
            (ELSE, "leave", "Other.sys"),
        ]
        said = evidence(exit_crash(verifier(*went_on)))["0x20.region-log.enter-without-leave"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))

    def test_a_thread_that_may_still_be_inside_is_weak(self) -> None:
        said = evidence(exit_crash(verifier((ELSE, "enter", "BadDriver.sys"))))
        assert said["0x20.region-log.enter-without-leave"].strength is Strength.WEAK

    def test_windows_own_callers_are_never_accused(self) -> None:
        facts = exit_crash(verifier(*[(THREAD, "enter", "Ntfs.sys")] * 128))
        assert suspects(facts) == []
        assert not any(fact.points_to for fact in evidence(facts).values())

    def test_with_a_positive_count_open_enters_accuse_nobody(self) -> None:
        facts = exit_crash(verifier(OPEN_ENTER), parameter=1, count=1)
        assert suspects(facts) == []
        extra = exit_crash(verifier((THREAD, "leave", "BadDriver.sys")), parameter=1, count=1)
        assert evidence(extra)["0x20.region-log.unbalanced-thread"].strength is Strength.STRONG

    def test_extra_leaves_of_a_full_log_may_be_an_artefact(self) -> None:
        log = verifier((THREAD, "leave", "BadDriver.sys"), *NOISE[1:])
        said = evidence(exit_crash(log, parameter=1, count=1))["0x20.region-log.unbalanced-thread"]
        assert said.strength is Strength.MODERATE


class TestDispatchRoutine:
    def test_a_drivers_own_routine_is_proof(self) -> None:
        facts = dispatch_crash("BadDriver.sys")
        said = evidence(facts)["0xc4.c5.dispatch-routine"]
        assert (said.strength, said.points_to) == (Strength.PROOF, ("BadDriver.sys",))
        assert rank(facts, apply(facts)[0])[0].weight == 1

    def test_the_only_minifilter_is_strong(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("fltmgr.sys"))
        said = evidence(facts)["0xc4.c5.only-minifilter"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))
        assert "0xfffffa804b5b1010" in said.where

    def test_several_minifilters_stay_a_set(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        said = evidence(facts)["0xc4.c5.minifilters"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys", "Other.sys"))
        assert [s.weight for s in rank(facts, apply(facts)[0])] == [0.5, 0.5]

    def test_a_minifilter_without_read_callback_is_cleared(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys", reads=False))
        said = evidence(facts)
        assert said["0xc4.c5.no-read-callback"].clears == ("Other.sys",)
        assert said["0xc4.c5.only-minifilter"].points_to == ("BadDriver.sys",)

    def test_when_nobody_reads_the_callbacks_are_not_believed(self) -> None:
        facts = dispatch_crash(
            "fltmgr.sys", instance("BadDriver.sys", reads=False), instance("Other.sys", reads=False)
        )
        assert suspects(facts) == ["BadDriver.sys", "Other.sys"]

    def test_an_instance_without_name_keeps_the_set_open(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance(""))
        assert evidence(facts)["0xc4.c5.minifilters"].points_to == ("BadDriver.sys",)

    def test_no_third_party_minifilter(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("fltmgr.sys"))
        assert suspects(facts) == []
        assert "No third-party minifilter" in notes(facts)

    def test_no_saved_state(self) -> None:
        facts = dispatch_crash("fltmgr.sys", found=False)
        assert suspects(facts) == []
        assert "saved state was not found" in notes(facts)

    def test_a_guessed_device_makes_it_weaker(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"))
        assert facts.dispatch is not None
        facts = replace(facts, dispatch=replace(facts.dispatch, address=0))
        assert evidence(facts)["0xc4.c5.only-minifilter"].strength is Strength.MODERATE

    def test_the_region_log_tells_several_minifilters_apart(self) -> None:
        facts = dispatch_crash("fltmgr.sys", instance("BadDriver.sys"), instance("Other.sys"))
        facts = replace(facts, verifier=verifier(OPEN_ENTER))
        ranked = rank(facts, apply(facts)[0])
        assert [s.image for s in ranked] == ["BadDriver.sys", "Other.sys"]
        assert ranked[0].weight == pytest.approx(12 / 15)

    def test_a_routine_of_windows_accuses_nobody(self) -> None:
        facts = dispatch_crash("Ntfs.sys")
        assert suspects(facts) == []
        assert "not suspected itself" in notes(facts)

    @pytest.mark.parametrize(("sub_code", "rule"), [(0xC6, "0xc4.c6"), (0xFB, "0xc4.fb")])
    def test_siblings(self, sub_code: int, rule: str) -> None:
        facts = dispatch_crash("BadDriver.sys", sub_code=sub_code)
        assert f"{rule}.dispatch-routine" in evidence(facts)

    def test_an_unknown_sub_code_is_said_to_be_unknown(self) -> None:
        facts = dispatch_crash("BadDriver.sys", sub_code=0x81001)
        assert suspects(facts) == []
        assert "0x81001" in notes(facts)


class TestFaults:
    BAD = base("BadDriver.sys") + 0x334C

    @pytest.mark.parametrize(
        ("code", "parameters"),
        [
            (0x7E, (0xC0000005, BAD, 0, 0)),
            (0x1000007E, (0xFFFFFFFFC0000005, BAD, 0, 0)),
            (0x1E, (0xC0000005, BAD, 0, 0)),
            (0x3B, (0xC0000005, BAD, 0, 0)),
            (0xA, (0x10, 2, 0, BAD)),
            (0xD1, (0x10, 2, 0, BAD)),
            (0x50, (0x10, 0, BAD, 0)),
        ],
    )
    def test_the_module_that_holds_the_address(
        self, code: int, parameters: tuple[int, int, int, int]
    ) -> None:
        facts = fault(code, parameters)
        said = evidence(facts)["fault.address"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))
        assert "BadDriver.sys+0x334c" in said.statement
        assert suspects(facts) == ["BadDriver.sys"]

    def test_in_the_kernel_the_first_driver_on_the_stack_is_asked(self) -> None:
        address = base("ntoskrnl.exe") + 0x100
        facts = fault(0xA, (0, 2, 0, address), "nt!memcpy+0x10", "Ntfs!NtfsRead+0x1", "BadDriver+0x77")
        said = evidence(facts)
        assert said["fault.address"].points_to == ()
        assert said["fault.first-driver-on-stack"].points_to == ("BadDriver.sys",)
        assert said["fault.first-driver-on-stack"].strength is Strength.MODERATE
        scanned = fault(0xA, (0, 2, 0, address), "nt!memcpy+0x10", "BadDriver+0x77", how="scanned")
        assert evidence(scanned)["fault.first-driver-on-stack"].strength is Strength.WEAK

    def test_an_in_box_driver_is_named_where_it_faulted_and_only_there(self) -> None:
        facts = fault(0xD1, (0, 2, 0, base("amdppm.sys") + 0x334C))
        assert suspects(facts) == ["amdppm.sys"]
        assert "comes with Windows" in notes(facts)

    def test_an_address_in_no_module(self) -> None:
        facts = fault(0xD1, (0, 2, 0, 0x1234))
        assert suspects(facts) == []
        assert "0x1234" in notes(facts)

    def test_a_security_check_names_who_noticed(self) -> None:
        facts = fault(0x139, (3, self.BAD, 0, 0))
        said = evidence(facts)
        assert "LIST_ENTRY" in said["0x139.kind"].statement
        assert said["0x139.noticed-in"].points_to == ("BadDriver.sys",)


@pytest.mark.parametrize("code", [0x80, 0xE2])
def test_our_own_stops_accuse_nobody(code: int) -> None:
    facts = fault(code, (0, base("BadDriver.sys"), 0, base("BadDriver.sys")), "BadDriver+0x1")
    assert set(evidence(facts)) == {"ours"}
    assert suspects(facts) == []


def test_a_bugcheck_without_rules_says_so() -> None:
    assert "no rule" in notes(Facts(Bugcheck(0x9F), ()))


def test_no_accusation_without_evidence_of_a_loaded_image() -> None:
    facts = exit_crash()
    invented: Sequence[Evidence] = (Evidence("x", "x", Strength.PROOF, "x", ("NotLoaded.sys", "Ntfs.sys")),)
    assert rank(facts, invented) == ()


def test_clearing_takes_weight_away() -> None:
    facts = exit_crash()
    both = Evidence("a", "a", Strength.MODERATE, "x", ("BadDriver.sys", "Other.sys"))
    clear = Evidence("b", "b", Strength.MODERATE, "x", clears=("other.sys",))
    assert [s.image for s in rank(facts, (both, clear))] == ["BadDriver.sys"]
