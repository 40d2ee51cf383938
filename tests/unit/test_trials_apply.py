"""A recipe is believed only when read back, and only for what can be expected to run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from lab.inventory import Timeouts
from lab.model import (
    Boot,
    Case,
    Driver,
    DriverSetting,
    LoadPlan,
    NotApplied,
    Origin,
    Recipe,
    Signature,
    StartType,
    VerifierPlan,
    VerifierState,
)
from lab.trials import Bench
from lab.trials.apply import apply


def driver(service: str, start: StartType = StartType.SYSTEM) -> Driver:
    return Driver(service, f"{service}.sys", "", start, running=True, origin=Origin.THIRD_PARTY)


FOUND = (driver("alpha"), driver("beta"), driver("tool", StartType.DEMAND))


@dataclass
class Guest:
    """A guest that boots into what was set, `slow` drivers only after some looks, `lost` ones never."""

    drivers_now: tuple[Driver, ...] = FOUND
    slow: dict[str, int] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    boots: int = 0
    plan: VerifierPlan = field(default_factory=VerifierPlan)
    active: VerifierPlan = field(default_factory=VerifierPlan)

    def wait_until_reachable(self) -> Boot:
        return Boot(str(self.boots), "", "", "c", 17763, "", "", 2, 1)

    def drivers(self) -> tuple[Driver, ...]:
        self.slow = {s: n - 1 for s, n in self.slow.items()}
        return tuple(
            replace(d, running=d.running and self.slow.get(d.service, 0) <= 0) for d in self.drivers_now
        )

    def set_drivers(self, settings: list[DriverSetting]) -> None:
        starts = {s.service: s.start for s in settings}
        self.drivers_now = tuple(replace(d, start=starts.get(d.service, d.start)) for d in self.drivers_now)

    def verifier(self) -> VerifierState:
        return VerifierState(self.plan, self.active.flags, self.active.drivers)

    def set_verifier(self, plan: VerifierPlan) -> None:
        self.plan = plan

    def restart(self, token: str) -> None:
        self.boots += 1
        self.active = self.plan
        self.drivers_now = tuple(
            replace(
                d,
                running=(d.start is not StartType.DISABLED or d.service in self.stuck)
                and d.service not in self.lost,
            )
            for d in self.drivers_now
        )

    def wait_for_new_boot(self, old: Boot) -> Boot:
        return self.wait_until_reachable()


class Clock:
    time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Host:
    name: str = "host"
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass
class FakeBench:
    guest: Guest
    clock: Clock = field(default_factory=Clock)
    host: Host = field(default_factory=Host)
    case: str = "c"
    found: tuple[Driver, ...] = ()
    loaded: str = ""

    def tell(self, kind: object, text: str) -> None:
        pass


def run(guest: Guest, disabled: set[str], flags: int = 0, loaded: str = "") -> frozenset[str]:
    images = tuple(d.image for d in FOUND) if flags else ()
    recipe = Recipe(frozenset(disabled), VerifierPlan(flags, images), LoadPlan())
    case = Case("c", "t", "", Signature(0x20, 0, "", ()), LoadPlan(), FOUND)
    return apply(cast(Bench, FakeBench(guest, loaded=loaded)), case, recipe)


def test_nothing_to_change_needs_no_restart() -> None:
    guest = Guest()
    assert run(guest, set()) == {"alpha", "beta", "tool"} and guest.boots == 0


def test_no_boot_is_loaded_twice() -> None:
    guest = Guest()
    assert run(guest, {"beta"}, loaded="0") == {"alpha", "tool"} and guest.boots == 1
    assert run(guest, {"beta"}, loaded="0") == {"alpha", "tool"} and guest.boots == 1, "it crashed since"
    assert run(guest, {"beta"}, loaded="1") == {"alpha", "tool"} and guest.boots == 2


def test_a_set_that_took_is_what_runs_after_one_restart() -> None:
    guest = Guest()
    assert run(guest, {"beta"}, flags=0x800) == {"alpha", "tool"} and guest.boots == 1


def test_a_driver_that_keeps_running_is_named_at_once() -> None:
    with pytest.raises(NotApplied, match="still running: beta") as failed:
        run(Guest(stuck=frozenset({"beta"})), {"beta"})
    assert failed.value.services == ("beta",)


def test_a_driver_that_starts_a_little_later_is_waited_for() -> None:
    assert run(Guest(slow={"alpha": 9}), {"beta"}) == {"alpha", "tool"}


def test_a_driver_that_does_not_come_back_is_not_applied() -> None:
    with pytest.raises(NotApplied, match="not running: alpha"):
        run(Guest(lost=frozenset({"alpha"})), {"beta"})


def test_a_driver_that_a_tool_had_loaded_is_not_expected_to_come_back() -> None:
    assert run(Guest(lost=frozenset({"tool"})), {"beta"}, flags=0x800) == {"alpha"}


def test_a_verifier_that_did_not_take_is_not_applied() -> None:
    class Deaf(Guest):
        def restart(self, token: str) -> None:
            super().restart(token)
            self.active = VerifierPlan()

    with pytest.raises(NotApplied, match="verifier runs with 0x0"):
        run(Deaf(), set(), flags=0x800)
