"""Every unwind code, chained functions, interrupts, missing data: one small kernel with a stack each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dumps_builder import (
    DRIVER,
    NT,
    NT_GUID,
    PAGE,
    STACK,
    World,
    add_modules,
    context,
    dump,
    image,
    slot,
    unwind_info,
)

from lab.dumps import Dump, open_dump
from lab.kernel.call_site import is_call
from lab.kernel.image import Image, find_function
from lab.kernel.opening import open_kernel
from lab.kernel.target import Kernel
from lab.kernel.unwind import walk
from lab.kernel.unwind_info import Op, read_unwind_info
from lab.kernel.virtual_unwind import State
from lab.model import DumpError, Frame

CALL = b"\xe8\x00\x00\x00\x00"
RBX, RSP, RBP, RSI, RDI, R12 = 3, 4, 5, 6, 7, 12
BOTTOM = (0x2000, 0x2100, unwind_info(slot(4, 2, 4), prologue=4))  # sub rsp, 28h
"""A thread's first function: 0x28 bytes of frame above a return address of zero."""


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    dumps: list[Dump] = []

    def build(
        functions: list[tuple[int, int, bytes]],
        rip: int,
        stack: dict[int, int],
        *,
        text: dict[int, bytes] | None = None,
        drop: tuple[int, ...] = (),
        sp: int = STACK,
        elsewhere: dict[int, int] | None = None,
        **registers: int,
    ) -> Kernel:
        world = World()
        world.write(NT, image("ntkrnlmp.pdb", NT_GUID))
        code = {0x20FB: CALL, 0x2080 - 5: CALL, **(text or {})}
        world.write(DRIVER, image("srv2.pdb", functions=sorted([*functions, BOTTOM]), text=code))
        add_modules(world, NT + 0x239C90, [("ntoskrnl.exe", NT, 0x5DD000), ("srv2.sys", DRIVER, 0x8000)])
        world.write(STACK, bytes(3 * PAGE))
        for offset, value in stack.items():
            world.write_words(STACK + offset, value)
        for other in (OTHER_STACK, STACK + 0x100000):
            world.write(other, bytes(PAGE))
        for address, value in (elsewhere or {}).items():
            world.write_words(address, value)
        for rva in drop:
            del world.frames[world.map(DRIVER + rva)]
        path = tmp_path / "MEMORY.DMP"
        path.write_bytes(dump(world, 2, record=context(DRIVER + rip, sp, **registers)))
        dumps.append(open_dump(path))
        return open_kernel(dumps[-1])

    yield build
    for each in dumps:
        each.close()


def _bottom(at: int) -> dict[int, int]:
    """A return to BOTTOM at stack offset `at`."""
    return {at: DRIVER + 0x2080, at + 8 + 0x28: 0}


def _registers(frame: Frame) -> dict[str, int]:
    return dict(frame.registers)


def test_pushes_and_allocations(opened: Any) -> None:
    info = unwind_info(slot(12, 2, 3), slot(8, 0, RDI), slot(7, 0, R12), slot(5, 0, RBX), prologue=12)
    stack = {0x20: 0x77, 0x28: 0xCC, 0x30: 0xBB, **_bottom(0x38)}
    frames = walk(opened([(0x1000, 0x1100, info)], 0x1050, stack))
    assert [f.how for f in frames] == ["context", "unwound"]
    assert (frames[0].child_sp, frames[0].return_address) == (STACK, DRIVER + 0x2080)
    assert (frames[1].child_sp, frames[1].symbol, frames[1].module) == (
        STACK + 0x40,
        "srv2+0x2080",
        "srv2.sys",
    )
    found = _registers(frames[1])
    assert (found["rdi"], found["r12"], found["rbx"]) == (0x77, 0xCC, 0xBB)
    assert found["rbp"] == 0x1005  # untouched: as in the context
    assert frames[1].return_address == 0


def test_only_what_of_the_prologue_has_run_is_undone(opened: Any) -> None:
    info = unwind_info(slot(5, 2, 3), slot(1, 0, RBX), prologue=5)
    for rip, stack, rbx in (
        (0x1000, _bottom(0), 0x1003),  # at the entry, as in a bugcheck
        (0x1001, {0: 0xBB, **_bottom(8)}, 0xBB),
        (0x1005, {0x20: 0xBB, **_bottom(0x28)}, 0xBB),
    ):
        frames = walk(opened([(0x1000, 0x1100, info)], rip, stack))
        assert len(frames) == 2
        assert _registers(frames[1])["rbx"] == rbx


@pytest.mark.parametrize(
    ("codes", "size"),
    [((slot(7, 1, 0), 0x120 // 8), 0x120), ((slot(7, 1, 1), 0x1230, 0), 0x1230), ((slot(7, 2, 15),), 0x80)],
)
def test_large_and_small_allocations(opened: Any, codes: tuple[int, ...], size: int) -> None:
    info = unwind_info(*codes, prologue=7)
    frames = walk(opened([(0x1000, 0x1100, info)], 0x1050, _bottom(size)))
    assert frames[1].child_sp == STACK + size + 8


def test_registers_saved_by_move(opened: Any) -> None:
    """Near and far; the codes of XMM registers are stepped over."""
    info = unwind_info(
        slot(30, 8, 6), 1, slot(25, 9, 7), 0x20, 0, slot(20, 5, RSI), 0x48, 0, slot(15, 4, RBX), 0x40 // 8,
        slot(10, 2, 5), prologue=30,
    )  # fmt: skip
    stack = {0x40: 0xBB, 0x48: 0x51, **_bottom(0x30)}
    stack[0x40], stack[0x48] = 0xBB, 0x51
    frames = walk(opened([(0x1000, 0x1100, info)], 0x1050, stack))
    assert (_registers(frames[1])["rbx"], _registers(frames[1])["rsi"]) == (0xBB, 0x51)
    assert frames[1].child_sp == STACK + 0x38


def test_frame_register(opened: Any) -> None:
    """The stack pointer has moved since (alloca); the frame register tells where it was."""
    info = unwind_info(
        slot(20, 4, RSI),
        0x10 // 8,
        slot(10, 3),
        slot(5, 2, 3),
        slot(1, 0, RBP),
        prologue=20,
        register=RBP,
        offset=0x10,
    )
    stack = {0x110: 0x51, 0x120: 0xB9, **_bottom(0x128)}
    frames = walk(opened([(0x1000, 0x1100, info)], 0x1050, stack, rbp=STACK + 0x110))
    assert frames[1].child_sp == STACK + 0x130
    assert (_registers(frames[1])["rsi"], _registers(frames[1])["rbp"]) == (0x51, 0xB9)
    # Before the register is set, it is the caller's and says nothing.
    frames = walk(opened([(0x1000, 0x1100, info)], 0x1006, {0x20: 0xB9, **_bottom(0x28)}, rbp=0xBAD))
    assert _registers(frames[1])["rbp"] == 0xB9


def test_chained_function_is_undone_and_named_by_its_root(opened: Any) -> None:
    """A cold part far behind its function: its own push first, then the whole prologue of the root."""
    root = unwind_info(slot(5, 2, 3), slot(1, 0, RBX), prologue=5)
    part = unwind_info(slot(0, 4, RDI), 0x38 // 8, chained=(0x1000, 0x1100, 0x6000))
    functions = [(0x1000, 0x1100, root), (0x3000, 0x3040, part)]
    stack = {0x20: 0xBB, **_bottom(0x28), 0x38: 0x77}
    kernel = opened(functions, 0x3010, stack)
    frames = walk(kernel)
    assert (_registers(frames[1])["rbx"], _registers(frames[1])["rdi"]) == (0xBB, 0x77)
    function = kernel.function(DRIVER + 0x3010)
    assert (function.begin, function.root) == (0x3000, 0x1000)


def test_machine_frame(opened: Any) -> None:
    """An interrupt: registers of the interrupted code, whose own prologue counts again."""
    handler = unwind_info(slot(0, 10, 1), prologue=0)
    victim = unwind_info(slot(5, 2, 3), slot(1, 0, RBX), prologue=5)
    stack = {0: 0, 8: DRIVER + 0x1801, 0x10: 0x10, 0x18: 0x246, 0x20: STACK + 0x100, 0x28: 0x18,
             0x100: 0xBB, **_bottom(0x108)}  # fmt: skip
    frames = walk(opened([(0x1000, 0x1100, handler), (0x1800, 0x1900, victim)], 0x1050, stack))
    assert [f.instruction - DRIVER for f in frames] == [0x1050, 0x1801, 0x2080]
    assert frames[1].note == "interrupted here"
    assert frames[1].child_sp == STACK + 0x100
    assert _registers(frames[2])["rbx"] == 0xBB


def test_leaf_function(opened: Any) -> None:
    frames = walk(opened([], 0x1050, _bottom(0)))
    assert [f.how for f in frames] == ["context", "unwound"]
    assert frames[1].child_sp == STACK + 8


def test_a_return_address_behind_the_end_of_its_function(opened: Any) -> None:
    """A call that never returns is the last instruction: its return address belongs to the next one."""
    caller = unwind_info(slot(4, 2, 3), prologue=4)
    stack = {0: DRIVER + 0x1100, **_bottom(0x28)}
    kernel = opened([(0x1000, 0x1100, caller), (0x1100, 0x1200, unwind_info())], 0x1800, stack)
    frames = walk(kernel)
    assert [f.child_sp - STACK for f in frames] == [0, 8, 0x30]


def test_epilogue(opened: Any) -> None:
    info = unwind_info(slot(5, 2, 3), slot(1, 0, RBX), prologue=5)
    code = {0x1050: b"\x48\x83\xc4\x20\x5b\xc3"}  # add rsp, 20h; pop rbx; ret
    for rip, stack in (
        (0x1050, {0x20: 0xBB, **_bottom(0x28)}),
        (0x1054, {0: 0xBB, **_bottom(8)}),
        (0x1055, _bottom(0)),
    ):
        frames = walk(opened([(0x1000, 0x1100, info)], rip, stack, text=code))
        assert len(frames) == 2 and frames[1].how == "unwound"
    # The same bytes with a jump back into the function are no epilogue.
    code = {0x1054: b"\x5b\xe9\xb6\xff\xff\xff"}
    frames = walk(opened([(0x1000, 0x1100, info)], 0x1054, {0x20: 0xBB, **_bottom(0x28)}, text=code))
    assert frames[1].child_sp == STACK + 0x30


def test_version_2_epilogue_codes_are_stepped_over(opened: Any) -> None:
    raw = bytearray(unwind_info(slot(6, 6, 1), 0, slot(5, 2, 3), slot(1, 0, RBX), prologue=5))
    raw[0] = 2
    frames = walk(opened([(0x1000, 0x1100, bytes(raw))], 0x1050, {0x20: 0xBB, **_bottom(0x28)}))
    assert _registers(frames[1])["rbx"] == 0xBB


def test_scanning_where_unwind_data_lack(opened: Any) -> None:
    """A scanned frame says so and why, claims no registers, and unwinding goes on from there."""
    middle = unwind_info(slot(4, 2, 3), prologue=4)
    stack = {
        0x08: DRIVER + 0x6000,  # not code
        0x10: DRIVER + 0x1A00,  # code, but not behind a call
        0x18: DRIVER + 0x1850,
        **_bottom(0x40),
    }
    functions = [(0x1000, 0x1100, b"\x07\0\0\0"), (0x1800, 0x1900, middle)]  # a version nobody knows
    frames = walk(opened(functions, 0x1050, stack, text={0x184B: CALL}))
    assert [f.how for f in frames] == ["context", "scanned", "unwound"]
    assert "unknown version 7" in frames[1].note
    assert frames[1].registers == ()
    assert frames[1].instruction == DRIVER + 0x1850


def test_headers_not_in_the_dump(opened: Any) -> None:
    frames = walk(opened([(0x1000, 0x1100, unwind_info())], 0x1050, _bottom(0x10), drop=(0,)))
    assert [f.how for f in frames] == ["context", "scanned"]
    assert "headers of srv2.sys are not in the dump" in frames[1].note


def test_the_walk_is_bounded(opened: Any) -> None:
    """A stack of nothing but return addresses ends at the limit; a chain that bites its tail ends too."""
    stack = {8 * index: DRIVER + 0x1050 for index in range(0x200)}
    functions = [
        (0x1000, 0x1100, unwind_info()),
        (0x1800, 0x1900, unwind_info(chained=(0x1800, 0x1900, 0x6004))),
    ]
    kernel = opened(functions, 0x1050, stack)
    assert len(walk(kernel, limit=20)) == 20
    assert find_function(kernel.memory, _image(kernel), 0x1810) is not None
    frames = walk(opened(functions, 0x1810, _bottom(0)))
    assert frames[1].how == "scanned" and "chain without end" in frames[1].note


def test_user_mode_ends_the_walk(opened: Any) -> None:
    frames = walk(opened([(0x1000, 0x1100, unwind_info())], 0x1050, {0: 0x7FFE1234}))
    assert len(frames) == 1 and frames[0].return_address == 0x7FFE1234


def _image(kernel: Kernel) -> Image:
    module = kernel.module("srv2")
    found = kernel.image(module) if module else None
    assert found is not None
    return found


def test_codes_that_end_early(opened: Any) -> None:
    kernel = opened([(0x1000, 0x1100, unwind_info(slot(7, 1, 1), 0x10, prologue=7))], 0x1050, {})
    with pytest.raises(DumpError, match="end within a code"):
        read_unwind_info(kernel.memory, DRIVER, 0x6000)
    kernel = opened([(0x1000, 0x1100, unwind_info(slot(7, 11)))], 0x1050, {})
    with pytest.raises(DumpError, match="unknown operation 11"):
        read_unwind_info(kernel.memory, DRIVER, 0x6000)
    kernel = opened([(0x1000, 0x1100, unwind_info(slot(7, 0, RBX), prologue=7))], 0x1050, {})
    assert read_unwind_info(kernel.memory, DRIVER, 0x6000).codes[0].op is Op.PUSH_NONVOL


@pytest.mark.parametrize(
    ("code", "call"),
    [
        (b"\x90\x90\xe8\x01\x02\x03\x04", True),
        (b"\x90\xff\x15\x01\x02\x03\x04", True),
        (b"\x90\x90\x90\x90\x90\xff\xd0", True),
        (b"\x90\x90\x90\x90\x41\xff\xd4", True),
        (b"\x90\x90\x90\x90\xff\x53\x20", True),
        (b"\x90\x90\x90\xff\x54\x24\x20", True),
        (b"\x48\xff\x15\x01\x02\x03\x04", True),
        (b"\xff\x94\x24\x80\x00\x00\x00", True),
        (b"\x90\x90\xe9\x01\x02\x03\x04", False),
        (b"\x90\x90\x90\x90\x90\xff\xe0", False),
        (b"\x90\x90\x90\x90\x90\x90\x90", False),
        (b"\x90\xff\x25\x01\x02\x03\x04", False),
    ],
)
def test_calls_are_known_by_their_bytes(code: bytes, call: bool) -> None:
    assert is_call(code) is call


OTHER_STACK = STACK - 0x100000
SWITCHING = unwind_info(slot(4, 3), slot(1, 0, RBP), prologue=4, register=RBP)  # push rbp; mov rbp, rsp


def _switched(opened: Any, rsp: int, kept: dict[int, int], elsewhere: dict[int, int] | None = None) -> Kernel:
    """Stopped at `rsp`, in a function whose frame register says that its frame is at STACK."""
    text = {0x1080 - 5: CALL}
    kernel: Kernel = opened(
        [(0x1000, 0x1100, SWITCHING)], 0x1050, kept, text=text, sp=rsp, elsewhere=elsewhere, rbp=STACK
    )
    return kernel


def test_a_frame_register_leads_back_to_the_stack_that_was_left(opened: Any) -> None:
    """As a DPC does: to a higher address, and to a lower one."""
    kept = {0: 0xB9, **_bottom(8)}
    for there in (OTHER_STACK, STACK + 0x100000):
        frames = walk(_switched(opened, there, kept), bounds=(STACK, STACK + 3 * PAGE))
        assert [f.how for f in frames] == ["context", "unwound"]
        assert (frames[1].child_sp, _registers(frames[1])["rbp"]) == (STACK + 0x10, 0xB9)


def test_a_frame_register_may_not_lead_down_the_same_stack(opened: Any) -> None:
    """It would go round for ever; the next return address on the stack goes on instead."""
    kept = {0: STACK, 8: DRIVER + 0x1080, **_bottom(0x208)}
    kernel = _switched(opened, STACK + 0x200, kept)
    frames = walk(kernel, bounds=(STACK, STACK + 3 * PAGE))
    assert [f.how for f in frames] == ["context", "scanned"]
    assert "led off the stack" in frames[1].note
    assert frames[1].child_sp == STACK + 0x210


def test_two_stacks_that_lead_to_each_other(opened: Any) -> None:
    """Each is left once; the second time round is refused."""
    back = {OTHER_STACK + 0x300: STACK, OTHER_STACK + 0x308: DRIVER + 0x1080}
    kernel = _switched(opened, OTHER_STACK + 0x200, {0: OTHER_STACK + 0x300, 8: DRIVER + 0x1080}, back)
    frames = walk(kernel, bounds=(STACK, STACK + 3 * PAGE))
    assert [f.child_sp for f in frames] == [OTHER_STACK + 0x200, STACK + 0x10, OTHER_STACK + 0x310]


def test_a_return_address_that_is_none(opened: Any) -> None:
    """Neither the kernel's nor a user's nor the bottom: damage. What lies above is still looked for."""
    for damage in (0x1234, 0x0000_9000_0000_0000, 0xFFFF_9000_0000_0000):
        frames = walk(opened([(0x1000, 0x1100, unwind_info())], 0x1050, {0: damage, **_bottom(0x20)}))
        assert [f.how for f in frames] == ["context", "scanned"]
        assert f"{damage:#x} is in no module" in frames[1].note
        assert frames[1].child_sp == STACK + 0x28


def test_a_walk_from_registers_that_are_only_partly_known(opened: Any) -> None:
    """A thread that waits: its stack pointer and where it is, and nothing else."""
    info = unwind_info(slot(5, 2, 3), slot(1, 0, RBX), prologue=5)
    kernel = opened([(0x1000, 0x1100, info)], 0x1800, {0x20: 0xBB, **_bottom(0x28)})
    frames = walk(kernel, State(DRIVER + 0x1050, {RSP: STACK}, "context", True))
    assert frames[0].registers == () and frames[1].registers == (("rbx", 0xBB),)
    assert frames[1].child_sp == STACK + 0x30
