"""Damaging what an SMB2 server sent: answers are moved about, and fields changed where readers look."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from fuzz_mutations import Seed

PREFIX = 9
"""Bytes before the stream that say how to run it; they are left alone."""

Frames = list[bytearray]

_HEADER = ((4, 2), (6, 2), (8, 4), (12, 2), (14, 2), (16, 4), (20, 4), (24, 8), (32, 8), (36, 4), (40, 8))
_COMMON = (0, 1, 2, 8, 0x40, 0x48, 0x50, 0xFF, 0x103, 0xFFFF)
_ODD = {
    1: (0, 1, 2, 0x50, 0x7F, 0x80, 0xFF),
    2: (*_COMMON, 0x7FFF, 0x8000, 0xFFF8),
    4: (*_COMMON, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0005, 0xC000_0011, 0xC000_0016,
        0xFFFF_FFF8, 0xFFFF_FFFF),
    8: (*_COMMON, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1),
}  # fmt: skip
_ERROR_BODY = struct.pack("<HBBIB", 9, 0, 0, 0, 0)
_LIMIT = 150_000  # what a socket takes in before anyone reads


def split(stream: bytes) -> Frames:
    """The messages of a stream, without framing; a last one that is cut off is left out."""
    frames, at = [], 0
    while at + 4 <= len(stream):
        size = int.from_bytes(stream[at : at + 4], "big")
        if at + 4 + size > len(stream):
            break
        frames.append(bytearray(stream[at + 4 : at + 4 + size]))
        at += 4 + size
    return frames


def joined(frames: Frames) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def mutated_stream(seed: Seed, rng: Random) -> bytes:
    """`seed` with one to six mutations. Equal `rng` states give equal bytes."""
    frames = split(seed.data[PREFIX:])
    for _ in range(min(6, 1 + int(rng.expovariate(0.7)))):
        if not frames:
            break
        rng.choice(_MUTATIONS)(frames, rng)
    stream = bytearray(joined(frames)[:_LIMIT])
    how = rng.random()
    if how < 0.05 and stream:
        del stream[rng.randrange(len(stream)) :]
    elif how < 0.1 and frames:  # a frame that lies about its length, and all behind it out of step
        at = sum(4 + len(frame) for frame in frames[: rng.randrange(len(frames))])
        if at + 4 <= len(stream):
            value = rng.choice((0, 1, 63, 64, 0xFFFF, 0x10000, 0xFF_FFFF, 0x100_0000, 0xFFFF_FFFF))
            stream[at : at + 4] = struct.pack(">I", value)
    return seed.data[:PREFIX] + bytes(stream)


def _frame(frames: Frames, rng: Random) -> bytearray:
    return rng.choice(frames)


def _put(frame: bytearray, at: int, size: int, rng: Random) -> None:
    if at + size > len(frame):
        return
    old = int.from_bytes(frame[at : at + size], "little")
    how = rng.random()
    if how < 0.6:
        value = rng.choice(_ODD[size])
    elif how < 0.8:
        value = old + rng.choice((-8, -1, 1, 8, 64))
    elif how < 0.9:
        value = len(frame) + rng.choice((-64, -8, -1, 0, 1))
    else:
        value = old ^ 1 << rng.randrange(8 * size)
    frame[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _header_field(frames: Frames, rng: Random) -> None:
    at, size = rng.choice(_HEADER)
    _put(_frame(frames, rng), at, size, rng)


def _body_field(frames: Frames, rng: Random) -> None:
    """A number near the start of a body, where all lengths and offsets are, or anywhere in it."""
    frame = _frame(frames, rng)
    if len(frame) <= 64:
        return
    room = len(frame) if rng.random() < 0.2 else min(len(frame), 64 + 96)
    size = rng.choice((1, 2, 4, 4, 8))
    _put(frame, rng.randrange(64, room) & ~1, size, rng)


def _noise(frames: Frames, rng: Random) -> None:
    frame = _frame(frames, rng)
    if not frame:
        return
    at = rng.randrange(len(frame))
    if rng.random() < 0.5:
        frame[at] ^= 1 << rng.randrange(8)
    else:
        size = min(rng.choice((1, 2, 4, 16, 64)), len(frame) - at)
        frame[at : at + size] = rng.randbytes(size)


def _cut(frames: Frames, rng: Random) -> None:
    frame = _frame(frames, rng)
    del frame[rng.randrange(len(frame) + 1) :]


def _longer(frames: Frames, rng: Random) -> None:
    frame = _frame(frames, rng)
    frame += rng.randbytes(rng.choice((1, 8, 64, 5000)))


def _drop(frames: Frames, rng: Random) -> None:
    del frames[rng.randrange(len(frames))]


def _again(frames: Frames, rng: Random) -> None:
    frames.insert(rng.randrange(len(frames) + 1), bytearray(_frame(frames, rng)))


def _swap(frames: Frames, rng: Random) -> None:
    one, other = rng.randrange(len(frames)), rng.randrange(len(frames))
    frames[one], frames[other] = frames[other], frames[one]


def _in_place_of(frames: Frames, rng: Random) -> None:
    """Another answer's body under this one's header: right ids, wrong everything."""
    one, other = _frame(frames, rng), _frame(frames, rng)
    one[64:] = other[64:]


def _interim(frames: Frames, rng: Random) -> None:
    """STATUS_PENDING before an answer; mostly with its async id in the answer, too."""
    at = rng.randrange(len(frames))
    final = frames[at]
    if len(final) < 64:
        return
    first = bytearray(final[:64] + _ERROR_BODY)
    struct.pack_into("<I", first, 8, 0x103)
    struct.pack_into("<I", first, 16, 3)
    struct.pack_into("<IQ", first, 20, 0, struct.unpack_from("<Q", final, 24)[0])
    struct.pack_into("<Q", first, 32, 7)
    if rng.random() < 0.8:
        struct.pack_into("<I", final, 16, 3)
        struct.pack_into("<Q", final, 32, 7)
    frames[at:at] = [first] * rng.choice((1, 1, 1, 2, 30))


def _error(frames: Frames, rng: Random) -> None:
    frame = _frame(frames, rng)
    if len(frame) >= 64:
        struct.pack_into("<I", frame, 8, rng.choice(_ODD[4]))
        frame[64:] = _ERROR_BODY


def _break(frames: Frames, rng: Random) -> None:
    """Notifications nobody asked for."""
    head = struct.pack(
        "<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 0, 0, 18, 0, 1, 0, (1 << 64) - 1, 0, 0, 0, bytes(16)
    )
    body = rng.choice(
        (struct.pack("<HBBI16s", 24, 0, 0, 0, bytes(16)), struct.pack("<H42x", 44), b"", b"\x2c")
    )
    at = rng.randrange(len(frames) + 1)
    frames[at:at] = [bytearray(head + body)] * rng.choice((1, 1, 3, 200))


def _compound(frames: Frames, rng: Random) -> None:
    """Two answers in one frame; the first one's NextCommand may be wrong."""
    at = rng.randrange(len(frames))
    if at + 1 >= len(frames) or len(frames[at]) < 64:
        return
    first = frames[at]
    first += bytes(-len(first) % 8)
    value = rng.choice((len(first),) * 6 + (8, 64, len(first) - 8, len(first) + 8, 0xFFFF_FFF8))
    struct.pack_into("<I", first, 20, value & 0xFFFF_FFFF)
    frames[at : at + 2] = [first + frames[at + 1]]


_MUTATIONS: tuple[Callable[[Frames, Random], None], ...] = (
    *(_header_field,) * 4,
    *(_body_field,) * 6,
    *(_noise, _noise, _cut, _longer, _drop, _again, _swap, _in_place_of, _in_place_of),
    *(_interim, _interim, _error, _break, _compound, _compound),
)
