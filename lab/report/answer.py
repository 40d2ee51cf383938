"""What one dump answers: the line at the top of its page, and how much it is worth."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Origin, Strength, Suspect, Triage
from lab.report import words
from lab.report.debugger.threads import cid

_WORTH = {
    Strength.PROOF: "The strongest fact of this dump is proof: what the system stopped for happened in the "
    "code of the driver it names.",
    Strength.STRONG: "The strongest fact of this dump is strong, but not proof: take the driver away and see "
    "whether the crash stays away, too.",
    Strength.MODERATE: "The strongest fact of this dump is moderate: a lead to follow, not a finding.",
    Strength.WEAK: "The strongest fact of this dump is weak: a hint where to look next.",
}

_STOPPED_BY = {
    0x80: "A non-maskable interrupt stopped the system",
    0xE2: "The system was stopped on purpose",
}


@dataclass(frozen=True)
class Answer:
    """The verdict line, in pieces (text, is a driver's name), and how much it is worth."""

    kind: str  # "driver" when the named one is more than a hint, else "open": how loud the page is
    headline: tuple[tuple[str, bool], ...]
    where: str
    worth: str
    count: str  # the signed APC disable count of a stop that is about it, else ""
    count_when: str

    @property
    def sentence(self) -> str:
        return "".join(text for text, _ in self.headline)


def foremost(triage: Triage) -> tuple[Suspect, ...]:
    """The suspects that share the greatest weight."""
    top = max((s.weight for s in triage.suspects), default=0.0)
    return tuple(s for s in triage.suspects if s.weight >= top - 1e-9)


def answer_of(triage: Triage, count: int | None) -> Answer:
    """What one dump answers. `count` is the APC disable count of a stop that is about it."""
    first = foremost(triage)
    named = {s.image.casefold() for s in first}
    about = [e for e in triage.evidence if named & {image.casefold() for image in e.points_to}]
    order = tuple(_WORTH)
    strength = min((e.strength for e in about), key=order.index, default=None)
    loud = strength in (Strength.PROOF, Strength.STRONG)
    return Answer(
        kind="driver" if loud and first else "open",
        headline=_headline(triage, first),
        where=_where(triage),
        worth=_WORTH[strength] if strength and first else "",
        count=words.signed(count) if count is not None else "",
        count_when="at exit" if triage.bugcheck.code == 0x20 else "at stop",
    )


def _headline(triage: Triage, first: tuple[Suspect, ...]) -> tuple[tuple[str, bool], ...]:
    if triage.bugcheck.ours:
        return ((_STOPPED_BY[triage.bugcheck.code], False),)
    if not triage.modules:
        return (("The header alone speaks against no driver", False),)
    if not first:
        return (("This dump speaks against no driver", False),)
    if len(first) == 1 and first[0].image.casefold() in _of_windows(triage):
        return (("The fault shows in ", False), (first[0].image, True), (", which comes with Windows", False))
    if len(first) > 3:
        return ((f"One of {len(first)} drivers is suspected", False),)
    pieces: list[tuple[str, bool]] = []
    for i, suspect in enumerate(first):
        if i:
            pieces.append((" or " if i == len(first) - 1 else ", ", False))
        pieces.append((suspect.image, True))
    return (*pieces, (" is suspected", False))


def _of_windows(triage: Triage) -> frozenset[str]:
    return frozenset(m.name.casefold() for m in triage.modules if m.origin is Origin.IN_BOX)


def _where(triage: Triage) -> str:
    """Where the system stopped, in a sentence; "" when neither thread nor stack is known."""
    facts = triage.thread
    if facts is None:
        return ""
    start = f", a thread that began in {facts.start}" if facts.start else ""
    return f"It stopped in {facts.process or 'a process without a name'} (Cid {cid(facts.cid)}){start}."
