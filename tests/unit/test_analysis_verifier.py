"""0xC4, 0xC9 and 0xE6: whom Driver Verifier's violations speak against."""

from __future__ import annotations

from dataclasses import replace

import pytest
from analysis_facts import GONE, THREAD, base, frames, stop, unloaded, verifier

from lab.analysis.facts import DeviceFacts, Facts, PoolFacts, RequestFacts
from lab.analysis.rules import apply
from lab.analysis.suspects import rank
from lab.model import Evidence, Strength, VerifiedDriver

BAD = base("BadDriver.sys") + 0x1234
CALL = ("nt!VerifierBugCheckIfAppropriate+0x10", "nt!VerifierKeLeaveCriticalRegion+0xc3", "BadDriver+0x77")


def evidence(facts: Facts) -> dict[str, Evidence]:
    return {each.rule: each for each in apply(facts)[0]}


def notes(facts: Facts) -> str:
    return " ".join(apply(facts)[1])


def suspects(facts: Facts) -> list[str]:
    return [s.image for s in rank(facts, apply(facts)[0])]


class TestCaller:
    @pytest.mark.parametrize(
        "number", [0x0, 0x10, 0x30, 0x32, 0x37, 0x38, 0x3B, 0x3E, 0x7C, 0xC0, 0xC2, 0xEA, 0x11A]
    )
    def test_the_first_frame_outside_the_kernel_made_the_call(self, number: int) -> None:
        facts = stop(0xC4, (number, 0, 0, 0), *CALL)
        said = evidence(facts)[f"0xc4.{number:x}.caller"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))
        assert suspects(facts) == ["BadDriver.sys"]

    def test_verifiers_own_module_is_not_the_caller(self) -> None:
        facts = stop(0xC4, (0x20005, 0, 0, 0), "VerifierExt!SLIC_abort+0x1", "BadDriver+0x77")
        assert evidence(facts)["0xc4.20005.caller"].points_to == ("BadDriver.sys",)

    def test_a_scanned_frame_is_weak(self) -> None:
        facts = stop(0xC4, (0x3E, 0, 0, 0), *CALL, how="scanned")
        assert evidence(facts)["0xc4.3e.caller"].strength is Strength.WEAK

    def test_behind_a_caller_of_windows_the_nearest_other_driver_is_a_lead(self) -> None:
        facts = stop(0xC4, (0x37, 0, 0, 0), "nt!VerifierX+1", "Ntfs!NtfsRead+0x1", "BadDriver+0x77")
        said = evidence(facts)
        assert "0xc4.37.caller" not in said
        assert said["fault.first-driver-on-stack"].strength is Strength.MODERATE

    @pytest.mark.parametrize("number", [0x1000, 0x1001, 0x1003, 0x100B])
    def test_a_deadlock_has_two_sides(self, number: int) -> None:
        facts = stop(0xC4, (number, 0, 0, 0), *CALL)
        said = evidence(facts)[f"0xc4.{number:x}.caller"]
        assert said.strength is Strength.MODERATE
        assert "other holder" in said.statement

    @pytest.mark.parametrize("number", [0x51, 0x54, 0x59, 0x13A, 0x13F])
    def test_who_frees_a_damaged_block_may_not_have_damaged_it(self, number: int) -> None:
        said = evidence(stop(0xC4, (number, 0, 0, 0), *CALL))[f"0xc4.{number:x}.caller"]
        assert said.strength is Strength.MODERATE

    def test_where_the_stack_is_verifiers_own_nobody_is_taken_from_it(self) -> None:
        assert suspects(stop(0xC4, (0x115, 0, 0, 0), *CALL)) == []

    def test_dma_violations_may_be_the_hardwares(self) -> None:
        facts = stop(0xE6, (0xF, 1, 0, 0), *CALL)
        assert evidence(facts)["0xe6.f.caller"].strength is Strength.MODERATE


class TestParameters:
    def test_leaked_pool_names_the_driver(self) -> None:
        facts = replace(stop(0xC4, (0x62, 0x5000, 0, 3)), texts={0x5000: "BadDriver.sys"})
        said = evidence(facts)["0xc4.62.name"]
        assert (said.strength, said.points_to) == (Strength.PROOF, ("BadDriver.sys",))

    def test_leaked_pool_of_a_driver_that_is_gone(self) -> None:
        facts = replace(
            stop(0xC4, (0x62, 0x5000, 0, 3)), texts={0x5000: "Gone.sys"}, unloaded=(unloaded("Gone.sys"),)
        )
        assert suspects(facts) == ["Gone.sys"]

    def test_a_name_that_cannot_be_read_accuses_nobody(self) -> None:
        facts = stop(0xC4, (0x62, 0x5000, 0, 3), *CALL)
        assert suspects(facts) == []
        assert "could not be read" in notes(facts)

    def test_a_name_that_is_no_module_accuses_nobody(self) -> None:
        facts = replace(stop(0xC4, (0x62, 0x5000, 0, 3)), texts={0x5000: "Elsewhere.sys"})
        assert suspects(facts) == []
        assert "Elsewhere.sys" in notes(facts)

    @pytest.mark.parametrize(
        ("parameters", "rule"),
        [
            ((0xE6, BAD, 1, 0), "0xc4.e6.code"),
            ((0xE3, BAD, 1, 0), "0xc4.e3.code"),
            ((0xE4, BAD, 1, 0), "0xc4.e4.code"),
            ((0xF6, 4, 0, BAD), "0xc4.f6.code"),
        ],
    )
    def test_an_address_in_the_code_that_called(
        self, parameters: tuple[int, int, int, int], rule: str
    ) -> None:
        facts = stop(0xC4, parameters)
        said = evidence(facts)[rule]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))
        assert "BadDriver.sys+0x1234" in said.statement

    @pytest.mark.parametrize("parameters", [(0xDA, BAD - 0x1234, BAD, 0), (0xDD, BAD, BAD - 0x1234, 7)])
    def test_a_driver_that_unloads_without_tidying_up(self, parameters: tuple[int, int, int, int]) -> None:
        facts = stop(0xC4, parameters)
        assert evidence(facts)[f"0xc4.{parameters[0]:x}.image"].strength is Strength.PROOF
        assert suspects(facts) == ["BadDriver.sys"]

    def test_a_lock_that_is_a_variable_of_a_driver(self) -> None:
        said = evidence(stop(0xC4, (0x1001, BAD, 0, 0)))["0xc4.1001.lock"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))

    def test_a_lock_in_pool_leads_to_the_user_of_the_tag(self) -> None:
        facts = stop(0xC4, (0x38, 0, 0, 0x7000))
        alone = replace(facts, pool={0x7000: PoolFacts(0x7000, "BadD", 0x40, "header", ("BadDriver.sys",))})
        assert evidence(alone)["0xc4.38.lock"].strength is Strength.MODERATE
        shared = PoolFacts(0x7000, "Both", 0, "header", ("BadDriver.sys", "Other.sys"))
        said = evidence(replace(facts, pool={0x7000: shared}))["0xc4.38.lock"]
        assert (said.strength, said.points_to) == (Strength.WEAK, ("BadDriver.sys", "Other.sys"))
        nobody = evidence(replace(facts, pool={0x7000: PoolFacts(0x7000, "None", 0, "header")}))
        assert nobody["0xc4.38.lock"].points_to == ()

    def test_verifiers_own_words_are_shown(self) -> None:
        facts = replace(stop(0xC4, (0x40003, 0x5000, 0, 0)), texts={0x5000: "KeLeaveCriticalRegion missing."})
        assert "KeLeaveCriticalRegion missing" in evidence(facts)["0xc4.40003.rule"].statement

    @pytest.mark.parametrize(
        ("code", "parameters", "strength"),
        [
            (0xC9, (0x5, 0x6000, 0, 2), Strength.STRONG),
            (0xC9, (0x4, 0x6000, 0, 0), Strength.MODERATE),
            (0xC4, (0xDB, 0x6000, 0, 0), Strength.MODERATE),
            (0xE6, (0x26, 0x6000, 0, 0), Strength.STRONG),
        ],
    )
    def test_a_device_leads_to_its_driver(
        self, code: int, parameters: tuple[int, int, int, int], strength: Strength
    ) -> None:
        device = DeviceFacts(0x6000, r"\Driver\BadDriver", "BadDriver.sys")
        facts = replace(stop(code, parameters), devices={0x6000: device})
        said = evidence(facts)[f"{code:#x}.{parameters[0]:x}.device"]
        assert (said.strength, said.points_to) == (strength, ("BadDriver.sys",))

    def test_wdm_errors_name_the_code_and_the_device(self) -> None:
        device = DeviceFacts(0x6000, r"\Driver\Other", "Other.sys")
        request = RequestFacts(0x6100, 3, 0, 0x6000, "Other.sys")
        facts = replace(
            stop(0xC9, (0x226, BAD, 0x6100, 0x6000)), devices={0x6000: device}, requests={0x6100: request}
        )
        ranked = rank(facts, apply(facts)[0])
        assert [s.image for s in ranked] == ["BadDriver.sys", "Other.sys"], (
            "the code is surer than the device"
        )

    def test_code_of_an_unloaded_driver(self) -> None:
        facts = replace(stop(0xC9, (0x227, GONE + 4, 0, 0)), unloaded=(unloaded("Gone.sys"),))
        assert suspects(facts) == ["Gone.sys"]


def test_the_only_verified_driver_made_the_call() -> None:
    settings = replace(verifier(), loaded=(VerifiedDriver("BadDriver.sys", base("BadDriver.sys"), 1),))
    facts = replace(stop(0xC4, (0x3E, 0, 0, 0)), verifier=settings)
    said = evidence(facts)["0xc4.3e.only-verified"]
    assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))
    two = replace(settings, loaded=(*settings.loaded, VerifiedDriver("Other.sys", base("Other.sys"), 1)))
    assert suspects(replace(facts, verifier=two)) == []


def test_a_thread_that_owns_a_lock_shows_who_took_it() -> None:
    facts = replace(
        stop(0xC4, (0x100A, THREAD, 0, 0)), stacks={THREAD: frames("nt!KeWait+1", "BadDriver+0x1")}
    )
    assert evidence(facts)["0xc4.100a.thread"].points_to == ("BadDriver.sys",)
    assert "could not be read" in notes(stop(0xC4, (0x100A, THREAD, 0, 0)))


@pytest.mark.parametrize(("code", "number"), [(0xC4, 0x1F0), (0xC9, 0x13), (0xE6, 0x99)])
def test_an_unknown_kind_is_said_to_be_unknown(code: int, number: int) -> None:
    facts = stop(code, (number, BAD, BAD, BAD), *CALL)
    assert suspects(facts) == []
    assert f"{number:#x}" in notes(facts)
