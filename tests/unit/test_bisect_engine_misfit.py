"""Crashes that the best explanation does not explain."""

from __future__ import annotations

import math

from lab.bisect import Answer, Kind, Observation, Question, Units, believe, next_trial
from lab.bisect.fitting import without_cause
from lab.bisect.hypotheses import Hypothesis
from lab.bisect.steps import Purpose, Try
from lab.model import VerdictKind

NAMES = tuple(f"u{i:02}" for i in range(8))
ALL = frozenset(NAMES)
QUESTION = Question(Units.plain(NAMES))
FIRST = Hypothesis(Kind.SINGLE, ("u00",))

KNOWN = (
    *(Observation(ALL, 100, True, n) for n in range(1, 6)),
    Observation(frozenset({"u00"}), 90, True, 6),
    Observation(frozenset({"u00", "u01"}), 80, True, 7),
    Observation(ALL - {"u00"}, 3000, False, 8),
    Observation(ALL - {"u00", "u01"}, 3000, False, 9),
)


def test_what_fits_is_named() -> None:
    answer = next_trial(QUESTION, KNOWN)
    assert isinstance(answer, Answer)
    assert (answer.kind, answer.culprits) == (VerdictKind.DRIVER, ("u00",))


def test_one_unrelated_crash_fits_and_many_do_not() -> None:
    without = [Observation(ALL - {"u00"}, 50, True, n) for n in range(10, 16)]
    told = [without_cause(believe(QUESTION, (*KNOWN, *without[:k])), FIRST) for k in (0, 1, len(without))]
    assert told[:2] == ["", ""]
    assert told[2].startswith("the model does not fit: 6 crashes in 6300 s under load came without u00")


def test_rare_crashes_do_not_end_in_hundreds_of_short_runs() -> None:
    """Quick crashes and long silences look as if decided at boot; but hardly any short run crashes then."""
    seen = [Observation(ALL, 70, True), Observation(ALL, 130, True)]
    seen += [Observation(ALL, 1800, False) for _ in range(5)]
    assert believe(QUESTION, seen).window < 600
    short, soaks = believe(QUESTION, seen).window, list[float]()
    while believe(QUESTION, seen).window < math.inf and len(soaks) < 100:
        step = next_trial(QUESTION, seen)
        assert isinstance(step, Try)
        soaks.append(step.seconds)
        seen.append(Observation(step.on, step.seconds, False))
    assert 1 < len(soaks) < 50 and max(soaks) <= short
    step = next_trial(QUESTION, seen)
    assert isinstance(step, Try) and step.seconds > 2 * short


def test_a_crash_in_the_confirming_set_wants_as_much_silence_again() -> None:
    """3000 s were silence enough; after a crash in the same set they are not."""
    short = [o._replace(seconds=450.0) if o.on == ALL - {"u00"} else o for o in KNOWN]
    assert isinstance(next_trial(QUESTION, short), Answer)
    crashed = (*short, Observation(ALL - {"u00"}, 400, True, 10))
    step = next_trial(QUESTION, crashed)
    assert isinstance(step, Try) and step.purpose in (Purpose.WITHOUT, Purpose.SEARCH)
