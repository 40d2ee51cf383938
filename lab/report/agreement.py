"""How well each driver agrees with the trials: on in every crash, off in every run that stood."""

from __future__ import annotations

from lab.model import Case, Trial
from lab.report import culprits, drivers, survival, words


def leading(case: Case, services: tuple[str, ...], most: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Services to show one by one, `most` at most, and the others: those that agree least.

    Culprits come first; among the rest, fewest crashes without the driver, then least load that it stood.
    """
    if len(services) <= most:
        return services, ()
    named = drivers.culprit_names(case)
    trials = [(t, _ran(t)) for t in case.trials if survival.counts(t)]

    def order(service: str) -> tuple[bool, int, float, str]:
        name = service.casefold()
        without = sum(_crashed(t) and name not in ran for t, ran in trials)
        stood = sum(survival.time_under_load(t) for t, ran in trials if not _crashed(t) and name in ran)
        return name not in named, without, stood, name

    ranked = sorted(services, key=order)
    return tuple(ranked[: most - 1]), tuple(ranked[most - 1 :])


def finding(case: Case, services: tuple[str, ...]) -> str:
    """What the trials say of the culprits, or else which drivers agree with every trial; or ""."""
    trials = [t for t in case.trials if survival.counts(t)]
    crashed = [t for t in trials if _crashed(t)]
    stood = [t for t in trials if not _crashed(t)]
    if not crashed:
        return ""
    always = [s for s in services if all(s.casefold() in _ran(t) for t in crashed)]
    if not stood:
        if not always:
            return "No driver ran in every trial that crashed."
        ran = words.count(len(always), "driver")
        return f"{ran[0].upper()}{ran[1:]} ran in every trial that crashed; no trial has stood yet."
    fits = [s for s in always if not any(s.casefold() in _ran(t) for t in stood)]
    if fits:
        images = words.names([drivers.image(case, s) for s in fits])
        were = "was the only one" if len(fits) == 1 else "were those"
        return f"{images} {were} on in every trial that crashed and off in every trial that stood."
    said = _of_culprits(case, crashed, stood)
    return said or "No single driver was on in every trial that crashed and off in every trial that stood."


def _of_culprits(case: Case, crashed: list[Trial], stood: list[Trial]) -> str:
    """In how many crashes the culprits were on as the verdict says, and in how many runs that stood."""
    verdict = case.verdict
    if verdict is None or not culprits.named(verdict):
        return ""
    images = [drivers.image(case, s) for s in verdict.culprits]
    who = words.names(images, "or" if verdict.kind not in culprits.TOGETHER and len(images) > 1 else "and")
    how = " together" if verdict.kind in culprits.TOGETHER else ""
    hits = sum(culprits.armed(verdict, t) for t in crashed)
    lucky = sum(culprits.armed(verdict, t) for t in stood)
    in_crashes = f"in all {len(crashed)}" if hits == len(crashed) else f"in {hits} of the {len(crashed)}"
    if len(crashed) == hits == 1:
        in_crashes = "in the one"
    said = f"{who} ran{how} {in_crashes} {'trial' if len(crashed) == 1 else 'trials'} that crashed"
    if not lucky:
        return f"{said}, and in none of the {len(stood)} that stood."
    return f"{said}, and in {lucky} of the {len(stood)} that stood: the crash does not come every time."


def _ran(trial: Trial) -> frozenset[str]:
    return frozenset(s.casefold() for s in trial.enabled)


def _crashed(trial: Trial) -> bool:
    """Of trials that count: those that did not stand."""
    return trial.outcome.kind == "crashed"
