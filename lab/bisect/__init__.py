"""Which of several drivers is it? Evidence and trials to a belief, and from it the next set to try.

Everything here is a pure function of its arguments. `greedy` is the engine used until a better one
stands behind the same port.
"""

from lab.bisect.evidence import prior
from lab.bisect.greedy import information, next_set, soak_seconds
from lab.bisect.old_belief import SYSTEM, Belief, Observation
from lab.bisect.port import Engine
from lab.bisect.soak import rate_bound
from lab.bisect.trials import observations

__all__ = [
    "SYSTEM",
    "Belief",
    "Engine",
    "Observation",
    "information",
    "next_set",
    "observations",
    "prior",
    "rate_bound",
    "soak_seconds",
]
