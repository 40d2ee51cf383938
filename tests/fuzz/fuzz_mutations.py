"""Damaging a file where its reader looks: one mutator for all formats.

A seed is read once through a recording source. What was read is scanned for words that mean something:
addresses, page-table entries, counts, offsets into the file. Mutations put values there that a damaged or
hostile file would hold, which plain noise over a megabyte of zeros would almost never do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from random import Random

PAGE = 0x1000
_KERNEL = 0xFFFF_8000_0000_0000
_ODD_64 = (
    *(0, 1, 7, 8, 0x1000, 0xFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, 1 << 40, 1 << 47, 1 << 52),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 8, _KERNEL, 0x4547_4150_4547_4150),
)
_ODD_32 = (0, 1, 2, 0xFF, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF8, 0xFFFF_FFFF, 0x4547_4150)
_ODD_16 = (0, 1, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
_ENTRY_BITS = (1 << 0, 1 << 7, 1 << 10, 1 << 11, 1 << 12, 1 << 51, 1 << 63)


class Recording:
    """Bytes that remember which of them were read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.ranges: set[tuple[int, int]] = set()

    def read(self, offset: int, size: int) -> bytes:
        if offset < 0 or size <= 0:
            return b""
        found = self._data[offset : offset + size]
        if found:
            self.ranges.add((offset, offset + len(found)))
        return found

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Seed:
    """A file to start from, and the parts of it that its reader read."""

    name: str
    data: bytes
    ranges: tuple[tuple[int, int], ...]

    @cached_property
    def words(self) -> Words:
        return _words(self)


@dataclass(frozen=True)
class Words:
    """Offsets in the file, by what the word there looks like. Every list may be empty."""

    addresses: tuple[int, ...]  # 8 bytes: kernel addresses
    entries: tuple[int, ...]  # 8 bytes: page-table entries
    numbers: tuple[int, ...]  # 4 bytes: counts, lengths, offsets
    halves: tuple[int, ...]  # 2 bytes
    bytes: tuple[int, ...]  # that are not zero
    values: tuple[int, ...]  # distinct addresses


def _words(seed: Seed) -> Words:
    addresses, entries, numbers, halves, singles = [], [], [], [], []
    values: dict[int, None] = {}
    for start, end in _merged(seed.ranges):
        first = -(-start // 8) * 8
        body = seed.data[first : first + max(0, end - first) // 8 * 8]
        for index, (word,) in enumerate(struct.iter_unpack("<Q", body)):
            if not word:
                continue
            at = first + 8 * index
            if word >= _KERNEL and word < 0xFFFF_FFFF_F000_0000:
                addresses.append(at)
                values[word] = None
            elif word & 1 and not word & 0x7FF0_0000_0000_0000 and 0 < word >> 12 & 0xFFFFFFFFFF < 1 << 24:
                entries.append(at)
            for half in (at, at + 4):
                number = word >> 8 * (half - at) & 0xFFFF_FFFF
                if 0 < number < 1 << 24:
                    numbers.append(half)
            halves.append(at + 2 * (index % 4))
            singles.append(at + index % 8)
        singles += [at for at in (start, end - 1) if seed.data[at]]
    return Words(
        *(tuple(found) for found in (addresses, entries, numbers, halves, singles)), values=tuple(values)
    )


def _merged(ranges: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def mutated(seed: Seed, rng: Random, start: bytes | None = None) -> bytes:
    """`seed` with one to eight mutations, and now and then cut off. Equal `rng` states give equal bytes.

    `start` is an earlier mutation of the seed to go on from.
    """
    data = bytearray(seed.data if start is None else start)
    for _ in range(min(8, 1 + int(rng.expovariate(0.6)))):
        mutate = _token if data[:1] == b"{" and rng.random() < 0.8 else rng.choice(_MUTATIONS)
        mutate(seed, data, rng)
    if data[:8] == b"PAGEDU64" and rng.random() < 0.3:
        _stop(seed, data, rng)
    if rng.random() < 0.04:
        _cut(seed, data, rng)
    return bytes(data)


def _address(seed: Seed, data: bytearray, rng: Random) -> None:
    """A pointer to another valid place (cycles, aliases), or a little beside it, or nowhere."""
    words = seed.words
    if not words.addresses:
        return _number(seed, data, rng)
    at = rng.choice(words.addresses)
    value = rng.choice(words.values)
    how = rng.random()
    if how < 0.3:
        value = (value + rng.choice((-16, -8, -1, 1, 4, 8, 16, 0x1000))) & (1 << 64) - 1
    elif how < 0.4:
        value = rng.choice(_ODD_64)
    elif how < 0.5:
        value = _at(data, at, 8) ^ 1 << rng.randrange(64)
    elif how < 0.6:
        value = _at(data, max(0, at - 8), 8)
    return _put(data, at, value, 8)


def _link(seed: Seed, data: bytearray, rng: Random) -> None:
    """Two neighbouring words exchanged, or one word in the place of another: lists bite their tails."""
    places = seed.words.addresses
    if len(places) < 2:
        return _noise(seed, data, rng)
    index = rng.randrange(len(places) - 1)
    one, other = places[index], rng.choice((places[index + 1], rng.choice(places)))
    first, second = _at(data, one, 8), _at(data, other, 8)
    _put(data, one, second, 8)
    if rng.random() < 0.5:
        _put(data, other, first, 8)
    return None


def _entry(seed: Seed, data: bytearray, rng: Random) -> None:
    """A page-table entry: another's frame, other bits, or a table that leads to itself."""
    places = seed.words.entries
    if not places:
        return _number(seed, data, rng)
    at = rng.choice(places)
    value = _at(data, at, 8)
    how = rng.random()
    if how < 0.4:
        value = _at(data, rng.choice(places), 8)
    elif how < 0.7:
        for _ in range(rng.randrange(1, 4)):
            value ^= rng.choice(_ENTRY_BITS)
    elif how < 0.85:
        value = rng.choice(_ODD_64)
    else:
        value = value & 0xFFF | rng.randrange(1 << 22) << 12
    return _put(data, at, value, 8)


def _number(seed: Seed, data: bytearray, rng: Random) -> None:
    """A count, length or offset: a boundary value, one more or less, a multiple, another's."""
    places = seed.words.numbers
    if not places:
        return _noise(seed, data, rng)
    at = rng.choice(places)
    value = _at(data, at, 4)
    how = rng.random()
    if how < 0.4:
        value = rng.choice(_ODD_32)
    elif how < 0.6:
        value += rng.choice((-8, -1, 1, 8, 0x1000))
    elif how < 0.75:
        value = value << rng.randrange(1, 12)
    elif how < 0.9:
        value = _at(data, rng.choice(places), 4)
    else:
        value = len(data) + rng.choice((-4, 0, 1))
    return _put(data, at, value & 0xFFFF_FFFF, 4)


def _half(seed: Seed, data: bytearray, rng: Random) -> None:
    if seed.words.halves:
        _put(data, rng.choice(seed.words.halves), rng.choice(_ODD_16), 2)


def _noise(seed: Seed, data: bytearray, rng: Random) -> None:
    """Some bytes in a row of what is read, or one bit."""
    places = seed.words.bytes
    if not places or not data:
        return
    at = min(rng.choice(places), len(data) - 1)
    if rng.random() < 0.5:
        data[at] ^= 1 << rng.randrange(8)
    else:
        size = min(rng.choice((1, 2, 4, 16, 64)), len(data) - at)
        data[at : at + size] = rng.randbytes(size)


def _head(seed: Seed, data: bytearray, rng: Random) -> None:
    """A field of what lies at the start of the file, where every format says the most about itself."""
    size = rng.choice((2, 4, 8))
    odd = {2: _ODD_16, 4: _ODD_32, 8: _ODD_64}[size]
    starts = [start for start, _ in seed.ranges[:4]] or [0]
    at = rng.choice(starts) + rng.randrange(0, 0x100, size)
    if at + size <= len(data):
        value = rng.choice(odd) if rng.random() < 0.7 else rng.randrange(1 << 8 * size)
        _put(data, at, value, size)


def _copy(seed: Seed, data: bytearray, rng: Random) -> None:
    """A part of the file again at another place."""
    start, end = rng.choice(seed.ranges)
    size = min(end - start, rng.choice((16, 64, 256, PAGE)))
    target = rng.choice(seed.ranges)[0]
    size = min(size, len(data) - target)
    data[target : target + size] = seed.data[start : start + size]


def _blank(seed: Seed, data: bytearray, rng: Random) -> None:
    start, end = rng.choice(seed.ranges)
    size = min(end - start, rng.choice((8, 64, PAGE)), max(0, len(data) - start))
    data[start : start + size] = bytes((rng.choice((0, 0xFF, 0x50)),)) * size


def _token(seed: Seed, data: bytearray, rng: Random) -> None:
    """A value of a JSON text by another, also by one of another type or one that nests."""
    found = list(_VALUE.finditer(data))
    if not found:
        return _noise(seed, data, rng)
    start, end = rng.choice(found).span()
    if rng.random() < 0.1:
        deep = rng.choice((10, 1000, 100_000))
        new = b"[" * deep + b"]" * deep
    else:
        new = rng.choice((*_ODD_VALUES, rng.choice(found).group()))
    data[start:end] = new
    return None


_VALUE = re.compile(rb'"[^"]*"|-?\d+|\{[^{}]*\}')
_ODD_VALUES = (
    *(b"null", b"true", b"[]", b"{}", b'""', b"0", b"-1", b"1e999", b"NaN", b"0.5", b"9" * 400),
    *(b"18446744073709551616", b'"A"', b'"\\ud800"', b'{"name": 1}', b'{"offset": null}'),
)


_STOPS = (
    *(
        0x1,
        0xA,
        0x19,
        0x1A,
        0x1E,
        0x20,
        0x3B,
        0x4E,
        0x50,
        0x7E,
        0x7F,
        0x80,
        0x9F,
        0xC1,
        0xC2,
        0xC4,
        0xC5,
        0xC9,
    ),
    *(0xD1, 0xE2, 0xE6, 0xFC, 0x109, 0x133, 0x139, 0x13A, 0x1000007E, 0x1000008E),
)


def _stop(seed: Seed, data: bytearray, rng: Random) -> None:
    """Another stop, so that each family's reading of parameters gets addresses, kinds and nonsense."""
    _put(data, 0x38, rng.choice(_STOPS), 4)
    for at in range(0x40, 0x60, 8):
        kind = rng.random()
        if kind < 0.5 and seed.words.values:
            _put(data, at, rng.choice(seed.words.values) + rng.choice((0, 0, 8, 0x10)) & (1 << 64) - 1, 8)
        elif kind < 0.8:
            _put(data, at, rng.randrange(0x100), 8)
        else:
            _put(data, at, rng.choice(_ODD_64), 8)


def _cut(seed: Seed, data: bytearray, rng: Random) -> None:
    start, end = rng.choice(seed.ranges)
    del data[rng.randrange(start, end + 1) :]


_MUTATIONS: tuple[Callable[[Seed, bytearray, Random], None], ...] = (
    *(_address, _address, _address, _link, _link, _entry, _entry, _number, _number, _number),
    *(_half, _noise, _noise, _head, _head, _copy, _blank),
)


def _at(data: bytearray, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def _put(data: bytearray, offset: int, value: int, size: int) -> None:
    if offset + size <= len(data):
        data[offset : offset + size] = value.to_bytes(size, "little")
