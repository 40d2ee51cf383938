"""What each rule concludes from facts, and whom it accuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from analysis_facts import ELSE, GONE, THREAD, base, exit_crash, fault, unloaded, verifier

from lab.analysis.facts import Facts
from lab.analysis.rules import apply
from lab.analysis.rules.region_log import MONOPOLISED
from lab.analysis.suspects import rank
from lab.model import Bugcheck, Evidence, Strength, VerifiedDriver

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


class TestWorkerRoutine:
    @pytest.mark.parametrize(
        ("image", "call", "accused"),
        [("BadDriver.sys", 1, ["BadDriver.sys"]), ("Ntfs.sys", 1, []), ("BadDriver.sys", 0, [])],
    )
    def test_the_routine_that_returned_with_other_counts(
        self, image: str, call: int, accused: list[str]
    ) -> None:
        facts = replace(exit_crash(verifier()), bugcheck=Bugcheck(0x1, (base(image) + 8, 0, 0xFFFF, call)))
        assert suspects(facts) == accused
        assert ("0x1.worker-routine" in evidence(facts)) == (call == 1)

    def test_the_logs_are_read_as_for_an_exit(self) -> None:
        facts = exit_crash(verifier(OPEN_ENTER))
        facts = replace(facts, bugcheck=Bugcheck(0x1, (0, 0, 0xFFFF, 0)))
        assert evidence(facts)["0x20.region-log.unbalanced-thread"].points_to == ("BadDriver.sys",)


class TestRegionLog:
    def test_verifier_unknown_off_or_without_log(self) -> None:
        assert "not known" in notes(exit_crash(None))
        assert "0x800" in notes(exit_crash(verifier(level=0x10)))
        unknown = verifier(allocated=False)
        assert "no critical-region log was found" in notes(exit_crash(unknown))
        paged_out = replace(unknown, log_missing=128)
        assert "paged out" in notes(exit_crash(paged_out))
        assert "was found" not in notes(exit_crash(paged_out))
        for log in (None, verifier(level=0x10), unknown, paged_out):
            assert suspects(exit_crash(log)) == []

    def test_an_empty_log_means_inlined_calls(self) -> None:
        facts = exit_crash(verifier())
        assert "0x20.region-log.empty" in evidence(facts)
        assert "inlined" in notes(facts)
        assert suspects(facts) == []

    def test_what_the_log_cannot_have_seen_is_said(self) -> None:
        settings = replace(verifier(), loaded=(VerifiedDriver("BadDriver.sys", 0, 1),))
        assert "in no log: Suspect.sys, Other.sys" in notes(exit_crash(settings))
        assert "in no log" not in notes(exit_crash(verifier()))
        seen = replace(verifier((ELSE, "enter", "Suspect.sys")), loaded=settings.loaded)
        assert "in no log: Other.sys" in notes(exit_crash(seen))

    def test_calls_on_pages_that_lack_make_everything_less_sure(self) -> None:
        """The leave that would close an enter may have been on a page that is not in the dump."""
        log = replace(verifier(OPEN_ENTER, (ELSE, "enter", "Other.sys"), (ELSE, "enter", "Other.sys")))
        for missing, own, elsewhere in (
            (0, Strength.STRONG, Strength.MODERATE),
            (64, Strength.MODERATE, Strength.WEAK),
        ):
            said = evidence(exit_crash(replace(log, log_missing=missing)))
            assert said["0x20.region-log.unbalanced-thread"].strength is own
            assert said["0x20.region-log.enter-without-leave"].strength is elsewhere
        nothing_left = exit_crash(replace(verifier(), log_missing=64))
        assert "0x20.region-log.empty" not in evidence(nothing_left)

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

    def test_kernels_that_log_no_direction_show_odd_numbers_of_calls(self) -> None:
        odd = [(THREAD, "unknown", "BadDriver.sys")] * 3
        even = [(THREAD, "unknown", "Other.sys")] * 4
        facts = exit_crash(verifier(*odd, *even))
        said = evidence(facts)["0x20.region-log.odd-calls"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))
        assert "3 calls" in said.statement
        assert suspects(facts) == ["BadDriver.sys"]

    def test_an_odd_number_in_an_overwritten_log_is_weak(self) -> None:
        noise = [(ELSE, "unknown", "Suspect.sys")] * 127
        said = evidence(exit_crash(verifier(*noise, (THREAD, "unknown", "BadDriver.sys"))))
        assert said["0x20.region-log.odd-calls"].strength is Strength.WEAK

    def test_extra_leaves_on_other_threads(self) -> None:
        facts = exit_crash(verifier((ELSE, "leave", "BadDriver.sys")), parameter=1, count=1)
        said = evidence(facts)["0x20.region-log.leave-without-enter"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))
        full = exit_crash(verifier((ELSE, "leave", "BadDriver.sys"), *NOISE[1:]), parameter=1, count=1)
        assert "0x20.region-log.leave-without-enter" not in evidence(full), "its enter may be overwritten"

    def test_balanced_calls_of_the_thread_are_said_to_be_balanced(self) -> None:
        log = verifier((THREAD, "enter", "BadDriver.sys"), (THREAD, "leave", "BadDriver.sys"))
        assert "balanced" in notes(exit_crash(log))
        assert suspects(exit_crash(log)) == []

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

    @pytest.mark.parametrize("code", [0xD5, 0xD6])
    def test_special_pool_faults_name_the_instruction(self, code: int) -> None:
        assert suspects(fault(code, (0x10, 0, self.BAD, 0))) == ["BadDriver.sys"]

    @pytest.mark.parametrize("code", [0xBE, 0xFC])
    def test_without_an_instruction_the_stack_behind_the_trap_tells(self, code: int) -> None:
        facts = fault(code, (0x10, 0, 0, 0), "nt!KeBugCheckEx", "nt!KiPageFault+0x1", "BadDriver+0x77")
        facts = replace(
            facts,
            exception=None,
            stack=(*facts.stack[:2], replace(facts.stack[2], instruction=self.BAD)),
        )
        assert suspects(facts) == ["BadDriver.sys"]

    def test_an_unloaded_driver_that_still_runs(self) -> None:
        facts = replace(fault(0xD1, (0x10, 2, 8, GONE + 0x10)), unloaded=(unloaded("Gone.sys"),))
        said = evidence(facts)["fault.in-unloaded-driver"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("Gone.sys",))
        assert suspects(facts) == ["Gone.sys"]

    def test_an_unloaded_driver_of_windows_is_not_accused(self) -> None:
        facts = replace(fault(0xD1, (0x10, 2, 8, GONE + 0x10)), unloaded=(unloaded("cdrom.sys"),))
        assert suspects(facts) == []

    @pytest.mark.parametrize(
        ("name", "accused"), [("dump_storpor", False), ("crashdmp.sys", False), ("storporting1", True)]
    )
    def test_a_name_that_a_small_dump_cut_off_may_be_windows_own(self, name: str, accused: bool) -> None:
        facts = replace(fault(0xD1, (0, 2, 0, GONE + 8)), unloaded=(unloaded(name),))
        assert suspects(facts) == ([name] if accused else [])

    def test_memory_of_an_unloaded_driver_is_traced_to_it(self) -> None:
        facts = fault(0xA, (GONE + 0x10, 2, 0, base("ntoskrnl.exe") + 1))
        facts = replace(facts, unloaded=(unloaded("Gone.sys"),))
        assert evidence(facts)["fault.memory"].points_to == ("Gone.sys",)

    @pytest.mark.parametrize("name", ["BadDriver", "BadDriver.sys", r"\SystemRoot\drivers\BadDriver.sys"])
    def test_the_name_on_the_blue_screen(self, name: str) -> None:
        facts = replace(fault(0xD1, (0, 2, 0, base("ntoskrnl.exe"))), named=name)
        said = evidence(facts)["kernel.names"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))

    def test_a_name_on_the_blue_screen_that_is_windows_own_accuses_nobody(self) -> None:
        facts = replace(fault(0xD1, (0, 2, 0, base("ntoskrnl.exe"))), named="Ntfs.sys")
        assert "kernel.names" not in evidence(facts)

    def test_an_address_in_no_module(self) -> None:
        facts = fault(0xD1, (0, 2, 0, 0x1234))
        assert suspects(facts) == []
        assert "0x1234" in notes(facts)


@pytest.mark.parametrize("code", [0x80, 0xE2])
def test_our_own_stops_accuse_nobody(code: int) -> None:
    facts = fault(code, (0, base("BadDriver.sys"), 0, base("BadDriver.sys")), "BadDriver+0x1")
    assert set(evidence(facts)) == {"ours"}
    assert suspects(facts) == []


def test_who_sent_an_nmi_is_not_claimed_to_be_known() -> None:
    facts = fault(0x80, (0x4F4454, 0, 0, 0))
    assert evidence(facts)["ours"].strength is Strength.WEAK
    assert "hardware that failed" in notes(facts)


def test_a_bugcheck_without_rules_says_so() -> None:
    assert "no rule" in notes(Facts(Bugcheck(0x3D), ()))


def test_no_accusation_without_evidence_of_a_loaded_image() -> None:
    facts = exit_crash()
    invented: Sequence[Evidence] = (Evidence("x", "x", Strength.PROOF, "x", ("NotLoaded.sys", "Ntfs.sys")),)
    assert rank(facts, invented) == ()


def test_one_rule_counts_once_for_an_image() -> None:
    facts = exit_crash()
    weak = Evidence("a", "a", Strength.WEAK, "x", ("BadDriver.sys", "Other.sys"))
    again = Evidence("a", "again", Strength.MODERATE, "y", ("BadDriver.sys",))
    found = {s.image: s for s in rank(facts, (weak, weak, again))}
    assert found["BadDriver.sys"].weight == pytest.approx(3 / 4)
    assert found["BadDriver.sys"].because == ("a", "again")


def test_clearing_takes_weight_away() -> None:
    facts = exit_crash()
    both = Evidence("a", "a", Strength.MODERATE, "x", ("BadDriver.sys", "Other.sys"))
    clear = Evidence("b", "b", Strength.MODERATE, "x", clears=("other.sys",))
    assert [s.image for s in rank(facts, (both, clear))] == ["BadDriver.sys"]
