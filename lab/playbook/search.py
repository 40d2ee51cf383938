"""What the search over sets of drivers is asked about a case, and its answers as steps and verdicts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from lab.bisect import search
from lab.bisect.hypotheses import Kind
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.model import Crashed, Recipe, Survived, Verdict, VerdictKind, VerifierPlan
from lab.playbook.steps import SEARCH, Conclude, Pause, Rung, RunTrial
from lab.playbook.view import View, reproduced

TOGETHER = (VerdictKind.PAIR, VerdictKind.TRIPLE)


def ask(
    view: View,
    running: Sequence[Running] = (),
    *,
    left: float | None = None,
    begun: int | None = None,
    avoid: Collection[frozenset[str]] = (),
    hosts: int = 1,
) -> RunTrial | Pause | Conclude:
    """What a free host does next for this case: nothing of it is known but its journal. Pure.

    `running` are the trials on other hosts, `left` the machine-seconds that may still be spent (None: no
    limit), `begun` the trials begun so far (default: those that have ended), which seeds the next load.
    `avoid` are sets of units that this host is better not given, as long as there is another to try.
    `hosts` take part, this one included.
    """
    if not view.services:
        return Conclude(_nothing_to_switch(view))
    avoid = set(avoid) - set(view.refused)
    question = replace(view.question, refused=(*view.refused, *sorted(avoid, key=sorted)))
    step = search.next_trial(question, view.observations, running, left=left, hosts=hosts)
    if avoid and isinstance(step, Answer):  # an answer must not come of what this host alone avoids
        step = search.next_trial(view.question, view.observations, running, left=left, hosts=hosts)
    if isinstance(step, Wait):
        return Pause(step.why)
    if isinstance(step, Answer):
        return Conclude(verdict(view, step))
    step = _doubt_first(view, step, running)
    if isinstance(step, Wait):
        return Pause(step.why)
    off = frozenset(s for u, services in view.units.services.items() if u not in step.on for s in services)
    what = recipe(view, SEARCH[step.purpose], disabled=off, seconds=step.seconds, begun=begun)
    why = step.why.removeprefix(f"{len(step.on)} of {len(view.units.names)} on, ")  # the headline says it
    return RunTrial(what, _headline(view, step, off), why, step)


def to_end(
    view: View, running: Sequence[Running], *, left: float | None = None, hosts: int = 1
) -> Running | None:
    """The running trial of this case whose host is better used otherwise; None: they all go on. Pure."""
    if not view.services:
        return None
    return search.to_end(view.question, view.observations, running, left=left, hosts=hosts)


def _doubt_first(view: View, step: Try, running: Sequence[Running]) -> Try | Wait:
    """Before a trial without a unit that the host may need to boot, one with this alone off."""
    units = view.units
    off = [u for u in units.names if u not in step.on and view.doubtful & frozenset(units.services[u])]
    if not off:
        return step
    on = units.close_off(frozenset(units.names) - {off[0]})
    if on in view.refused:
        return step
    if any(trial.on == on for trial in running):
        return Wait(f"whether a host boots without {off[0]} is being tried")
    why = f"boots failed that nothing but {off[0]} explains: is it needed?"
    return replace(step, on=on, purpose=Purpose.SEARCH, why=why)


def recipe(
    view: View,
    rung: Rung,
    *,
    disabled: Iterable[str] = (),
    flags: int = 0,
    load_factor: float = 1,
    seconds: float | None = None,
    begun: int | None = None,
) -> Recipe:
    """A trial of this case; `seconds` of load, else `load_factor` times the case's."""
    base = view.case.load
    load = replace(
        base,
        seconds=round(seconds, 1) if seconds is not None else base.seconds * load_factor,
        seed=base.seed + (len(view.case.trials) if begun is None else begun) + 1,
    )
    return Recipe(frozenset(disabled), VerifierPlan(flags, view.images if flags else ()), load, rung)


def _headline(view: View, step: Try, off: frozenset[str]) -> str:
    on = frozenset(view.services) - off
    return {
        Purpose.BASELINE: "Baseline with all drivers on",
        Purpose.ALL_OFF: f"All {len(off)} candidates off",
        Purpose.SEARCH: f"Bisect with {len(on)} of {len(view.services)} candidates on",
        Purpose.ONLY: f"Confirm with only {_images(view, on)}",
        Purpose.WITHOUT: f"Confirm with everything but {_images(view, off)}",
    }[step.purpose]


def verdict(view: View, answer: Answer) -> Verdict:
    """An answer about units as a verdict about services, with all that speaks for it."""
    culprits = tuple(s for unit in answer.culprits for s in view.units.services[unit])
    kind, because = answer.kind, list(answer.because)
    if kind is VerdictKind.DRIVER and len(culprits) > 1:
        kind = VerdictKind.ONE_OF
        because.append(f"{_images(view, culprits)} need each other and are only ever on or off together")
    if kind in (VerdictKind.DRIVER, VerdictKind.EACH_OF, *TOGETHER):
        because = [*_evidence(view, culprits), *because, *_seen(view, answer, culprits)]
    if answer.would_decide:
        because.append(f"what would decide it: {answer.would_decide}")
    because += _pinned(view, only_named=kind is not VerdictKind.SYSTEM)
    if kind is VerdictKind.UNDECIDED and answer.probability < 0.1:
        culprits = ()
    together = kind is VerdictKind.UNDECIDED and bool(culprits) and _only_together(view, answer)
    said = tuple(dict.fromkeys(because))
    return Verdict(kind, culprits, answer.probability, said, answer.confirmed_by, together)


def _only_together(view: View, answer: Answer) -> bool:
    """Whether the units that an answer leads with are one hypothesis of the belief, and not several."""
    leading, _ = view.belief.ranked(1)[0]
    return leading.kind in (Kind.PAIR, Kind.TRIPLE) and leading.units == answer.culprits


def _nothing_to_switch(view: View) -> Verdict:
    why = (
        "no third-party driver can be switched off"
        if view.third_party
        else "no third-party driver runs on this host, so none can be the cause here"
    )
    return Verdict(VerdictKind.UNDECIDED, (), 0.0, (why, *_pinned(view)))


def _evidence(view: View, culprits: Iterable[str]) -> list[str]:
    images = {view.driver(s).image.casefold() for s in culprits}
    return [e.statement for e in view.evidence if images & {i.casefold() for i in e.points_to}]


def _seen(view: View, answer: Answer, culprits: tuple[str, ...]) -> list[str]:
    """What the confirming trials showed, in seconds of load."""
    it = "it" if len(culprits) == 1 else "them"
    off = "with one of them off" if answer.kind in TOGETHER else f"without {it}"
    confirming = [t for t in view.valid if t.number in answer.confirmed_by]
    stood = [t.outcome.after for t in confirming if isinstance(t.outcome, Survived)]
    alone = [t.outcome.after for t in confirming if reproduced(t) and isinstance(t.outcome, Crashed)]
    needed = all if answer.kind in TOGETHER else any
    times = [
        t.outcome.after
        for t in view.valid
        if reproduced(t) and isinstance(t.outcome, Crashed) and needed(c in t.enabled for c in culprits)
    ]
    said = []
    if stood and times:
        said.append(
            f"{off} the host stood {sum(stood):.0f} s of load; with {it} crashes "
            f"came after {sum(times) / len(times):.1f} s on average"
        )
    if alone:
        only = "it as the only removable third-party driver" if it == "it" else "no other removable one on"
        said.append(f"with {only} the crash came after {alone[0]:.1f} s")
    return said


def _pinned(view: View, *, only_named: bool = False) -> list[str]:
    """What of the third-party drivers was never switched off, and whether evidence names it."""
    named = {image.casefold() for e in view.evidence for image in e.points_to}
    said = []
    for driver in view.third_party:
        if driver in view.candidates:
            continue
        evidence = driver.image.casefold() in named
        if evidence or not only_named:
            reason = driver.pinned or (
                "the host does not boot without it"
                if driver.service in view.needed_to_boot
                else "it does not stay off, or a driver that must stay on needs it"
            )
            said.append(
                f"{driver.image} was never switched off: {reason}"
                + ("; evidence names it" if evidence else "")
            )
    return said


def _images(view: View, services: Iterable[str]) -> str:
    return ", ".join(sorted(view.driver(s).image for s in services)) or "none of them"
