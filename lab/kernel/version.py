"""The version resource of a loaded image: who says to have made it, and which build of it this is."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lab.kernel.modules import LoadedModule
from lab.kernel.target import Kernel
from lab.model import DumpError

RT_VERSION = 16
_MOST_ENTRIES = 256  # of one resource directory
_MOST_BYTES = 0x4000  # of one version resource
_MOST_BLOCKS = 128
_SUBDIRECTORY = 0x8000_0000
_FIXED_SIGNATURE = 0xFEEF04BD


@dataclass(frozen=True)
class ImageVersion:
    """VS_VERSIONINFO. `file_version` as four numbers, "6.1.7601.24540"; text that lacks is ""."""

    file_version: str
    company: str = ""
    product: str = ""
    description: str = ""
    original_name: str = ""


def read_version(kernel: Kernel, module: LoadedModule) -> ImageVersion | None:
    """The version resource of `module`; None when it has none, or when the dump does not hold it.

    Windows may discard an image's resources, and leaves out of a kernel dump what was paged out.
    """
    image = kernel.image(module)
    if image is None or not image.resources[0]:
        return None
    rva, size = image.resources
    try:
        place = _find(kernel, module.base + rva, size)
        if place is None or not 0 < place[1] <= _MOST_BYTES or sum(place) > image.size:
            return None
        return parse_version(kernel.memory.read(module.base + place[0], place[1]))
    except (DumpError, struct.error):
        return None


def _find(kernel: Kernel, root: int, size: int) -> tuple[int, int] | None:
    """(RVA, bytes) of the first version resource: three levels of directories, type, name, language."""
    at = 0
    for level in range(3):
        entry = _entry(kernel, root, at, size, RT_VERSION if level == 0 else None)
        if entry is None:
            return None
        if bool(entry & _SUBDIRECTORY) != (level < 2):
            return None
        at = entry & ~_SUBDIRECTORY
    if at + 16 > size:
        return None
    rva, length = struct.unpack("<II", kernel.memory.read(root + at, 8))
    return rva, length


def _entry(kernel: Kernel, root: int, at: int, size: int, wanted: int | None) -> int | None:
    """OffsetToData of the entry with the id `wanted`, or of the first entry when None."""
    if at + 16 > size:
        return None
    named, ids = struct.unpack("<12xHH", kernel.memory.read(root + at, 16))
    count = min(named + ids, _MOST_ENTRIES, (size - at - 16) // 8)
    raw = kernel.memory.read(root + at + 16, 8 * count)
    for name, data in struct.iter_unpack("<II", raw):
        if wanted is None or name == wanted:
            return int(data)
    return None


def parse_version(data: bytes) -> ImageVersion | None:
    """VS_VERSIONINFO in `data`; None when it is not one. Of several languages the first is taken."""
    root = _block(data, 0, len(data))
    if root is None or root[0] != "VS_VERSION_INFO":
        return None
    _, value, value_size, children, end = root
    version = ""
    if value_size >= 0x34:
        signature, high, low = struct.unpack_from("<I4xII", data, value)
        if signature == _FIXED_SIGNATURE:
            version = f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"
    strings = _strings(data, children, end)
    if not version and not strings:
        return None
    return ImageVersion(
        file_version=version,
        company=strings.get("CompanyName", ""),
        product=strings.get("ProductName", ""),
        description=strings.get("FileDescription", ""),
        original_name=strings.get("OriginalFilename", ""),
    )


def _strings(data: bytes, at: int, end: int) -> dict[str, str]:
    """Key -> text of all StringTables: StringFileInfo holds tables, a table holds strings."""
    found: dict[str, str] = {}
    left = _MOST_BLOCKS
    todo = [(at, end, 0)]
    while todo and left > 0:
        at, end, level = todo.pop(0)
        while left > 0 and (block := _block(data, at, end)) is not None:
            left -= 1
            key, value, _, children, block_end = block
            if level == 2:
                text = data[value:block_end].decode("utf-16-le", "replace").split("\0", 1)[0]
                found.setdefault(key, text.strip())
            elif level == 1 or key == "StringFileInfo":
                todo.append((children, block_end, level + 1))
            at = block_end + 3 & ~3
    return found


def _block(data: bytes, at: int, end: int) -> tuple[str, int, int, int, int] | None:
    """(key, offset of the value, its bytes, offset of the children, end) of the block at `at`."""
    if at + 6 > end:
        return None
    length, value_size, text = struct.unpack_from("<HHH", data, at)
    if length < 6 or at + length > end:
        return None
    value_size *= 2 if text else 1
    key_end = at + 6
    while key_end + 2 <= at + length and data[key_end : key_end + 2] != b"\0\0":
        key_end += 2
    key = data[at + 6 : key_end].decode("utf-16-le", "replace")
    value = min(key_end + 2 + 3 & ~3, at + length)
    children = min(value + value_size + 3 & ~3, at + length)
    return key, value, min(value_size, at + length - value), children, at + length
