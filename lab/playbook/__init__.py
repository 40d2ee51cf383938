"""What to do next in a case, as a pure function of what is known."""

from lab.playbook.decide import next_step
from lab.playbook.search import ask, to_end
from lab.playbook.steps import SEARCH, Abort, Conclude, Pause, Rung, RunTrial, Step
from lab.playbook.unfit import unfit
from lab.playbook.view import View

__all__ = [
    "SEARCH",
    "Abort",
    "Conclude",
    "Pause",
    "RunTrial",
    "Rung",
    "Step",
    "View",
    "ask",
    "next_step",
    "to_end",
    "unfit",
]
