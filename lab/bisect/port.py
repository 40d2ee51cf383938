"""What the playbook asks of a search engine. `lab.bisect.greedy`, a module, is one."""

from __future__ import annotations

from typing import Protocol

from lab.bisect.old_belief import Belief


class Engine(Protocol):
    """Both questions are answered by pure functions: the same belief gives the same answer."""

    def next_set(
        self, belief: Belief, allowed: frozenset[str], always: frozenset[str] = frozenset()
    ) -> frozenset[str]:
        """The units to leave on in the next trial.

        `always` are units that stay on; of the others only those in `allowed` may be on. The answer
        contains `always`.
        """
        ...

    def soak_seconds(self, belief: Belief, enabled: frozenset[str], confidence: float = 0.95) -> float:
        """How many seconds of load without a crash are convincing with these units on."""
        ...
