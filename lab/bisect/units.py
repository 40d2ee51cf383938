"""What can be switched: units of services, and which unit needs which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Units:
    """Units in the order of their names. A unit is one service, or several that always move together.

    `needs` maps a unit to all other units that must be on for it to be on, directly or not. A set of
    units is *closed* when it contains what its members need; only closed sets can be tried.
    """

    names: tuple[str, ...]
    services: Mapping[str, tuple[str, ...]]
    needs: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.names or list(self.names) != sorted(set(self.names)) or "" in self.names:
            raise ValueError("units must be different, non-empty names in order, and at least one")

    @classmethod
    def plain(cls, names: Iterable[str]) -> Units:
        """Each service a unit of its own, none of which needs another."""
        return cls.of(names)

    @classmethod
    def of(cls, services: Iterable[str], needs: Mapping[str, Iterable[str]] | None = None) -> Units:
        """Units of `services`; `needs` maps a service to those it needs (names that are none are dropped).

        Services that need each other, in a cycle of any length, become one unit, named by the first.
        """
        ordered = sorted(set(services))
        index = {name: i for i, name in enumerate(ordered)}
        reach = np.eye(len(ordered), dtype=bool)
        for name, wanted in (needs or {}).items():
            for other in wanted:
                if name in index and other in index:
                    reach[index[name], index[other]] = True
        for k in range(len(ordered)):  # Warshall's transitive closure
            reach |= np.outer(reach[:, k], reach[k])
        together = reach & reach.T
        head = [ordered[int(np.argmax(row))] for row in together]
        members: dict[str, list[str]] = {}
        for name, first in zip(ordered, head, strict=True):
            members.setdefault(first, []).append(name)
        closure = {
            first: frozenset(head[j] for j in np.flatnonzero(reach[index[first]])) - {first}
            for first in members
        }
        return cls(
            tuple(sorted(members)),
            {first: tuple(names) for first, names in members.items()},
            {first: wanted for first, wanted in closure.items() if wanted},
        )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def reach(self) -> Flags:
        """(n, n): row i marks unit i and all that it needs."""
        marks = np.eye(len(self), dtype=bool)
        for name, wanted in self.needs.items():
            for other in wanted:
                marks[self.index[name], self.index[other]] = True
        return marks

    @cached_property
    def free(self) -> bool:
        """No unit needs another: every set is closed."""
        return not any(self.needs.values())

    def marks(self, on: Iterable[str]) -> Flags:
        """(n,) flags of a set; names that are no units do not matter."""
        flags = np.zeros(len(self), dtype=bool)
        for name in on:
            i = self.index.get(name)
            if i is not None:
                flags[i] = True
        return flags

    def named(self, flags: Flags) -> frozenset[str]:
        return frozenset(self.names[i] for i in np.flatnonzero(flags))

    def close_on(self, on: Iterable[str]) -> frozenset[str]:
        """These units with all that they need."""
        flags = self.marks(on)
        return self.named(np.asarray(self.reach[flags].any(axis=0)))

    def close_off(self, on: Iterable[str]) -> frozenset[str]:
        """The largest closed set among these units: those that lack something they need are off."""
        flags = self.marks(on)
        return self.named(np.asarray(~(self.reach & ~flags).any(axis=1)))
