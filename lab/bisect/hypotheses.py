"""What can be to blame."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """How the units of a hypothesis bring the crash."""

    SYSTEM = "system"  # none of them: Windows, a driver that stays on, firmware or hardware
    SINGLE = "single"
    PAIR = "pair"  # only with both on
    EITHER = "either"  # each of the two is enough
    TRIPLE = "triple"  # only with all three on


class Hypothesis(NamedTuple):
    """`units` are sorted names; none for SYSTEM."""

    kind: Kind
    units: tuple[str, ...] = ()

    def active(self, on: frozenset[str]) -> bool:
        """Whether the crash is to be expected with these units on, if this is true."""
        if self.kind is Kind.EITHER:
            return any(u in on for u in self.units)
        return all(u in on for u in self.units)


SYSTEM = Hypothesis(Kind.SYSTEM)
