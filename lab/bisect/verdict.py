"""From belief and confirming runs to the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lab.bisect.belief import SYSTEM, Belief
from lab.bisect.confirm import CONFIDENCE, Confirmations
from lab.model import Verdict, VerdictKind

THRESHOLD = 0.99


def decide(
    belief: Belief,
    seen: Confirmations,
    *,
    threshold: float = THRESHOLD,
    members: Mapping[str, tuple[str, ...]] | None = None,
) -> Verdict | None:
    """The verdict when it is certain enough to stop, else None: go on.

    Several drivers of one unit are the answer as one; several units that could still be told apart are not.
    """
    return _certain(belief, seen, threshold, members or {})


def verdict_from(
    belief: Belief,
    seen: Confirmations,
    *,
    threshold: float = THRESHOLD,
    members: Mapping[str, tuple[str, ...]] | None = None,
) -> Verdict:
    """The verdict if the search stops here. `members` gives each unit's services (a unit is its own).

    DRIVER needs a probability of `threshold` and both confirming runs. SYSTEM needs it, and a crash with
    all units off. ONE_OF names services of one unit, or units that no trial has told apart. Else
    UNDECIDED, with the probability of the most probable answer, and no culprits.
    """
    named = members or {}
    certain = _certain(belief, seen, threshold, named)
    return certain or _alike(belief, seen, threshold, named) or _undecided(belief, seen, threshold)


def _certain(
    belief: Belief, seen: Confirmations, threshold: float, members: Mapping[str, tuple[str, ...]]
) -> Verdict | None:
    probability = belief.posterior()[seen.culprit]
    if probability < threshold or not seen.complete:
        return None
    if seen.culprit == SYSTEM:
        why = f"It crashed with every driver in question switched off ({_trials(seen.all_off)})."
        return _verdict(VerdictKind.SYSTEM, (), probability, belief, (why,), seen.trials)
    culprits = members.get(seen.culprit, (seen.culprit,))
    because = _confirmed(seen)
    kind = VerdictKind.DRIVER
    if len(culprits) > 1:
        kind = VerdictKind.ONE_OF
        because += (f"{_names(culprits)} can only be switched together, so no trial tells them apart.",)
    return _verdict(
        kind, culprits, probability, belief, (*because, _second(belief, seen.culprit)), seen.trials
    )


def _alike(
    belief: Belief, seen: Confirmations, threshold: float, members: Mapping[str, tuple[str, ...]]
) -> Verdict | None:
    """Units that were on and off in the same trials as the leader, if it is surely one of them."""
    if seen.culprit == SYSTEM or not belief.crashes:
        return None
    pattern = [seen.culprit in o.enabled for o in belief.observations]
    posterior = belief.posterior()
    alike = [u for u in belief.units if [u in o.enabled for o in belief.observations] == pattern]
    alike.sort(key=lambda u: (-posterior[u], u))
    probability = math.fsum(posterior[u] for u in alike)
    if len(alike) < 2 or probability < threshold:
        return None
    culprits = tuple(service for u in alike for service in members.get(u, (u,)))
    why = f"{_names(culprits)} were on and off in the same trials, so no trial tells them apart."
    return _verdict(VerdictKind.ONE_OF, culprits, probability, belief, (why,), ())


def _undecided(belief: Belief, seen: Confirmations, threshold: float) -> Verdict:
    posterior = belief.posterior()
    because = []
    if posterior[seen.culprit] < threshold:
        because.append(f"No answer reached {percent(threshold)}.")
    elif seen.culprit == SYSTEM:
        because.append("No trial with every driver in question switched off has crashed.")
    else:
        if not seen.alone:
            because.append(f"No trial with only {seen.culprit} on has crashed.")
        because += _contrary(seen)
        if seen.stood < seen.needed:
            because.append(
                f"Without {seen.culprit} it stood {seen.stood:.0f} s of load; "
                f"{seen.needed:.0f} s would be convincing."
            )
    ranked = sorted(posterior, key=lambda n: (-posterior[n], n))[:3]
    because.append("Most probable: " + ", ".join(f"{_who(n)} {percent(posterior[n])}" for n in ranked) + ".")
    probability = posterior[seen.culprit]
    return _verdict(VerdictKind.UNDECIDED, (), probability, belief, tuple(because), ())


def _verdict(
    kind: VerdictKind,
    culprits: tuple[str, ...],
    probability: float,
    belief: Belief,
    because: tuple[str, ...],
    confirmed_by: tuple[int, ...],
) -> Verdict:
    runs = len(belief.observations)
    counted = f"{belief.crashes} of {runs} valid run{'' if runs == 1 else 's'} ended in the crash."
    return Verdict(kind, culprits, probability, (*because, counted), confirmed_by)


def _confirmed(seen: Confirmations) -> tuple[str, ...]:
    return (
        f"With only {seen.culprit} on it crashed ({_trials(seen.alone)}).",
        f"With all but {seen.culprit} on it stood {seen.stood:.0f} s of load ({_trials(seen.without)}); "
        f"were the cause still on, a crash within {seen.needed:.0f} s had a probability of "
        f"{percent(CONFIDENCE)}.",
        *_contrary(seen),
    )


def _contrary(seen: Confirmations) -> list[str]:
    numbers = tuple(sorted({*seen.against, *seen.all_off}))
    return [f"It also crashed without {seen.culprit} ({_trials(numbers)})."] if numbers else []


def _second(belief: Belief, leader: str) -> str:
    posterior = belief.posterior()
    second = min((n for n in posterior if n != leader), key=lambda n: (-posterior[n], n))
    return f"The next probable answer, {_who(second)}, has {percent(posterior[second])}."


def percent(p: float) -> str:
    """`97.3 %`; never "100 %" or "0 %" for what is only nearly so."""
    if p >= 0.9995:
        return "more than 99.9 %"
    if p < 0.0005:
        return "less than 0.1 %"
    return f"{p * 100:.1f} %".replace(".0 %", " %")


def _who(name: str) -> str:
    return "none of them" if name == SYSTEM else name


def _names(names: tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _trials(numbers: tuple[int, ...]) -> str:
    return f"trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
