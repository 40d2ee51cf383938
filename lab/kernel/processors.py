"""The processors as facts, and the registers of each so that its stack can be walked."""

from __future__ import annotations

from lab.dumps.context import Context
from lab.kernel.prcb import Prcb
from lab.kernel.target import Kernel
from lab.model import DumpError, ProcessorFacts


def read_processors(kernel: Kernel) -> tuple[ProcessorFacts, ...]:
    """Every processor of KiProcessorBlock by its number; empty when the dump does not tell of any."""
    with kernel.reading("processors") as used:
        crashed, how = kernel.crashed
        if crashed is not None:
            used.check(f"processor {crashed.number} stopped the system: it {how}")
        numbers = [each.number for each in kernel.processors]
        if len(numbers) == kernel.header.processors and numbers == list(range(len(numbers))):
            used.check("there are as many processors as the header counts, numbered from 0")
        return tuple(_facts(kernel, each, each is crashed) for each in kernel.processors)


def _facts(kernel: Kernel, prcb: Prcb, crashed: bool) -> ProcessorFacts:
    context = prcb.context
    return ProcessorFacts(
        number=prcb.number,
        prcb=prcb.address,
        thread=prcb.thread,
        instruction=context.rip if context else 0,
        stack_pointer=context.rsp if context else 0,
        symbol=kernel.symbol(context.rip) if context else "",
        crashed=crashed,
    )


def processor_context(kernel: Kernel, number: int) -> Context:
    """Registers of processor `number`. DumpError when the dump does not hold them."""
    for prcb in kernel.processors:
        if prcb.number == number:
            if prcb.context is None:
                raise DumpError(f"the registers of processor {number} are not in the dump")
            return prcb.context
    held = ", ".join(str(each.number) for each in kernel.processors)
    raise DumpError(
        f"processor {number} is not in the dump",
        help=f"It holds these processors: {held}." if held else "It holds no processor's state.",
    )
