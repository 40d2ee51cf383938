"""Unwind data, code and stacks of random bytes: a walk ends, within bounds, with errors of our own only."""

from __future__ import annotations

import struct
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.dumps.memory import NotPresent
from lab.kernel.image import Image, Section
from lab.kernel.modules import LoadedModule
from lab.kernel.target import Kernel
from lab.kernel.unwind import follow
from lab.kernel.unwind_info import RSP, read_unwind_info
from lab.kernel.virtual_unwind import State
from lab.model import DumpError

BASE, SIZE = 0xFFFFF80000000000, 0x4000
STACK, STACK_SIZE = 0xFFFFF88000010000, 0x1000
LIMIT = 200


class Memory:
    """An image and a stack; counts how much is asked of it."""

    def __init__(self, image: bytes, stack: bytes) -> None:
        self.parts = ((BASE, image), (STACK, stack))
        self.reads = self.bytes = 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        self.bytes += size
        for start, data in self.parts:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise NotPresent(f"{address:#x} is not mapped")


ADDRESS = st.one_of(
    st.integers(BASE + 0x1000, BASE + SIZE - 1),
    st.integers(STACK - 64, STACK + STACK_SIZE + 64),
    st.integers(0, 2**64 - 1),
)
WORDS = st.lists(ADDRESS, min_size=8, max_size=96)
HEAD = st.tuples(
    st.sampled_from([1, 2, 0x21, 0x22, 0x09, 3, 0x1A]),
    st.integers(0, 40),
    st.integers(0, 24),
    st.integers(0, 255),
)
SLOT = st.tuples(st.integers(0, 40), st.integers(0, 10), st.integers(0, 15))
SLOTS = st.lists(SLOT, min_size=40, max_size=40).map(
    lambda slots: b"".join(bytes([at, op | info << 4]) for at, op, info in slots)
)
INFO = st.builds(lambda head, rest: bytes(head) + rest, HEAD, st.binary(min_size=80, max_size=80) | SLOTS)
ENTRY = st.tuples(
    st.integers(0x1000, 0x1FFF),
    st.integers(1, 0x200),
    st.integers(0, 8).map(lambda number: 0x3000 + 96 * number) | st.integers(0, 0x4100),
)
CODE = st.lists(
    st.sampled_from([
        "58", "5b", "415c", "4883c420", "4881c400010000", "488d6520", "498be3", "c3", "f3c3", "48cf", "9d",
        "e900010000", "ebf0", "ff2500000000", "48ffe0", "e800000000", "ff1500000000", "90",
    ]).map(bytes.fromhex),
    min_size=20, max_size=200,
).map(b"".join)  # fmt: skip


def _world(infos: list[bytes], entries: list[tuple[int, int, int]], code: bytes, words: list[int]) -> Kernel:
    raw = bytearray(SIZE)
    raw[0x1000:0x2000] = (code * (0x1000 // len(code) + 1))[:0x1000]
    for index, (begin, size, info) in enumerate(sorted(entries)):
        struct.pack_into("<III", raw, 0x2000 + 12 * index, begin, begin + size, info)
    for index, info in enumerate(infos):
        raw[0x3000 + 96 * index : 0x3000 + 96 * index + len(info)] = info
    stack = struct.pack(f"<{len(words)}Q", *words)
    memory = Memory(bytes(raw), (stack * (STACK_SIZE // len(stack) + 1))[:STACK_SIZE])
    module = LoadedModule("hostile.sys", "hostile.sys", BASE, SIZE, 0)
    dump = SimpleNamespace(memory=memory, header=SimpleNamespace(build=19041, processors=1))
    kernel = Kernel(cast(Any, dump), (module,), module, cast(Any, None))
    kernel._images[BASE] = Image(
        BASE, SIZE, 0, (Section(".text", 0x1000, 0x1000, True),), (0x2000, 12 * len(entries)), None
    )
    return kernel


@settings(max_examples=250, deadline=None)
@given(
    infos=st.lists(INFO, min_size=1, max_size=8),
    entries=st.lists(ENTRY, min_size=1, max_size=12),
    code=CODE,
    words=WORDS,
    rip=st.integers(BASE + 0x1000, BASE + 0x1FFF) | ADDRESS,
    rsp=st.integers(STACK // 8, (STACK + STACK_SIZE) // 8).map(lambda n: 8 * n) | ADDRESS,
    others=st.dictionaries(st.sampled_from([3, 5, 6, 7, 12, 13, 14, 15]), ADDRESS),
    bounded=st.booleans(),
)  # fmt: skip
def test_a_walk_ends_whatever_it_reads(
    infos: list[bytes], entries: list[tuple[int, int, int]], code: bytes, words: list[int],
    rip: int, rsp: int, others: dict[int, int], bounded: bool,
) -> None:  # fmt: skip
    kernel = _world(infos, entries, code, words)
    first = State(rip, {RSP: rsp, **others}, "context", True)
    bounds = (STACK, STACK + STACK_SIZE) if bounded else None
    states, after = follow(kernel, first, LIMIT, bounds)
    assert 1 <= len(states) <= LIMIT and 0 <= after < 2**64
    memory = cast(Any, kernel.memory)
    assert memory.reads < 2000 * len(states) + 2000, "far more is read than a walk needs"
    # It cannot go round: no stack pointer is met twice, and it leaves a stack at most eight times.
    pointers = [state.rsp for state in states]
    assert len(set(pointers)) == len(pointers)
    assert sum(later < earlier for earlier, later in pairwise(pointers)) <= 8
    for state in states[1:]:
        assert kernel.module_at(state.rip) is not None
        assert all(0 <= value < (2**64 if n < 16 else 2**128) for n, value in state.registers.items())


@settings(max_examples=250, deadline=None)
@given(raw=st.binary(min_size=0, max_size=600))
def test_unwind_data_of_random_bytes(raw: bytes) -> None:
    memory = Memory(raw, b"")
    try:
        info = read_unwind_info(cast(Any, memory), BASE, 0)
    except DumpError:
        return
    assert info.version in (1, 2) and len(info.codes) <= 255 and memory.bytes <= 4 + 2 * 256 + 12
