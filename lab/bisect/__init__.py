"""Which of several drivers is it? Evidence and trials to a belief, the next trial, and a verdict.

Everything here is a pure function of its arguments. `greedy` is the engine used until a better one
stands behind the same port.
"""

from lab.bisect.belief import SYSTEM, Belief, Observation
from lab.bisect.confirm import Confirmations, confirmations, next_confirmation
from lab.bisect.evidence import prior
from lab.bisect.greedy import next_set, soak_seconds
from lab.bisect.port import Engine
from lab.bisect.trials import observations
from lab.bisect.verdict import decide, verdict_from

__all__ = [
    "SYSTEM",
    "Belief",
    "Confirmations",
    "Engine",
    "Observation",
    "confirmations",
    "decide",
    "next_confirmation",
    "next_set",
    "observations",
    "prior",
    "soak_seconds",
    "verdict_from",
]
