"""LZX, the strongest compression of Microsoft cabinets (the format is in [MS-PATCH] and Microsoft's CAB SDK).

One frame of at most 32 KiB at a time; the window, the trees and the last three match distances live on.
"""

from __future__ import annotations

import struct

from lab.model import ConfigurationError

_FRAME = 1 << 15
_SLOTS = {15: 30, 16: 32, 17: 34, 18: 36, 19: 38, 20: 42, 21: 50}
"""Position slots by the number of bits of the window's size."""
_EXTRA = [0, 0, *(min(slot // 2 - 1, 17) for slot in range(2, 50))]
_BASE = [sum(1 << bits for bits in _EXTRA[:slot]) for slot in range(50)]
_VERBATIM, _ALIGNED, _UNCOMPRESSED = 1, 2, 3
_WORDS = struct.Struct("<3H")
_CALL = 0xE8  # x86 calls are stored with absolute addresses, which repeat more often


class _Bad(Exception):
    pass


class _Bits:
    """Bits of little-endian 16-bit words, the highest one first, over the blocks of a folder in turn."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._bits = 0
        self._count = 0

    def feed(self, data: bytes) -> None:
        self._data, self._at = self._data[self._at :] + data, 0

    def take(self, count: int) -> int:
        """The next bits (up to 17); zeros behind the end, until `align` finds that it was passed."""
        while self._count < count:
            self._refill()
        self._count -= count
        value = self._bits >> self._count
        self._bits &= (1 << self._count) - 1
        return value

    def symbol(self, tree: _Tree) -> int:
        while self._count < 16:
            self._refill()
        entry = tree.table[self._bits >> self._count - tree.bits]
        if not entry:
            raise _Bad("there is a code that its tree does not have")
        self._count -= entry & 31
        self._bits &= (1 << self._count) - 1
        return entry >> 5

    def _refill(self) -> None:
        """Three words at a time. The last ones may be missing."""
        found = self._data[self._at : self._at + 6].ljust(6, b"\0")
        first, second, third = _WORDS.unpack(found)
        self._bits = self._bits << 48 | first << 32 | second << 16 | third
        self._at += 6
        self._count += 48

    def align(self) -> None:
        """To the next word; whole words that were not used are given back."""
        self._at -= self._count // 16 * 2
        self._bits = self._count = 0
        if self._at > len(self._data):
            raise _Bad("the data ends too early")

    def bytes(self, count: int) -> bytes:
        """Whole bytes; only after `align`."""
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise _Bad("the data ends too early")
        self._at += count
        return found


class _Tree:
    """A canonical Huffman tree: a table of (symbol << 5 | length of its code), 0 where no code leads."""

    def __init__(self, lengths: bytes | bytearray) -> None:
        self.bits = max(max(lengths), 1)
        table: list[int] = []
        for symbol in sorted((s for s, length in enumerate(lengths) if length), key=lengths.__getitem__):
            length = lengths[symbol]
            table += [symbol << 5 | length] * (1 << self.bits - length)
        if len(table) > 1 << self.bits:
            raise _Bad("a tree has too many codes")
        self.table = table + [0] * ((1 << self.bits) - len(table))


class Lzx:
    """Decompresses one folder. `window_bits` is 15 to 21. ConfigurationError for any other."""

    def __init__(self, window_bits: int) -> None:
        if window_bits not in _SLOTS:
            raise ConfigurationError(f"an LZX window of 2^{window_bits} bytes is not possible")
        self._window = 1 << window_bits
        self._output = bytearray()  # the window, and the frame that is being made
        self._main = bytearray(256 + 8 * _SLOTS[window_bits])  # code lengths
        self._length = bytearray(249)
        self._trees: tuple[_Tree, _Tree, _Tree] | None = None
        self._recent = [1, 1, 1]
        self._bits = _Bits()
        self._kind = 0
        self._left = 0  # bytes of the block that are still to be made
        self._odd = False  # an uncompressed block of odd length is followed by a byte of padding
        self._made = 0
        self._ahead = 0  # bytes of the next frame: some compressors let a match lead into it
        self._call_size = -1  # size of the file that calls were translated for, 0 when they were not

    def frame(self, data: bytes, size: int) -> bytes:
        """The next `size` bytes (at most 32 KiB) from one block of the cabinet. ConfigurationError."""
        if not 0 < size <= _FRAME:
            raise ConfigurationError(f"an LZX frame of {size} bytes is not possible")
        try:
            return self._frame(data, size)
        except _Bad as error:
            raise ConfigurationError(f"its LZX data is damaged: {error}") from None

    def _frame(self, data: bytes, size: int) -> bytes:
        bits = self._bits
        bits.feed(data)
        if self._call_size < 0:
            self._call_size = bits.take(16) << 16 | bits.take(16) if bits.take(1) else 0
        start = len(self._output) - self._ahead
        end = start + size
        while len(self._output) < end:
            if not self._left:
                self._block()
            count = min(self._left, end - len(self._output))
            before = len(self._output)
            if self._kind == _UNCOMPRESSED:
                self._output += bits.bytes(count)
            else:
                self._decode(before + count)
            self._left -= len(self._output) - before
            if self._left < 0:
                raise _Bad("a match leads over the end of its block")
        if self._kind != _UNCOMPRESSED:
            bits.align()
        frame = bytes(self._output[start:end])
        self._ahead = len(self._output) - end
        del self._output[: -self._window - self._ahead]
        frame = self._untranslate(frame) if self._call_size else frame
        self._made += size
        return frame

    def _block(self) -> None:
        """The head of a block: kind, size, trees."""
        bits = self._bits
        if self._odd:
            bits.bytes(1)
        self._kind = bits.take(3)
        self._left = bits.take(16) << 8 | bits.take(8)
        self._odd = False
        if self._kind == _UNCOMPRESSED:
            bits.take(1)  # one to sixteen bits, up to the next word
            bits.align()
            packed = bits.bytes(12)
            self._recent = [int.from_bytes(packed[i : i + 4], "little") for i in (0, 4, 8)]
            self._odd = bool(self._left & 1)
        elif self._kind in (_VERBATIM, _ALIGNED):
            low = bytes(bits.take(3) for _ in range(8)) if self._kind == _ALIGNED else bytes(8)
            self._read_lengths(self._main, 0, 256)
            self._read_lengths(self._main, 256, len(self._main))
            self._read_lengths(self._length, 0, len(self._length))
            self._trees = _Tree(self._main), _Tree(self._length), _Tree(low)
        else:
            raise _Bad(f"there is a block of kind {self._kind}")
        if not self._left:
            raise _Bad("there is an empty block")

    def _read_lengths(self, lengths: bytearray, at: int, end: int) -> None:
        """Code lengths, stored as differences to those of the block before."""
        bits = self._bits
        tree = _Tree(bytes(bits.take(4) for _ in range(20)))
        while at < end:
            code = bits.symbol(tree)
            if code == 17:
                run, value = 4 + bits.take(4), 0
            elif code == 18:
                run, value = 20 + bits.take(5), 0
            elif code == 19:
                run = 4 + bits.take(1)
                value = (lengths[at] - bits.symbol(tree)) % 17
            else:
                run, value = 1, (lengths[at] - code) % 17
            run = min(run, end - at)
            lengths[at : at + run] = bytes((value,)) * run
            at += run

    def _decode(self, end: int) -> None:
        """Literals and matches up to `end` bytes of output, or further by a part of the last match."""
        assert self._trees is not None
        main, length_tree, low = self._trees
        output, bits, recent, aligned = self._output, self._bits, self._recent, self._kind == _ALIGNED
        symbol_of, take = bits.symbol, bits.take
        while len(output) < end:
            symbol = symbol_of(main)
            if symbol < 256:
                output.append(symbol)
                continue
            slot, length = symbol - 256 >> 3, (symbol & 7) + 2
            if length == 9:
                length += symbol_of(length_tree)
            if slot < 3:
                distance = recent[slot]
                recent[slot], recent[0] = recent[0], distance
            else:
                extra = _EXTRA[slot]
                distance = _BASE[slot] - 2
                if aligned and extra >= 3:
                    distance += (take(extra - 3) << 3) + symbol_of(low)
                else:
                    distance += take(extra)
                recent[:] = distance, recent[0], recent[1]
            at = len(output) - distance
            if at < 0 or distance > self._window or distance < 1:
                raise _Bad("a match leads before the beginning")
            if distance >= length:
                output += output[at : at + length]
            else:
                part = bytes(output[at:])
                output += (part * (length // distance + 1))[:length]

    def _untranslate(self, frame: bytes) -> bytes:
        """x86 calls back to relative addresses: not in the last ten bytes, only in the first 32768 frames."""
        if self._made >= _FRAME << 15 or len(frame) <= 10:
            return frame
        found = bytearray(frame)
        at = found.find(_CALL, 0, len(frame) - 10)
        while at >= 0:
            position = self._made + at
            target = int.from_bytes(found[at + 1 : at + 5], "little", signed=True)
            if -position <= target < self._call_size:
                relative = target - position if target >= 0 else target + self._call_size
                found[at + 1 : at + 5] = (relative & 0xFFFF_FFFF).to_bytes(4, "little")
            at = found.find(_CALL, at + 5, len(frame) - 10)
        return bytes(found)
