"""Which driver is it, or which of them together? From evidence and trials to the next trial, or the answer.

units       what can be switched, and what needs what
hypotheses  what can be to blame
evidence    dumps: what is believed before the first trial
hazard      how crashes come over time: rates, and boots that decide
belief      what is believed after some trials
forms       sums over all pairs at once, for sets and running trials
fitting     which hypotheses are weighed: more when the observations do not fit
choice      the set and the soak that tell most in the time they take
steps       what a search answers: a trial to start, waiting, or the verdict
standing    where a search stands: the leader, and how long a silence must be
baseline    the runs with everything on
confirming  the runs that confirm the leader
search      all of it together: the next trial, what to end early, or the answer
simulation  whole searches in a world that is known
soak        what a soak without a crash says

Everything here is a pure function of its arguments: no clock, no files, no chance that is not seeded.
"""

from lab.bisect.belief import Belief, Observation, Question
from lab.bisect.evidence import prior
from lab.bisect.fitting import believe
from lab.bisect.hypotheses import SYSTEM, Hypothesis, Kind
from lab.bisect.search import next_trial, to_end
from lab.bisect.simulation import Crashing, Simulated, Times, World, simulate
from lab.bisect.soak import rate_bound
from lab.bisect.steps import Answer, Purpose, Running, Try, Wait
from lab.bisect.units import Units

__all__ = [
    "SYSTEM",
    "Answer",
    "Belief",
    "Crashing",
    "Hypothesis",
    "Kind",
    "Observation",
    "Purpose",
    "Question",
    "Running",
    "Simulated",
    "Times",
    "Try",
    "Units",
    "Wait",
    "World",
    "believe",
    "next_trial",
    "prior",
    "rate_bound",
    "simulate",
    "to_end",
]
