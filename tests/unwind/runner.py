"""Runs an image of this directory in an emulator and writes down what is true at many places.

Started by the test as a process of its own, in the environment that has the emulator:

    .venv-oracles/bin/python tests/unwind/runner.py IMAGE STOPS SEED > truth

Knows nothing of unwind data. It watches calls and returns, and so has the true history of calls: for every
caller the address and stack pointer to which the callee returns, and the nonvolatile registers, which must be
again then what they are at the call. Interrupts are made up between any two instructions. When a callee
returns, its promises are checked; a broken one ends the runner, because the truth would be none.

Written to the standard output, little endian, one stop after the other:
    rip, 16 integer registers (u64 each), xmm6 to xmm15 (16 bytes each)
    u32 number of callers, innermost first; each:
        u64 interrupted (1) or called (0), rip, rsp, 8 nonvolatile registers, xmm6 to xmm15
    u32 number of pieces of stack; each: u64 address, u32 size, bytes
"""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

from unicorn import UC_ARCH_X86, UC_HOOK_CODE, UC_HOOK_TLB_FILL, UC_MODE_64, Uc, x86_const
from unicorn.unicorn_const import UC_TLB_VIRTUAL

NAMES = ("AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", *range(8, 16))
INTEGERS = [getattr(x86_const, f"UC_X86_REG_R{name}") for name in NAMES]
XMM = [getattr(x86_const, f"UC_X86_REG_XMM{number}") for number in range(6, 16)]
KEPT = [INTEGERS[number] for number in (3, 5, 6, 7, 12, 13, 14, 15)] + XMM
RIP, RSP, EFLAGS = x86_const.UC_X86_REG_RIP, x86_const.UC_X86_REG_RSP, x86_const.UC_X86_REG_EFLAGS
RSP_AND_KEPT = [RSP, *KEPT]

PHYSICAL = (1 << 40) - 1  # where an address is kept: its low bits
STACK, STACK_SIZE = 0xFFFF_F880_0040_0000, 0x40_0000
INTERRUPTS, OTHER, SMALL_SIZE = 0xFFFF_F880_00A0_0000, 0xFFFF_F880_0010_0000, 0x20_0000
MOST_STEPS = 60_000  # of one run
MOST_AT_ONE_PLACE = 6
PAGE = 0x1000


class Image:
    """A PE file as the loader lays it out."""

    def __init__(self, path: Path) -> None:
        raw = path.read_bytes()
        pe = struct.unpack_from("<I", raw, 0x3C)[0]
        count, optional = struct.unpack_from("<H", raw, pe + 6)[0], struct.unpack_from("<H", raw, pe + 20)[0]
        self.entry, self.base = struct.unpack_from("<I4xQ", raw, pe + 24 + 16)
        size, headers = struct.unpack_from("<II", raw, pe + 24 + 56)
        self.bytes = bytearray(-(-size // PAGE) * PAGE)
        self.bytes[:headers] = raw[:headers]
        for index in range(count):
            _, rva, length, at = struct.unpack_from("<IIII", raw, pe + 24 + optional + 40 * index + 8)
            self.bytes[rva : rva + length] = raw[at : at + length]
        self.exports = self._exports(struct.unpack_from("<I", raw, pe + 24 + 112)[0])

    def _exports(self, at: int) -> dict[str, int]:
        count, functions, names, ordinals = struct.unpack_from("<IIII", self.bytes, at + 24)
        found = {}
        for index in range(count):
            name = struct.unpack_from("<I", self.bytes, names + 4 * index)[0]
            ordinal = struct.unpack_from("<H", self.bytes, ordinals + 2 * index)[0]
            text = bytes(self.bytes[name : self.bytes.index(0, name)]).decode()
            found[text] = self.base + struct.unpack_from("<I", self.bytes, functions + 4 * ordinal)[0]
        return found


class Runner:
    def __init__(self, image: Image, seed: int) -> None:
        self.image, self.random = image, random.Random(seed)
        self.finished = image.exports["finished"]
        self.handlers = [
            (a, n.endswith("error")) for n, a in image.exports.items() if n.startswith("interrupt")
        ]
        self.kinds: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.interrupted: set[int] = set()
        self.calls: list[tuple[int, int, int, list[int]]] = []  # interrupted, rip, rsp, kept registers
        self.stops = self.steps = 0
        self.wish: tuple[str, int] | None = None
        self.uc = uc = Uc(UC_ARCH_X86, UC_MODE_64)
        uc.ctl_set_tlb_mode(UC_TLB_VIRTUAL)  # kernel addresses, without page tables
        uc.hook_add(UC_HOOK_TLB_FILL, self._map)
        uc.mem_map(image.base & PHYSICAL, len(image.bytes))
        for start, size in ((STACK, STACK_SIZE), (INTERRUPTS, SMALL_SIZE), (OTHER, SMALL_SIZE)):
            uc.mem_map(start & PHYSICAL, size)
        uc.hook_add(UC_HOOK_CODE, self._step)

    def _map(self, _uc: Uc, address: int, _access: int, entry: object, _data: object) -> bool:
        entry.paddr, entry.perms = address & PHYSICAL & ~(PAGE - 1), 7  # type: ignore[attr-defined]
        return True

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.uc.mem_read(address & PHYSICAL, size))

    def words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}Q", self.read(address, 8 * count))

    def put(self, address: int, *words: int) -> None:
        self.uc.mem_write(address & PHYSICAL, struct.pack(f"<{len(words)}Q", *words))

    # --- one run ------------------------------------------------------------------------------

    def run(self, seed: int) -> None:
        """From the entry point to `finished`, or until it has gone on for long enough."""
        uc = self.uc
        uc.mem_write(self.image.base & PHYSICAL, bytes(self.image.bytes))
        for start, size in ((STACK, STACK_SIZE), (INTERRUPTS, SMALL_SIZE), (OTHER, SMALL_SIZE)):
            uc.mem_write(start & PHYSICAL, bytes(size))
        self.put(self.image.exports["other_stack"], OTHER + SMALL_SIZE - 0x100)
        for register in INTEGERS + XMM:
            uc.reg_write(register, self.random.getrandbits(64 if register in INTEGERS else 128))
        rsp = STACK + STACK_SIZE - 0x108
        uc.reg_write(RSP, rsp)
        uc.reg_write(INTEGERS[1], seed)
        self.put(rsp, 0)
        self.calls, self.steps = [(0, 0, rsp + 8, uc.reg_read_batch(KEPT))], 0
        at = self.image.base + self.image.entry
        while at != self.finished and self.steps < MOST_STEPS:
            self.wish = None
            uc.emu_start(at, self.finished)
            at = uc.reg_read(RIP)
            if self.wish is not None:
                at = self._interrupt(at) if self.wish[0] == "interrupt" else self._return_from_interrupt(at)

    def _step(self, uc: Uc, address: int, size: int, _data: object) -> None:
        """Before each instruction."""
        if self.wish is not None:
            return
        self.steps += 1
        kind = self.kinds.get(address)
        if kind is None:
            kind = self.kinds[address] = self._kind(address, size)
            self.taken[address] = 0
        chance = self.random.random()
        taken = self.taken[address]
        if taken < MOST_AT_ONE_PLACE and chance < (0.5 if taken == 0 else 0.02):  # rare places, too
            self.taken[address] = taken + 1
            self._write_stop(address)
        rarely = 0.6 if kind == 4 else 0.9995 if address in self.interrupted else 0.95
        if (chance > rarely and len(self.calls) < 16 and self._interruptible()) or self.steps > MOST_STEPS:
            self.interrupted.add(address)
            self.wish = ("interrupt", address)
            uc.emu_stop()
        elif kind == 1:  # call
            rsp, *kept = uc.reg_read_batch(RSP_AND_KEPT)
            self.calls.append((0, address + size, rsp, kept))
        elif kind == 2:  # ret
            rsp, *kept = uc.reg_read_batch(RSP_AND_KEPT)
            self._returned(self.words(rsp, 1)[0], rsp + 8, kept)
        elif kind == 3:  # iretq
            self.wish = ("iretq", address)
            uc.emu_stop()

    def _interruptible(self) -> bool:
        """An interrupt may be interrupted, but only once: most stops should be something else."""
        return sum(interrupted for interrupted, _, _, _ in self.calls) < 2

    def _kind(self, address: int, size: int) -> int:
        code = self.read(address, size)
        while code[0] in (0xF2, 0xF3) or code[0] & 0xF0 == 0x40:
            code = code[1:]
        if code[0] == 0xE8 or (code[0] == 0xFF and code[1] >> 3 & 7 == 2):
            return 1
        if code[0] in (0xC3, 0xC2):
            return 2
        if (code[0] == 0x8B and code[1] & 0xF8 == 0xE0) or (code[0] == 0x89 and code[1] & 0xC7 == 0xC4):
            return 4  # mov rsp, reg
        return 3 if code[0] == 0xCF else 0

    def _returned(self, rip: int, rsp: int, kept: list[int]) -> None:
        _, true_rip, true_rsp, true_kept = self.calls.pop()
        if (rip, rsp, kept) != (true_rip, true_rsp, true_kept):
            raise SystemExit(
                f"returned to {rip:#x} with {rsp:#x} {kept}, not {true_rip:#x} {true_rsp:#x} {true_kept}"
            )

    def _interrupt(self, rip: int) -> int:
        """Push a machine frame as the processor does; where the handler begins."""
        if self.steps >= MOST_STEPS:
            return self.finished
        uc = self.uc
        rsp, *kept = uc.reg_read_batch(RSP_AND_KEPT)
        self.calls.append((1, rip, rsp, kept))
        elsewhere = self.random.random() < 0.3 and all(
            not _on(rsp, INTERRUPTS) for _, _, rsp, _ in self.calls
        )
        top = INTERRUPTS + SMALL_SIZE - 0x200 if elsewhere else rsp
        top = (top & ~15) - 40
        self.put(top, rip, 0x10, uc.reg_read(EFLAGS), rsp, 0x18)
        handler, error = self.random.choice(self.handlers)
        if error:
            top -= 8
            self.put(top, 0)
        uc.reg_write(RSP, top)
        return handler

    def _return_from_interrupt(self, at: int) -> int:
        uc = self.uc
        frame, *kept = uc.reg_read_batch(RSP_AND_KEPT)
        rip, _, flags, rsp, _ = self.words(frame, 5)
        self._returned(rip, rsp, kept)
        uc.reg_write(EFLAGS, flags)
        uc.reg_write(RSP, rsp)
        return rip

    # --- truth --------------------------------------------------------------------------------

    def _write_stop(self, rip: int) -> None:
        self.stops += 1
        registers = self.uc.reg_read_batch(INTEGERS + XMM)
        parts = [struct.pack("<17Q", rip, *registers[:16]), _wide(registers[16:])]
        parts.append(struct.pack("<I", len(self.calls)))
        for interrupted, back, rsp, kept in reversed(self.calls):
            parts.append(struct.pack("<11Q", interrupted, back, rsp, *kept[:8]))
            parts.append(_wide(kept[8:]))
        pointers = [registers[4], *(rsp for _, _, rsp, _ in self.calls)]
        pieces = []
        for start, size in ((STACK, STACK_SIZE), (INTERRUPTS, SMALL_SIZE), (OTHER, SMALL_SIZE)):
            here = [rsp for rsp in pointers if start <= rsp < start + size]
            if here:  # on a stack that was left, the frame that left it is still below the caller's pointer
                low = min(here) if registers[4] in here else min(here) - 0x400
                pieces += self._pieces(low & ~7, start + size)
        parts.append(struct.pack("<I", len(pieces)))
        for address, data in pieces:
            parts += [struct.pack("<QI", address, len(data)), data]
        sys.stdout.buffer.write(b"".join(parts))

    def _pieces(self, low: int, end: int) -> list[tuple[int, bytes]]:
        """The stack from `low` on, without pages of zeros."""
        data = self.read(low, end - low)
        found = []
        at = 0
        while at < len(data):
            size = PAGE - (low + at) % PAGE
            piece = data[at : at + size]
            if piece.strip(b"\0"):
                found.append((low + at, piece))
            at += size
        return found


def _on(rsp: int, stack: int) -> bool:
    return stack <= rsp < stack + SMALL_SIZE


def _wide(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(16, "little") for value in values)


def main() -> None:
    image, wanted, seed = Image(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    runner = Runner(image, seed)
    for number in range(2000):
        if runner.stops >= wanted:
            break
        runner.run(seed * 10_007 + number)


if __name__ == "__main__":
    main()
