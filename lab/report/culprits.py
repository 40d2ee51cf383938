"""What the verdict's culprits mean for one trial: were they on as the verdict says it takes?"""

from __future__ import annotations

from typing import assert_never

from lab.model import Case, Invalid, Trial, Verdict, VerdictKind

TOGETHER = frozenset({VerdictKind.PAIR, VerdictKind.TRIPLE})
"""Verdicts whose culprits crash the host only when all of them are on."""

SETTLED = TOGETHER | {VerdictKind.DRIVER, VerdictKind.EACH_OF}
"""Verdicts that name who is to blame, and leave no choice among several."""


def on(trial: Trial, services: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `services` that really ran in the trial."""
    ran = {s.casefold() for s in trial.enabled}
    return tuple(s for s in services if s.casefold() in ran)


def named(verdict: Verdict | None) -> bool:
    """True if the verdict names drivers whose trials can be set against the others."""
    if verdict is None or not verdict.culprits:
        return False
    match verdict.kind:
        case (
            VerdictKind.DRIVER
            | VerdictKind.PAIR
            | VerdictKind.TRIPLE
            | VerdictKind.EACH_OF
            | VerdictKind.ONE_OF
        ):
            return True
        case VerdictKind.SYSTEM | VerdictKind.NOT_REPRODUCIBLE | VerdictKind.UNDECIDED:
            return False
        case _:
            assert_never(verdict.kind)


def armed(verdict: Verdict, trial: Trial) -> bool:
    """True if the crash was to be expected in the trial: all of a pair were on, or any of the others."""
    ran = on(trial, verdict.culprits)
    return len(ran) == len(verdict.culprits) if verdict.kind in TOGETHER else bool(ran)


def inseparable(case: Case) -> bool:
    """True if several culprits were, in every trial that says something, all on or all off."""
    names = case.verdict.culprits if case.verdict else ()
    valid = [t for t in case.trials if not isinstance(t.outcome, Invalid)]
    return (
        len(names) > 1
        and bool(valid)
        and all(len(on(t, names)) in (0, len(names)) for t in valid)
        and any(not on(t, names) for t in valid)
    )
