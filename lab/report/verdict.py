"""The answer of a case in words: what it is, how sure, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

from lab.model import Case, Crashed, Trial, Verdict, VerdictKind
from lab.report import advice, bugchecks, culprits, drivers, survival, words
from lab.report.advice import Action
from lab.report.drivers import DriverCard
from lab.report.headline import apc_count, headline
from lab.report.untested import Untested, images, told, untested


@dataclass(frozen=True)
class Answer:
    """The verdict to show. `headline` is one sentence in pieces: (text, is a driver's name)."""

    kind: str  # VerdictKind's value, or "open"
    settled: bool  # it names who is to blame: the page may be loud
    who: str  # what the list of culprits is called
    label: str
    headline: tuple[tuple[str, bool], ...]
    plain: str
    percent: str  # "" when there is no probability to speak of
    share: float  # 0..100
    sure: str
    proof: tuple[str, ...]
    against: str  # trials that contradict the verdict, in a sentence, or ""
    because: tuple[str, ...]
    actions: tuple[Action, ...]
    decide: tuple[str, ...]
    culprits: tuple[DriverCard, ...]
    untested: tuple[Untested, ...]  # never switched off, so not cleared
    count: str  # the APC disable count of the case's crashes, "" when that is not what it is about

    @property
    def sentence(self) -> str:
        return "".join(text for text, _ in self.headline)


LABELS = {
    VerdictKind.DRIVER: "Culprit found",
    VerdictKind.PAIR: "Two culprits that act together",
    VerdictKind.TRIPLE: "Three culprits that act together",
    VerdictKind.EACH_OF: "Several culprits",
    VerdictKind.ONE_OF: "One of several",
    VerdictKind.SYSTEM: "Not a third-party driver",
    VerdictKind.NOT_REPRODUCIBLE: "Not reproduced",
    VerdictKind.UNDECIDED: "Not decided",
}


def answer(case: Case) -> Answer:
    verdict = case.verdict
    cards = drivers.culprit_cards(case)
    open_ones = untested(case)
    return Answer(
        kind=verdict.kind.value if verdict else "open",
        settled=verdict is not None and verdict.kind in culprits.SETTLED,
        who=_who(verdict),
        label=_label(verdict, open_ones),
        headline=headline(case, verdict, open_ones),
        plain=_plain(case),
        percent=words.percent(verdict.probability) if verdict and _has_number(verdict) else "",
        share=round(100 * min(max(verdict.probability, 0.0), 1.0), 1) if verdict else 0.0,
        sure=_sure(verdict, open_ones),
        proof=_proof(case),
        against=_against(case),
        because=_because(verdict, open_ones),
        actions=advice.actions(case, verdict, cards, open_ones),
        decide=advice.decide(case, verdict, open_ones),
        culprits=cards,
        untested=open_ones,
        count=apc_count(case),
    )


def _label(verdict: Verdict | None, open_ones: tuple[Untested, ...]) -> str:
    if verdict is None:
        return "Case open"
    if verdict.kind is VerdictKind.SYSTEM and open_ones:
        return "Not a removable third-party driver"
    return LABELS[verdict.kind]


def _who(verdict: Verdict | None) -> str:
    if verdict is None:
        return "The candidates"
    match verdict.kind:
        case VerdictKind.DRIVER:
            return "The driver" if len(verdict.culprits) == 1 else "The drivers"
        case VerdictKind.PAIR | VerdictKind.TRIPLE:
            return "The drivers, which act only together"
        case VerdictKind.EACH_OF:
            return "The drivers, each of which is enough"
        case VerdictKind.ONE_OF | VerdictKind.SYSTEM | VerdictKind.NOT_REPRODUCIBLE | VerdictKind.UNDECIDED:
            return "The candidates"
        case _:
            assert_never(verdict.kind)


def _has_number(verdict: Verdict) -> bool:
    """A verdict that names nobody and claims nothing has no probability worth showing."""
    nobody = verdict.kind is VerdictKind.UNDECIDED and not verdict.culprits
    return verdict.probability > 0 and verdict.kind is not VerdictKind.NOT_REPRODUCIBLE and not nobody


def _sure(verdict: Verdict | None, open_ones: tuple[Untested, ...]) -> str:
    if verdict is None:
        return "No verdict has been given yet, so there is no probability to show."
    if verdict.kind is VerdictKind.NOT_REPRODUCIBLE:
        return "This clears no driver: a crash that did not come may still come."
    them = _named_or_counted(open_ones)
    if not _has_number(verdict):
        if open_ones:
            return f"Evidence names {them}, but no trial was without {_it(open_ones)}, so there is no number."
        return "Nothing points to a driver clearly enough for a number."
    if verdict.kind is VerdictKind.UNDECIDED and verdict.culprits:
        also = f"; it says nothing of {them}" if open_ones else ""
        return f"{words.sure(verdict.probability)}: a lead, no result{also}"
    if verdict.kind is VerdictKind.SYSTEM and open_ones:
        them_too = images(open_ones) if len(open_ones) <= 3 else (them,)
        left = words.names(("Windows", "firmware", "hardware", *them_too))
        sure = words.sure(verdict.probability)
        return f"{sure} that it is none of those that were switched off. {left} remain"
    return words.sure(verdict.probability)


def _named_or_counted(open_ones: tuple[Untested, ...]) -> str:
    """Up to three by their names; more by their number, for they are listed beside it."""
    if len(open_ones) <= 3:
        return words.names(images(open_ones))
    return f"{len(open_ones)} third-party drivers that were never switched off"


def _it(open_ones: tuple[Untested, ...]) -> str:
    return "it" if len(open_ones) == 1 else "them"


FEW = 4
"""Times to a crash that are told one by one."""

_REPEATS = re.compile(
    r"(without (it|them|each of them)|with one of them off) the host stood"
    r"|with (it as the only|no other) removable"
)
"""How reasons begin that say what the confirming trials, shown above them, say."""


def _because(verdict: Verdict | None, open_ones: tuple[Untested, ...]) -> tuple[str, ...]:
    if verdict is None:
        return ()
    reasons = tuple(r for r in verdict.because if not told(r, open_ones) and not r.startswith(advice.DECIDES))
    if verdict.kind in culprits.SETTLED and verdict.confirmed_by:
        reasons = tuple(r for r in reasons if not _REPEATS.match(r))
    return tuple(words.sentence(r) for r in reasons)


def _plain(case: Case) -> str:
    """What happens on the server, for a reader who never saw a kernel."""
    if not bugchecks.about_apc(case.expected):
        return ""
    return (
        "A driver may ask Windows not to interrupt a thread while it does something delicate, like a "
        "“do not disturb” sign on a hotel door, and must take the sign down afterwards. Here the sign was "
        "left on the door. Windows notices only when the thread ends, long after the driver has gone, and "
        "stops the whole server."
    )


def _proof(case: Case) -> tuple[str, ...]:
    """The confirming trials, those of one kind in one sentence."""
    verdict = case.verdict
    if verdict is None:
        return ()
    with_them, _ = survival.split(case)
    mean = survival.mean_time_to_crash(with_them)
    kinds: dict[tuple[str, bool], list[Trial]] = {}
    for trial in case.trials:
        if trial.number in verdict.confirmed_by and survival.counts(trial):
            ended = isinstance(trial.outcome, Crashed)
            kinds.setdefault((_setting(case, trial, verdict.culprits), ended), []).append(trial)
    return tuple(_confirmed(how, ended, trials, mean) for (how, ended), trials in kinds.items())


def _setting(case: Case, trial: Trial, named: tuple[str, ...]) -> str:
    """How the culprits stood in a trial: "With it alone", "Without it"."""
    it = "it" if len(named) == 1 else "them"
    ran = culprits.on(trial, named)
    on = [drivers.image(case, s) for s in ran]
    off = [drivers.image(case, s) for s in named if s not in ran]
    if not named:
        if case.verdict and case.verdict.kind is VerdictKind.SYSTEM and not _removable(case, trial):
            return "With every removable third-party driver off"
        return f"With {words.count(len(trial.enabled), 'third-party driver')} on"
    alone = survival.alone(case, trial, named)
    if on and off:
        return f"With {words.names(on)} on and {words.names(off)} off"
    if off:
        return f"Without {it}"
    return f"With {it} alone" if alone else f"With {it} on"


def _removable(case: Case, trial: Trial) -> bool:
    """True if a driver ran in the trial that the verdict does not name as never switched off."""
    kept = {u.card.service.casefold() for u in untested(case)}
    return any(s.casefold() not in kept for s in trial.enabled)


def _confirmed(how: str, ended: bool, trials: list[Trial], mean: float | None) -> str:
    times = [survival.time_under_load(t) for t in trials]
    which = f"trial{'s' if len(trials) > 1 else ''} {words.names([str(t.number) for t in trials])}"
    if ended and len(times) > FEW:
        average = words.seconds(sum(times) / len(times))
        return f"{how}: crashed {len(times)} times, after {average} of load on average ({which})."
    if ended:
        after = words.names([words.seconds(t) for t in times])
        return f"{how}: crashed after {after} of load ({which})."
    usual = f" where crashes came after {words.seconds(mean)} on average" if mean else ""
    return f"{how}: stood {words.seconds(sum(times))} of load{usual} ({which})."


def _against(case: Case) -> str:
    """Crashes that came with every culprit off: a verdict must not hide them."""
    _, without = survival.split(case)
    crashed = [str(t.number) for t in without if isinstance(t.outcome, Crashed)]
    if not crashed or case.verdict is None:
        return ""
    trials = f"trial{'s' if len(crashed) > 1 else ''} {words.names(crashed)}"
    it = "it" if len(case.verdict.culprits) == 1 else "all of them"
    if case.verdict.kind in culprits.TOGETHER:
        it = "at least one of them"
    return f"Against this verdict: {trials} crashed with {it} off."
