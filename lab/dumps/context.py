"""CONTEXT: the registers of an x64 processor as Windows saves them (0x4D0 bytes, the same in every build)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.model import DumpError

CONTEXT_SIZE = 0x4D0

INTEGER_REGISTERS = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
"""In the order of their numbers in instructions, unwind codes and CONTEXT."""


@dataclass(frozen=True)
class Context:
    """Registers at one moment. `plausible` is False when the record contradicts itself."""

    rip: int
    integers: tuple[int, ...]  # sixteen values, as INTEGER_REGISTERS
    eflags: int
    cs: int
    ss: int
    flags: int  # ContextFlags
    plausible: bool

    @property
    def rsp(self) -> int:
        return self.integers[4]

    @property
    def named(self) -> tuple[tuple[str, int], ...]:
        """The integer registers and rip, each with its name."""
        return (*zip(INTEGER_REGISTERS, self.integers, strict=True), ("rip", self.rip))

    def register(self, name: str) -> int:
        """Value of "rax" ... "r15" or "rip"."""
        return self.rip if name == "rip" else self.integers[INTEGER_REGISTERS.index(name)]


def parse_context(data: bytes) -> Context:
    """The CONTEXT at the start of `data`. DumpError when it is too short or was never written."""
    if len(data) < 0x200:
        raise DumpError("the processor context is not whole in the dump")
    if data[0xF8:0x100] == b"PAGEPAGE":
        raise DumpError("the dump holds no processor context: the field was never written")
    flags, mxcsr = struct.unpack_from("<II", data, 0x30)
    cs, ss, eflags = struct.unpack_from("<H8xHI", data, 0x38)
    integers = struct.unpack_from("<16Q", data, 0x78)
    (rip,) = struct.unpack_from("<Q", data, 0xF8)
    # MxCsr is stored twice, here and in FltSave: a cheap test that this is a CONTEXT at all.
    (again,) = struct.unpack_from("<I", data, 0x118)
    return Context(rip, integers, eflags, cs, ss, flags, mxcsr == again)
