"""One crash under investigation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lab.model.drivers import Driver
from lab.model.load import LoadPlan
from lab.model.triage import Signature, Triage
from lab.model.trial import Trial


class VerdictKind(StrEnum):
    DRIVER = "driver"
    PAIR = "pair"  # the culprits crash the host only together
    TRIPLE = "triple"  # the same, of three
    EACH_OF = "each of"  # each of the culprits is enough by itself
    ONE_OF = "one of"
    SYSTEM = "system"
    NOT_REPRODUCIBLE = "not reproducible"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdict:
    """The answer: `culprits` are service names, `probability` is that of this answer as a whole.

    `together` is for what is undecided: the culprits are suspected of crashing the host only together. Else
    it may be any one of them.
    """

    kind: VerdictKind
    culprits: tuple[str, ...]
    probability: float
    because: tuple[str, ...]
    confirmed_by: tuple[int, ...] = ()  # numbers of the confirming trials
    together: bool = False


class EntryKind(StrEnum):
    """Kinds of journal entries, in the order a case usually sees them."""

    STEP = "step"  # the playbook decided something
    ACTION = "action"  # something is being done to the host
    FINDING = "finding"  # something was learned
    WARNING = "warning"
    VERDICT = "verdict"


@dataclass(frozen=True)
class Entry:
    """One line of the case's journal. `time` is UTC, ISO 8601, lab's clock."""

    number: int
    time: str
    kind: EntryKind
    text: str
    trial: int | None = None


@dataclass(frozen=True)
class Case:
    """All that is known. A pure function of the journal.

    `crashes` maps a dump's SHA-256 to its triage; `customer` is the key of the customer's dump.
    `drivers` are the drivers of the lab host as found.
    """

    id: str
    title: str
    opened: str
    expected: Signature
    load: LoadPlan
    drivers: tuple[Driver, ...] = ()
    trials: tuple[Trial, ...] = ()
    crashes: Mapping[str, Triage] = field(default_factory=dict)
    customer: str = ""
    verdict: Verdict | None = None
    entries: tuple[Entry, ...] = ()
