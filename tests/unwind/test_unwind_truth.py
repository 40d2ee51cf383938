"""Every frame of thousands of stops in running code, held against the calls that really led there.

The images of this directory (shapes.c by clang at several levels of optimisation; forms.s with what clang
does not write) run in an emulator, in a process of its own (runner.py), which knows nothing of unwind data
and keeps the history of calls. Here each stop is unwound by unwind data: address, stack pointer and all
nonvolatile registers of every caller down to the bottom of the stack must be what they were.
"""

from __future__ import annotations

import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest

from lab.dumps.memory import NotPresent
from lab.kernel.image import read_image
from lab.kernel.modules import LoadedModule
from lab.kernel.target import Kernel
from lab.kernel.unwind import follow
from lab.kernel.virtual_unwind import State

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-oracles/bin/python"
IMAGES = sorted((HERE / "images").glob("*.sys"))
BASE = 0xFFFFF80001000000
STACK = (0xFFFFF88000400000, 0xFFFFF88000800000)  # as the runner has it
STOPS = 2000  # of each image
KEPT = (3, 5, 6, 7, 12, 13, 14, 15, *range(22, 32))
PAGE = 0x1000
LEAST = {
    "prologue": 1800,
    "epilogue": 1200,
    "body": 8000,
    "leaf": 1500,
    "part of a function": 200,
    "indirect entry": 8,
    "version 2": 700,
    "epilogue of version 2": 80,
    "frame register": 3500,
    "below an interrupt": 7000,
    "interrupted prologue": 400,
    "interrupted epilogue": 200,
    "on another stack": 3500,
    "different instruction": 11_000,
}
"""How many stops of each kind there must be at least, all images together."""


@dataclass(frozen=True)
class Stop:
    registers: dict[int, int]
    rip: int
    callers: tuple[tuple[bool, int, int, tuple[int, ...]], ...]  # interrupted, rip, rsp, kept registers
    memory: dict[int, bytes]


class Memory:
    """The image, and the pieces of stack that one stop came with. Pages that were not sent are zeros."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.pieces: dict[int, tuple[int, bytes]] = {}  # page -> where its piece begins, and that

    def load(self, pieces: dict[int, bytes]) -> None:
        self.pieces = {at // PAGE: (at, data) for at, data in pieces.items()}

    def read(self, address: int, size: int) -> bytes:
        if address >= BASE and address + size <= BASE + len(self.image):
            return self.image[address - BASE : address - BASE + size]
        if not 0xFFFFF88000000000 <= address < 0xFFFFF88001000000:
            raise NotPresent(f"{address:#x} is not mapped")
        at, data = self.pieces.get(address // PAGE, (0, b""))
        if at <= address and address + size <= at + len(data):
            return data[address - at : address - at + size]
        if not data and address % PAGE + size <= PAGE:
            return bytes(size)
        return b"".join(self._byte(each) for each in range(address, address + size))

    def _byte(self, address: int) -> bytes:
        at, data = self.pieces.get(address // PAGE, (0, b""))
        if data and not at <= address < at + len(data):
            raise NotPresent(f"{address:#x} is below the stack pointer")
        return data[address - at : address - at + 1] or b"\0"


@dataclass(frozen=True)
class Entry:
    """A RUNTIME_FUNCTION, read without any code of ours."""

    begin: int
    end: int
    version: int
    prologue: int
    chained: bool
    indirect: bool
    frame_register: int
    frame: int  # bytes of pushes and allocations, of the whole chain


class Truth:
    """An image and what its unwind data say of a place, to tell kinds of stops apart."""

    def __init__(self, path: Path) -> None:
        self.image = _mapped(path)
        pe = struct.unpack_from("<I", self.image, 0x3C)[0]
        table, size = struct.unpack_from("<II", self.image, pe + 24 + 112 + 8 * 3)
        self.entries = [self._entry(table + at) for at in range(0, size, 12)]

    def _entry(self, at: int) -> Entry:
        begin, end, info = struct.unpack_from("<III", self.image, at)
        indirect = bool(info & 1)
        if indirect:
            (info,) = struct.unpack_from("<I", self.image, (info & ~1) + 8)
        head, prologue, _, frame = self.image[info : info + 4]
        return Entry(
            begin, end, head & 7, prologue, bool(head >> 3 & 4), indirect, frame & 15, self._frame(info)
        )

    def _frame(self, info: int) -> int:
        size = 0
        while True:
            head, count = self.image[info], self.image[info + 2]
            slots = struct.unpack_from(f"<{count}H", self.image, info + 4)
            index = 0
            while index < count:
                op, operand = slots[index] >> 8 & 15, slots[index] >> 12
                if op == 0:
                    size += 8
                elif op == 1:
                    size += slots[index + 1] | slots[index + 2] << 16 if operand else slots[index + 1] * 8
                elif op == 2:
                    size += operand * 8 + 8
                index += {1: 3 if operand else 2, 4: 2, 5: 3, 6: 2, 8: 2, 9: 3}.get(op, 1)
            if not head >> 3 & 4:
                return size
            (info,) = struct.unpack_from("<I", self.image, info + 4 + 2 * (count + count % 2) + 8)

    def kinds(self, stop: Stop) -> Iterator[str]:
        rsp, caller = stop.registers[4], stop.callers[0]
        entry = next((e for e in self.entries if e.begin <= stop.rip - BASE < e.end), None)
        yield (place := self._place(entry, stop.rip, rsp, caller))
        if entry is not None:
            for kind, holds in (
                ("part of a function", entry.chained),
                ("indirect entry", entry.indirect),
                ("version 2", entry.version == 2),
                ("epilogue of version 2", entry.version == 2 and place == "epilogue"),
                ("frame register", entry.frame_register != 0),
            ):
                if holds:
                    yield kind
        if not STACK[0] <= rsp < STACK[1]:
            yield "on another stack"
        for here, above in zip(stop.callers, stop.callers[1:], strict=False):
            if here[0]:
                yield "below an interrupt"
                entry = next((e for e in self.entries if e.begin <= here[1] - BASE < e.end), None)
                yield f"interrupted {self._place(entry, here[1], here[2], above)}"
                break

    def _place(self, entry: Entry | None, rip: int, rsp: int, caller: tuple[bool, int, int, Any]) -> str:
        """Where in its function a stop is. In an epilogue a part of the fixed frame is gone already."""
        if entry is None:
            return "leaf"
        if rip - BASE - entry.begin < entry.prologue:
            return "prologue"
        same_stack = not caller[0] and 0 <= caller[2] - rsp < PAGE * 512
        return "epilogue" if same_stack and caller[2] - 8 - rsp < entry.frame else "body"


def _mapped(path: Path) -> bytes:
    """The file as the loader lays it out."""
    raw = path.read_bytes()
    pe = struct.unpack_from("<I", raw, 0x3C)[0]
    count, optional = struct.unpack_from("<H", raw, pe + 6)[0], struct.unpack_from("<H", raw, pe + 20)[0]
    size, headers = struct.unpack_from("<II", raw, pe + 24 + 56)
    image = bytearray(size)
    image[:headers] = raw[:headers]
    for index in range(count):
        _, rva, length, at = struct.unpack_from("<IIII", raw, pe + 24 + optional + 40 * index + 8)
        image[rva : rva + length] = raw[at : at + length]
    return bytes(image)


def _stops(stream: IO[bytes]) -> Iterator[Stop]:
    while head := stream.read(17 * 8 + 160 + 4):
        rip, *integers = struct.unpack_from("<17Q", head)
        registers = dict(enumerate(integers)) | dict(enumerate(_wide(head[136:296]), 22))
        callers = []
        for _ in range(struct.unpack_from("<I", head, 296)[0]):
            raw = stream.read(88 + 160)
            interrupted, back, rsp, *kept = struct.unpack_from("<11Q", raw)
            callers.append((bool(interrupted), back, rsp, (*kept, *_wide(raw[88:]))))
        memory = {}
        for _ in range(struct.unpack("<I", stream.read(4))[0]):
            address, size = struct.unpack("<QI", stream.read(12))
            memory[address] = stream.read(size)
        yield Stop(registers, rip, tuple(callers), memory)


def _wide(raw: bytes) -> list[int]:
    return [int.from_bytes(raw[at : at + 16], "little") for at in range(0, 160, 16)]


def _kernel(memory: Memory) -> Kernel:
    image = read_image(cast(Any, memory), BASE)
    assert image is not None
    module = LoadedModule("shapes.sys", "shapes.sys", BASE, image.size, image.timestamp)
    dump = SimpleNamespace(memory=memory, header=SimpleNamespace(build=19041, processors=1))
    return Kernel(cast(Any, dump), (module,), module, cast(Any, None))


def _difference(stop: Stop, states: list[State], after: int) -> str:
    """What is wrong with the frames found for `stop`; "" when nothing is."""
    *callers, bottom = stop.callers
    if len(states) != len(callers) + 1 or after != bottom[1]:
        return f"{len(states)} frames, ending at {after:#x}, of {len(callers) + 1}: {states[-1].note}"
    for number, (state, (interrupted, rip, rsp, kept)) in enumerate(zip(states[1:], callers, strict=True), 1):
        if (state.rip, state.rsp) != (rip, rsp):
            return (
                f"frame {number}: {state.rip:#x} at {state.rsp:#x}, not {rip:#x} at {rsp:#x} ({state.note})"
            )
        if interrupted and not state.exact:
            return f"frame {number}: interrupted at {rip:#x}, taken for a return address"
        for register, value in zip(KEPT, kept, strict=True):
            found = state.registers.get(register)
            if found != value:
                return f"frame {number} at {rip:#x}: register {register} is {found}, not {value:#x}"
    return ""


@pytest.mark.skipif(
    not PYTHON.exists(), reason="tests/oracles/install.sh has not made the emulator's environment"
)
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_frame_is_as_it_was(record_property: Any, capsys: Any) -> None:
    counts: Counter[str] = Counter()
    places = set()
    frames = 0
    for seed, path in enumerate(IMAGES, 1):
        truth = Truth(path)
        memory = Memory(truth.image)
        kernel = _kernel(memory)
        command = [PYTHON, HERE / "runner.py", path, str(STOPS), str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as runner:
            assert runner.stdout is not None
            for number, stop in enumerate(_stops(runner.stdout)):
                memory.load(stop.memory)
                first = State(stop.rip, stop.registers, "context", True)
                states, after = follow(kernel, first, 1000, STACK)
                wrong = _difference(stop, states, after)
                assert not wrong, f"{path.name}, stop {number} at {stop.rip - BASE:#x}: {wrong}"
                counts["all"] += 1
                counts.update(set(truth.kinds(stop)))
                places.add((path.name, stop.rip))
                frames += len(states)
        assert runner.returncode == 0, f"the runner of {path.name} failed"
    counts["different instruction"] = len(places)
    told = f"{counts.pop('all')} stops, {frames} frames: " + ", ".join(
        f"{n} {k}" for k, n in counts.most_common()
    )
    record_property("compared", told)
    with capsys.disabled():
        print(f"\n{told}")
    short = {kind: counts[kind] for kind, least in LEAST.items() if counts[kind] < least}
    assert not short, f"too few stops to be a test: {short}"
