"""When invalid trials speak against a host, and not against the set of drivers that was tried."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from lab.model import Invalid, InvalidReason, Trial

IN_A_ROW = 3
"""Invalid trials in a row after which a host is given up."""


def unfit(trials: Sequence[Trial], case: Sequence[Trial] = ()) -> tuple[Invalid, str] | None:
    """Why the host of these trials is given up: its last outcome, and the beginning of a sentence.

    A boot that fails speaks against the set of drivers, and does not count with other failures. It is the
    host when set after set does not boot, other hosts did not fail with them, and no driver explains it
    that was off in all of them and never in a boot that came up. `case` are the trials of all hosts.
    """
    row = list(takewhile(lambda t: isinstance(t.outcome, Invalid), reversed(trials)))
    other = [t for t in row if not _dead(t)]
    if len(other) >= IN_A_ROW:
        return _last(other), f"{IN_A_ROW} trials in a row were invalid"
    elsewhere = {t.recipe.disabled for t in case if _dead(t) and t.host != row[0].host} if row else set()
    sets = {t.recipe.disabled for t in row if _dead(t)} - elsewhere
    if len(sets) >= IN_A_ROW and not frozenset.intersection(*sets) - _not_needed(case):
        return _last(row), f"{len(sets)} different driver sets in a row did not boot"
    return None


def _dead(trial: Trial) -> bool:
    return isinstance(trial.outcome, Invalid) and trial.outcome.reason is InvalidReason.NOT_BOOTED


def _not_needed(case: Sequence[Trial]) -> frozenset[str]:
    """Services that were off in a boot that came up."""
    return frozenset(s for t in case if not isinstance(t.outcome, Invalid) for s in t.recipe.disabled)


def _last(row: Sequence[Trial]) -> Invalid:
    assert isinstance(row[0].outcome, Invalid)
    return row[0].outcome
