"""The playbook: from all that is known of a case to the next step. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterable

from lab.bisect.hypotheses import Kind
from lab.model import (
    Case,
    Crashed,
    Verdict,
    VerdictKind,
)
from lab.playbook.ladders import Setting, ladder_for
from lab.playbook.search import ask, recipe
from lab.playbook.steps import SEARCH, Abort, Conclude, Pause, Rung, RunTrial, Step
from lab.playbook.unfit import unfit
from lab.playbook.view import View, reproduced

REPRODUCTION_LOADS = (1, 2, 4)
"""Multiples of the case's load to try before a crash is called not reproducible."""
RUNG_ATTEMPTS = 2
"""Loads to stand under one verifier setting before the next one is tried (it may hide a race)."""
QUIETINGS = 4
"""Noisy drivers to take out of the log before giving up on it."""
NAMED, ACCUSED = 0.5, 0.75
"""Probability of one answer from which on the verifier can wait: with strong evidence for it, and without."""
SEARCH_TRIALS = 80
TRIALS = 100
"""Trials of the search, and of a case, after which an answer is given with what is known."""


def next_step(case: Case, *, since: int = 0) -> Step:
    """The next trial of a case, or its verdict. The same case always gets the same answer.

    Only invalid trials with a number above `since` can abort: a run that goes on with a case after the
    lab was mended passes the number of trials it found.
    """
    view = View(case)
    return _stop_early(view, since) or _reproduce(view) or _climb(view) or _search(view)


def _stop_early(view: View, since: int) -> Step | None:
    case = view.case
    if not view.third_party:
        return _search(view)
    found = unfit([t for t in case.trials if t.number > since], case.trials)
    if found is None:
        return None
    last, why = found
    return Abort(last.reason, f"{why}; the last: {last.why}")


def _reproduce(view: View) -> Step | None:
    """Until the crash has been seen once on this host."""
    if view.crash_signature_seen:
        return None
    attempts = view.at(Rung.REPRODUCE)
    if len(attempts) >= len(REPRODUCTION_LOADS):
        others = [t for t in attempts if isinstance(t.outcome, Crashed)]
        because = (
            f"{len(attempts)} loads, {sum(t.recipe.load.seconds for t in attempts):g} s in all, "
            + ("ended in other stops than the expected one" if others else "brought no crash"),
        )
        return Conclude(Verdict(VerdictKind.NOT_REPRODUCIBLE, (), 0.0, because))
    factor = REPRODUCTION_LOADS[len(attempts)]
    return RunTrial(
        recipe(view, Rung.REPRODUCE, load_factor=factor),
        "Reproduce the crash as found",
        "all drivers on, verifier off: the same state as the customer's server"
        if factor == 1
        else f"no crash yet; {factor} times the load",
    )


def _climb(view: View) -> Step | None:
    """Up the ladder of verifier settings while they can still tell something, and nobody is accused."""
    if len(view.case.trials) >= TRIALS or _somebody_accused(view):
        return None
    quiet: frozenset[str] = frozenset(s for t in view.at(Rung.VERIFIER) for s in view.noisy(t))
    for setting in ladder_for(view.case.expected).settings:
        trials = view.at(Rung.VERIFIER, flags=setting.flags)
        if not trials:
            return _verify(view, setting, quiet, f"{setting.tells}")
        last = trials[-1]
        new_noise = frozenset(view.noisy(last)) - last.recipe.disabled
        if reproduced(last) and new_noise and len(trials) <= QUIETINGS:
            names = _names(view, new_noise)
            return _verify(
                view, setting, quiet, f"{names} fills the whole log; that is noise, not proof: out with it"
            )
        if not any(reproduced(t) for t in trials) and len(trials) < RUNG_ATTEMPTS:
            return _verify(view, setting, quiet, "no crash under this setting yet; once more")
    return None


def _somebody_accused(view: View) -> bool:
    if not view.services:
        return False
    top, probability = view.belief.ranked(1)[0]
    named = top.kind is Kind.SINGLE and not set(view.units.services[top.units[0]]).isdisjoint(view.leads)
    return probability >= (NAMED if named else ACCUSED)


def _verify(view: View, setting: Setting, quiet: frozenset[str], why: str) -> RunTrial:
    off = f", {_names(view, quiet)} off" if quiet else ""
    return RunTrial(
        recipe(view, Rung.VERIFIER, disabled=view.switched_off_by(quiet), flags=setting.flags, load_factor=2),
        f"Verifier with {setting.title}{off}",
        why,
    )


def _search(view: View) -> Step:
    """Switch sets of the remaining candidates on and off, and confirm what comes of it."""
    spent = len(view.case.trials) >= TRIALS or sum(map(len, map(view.at, SEARCH.values()))) >= SEARCH_TRIALS
    step = ask(view, left=0.0 if spent else None)
    assert not isinstance(step, Pause)  # nothing else is running that could be waited for
    return step


def _names(view: View, services: Iterable[str]) -> str:
    return ", ".join(sorted(view.driver(s).image for s in services))
