"""How probable each suspect was after each trial, as a picture: one band a suspect, the rest in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lab.model import Case, Verdict, VerdictKind
from lab.report import culprits, drivers, ladder, words

if TYPE_CHECKING:  # the engine's arrays take longer to import than most reports to write
    from lab.bisect.belief import Observation, Question
    from lab.bisect.hypotheses import Hypothesis

NOTABLE = 0.10
"""Who never reached this probability is one of the others."""

SHOWN = 6
"""Suspects with a band of their own, at most."""

LOOKED_AT = 12
"""The most probable after each trial that are looked at."""

START = 8.0
"""Percent of the width, on a phone, that the word "start" takes below the first column."""

LONGEST = 44
"""Characters of a name; longer ones are cut."""


class Search(Protocol):
    """What the engine was asked, and what it saw: one observation for each trial that counts, in order.

    Without `services` that can be switched nothing was asked: the other two are not looked at.
    """

    @property
    def services(self) -> tuple[str, ...]: ...
    @property
    def question(self) -> Question: ...
    @property
    def observations(self) -> Sequence[Observation]: ...


@dataclass(frozen=True)
class Track:
    """One suspect over the trials. `kind`: culprit, suspect, none (of the drivers) or others.

    `area` is its outline in a box of 1000 by 100; `levels` the probability at the start and after each trial.
    """

    label: str
    kind: str
    area: str
    now: str
    note: str
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Mark:
    """One trial below the bands: its centre in percent of the width, how it ended, what it was."""

    number: int
    x: float
    state: str
    text: str
    numbered: bool
    spare: bool  # its number may go where there is little room


@dataclass(frozen=True)
class Posterior:
    tracks: tuple[Track, ...]
    marks: tuple[Mark, ...]
    radius: float  # of a mark, in pixels
    finding: str
    lottery: str  # a sentence when the crash seems to be decided at boot, or ""


def posterior(case: Case, search: Search | None) -> Posterior | None:
    """The picture, or None when nothing was searched, the crash never came, or nobody ever stood out."""
    if search is None or not search.services or not any(o.crashed for o in search.observations):
        return None
    from lab.bisect.fitting import believe

    question, observations = search.question, tuple(search.observations)
    belief = believe(question, ())
    beliefs, rank = [belief], [dict(belief.ranked(LOOKED_AT))]
    for trial in case.trials:
        known = [o for o in observations if o.trial <= trial.number]
        if len(known) > len(belief.observations):
            belief = believe(question, known)
            rank.append(dict(belief.ranked(LOOKED_AT)))
        beliefs.append(belief)
    chosen = _chosen(rank)
    if not chosen:
        return None
    levels = {h: tuple(b.probability(h) for b in beliefs) for h in chosen}
    tracks = [_track(case, question, h, levels[h]) for h in chosen]
    rest = tuple(max(0.0, 1.0 - sum(own[i] for own in levels.values())) for i in range(len(beliefs)))
    tracks.append(_others(question, chosen, rest))
    return Posterior(
        tracks=tuple(tracks),
        marks=_marks(case),
        radius=round(max(1.5, min(6.0, 200 / len(beliefs))), 2),
        finding=_finding(tracks[0], case),
        lottery=_lottery(belief.steady),
    )


def _chosen(rank: Sequence[Mapping[Hypothesis, float]]) -> list[Hypothesis]:
    """Those with a band of their own: the most probable now first, then by the highest they reached."""
    peak: dict[Hypothesis, float] = {}
    for ranked in rank:
        for hypothesis, p in ranked.items():
            peak[hypothesis] = max(p, peak.get(hypothesis, 0.0))
    notable = [h for h, p in peak.items() if p >= NOTABLE]
    now = rank[-1]
    notable.sort(key=lambda h: (-round(now.get(h, 0.0), 3), -peak[h], h.units))
    return notable[:SHOWN]


def name(case: Case, question: Question, hypothesis: Hypothesis) -> str:
    """A hypothesis as a reader knows it: file names of images."""
    if not hypothesis.units:
        return "None of the drivers"
    images = []
    for unit in hypothesis.units:
        services = question.units.services.get(unit, (unit,))
        images.append("/".join(_cut(drivers.image(case, s)) for s in services[:3]))
    if len(images) == 1:
        return images[0]
    if hypothesis.kind.value == "either":
        return f"{words.names(images, 'or')}, each by itself"
    return f"{words.names(images)} together"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _track(case: Case, question: Question, hypothesis: Hypothesis, levels: tuple[float, ...]) -> Track:
    services = {s.casefold() for u in hypothesis.units for s in question.units.services.get(u, (u,))}
    kind = "suspect" if hypothesis.units else "none"
    if case.verdict and services and _accused(case.verdict, services):
        kind = "culprit"
    peak = max(levels)
    at = levels.index(peak)
    note = "" if peak - levels[-1] < 0.02 else f"at most {words.percent(peak)} ({_when(case, at)})"
    return Track(
        name(case, question, hypothesis), kind, _area(levels), words.percent(levels[-1]), note, levels
    )


def _accused(verdict: Verdict, services: set[str]) -> bool:
    """True if the verdict blames exactly these services, or says that it is one of several such."""
    named = {s.casefold() for s in verdict.culprits}
    if verdict.kind is VerdictKind.ONE_OF:
        return services <= named
    return culprits.named(verdict) and services == named


def _when(case: Case, at: int) -> str:
    return f"trial {case.trials[at - 1].number}" if at else "at the start"


def _others(question: Question, chosen: Sequence[Hypothesis], levels: tuple[float, ...]) -> Track:
    singles = sum(len(h.units) == 1 for h in chosen)
    left = len(question.units) - singles
    label = (
        f"{words.count(left, 'other driver')}, and pairs of drivers"
        if len(question.units) > 1
        else "All others"
    )
    return Track(label, "others", _area(levels), words.percent(levels[-1]), "", levels)


def _area(levels: tuple[float, ...]) -> str:
    """Steps: the level of column i from its left edge to its right one."""
    width = 1000 / len(levels)
    parts = ["M0 100"]
    for i, level in enumerate(levels):
        parts.append(f"V{100 - 100 * level:.4g}H{(i + 1) * width:.6g}")
    return "".join((*parts, "V100Z"))


def _marks(case: Case) -> tuple[Mark, ...]:
    columns = len(case.trials) + 1
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if columns / step <= 24 or step == 1000)
    found = []
    for i, trial in enumerate(case.trials, 1):
        end = ladder.end(trial)
        text = f"Trial {trial.number}: {end.word.lower()}, {end.detail}; {ladder.off(case, trial)}"
        x = round(100 * (i + 0.5) / columns, 3)
        numbered = trial.number % every == 0 and (x > START or every == 1)
        spare = trial.number // every % 2 == 1
        found.append(Mark(trial.number, x, end.state, text, numbered, spare))
    return tuple(found)


def _finding(leader: Track, case: Case) -> str:
    """Since when the leading suspect has had more than one half, in a sentence."""
    if leader.levels[-1] <= 0.5:
        return "No suspect is more probable than all the others together."
    since = len(leader.levels) - 1
    while since and leader.levels[since - 1] > 0.5:
        since -= 1
    when = f"Since trial {case.trials[since - 1].number}" if since else "From the start"
    who = leader.label[0].lower() + leader.label[1:] if leader.kind == "none" else leader.label
    return f"{when} one answer is more probable than all others together: {who}."


def _lottery(steady: float) -> str:
    if steady > 0.3:
        return ""
    return (
        "It seems to be decided when the host starts whether it will crash: several starts say more than one "
        "long run, and the numbers count with that."
    )
