"""The registers of a thread that is not running, as far as its stack keeps them."""

from __future__ import annotations

from lab.dumps.context import Context
from lab.dumps.memory import KERNEL_SPACE, u64
from lab.kernel.call_site import is_call
from lab.kernel.target import Kernel
from lab.kernel.threads import STATES, stack_bounds
from lab.kernel.unwind import walk
from lab.model import DumpError

RUNNING = 2
_SCAN_BYTES = 0x400  # the frame of the routine that switches threads is far smaller


def waiting_context(kernel: Kernel, thread: int) -> tuple[Context, str]:
    """(registers, how they were found) of a thread that is not running. Walk them within its stack.

    nt!SwapContext keeps the stack pointer in KTHREAD.KernelStack, with its own prologue behind it: unwinding
    from the end of that prologue gives the rest. When SwapContext is not known, the first return address
    into the kernel on the stack is taken, and that is said. Registers that nobody saved are 0. DumpError when
    the thread runs, or its stack is not in the dump.
    """
    with kernel.reading("waiting thread") as used:
        running = [each for each in kernel.processors if each.thread == thread]
        if running:
            raise DumpError(
                f"thread {thread:#x} runs on processor {running[0].number}",
                help="Take that processor's registers.",
            )
        state = kernel.find_offset("_KTHREAD", "State")
        value = kernel.memory.read(thread + state, 1)[0] if state is not None else None
        rsp = u64(kernel.memory, thread + kernel.offset("_KTHREAD", "KernelStack"))
        bounds = stack_bounds(kernel, thread)
        if rsp < KERNEL_SPACE or rsp & 7 or (bounds is not None and not bounds[0] <= rsp < bounds[1]):
            raise DumpError(f"thread {thread:#x} has no saved stack pointer: {rsp:#x} is not on its stack")
        if bounds is not None:
            used.check("KTHREAD.KernelStack is on the thread's stack")
        if value is not None and value != RUNNING and value < len(STATES):
            used.check(f"the thread does not run: it is in state {STATES[value]}")
        try:
            kernel.memory.read(rsp, 8)
        except DumpError as error:
            raise DumpError(f"the stack of thread {thread:#x} is not in the dump: {error}") from error
        inside = _inside_swap(kernel)
        if inside is not None and _returns(kernel, inside, rsp):
            used.check("unwinding nt!SwapContext leads back into the kernel")
            return _context(inside, rsp), "KTHREAD.KernelStack and the prologue of nt!SwapContext"
        end = min(bounds[1] if bounds else rsp + _SCAN_BYTES, rsp + _SCAN_BYTES)
        for slot in range(rsp, end, 8):
            address = _word(kernel, slot)
            if address is not None and _is_return(kernel, address):
                how = f"the first return address into the kernel on the saved stack, at +{slot - rsp:#x}"
                return _context(address, slot + 8), how
    raise DumpError(f"thread {thread:#x} left no return address on its stack")


def _inside_swap(kernel: Kernel) -> int | None:
    """Where nt!SwapContext is when it changes stacks, as far as unwinding goes: behind its prologue."""
    address = kernel.address("nt!SwapContext")
    image = kernel.image(kernel.nt)
    if address is None or image is None:
        return None
    try:
        function = kernel.function(address)
        if function is None or kernel.nt.base + function.begin != address:
            return None
        return address + kernel.memory.read(image.base + function.unwind, 2)[1]  # SizeOfProlog
    except DumpError:
        return None


def _returns(kernel: Kernel, rip: int, rsp: int) -> bool:
    """Whether the frame of the function at `rip` ends in a return address of the kernel."""
    frames = walk(kernel, _context(rip, rsp), limit=2, bounds=(rsp, rsp + _SCAN_BYTES))
    return len(frames) == 2 and frames[1].how == "unwound" and _is_return(kernel, frames[1].instruction)


def _is_return(kernel: Kernel, address: int) -> bool:
    """Whether `address` is in the kernel's code, behind a call if the bytes are in the dump."""
    if not kernel.nt.base + 0x1000 <= address < kernel.nt.end:
        return False
    image = kernel.image(kernel.nt)
    if image is not None and not image.executable(address - kernel.nt.base):
        return False
    try:
        return is_call(kernel.memory.read(address - 7, 7))
    except DumpError:
        return False


def _word(kernel: Kernel, address: int) -> int | None:
    try:
        return u64(kernel.memory, address)
    except DumpError:
        return None


def _context(rip: int, rsp: int) -> Context:
    integers = [0] * 16
    integers[4] = rsp
    return Context(rip, tuple(integers), 0, 0x10, 0x18, 0, True)
