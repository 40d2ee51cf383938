"""Laws that the search keeps, whatever was observed."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lab.bisect.belief import Belief, Observation, Question
from lab.bisect.confirming import CERTAIN
from lab.bisect.fitting import believe
from lab.bisect.forms import Forms, Given
from lab.bisect.hypotheses import Hypothesis, Kind
from lab.bisect.search import next_trial
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.bisect.units import Units
from lab.model import VerdictKind

NAMES = tuple("abcdef")
EVERYTHING = frozenset(NAMES)
SECONDS = st.floats(0, 3e4)
sets = st.frozensets(st.sampled_from(NAMES))
runs = st.lists(st.builds(Observation, sets, SECONDS, st.booleans()), max_size=10)
weights = st.one_of(st.none(), st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1e12)))
needs = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=2), max_size=3)
questions = st.builds(
    lambda n, prior, soak, setup: Question(Units.of(NAMES, n), prior, soak, setup),
    needs,
    weights,
    st.floats(1.0, 7200.0),
    st.floats(0.0, 3600.0),
)


def single(unit: str) -> Hypothesis:
    return Hypothesis(Kind.SINGLE, (unit,))


def every(belief: Belief) -> dict[Hypothesis, float]:
    return dict(belief.ranked(10_000))


def seen_by(question: Question, seen: Sequence[Observation]) -> tuple[Observation, ...]:
    """The same runs of sets that can be tried."""
    return tuple(o._replace(on=question.units.close_on(o.on)) for o in seen)


@given(questions, runs, st.booleans())
def test_probabilities_sum_to_one(question: Question, seen: list[Observation], wide: bool) -> None:
    belief = Belief(question, seen_by(question, seen), wide)
    found = every(belief)
    assert math.fsum(found.values()) == pytest.approx(1.0, abs=1e-9)
    assert all(0.0 <= p <= 1.0 + 1e-12 for p in found.values())
    assert 0.0 <= belief.steady <= 1.0 + 1e-12
    assert set(belief.suspicion()) == set(question.units.names)


@given(questions, runs, st.randoms(use_true_random=False))
def test_the_order_of_observations_does_not_matter(
    question: Question, seen: list[Observation], odds: random.Random
) -> None:
    shuffled = list(seen)
    odds.shuffle(shuffled)
    one, two = (every(Belief(question, seen_by(question, s), True)) for s in (seen, shuffled))
    assert all(two.get(h, 0.0) == pytest.approx(p, rel=1e-6, abs=1e-12) for h, p in one.items())


@given(weights, needs)
def test_no_unit_starts_at_zero_whatever_the_evidence(
    prior: dict[str, float] | None, need: dict[str, list[str]]
) -> None:
    units = Units.of(NAMES, need)
    belief = Belief(Question(units, prior))
    assert min(belief.probability(single(u)) for u in units.names) >= 0.7 * 0.02 / len(units)


quiet_soaks = st.lists(st.tuples(sets, st.floats(0, 2)), max_size=6)


@given(questions, st.integers(1, 5), quiet_soaks, sets, st.floats(0.01, 5))
def test_silence_never_speaks_for_a_unit_that_was_on(
    question: Question,
    crashes: int,
    quiet: list[tuple[frozenset[str], float]],
    on: frozenset[str],
    soaks: float,
) -> None:
    """Against every unit that was off and has had the same runs until then. So it is while the culprit is
    known to crash at all, and no other crashes were seen."""
    units, soak = question.units, question.soak
    before = [Observation(frozenset(units.names), soak / 2, True)] * crashes
    before += [Observation(units.close_on(s), share * soak, False) for s, share in quiet]
    on = units.close_on(on)
    pairs = [(u, v) for u in on for v in set(units.names) - on]
    alike = [(u, v) for u, v in pairs if all((u in o.on) == (v in o.on) for o in before)]
    assume(alike)
    was = Belief(question, tuple(before))
    now = was.observe(on, soaks * soak, False)
    for u, v in alike:
        ratio = was.probability(single(u)) / was.probability(single(v))
        assert now.probability(single(u)) / now.probability(single(v)) < ratio


@given(questions, sets.filter(bool), st.floats(0.1, 1e4), st.integers(1, 4))
def test_a_crash_speaks_for_the_units_that_were_on(
    question: Question, on: frozenset[str], seconds: float, crashes: int
) -> None:
    """While crashes come within a few soaks, as those did that were seen with everything on."""
    on = question.units.close_on(on)
    everything = frozenset(question.units.names)
    assume(on != everything and seconds <= 3 * question.soak)
    belief = Belief(question)
    for _ in range(crashes):
        belief = belief.observe(everything, question.soak, True)
    after = belief.observe(on, seconds, True)
    assert all(after.probability(single(u)) < belief.probability(single(u)) for u in everything - on)


@given(questions, runs, sets, st.integers(0, 10))
def test_no_seconds_and_no_crash_change_nothing(
    question: Question, seen: list[Observation], on: frozenset[str], at: int
) -> None:
    before = seen_by(question, seen)
    nothing = Observation(question.units.close_on(on), 0.0, False)
    found = every(Belief(question, before, True))
    again = every(Belief(question, (*before[:at], nothing, *before[at:]), True))
    assert all(again.get(h, 0.0) == pytest.approx(p, rel=1e-9, abs=1e-12) for h, p in found.items())


@given(questions, runs)
def test_names_that_are_no_units_do_not_matter(question: Question, seen: list[Observation]) -> None:
    before = seen_by(question, seen)
    strange = tuple(o._replace(on=o.on | {"tcpip", ""}) for o in before)
    assert every(Belief(question, before)) == every(Belief(question, strange))


@given(st.floats(1e-3, 1e3), runs)
def test_seconds_have_no_unit_of_their_own(scale: float, seen: list[Observation]) -> None:
    units = Units.plain(NAMES)
    scaled = [o._replace(seconds=o.seconds * scale) for o in seen]
    one = every(Belief(Question(units), tuple(seen), True))
    two = every(Belief(Question(units, soak=600 * scale), tuple(scaled), True))
    assert all(two.get(h, 0.0) == pytest.approx(p, rel=1e-6, abs=1e-12) for h, p in one.items())


# ---- the next trial


def with_baseline(question: Question, seen: Sequence[Observation]) -> tuple[Observation, ...]:
    everything = frozenset(question.units.names)
    first = [Observation(everything, question.soak / 3, True, i + 1) for i in range(5)]
    after = (o._replace(trial=10 + i) for i, o in enumerate(seen_by(question, seen)))
    return (*first, *after)


running_of = st.lists(st.tuples(sets, st.floats(0.1, 3.0), st.floats(0, 1)), max_size=3)


@settings(deadline=None, max_examples=60)
@given(questions, runs, running_of, st.one_of(st.none(), st.floats(0, 1e5)), sets)
def test_the_next_step_keeps_its_promises(
    question: Question,
    seen: list[Observation],
    elsewhere: list[tuple[frozenset[str], float, float]],
    left: float | None,
    stubborn: frozenset[str],
) -> None:
    units = question.units
    refused = tuple({units.close_on(stubborn)} - {frozenset(units.names)})
    question = Question(units, question.prior, question.soak, question.setup, refused)
    before = with_baseline(question, seen)
    running = [
        Running(units.close_on(on), soaks * question.soak, soaks * question.soak * part, Purpose.SEARCH)
        for on, soaks, part in elsewhere
    ]
    step = next_trial(question, before, running, left=left)
    assert step == next_trial(question, list(before), tuple(running), left=left)
    if isinstance(step, Try):
        check_trial(question, before, running, left, step)
    elif isinstance(step, Answer):
        check_answer(before, step)
    else:
        assert isinstance(step, Wait) and running and step.why


def check_trial(
    question: Question,
    before: tuple[Observation, ...],
    running: list[Running],
    left: float | None,
    step: Try,
) -> None:
    assert step.on == question.units.close_on(step.on) and step.on not in question.refused
    assert 0 < step.seconds < math.inf and step.why and step.bits >= 0
    if left is not None:
        so_far = [Observation(r.on, r.stood, False) for r in running if r.stood > 0]
        forms = Forms(Given(believe(question, (*before, *so_far)), ()), step.seconds)
        load = float(forms.sums(question.units.marks(step.on).astype(float))[-1])
        assert question.setup + load <= left * (1 + 1e-6)


def check_answer(before: tuple[Observation, ...], answer: Answer) -> None:
    """What is named was seen: a crash with everything off, or silence without the culprit."""
    by_number = {o.trial: o for o in before}
    confirming = [by_number[trial] for trial in answer.confirmed_by]
    if answer.kind in (VerdictKind.UNDECIDED, VerdictKind.ONE_OF):
        assert answer.would_decide
    elif answer.kind is VerdictKind.SYSTEM:
        assert answer.probability >= CERTAIN
        assert confirming and all(o.crashed and not o.on for o in confirming)
    else:
        assert answer.probability >= CERTAIN and answer.culprits
        assert any(not o.crashed and not set(answer.culprits) <= o.on for o in confirming)
        assert any(o.crashed and set(answer.culprits) & o.on for o in confirming)


PROGRAM = """
import json, sys
from lab.bisect.belief import Observation, Question
from lab.bisect.search import next_trial
from lab.bisect.steps import Answer, Purpose, Running
from lab.bisect.units import Units
names = sys.argv[1].split()
needs = {"u03": {"u01", "u02"}, "u07": {"u03"}, "u05": {"u06"}, "u06": {"u05"}}
units = Units.of(set(names), needs)
everything = frozenset(units.names)
prior = {name: 1.0 + (name == "u09") for name in set(names)}
question = Question(units, prior, refused=(units.close_on({"u04", "u07"}),))
seen = [Observation(everything, 100.0, True, i) for i in range(5)]
running = [Running(units.close_on(set(names[:5])), 600.0, 60.0, Purpose.SEARCH)]
found = []
for number in range(6):
    step = next_trial(question, seen, running)
    if isinstance(step, Answer):
        found.append([step.kind, step.culprits, step.probability])
        break
    found.append([sorted(step.on), step.seconds, step.purpose, step.why, step.bits])
    seen.append(Observation(step.on, step.seconds if number % 2 else 50.0, number % 2 == 0, 10 + number))
print(json.dumps(found))
"""


def test_the_next_trial_does_not_depend_on_the_order_of_sets() -> None:
    names = [f"u{i:02}" for i in range(12)]
    found = []
    for seed, order in (("0", names), ("1", names), ("77", names[:5] + names[:4:-1])):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", PROGRAM, " ".join(order)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
        found.append(json.loads(done.stdout))
    assert found[0] == found[1] == found[2] and len(found[0]) >= 4


def test_three_hundred_units_with_all_their_pairs_take_bounded_memory() -> None:
    """45,150 singles and pairs, and as many "each of two": what one choice holds at once."""
    odds = random.Random("hostile")
    names = [f"u{i:03}" for i in range(300)]
    needy = {names[i]: [names[odds.randrange(300)]] for i in range(0, 300, 7)}
    for units in (Units.plain(names), Units.of(names, needy)):
        everything = frozenset(units.names)
        seen = [Observation(everything, 60.0, True, i) for i in range(5)]
        seen += [
            Observation(units.close_on(odds.sample(units.names, 60)), odds.uniform(1, 900), i % 3 == 0, i)
            for i in range(40)
        ]
        running = [
            Running(units.close_on(odds.sample(units.names, 60)), 600.0, 1.0, Purpose.SEARCH)
            for _ in range(3)
        ]
        tracemalloc.start()
        step = next_trial(Question(units), seen, running)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert isinstance(step, Try) and step.on == units.close_on(step.on)
        assert most < 150e6


def test_thousands_of_observations_and_long_times_stay_finite() -> None:
    odds = random.Random("long")
    question = Question(Units.plain(NAMES))
    seen = [
        Observation(
            frozenset(odds.sample(NAMES, odds.randint(0, 6))), 10 ** odds.uniform(-3, 9), odds.random() < 0.5
        )
        for _ in range(3000)
    ]
    belief = Belief(question, tuple(seen), True)
    assert math.fsum(every(belief).values()) == pytest.approx(1.0)
    assert isinstance(next_trial(question, seen), Try | Answer)
