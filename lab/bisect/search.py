"""The whole search as one pure function: from all that was seen to the next trial, or the answer.

Baseline, search, confirming runs, answer; and beside them, which running trials to end early.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab.bisect.baseline import baseline, known
from lab.bisect.belief import Observation, Question
from lab.bisect.choice import Choice, Told, choose, given_what_runs, told
from lab.bisect.confirming import CERTAIN, Confirming, clear
from lab.bisect.fitting import without_cause
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.standing import Standing, spoken
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.model import VerdictKind

SUSPECT_SYSTEM = 0.5
"""Probability of "none of them" that is worth a run with all units off."""
SYSTEM_SILENCE = 0.99
"""How probable a crash must have been for the silence of that run to be enough."""
LEADING, NEARLY = 0.4, 0.7
"""A leader of this probability gets its confirming runs early, when they tell this share of the best run."""
NOT_WORTH = 0.1
"""Bits for which no trial is begun, nor gone on with, while the leader is being confirmed."""
BETTER = 1.3
"""A running trial is ended early when a fresh one tells so many times as much in the same time."""
SHORT = 0.1
"""Usual soaks that a trial has stood at least, and that are left of it, when it is ended early."""

KINDS = {
    Kind.SINGLE: VerdictKind.DRIVER,
    Kind.PAIR: VerdictKind.PAIR,
    Kind.TRIPLE: VerdictKind.TRIPLE,
    Kind.EITHER: VerdictKind.EACH_OF,
}


def next_trial(
    question: Question,
    observations: Sequence[Observation],
    running: Sequence[Running] = (),
    *,
    left: float | None = None,
    hosts: int = 1,
) -> Try | Wait | Answer:
    """What a free host does next. The same arguments always get the same answer.

    `hosts` take part, this one included: a long confirming silence is shared out among them. `left` are
    the machine-seconds that may still be spent; None: no limit. What running trials have stood so far
    counts as seen.
    """
    return _Search(Standing(question, observations, running, hosts)).step(left)


def to_end(
    question: Question,
    observations: Sequence[Observation],
    running: Sequence[Running],
    *,
    left: float | None = None,
    hosts: int = 1,
) -> Running | None:
    """The running trial that is worth ending now, its host being better used; None: they all go on.

    What it has stood counts. To be asked again after each that was ended. While what is `left` (see
    `next_trial`) is too little for a usual trial, those under way are all that can still decide.
    """
    if not running or (left is not None and left < question.setup + question.soak):
        return None
    return _Search(Standing(question, observations, running, hosts)).not_worth()


class _Search:
    def __init__(self, now: Standing) -> None:
        self._now, self._question, self._belief = now, now.question, now.belief
        self._confirming = Confirming(now)

    def step(self, left: float | None) -> Try | Wait | Answer:
        now = self._now
        step = baseline(now) or self._conclude() or self._clear_system() or self._confirm() or self._search()
        if not isinstance(step, Try) or left is None:
            return step
        cost = self._question.setup + (step.seconds if step.likely is None else step.likely)
        if cost <= left:
            return step
        if now.running:
            return Wait("the budget is spent; trials are still running")
        return self._undecided(f"about {spoken(cost)} for: {step.why}")

    # ---- is it decided?

    def _conclude(self) -> Answer | None:
        top, probability = self._now.top, self._now.probability
        if probability < CERTAIN:
            return None
        if top == SYSTEM:
            return self._system(probability)
        if not clear(self._belief, top):
            return None
        steps = self._confirming.possible
        runs = [self._confirming.done(step) for step in steps]
        if any(found is None for found in runs):
            return None
        trials = tuple(sorted({t for found in runs for t in found or ()}))
        return self._named(top, probability, trials, unconfirmed=len(steps) < len(self._confirming.steps))

    def _system(self, probability: float) -> Answer | None:
        without = [o for o in self._now.seen if not o.on and o.crashed]
        bare = frozenset() in self._question.refused
        if not without and not bare:
            return None
        because = (
            "the crash came whichever units were off; with all of them off the host does not boot"
            if bare
            else "the crash also came with every unit off"
        )
        return Answer(VerdictKind.SYSTEM, (), probability, (because,), tuple(o.trial for o in without))

    def _named(
        self, top: Hypothesis, probability: float, trials: tuple[int, ...], *, unconfirmed: bool
    ) -> Answer:
        strange = without_cause(self._belief, top)
        if strange:
            return Answer(VerdictKind.UNDECIDED, top.units, probability, (strange,), trials)
        because: tuple[str, ...] = ()
        alike = self._belief.alike(top)[1:]
        if alike:
            others = ", ".join(u for h in alike for u in h.units if u not in top.units)
            because = (f"it cannot be told from {top.units[0]} together with {others}, which it needs",)
        if unconfirmed:
            because += ("one of the confirming runs could not be made: that set of drivers does not boot",)
        return Answer(KINDS[top.kind], top.units, probability, because, trials)

    # ---- the system, cleared or convicted by a run with everything off

    def _clear_system(self) -> Try | None:
        if self._belief.system < SUSPECT_SYSTEM or frozenset() in self._question.refused:
            return None
        if any(not o.on and o.crashed for o in self._now.seen) or any(not r.on for r in self._now.running):
            return None
        missing = self._now.silence_missing(frozenset(), SYSTEM_SILENCE)
        if missing <= 0:
            return None
        why = f"everything off: a crash now would be none of the units ({self._belief.system:.0%} so far)"
        return Try(frozenset(), self._now.soak(missing), Purpose.ALL_OFF, why)

    # ---- the confirming runs

    def _confirm(self) -> Try | None:
        if not self._confirming.due:
            return None
        run = next(self._confirming.runs(), None)
        return self._confirming.longer() if run is None else run

    def _as_good(self, best: Choice) -> Try | None:
        """A confirming run of the leader that tells nearly as much as the best run: it is needed anyway if
        the hypothesis is true (so its restart counts once), and ends early if it is not."""
        if self._now.top == SYSTEM or self._now.probability < LEADING:
            return None
        given = given_what_runs(self._belief, self._now.pending())
        for run in self._confirming.runs():
            if best.on == run.on:
                return run
            rates = (told(given, run.on, s, self._question.setup).rate for s in (run.seconds, best.seconds))
            if max(rates) >= NEARLY * best.rate:
                return run
        return None

    # ---- the search itself

    def _search(self) -> Try | Wait | Answer:
        now = self._now
        best = choose(self._belief, now.pending(), longest=now.longest)
        confirming = self._as_good(best)
        if confirming is not None:
            return confirming
        if best.bits <= (NOT_WORTH if self._confirmed_elsewhere() else 1e-9):
            once_more = self._confirming.again() if now.probability >= LEADING else None
            if once_more is not None:
                return once_more
            if now.running:
                return Wait("the running trials tell all that can be told now")
            return self._undecided("no set of units that can be tried tells anything more")
        name = " and ".join(now.top.units)
        leading = f"leading: {name} at {now.probability:.0%}" if name else "none of the units leads"
        return Try(
            best.on, best.seconds, Purpose.SEARCH,
            f"{len(best.on)} of {len(now.everything)} on, {best.bits:.2f} bits expected; {leading}",
            best.bits, best.expected_seconds - self._question.setup,
        )  # fmt: skip

    def _confirmed_elsewhere(self, here: Running | None = None) -> bool:
        """Whether a confirming run is under way on another host."""
        return any(r.purpose in (Purpose.ONLY, Purpose.WITHOUT) for r in self._now.running if r is not here)

    # ---- what is not worth going on with

    def not_worth(self) -> Running | None:
        """Of those that have shown something: else one could end for another, and that one for a third."""
        now = self._now
        shown = [run for run in now.running if run.stood >= SHORT * self._question.soak]
        if any(run.purpose is Purpose.BASELINE for run in now.running):
            first = [run for run in shown if run.purpose is Purpose.BASELINE]
            return first[0] if first and known(now) else None
        if self._conclude() is not None:
            return None
        kept = self._needed()
        found = [(self._rest(run), run) for run in shown if run.on not in kept]
        if not found:
            return None
        least, run = min(found, key=lambda each: each[0].rate)
        if least.bits < NOT_WORTH and self._confirming.due and self._confirmed_elsewhere(run):
            return run
        if run.planned - run.stood < SHORT * self._question.soak:
            return None
        best = choose(self._belief, now.pending(without=run), longest=now.longest)
        return run if least.rate * BETTER < best.rate else None

    def _needed(self) -> set[frozenset[str]]:
        """The sets whose runs are never ended early: with everything off, and what confirms the leader."""
        steps = self._confirming.steps if self._now.probability >= LEADING else []
        needed = (s.on for s in steps if s.purpose is Purpose.WITHOUT or self._confirming.done(s) is None)
        return {frozenset(), *needed}

    def _rest(self, run: Running) -> Told:
        """What the rest of a running trial is expected to tell."""
        rest = max(run.planned - run.stood, 1e-3)
        return told(given_what_runs(self._belief, self._now.pending(without=run)), run.on, rest, 0.0)

    # ---- no answer

    def _undecided(self, would: str) -> Answer:
        ranked = self._belief.ranked(4)
        close = [h for h, p in ranked if p >= 0.5 * ranked[0][1] and p >= 0.1 and h.kind is Kind.SINGLE]
        total = sum(p for h, p in ranked if h in close)
        if len(close) >= 2 and total >= 0.9:
            return Answer(VerdictKind.ONE_OF, tuple(h.units[0] for h in close), total, (), would_decide=would)
        top, probability = ranked[0]
        return Answer(VerdictKind.UNDECIDED, top.units, probability, (), would_decide=would)
