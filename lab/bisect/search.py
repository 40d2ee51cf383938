"""The whole search as one pure function: from all that was seen to the next trial, or the answer.

Baseline, search, confirming runs, answer. Confirming runs are trials like all others: what they show goes
into the belief, and when it contradicts the suspicion the search goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from lab.bisect.belief import Observation, Question
from lab.bisect.believe import believe, without_cause
from lab.bisect.choice import Choice, choose, rate_of
from lab.bisect.forms import Pending
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.model import VerdictKind

CERTAIN = 0.99
"""Probability at which an answer is given, after its confirming runs."""
ACCUSED = 0.95
"""Probability at which the confirming runs begin, while crashes come soon; else at `CERTAIN`."""
ACCUSED_RATE = 0.69
"""Crashes per usual soak from which on `ACCUSED` is enough."""
CLEAR_OF_SYSTEM = 1.5e-3
"""A unit is named only when the probability that it is none of them is below this."""
SUSPECT_SYSTEM = 0.5
"""Probability of "none of them" that is worth a run with all units off."""
LEADING, NEARLY = 0.6, 0.8
"""A leader of this probability gets its confirming runs early, when they tell this share of the best run."""
PART = 1.0
"""The least part of a silence, in usual soaks, that is given to one of several hosts."""
NOT_WORTH = 0.1
"""Bits for which no other host is started while a confirming run is under way."""
SETTLING = 6.0
"""Mean times to a crash that a confirming silence may be drawn out to, when that settles the answer."""
SILENCE = 0.95
"""How probable a crash must have been for its absence to confirm."""
BASELINE_SOAK = 3.0
"""Length of a run with everything on, in usual soaks. Where crashes come at a steady rate it costs nothing to
wait for them; where they are decided at boot, the silences of the good boots show it."""
BASELINE_CRASHES = 2
"""Crashes with everything on that are always wanted first."""
BASELINE_MORE, BASELINE_SOAKS = 5, 6.0
"""So many are taken as long as all runs together took less than so many usual soaks, set-up included."""
HOPELESS_SOAKS = 30.0
"""So long with everything on and without a crash, and it is called not reproducible. Set-up included."""
RARE_SOAKS = 12.0
"""After so many usual soaks of baseline, set-up included, one crash must do."""
ENOUGH = 0.02
"""Usual soaks of silence that are not worth a trial of their own."""
LONGEST = 9.0
"""Longest soak, in usual soaks."""


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
    state = _State(question, tuple(observations), tuple(running), left, hosts)
    return state.baseline() or state.conclude() or state.clear_system() or state.confirm() or state.search()


class _State:
    def __init__(
        self,
        question: Question,
        observations: tuple[Observation, ...],
        running: tuple[Running, ...],
        left: float | None,
        hosts: int,
    ) -> None:
        self.question, self.seen, self.running, self.left = question, observations, running, left
        self.hosts = max(1, hosts)
        self.everything = frozenset(question.units.names)
        self.belief = believe(question, (*observations, *_so_far(running)))
        self.top, self.probability = self.belief.ranked(1)[0]

    # ---- everything on: does it crash at all, how fast, at a steady rate?

    def baseline(self) -> Try | Wait | Answer | None:
        runs = [o for o in self.seen if o.on == self.everything]
        crashes = sum(o.crashed for o in runs)
        soaks = math.fsum(o.seconds + self.question.setup for o in runs) / self.question.soak
        under_way = [r for r in self.running if r.purpose is Purpose.BASELINE]
        if crashes >= BASELINE_CRASHES and (crashes >= BASELINE_MORE or soaks >= BASELINE_SOAKS):
            return None
        if any(o.crashed for o in self.seen) and soaks >= RARE_SOAKS and crashes:
            return None
        if not any(o.crashed for o in self.seen) and soaks >= HOPELESS_SOAKS:
            load = math.fsum(o.seconds for o in runs)
            said = f"{len(runs)} runs with everything on, {_time(load)} under load, no crash"
            return Answer(VerdictKind.NOT_REPRODUCIBLE, (), 0.0, (said,))
        wanted = max(1, BASELINE_MORE - crashes)
        if len(under_way) >= wanted:
            return None if crashes >= BASELINE_CRASHES else Wait("the runs with everything on come first")
        seconds = BASELINE_SOAK * self.question.soak
        return self._affordable(
            Try(self.everything, seconds, Purpose.BASELINE, "everything on: how soon does it crash?")
        )

    # ---- is it decided?

    def conclude(self) -> Answer | None:
        top, probability = self.top, self.probability
        if probability < CERTAIN:
            return None
        if top == SYSTEM:
            without = [o for o in self.seen if not o.on and o.crashed]
            bare = frozenset() in self.question.refused
            if not without and not bare:
                return None
            because = (
                "the crash came whichever units were off; with all of them off the host does not boot"
                if bare
                else "the crash also came with every unit off"
            )
            return Answer(VerdictKind.SYSTEM, (), probability, (because,), tuple(o.trial for o in without))
        if self.belief.system > CLEAR_OF_SYSTEM:
            return None
        possible = [step for step in self._steps(top) if step[1] not in self.question.refused]
        runs = [self._confirming(step) for step in possible]
        if any(found is None for found in runs):
            return None
        trials = tuple(sorted({t for found in runs for t in found or ()}))
        return self._named(top, probability, trials, unconfirmed=len(possible) < len(self._steps(top)))

    def _named(
        self, top: Hypothesis, probability: float, trials: tuple[int, ...], *, unconfirmed: bool
    ) -> Answer:
        kinds = {
            Kind.SINGLE: VerdictKind.DRIVER,
            Kind.PAIR: VerdictKind.PAIR,
            Kind.TRIPLE: VerdictKind.TRIPLE,
            Kind.EITHER: VerdictKind.EACH_OF,
        }
        strange = without_cause(self.belief, top)
        if strange:
            return Answer(VerdictKind.UNDECIDED, top.units, probability, (strange,), trials)
        because: tuple[str, ...] = ()
        alike = self.belief.alike(top)[1:]
        if alike:
            others = ", ".join(u for h in alike for u in h.units if u not in top.units)
            because = (f"it cannot be told from {top.units[0]} together with {others}, which it needs",)
        if unconfirmed:
            because += ("one of the confirming runs could not be made: that set of drivers does not boot",)
        return Answer(kinds[top.kind], top.units, probability, because, trials)

    # ---- the system, cleared or convicted by a run with everything off

    def clear_system(self) -> Try | Wait | Answer | None:
        if self.belief.system < SUSPECT_SYSTEM or frozenset() in self.question.refused:
            return None
        if any(not o.on and o.crashed for o in self.seen):
            return None
        missing = self._silence_missing(frozenset(), SYSTEM, 0.99)
        if missing <= 0:
            return None
        if any(not r.on for r in self.running):
            return None
        return self._affordable(
            Try(
                frozenset(), self._soak(missing), Purpose.ALL_OFF,
                f"everything off: a crash now would be none of the units ({self.belief.system:.0%} so far)",
            )
        )  # fmt: skip

    # ---- the confirming pair

    def confirm(self) -> Try | Wait | Answer | None:
        if self.top == SYSTEM or self.probability < self._accused(self.top):
            return None
        run = next(self._confirming_runs(), None)
        return self._settle(self.top) if run is None else self._affordable(run)

    def _settle(self, top: Hypothesis) -> Try | Wait | Answer | None:
        """Confirmed, and yet not certain: one longer silence, where that is all that is missing."""
        for purpose, on in self._steps(top):
            if purpose is not Purpose.WITHOUT or on in self.question.refused:
                continue
            seconds = self._shared(on, self._settling(on, top, 0.0))
            if seconds > 0:
                off = ", ".join(sorted(self.everything - on))
                why = f"once more without {off}: its silence would make the answer certain"
                return self._affordable(Try(on, self._soak(seconds), purpose, why))
        return None

    def _accused(self, top: Hypothesis) -> float:
        return ACCUSED if self._rate(top) * self.question.soak >= ACCUSED_RATE else CERTAIN

    def _steps(self, top: Hypothesis) -> list[tuple[Purpose, frozenset[str]]]:
        """The runs that confirm a hypothesis: without it no crash; with it alone the crash."""
        units = self.question.units
        if top.kind is Kind.EITHER:
            only = [units.close_on({u}) for u in top.units]
            without = [units.close_off(self.everything - set(top.units))]
        else:
            only = [units.close_on(top.units)]
            without = [units.close_off(self.everything - {u}) for u in top.units]
        return [(Purpose.ONLY, on) for on in only] + [(Purpose.WITHOUT, on) for on in without]

    def _confirming(self, step: tuple[Purpose, frozenset[str]]) -> tuple[int, ...] | None:
        """The trials that did a confirming step of the leader; None: it is not done."""
        purpose, on = step
        if purpose is Purpose.ONLY:
            crashes = [o.trial for o in self.seen if o.on == on and o.crashed]
            if crashes or on == self.everything:
                return tuple(crashes)
            return None
        if self._silence_missing(on, self.top, SILENCE) > 0:
            return None
        return tuple(o.trial for o in self.seen if o.on == on and not o.crashed)

    # ---- the search itself

    def search(self) -> Try | Wait | Answer:
        pending = [
            Pending(self.question.units.marks(r.on).astype(float), max(r.planned - r.stood, 1e-3))
            for r in self.running
        ]
        best = choose(self.belief, pending, longest=self._longest())
        confirming = self._as_good(best, pending)
        if confirming is not None:
            return self._affordable(confirming)
        confirming_now = any(r.purpose in (Purpose.ONLY, Purpose.WITHOUT) for r in self.running)
        if best.bits <= (NOT_WORTH if confirming_now else 1e-9):
            if self.running:
                return Wait("the running trials tell all that can be told now")
            return self._undecided("no set of units that can be tried tells anything more")
        name = " and ".join(self.top.units) or "none of them"
        return self._affordable(
            Try(
                best.on, best.seconds, Purpose.SEARCH,
                f"{len(best.on)} of {len(self.everything)} on, {best.bits:.2f} bits expected; "
                f"leading: {name} at {self.probability:.0%}", best.bits,
            ),
            best.expected_seconds,
        )  # fmt: skip

    def _as_good(self, best: Choice, pending: list[Pending]) -> Try | None:
        """A confirming run of the leader that tells nearly as much as the best run: it is needed anyway if
        the hypothesis is true, and ends early if it is not."""
        if self.top == SYSTEM or self.probability < LEADING:
            return None
        for run in self._confirming_runs():
            known = max(rate_of(self.belief, run.on, s, pending) for s in (run.seconds, best.seconds))
            if best.on == run.on or known >= NEARLY * best.bits / best.expected_seconds:
                return run
        return None

    def _confirming_runs(self) -> Iterator[Try]:
        """The confirming runs of the leader that are still to be made and not under way."""
        for step in self._steps(self.top):
            if self._confirming(step) is None and step[1] not in self.question.refused:
                run = self._confirming_run(step, self.top)
                if run is not None:
                    yield run

    def _shared(self, on: frozenset[str], seconds: float) -> float:
        """This host's part of a silence; 0 when those under way are all that is missing."""
        parts = sum(r.on == on for r in self.running)
        still = seconds - math.fsum(r.planned - r.stood for r in self.running if r.on == on)
        if still <= ENOUGH * self.question.soak or parts >= self.hosts:
            return 0.0
        return min(still, max(seconds / self.hosts, PART * self.question.soak))

    def _confirming_run(self, step: tuple[Purpose, frozenset[str]], top: Hypothesis) -> Try | None:
        """A run of a confirming step; None when enough of it is under way."""
        purpose, on = step
        names = " and ".join(top.units)
        if purpose is Purpose.ONLY:
            if any(r.on == on for r in self.running):
                return None
            missing = self._seconds_until(top, SILENCE)
            why = f"only {names}: if that is enough, the crash comes back"
        else:
            missing = self._shared(on, self._settling(on, top, self._silence_missing(on, top, SILENCE)))
            if missing <= 0:
                return None
            off = ", ".join(sorted(self.everything - on))
            why = f"without {off}: if that is the cause, the host now stands"
        return Try(on, self._soak(missing), purpose, why)

    def _settling(self, on: frozenset[str], top: Hypothesis, seconds: float) -> float:
        """At least `seconds`; longer when a little more silence would make the answer certain."""

        def settled(more: float) -> bool:
            belief = self.belief.observe(on, more, False)
            return belief.probability(top) >= CERTAIN and belief.system <= CLEAR_OF_SYSTEM

        longest = max(seconds, SETTLING / self._rate(top))
        if settled(seconds) or not settled(longest):
            return seconds
        low, high = seconds, longest
        for _ in range(6):
            middle = (low + high) / 2
            low, high = (low, middle) if settled(middle) else (middle, high)
        return high

    # ---- how long

    def _rate(self, top: Hypothesis) -> float:
        """Mean crash rate a second while the hypothesis' units are on."""
        shape, rate = self._hazard(top)
        return shape / rate

    def _hazard(self, top: Hypothesis) -> tuple[float, float]:
        belief, units = self.belief, self.question.units
        if top.kind in (Kind.SYSTEM, Kind.TRIPLE):
            side = belief.families[top.kind].on
            at = belief.triples.index(self._numbers(top)) if top.kind is Kind.TRIPLE else 0
            return float(side.shape[at]), float(side.rate[0, at])
        kind = Kind.EITHER if top.kind is Kind.EITHER else Kind.PAIR
        side = belief.families[kind].on
        i, j = units.index[top.units[0]], units.index[top.units[-1]]
        return float(side.shape[i, j]), float(side.rate[0, i, j])

    def _numbers(self, top: Hypothesis) -> tuple[int, int, int]:
        first, second, third = (self.question.units.index[u] for u in top.units)
        return first, second, third

    def _seconds_until(
        self, top: Hypothesis, confidence: float, have: float = 0.0, *, times: int = 1
    ) -> float:
        """Seconds of silence until a crash had come with probability `confidence`, at the mean rate.

        That, so many `times`, less the `have` seconds that have been stood.
        """
        longest = LONGEST * self.question.soak
        return min(max(-times * math.log(1.0 - confidence) / self._rate(top) - have, 0.0), longest)

    def _silence_missing(self, on: frozenset[str], top: Hypothesis, confidence: float) -> float:
        """Seconds of silence with exactly `on` that are still missing; 0 when there is enough.

        Where crashes are decided at boot only the window of each run counts, so it takes several boots. A
        crash with this set, were it another one, must be outweighed by as much silence again.
        """
        window = self.belief.window
        runs = [o for o in self.seen if o.on == on]
        stood = math.fsum(min(o.seconds, window) for o in runs if not o.crashed)
        crashes = sum(o.crashed for o in runs)
        missing = self._seconds_until(top, confidence, stood, times=1 + crashes)
        return missing if missing > ENOUGH * self.question.soak else 0.0

    def _soak(self, seconds: float) -> float:
        return min(max(seconds, 0.05 * self.question.soak), self._longest())

    def _longest(self) -> float:
        return min(LONGEST * self.question.soak, self.belief.window)

    # ---- what it may cost

    def _too_dear(self, expected: float) -> bool:
        return self.left is not None and self.question.setup + expected > self.left

    def _affordable(self, trial: Try, expected: float | None = None) -> Try | Answer | Wait:
        cost = trial.seconds if expected is None else expected - self.question.setup
        if not self._too_dear(cost):
            return trial
        if self.running:
            return Wait("the budget is spent; trials are still running")
        return self._undecided(f"about {_time(cost + self.question.setup)} for: {trial.why}")

    def _undecided(self, would: str) -> Answer:
        ranked = self.belief.ranked(4)
        close = [h for h, p in ranked if p >= 0.5 * ranked[0][1] and p >= 0.1 and h.kind is Kind.SINGLE]
        total = sum(p for h, p in ranked if h in close)
        if len(close) >= 2 and total >= 0.9:
            return Answer(VerdictKind.ONE_OF, tuple(h.units[0] for h in close), total, (), would_decide=would)
        top, probability = ranked[0]
        return Answer(VerdictKind.UNDECIDED, top.units, probability, (), would_decide=would)


def _so_far(running: Iterable[Running]) -> list[Observation]:
    return [Observation(r.on, r.stood, False) for r in running if r.stood > 0]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
