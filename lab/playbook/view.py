"""A case, looked at the way the playbook needs it: candidates, leads, belief, trials by rung."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from lab import bisect
from lab.bisect.belief import Belief, Observation, Question
from lab.bisect.fitting import believe
from lab.bisect.units import Units
from lab.model import (
    Case,
    Crashed,
    Driver,
    Evidence,
    Invalid,
    InvalidReason,
    Relation,
    Strength,
    Trial,
)
from lab.playbook.steps import Rung
from lab.windows import surgery

SETUP_SECONDS = 240.0
"""What a trial costs besides its load, as long as none was run: two restarts and some looks."""

NEEDED_TO_BOOT = 3
"""Boots that must have failed without a driver, one of them without it alone, before it is always left on."""

MONOPOLISED = "0x20.region-log.monopolised"
"""Rule id of the evidence that one driver's calls fill the whole log: a lead, never a proof."""


def reproduced(trial: Trial) -> bool:
    """The trial ended in the crash we look for, or in another face of it."""
    return isinstance(trial.outcome, Crashed) and trial.outcome.relation in (Relation.SAME, Relation.SIBLING)


@dataclass(frozen=True)
class View:
    """Everything the playbook derives from a case. Pure."""

    case: Case

    @cached_property
    def valid(self) -> tuple[Trial, ...]:
        return tuple(t for t in self.case.trials if not isinstance(t.outcome, Invalid))

    def at(self, rung: Rung, *, flags: int | None = None) -> tuple[Trial, ...]:
        return tuple(
            t
            for t in self.valid
            if t.recipe.purpose == rung and (flags is None or t.recipe.verifier.flags == flags)
        )

    @cached_property
    def stuck(self) -> frozenset[str]:
        """Services that did not take a setting twice: treated as pinned."""
        seen: dict[str, int] = {}
        for trial in self.case.trials:
            if isinstance(trial.outcome, Invalid):
                for service in trial.outcome.stuck:
                    seen[service] = seen.get(service, 0) + 1
        return frozenset(s for s, n in seen.items() if n >= 2)

    @cached_property
    def doubtful(self) -> frozenset[str]:
        """Services that the host may need to boot: they alone explain a boot that failed, and it was not
        the only one. Whatever else was off in it, was off in a boot that came up, too.
        """
        booted = {s for t in self.valid for s in t.recipe.disabled}
        unexplained = [t.recipe.disabled - booted for t in self._dead]
        return frozenset(
            s
            for left in unexplained
            for s in left
            if left <= self.switched_off_by({s}) and self._fails_without(s) >= 2
        )

    @cached_property
    def needed_to_boot(self) -> frozenset[str]:
        """Services without which alone the host did not boot, and never does: treated as pinned."""
        return frozenset(
            s
            for s in self.doubtful
            if self._fails_without(s) >= NEEDED_TO_BOOT
            and any(t.recipe.disabled == self.switched_off_by({s}) for t in self._dead)
        )

    def _fails_without(self, service: str) -> int:
        return sum(service in t.recipe.disabled for t in self._dead)

    @cached_property
    def third_party(self) -> tuple[Driver, ...]:
        """Third-party drivers that ran on the host as found; only these can be guilty."""
        return tuple(d for d in self.case.drivers if d.in_question)

    @cached_property
    def candidates(self) -> tuple[Driver, ...]:
        """Third-party drivers that can be switched off, with all that depends on them."""
        free = {d.service for d in self.third_party if not d.pinned} - self.stuck - self.needed_to_boot
        return tuple(d for d in self.third_party if self.switched_off_by({d.service}) <= free)

    def switched_off_by(self, services: Iterable[str]) -> frozenset[str]:
        """What is off when these are: they and the running drivers that need one of them."""
        running = frozenset(d.service for d in self.case.drivers if d.running)
        return surgery.with_dependants(self.case.drivers, services) & running

    def needed_by(self, services: Iterable[str]) -> frozenset[str]:
        """The candidates that must be on for these to be on."""
        wanted = frozenset(services)
        return frozenset(s for s in self.services if self.switched_off_by({s}) & wanted)

    @cached_property
    def services(self) -> tuple[str, ...]:
        """The services of the candidates."""
        return tuple(sorted(d.service for d in self.candidates))

    @cached_property
    def units(self) -> Units:
        """What the search switches. Only where there are candidates."""
        return Units.of(self.services, {s: self.needed_by({s}) - {s} for s in self.services})

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Images to verify: every third-party driver."""
        return tuple(sorted({d.image for d in self.third_party}, key=str.casefold))

    def service_of(self, image: str) -> str | None:
        folded = image.casefold()
        return next((d.service for d in self.third_party if d.image.casefold() == folded), None)

    def driver(self, service: str) -> Driver:
        return next(d for d in self.case.drivers if d.service == service)

    def evidence_of(self, trial: Trial) -> tuple[Evidence, ...]:
        outcome = trial.outcome
        if not isinstance(outcome, Crashed) or outcome.dump not in self.case.crashes:
            return ()
        return self.case.crashes[outcome.dump].evidence

    @cached_property
    def evidence(self) -> tuple[Evidence, ...]:
        """Evidence of every related crash, the customer's first."""
        dumps = [self.case.customer] if self.case.customer in self.case.crashes else []
        dumps += [
            t.outcome.dump
            for t in self.valid
            if reproduced(t) and isinstance(t.outcome, Crashed) and t.outcome.dump in self.case.crashes
        ]
        return tuple(e for sha in dumps for e in self.case.crashes[sha].evidence)

    @cached_property
    def leads(self) -> tuple[str, ...]:
        """Services that strong evidence names, strongest first; cleared ones left out."""
        order = {Strength.PROOF: 0, Strength.STRONG: 1}
        ranked = sorted((e for e in self.evidence if e.strength in order), key=lambda e: order[e.strength])
        services = [self.service_of(image) for e in ranked for image in e.points_to]
        return tuple(dict.fromkeys(s for s in services if s in self.services))

    def noisy(self, trial: Trial) -> tuple[str, ...]:
        """Services whose calls filled the log of this trial's crash and that can be switched off."""
        services = [
            self.service_of(image)
            for e in self.evidence_of(trial)
            if e.rule == MONOPOLISED
            for image in e.points_to
        ]
        return tuple(s for s in dict.fromkeys(services) if s in self.services)

    @cached_property
    def question(self) -> Question:
        """What the search is asked: units, evidence, and what trials of this case cost."""
        images = {u: tuple(self.driver(s).image for s in self.units.services[u]) for u in self.units.names}
        return Question(
            self.units,
            bisect.prior(images, self.evidence),
            soak=self.case.load.seconds,
            setup=self.setup_seconds,
            refused=self.refused,
        )

    @cached_property
    def observations(self) -> tuple[Observation, ...]:
        """What the valid trials say, in their order.

        The expected crash, or a sibling of it, is a crash. Any other stop only ended the run early: its
        seconds count as seconds without the crash. A unit is on when any of its services ran. A trial without
        a driver that turned out later to be none that can be switched says nothing: to the search that driver
        is always on, and a silence of the others would clear it.
        """
        can_be_off = frozenset(self.services)
        return tuple(
            Observation(self._units_on(t.enabled), max(0.0, t.outcome.after), reproduced(t), t.number)
            for t in self.valid
            if not isinstance(t.outcome, Invalid) and t.recipe.disabled <= can_be_off
        )

    @cached_property
    def belief(self) -> Belief:
        """What all valid trials and all evidence say together. Only where there are candidates."""
        return believe(self.question, self.observations)

    @cached_property
    def setup_seconds(self) -> float:
        """What a trial of this case costs besides its load, in the middle."""
        costs = [t.seconds - t.load.seconds for t in self.valid if t.load is not None]
        return max(0.0, median(costs)) if costs else SETUP_SECONDS

    @cached_property
    def refused(self) -> tuple[frozenset[str], ...]:
        """Sets of units with which a host did not boot twice: not to be tried again."""
        on = Counter(on for _, on in self._unbooted)
        return tuple(sorted((each for each, times in on.items() if times >= 2), key=sorted))

    def unbooted(self, host: str) -> tuple[frozenset[str], ...]:
        """Sets of units with which this host did not boot: better tried on another one."""
        return tuple(sorted({on for name, on in self._unbooted if name == host}, key=sorted))

    @cached_property
    def _unbooted(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """Hosts and units that were on, for the boots that failed; those that `needed_to_boot` explains left
        out, for they say nothing of the others."""
        return tuple(
            (t.host, self._units_on(frozenset(self.services) - t.recipe.disabled))
            for t in self._dead
            if not t.recipe.disabled & self.needed_to_boot
        )

    @cached_property
    def _dead(self) -> tuple[Trial, ...]:
        return tuple(
            t
            for t in self.case.trials
            if isinstance(t.outcome, Invalid) and t.outcome.reason is InvalidReason.NOT_BOOTED
        )

    def _units_on(self, services: frozenset[str]) -> frozenset[str]:
        return frozenset(u for u, members in self.units.services.items() if services & frozenset(members))

    @cached_property
    def crash_seconds(self) -> tuple[float, ...]:
        return tuple(t.outcome.after for t in self.valid if reproduced(t) and isinstance(t.outcome, Crashed))

    @cached_property
    def crash_signature_seen(self) -> bool:
        return any(reproduced(t) for t in self.valid)
