"""What the trials of a case say of its units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.bisect.old_belief import Observation
from lab.model import Case, Crashed, Invalid, Relation, Trial

Units = Mapping[str, tuple[str, ...]] | Iterable[str]
"""Unit names with the services that move with them; or services, each a unit of its own."""


def members(units: Units) -> dict[str, tuple[str, ...]]:
    """Each unit with its services."""
    return dict(units) if isinstance(units, Mapping) else {u: (u,) for u in units}


def observation(trial: Trial, units: Units) -> Observation | None:
    """What one trial says; None for an invalid one, which says nothing.

    The expected crash, or a sibling of it, is a crash. Any other stop only ended the run early: its
    seconds count as seconds without the crash. A unit is on when any of its services ran.
    """
    if isinstance(trial.outcome, Invalid):
        return None
    crashed = isinstance(trial.outcome, Crashed) and trial.outcome.relation in (
        Relation.SAME,
        Relation.SIBLING,
    )
    enabled = frozenset(u for u, services in members(units).items() if trial.enabled & frozenset(services))
    return Observation(enabled, max(0.0, trial.outcome.after), crashed)


def observations(case: Case, units: Units) -> list[Observation]:
    """What the trials of `case` say, in their order: (units that were on, seconds of load, crashed)."""
    known = members(units)
    seen = (observation(trial, known) for trial in case.trials)
    return [o for o in seen if o is not None]
