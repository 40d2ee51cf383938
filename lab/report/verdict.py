"""The answer of a case in words: what it is, how sure, and why."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Case, Crashed, Relation, Survived, Trial, Verdict, VerdictKind
from lab.report import advice, bugchecks, drivers, survival, words
from lab.report.advice import Action
from lab.report.drivers import DriverCard


@dataclass(frozen=True)
class Answer:
    """The verdict to show. `headline` is one sentence in pieces: (text, is a driver's name)."""

    kind: str  # VerdictKind's value, or "open"
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
    count: str  # the APC disable count of the case's crashes, "" when that is not what it is about

    @property
    def sentence(self) -> str:
        return "".join(text for text, _ in self.headline)


LABELS = {
    VerdictKind.DRIVER: "Culprit found",
    VerdictKind.ONE_OF: "One of several",
    VerdictKind.SYSTEM: "Not a third-party driver",
    VerdictKind.NOT_REPRODUCIBLE: "Not reproduced",
    VerdictKind.UNDECIDED: "Not decided",
}


def answer(case: Case) -> Answer:
    verdict = case.verdict
    cards = drivers.culprit_cards(case)
    return Answer(
        kind=verdict.kind.value if verdict else "open",
        label=LABELS[verdict.kind] if verdict else "Case open",
        headline=_headline(case, verdict),
        plain=_plain(case),
        percent=words.percent(verdict.probability) if verdict else "",
        share=round(100 * min(max(verdict.probability, 0.0), 1.0), 1) if verdict else 0.0,
        sure=words.sure(verdict.probability) if verdict else "",
        proof=_proof(case),
        against=_against(case),
        because=verdict.because if verdict else (),
        actions=advice.actions(case, verdict, cards),
        decide=advice.decide(case, verdict),
        culprits=cards,
        count=apc_count(case),
    )


def apc_count(case: Case) -> str:
    """The signed count, from the dumps or else from the trials' bugchecks."""
    if not bugchecks.about_apc(case.expected):
        return ""
    ours = (Relation.SAME, Relation.SIBLING)
    stops = [t.bugcheck for t in case.crashes.values()]
    stops += [
        t.outcome.bugcheck
        for t in case.trials
        if isinstance(t.outcome, Crashed) and t.outcome.relation in ours
    ]
    found = (bugchecks.apc_count(b) for b in stops)
    return next((words.signed(c) for c in found if c), "")


def _fault(case: Case) -> str:
    """What the culprit does, as a verb phrase for "it"."""
    if not bugchecks.about_apc(case.expected):
        return "causes the crash"
    return "enables APCs it never disabled" if apc_count(case).startswith("+") else "leaves APCs disabled"


def stops_without(case: Case) -> bool:
    """True if trials without the culprits stood and none crashed."""
    _, without = survival.split(case)
    return bool(without) and all(isinstance(t.outcome, Survived) for t in without)


def _headline(case: Case, verdict: Verdict | None) -> tuple[tuple[str, bool], ...]:
    if verdict is None:
        return (("This case is still open.", False),)
    images = [drivers.image(case, s) for s in verdict.culprits]
    match verdict.kind:
        case VerdictKind.DRIVER if len(images) > 1:
            what = (
                "together leave APCs disabled"
                if bugchecks.about_apc(case.expected)
                else "together cause the crash"
            )
            return (*_listed(images, "and"), (f" {what}{_and_stops(case, 'them')}.", False))
        case VerdictKind.DRIVER:
            return (*_listed(images, "and"), (f" {_fault(case)}{_and_stops(case, 'it')}.", False))
        case VerdictKind.ONE_OF:
            return (("Either ", False), *_listed(images, "or"), (f" {_fault(case)}.", False))
        case VerdictKind.SYSTEM:
            return (("No third-party driver is to blame: the crash comes without them.", False),)
        case VerdictKind.NOT_REPRODUCIBLE:
            return (("The crash did not come back in the lab.", False),)
        case VerdictKind.UNDECIDED if images:
            return (("Not decided yet: it may be ", False), *_listed(images, "or"), (".", False))
        case _:
            return (("Not decided yet: the trials do not single out a driver.", False),)


def _and_stops(case: Case, it: str) -> str:
    return f"; removing {it} stops the crash" if stops_without(case) else ""


def _listed(images: list[str], last: str) -> tuple[tuple[str, bool], ...]:
    pieces: list[tuple[str, bool]] = []
    for i, image in enumerate(images):
        if i:
            pieces.append((f" {last} " if i == len(images) - 1 else ", ", False))
        pieces.append((image, True))
    return tuple(pieces)


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
    """The confirming trials in a sentence each."""
    verdict = case.verdict
    if verdict is None:
        return ()
    with_them, _ = survival.split(case)
    mean = survival.mean_time_to_crash(with_them)
    it = "it" if len(verdict.culprits) == 1 else "them"
    found = []
    for trial in case.trials:
        if trial.number in verdict.confirmed_by and survival.counts(trial):
            found.append(_proof_of(case, trial, it, mean))
    return tuple(found)


def _against(case: Case) -> str:
    """Crashes that came with every culprit off: a verdict must not hide them."""
    _, without = survival.split(case)
    crashed = [str(t.number) for t in without if isinstance(t.outcome, Crashed)]
    if not crashed or case.verdict is None:
        return ""
    trials = f"trial{'s' if len(crashed) > 1 else ''} {words.names(crashed)}"
    it = "it" if len(case.verdict.culprits) == 1 else "all of them"
    return f"Against this verdict: {trials} crashed with {it} off."


def _proof_of(case: Case, trial: Trial, it: str, mean: float | None) -> str:
    assert case.verdict is not None
    culprits = case.verdict.culprits
    time = words.seconds(survival.time_under_load(trial))
    if not culprits:
        end = "crashed after" if isinstance(trial.outcome, Crashed) else "stood"
        return (
            f"Trial {trial.number}, {words.count(len(trial.enabled), 'third-party driver')} on: {end} {time}."
        )
    on = [drivers.image(case, s) for s in culprits if survival.has(trial, (s,))]
    off = [drivers.image(case, s) for s in culprits if not survival.has(trial, (s,))]
    if on and off:
        how = f"With {words.names(on)} on and {words.names(off)} off"
    elif on:
        how = f"With {it} alone" if survival.alone(case, trial, culprits) else f"With {it} on"
    else:
        how = f"Without {it}"
    if isinstance(trial.outcome, Crashed):
        return f"{how}: crashed after {time} of load (trial {trial.number})."
    usual = f" where crashes came after {words.seconds(mean)} on average" if mean else ""
    return f"{how}: stood {time} of load{usual} (trial {trial.number})."
