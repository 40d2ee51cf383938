"""The unwinder on real compiler output: Windows launchers that come with Python packaging tools.

Each prologue is executed one instruction at a time by a small processor of our own, which knows nothing
of unwind data; at every step the unwinder must find the caller and its registers again.
"""

from __future__ import annotations

import struct
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.kernel.image import Function, find_function, read_image
from lab.kernel.modules import LoadedModule
from lab.kernel.target import Kernel
from lab.kernel.unwind import KernelImages
from lab.kernel.virtual_unwind import State, unwind
from lab.model import DumpError

SITE = Path(sysconfig.get_paths()["purelib"])
LAUNCHERS = [
    path
    for path in (
        SITE / "setuptools/cli-64.exe",
        SITE / "setuptools/gui-64.exe",
        SITE / "pip/_vendor/distlib/t64.exe",
        SITE / "pip/_vendor/distlib/w64.exe",
    )
    if path.exists()
]
BASE = 0xFFFFF80000000000
RSP = 0xFFFFF88000010000
NONVOLATILE = (3, 5, 6, 7, 12, 13, 14, 15)


class Memory:
    """An image and a stack."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.stack: dict[int, int] = {}

    def read(self, address: int, size: int) -> bytes:
        if address >= BASE and address + size <= BASE + len(self.image):
            return self.image[address - BASE : address - BASE + size]
        if size % 8 == 0 and address % 8 == 0 and abs(address - RSP) < 0x8000:
            words = (self.stack.get(at, 0xDEAD) for at in range(address, address + size, 8))
            return struct.pack(f"<{size // 8}Q", *words)
        raise DumpError(f"{address:#x}")


def _mapped(path: Path) -> bytes:
    """The file as the loader lays it out."""
    raw = path.read_bytes()
    pe = struct.unpack_from("<I", raw, 0x3C)[0]
    count, optional = struct.unpack_from("<H", raw, pe + 6)[0], struct.unpack_from("<H", raw, pe + 20)[0]
    size, headers = (
        struct.unpack_from("<I4x", raw, pe + 24 + 56)[0],
        struct.unpack_from("<I", raw, pe + 24 + 60)[0],
    )
    image = bytearray(size)
    image[:headers] = raw[:headers]
    for index in range(count):
        _, rva, length, at = struct.unpack_from("<IIII", raw, pe + 24 + optional + 40 * index + 8)
        image[rva : rva + length] = raw[at : at + length]
    return bytes(image)


def _kernel(memory: Memory) -> Kernel:
    image = read_image(cast(Any, memory), BASE)
    assert image is not None
    module = LoadedModule("launcher.exe", "launcher.exe", BASE, image.size, image.timestamp)
    dump = SimpleNamespace(memory=memory, header=SimpleNamespace(build=19041, processors=1))
    return Kernel(cast(Any, dump), (module,), module, cast(Any, None))


def _step(code: bytes, registers: list[int], stack: dict[int, int]) -> int:
    """Execute one instruction of a prologue; its length, 0 when it is not one we know."""
    at, rex = 0, 0
    if 0x40 <= code[0] <= 0x4F:
        rex, at = code[0], 1
    wide, r, b = rex & 8, (rex >> 2 & 1) * 8, (rex & 1) * 8
    op = code[at]
    if 0x50 <= op <= 0x57:  # push
        registers[4] -= 8
        stack[registers[4]] = registers[op - 0x50 + b]
        return at + 1
    modrm = code[at + 1]
    mode, reg, rm = modrm >> 6, (modrm >> 3 & 7) + r, modrm & 7
    if wide and op in (0x83, 0x81) and modrm == 0xEC:  # sub rsp, n
        size = 1 if op == 0x83 else 4
        registers[4] -= int.from_bytes(code[at + 2 : at + 2 + size], "little")
        return at + 2 + size
    if wide and op in (0x89, 0x8B) and mode == 3:  # mov reg, reg
        source, target = (reg, rm + b) if op == 0x89 else (rm + b, reg)
        registers[target] = registers[source]
        return at + 2
    if op in (0x89, 0x8D) and mode in (1, 2) and (wide or op == 0x89):  # mov [base+d], reg; lea reg, [base+d]
        at += 2
        base = rm + b
        if rm == 4:
            if code[at] & 0x38 != 0x20:
                return 0
            base = (code[at] & 7) + b
            at += 1
        size = 1 if mode == 1 else 4
        address = registers[base] + int.from_bytes(code[at : at + size], "little", signed=True)
        if op == 0x8D:
            registers[reg] = address
        elif wide:
            stack[address] = registers[reg]
        return at + size
    return 0


def _functions(memory: Memory, kernel: Kernel) -> list[tuple[Function, int]]:
    """Every function of .pdata that is not a part of another, with the size of its prologue."""
    image = kernel.image(kernel.nt)
    assert image is not None
    found = []
    for at in range(image.pdata[0], image.pdata[0] + image.pdata[1], 12):
        begin = struct.unpack_from("<I", memory.image, at)[0]
        function = find_function(cast(Any, memory), image, begin)
        assert function is not None and function.begin == begin
        if function.root == begin:
            found.append((function, memory.image[function.unwind + 1]))
    return found


@pytest.mark.skipif(not LAUNCHERS, reason="no Windows launcher of pip or setuptools is installed here")
@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda p: p.name)
def test_every_prologue_of_real_code_unwinds_at_every_instruction(path: Path) -> None:
    memory = Memory(_mapped(path))
    kernel = _kernel(memory)
    image = kernel.image(kernel.nt)
    assert image is not None
    start = struct.unpack_from("<I", memory.image, struct.unpack_from("<I", memory.image, 0x3C)[0] + 24 + 16)[
        0
    ]
    assert image.executable(start)
    steps = functions = 0
    for function, prologue in _functions(memory, kernel):
        memory.stack = {RSP: 0xC0FFEE}
        registers = [0x1000 + index for index in range(16)]
        registers[4] = RSP
        caller = list(registers)
        rip = function.begin
        whole = False
        while rip < function.end:
            state = State(BASE + rip, dict(enumerate(registers)), "context", True)
            found = unwind(KernelImages(kernel), state)
            where = f"{path.name} {function.begin:#x} at {rip:#x}"
            assert found.rip == 0xC0FFEE, where
            assert found.rsp == RSP + 8, where
            for number in NONVOLATILE:
                assert found.registers[number] == caller[number], f"{where}: register {number}"
            steps += 1
            if rip - function.begin >= prologue:
                whole = True
                break
            length = _step(memory.image[rip : rip + 16], registers, memory.stack)
            if not length:
                break
            rip += length
        functions += whole
    assert functions > 150, "too few functions were followed through to be a test of anything"
    assert steps > 800


@pytest.mark.skipif(not LAUNCHERS, reason="no Windows launcher of pip or setuptools is installed here")
@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda p: p.name)
def test_every_epilogue_of_real_code_unwinds_at_every_instruction(path: Path) -> None:
    """From the end of the prologue, jump to each `add rsp, n; pop ...; ret` and execute that."""
    memory = Memory(_mapped(path))
    kernel = _kernel(memory)
    steps = 0
    for function, prologue in _functions(memory, kernel):
        memory.stack = {RSP: 0xC0FFEE}
        registers = [0x1000 + index for index in range(16)]
        registers[4] = RSP
        caller = list(registers)
        rip = function.begin
        while rip - function.begin < prologue:
            length = _step(memory.image[rip : rip + 16], registers, memory.stack)
            if not length:
                break
            rip += length
        if rip - function.begin != prologue:
            continue
        code = memory.image[function.begin : function.end]
        for form, size in ((b"\x48\x83\xc4", 1), (b"\x48\x81\xc4", 4)):
            at = code.find(form)
            while at >= 0:
                steps += _epilogue(kernel, memory, function.begin + at, list(registers), caller, size)
                at = code.find(form, at + 1)
    assert steps > 300


def _epilogue(
    kernel: Kernel, memory: Memory, rip: int, registers: list[int], caller: list[int], size: int
) -> int:
    """Execute one epilogue if it is one, checking at every instruction; how many were checked."""
    sequence = [(rip, list(registers))]
    amount = int.from_bytes(memory.image[rip + 3 : rip + 3 + size], "little", signed=True)
    registers[4] += amount
    rip += 3 + size
    for _ in range(10):
        sequence.append((rip, list(registers)))
        code = memory.image[rip : rip + 2]
        if code[0] == 0xC3:
            break
        rex = code[0] == 0x41
        if not 0x58 <= code[rex] <= 0x5F:
            return 0
        registers[code[rex] - 0x58 + 8 * rex] = memory.stack.get(registers[4], 0xDEAD)
        registers[4] += 8
        rip += 1 + rex
    else:
        return 0
    if registers[4] != RSP:
        return 0  # not the whole of the function's frame: part of a chained function
    for at, state in sequence:
        found = unwind(KernelImages(kernel), State(BASE + at, dict(enumerate(state)), "context", True))
        assert (found.rip, found.rsp) == (0xC0FFEE, RSP + 8), hex(at)
        restored = {code for code in NONVOLATILE if state[code] != caller[code]}
        for number in restored:
            if sequence[-1][1][number] == caller[number]:
                assert found.registers[number] == caller[number], f"{at:#x}: register {number}"
    return len(sequence)
