"""The next trial, one step at a time: budgets, other hosts, sets that do not boot, confirming runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.bisect.baseline import MORE as BASELINE_MORE
from lab.bisect.belief import Observation, Question
from lab.bisect.choice import SOAKS
from lab.bisect.confirming import CERTAIN, CLEAR_OF_PARTS, CLEAR_OF_SYSTEM
from lab.bisect.fitting import believe
from lab.bisect.forms import Forms, Given
from lab.bisect.hypotheses import Hypothesis, Kind
from lab.bisect.search import next_trial, to_end
from lab.bisect.simulation import Crashing, simulate
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.bisect.units import Units
from lab.model import VerdictKind

NAMES = tuple(f"u{i:02}" for i in range(16))
PLAIN = Units.plain(NAMES)
NEEDY = Units.of(NAMES, {"u00": ["u01"], "u01": ["u02"], "u04": ["u02"], "u05": ["u06"], "u06": ["u05"]})
EVERYTHING = frozenset(NAMES)


def single(unit: str) -> Hypothesis:
    return Hypothesis(Kind.SINGLE, (unit,))


def baseline(crashes: int = BASELINE_MORE, after: float = 100.0) -> list[Observation]:
    return [Observation(EVERYTHING, after, True, i + 1) for i in range(crashes)]


def replay(question: Question, culprit: Hypothesis, p: float) -> list[tuple[int, Try]]:
    """A search by hand, asked anew before each trial: what it did, with how much had been seen."""
    world, seen, steps = Crashing([culprit], p, seed=4), list[Observation](), list[tuple[int, Try]]()
    while isinstance(step := next_trial(question, seen), Try) and len(seen) < 100:
        steps.append((len(seen), step))
        crashed, after = world.run(step.on, step.seconds, 0)
        seen.append(Observation(step.on, after, crashed, len(seen) + 1))
        again = next_trial(Question(Units.plain(reversed(NAMES))), tuple(seen))  # as after a kill
        assert again == next_trial(question, seen)
    assert isinstance(step, Answer)
    return steps


def test_an_interrupted_search_goes_on_where_it_was() -> None:
    question = Question(PLAIN)
    steps = replay(question, single("u06"), 0.7)
    assert steps == replay(question, single("u06"), 0.7)
    purposes = [step.purpose for _, step in steps]
    assert purposes[0] is Purpose.BASELINE and Purpose.SEARCH in purposes


def test_an_answer_comes_only_after_its_confirming_runs() -> None:
    world, seen = Crashing([single("u06")], 0.99, seed=2), baseline()
    while isinstance(step := next_trial(Question(PLAIN), seen), Try):
        crashed, after = world.run(step.on, step.seconds, 0)
        seen.append(Observation(step.on, after, crashed, len(seen) + 1))
    assert isinstance(step, Answer) and step.culprits == ("u06",)
    only = [o for o in seen if o.on == {"u06"} and o.crashed]
    without = [o for o in seen if o.on == EVERYTHING - {"u06"} and not o.crashed]
    assert {o.trial for o in (*only, *without)} == set(step.confirmed_by) and only and without
    # However certain it is by other trials: without one of the two there is no answer.
    others = [Observation(frozenset({"u06", NAMES[i]}), 50.0, True, 50 + i) for i in range(3)]
    others += [Observation(EVERYTHING - {"u06", NAMES[i]}, 900.0, False, 60 + i) for i in range(3)]
    for missing, purpose in ((only, Purpose.ONLY), (without, Purpose.WITHOUT)):
        rest = [o for o in (*seen, *others) if o not in missing]
        assert believe(Question(PLAIN), rest).ranked(1)[0][1] >= CERTAIN
        again = next_trial(Question(PLAIN), rest)
        assert isinstance(again, Try) and again.purpose is purpose


def test_a_silence_that_is_too_short_confirms_nothing() -> None:
    seen = baseline()
    seen += [Observation(frozenset({"u06"}), 100.0, True, 10 + i) for i in range(6)]
    seen += [Observation(EVERYTHING - {"u06", "u07"}, 900.0, False, 18 + i) for i in range(2)]
    seen += [Observation(EVERYTHING - {"u06"}, 60.0, False, 20)]
    assert believe(Question(PLAIN), seen).ranked(1)[0][1] >= CERTAIN
    step = next_trial(Question(PLAIN), seen)
    assert isinstance(step, Try) and step.purpose is Purpose.WITHOUT and step.on == EVERYTHING - {"u06"}
    seen.append(Observation(step.on, step.seconds, False, 21))
    assert isinstance(next_trial(Question(PLAIN), seen), Answer)


def test_a_unit_is_named_only_when_it_is_clear_of_the_system() -> None:
    """Both confirming runs were seen and it is certain, but "none of them" is not improbable enough."""
    seen = [*baseline(), Observation(frozenset({"u06"}), 100.0, True, 10)]
    between = []
    for seconds in range(200, 3000, 20):
        silent = [*seen, Observation(EVERYTHING - {"u06"}, float(seconds), False, 11)]
        belief = believe(Question(PLAIN), silent)
        if belief.probability(single("u06")) >= CERTAIN and belief.system > CLEAR_OF_SYSTEM:
            between.append(silent)
    assert between
    assert all(isinstance(next_trial(Question(PLAIN), silent), Try) for silent in between)
    clear = [*seen, Observation(EVERYTHING - {"u06"}, 3000.0, False, 11)]
    assert isinstance(next_trial(Question(PLAIN), clear), Answer)


def test_a_pair_is_named_only_when_neither_alone_is_likely() -> None:
    """All confirming runs were seen and it is certain, but that one of the two is enough is likely enough."""
    units = ("u03", "u06")
    seen = [*baseline(), *(Observation(frozenset(units), 60.0, True, 10 + i) for i in range(3))]
    between: list[list[Observation]] = []
    clear: list[list[Observation]] = []
    for seconds in range(200, 1500, 20):
        silent = list(seen)
        for i, unit in enumerate(units):
            silent.append(Observation(EVERYTHING - {unit}, float(seconds), False, 20 + i))
            silent.append(Observation(frozenset({unit}), float(seconds), False, 30 + i))
        belief = believe(Question(PLAIN), silent)
        if belief.probability(Hypothesis(Kind.PAIR, units)) >= CERTAIN:
            alone = sum(belief.probability(single(unit)) for unit in units)
            (clear if alone <= CLEAR_OF_PARTS else between).append(silent)
    assert between and clear
    for silent in between:
        assert isinstance(next_trial(Question(PLAIN), silent), Try)
    while isinstance(step := next_trial(Question(PLAIN), between[0]), Try) and len(between[0]) < 80:
        assert not set(units) <= step.on  # a silence without one of them is all that is missing
        between[0].append(Observation(step.on, step.seconds, False, 40))
    assert isinstance(step, Answer) and step.culprits == units
    assert all(isinstance(next_trial(Question(PLAIN), silent), Answer) for silent in clear)


def test_a_confirming_run_under_way_is_not_started_again() -> None:
    seen = [*baseline(), Observation(frozenset(NAMES[8:]), 1500.0, False, 9)]
    seen += [Observation(frozenset({"u06", u}), 90.0, True, 10 + i) for i, u in enumerate(NAMES[:4])]
    running: list[Running] = []
    for _ in range(4):  # other hosts may take part of a silence, or wait for the same crash: this one alone
        step = next_trial(Question(PLAIN), seen, running, hosts=1)
        if not isinstance(step, Try):
            break
        assert (step.on, step.purpose) not in [(r.on, r.purpose) for r in running]
        running.append(Running(step.on, step.seconds, 0.0, step.purpose))
    assert any(r.purpose in (Purpose.ONLY, Purpose.WITHOUT) for r in running)


def test_a_crash_without_the_suspect_clears_it() -> None:
    seen = baseline()
    seen += [
        Observation(frozenset({"u06"}), 90.0, True, 10),
        Observation(frozenset(NAMES[8:]), 1500.0, False, 11),
    ]
    before = believe(Question(PLAIN), seen).probability(single("u06"))
    seen += [Observation(EVERYTHING - {"u06"}, 50.0, True, 12)]
    assert before > 0.9 > 0.5 > believe(Question(PLAIN), seen).probability(single("u06"))
    assert isinstance(next_trial(Question(PLAIN), seen), Try)


def test_each_host_gets_its_own_trial_and_none_waits_for_another() -> None:
    seen, running = baseline(), list[Running]()
    for _ in range(4):
        step = next_trial(Question(PLAIN), seen, running)
        assert isinstance(step, Try) and step.on not in [r.on for r in running]
        running.append(Running(step.on, step.seconds, 0.0, step.purpose))


def test_the_baseline_is_shared_by_the_hosts() -> None:
    running = [Running(EVERYTHING, 600.0, 10.0, Purpose.BASELINE)] * BASELINE_MORE
    assert isinstance(next_trial(Question(PLAIN), [], running), Wait)
    first = next_trial(Question(PLAIN), [], running[:1])
    assert isinstance(first, Try) and first.purpose is Purpose.BASELINE


def test_what_a_running_trial_has_stood_counts() -> None:
    """Long silence with u06 on, still running: what comes next does not bet on u06."""
    long = Running(frozenset({"u06", "u07"}), 3600.0, 3000.0, Purpose.SEARCH)
    seen = [*baseline(), Observation(frozenset(NAMES[4:10]), 80.0, True, 9)]
    with_it, without_it = next_trial(Question(PLAIN), seen, [long]), next_trial(Question(PLAIN), seen)
    assert isinstance(with_it, Try) and isinstance(without_it, Try)
    assert with_it.on != without_it.on


def test_an_unaffordable_trial_is_not_proposed() -> None:
    question, seen = Question(PLAIN), baseline()
    for left in (0.0, 100.0, 241.0, 400.0, 700.0, 1500.0, 1e6):
        step = next_trial(question, seen, left=left)
        if isinstance(step, Try):
            forms = Forms(Given(believe(question, seen), ()), step.seconds)
            load = float(forms.sums(PLAIN.marks(step.on).astype(float))[-1])
            assert question.setup + load <= left
        else:
            assert isinstance(step, Answer)
            assert step.kind is VerdictKind.UNDECIDED and step.would_decide
    assert isinstance(next_trial(question, seen, left=0.0), Answer)
    assert isinstance(next_trial(question, seen, left=1e6), Try)


def test_with_the_budget_spent_running_trials_may_still_decide() -> None:
    running = [Running(frozenset(NAMES[:8]), 600.0, 0.0, Purpose.SEARCH)]
    assert isinstance(next_trial(Question(PLAIN), baseline(), running, left=10.0), Wait)


def test_a_budget_ends_a_search() -> None:
    result = simulate(Question(PLAIN), Crashing([single("u06")], 0.3, seed=1), left=2500.0)
    assert result.answer.kind is VerdictKind.UNDECIDED and not result.decided
    assert result.answer.would_decide and result.machine_seconds < 2500.0 + max(SOAKS) * 600.0


@pytest.mark.parametrize("culprit", [single("u02"), Hypothesis(Kind.PAIR, ("u01", "u04"))])
def test_refused_sets_are_never_tried(culprit: Hypothesis) -> None:
    """Of the first sets that the search proposes, every second one does not boot."""
    refused: tuple[frozenset[str], ...] = ()
    seen, proposed = baseline(after=260.0), 0  # the mean time to a crash in this world
    world = Crashing([culprit], 0.9, seed=5)
    while isinstance(step := next_trial(Question(NEEDY, refused=refused), seen), Try) and len(seen) < 80:
        assert step.on not in refused and NEEDY.close_on(step.on) == step.on
        proposed += step.purpose is Purpose.SEARCH
        if step.purpose is Purpose.SEARCH and proposed % 2 and len(refused) < 4:
            refused = (*refused, step.on)
            continue
        crashed, after = world.run(step.on, step.seconds, 0)
        seen.append(Observation(step.on, after, crashed, len(seen) + 1))
    assert len(refused) >= 2
    assert isinstance(step, Answer) and step.culprits == culprit.units


@pytest.mark.parametrize("refused", [frozenset({"u06"}), EVERYTHING - {"u06"}])
def test_a_confirming_run_that_does_not_boot_is_not_waited_for(refused: frozenset[str]) -> None:
    question = Question(PLAIN, refused=(refused,))
    result = simulate(question, Crashing([single("u06")], 0.8, seed=1), most_trials=300)
    assert result.trials <= 2 * result.search_trials + 8
    assert result.answer.culprits == ("u06",)


def test_with_the_budget_spent_a_running_baseline_may_still_crash() -> None:
    running = [Running(EVERYTHING, 600.0, 100.0, Purpose.BASELINE)]
    assert isinstance(next_trial(Question(PLAIN), [], running, left=500.0), Wait)


def test_many_units_with_all_their_pairs() -> None:
    names = [f"u{i:03}" for i in range(300)]
    units, everything = Units.plain(names), frozenset(names)
    seen = [Observation(everything, 100.0, True, i) for i in range(BASELINE_MORE)]
    first = next_trial(Question(units), seen)
    assert isinstance(first, Try) and 0 < len(first.on) < 300 and first.bits > 0.5
    running = [Running(first.on, first.seconds, 0.0, first.purpose)]
    second = next_trial(Question(units), seen, running)
    assert isinstance(second, Try) and second.on != first.on


def test_pending_runs_are_weighed_from_what_is_left_of_them() -> None:
    """A run about to end tells nearly nothing more: what is chosen beside it is as if it were over."""
    seen = baseline()
    over = Running(frozenset(NAMES[:8]), 600.0, 600.0, Purpose.SEARCH)
    ended = [*seen, Observation(frozenset(NAMES[:8]), 600.0, False, 9)]
    beside, after = next_trial(Question(PLAIN), seen, [over]), next_trial(Question(PLAIN), ended)
    assert isinstance(beside, Try) and isinstance(after, Try)
    assert (beside.on, beside.seconds) == (after.on, after.seconds)


def test_a_crash_that_is_waited_for_comes_sooner_on_two_hosts() -> None:
    seen = [*baseline(), Observation(frozenset(NAMES[8:]), 1500.0, False, 9)]
    seen += [Observation(frozenset({"u06", u}), 90.0, True, 10 + i) for i, u in enumerate(NAMES[:4])]
    seen.append(Observation(EVERYTHING - {"u06"}, 3000.0, False, 20))
    only = Running(frozenset({"u06"}), 900.0, 0.0, Purpose.ONLY)
    second = next_trial(Question(PLAIN), seen, [only], hosts=4)
    assert isinstance(second, Try) and (second.on, second.purpose) == (only.on, Purpose.ONLY)
    third = next_trial(Question(PLAIN), seen, [only, only], hosts=4)
    assert not isinstance(third, Try) or third.on != only.on


def test_a_trial_that_another_made_useless_is_ended() -> None:
    """Half of the units under load; then the culprit proves to be in the other half."""
    seen = baseline()
    useless = Running(frozenset(NAMES[:8]), 300.0, 100.0, Purpose.SEARCH)
    useful = Running(frozenset(NAMES[::2]), 300.0, 100.0, Purpose.SEARCH)
    assert to_end(Question(PLAIN), seen, [useless, useful], hosts=3) is None
    seen += [Observation(frozenset(NAMES[8:]), 60.0, True, 10 + i) for i in range(3)]
    seen += [Observation(frozenset(NAMES[:8]), 900.0, False, 20)]
    assert to_end(Question(PLAIN), seen, [useless, useful], hosts=3) is useless
    poor = to_end(Question(PLAIN), seen, [useless, useful], left=800.0, hosts=3)
    assert poor is None, "no other trial can be paid"
    restarting = replace(useless, stood=0.0, ahead=30.0)
    assert to_end(Question(PLAIN), seen, [restarting, useful], hosts=3) is None, "its host is not free sooner"


def test_runs_with_everything_on_end_when_enough_is_known() -> None:
    first = Running(EVERYTHING, 1800.0, 100.0, Purpose.BASELINE)
    assert to_end(Question(PLAIN), baseline()[:2], [first], hosts=2) is None
    assert to_end(Question(PLAIN), baseline(), [first], hosts=2) is first


def test_a_confirming_run_that_is_wanted_goes_on() -> None:
    seen = [*baseline(), Observation(frozenset(NAMES[8:]), 1500.0, False, 9)]
    seen += [Observation(frozenset({"u06", u}), 90.0, True, 10 + i) for i, u in enumerate(NAMES[:4])]
    without = Running(EVERYTHING - {"u06"}, 900.0, 100.0, Purpose.WITHOUT)
    only = Running(frozenset({"u06"}), 900.0, 100.0, Purpose.ONLY)
    assert to_end(Question(PLAIN), seen, [without, only], hosts=2) is None


@pytest.mark.parametrize("seed", range(8))
def test_what_has_just_begun_is_not_ended_for_the_like_of_it(seed: int) -> None:
    """Else the same trial would begin and end again and again, and no search would come to its end."""
    question = Question(PLAIN)
    kind = Hypothesis(Kind.PAIR, ("u03", "u06")) if seed % 2 else single("u06")
    whole = simulate(question, Crashing([kind], 0.5, 0.05, seed=seed)).observations
    begun = 0
    for known in range(len(whole) + 1):
        seen = whole[:known]
        running: list[Running] = []
        for _ in range(3):
            step = next_trial(question, seen, running, hosts=3)
            if not isinstance(step, Try) or step.purpose is Purpose.BASELINE:
                break
            running.append(Running(step.on, step.seconds, 0.0, step.purpose))
        for at, run in enumerate(running):
            ahead = [*running[:at], replace(run, stood=60.0), *running[at + 1 :]]
            assert to_end(question, seen, ahead, hosts=3) is None
            begun += 1
    assert begun >= 10


def test_an_ended_run_with_everything_on_is_not_begun_anew() -> None:
    """Its set-up counted while it ran; with nothing stood it would be forgotten."""
    seen = baseline(3, 1000.0)
    first = Running(EVERYTHING, 1800.0, 30.0, Purpose.BASELINE)
    assert to_end(Question(PLAIN), seen, [first], hosts=1) is None
    later = replace(first, stood=70.0)
    assert to_end(Question(PLAIN), seen, [later], hosts=1) is later
    step = next_trial(Question(PLAIN), [*seen, Observation(EVERYTHING, 70.0, False, 9)])
    assert isinstance(step, Try) and step.purpose is not Purpose.BASELINE
