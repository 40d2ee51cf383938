"""What is believed of each unit after some trials.

A unit is one driver service, or several that can only move together. One hypothesis says "it is unit i":
the crash comes as a Poisson event with rate λ while unit i is on, and with a small rate μ while it is
off (another defect with the same face). One more says "it is none of them": λ always. Both rates are
unknown; they have Gamma priors and are integrated out, so a hypothesis is two numbers on each side:
crashes and seconds under load. A soak without a crash is a censored crash time: only its seconds count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

SYSTEM = ""
"""Key of the hypothesis "none of the units": Windows, pinned drivers, firmware or hardware."""

_A1, _B1_SOAKS = 1.0, 0.3
_A0, _B0_SOAKS = 0.4, 40.0
"""Gamma priors of λ and μ; rates in units of one soak. Mean of μ: 1 % for a soak. Tuned on simulations."""

_FLOOR = 0.02
"""The share of the prior that is always spread evenly, so that no unit starts at zero."""


class Observation(NamedTuple):
    """One run under load: the units that were on, the seconds it lasted, whether it ended in the crash."""

    enabled: frozenset[str]
    seconds: float
    crashed: bool


class Hazard(NamedTuple):
    """A Gamma belief about a rate of crashes: `crashes` / `seconds` is its mean."""

    crashes: float
    seconds: float

    def stands(self, seconds: float) -> float:
        """Probability of no crash for `seconds` more, the rate integrated out."""
        return math.exp(-self.crashes * math.log1p(seconds / self.seconds))


class Weighed(NamedTuple):
    """One hypothesis: its probability, and the rates it believes in with its unit on and off."""

    probability: float
    on: Hazard
    off: Hazard


@dataclass(frozen=True)
class Belief:
    """Immutable; `observe` gives the next one. Seconds are seconds of load.

    `prior` gives a weight ≥ 0 for each unit (None: all alike); it is normalised, and 2 % of it are
    spread evenly. `system_prior` is the probability that none of the units is the culprit.
    `soak` is the length of a usual run, the scale on which rates are guessed before any is seen.
    """

    units: tuple[str, ...]
    prior: Mapping[str, float] | None = None
    system_prior: float = 0.03
    soak: float = 8.0
    observations: tuple[Observation, ...] = ()

    def __post_init__(self) -> None:
        if not self.units or len(set(self.units)) != len(self.units) or SYSTEM in self.units:
            raise ValueError("units must be different, non-empty names, and at least one")
        if not 0 < self.system_prior < 1:
            raise ValueError("system_prior must be between 0 and 1")
        if not (self.soak > 0 and math.isfinite(self.soak)):
            raise ValueError("soak must be a positive number of seconds")
        if self.prior is not None and not all(w >= 0 and math.isfinite(w) for w in self.prior.values()):
            raise ValueError("prior weights must be finite and not negative")

    def observe(self, enabled: Iterable[str], seconds: float, crashed: bool) -> Belief:
        """The belief after one more run. Names in `enabled` that are no units do not matter."""
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError("seconds must be a finite number, not negative")
        seen = Observation(frozenset(enabled) & frozenset(self.units), float(seconds), crashed)
        return replace(self, observations=(*self.observations, seen))

    def posterior(self) -> dict[str, float]:
        """Probability of each unit, and of SYSTEM; they sum to 1."""
        return {name: h.probability for name, h in self.weighed.items()}

    def leader(self) -> str:
        """The most probable hypothesis, a unit or SYSTEM; the first by name when several are."""
        return min(self.weighed, key=lambda name: (-self.weighed[name].probability, name))

    def predict(self, enabled: Iterable[str], seconds: float, given: str | None = None) -> float:
        """Probability of a crash within `seconds` with these units on.

        If `given` is the culprit, or over all hypotheses.
        """
        on = frozenset(enabled)
        if given is not None:
            return 1.0 - _side(given, self.weighed[given], on).stands(seconds)
        stands = (h.probability * _side(n, h, on).stands(seconds) for n, h in self.weighed.items())
        return min(1.0, max(0.0, 1.0 - math.fsum(stands)))

    @property
    def crashes(self) -> int:
        return sum(o.crashed for o in self.observations)

    @cached_property
    def weighed(self) -> dict[str, Weighed]:
        """Every hypothesis with its probability and rates: a pure function of the observations."""
        all_crashes, all_seconds = self._exposure(self.observations)
        logs: dict[str, float] = {}
        sides: dict[str, tuple[Hazard, Hazard]] = {}
        for name, share in self._shares().items():
            crashes, seconds = self._exposure(
                o for o in self.observations if name == SYSTEM or name in o.enabled
            )
            on = Hazard(_A1 + crashes, _B1_SOAKS * self.soak + seconds)
            idle = max(0.0, all_seconds - seconds)
            off = Hazard(_A0 + all_crashes - crashes, _B0_SOAKS * self.soak + idle)
            logs[name] = math.log(share) + _evidence(on) + _evidence(off)
            sides[name] = (on, off)
        top = max(logs.values())
        scaled = {name: math.exp(value - top) for name, value in logs.items()}
        total = math.fsum(scaled.values())
        return {name: Weighed(scaled[name] / total, *sides[name]) for name in logs}

    @staticmethod
    def _exposure(observations: Iterable[Observation]) -> tuple[int, float]:
        """Crashes and seconds; `fsum` makes the order of the observations not matter at all."""
        seen = list(observations)
        return sum(o.crashed for o in seen), math.fsum(o.seconds for o in seen)

    def _shares(self) -> dict[str, float]:
        weights = {u: 1.0 if self.prior is None else self.prior.get(u, 0.0) for u in self.units}
        total = math.fsum(weights.values())
        even = 1.0 / len(self.units)
        floor = _FLOOR if total > 0 else 1.0
        shares = {
            u: (1.0 - self.system_prior) * (floor * even + (1.0 - floor) * (w / total if total > 0 else 0.0))
            for u, w in weights.items()
        }
        return {**shares, SYSTEM: self.system_prior}


def active(name: str, enabled: frozenset[str]) -> bool:
    """Whether the crash is to be expected with these units on, if `name` is the culprit."""
    return name == SYSTEM or name in enabled


def _side(name: str, hypothesis: Weighed, enabled: frozenset[str]) -> Hazard:
    return hypothesis.on if active(name, enabled) else hypothesis.off


def _evidence(h: Hazard) -> float:
    """Log of the Gamma-Poisson marginal likelihood, up to a constant that all hypotheses share."""
    return math.lgamma(h.crashes) - h.crashes * math.log(h.seconds)
