"""When invalid trials speak against a host, and not against the set of drivers that was tried."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from lab.model import Invalid, InvalidReason, Trial

IN_A_ROW = 3
"""Invalid trials in a row after which a host is given up."""

LUCK = 1e-3
"""Where other boots fail, too: how improbable a row must be for the host to be blamed."""


def unfit(trials: Sequence[Trial], case: Sequence[Trial] = ()) -> tuple[Invalid, str] | None:
    """Why the host of these trials is given up: its last outcome, and the beginning of a sentence.

    A boot that fails speaks against the set of drivers, and does not count with other failures. It is the
    host when set after set does not boot, other hosts did not fail with them, no driver explains it that was
    off in all of them and never in a boot that came up, and it is no luck where boots fail now and then
    anyway. `case` are the trials of all hosts.
    """
    row = list(takewhile(lambda t: isinstance(t.outcome, Invalid), reversed(trials)))
    other = [t for t in row if not _dead(t)]
    if len(other) >= IN_A_ROW:
        return _last(other), f"{IN_A_ROW} trials in a row were invalid"
    elsewhere = {t.recipe.disabled for t in case if _dead(t) and t.host != row[0].host} if row else set()
    sets = {t.recipe.disabled for t in row if _dead(t)} - elsewhere
    explained = bool(sets) and frozenset.intersection(*sets) - _not_needed(case)
    if len(sets) >= IN_A_ROW and not explained and _luck(len(sets), [t for t in case if t not in row]) < LUCK:
        return _last(row), f"{len(sets)} different driver sets in a row did not boot"
    return None


def _luck(sets: int, others: Sequence[Trial]) -> float:
    """How probable such a row is on a host that is fit, by how often the others boot; 0 where all do."""
    dead = sum(_dead(t) for t in others if t.recipe.disabled)
    came_up = sum(not isinstance(t.outcome, Invalid) for t in others if t.recipe.disabled)
    return ((dead + 1) / (dead + came_up + 2)) ** sets if dead else 0.0


def _dead(trial: Trial) -> bool:
    return isinstance(trial.outcome, Invalid) and trial.outcome.reason is InvalidReason.NOT_BOOTED


def _not_needed(case: Sequence[Trial]) -> frozenset[str]:
    """Services that were off in a boot that came up."""
    return frozenset(s for t in case if not isinstance(t.outcome, Invalid) for s in t.recipe.disabled)


def _last(row: Sequence[Trial]) -> Invalid:
    assert isinstance(row[0].outcome, Invalid)
    return row[0].outcome
