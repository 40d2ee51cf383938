"""A small reader of its own for the tests of the dump writer: offsets as public descriptions give them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

GPR = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))

# RVAs of the three kernels, and offsets that differ between 7601 and the 10 family
RVA = {
    7601: {"list": 0x239C90, "traces": 0x54A118, "index": 0x54A150, "length": 0x54A040, "data": 0x23A0E0},
    17763: {"list": 0x41A8D0, "traces": 0x985C00, "index": 0x985E6C, "length": 0x97F030, "data": 0x41A8E0},
    20348: {"list": 0xC339D0, "traces": 0xD64618, "index": 0xD64798, "length": 0xD5B02C, "data": 0xC34100},
}
SUSPECTS = {7601: 0x21A230, 17763: 0x40D640, 20348: 0xC254E0}
ENTER = {7601: 0x507190, 17763: 0x939990, 20348: 0xA562C0}
LEAVE = {7601: 0x510210, 17763: 0x939C10, 20348: 0xA56350}
BUGCHECK = {7601: 0x93EA0, 17763: 0x1B9D10, 20348: 0x41FD30}
SYSTEM_THREAD_START = {7601: 0x99EB0, 17763: 0x1C2B10, 20348: 0x424E30}
IOV_CALL_DRIVER = {7601: 0x5167F0, 17763: 0x923CD4, 20348: 0xA571F4}
KERNEL_PDB = {
    7601: "339E74133576439CBCDF7E0229DA3773",
    17763: "1806D020A6E46538D7AC3325FAC114D8",
    20348: "879AD95F3461091BB6318FA98072AD8E",
}
APC_DISABLE = {7601: 0x1C4, 17763: 0x1E4, 20348: 0x1E4}
STACK_BASE = {7601: 0x278, 17763: 0x38, 20348: 0x38}
KERNEL_STACK = {7601: 0x38, 17763: 0x58, 20348: 0x58}
WIN32_START = {7601: 0x418, 17763: 0x690, 20348: 0x520}
CID = {7601: 0x3B8, 17763: 0x638, 20348: 0x4C8}
PROCESS = {7601: 0x210, 17763: 0x220, 20348: 0x220}
PROCESS_ID = {7601: 0x180, 17763: 0x2E0, 20348: 0x440}
PROCESS_NAME = {7601: 0x2E0, 17763: 0x450, 20348: 0x5A8}
THREAD_HEAD = {7601: 0x308, 17763: 0x488, 20348: 0x5E0}
THREAD_LINK = {7601: 0x428, 17763: 0x6A8, 20348: 0x538}
PRCB_CONTEXT = {7601: 0x53E0, 17763: 0x62C0, 20348: 0x8980}
FLT_OBJECT = {7601: 0x20, 17763: 0x30, 20348: 0x30}


class Absent(Exception):
    """Not mapped, or mapped and not in the file."""


@dataclass(frozen=True)
class Image:
    base: int
    size: int
    name: str
    full_name: str


@dataclass(frozen=True)
class Unwound:
    """One frame: its child-SP, where it runs, and the nonvolatile registers there."""

    sp: int
    ip: int
    registers: dict[str, int]


class Dump:
    """A dump that has pages (any type but 4), whole in memory.

    `above` is (48,) where page tables have five levels.
    """

    above: tuple[int, ...] = ()

    def __init__(self, path: Path) -> None:
        self.bytes = path.read_bytes()
        self.kind = self.header32(0xF98)
        self.frames: dict[int, int] = {}
        self.first = self.count = self.bits = 0
        if self.kind == 1:
            self._runs()
        elif self.kind in (8, 9, 10):
            self._ranges()
        else:
            self._bitmap()
        self.build = self.header32(0xC)

    def _bitmap(self) -> None:
        if self.kind == 2:
            _, _, _, first, bits, self.count, again = struct.unpack_from("<4s4s5I", self.bytes, 0x2000)
            assert again == bits
            start = 0x2028
        else:
            assert self.bytes[0x2000:0x2008] == (b"FDMPDUMP" if self.kind == 5 else b"SDMPDUMP")
            first, self.count, bits = struct.unpack_from("<3Q", self.bytes, 0x2020)
            start = 0x2038
        self.first, self.bits = first, bits
        for position, byte in enumerate(self.bytes[start : start + (bits + 7) // 8]):
            for bit in range(8) if byte else ():
                if byte >> bit & 1:
                    self.frames[position * 8 + bit] = first + 0x1000 * len(self.frames)

    def _runs(self) -> None:
        self.first, self.count = 0x2000, self.header64(0x90)
        for number in range(self.header32(0x88)):
            start, count = struct.unpack_from("<QQ", self.bytes, 0x98 + 16 * number)
            for frame in range(start, start + count):
                assert frame not in self.frames
                self.frames[frame] = 0x2000 + 0x1000 * len(self.frames)

    def _ranges(self) -> None:
        marker, mark, _, size, self.first = struct.unpack_from("<I8sIQQ", self.bytes, 0x2000)
        assert (marker, mark, size - 0x20) == (0x40, b"RDMPDUMP", self.first - 0x2040)
        for start, count in struct.iter_unpack("<QQ", self.bytes[0x2030 : self.first]):
            for frame in range(start, start + count) if start else ():
                self.frames[frame] = self.first + 0x1000 * len(self.frames)
        self.count = self.header64(0x2028) if self.kind == 10 else len(self.frames)

    def header32(self, offset: int) -> int:
        return int(struct.unpack_from("<I", self.bytes, offset)[0])

    def header64(self, offset: int) -> int:
        return int(struct.unpack_from("<Q", self.bytes, offset)[0])

    def physical(self, address: int) -> int:
        """Offset in the file of a physical address."""
        if address >> 12 not in self.frames:
            raise Absent(hex(address))
        return self.frames[address >> 12] + (address & 0xFFF)

    def translate(self, address: int) -> int:
        table = self.header64(0x10) & 0xFFFFFFFFFF000
        for shift in (*self.above, 39, 30, 21, 12):
            (entry,) = struct.unpack_from(
                "<Q", self.bytes, self.physical(table) + (address >> shift & 0x1FF) * 8
            )
            if not entry & 1:
                raise Absent(hex(address))
            table = entry & 0xFFFFFFFFFF000
            if shift in (30, 21) and entry & 0x80:
                break
        return table & -(1 << shift) | address & (1 << shift) - 1

    def read(self, address: int, size: int) -> bytes:
        out = b""
        while len(out) < size:
            at = self.physical(self.translate(address + len(out)))
            out += self.bytes[at : at + min(size - len(out), 0x1000 - (address + len(out) & 0xFFF))]
        return out

    def u16(self, address: int) -> int:
        return int.from_bytes(self.read(address, 2), "little")

    def u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def u64(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), "little")

    def text(self, address: int) -> str:
        return self.read(self.u64(address + 8), self.u16(address)).decode("utf-16-le")

    def list(self, head: int, link: int = 0) -> Iterator[int]:
        """Addresses of the structures on a list; both directions must agree."""
        previous, at = head, self.u64(head)
        while at != head:
            assert self.u64(at + 8) == previous
            yield at - link
            previous, at = at, self.u64(at)
        assert self.u64(head + 8) == previous

    @cached_property
    def images(self) -> list[Image]:
        return [
            Image(self.u64(e + 0x30), self.u32(e + 0x40), self.text(e + 0x58), self.text(e + 0x48))
            for e in self.list(self.header64(0x20))
        ]

    @cached_property
    def nt(self) -> int:
        return self.images[0].base

    def image_at(self, address: int) -> Image | None:
        return next((i for i in self.images if i.base <= address < i.base + i.size), None)

    def codeview(self, base: int) -> tuple[str, int, str]:
        """GUID as symbol paths have it, age and PDB name."""
        rva = self.u32(self._optional(base) + 112 + 6 * 8)
        assert self.u32(base + rva + 12) == 2
        at = base + self.u32(base + rva + 20)
        raw = self.read(at, self.u32(base + rva + 16))
        assert raw[:4] == b"RSDS" and raw[-1] == 0
        a, b, c = struct.unpack_from("<IHH", raw, 4)
        guid = f"{a:08X}{b:04X}{c:04X}{raw[12:20].hex().upper()}"
        return guid, struct.unpack_from("<I", raw, 20)[0], raw[24:-1].decode()

    def _optional(self, base: int) -> int:
        at = base + self.u32(base + 0x3C)
        assert self.read(base, 2) == b"MZ" and self.read(at, 4) == b"PE\0\0"
        return at + 24

    def runtime_function(self, address: int) -> tuple[int, int, int, int] | None:
        """Base, begin, end and unwind data of the function at `address`."""
        image = self.image_at(address)
        if image is None:
            return None
        directory = self._optional(image.base) + 112 + 3 * 8
        table = self.read(image.base + self.u32(directory), self.u32(directory + 4))
        for begin, end, data in struct.iter_unpack("<III", table):
            if begin <= address - image.base < end:
                return image.base, begin, end, data
        return None

    def registers(self) -> dict[str, int]:
        names = dict(zip(GPR, struct.unpack_from("<16Q", self.bytes, 0x348 + 0x78), strict=True))
        return {**names, "rip": self.header64(0x348 + 0xF8)}

    def unwind(self) -> list[Unwound]:
        """The stack of the crashing processor, until the return address 0."""
        now = self.registers()
        found = [Unwound(now["rsp"], now["rip"], dict(now))]
        while now["rip"] and len(found) < 50:
            self._step(now, innermost=len(found) == 1)
            if now["rip"]:
                found.append(Unwound(now["rsp"], now["rip"], dict(now)))
        return found

    def _step(self, now: dict[str, int], *, innermost: bool) -> None:
        entry = self.runtime_function(now["rip"] - (not innermost)) or self.runtime_function(now["rip"])
        interrupted = False
        if entry is not None:
            base, begin, _, data = entry
            interrupted = self._undo(now, base + data, now["rip"] - base - begin)
        if not interrupted:
            now["rip"] = self.u64(now["rsp"])
            now["rsp"] += 8

    def _undo(self, now: dict[str, int], info: int, offset: int) -> bool:
        version, _, count, frame = self.read(info, 4)
        codes = self.read(info + 4, 2 * count)
        if frame:
            established = any(codes[i + 1] & 15 == 3 and codes[i] <= offset for i in range(0, len(codes), 2))
            if established:
                now["rsp"] = now[GPR[frame & 15]] - (frame >> 4) * 16
        frame_base = now["rsp"]
        at, interrupted = 0, False
        while at < len(codes):
            where, op, value = codes[at], codes[at + 1] & 15, codes[at + 1] >> 4
            (next_word,) = struct.unpack_from("<H", codes + b"\0\0", at + 2)
            at += {1: 4, 4: 4}.get(op, 2)
            if op == 10 and value and where <= offset:
                now["rsp"] += 8  # an error code
            if where > offset:
                continue
            if op == 0:
                now[GPR[value]] = self.u64(now["rsp"])
                now["rsp"] += 8
            elif op == 1:
                now["rsp"] += next_word * 8
            elif op == 2:
                now["rsp"] += value * 8 + 8
            elif op == 4:
                now[GPR[value]] = self.u64(frame_base + next_word * 8)
            elif op == 10:
                now["rip"], now["rsp"] = self.u64(now["rsp"]), self.u64(now["rsp"] + 24)
                interrupted = True
            else:
                assert op == 3, f"unwind operation {op}"
        if version >> 3 == 4:
            parent = info + 4 + 2 * (count + count % 2)
            data = self.u32(parent + 8)
            image = self.image_at(info)
            assert image is not None
            return self._undo(now, image.base + data, 0xFFFFFFFF)
        return interrupted

    def calls_before(self, address: int) -> bool:
        """Whether the bytes before a return address are a call: relative, or any form of FF /2."""
        code = self.read(address - 7, 7)
        if code[2] == 0xE8:
            return True
        return any(
            code[7 - size] == 0xFF and code[8 - size] >> 3 & 7 == 2 and size == 2 + _operand(code[8 - size :])
            for size in (2, 3, 4, 6, 7)
        )

    def keeps(self, frame: Unwound, offset: int, value: int) -> list[int]:
        """What the nonvolatile registers of `frame` point to that has `value` at `offset`."""
        found = []
        for name in ("rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15"):
            try:
                if self.u64(frame.registers[name] + offset) == value:
                    found.append(frame.registers[name])
            except Absent:
                continue
        return found


def _operand(code: bytes) -> int:
    """Bytes behind the ModRM byte of a call that `code` begins with."""
    mode, low = code[0] >> 6, code[0] & 7
    if mode == 3:
        return 0
    sib = int(low == 4)
    if mode == 0:
        return sib + 4 * (low == 5)
    return sib + (1 if mode == 1 else 4)
