"""A recipe, one execution of it, and how that ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from lab.model.bugcheck import Bugcheck
from lab.model.guest import VerifierPlan
from lab.model.relation import Relation


@dataclass(frozen=True)
class LoadPlan:
    """An SMB2 read load. Seconds are of the lab's clock."""

    profile: str = "burst"
    seconds: float = 8.0
    seed: int = 0
    connections: int = 4


@dataclass(frozen=True)
class LoadReport:
    """What the read load did. `latency_ms` holds percentiles (50, 95, 99)."""

    profile: str
    seconds: float  # from the first READ to the last answer or the end of the plan
    reads_sent: int
    reads_answered: int
    bytes_read: int
    failed: tuple[tuple[str, int], ...] = ()  # (NTSTATUS name, count)
    latency_ms: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target_died: bool = False
    died_after: float | None = None  # seconds from start to the last answer


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
    """The host stood `after` seconds of load."""

    after: float
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
