"""The version resource of an image: VS_VERSIONINFO in the one leaf of a resource directory.

Layout: Microsoft's PE Format (the .rsrc section) and the reference of VS_VERSIONINFO.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

_VERSION_TYPE, _ENGLISH, _UNICODE = 16, 0x409, 1200
_DRIVER = (0x40004, 3, 7)  # VOS_NT_WINDOWS32, VFT_DRV, VFT2_DRV_SYSTEM


def resource_section(rva: int, version: str, strings: Mapping[str, str]) -> bytes:
    """Contents of a resource section at `rva`; `version` is "10.0.17763.1", with or without more behind."""
    information = _information(version, strings)
    leaf = 3 * 24
    directories = b"".join(
        struct.pack("<IIHHHHII", 0, 0, 4, 0, 0, 1, number, target)
        for number, target in ((_VERSION_TYPE, 0x80000000 | 24), (1, 0x80000000 | 48), (_ENGLISH, leaf))
    )
    return directories + struct.pack("<IIII", rva + leaf + 16, len(information), 0, 0) + information


def _information(version: str, strings: Mapping[str, str]) -> bytes:
    numbers = [int(n) for n in re.findall(r"\d+", version)[:4]]
    a, b, c, d = [*numbers, 0, 0, 0, 0][:4]
    high, low = a << 16 | b, c << 16 | d
    fixed = struct.pack("<13I", 0xFEEF04BD, 0x10000, high, low, high, low, 0x3F, 0, *_DRIVER, 0, 0)
    table = _block(
        f"{_ENGLISH:04X}{_UNICODE:04X}", b"", [_text(name, text) for name, text in strings.items()]
    )
    translation = _block("Translation", struct.pack("<HH", _ENGLISH, _UNICODE), [])
    return _block(
        "VS_VERSION_INFO",
        fixed,
        [
            _block("StringFileInfo", b"", [table], text=True),
            _block("VarFileInfo", b"", [translation], text=True),
        ],
    )


def _text(name: str, value: str) -> bytes:
    raw = value.encode("utf-16-le") + b"\0\0"
    return _block(name, raw, [], text=True, length=len(raw) // 2)


def _block(
    key: str, value: bytes, children: list[bytes], *, text: bool = False, length: int | None = None
) -> bytes:
    """One node: length, length of the value (in words for text), type, key, value, children; all aligned."""
    body = _aligned(bytes(6) + key.encode("utf-16-le") + b"\0\0") + value
    for child in children:
        body = _aligned(body) + child
    head = struct.pack("<HHH", len(body), len(value) if length is None else length, text)
    return head + body[6:]


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
