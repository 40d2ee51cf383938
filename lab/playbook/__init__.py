"""What to do next in a case, as a pure function of what is known."""

from lab.playbook.decide import next_step
from lab.playbook.steps import Abort, Conclude, Rung, RunTrial, Step

__all__ = ["Abort", "Conclude", "RunTrial", "Rung", "Step", "next_step"]
