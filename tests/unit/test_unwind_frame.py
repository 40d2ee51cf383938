"""One frame undone, code by code: the unwinder's core over a few bytes of memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from dumps_builder import slot, unwind_info

from lab.dumps.memory import NotInDump
from lab.kernel.image import Function
from lab.kernel.unwind_info import XMM, read_unwind_info
from lab.kernel.virtual_unwind import NoImage, State, unwind
from lab.model import DumpError

BASE, STACK = 0xFFFFF80000000000, 0xFFFFF88000010000
RBX, RSP, RBP, RSI, RDI, R12, R13 = 3, 4, 5, 6, 7, 12, 13
BACK = BASE + 0x9000
CALL = b"\xe8\x00\x00\x00\x00"


@dataclass
class World:
    """Memory in pieces, and functions (begin, end, UNWIND_INFO) whose unwind data lie at 0x6000."""

    pieces: dict[int, bytes] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)

    @property
    def memory(self) -> World:
        return self

    def read(self, address: int, size: int) -> bytes:
        for start, data in self.pieces.items():
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise NotInDump(f"{address:#x} is not in the dump")

    def image_base(self, address: int) -> int:
        if not BASE <= address < BASE + 0x10000:
            raise NoImage(f"{address:#x} is in no module")
        return BASE

    def function(self, address: int) -> Function | None:
        self.image_base(address)
        return next((f for f in self.functions if f.begin <= address - BASE < f.end), None)

    def code(self, rva: int, data: bytes) -> World:
        self.pieces[BASE + rva] = data
        return self

    def stack(self, *words: int, at: int = STACK) -> World:
        self.pieces[at] = struct.pack(f"<{len(words)}Q", *words)
        return self

    def add(self, begin: int, end: int, info: bytes, root: int | None = None) -> World:
        rva = 0x6000 + 0x100 * len(self.functions)
        self.pieces[BASE + rva] = info
        self.functions.append(Function(begin, end, rva, begin if root is None else root))
        return self


def _state(rip: int, exact: bool = True, **registers: int) -> State:
    names = {"rbx": RBX, "rbp": RBP, "rsi": RSI, "rdi": RDI, "r12": R12, "r13": R13}
    return State(BASE + rip, {RSP: STACK} | {names[n]: v for n, v in registers.items()}, "context", exact)


def _version_2(*codes: int, prologue: int = 0, **more: int) -> bytes:
    return b"\x02" + unwind_info(*codes, prologue=prologue, **more)[1:]  # type: ignore[arg-type]


def test_xmm_registers_near_and_far() -> None:
    info = unwind_info(slot(9, 8, 6), 1, slot(9, 9, 15), 0x20, 0, slot(4, 2, 5), prologue=9)
    world = World().add(0x1000, 0x1100, info).stack(0, 0, 1, 2, 3, 4, BACK)
    found = unwind(world, _state(0x1050))
    assert (found.rip, found.rsp) == (BACK, STACK + 0x38)
    assert found.registers[XMM + 6] == 2 << 64 | 1
    assert found.registers[XMM + 15] == 4 << 64 | 3


@pytest.mark.parametrize("error", [0, 1])
def test_machine_frames_with_and_without_error_code(error: int) -> None:
    info = unwind_info(slot(1, 0, RBP), slot(0, 10, error), prologue=1)
    frame = [0xEE] * error + [BASE + 0x2345, 0x10, 0x246, STACK + 0x800, 0x18]
    world = World().add(0x1000, 0x1100, info).stack(0xB9, *frame)
    found = unwind(world, _state(0x1050))
    assert (found.rip, found.rsp, found.registers[RBP]) == (BASE + 0x2345, STACK + 0x800, 0xB9)
    assert (found.exact, found.note) == (True, "interrupted here")
    # At the handler's first instruction only the processor has pushed.
    assert unwind(world.stack(*frame), _state(0x1000)).rip == BASE + 0x2345


def test_a_saved_register_that_is_not_in_the_dump_is_not_known() -> None:
    """The walk goes on: where the frame ends does not depend on it."""
    info = unwind_info(slot(8, 4, RSI), 0x800 // 8, slot(4, 2, 1), prologue=8)
    world = World().add(0x1000, 0x1100, info).stack(0, 0, BACK)
    found = unwind(world, _state(0x1050, rsi=1, rbx=2))
    assert found.rip == BACK and RSI not in found.registers and found.registers[RBX] == 2


def test_a_frame_register_that_is_not_known_ends_unwinding() -> None:
    info = unwind_info(slot(4, 3), prologue=4, register=RBP)
    with pytest.raises(DumpError, match="rbp is not known"):
        unwind(World().add(0x1000, 0x1100, info).stack(BACK), _state(0x1050))


def test_saves_in_front_of_the_frame_register_count_from_the_stack_pointer() -> None:
    info = unwind_info(
        slot(12, 3), slot(8, 4, RSI), 0x10 // 8, slot(4, 2, 4), prologue=12, register=RBP, offset=0x20
    )
    world = World().add(0x1000, 0x1100, info).stack(0, 0, 0x51, 0, 0, BACK)
    assert unwind(world, _state(0x1008, rbp=0xBAD0)).registers[RSI] == 0x51
    assert unwind(world, _state(0x1050, rbp=STACK + 0x20)).registers[RSI] == 0x51


def test_the_frame_register_counts_in_a_part_although_the_whole_sets_it() -> None:
    """The part saves a register; the stack pointer is elsewhere by then."""
    whole = unwind_info(slot(8, 3), slot(4, 2, 4), prologue=8, register=RBP, offset=0x20)
    part = unwind_info(slot(9, 4, RSI), 1, slot(4, 4, RDI), 2, prologue=9, register=RBP, offset=0x20,
                       chained=(0x1000, 0x1100, 0x6000))  # fmt: skip
    world = World().add(0x1000, 0x1100, whole).add(0x3000, 0x3100, part, 0x1000)
    world.stack(0, 0x51, 0xD1, 0, 0, BACK, at=STACK + 0x100)
    for rip, rdi, rsi in ((0x3000, 7, 6), (0x3004, 0xD1, 6), (0x3008, 0xD1, 6), (0x3009, 0xD1, 0x51)):
        found = unwind(world, _state(rip, rbp=STACK + 0x120, rdi=7, rsi=6))
        assert (found.rip, found.registers[RDI], found.registers[RSI]) == (BACK, rdi, rsi), hex(rip)


def test_code_of_an_indirect_entry_is_behind_the_prologue() -> None:
    """It stands for an entry that covers other code: nothing of the prologue is still to come."""
    world = World().add(0x1000, 0x1100, unwind_info(slot(4, 2, 1), slot(1, 0, RBX), prologue=4))
    world.stack(0, 0, 0xBB, BACK)
    world.functions[0] = Function(0x1000, 0x1100, 0x6000, 0x1000)
    whole = world.functions[0]
    world.function = lambda address: whole  # type: ignore[method-assign]
    for rip in (0x3001, 0x0F00):
        assert unwind(world, _state(rip)).registers[RBX] == 0xBB


@pytest.mark.parametrize("operation", [6, 7])
def test_forms_of_before_the_first_release_are_stepped_over(operation: int) -> None:
    """Version 1 had other codes for XMM registers; they undo nothing."""
    operands = (0x1234,) if operation == 6 else (0x1234, 0x5678)
    info = unwind_info(slot(9, operation, 3), *operands, slot(4, 2, 1), prologue=9)
    assert unwind(World().add(0x1000, 0x1100, info).stack(0, 0, BACK), _state(0x1050)).rip == BACK


def test_version_3_is_recognised_and_not_guessed_at() -> None:
    with pytest.raises(DumpError, match="version 3, which is not read"):
        unwind(World().add(0x1000, 0x1100, b"\x03\0\0\0").stack(BACK), _state(0x1050))


def test_epilogues_of_version_2_need_no_code() -> None:
    """A small dump has no code: the unwind data alone tell how much has been popped."""
    epilogues = slot(5, 6, 1), slot(0x40, 6, 1), slot(0x20, 6), slot(0, 6)
    pushes = slot(9, 2, 3), slot(5, 0, R12), slot(3, 0, RBX), slot(2, 0, RSI)
    world = World().add(0x1000, 0x1400, _version_2(*epilogues, *pushes, prologue=9))
    saved, now = (0xC, 0xB, 0x51), (1, 2, 3)
    for start in (0x13FB, 0x1400 - 0x140, 0x13E0):
        for inside, popped in ((0, 0), (2, 1), (3, 2), (4, 3)):
            found = unwind(world.stack(*saved[popped:], BACK), _state(start + inside, r12=1, rbx=2, rsi=3))
            known = tuple(found.registers[number] for number in (R12, RBX, RSI))
            assert (found.rip, known) == (BACK, now[:popped] + saved[popped:]), hex(start + inside)
    frame = (0, 0, 0, 0, 0xC, 0xB, 0x51, BACK)
    for outside in (0x13FA, 0x13E5, 0x1400 - 0x141):
        assert unwind(world.stack(*frame), _state(outside)).registers[R12] == 0xC


def test_what_the_epilogue_codes_say() -> None:
    def read(*codes: int) -> tuple[int, tuple[int, ...], int]:
        info = read_unwind_info(World({BASE: _version_2(*codes)}), BASE, 0)
        return info.epilogues.size, info.epilogues.starts, len(info.codes)

    push = slot(1, 0, RBX)
    assert read(slot(4, 6, 1), slot(0, 6), push) == (4, (4,), 1)
    assert read(slot(4, 6, 0), slot(0x23, 6, 1), push) == (4, (0x123,), 1)
    assert read(slot(4, 6, 1), slot(9, 6), slot(0x30, 6, 2), slot(0, 6), push) == (4, (4, 9, 0x230), 1)
    assert read(slot(4, 6, 1), 0, push) == (4, (4,), 1)  # filled up with a zero slot
    assert read(push) == (0, (), 1)
    assert read() == (0, (), 0)


FRAME = unwind_info(slot(9, 2, 3), slot(5, 0, R12), slot(3, 0, RBX), prologue=9, register=0)


@pytest.mark.parametrize(
    ("code", "stack"),
    [
        ("4883c420 415c 5b c3", (0, 0, 0, 0, 0xC, 0xB)),  # add rsp, 20h; pop r12; pop rbx; ret
        ("4881c420000000 415c 5b c3", (0, 0, 0, 0, 0xC, 0xB)),
        ("488d6520 415c 5b c3", (0, 0, 0, 0, 0xC, 0xB)),  # lea rsp, [rbp+20h]
        ("498da520000000 415c 5b c3", (0, 0, 0, 0, 0xC, 0xB)),  # lea rsp, [r13+20h]
        ("498be5 4883c420 415c 5b c3", (0, 0, 0, 0, 0xC, 0xB)),  # mov rsp, r13; add rsp, 20h
        ("4c89ec 4883c420 415c 5b c3", (0, 0, 0, 0, 0xC, 0xB)),  # the other way to write mov rsp, r13
        ("415c 5b c3", (0xC, 0xB)),
        ("415c 5b f3c3", (0xC, 0xB)),  # rep ret
        ("415c 5b f2c3", (0xC, 0xB)),  # bnd ret
        ("415c 5b c20000", (0xC, 0xB)),
        ("415c 5b c5f877 c3", (0xC, 0xB)),  # vzeroupper
        ("415c 5b 9d c3", (0xC, 0xB, 0x246)),  # popfq
        ("415c 5b 59 c3", (0xC, 0xB, 1)),  # pop rcx
        ("415c 485b c3", (0xC, 0xB)),  # a REX prefix that changes nothing
        ("415c 5b e900100000", (0xC, 0xB)),  # jmp to another function
        ("415c 5b eb80", (0xC, 0xB)),
        ("415c 5b ff2500000000", (0xC, 0xB)),  # jmp [import]
        ("415c 5b 48ff2500000000", (0xC, 0xB)),
        ("415c 5b 48ffe0", (0xC, 0xB)),  # jmp rax, as a call in tail position
        ("415c 5b 49ffe3", (0xC, 0xB)),  # jmp r11
        ("415c 5b 48ff6010", (0xC, 0xB)),  # jmp [rax+10h]
        ("415c 5b e9a8ffffff", (0xC, 0xB)),  # jmp to the function's own beginning
        ("415c 5b", None),
        ("415c 5b e910000000", None),  # jmp within the function
        ("415c 5b eb10", None),
        ("415c 5b ffe0", None),  # jmp rax: a switch
        ("415c 5b 48ffd0", None),  # call rax
        ("415c 5b 90 c3", None),
        ("4883c420 5c c3", None),  # pop rsp
    ],
)
def test_epilogues_by_their_instructions(code: str, stack: tuple[int, ...] | None) -> None:
    raw = bytes.fromhex(code)
    if raw.endswith(b"\xe9\xa8\xff\xff\xff"):
        raw = raw[:-4] + struct.pack("<i", -0x50 - len(raw))
    elif raw.endswith(b"\xeb\x80"):
        raw = raw[:-1] + struct.pack("<b", -0x60 - len(raw))
    world = World().add(0x1000, 0x1100, FRAME).code(0x1050, raw + b"\xcc" * 64)
    world.stack(*((0xA, 0xA, 0xA, 0xA, 0xC, 0xB) if stack is None else stack), BACK)
    found = unwind(world, _state(0x1050, rbp=STACK, r13=STACK))
    assert (found.rip, found.registers[RBX], found.registers[R12]) == (BACK, 0xB, 0xC)
    # A return address is never in an epilogue: only code that was interrupted is followed to its end.
    world.stack(0xA, 0xA, 0xA, 0xA, 0xC, 0xB, BACK)
    assert unwind(world, _state(0x1050, exact=False)).rip == BACK


def test_an_epilogue_that_ends_in_iretq() -> None:
    info = unwind_info(slot(5, 2, 3), slot(1, 0, RBP), slot(0, 10), prologue=5)
    world = World().add(0x1000, 0x1100, info).code(0x1050, bytes.fromhex("4883c408 0f01f8 48cf") + bytes(64))
    world.stack(0xEE, BASE + 0x2345, 0x10, 0x246, STACK + 0x800, 0x18)
    found = unwind(world, _state(0x1050))
    assert (found.rip, found.rsp, found.exact) == (BASE + 0x2345, STACK + 0x800, True)


def test_volatile_registers_of_interrupted_code_are_not_known() -> None:
    """So a frame that is about to be freed through one is still undone by its codes."""
    handler = unwind_info(slot(0, 10))
    world = World().add(0x1000, 0x1100, handler).add(0x2000, 0x2100, FRAME)
    world.code(0x2050, bytes.fromhex("498be3 415c 5b c3") + bytes(64))  # mov rsp, r11; pop r12; pop rbx; ret
    world.stack(BASE + 0x2050, 0x10, 0x246, STACK + 0x28, 0x18, 0, 0, 0, 0, 0xC, 0xB, BACK)
    first = State(BASE + 0x1050, {RSP: STACK, 11: 0xBAD, XMM: 1, XMM + 6: 6}, "context", True)
    interrupted = unwind(world, first)
    assert interrupted.exact and set(interrupted.registers) == {RSP, XMM + 6}
    found = unwind(world, interrupted)
    assert (found.rip, found.registers[R12], found.registers[RBX]) == (BACK, 0xC, 0xB)
    # Where the processor itself stopped, they are known.
    world.stack(0, 0, 0, 0, 0, 0xC, 0xB, BACK)
    found = unwind(world, State(BASE + 0x2050, {RSP: STACK, 11: STACK + 0x28}, "context", True))
    assert (found.rip, found.registers[R12]) == (BACK, 0xC)


def test_an_epilogue_whose_next_page_is_not_in_the_dump() -> None:
    world = World().add(0x1000, 0x2000, FRAME).code(0x1FFC, bytes.fromhex("415c5bc3"))
    assert unwind(world.stack(0xC, 0xB, BACK), _state(0x1FFC)).registers[R12] == 0xC


def test_a_jump_between_functions_that_share_a_frame() -> None:
    """Nothing was freed in front of the jump: where a return address lies tells."""
    world = World().add(0x1000, 0x1100, FRAME).add(0x3000, 0x3100, FRAME)
    world.code(0x1050, b"\xe9" + struct.pack("<i", 0x3000 - 0x1055) + bytes(64)).code(
        0x8FFB - 2, b"\0\0" + CALL
    )
    assert unwind(world.stack(0, 0, 0, 0, 0xC, 0xB, BACK), _state(0x1050)).registers[R12] == 0xC
    found = unwind(world.stack(BACK, 0, 0, 0, 0xC, 0xB, BACK), _state(0x1050, r12=1))
    assert (found.rip, found.rsp, found.registers[R12]) == (BACK, STACK + 8, 1)


def test_a_leftover_on_top_of_a_frame_that_stands() -> None:
    """Both may be return addresses; one of them is behind a call of this very function."""
    world = World().add(0x1000, 0x1100, FRAME).add(0x3000, 0x3100, FRAME)
    world.code(0x1050, b"\xe9" + struct.pack("<i", 0x3000 - 0x1055) + bytes(64))
    world.code(0x8FF9, b"\0\0\xe8" + struct.pack("<i", 0x1000 - 0x9000)).code(0xA000, b"\0\0" + CALL)
    leftover = BASE + 0xA007
    assert unwind(world.stack(leftover, 0, 0, 0, 0xC, 0xB, BACK), _state(0x1050)).registers[R12] == 0xC
    assert unwind(world.stack(BACK, 0, 0, 0, 0xC, 0xB, leftover), _state(0x1050)).rsp == STACK + 8


def test_a_jump_to_another_part_of_the_same_function_is_no_epilogue() -> None:
    part = unwind_info(chained=(0x1000, 0x1100, 0x6000))
    world = World().add(0x1000, 0x1100, FRAME).add(0x3000, 0x3100, part, root=0x1000)
    world.code(0x1050, b"\xe9" + struct.pack("<i", 0x3000 - 0x1055) + bytes(64)).code(
        0x8FFB - 2, b"\0\0" + CALL
    )
    world.stack(BACK, 0, 0, 0, 0xC, 0xB, BACK)  # what a callee left in its home slot
    assert unwind(world, _state(0x1050)).registers[R12] == 0xC
    world.code(0x3050, b"\x5b\xe9" + struct.pack("<i", 0x1080 - 0x3056) + bytes(64))
    assert unwind(world, _state(0x3050)).registers[R12] == 0xC


def test_a_return_address_needs_unwind_data() -> None:
    world = World().stack(BACK)
    assert unwind(world, _state(0x1050)).rip == BACK  # a leaf
    with pytest.raises(DumpError, match="calls others and has no unwind data"):
        unwind(world, _state(0x1050, exact=False))
    with pytest.raises(DumpError, match="in no module"):
        unwind(world, State(0x1234, {RSP: STACK}, "context", True))


def test_a_call_to_where_no_code_is() -> None:
    """A driver called through a null pointer: nothing has run, so its caller is exactly known."""
    world = World().stack(BACK, at=STACK).code(0x8FF9, b"\0\0\0\0\0\xff\xd0")
    found = unwind(world, State(0, {RSP: STACK, RBX: 7}, "context", True))
    assert (found.rip, found.rsp, found.registers[RBX]) == (BACK, STACK + 8, 7)
    for other in (World().stack(BACK), World().stack(BACK).code(0x8FF9, bytes(7)), World().stack(0x77)):
        with pytest.raises(DumpError, match="in no module"):
            unwind(other, State(0, {RSP: STACK}, "context", True))


def test_a_stack_pointer_saved_like_a_register_is_refused() -> None:
    info = unwind_info(slot(1, 0, RSP), prologue=1)
    with pytest.raises(DumpError, match="stack pointer was saved"):
        unwind(World().add(0x1000, 0x1100, info).stack(BACK, BACK), _state(0x1050))
