"""A world for the playbook: what trials of a given truth would bring, without any host."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lab.model import (
    Bugcheck,
    Case,
    ClassFilter,
    Crashed,
    Driver,
    DumpFacts,
    Evidence,
    Invalid,
    InvalidReason,
    LoadPlan,
    Origin,
    Outcome,
    Recipe,
    Relation,
    Signature,
    StartType,
    Strength,
    Survived,
    Triage,
    Trial,
)
from lab.playbook import Abort, Conclude, RunTrial, next_step

SIGNATURE = Signature(0x20, 0, "srv2!SrvProcWorkerThread", ())
DUMP = DumpFacts("x", 1, 6, "bitmap kernel", 17763, "x64", 2, "", 0.0, True)


def driver(name: str, **changes: object) -> Driver:
    base = Driver(
        service=name,
        image=f"{name}.sys",
        image_path=rf"\SystemRoot\system32\drivers\{name}.sys",
        start=StartType.SYSTEM,
        running=True,
        origin=Origin.THIRD_PARTY,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def some_drivers(count: int = 16) -> tuple[Driver, ...]:
    """`count` candidates, some minifilters and class filters, two of Windows, one pinned."""
    made = []
    for i in range(count):
        changes: dict[str, object] = {}
        if i % 3 == 0:
            changes["altitudes"] = (str(320000 + i),)
        elif i % 5 == 0:
            changes["class_filters"] = (ClassFilter("{guid}", "Volume", "upper", 0),)
        made.append(driver(f"drv{i:02}", **changes))
    made.append(driver("Ntfs", origin=Origin.IN_BOX))
    made.append(driver("srv2", origin=Origin.IN_BOX))
    made.append(driver("nic", pinned="the lab's own network card"))
    return tuple(made)


@dataclass
class World:
    """The truth of one machine. `mean` is the mean seconds of load until the crash."""

    drivers: tuple[Driver, ...]
    culprit: str | None
    kind: str  # "minifilter", "class filter" or "callback"
    inlined: bool = True
    noisy: str | None = None
    mean: float = 2.0
    system: bool = False
    needs: str | None = None  # a second driver without which the culprit is harmless
    dumps: bool = True
    seed: int = 1
    invalid: Callable[[Recipe], Invalid | None] = lambda recipe: None
    crashes: dict[str, Triage] = field(default_factory=dict)

    def run(self, number: int, recipe: Recipe) -> Trial:
        odds = random.Random(f"{self.seed}/{number}")
        enabled = frozenset(
            d.service
            for d in self.drivers
            if d.running and d.origin is not Origin.IN_BOX and d.service not in recipe.disabled
        )
        outcome: Outcome | None = self.invalid(recipe)
        if outcome is None:
            guilty = self.system or (
                self.culprit in enabled and (self.needs is None or self.needs in enabled)
            )
            after = odds.expovariate(1 / self.mean)
            if guilty and after <= recipe.load.seconds:
                outcome = self._crash(number, recipe, enabled, after)
            else:
                outcome = Survived(recipe.load.seconds)
        return Trial(number, "host", recipe, enabled, outcome, "2026-01-01T00:00:00+00:00", 60.0)

    def _crash(self, number: int, recipe: Recipe, enabled: frozenset[str], after: float) -> Crashed:
        flags = recipe.verifier.flags
        image = f"{self.culprit}.sys"
        evidence: list[Evidence] = []
        seen = Bugcheck(0x20, (0, 0xFFFF, 0, 1))
        if flags & 0x10 and self.kind != "callback" and not self.system:
            seen = Bugcheck(0xC4, (0xC5, 0, 0xFFFF, 0))
            if self.kind == "class filter":
                evidence.append(
                    Evidence("0xc4.c5.dispatch-routine", "its routine", Strength.PROOF, "", (image,))
                )
            else:
                attached = tuple(d.image for d in self.drivers if d.is_minifilter and d.service in enabled)
                strength = Strength.STRONG if len(attached) == 1 else Strength.MODERATE
                evidence += [Evidence("0xc4.c5.minifilter", "attached", strength, "", (i,)) for i in attached]
        elif flags & 0x800:
            if self.noisy in enabled:
                evidence.append(
                    Evidence(
                        "0x20.region-log.monopolised", "noise", Strength.WEAK, "", (f"{self.noisy}.sys",)
                    )
                )
            elif not self.inlined and not self.system:
                evidence.append(
                    Evidence("0x20.region-log.thread", "unbalanced", Strength.STRONG, "", (image,))
                )
        if not self.dumps:
            return Crashed(after, seen, Relation.SAME, no_dump_because="disk full")
        sha = f"{number:064x}"
        sub = 0xC5 if seen.code == 0xC4 else 0
        self.crashes[sha] = Triage(
            DUMP, seen, None, (), (), Signature(seen.code, sub, "", ()), evidence=tuple(evidence)
        )
        return Crashed(after, seen, Relation.SIBLING if sub else Relation.SAME, sha)


def investigate(world: World, *, limit: int = 80) -> tuple[Case, Conclude | Abort]:
    """Play a case to its end in this world."""
    case = Case("c", "t", "", SIGNATURE, LoadPlan("burst", 8.0, world.seed), world.drivers)
    for _ in range(limit):
        step = next_step(case)
        if not isinstance(step, RunTrial):
            return case, step
        trial = world.run(len(case.trials) + 1, step.recipe)
        case = replace(case, trials=(*case.trials, trial), crashes=dict(world.crashes))
    raise AssertionError("the playbook does not come to an end")


def not_applied(*services: str) -> Callable[[Recipe], Invalid | None]:
    """These services never take a setting that would switch them off."""

    def invalid(recipe: Recipe) -> Invalid | None:
        stuck = tuple(sorted(recipe.disabled & set(services)))
        return Invalid(InvalidReason.NOT_APPLIED, "still running", stuck) if stuck else None

    return invalid
