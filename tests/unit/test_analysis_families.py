"""Pool, power, watchdogs, checks in the code, and stops that name a driver outright."""

from __future__ import annotations

from dataclasses import replace

import pytest
from analysis_facts import GONE, THREAD, base, fault, frames, stop, unloaded

from lab.analysis.facts import DeviceFacts, Facts, PoolFacts, RequestFacts, TrapFacts
from lab.analysis.rules import apply
from lab.analysis.rules.security_check import KINDS as CHECKS
from lab.analysis.suspects import rank
from lab.kernel.power import PowerFailure, PowerWorker, WaitingDevice
from lab.model import Evidence, ProcessorFacts, Strength

BAD = base("BadDriver.sys") + 0x334C
IN_POOL = ("nt!ExFreePoolWithTag+0x1", "BadDriver+0x77")


def evidence(facts: Facts) -> dict[str, Evidence]:
    return {each.rule: each for each in apply(facts)[0]}


def notes(facts: Facts) -> str:
    return " ".join(apply(facts)[1])


def suspects(facts: Facts) -> list[str]:
    return [s.image for s in rank(facts, apply(facts)[0])]


class TestPool:
    @pytest.mark.parametrize(
        ("code", "parameters"),
        [
            (0x19, (0x20, 0x7000, 0x7100, 0)),
            (0x19, (0x21, 0x7000, 64, 0)),
            (0xC1, (0x7000, 0x7010, 0, 0x23)),
            (0xC1, (0x7000, 0x7040, 0, 0x24)),
            (0xC2, (0x1, 0x7000, 0, 0)),
            (0xC2, (0x99, 0x7000, 0, 0)),
            (0xC5, (0x7000, 2, 0, base("ntoskrnl.exe"))),
            (0x13A, (0x6, 0x6000, 0x7000, 0)),
        ],
    )
    def test_who_comes_upon_damage_is_a_weak_lead(
        self, code: int, parameters: tuple[int, int, int, int]
    ) -> None:
        facts = stop(code, parameters, *IN_POOL)
        said = evidence(facts)[f"{code:#x}.caller"]
        assert (said.strength, said.points_to) == (Strength.WEAK, ("BadDriver.sys",))
        assert "victim" in said.statement
        assert "0x1" in notes(facts)

    @pytest.mark.parametrize(
        ("code", "parameters"),
        [
            (0xC1, (0x7000, 0, 0, 0x20)),
            (0xC1, (2, 0, 64, 0x30)),
            (0xC2, (0x7, 0, 0, 0x7000)),
            (0xC2, (0x46, 0x7000, 0, 0)),
            (0xC2, (0xA, 0x7000, 1, 2)),
        ],
    )
    def test_who_calls_wrongly_is_more_than_that(
        self, code: int, parameters: tuple[int, int, int, int]
    ) -> None:
        assert evidence(stop(code, parameters, *IN_POOL))[f"{code:#x}.caller"].strength is Strength.MODERATE

    @pytest.mark.parametrize(
        ("code", "parameters"),
        [
            (0x19, (0x20, 0x7000, 0, 0)),
            (0x19, (0x5, 0, 0, 0x7000)),
            (0xC1, (0x7000, 0, 0, 0x24)),
            (0xC2, (0x4, 0x7000, 0, 0)),
            (0xC5, (0x7000, 2, 0, 0)),
            (0x13A, (0x3, 0, 0x7000, 0)),
        ],
    )
    def test_the_tag_of_the_block_tells_its_owner(
        self, code: int, parameters: tuple[int, int, int, int]
    ) -> None:
        block = PoolFacts(0x7000, "Othr", 64, "POOL_HEADER 0x6ff0", ("Other.sys",))
        facts = replace(stop(code, parameters, *IN_POOL), pool={0x7000: block})
        owner = next(e for e in apply(facts)[0] if '"Othr"' in e.statement)
        assert (owner.strength, owner.points_to) == (Strength.MODERATE, ("Other.sys",))
        assert suspects(facts)[0] == "Other.sys", "the owner is a better lead than who noticed"

    def test_an_owner_that_comes_with_windows_is_not_accused(self) -> None:
        block = PoolFacts(0x7000, "Ntff", 64, "header", ("Ntfs.sys",))
        facts = replace(stop(0x19, (0x20, 0x7000, 0, 0)), pool={0x7000: block})
        assert suspects(facts) == []

    @pytest.mark.parametrize("number", [0x9B, 0x9C, 0x9D])
    def test_the_caller_in_parameter_4(self, number: int) -> None:
        said = evidence(stop(0xC2, (number, 0, 64, BAD)))["0xc2.code"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))

    def test_an_unknown_kind_still_has_the_stack(self) -> None:
        facts = stop(0x19, (0x77, 0, 0, 0), *IN_POOL)
        assert suspects(facts) == ["BadDriver.sys"]
        assert "0x77" in notes(facts)


class TestPower:
    STACK = ((0x6000, r"\Driver\BadDriver", "BadDriver.sys"), (0x6100, r"\Driver\ACPI", "Ntfs.sys"))

    def test_who_holds_the_blocked_irp(self) -> None:
        facts = replace(
            stop(0x9F, (3, 0x6100, 0, 0x8000)),
            requests={0x8000: RequestFacts(0x8000, 22, 2, 0x6000, "BadDriver.sys")},
            devices={0x6100: DeviceFacts(0x6100, r"\Driver\ACPI", "Ntfs.sys", self.STACK)},
        )
        said = evidence(facts)
        assert said["0x9f.request"].strength is Strength.STRONG
        assert said["0x9f.device-stack"].points_to == ("BadDriver.sys",)
        assert suspects(facts) == ["BadDriver.sys"]

    def test_a_blocked_irp_that_windows_holds_leaves_the_stack_as_a_weak_set(self) -> None:
        facts = replace(
            stop(0x9F, (3, 0x6100, 0, 0x8000)),
            requests={0x8000: RequestFacts(0x8000, 22, 2, 0x6100, "Ntfs.sys")},
            devices={0x6100: DeviceFacts(0x6100, r"\Driver\ACPI", "Ntfs.sys", self.STACK)},
        )
        said = evidence(facts)
        assert said["0x9f.request"].points_to == ()
        assert said["0x9f.device-stack"].strength is Strength.WEAK
        assert suspects(facts) == ["BadDriver.sys"]

    def test_a_blocked_irp_that_is_not_in_the_dump(self) -> None:
        assert "could not be read" in notes(stop(0x9F, (3, 0x6100, 0, 0x8000)))
        assert suspects(stop(0x9F, (3, 0x6100, 0, 0x8000))) == []

    @pytest.mark.parametrize("parameters", [(1, 0x6000, 0, 0), (2, 0, 0x6000, 0), (0x500, 0, 0, 0x6000)])
    def test_the_device_that_is_named(self, parameters: tuple[int, int, int, int]) -> None:
        device = DeviceFacts(0x6000, r"\Driver\BadDriver", "BadDriver.sys")
        said = evidence(replace(stop(0x9F, parameters), devices={0x6000: device}))["0x9f.device"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))

    def test_the_driver_object_that_is_named(self) -> None:
        driver = DeviceFacts(0x9000, r"\Driver\BadDriver", "BadDriver.sys")
        facts = replace(stop(0x9F, (2, 0, 0, 0x9000)), devices={0x9000: driver})
        assert evidence(facts)["0x9f.driver"].points_to == ("BadDriver.sys",)

    def test_the_thread_that_holds_plug_and_play_up(self) -> None:
        facts = replace(
            stop(0x9F, (4, 300, THREAD, 0)), stacks={THREAD: frames("nt!KeWait+0x1", "BadDriver+0x5")}
        )
        said = evidence(facts)["0x9f.thread"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))

    def test_a_directed_transition_has_only_the_stack(self) -> None:
        device = DeviceFacts(0x6100, r"\Driver\ACPI", "Ntfs.sys", self.STACK)
        facts = replace(stop(0x9F, (5, 0x6100, 0, 0)), devices={0x6100: device})
        assert {e.rule for e in apply(facts)[0] if e.points_to} == {"0x9f.device-stack"}

    def test_what_plug_and_play_waits_for(self) -> None:
        device = DeviceFacts(0x6100, r"\Driver\ACPI", "Ntfs.sys", self.STACK)
        waiting = (WaitingDevice(0x7000, 0x6100, r"USB\X", "BadDriver"), WaitingDevice(0x7100, 0x1, "", ""))
        failure = PowerFailure(4, "", waiting=waiting, notes=("Something is missing.",))
        facts = replace(stop(0x9F, (4, 300, 0, 0)), devices={0x6100: device}, power=failure)
        said = [e for e in apply(facts)[0] if e.rule == "0x9f.plug-and-play"]
        assert [(e.strength, e.points_to) for e in said] == [
            (Strength.MODERATE, ("BadDriver.sys",)),
            (Strength.WEAK, ()),
        ]
        assert "Something is missing." in notes(facts)

    def test_a_power_worker_that_has_not_come_back(self) -> None:
        workers = (PowerWorker(1, 2, 3, "BadDriver.sys"), PowerWorker(1, 2, 3, "Ntfs.sys"))
        facts = replace(stop(0x9F, (3, 0, 0, 0)), power=PowerFailure(3, "", workers=workers))
        assert evidence(facts)["0x9f.power-worker"].strength is Strength.WEAK
        assert suspects(facts) == ["BadDriver.sys"]


class TestWatchdogs:
    DPC = ("nt!KeClockInterruptNotify+0x1", "BadDriver+0x77", "nt!KiExecuteAllDpcs+0x1", "nt!KiIdleLoop+0x1")

    def test_the_dpc_that_took_too_long(self) -> None:
        said = evidence(stop(0x133, (0, 501, 500, 0), *self.DPC))["0x133.running"]
        assert (said.strength, said.points_to) == (Strength.STRONG, ("BadDriver.sys",))

    def test_what_is_below_the_dpc_was_only_interrupted(self) -> None:
        stack = ("nt!KeClockInterruptNotify+0x1", "nt!KiExecuteAllDpcs+0x1", "Other+0x1")
        said = evidence(stop(0x133, (0, 501, 500, 0), *stack))
        assert "0x133.running" not in said

    def test_without_a_dpc_on_the_stack_it_is_moderate(self) -> None:
        said = evidence(stop(0x133, (0, 501, 500, 0), "nt!X+0x1", "BadDriver+0x1"))["0x133.running"]
        assert said.strength is Strength.MODERATE

    def test_a_cumulative_time_out_is_weak(self) -> None:
        said = evidence(stop(0x133, (1, 7680, 0, 0), *self.DPC))["0x133.running"]
        assert said.strength is Strength.WEAK
        assert "others" in said.statement

    def test_windows_own_dpc_accuses_nobody(self) -> None:
        assert suspects(stop(0x133, (0, 501, 500, 0), "Ntfs!X+0x1", "nt!KiExecuteAllDpcs+0x1")) == []

    def test_the_processor_that_hangs(self) -> None:
        cpu = ProcessorFacts(3, 0x5000, 0, BAD, 0, "BadDriver+0x334c", False)
        facts = replace(stop(0x101, (30, 0, 0x5000, 3)), processors=(cpu,))
        said = evidence(facts)["0x101.processor"]
        assert (said.strength, said.points_to) == (Strength.MODERATE, ("BadDriver.sys",))
        inside = replace(cpu, instruction=base("Ntfs.sys"))
        assert suspects(replace(facts, processors=(inside,))) == []
        assert "not in the dump" in notes(stop(0x101, (30, 0, 0x5000, 3)))


class TestChecks:
    @pytest.mark.parametrize("number", CHECKS)
    def test_the_kind_and_where_it_was_noticed(self, number: int) -> None:
        facts = replace(fault(0x139, (number, BAD, 0, 0)), trap=TrapFacts(BAD, "BadDriver+0x334c", "trap"))
        said = evidence(facts)
        assert CHECKS[number] in said["0x139.kind"].statement
        noticed = said["0x139.noticed-in"]
        assert noticed.points_to == ("BadDriver.sys",)
        assert noticed.strength is (Strength.STRONG if number in (0, 2) else Strength.MODERATE)

    def test_the_exception_record_serves_where_the_trap_frame_is_missing(self) -> None:
        said = evidence(fault(0x139, (3, BAD, 0, 0)))
        assert "LIST_ENTRY" in said["0x139.kind"].statement
        assert said["0x139.noticed-in"].points_to == ("BadDriver.sys",)

    def test_the_frame_behind_the_trap_serves_where_both_are(self) -> None:
        stack = frames("nt!KeBugCheckEx", "nt!KiFastFailDispatch+0x1", "BadDriver+0x77")
        stack = (*stack[:2], replace(stack[2], instruction=BAD))
        facts = replace(stop(0x139, (3, 0, 0, 0)), stack=stack)
        assert evidence(facts)["0x139.noticed-in"].points_to == ("BadDriver.sys",)

    def test_in_windows_own_code_the_nearest_driver_is_asked(self) -> None:
        facts = stop(0x139, (3, 0, 0, 0), "nt!KiFastFailDispatch+0x1", "Ntfs!X+0x1", "BadDriver+0x1")
        assert evidence(facts)["fault.first-driver-on-stack"].points_to == ("BadDriver.sys",)

    def test_an_unknown_check(self) -> None:
        assert "0x63" in evidence(stop(0x139, (0x63, 0, 0, 0)))["0x139.kind"].statement

    def test_the_function_that_overran_its_stack(self) -> None:
        said = evidence(stop(0xF7, (1, 2, 3, 0), "BadDriver!_report_gsfailure+0x1", "BadDriver+0x77"))
        assert said["0xf7.overran"].where.startswith("frame 2")
        assert said["0xf7.overran"].strength is Strength.STRONG
        assert suspects(stop(0xF7, (1, 2, 3, 0), "Ntfs!NtfsX+0x1")) == []


class TestNamedOutright:
    def test_a_driver_unloaded_with_work_left(self) -> None:
        facts = replace(stop(0xCE, (GONE + 8, 0, GONE + 8, 0)), unloaded=(unloaded("Gone.sys"),))
        said = evidence(facts)
        assert said["0xce.memory"].strength is Strength.STRONG
        assert suspects(facts) == ["Gone.sys"]
        assert suspects(stop(0xCE, (GONE + 8, 0, 0, 0))) == []
        assert "no unloaded driver" in notes(stop(0xCE, (GONE + 8, 0, 0, 0)))

    def test_a_thread_stuck_in_a_driver(self) -> None:
        facts = replace(
            stop(0xEA, (THREAD, 0, 0x5000, 1)),
            texts={0x5000: "BadDriver"},
            stacks={THREAD: frames("BadDriver+0x1")},
        )
        said = evidence(facts)
        assert said["0xea.name"].strength is Strength.STRONG
        assert said["0xea.thread"].points_to == ("BadDriver.sys",)

    def test_a_display_driver(self) -> None:
        facts = stop(0x116, (0x1000, BAD, 0xC000009A, 4))
        assert evidence(facts)["0x116.code"].points_to == ("BadDriver.sys",)
        assert "hardware" in notes(facts)

    def test_a_framework_driver(self) -> None:
        assert suspects(stop(0x10D, (4, 0, BAD, 0))) == ["BadDriver.sys"]
        said = evidence(stop(0x10D, (5, 0x1234, 0, 0), "nt!X+0x1", "BadDriver+0x1"))
        assert said["0x10d.first-driver-on-stack"].strength is Strength.MODERATE
        assert "0x77" in notes(stop(0x10D, (0x77, 0, 0, 0)))

    def test_a_framework_callback_that_left_a_region_entered(self) -> None:
        said = evidence(stop(0x10D, (0xF, BAD, 0, 0)))["0x10d.f.dispatch-routine"]
        assert (said.strength, said.points_to) == (Strength.PROOF, ("BadDriver.sys",))
        assert "critical region" in said.statement

    def test_a_reference_count(self) -> None:
        said = evidence(stop(0x18, (0, 0x1000, 0, 0), "nt!ObfDereferenceObject+0x1", "BadDriver+0x1"))
        assert said["0x18.first-driver-on-stack"].strength is Strength.WEAK
