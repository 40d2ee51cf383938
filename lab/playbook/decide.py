"""The playbook: from all that is known of a case to the next step. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lab import bisect
from lab.model import (
    Case,
    Crashed,
    Invalid,
    LoadPlan,
    Recipe,
    Survived,
    Trial,
    Verdict,
    VerdictKind,
    VerifierPlan,
)
from lab.playbook.ladders import Setting, ladder_for
from lab.playbook.steps import Abort, Conclude, Rung, RunTrial, Step
from lab.playbook.view import View, reproduced

REPRODUCTION_LOADS = (1, 2, 4)
"""Multiples of the case's load to try before a crash is called not reproducible."""
RUNG_ATTEMPTS = 2
"""Loads to stand under one verifier setting before the next one is tried (it may hide a race)."""
QUIETINGS = 4
"""Noisy drivers to take out of the log before giving up on it."""
ACCUSE = 0.75
"""Posterior at which a driver is put to the confirming trials."""
CONVICT = 0.95
"""Posterior that, with a long enough silence, needs no further confirming soak."""
CONFIRMATIONS = 3
"""Soaks of one confirming kind at most, before the verdict is given or given up with what they say."""
BISECT_TRIALS = 40
TRIALS = 60
SETS_TO_WEIGH = 8
"""Sets asked of the engine, which does not know of dependencies, and leaders tried by themselves."""
INVALID_IN_A_ROW = 3
LONGEST_SOAK = 6
"""Longest soak, in multiples of the case's load."""


def next_step(case: Case, *, since: int = 0) -> Step:
    """The next trial of a case, or its verdict. The same case always gets the same answer.

    Only invalid trials with a number above `since` can abort: a run that goes on with a case after the
    lab was mended passes the number of trials it found.
    """
    view = View(case)
    return (
        _stop_early(view, since)
        or _reproduce(view)
        or _confirm(view)
        or _climb(view)
        or _bisect(view)
        or _undecided(view, "the trials allowed for one case are used up")
    )


def _stop_early(view: View, since: int) -> Step | None:
    case = view.case
    if not view.third_party:
        return _undecided(view, "no third-party driver runs on this host, so none can be the cause here")
    tail = [t for t in case.trials if t.number > since][-INVALID_IN_A_ROW:]
    if len(tail) == INVALID_IN_A_ROW and all(isinstance(t.outcome, Invalid) for t in tail):
        last = tail[-1].outcome
        assert isinstance(last, Invalid)
        return Abort(last.reason, f"{INVALID_IN_A_ROW} trials in a row were invalid; the last: {last.why}")
    if len(case.trials) >= TRIALS:
        return _undecided(view, f"{TRIALS} trials were run")
    return None


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
        _recipe(view, Rung.REPRODUCE, load_factor=factor),
        "Reproduce the crash as found",
        "all drivers on, verifier off: the same state as the customer's server"
        if factor == 1
        else f"no crash yet; {factor} times the load",
    )


def _climb(view: View) -> Step | None:
    """Up the ladder of verifier settings while they can still tell something."""
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


def _verify(view: View, setting: Setting, quiet: frozenset[str], why: str) -> RunTrial:
    off = f", {_names(view, quiet)} off" if quiet else ""
    return RunTrial(
        _recipe(
            view, Rung.VERIFIER, disabled=view.switched_off_by(quiet), flags=setting.flags, load_factor=2
        ),
        f"Verifier with {setting.title}{off}",
        why,
    )


def _bisect(view: View) -> Step | None:
    """Switch sets of the remaining candidates on and off."""
    if len(view.at(Rung.BISECT)) >= BISECT_TRIALS or not view.units:
        return None
    posterior = view.belief.posterior()
    if posterior[bisect.SYSTEM] >= CONVICT:
        if any(reproduced(t) and not t.enabled & set(view.units) for t in view.valid):
            return Conclude(
                Verdict(
                    VerdictKind.SYSTEM,
                    (),
                    posterior[bisect.SYSTEM],
                    ("the crash also came with every removable third-party driver off", *_pinned(view)),
                )
            )
        chosen: frozenset[str] = frozenset()
    else:
        chosen = _most_telling(view)
    disabled = frozenset(view.units) - chosen
    recipe = _recipe(view, Rung.BISECT, disabled=disabled, seconds=_soak(view, chosen, confidence=0.9))
    leading = max(view.units, key=lambda u: posterior[u])
    return RunTrial(
        recipe,
        f"Bisect with {len(chosen)} of {len(view.units)} candidates on",
        f"the set whose outcome tells most; leading: {leading} at {posterior[leading]:.0%}",
    )


def _most_telling(view: View) -> frozenset[str]:
    """The candidates to leave on, dependencies kept: of several good sets the one that tells most."""
    units = frozenset(view.units)
    posterior = view.belief.posterior()
    suggested = [bisect.next_set(view.belief, units, seed=seed) for seed in range(SETS_TO_WEIGH)]
    for leader in sorted(units, key=lambda u: (-posterior[u], u))[:SETS_TO_WEIGH]:
        suggested += [frozenset({leader}), units - {leader}]
    possible = {units - view.switched_off_by(units - s) for s in suggested}
    possible |= {s | view.needed_by(s) for s in suggested}
    return max(possible, key=lambda s: (bisect.information(view.belief, s), sorted(s)))


def _confirm(view: View) -> Step | None:
    """Put the leading driver to the pair of trials that proves or clears it."""
    if not view.units:
        return None
    posterior = view.belief.posterior()
    accused = max(view.units, key=lambda u: posterior[u])
    named = accused in view.leads
    if posterior[accused] < (0.5 if named else ACCUSE):
        return None
    image = view.driver(accused).image
    others, alone_off = view.all_but(accused), view.switched_off_by({accused})
    without = [t for t in view.at(Rung.WITHOUT) if t.recipe.disabled == alone_off]
    if any(reproduced(t) for t in without):
        return None  # it also crashes without this one; the belief has been told
    stood = [t for t in without if isinstance(t.outcome, Survived)]
    only = [t for t in view.at(Rung.ONLY) if t.recipe.disabled == others]
    alone = [t for t in only if reproduced(t)]
    silence = sum(t.outcome.after for t in stood if isinstance(t.outcome, Survived))
    enough = silence >= _soak(view, view.units, confidence=0.95) and posterior[accused] >= CONVICT
    if not stood or (alone and not enough and len(stood) < CONFIRMATIONS):
        return RunTrial(
            _recipe(view, Rung.WITHOUT, disabled=alone_off, seconds=_soak(view, view.units, confidence=0.97)),
            f"Confirm with everything but {image}",
            f"if {image} is the cause, the host must now stand",
        )
    if not alone and len(only) < CONFIRMATIONS:
        return RunTrial(
            _recipe(view, Rung.ONLY, disabled=others, seconds=_soak(view, {accused}, confidence=0.97)),
            f"Confirm with only {image}",
            f"if {image} alone is enough, the crash must come back",
        )
    if not alone:
        return _undecided(
            view,
            f"without {image} the host stood, but {image} alone did not crash it in "
            f"{sum(t.recipe.load.seconds for t in only):g} s of load: it may need another driver beside it",
        )
    return Conclude(
        Verdict(
            VerdictKind.DRIVER,
            (accused,),
            posterior[accused],
            _because(view, accused, stood, alone),
            tuple(sorted(t.number for t in (*stood, *alone))),
        )
    )


def _because(view: View, accused: str, stood: list[Trial], alone: list[Trial]) -> tuple[str, ...]:
    image = view.driver(accused).image
    evidence = [e.statement for e in view.evidence if image.casefold() in (i.casefold() for i in e.points_to)]
    times = view.crash_seconds
    mean = sum(times) / len(times)
    without = sum(t.outcome.after for t in stood if isinstance(t.outcome, Survived))
    with_only = [t.outcome.after for t in alone if isinstance(t.outcome, Crashed)]
    return (
        *dict.fromkeys(evidence),
        f"without it the host stood {without:.0f} s of load; with it crashes came after {mean:.1f} s "
        "on average",
        f"with it as the only removable third-party driver the crash came after {with_only[0]:.1f} s",
    )


def _undecided(view: View, why: str) -> Conclude:
    if not view.units:
        return Conclude(
            Verdict(
                VerdictKind.UNDECIDED, (), 0.0, ("no third-party driver can be switched off", *_pinned(view))
            )
            if view.third_party
            else Verdict(VerdictKind.UNDECIDED, (), 0.0, (why,))
        )
    posterior = view.belief.posterior()
    ranked = sorted(view.units, key=lambda u: -posterior[u])
    close = [u for u in ranked if posterior[u] >= 0.5 * posterior[ranked[0]] and posterior[u] >= 0.1]
    because = (why, *_pinned(view, only_named=True))
    if 2 <= len(close) <= 4 and view.crash_signature_seen:
        total = sum(posterior[u] for u in close)
        return Conclude(Verdict(VerdictKind.ONE_OF, tuple(close), total, because))
    leading = tuple(ranked[:1]) if posterior[ranked[0]] >= 0.1 else ()
    return Conclude(Verdict(VerdictKind.UNDECIDED, leading, posterior[ranked[0]], because))


def _pinned(view: View, *, only_named: bool = False) -> tuple[str, ...]:
    """What of the third-party drivers was never switched off, and whether evidence names it."""
    named = {image.casefold() for e in view.evidence for image in e.points_to}
    said = []
    for driver in view.third_party:
        if driver in view.candidates:
            continue
        evidence = driver.image.casefold() in named
        if evidence or not only_named:
            reason = driver.pinned or "it does not stay off, or a driver that must stay on needs it"
            said.append(
                f"{driver.image} was never switched off: {reason}"
                + ("; evidence names it" if evidence else "")
            )
    return tuple(said)


def _soak(view: View, enabled: Iterable[str], confidence: float) -> float:
    """Seconds of load after which no crash is convincing, between one and six of the case's loads."""
    base = view.case.load.seconds
    wanted = bisect.soak_seconds(view.belief, frozenset(enabled), confidence)
    return round(min(max(wanted, base), LONGEST_SOAK * base), 1)


def _recipe(
    view: View,
    rung: Rung,
    *,
    disabled: Iterable[str] = (),
    flags: int = 0,
    load_factor: float = 1,
    seconds: float | None = None,
) -> Recipe:
    base: LoadPlan = view.case.load
    load = replace(
        base,
        seconds=seconds if seconds is not None else base.seconds * load_factor,
        seed=base.seed + len(view.case.trials) + 1,
    )
    verifier = VerifierPlan(flags, view.images if flags else ())
    return Recipe(frozenset(disabled), verifier, load, rung)


def _names(view: View, services: Iterable[str]) -> str:
    return ", ".join(sorted(view.driver(s).image for s in services))
