"""A recipe, one execution of it, and how that ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from lab.model.bugcheck import Bugcheck
from lab.model.guest import VerifierPlan
from lab.model.load import LoadPlan, LoadReport
from lab.model.relation import Relation


@dataclass(frozen=True)
class Recipe:
    """What a trial sets up. `disabled` are service names; all other drivers are as found."""

    disabled: frozenset[str]
    verifier: VerifierPlan
    load: LoadPlan
    purpose: str = ""  # the playbook's rung that asked for it


class InvalidReason(StrEnum):
    NOT_APPLIED = "not applied"
    INFRASTRUCTURE = "infrastructure"
    LOAD_NOT_DELIVERED = "load not delivered"
    OURS = "caused by the lab"
    INTERRUPTED = "interrupted"
    NOT_BOOTED = "did not boot"  # with this set of drivers, after a restart that was asked for


@dataclass(frozen=True)
class Crashed:
    """The host stopped. `after` is seconds of load until it did."""

    after: float
    bugcheck: Bugcheck
    relation: Relation
    dump: str = ""  # SHA-256 of the dump in the vault, "" when none came
    no_dump_because: str = ""
    kind: Literal["crashed"] = "crashed"


@dataclass(frozen=True)
class Survived:
    """The host stood `after` seconds of load.

    `cut_short` says why the trial ended before its plan; "" when it did not.
    """

    after: float
    cut_short: str = ""
    kind: Literal["survived"] = "survived"


@dataclass(frozen=True)
class Invalid:
    """Says nothing of any driver's guilt; `why` says what happened.

    `stuck` are services that did not take their planned setting: they cannot be switched.
    """

    reason: InvalidReason
    why: str
    stuck: tuple[str, ...] = ()
    kind: Literal["invalid"] = "invalid"


Outcome = Crashed | Survived | Invalid


@dataclass(frozen=True)
class Trial:
    """One execution of a recipe on one host. `enabled` are the third-party services that really ran."""

    number: int
    host: str
    recipe: Recipe
    enabled: frozenset[str]
    outcome: Outcome
    started: str  # UTC, ISO 8601, lab's clock
    seconds: float  # wall-clock seconds of the whole trial
    load: LoadReport | None = None
