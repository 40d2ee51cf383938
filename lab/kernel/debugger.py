"""KDDEBUGGER_DATA64: where the kernel itself says that its lists, variables and fields are.

Offsets within the block are the same in every x64 build (the debugger's own wdbgexts.h). A kernel since
Windows 8 keeps the block encoded while it runs and decodes it when it stops; a dump made from outside, by a
hypervisor for instance, holds it encoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.dumps.memory import KERNEL_SPACE, Memory, u64
from lab.model import DumpError

TAG = b"KDBG"
SMALLEST, LARGEST = 0x2B0, 0x1000
_HEAD = 0x18  # LIST_ENTRY64, OwnerTag, Size
_SIZE = 0x400  # more than any known block has
_MASK = 0xFFFF_FFFF_FFFF_FFFF

VARIABLES = {
    "PsLoadedModuleList": 0x48,
    "PsActiveProcessHead": 0x50,
    "PspCidTable": 0x58,
    "KiBugCheckData": 0x88,
    "MmPfnDatabase": 0xC0,
    "MmSystemRangeStart": 0x1D0,
    "KiProcessorBlock": 0x218,
    "MmUnloadedDrivers": 0x220,
    "MmLastUnloadedDriver": 0x228,
    "KernelVerifier": 0x240,
    "MmVerifierData": 0x248,
}
"""Kernel variable -> offset of the u64 that holds its address."""

FIELDS = {
    ("_KTHREAD", "Teb"): 0x29A,
    ("_KTHREAD", "KernelStack"): 0x29C,
    ("_KTHREAD", "InitialStack"): 0x29E,
    ("_KTHREAD", "State"): 0x2A2,
    ("_EPROCESS", "Peb"): 0x2AA,
    ("_KPROCESS", "DirectoryTableBase"): 0x2AE,
    ("_KPRCB", "CurrentThread"): 0x2B4,
    ("_KPRCB", "Number"): 0x2BE,
    ("_KPRCB", "ProcessorState"): 0x2F2,  # its SpecialRegisters, which come first
    ("_KPRCB", "Context"): 0x338,
}
"""Field -> offset of the u16 that holds its offset in its structure."""

SIZES = {"_EPROCESS": 0x2A8, "_KPRCB": 0x2B0, "_ETHREAD": 0x2C0}
"""Structure -> offset of the u16 that holds its size."""


@dataclass(frozen=True)
class DebuggerData:
    """The block in clear. `encoded` says that the dump held it encoded."""

    address: int
    raw: bytes = field(repr=False)
    encoded: bool = False

    @property
    def source(self) -> str:
        return "KDDEBUGGER_DATA64, decoded" if self.encoded else "KDDEBUGGER_DATA64"

    @property
    def kernel_base(self) -> int:
        """Where the kernel is loaded, 0 when the block does not say."""
        return self._u64(0x18)

    def variable(self, name: str) -> int | None:
        """Address of a kernel variable; None when the block has no such field or it is empty."""
        at = VARIABLES.get(name)
        address = self._u64(at) if at is not None else 0
        return address if address >= KERNEL_SPACE else None

    def offset(self, type_name: str, field: str) -> int | None:
        """Offset of a field that debuggers need; None when the block does not tell."""
        at = FIELDS.get((type_name, field))
        return (self._u16(at) or None) if at is not None else None

    def size(self, type_name: str) -> int | None:
        """Size in bytes of a structure that debuggers need; None when the block does not tell."""
        at = SIZES.get(type_name)
        return (self._u16(at) or None) if at is not None else None

    @property
    def context_frame(self) -> int | None:
        """Offset in KPRCB of ProcessorState.ContextFrame."""
        return self._u16(0x2BC) or None

    def _u64(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.raw, at)[0]) if at + 8 <= len(self.raw) else 0

    def _u16(self, at: int) -> int:
        return int(struct.unpack_from("<H", self.raw, at)[0]) if at + 2 <= len(self.raw) else 0


def read_debugger_data(
    memory: Memory, address: int, names: Callable[[str], int | None] = lambda _: None
) -> DebuggerData:
    """The block at `address`; `names` gives addresses of kernel symbols, which decoding takes.

    DumpError when there is none, or when it is encoded and its keys are not to be had.
    """
    if address < KERNEL_SPACE:
        raise DumpError(f"there is no debugger data block at {address:#x}: that is no address of a kernel")
    head = memory.read(address, _HEAD)
    if head[0x10:0x14] == TAG:
        return DebuggerData(address, _body(memory, address, head))
    keys = _keys(memory, names)
    if keys is None:
        raise DumpError(
            f"there is no debugger data block at {address:#x}, or it is encoded and its keys are not known"
        )
    plain = decode(head, *keys)
    if plain[0x10:0x14] != TAG:
        raise DumpError(f"there is no debugger data block at {address:#x}, neither in clear nor encoded")
    size = _size(plain)
    return DebuggerData(address, decode(_longest(memory, address, size), *keys)[:size], encoded=True)


def _body(memory: Memory, address: int, head: bytes) -> bytes:
    size = _size(head)
    return _longest(memory, address, size)[:size]


def _size(head: bytes) -> int:
    (size,) = struct.unpack_from("<I", head, 0x14)
    if not SMALLEST <= size <= LARGEST:
        raise DumpError(f"the debugger data block is damaged: its size is {size:#x}")
    return min(int(size), _SIZE)


def _longest(memory: Memory, address: int, size: int) -> bytes:
    """The block, whole words; a page that is missing behind its beginning cuts it."""
    size = size + 7 & ~7
    try:
        return memory.read(address, size)
    except DumpError:
        inside = 0x1000 - (address & 0xFFF)
        return memory.read(address, min(size, inside)) if inside >= SMALLEST else memory.read(address, _HEAD)


def _keys(memory: Memory, names: Callable[[str], int | None]) -> tuple[int, int, int] | None:
    """(KiWaitNever, KiWaitAlways, address of KdpDataBlockEncoded)."""
    never, always, encoded = (
        names(f"nt!{n}") for n in ("KiWaitNever", "KiWaitAlways", "KdpDataBlockEncoded")
    )
    if never is None or always is None or encoded is None:
        return None
    try:
        return u64(memory, never), u64(memory, always), encoded
    except DumpError:
        return None


def decode(data: bytes, never: int, always: int, encoded: int) -> bytes:
    """Encoded words in clear: as KdDecodeDataBlock does, word by word."""
    turn = never & 0x3F
    words = []
    for (word,) in struct.iter_unpack("<Q", data[: len(data) & ~7]):
        word ^= never
        word = (word << turn | word >> 64 - turn) & _MASK
        word ^= encoded
        words.append(int.from_bytes(word.to_bytes(8, "little"), "big") ^ always)
    return struct.pack(f"<{len(words)}Q", *words)
