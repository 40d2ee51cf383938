"""What a way of making hosts must do, and what it has to say beforehand. One way a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.inventory import Host
from lab.model import ConfigurationError, LabError

GUESS = 900.0
"""Seconds for one host when nothing better is known: a restore or a clone, a boot, and a look at it."""

AT_ONCE = 8
"""Hosts that are made at the same time."""

MOST_TOLD = 8
"""Things of a kind that a sentence names, at most; the plan has all of them."""

Tell = Callable[[str], None]
"""Takes one short sentence of progress on the host that is being made."""


@dataclass(frozen=True)
class Lab:
    """Whose hosts are made: `id` marks what is made outside, `folder` has the files of hosts."""

    id: str
    folder: Path


@dataclass(frozen=True)
class Candidate:
    """A host that exists, and what would be done to it. `obstacle` says why it cannot be had now."""

    name: str
    how: str
    obstacle: str = ""
    correct: str = ""
    """What to correct in the inventory, as a sentence, where no waiting makes the obstacle go."""


def first(texts: Sequence[str], rest: str) -> list[str]:
    """As many as a sentence names; `rest` stands for the others."""
    return [*texts[:MOST_TOLD], rest] if len(texts) > MOST_TOLD else list(texts)


def not_expendable(name: str, how: str) -> Candidate:
    return Candidate(
        name,
        how,
        "not marked 'expendable: true'",
        f"Set hosts.{name}.expendable to true, if it may be crashed at any time.",
    )


def not_had(name: str, how: str, error: LabError) -> Candidate:
    """A host whose machine could not be asked."""
    wrong = isinstance(error, ConfigurationError)
    return Candidate(name, how, error.message, f"{name}: {error.help}" if wrong else "")


@dataclass(frozen=True)
class Stock:
    """What a maker found that it could make now. Nothing was changed to find it out."""

    candidates: tuple[Candidate, ...] = ()
    """Of a pool whose hosts exist: all of them."""

    fresh: str = ""
    """How a host that does not exist is made, in words; "" when only candidates can be had."""

    taken: frozenset[str] = frozenset()
    """Names that a fresh host cannot have: something there is called so."""

    room: int | None = None
    """How many fresh hosts there is space for; None: not known, or enough for any."""

    room_because: str = ""
    """What `room` was worked out from, for a person."""

    missing: tuple[str, ...] = ()
    """What the pool names and is not there, each a sentence with what exists instead."""

    problem: LabError | None = None
    """Why none of its hosts can be made, where that is one thing."""

    warnings: tuple[str, ...] = ()

    seconds: float = GUESS
    """What one host takes, when nothing better is known."""

    at_once: int = AT_ONCE
    """How many can be made at the same time."""


class Maker(Protocol):
    """Makes the hosts of one pool, and takes them back.

    Several threads may make and unmake hosts of different names at the same time. All calls raise LabErrors
    only; waits have names and limits.
    """

    def stock(self) -> Stock:
        """What could be made now. Changes nothing."""

    def make(self, name: str, tell: Tell) -> Host:
        """Make the host, power it on, and wait until its guest answers. What it raises says what failed;
        whatever was half-made then is taken back by `unmake`."""

    def unmake(self, name: str, tell: Tell) -> None:
        """Take back all there is of that name, whole or half-made by any process. Nothing there is no error.

        Raises when something is left; then it is asked again later.
        """

    def wipes(self, name: str) -> bool:
        """Whether `unmake` also takes back whatever was changed inside the guest."""
