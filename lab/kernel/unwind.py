"""The stack of a thread: unwound by .pdata, and where that lacks, scanned for return addresses."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.dumps.context import INTEGER_REGISTERS, Context
from lab.dumps.memory import KERNEL_SPACE, Memory
from lab.kernel.image import Function
from lab.kernel.stack_scan import is_return, next_return
from lab.kernel.target import Kernel
from lab.kernel.threads import stack_bounds
from lab.kernel.unwind_info import RSP
from lab.kernel.virtual_unwind import NoImage, State, unwind
from lab.model import DumpError, Frame

_NONVOLATILE = tuple((INTEGER_REGISTERS[number], number) for number in (3, 5, 6, 7, 12, 13, 14, 15))
_STACK_BYTES = 0x6000  # a kernel stack; how far one is believed to go when its bounds are not known
_MAX_SWITCHES = 8  # interrupts within interrupts, each on a stack of its own
_USER = range(0x1_0000, 0x8000_0000_0000)


def walk(
    kernel: Kernel,
    context: Context | State | None = None,
    limit: int = 64,
    bounds: tuple[int, int] | None = None,
) -> tuple[Frame, ...]:
    """The stack from `context` (the header's when None) to its bottom, at most `limit` frames.

    `bounds` are (lowest, end) of the stack; the crashing thread's when None and known. A frame's `how`
    is "context", "unwound" or "scanned": found by looking for return addresses on the stack, because of
    what `note` says. A scanned frame may be a leftover, and its registers are not known. `instruction` is
    where execution stopped in the first frame and in one whose note is "interrupted here"; in every other
    it is a return address. The last frame's `return_address` is where the walk ended: 0 at the bottom, or
    a user-mode address. DumpError when the dump has no processor context.
    """
    if context is None:
        context = kernel.context
    if bounds is None:
        bounds = thread_bounds(kernel)
    first = context if isinstance(context, State) else start(context)
    states, after = follow(kernel, first, limit, bounds)
    backs = [state.rip for state in states[1:]] + [after]
    return tuple(_frame(kernel, *each) for each in zip(range(len(states)), states, backs, strict=True))


def start(context: Context) -> State:
    """Where a walk from `context` begins."""
    return State(context.rip, dict(enumerate(context.integers)), "context", True)


def thread_bounds(kernel: Kernel) -> tuple[int, int] | None:
    """(StackLimit, StackBase) of the crashing thread, None when the dump does not tell."""
    return None if kernel.thread is None else stack_bounds(kernel, kernel.thread)


def follow(
    kernel: Kernel, first: State, limit: int, bounds: tuple[int, int] | None
) -> tuple[list[State], int]:
    """(registers in each frame, the address at which the walk ended). For the arguments see `walk`."""
    images, path = KernelImages(kernel), Path(kernel, bounds)
    states: list[State] = []
    after = 0
    state: State | None = first
    while state is not None and len(states) < limit:
        states.append(state)
        state, after = _caller(images, path, state)
    return states, after


@dataclass(frozen=True)
class KernelImages:
    """What one frame's undoing asks of a kernel."""

    kernel: Kernel

    @property
    def memory(self) -> Memory:
        return self.kernel.memory

    def image_base(self, address: int) -> int:
        module = self.kernel.module_at(address)
        if module is None:
            raise NoImage(f"{address:#x} is in no module")
        if self.kernel.image(module) is None:
            raise DumpError(f"the headers of {module.name} are not in the dump")
        return module.base

    def function(self, address: int) -> Function | None:
        try:
            return self.kernel.function(address)
        except DumpError as error:
            module = self.kernel.module_at(address)
            name = module.name if module else hex(address)
            raise DumpError(f"the function table of {name} is not in the dump") from error


@dataclass
class Path:
    """Where a walk has been. It goes up, and where it has been it never comes again: it cannot go round.

    DPCs, interrupts and calls on an expanded stack run on stacks of their own, whose bounds are not known.
    """

    kernel: Kernel
    bounds: tuple[int, int] | None
    left: list[tuple[int, int]] = field(default_factory=list)  # (lowest, highest rsp) on stacks left behind
    lowest: int | None = None  # rsp where the walk came onto this stack

    def end(self, rsp: int) -> int:
        """Of the stack that `rsp` is on."""
        if self.bounds is not None and self.bounds[0] <= rsp <= self.bounds[1]:
            return self.bounds[1]
        return rsp + _STACK_BYTES

    def objection(self, here: State, caller: State) -> str:
        """Why `caller` cannot be the caller of `here`; "" when it can."""
        lowest = here.rsp if self.lowest is None else self.lowest
        if self.kernel.module_at(caller.rip) is None:
            return f"the return address {caller.rip:#x} is in no module"
        if here.rsp < caller.rsp <= self.end(here.rsp):
            self.lowest = lowest
            return ""
        if not self._other(here, lowest, caller):
            return f"unwinding led off the stack, to {caller.rsp:#x}"
        self.left.append((lowest, here.rsp))
        self.lowest = caller.rsp
        return ""

    def _other(self, here: State, lowest: int, caller: State) -> bool:
        """Whether `caller` is believable on a stack that was switched from."""
        been = [*self.left, (lowest, here.rsp)]
        if len(been) > _MAX_SWITCHES or any(low <= caller.rsp <= high for low, high in been):
            return False
        if self.bounds is not None and all(
            self.bounds[0] <= rsp <= self.bounds[1] for rsp in (here.rsp, caller.rsp)
        ):
            return False  # down the same stack
        try:
            self.kernel.memory.read(caller.rsp, 8)
        except DumpError:
            return False
        return caller.rsp >= KERNEL_SPACE and (caller.exact or is_return(self.kernel, caller.rip))


def _caller(images: KernelImages, path: Path, state: State) -> tuple[State | None, int]:
    """(the caller's state or None at the end, the address that execution returns to)."""
    try:
        caller = unwind(images, state)
    except DumpError as error:
        return _scanned(path, state, str(error))
    if caller.rip == 0 or caller.rip in _USER:
        return None, caller.rip
    why = path.objection(state, caller)
    return _scanned(path, state, why) if why else (caller, caller.rip)


def _scanned(path: Path, state: State, why: str) -> tuple[State | None, int]:
    """The next plausible return address on the stack. What lies between frames cannot be told."""
    found = next_return(path.kernel, state.rsp, min(path.end(state.rsp), state.rsp + _STACK_BYTES))
    if found is None:
        return None, 0
    at, value = found
    return State(value, {RSP: at + 8}, "scanned", False, why), value


def _frame(kernel: Kernel, index: int, state: State, back: int) -> Frame:
    module = kernel.module_at(state.rip)
    return Frame(
        index=index,
        child_sp=state.rsp,
        return_address=back,
        instruction=state.rip,
        symbol=kernel.symbol(state.rip, returns=not state.exact),
        module=module.name if module else "",
        how=state.how,
        note=state.note,
        registers=_registers(index, state),
    )


def _registers(index: int, state: State) -> tuple[tuple[str, int], ...]:
    """What is known to hold in a frame: everything where the walk began with a processor's context."""
    if index == 0 and len(state.registers) == len(INTEGER_REGISTERS):
        return (*((n, state.registers[i]) for i, n in enumerate(INTEGER_REGISTERS)), ("rip", state.rip))
    return tuple((n, state.registers[number]) for n, number in _NONVOLATILE if number in state.registers)
