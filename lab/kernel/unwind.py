"""The stack of a processor: unwound by .pdata, and where that is missing, scanned for return addresses."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.dumps.context import INTEGER_REGISTERS, Context
from lab.dumps.memory import u64
from lab.kernel.epilogue import simulate
from lab.kernel.image import Function, Image
from lab.kernel.target import KERNEL_SPACE, Kernel
from lab.kernel.unwind_info import Op, UnwindInfo, read_unwind_info
from lab.model import DumpError, Frame

_NONVOLATILE = ("rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15")
_NUMBER = {name: number for number, name in enumerate(INTEGER_REGISTERS)}
_RSP = 4
_MAX_CHAIN = 32
_SCAN_BYTES = 0x6000  # a kernel stack; how far a scan goes when its bounds are not known
_MASK = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True)
class State:
    """Registers in one frame; a register that is not known is absent.

    `exact` says that `rip` is where execution was interrupted, not a return address.
    """

    rip: int
    registers: dict[int, int]
    how: str
    exact: bool
    note: str = ""

    @property
    def rsp(self) -> int:
        return self.registers[_RSP]


def walk(
    kernel: Kernel,
    context: Context | None = None,
    limit: int = 64,
    bounds: tuple[int, int] | None = None,
) -> tuple[Frame, ...]:
    """The stack from `context` (the header's when None) to its bottom, at most `limit` frames.

    `bounds` are (lowest, end) of the stack; the crashing thread's when None and known. A frame's `how`
    is "context", "unwound" or "scanned": found by looking for return addresses on the stack, because of
    what `note` says. A scanned frame may be a leftover, and its registers are not known. The last
    frame's `return_address` is where the walk stopped: 0 at the bottom, or a user-mode address.
    DumpError when the dump has no processor context.
    """
    context = context or kernel.context
    if bounds is None:
        bounds = thread_bounds(kernel)
    state: State | None = State(context.rip, dict(enumerate(context.integers)), "context", True)
    states: list[State] = []
    after = 0
    while state is not None and len(states) < limit:
        states.append(state)
        state, after = _caller(kernel, state, _bounds_for(state.rsp, bounds))
    frames = []
    for index, here in enumerate(states):
        back = states[index + 1].rip if index + 1 < len(states) else after
        frames.append(_frame(kernel, index, here, back))
    return tuple(frames)


def thread_bounds(kernel: Kernel) -> tuple[int, int] | None:
    """(StackLimit, StackBase) of the crashing thread, None when the dump does not tell."""
    thread = kernel.thread
    if thread is None:
        return None
    try:
        low = u64(kernel.memory, thread + kernel.offset("_KTHREAD", "StackLimit"))
        high = u64(kernel.memory, thread + kernel.offset("_KTHREAD", "StackBase"))
    except DumpError:
        return None
    return (low, high) if KERNEL_SPACE <= low < high <= low + (1 << 20) else None


def _bounds_for(rsp: int, bounds: tuple[int, int] | None) -> tuple[int, int]:
    """The stack that `rsp` is on. DPCs and interrupts run on stacks of their own, of unknown size."""
    if bounds is not None and bounds[0] <= rsp <= bounds[1]:
        return bounds
    return rsp, rsp + _SCAN_BYTES


def _frame(kernel: Kernel, index: int, state: State, back: int) -> Frame:
    module = kernel.module_at(state.rip)
    known = tuple((n, state.registers[_NUMBER[n]]) for n in _NONVOLATILE if _NUMBER[n] in state.registers)
    return Frame(
        index=index,
        child_sp=state.rsp,
        return_address=back,
        instruction=state.rip,
        symbol=kernel.symbol(state.rip, returns=not state.exact),
        module=module.name if module else "",
        how=state.how,
        note=state.note,
        registers=known,
    )


def _caller(kernel: Kernel, state: State, bounds: tuple[int, int]) -> tuple[State | None, int]:
    """(the caller's state or None at the end, the address that execution returns to)."""
    try:
        caller = unwind(kernel, state)
    except DumpError as error:
        return _scanned(kernel, state, bounds, str(error))
    if caller.rip == 0 or caller.rip < KERNEL_SPACE:
        return None, caller.rip
    inside = bounds[0] <= caller.rsp <= bounds[1]
    if not caller.exact and (caller.rsp <= state.rsp or not (inside or _other_stack(kernel, caller))):
        return _scanned(kernel, state, bounds, f"unwinding led off the stack, to {caller.rsp:#x}")
    if kernel.module_at(caller.rip) is None:
        return _scanned(kernel, state, bounds, f"the return address {caller.rip:#x} is in no module")
    return caller, caller.rip


def _other_stack(kernel: Kernel, caller: State) -> bool:
    """Whether a stack that was switched to is believable: kernel space, readable, code of a module."""
    try:
        kernel.memory.read(caller.rsp, 8)
    except DumpError:
        return False
    return caller.rsp >= KERNEL_SPACE and kernel.module_at(caller.rip) is not None


def unwind(kernel: Kernel, state: State) -> State:
    """The state of the caller. DumpError when the dump lacks what is needed to tell."""
    control = state.rip if state.exact else state.rip - 1
    module = kernel.module_at(control)
    image = kernel.image(module) if module else None
    if module is None or image is None:
        raise DumpError(f"the headers of {module.name if module else hex(control)} are not in the dump")
    try:
        function = kernel.function(control)
    except DumpError as error:
        raise DumpError(f"the function table of {module.name} is not in the dump") from error
    registers = dict(state.registers)
    if function is None:
        if not state.exact:
            raise DumpError(f"{module.name} has no unwind data for a function that calls others")
        return _return(kernel, registers)  # a leaf function: nothing on the stack but the return address
    if state.exact:
        extent = (module.base + function.begin, module.base + function.end)
        done = simulate(kernel.memory, control, registers, extent)
        if done is not None and control > extent[0]:
            return _return(kernel, done)
    return _undo(kernel, image, function, control - module.base, registers)


def _return(kernel: Kernel, registers: dict[int, int]) -> State:
    rsp = registers[_RSP]
    back = u64(kernel.memory, rsp)
    registers[_RSP] = rsp + 8 & _MASK
    return State(back, registers, "unwound", False)


def _undo(kernel: Kernel, image: Image, function: Function, rva: int, registers: dict[int, int]) -> State:
    """Undo the prologue of `function` and of the functions it is a part of."""
    offset: int | None = rva - function.begin
    unwind_rva = function.unwind
    for _ in range(_MAX_CHAIN):
        info = read_unwind_info(kernel.memory, image, unwind_rva)
        interrupted = _undo_one(kernel, info, offset, registers)
        if interrupted is not None:
            return interrupted
        if info.chained is None:
            return _return(kernel, registers)
        # Control is inside the part, so all of the whole's prologue has run.
        offset = None
        unwind_rva = info.chained[2]
    raise DumpError(f"the unwind data at {image.base + function.unwind:#x} chain without end")


def _undo_one(
    kernel: Kernel, info: UnwindInfo, offset: int | None, registers: dict[int, int]
) -> State | None:
    """Undo one UNWIND_INFO in place; the interrupted state when it ends in a machine frame."""
    behind = 0xFFFF if offset is None or offset >= info.prologue else offset
    base = registers[_RSP]
    if info.established(behind):
        base = _known(registers, info.frame_register) - info.frame_offset & _MASK
    for code in info.codes:
        if code.at > behind:
            continue
        if code.op is Op.PUSH_NONVOL:
            registers[code.register] = u64(kernel.memory, registers[_RSP])
            registers[_RSP] = registers[_RSP] + 8 & _MASK
        elif code.op is Op.ALLOC:
            registers[_RSP] = registers[_RSP] + code.value & _MASK
        elif code.op is Op.SET_FPREG:
            registers[_RSP] = _known(registers, info.frame_register) - info.frame_offset & _MASK
        elif code.op is Op.SAVE_NONVOL:
            registers[code.register] = u64(kernel.memory, base + code.value & _MASK)
        elif code.op is Op.PUSH_MACHFRAME:
            at = registers[_RSP] + 8 * code.register & _MASK
            rip, rsp = struct.unpack("<Q16xQ", kernel.memory.read(at, 32))
            registers[_RSP] = rsp
            return State(rip, registers, "unwound", True, "interrupted here")
    return None


def _known(registers: dict[int, int], number: int) -> int:
    if number not in registers:
        raise DumpError(f"{INTEGER_REGISTERS[number]} is not known in this frame")
    return registers[number]


# --- where there are no unwind data ---------------------------------------------------------------


def _scanned(kernel: Kernel, state: State, bounds: tuple[int, int], why: str) -> tuple[State | None, int]:
    """The next plausible return address on the stack. What lies between frames cannot be told."""
    at = state.rsp + 7 & ~7
    end = min(bounds[1], at + _SCAN_BYTES)
    while at < end:
        try:
            value = u64(kernel.memory, at)
        except DumpError:
            return None, 0
        if _is_return(kernel, value):
            return State(value, {_RSP: at + 8}, "scanned", False, why), value
        at += 8
    return None, 0


def _is_return(kernel: Kernel, value: int) -> bool:
    """Whether `value` may be a return address: in code, behind a call if the bytes are in the dump."""
    if value < KERNEL_SPACE:
        return False
    module = kernel.module_at(value)
    if module is None or value - module.base < 0x1000:
        return False
    image = kernel.image(module)
    if image is not None and not image.executable(value - module.base):
        return False
    try:
        before = kernel.memory.read(value - 7, 7)
    except DumpError:
        # A function's own address is a pointer to it, not a return into it.
        symbols = kernel.module_symbols(module)
        near = symbols.nearest(value - module.base) if symbols else None
        return near is None or near[1] != 0
    return is_call(before)


def is_call(before: bytes) -> bool:
    """Whether the seven bytes in front of an address end in a call instruction."""
    if before[2] == 0xE8:  # call rel32
        return True
    for length in range(2, 8):
        code = before[7 - length :]
        if 0x40 <= code[0] <= 0x4F and length > 2:  # REX
            code = code[1:]
        if code[0] == 0xFF and len(code) >= 2 and code[1] >> 3 & 7 == 2 and len(code) == _modrm_length(code):
            return True
    return False


def _modrm_length(code: bytes) -> int:
    """Length of an instruction FF /n with its ModRM, SIB and displacement."""
    mode, rm = code[1] >> 6, code[1] & 7
    if mode == 3:
        return 2
    length = 2
    displacement = {0: 0, 1: 1, 2: 4}[mode]
    if rm == 4:
        if len(code) < 3:
            return -1
        length += 1
        if mode == 0 and code[2] & 7 == 5:
            displacement = 4
    elif mode == 0 and rm == 5:
        displacement = 4
    return length + displacement
