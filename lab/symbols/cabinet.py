"""Microsoft cabinets with one file in them, as symbol stores keep compressed files (`ntkrnlmp.pd_`).

Stored, MSZIP and LZX ([MS-CAB], [MS-MCI]). Quantum is not read: no symbol tool writes it.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from lab.model import ConfigurationError
from lab.symbols.files import RandomAccess
from lab.symbols.lzx import Lzx

MAGIC = b"MSCF"
MAX_SECONDS = 900.0
"""Until a file must be unpacked. The largest real ones take a tenth; LZX can be made to take hours."""
_BLOCK = 1 << 15  # of uncompressed data
_MAX_FILES = 64
_RESERVED, _IN_SEVERAL = 4, 3  # flags of the header
_NONE, _MSZIP, _LZX = 0, 1, 3

Unpack = Callable[[bytes, int], bytes]
"""(a block's data, size of what it unpacks to) -> that."""


def expand(
    source: RandomAccess, name: str, target: BinaryIO, limit: int, *, seconds: float = MAX_SECONDS
) -> None:
    """Write the file called `name`, or the only one, of a cabinet to `target`.

    ConfigurationError when it is not a whole cabinet with such a file, the file has more than `limit`
    bytes, or it is not unpacked in `seconds`.
    """
    try:
        _expand(source, name, target, limit, time.monotonic() + seconds)
    except ConfigurationError as error:
        raise ConfigurationError(f"the cabinet of {name} cannot be unpacked: {error}") from None


def _expand(source: RandomAccess, name: str, target: BinaryIO, limit: int, until: float) -> None:
    head = source.read(0, 36)
    if len(head) < 36 or head[:4] != MAGIC:
        raise ConfigurationError("it is not a cabinet")
    files, folders, count, flags = struct.unpack_from("<I6xHHH", head, 16)
    if flags & _IN_SEVERAL:
        raise ConfigurationError("it is a cabinet of several, which symbol stores do not use")
    at, folder_extra, block_extra = 36, 0, 0
    if flags & _RESERVED:
        header_extra, folder_extra, block_extra = struct.unpack("<HBB", _exactly(source, at, 4))
        at += 4 + header_extra
    size, start, folder = _file(source, files, count, name)
    if folder >= folders:
        raise ConfigurationError("its file is in a folder that the cabinet does not have")
    end = start + size
    if end > limit:
        raise ConfigurationError(f"its file has {size} bytes, more than the limit of {limit}")
    entry = _exactly(source, at + folder * (8 + folder_extra), 8)
    data, blocks, method = struct.unpack("<IHH", entry)
    position = 0
    for block in _blocks(source, data, blocks, block_extra, _unpacker(method)):
        target.write(block[max(start - position, 0) : max(end - position, 0)])
        position += len(block)
        if position >= end:
            return
        if time.monotonic() > until:
            raise ConfigurationError(f"after {position} bytes, its time is over")
    raise ConfigurationError(f"its file is cut off after {max(position - start, 0)} of {size} bytes")


def _file(source: RandomAccess, at: int, count: int, name: str) -> tuple[int, int, int]:
    """(size, offset in its folder, folder) of the file that is meant."""
    found = {}
    for _ in range(min(count, _MAX_FILES)):
        raw = source.read(at, 16 + 257)
        stop = raw.find(b"\0", 16)
        if stop < 0:
            raise ConfigurationError("its list of files is damaged")
        found[str(raw[16:stop], "utf-8", "replace").casefold()] = struct.unpack_from("<IIH", raw)
        at += stop + 1
    if name.casefold() not in found and len(found) != 1:
        raise ConfigurationError(f"it has {len(found)} files, and none of them is {name}")
    size, start, folder = found.get(name.casefold()) or next(iter(found.values()))
    return size, start, folder


def _blocks(source: RandomAccess, at: int, count: int, extra: int, unpack: Unpack) -> Iterator[bytes]:
    for number in range(count):
        head = _exactly(source, at, 8)
        checksum, packed, size = struct.unpack("<IHH", head)
        data = _exactly(source, at + 8 + extra, packed)
        if checksum and extra == 0 and _checksum(head[4:], _checksum(data, 0)) != checksum:
            raise ConfigurationError(f"the checksum of its block {number} is wrong")
        if not 0 < size <= _BLOCK:
            raise ConfigurationError(f"its block {number} is of {size} bytes")
        block = unpack(data, size)
        if len(block) != size:
            raise ConfigurationError(f"its block {number} unpacks to {len(block)} bytes instead of {size}")
        yield block
        at += 8 + extra + packed


def _unpacker(method: int) -> Unpack:
    kind = method & 0xF
    if kind == _NONE:
        return lambda data, size: data
    if kind == _MSZIP:
        return _Mszip().block
    if kind == _LZX:
        return Lzx(method >> 8 & 0x1F).frame
    raise ConfigurationError(f"its compression (method {kind}) is not known")


class _Mszip:
    """Deflate in blocks, each of which refers to what the block before unpacked to."""

    def __init__(self) -> None:
        self._before = b""

    def block(self, data: bytes, size: int) -> bytes:
        if data[:2] != b"CK":
            raise ConfigurationError("a block of it is not MSZIP")
        try:
            unpacker = zlib.decompressobj(-15, zdict=self._before)
            self._before = unpacker.decompress(data[2:], size + 1)
        except zlib.error:
            raise ConfigurationError("its MSZIP data is damaged") from None
        return self._before


def _checksum(data: bytes, seed: int) -> int:
    """XOR of the 32-bit words, the last bytes in reverse order: folded in halves, not word by word."""
    words = len(data) // 4
    value = int.from_bytes(data[: 4 * words], "little")
    while words > 1:
        half = -(-words // 2)
        value = value >> 32 * half ^ value & (1 << 32 * half) - 1
        words = half
    return seed ^ value ^ int.from_bytes(data[len(data) & ~3 :], "big")


def _exactly(source: RandomAccess, at: int, size: int) -> bytes:
    found = source.read(at, size)
    if len(found) < size:
        raise ConfigurationError("it is cut off")
    return found
