"""What each processor was doing: `!running`, `~`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.model import ProcessorFacts
from lab.report import words


def running(processors: Sequence[ProcessorFacts]) -> Iterator[str]:
    """One line a processor; the one that stopped the system is marked."""
    if not processors:
        yield "The dump does not hold the processors' state."
        return
    yield "     Prcb              CurrentThread     Child-SP          Instruction"
    for each in processors:
        mark = ">" if each.crashed else " "
        where = each.symbol or words.address(each.instruction)
        yield (
            f"{mark}{each.number:3}  {each.prcb:016x}  {each.thread:016x}  "
            f"{words.address(each.stack_pointer)} {where}"
        )
