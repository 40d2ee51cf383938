"""Version resources: of a real PE image, and of damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import kernel_bytes as kb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.kernel.image import Image, Section
from lab.kernel.modules import LoadedModule
from lab.kernel.target import Kernel
from lab.kernel.version import parse_version, read_version

LAUNCHER = Path(pytest.__file__).parents[1] / "pip" / "_vendor" / "distlib" / "w64.exe"
"""A real PE32+ image with a version resource: the launcher that pip brings along."""


def text(key: str, value: str) -> bytes:
    """A String of a StringTable."""
    head = key.encode("utf-16-le") + b"\0\0"
    head += bytes(-(6 + len(head)) % 4)
    body = value.encode("utf-16-le") + b"\0\0"
    return struct.pack("<HHH", 6 + len(head) + len(body), len(value) + 1, 1) + head + body


def block(key: str, children: list[bytes], value: bytes = b"") -> bytes:
    head = key.encode("utf-16-le") + b"\0\0"
    head += bytes(-(6 + len(head)) % 4)
    body = value + bytes(-len(value) % 4)
    for child in children:
        body += child + bytes(-len(child) % 4)
    return struct.pack("<HHH", 6 + len(head) + len(body), len(value), 0) + head + body


def resource(**strings: str) -> bytes:
    fixed = struct.pack("<IIII", 0xFEEF04BD, 0x10000, 6 << 16 | 1, 7601 << 16 | 24540).ljust(0x34, b"\0")
    table = block("040904B0", [text(key, value) for key, value in strings.items()])
    return block("VS_VERSION_INFO", [block("StringFileInfo", [table])], fixed)


WHOLE = resource(
    CompanyName="Some Vendor",
    FileDescription="A minifilter",
    OriginalFilename="BadDriver.sys",
    ProductName="Suite",
)


def test_the_parts_of_a_version_resource() -> None:
    found = parse_version(WHOLE)
    assert found is not None
    assert found.file_version == "6.1.7601.24540"
    assert (found.company, found.description) == ("Some Vendor", "A minifilter")
    assert (found.original_name, found.product) == ("BadDriver.sys", "Suite")


def test_text_that_lacks_is_empty() -> None:
    found = parse_version(resource())
    assert found is not None
    assert (found.file_version, found.company) == ("6.1.7601.24540", "")


def test_what_is_no_version_resource() -> None:
    assert parse_version(b"") is None
    assert parse_version(bytes(0x100)) is None
    assert parse_version(block("VS_OTHER", [])) is None


@given(st.integers(0, len(WHOLE)), st.binary(max_size=8), st.integers(0, len(WHOLE)))
def test_damage_never_raises(at: int, damage: bytes, length: int) -> None:
    parse_version((WHOLE[:at] + damage + WHOLE[at + len(damage) :])[:length])


@pytest.fixture
def launcher() -> tuple[Kernel, LoadedModule, bytes]:
    if not LAUNCHER.is_file():
        pytest.skip(f"no PE image at {LAUNCHER}")
    raw = LAUNCHER.read_bytes()
    (offset,) = struct.unpack_from("<I", raw, 0x3C)
    count, optional = struct.unpack_from("<H12xH", raw, offset + 6)
    (size,) = struct.unpack_from("<I", raw, offset + 0x18 + 0x38)
    memory = kb.Bytes()
    memory.put(kb.BAD, raw[:0x400])
    for index in range(count):
        at = offset + 0x18 + optional + 40 * index
        virtual, rva, length, start = struct.unpack_from("<4I", raw, at + 8)
        memory.fill(kb.BAD + rva, virtual)
        memory.put(kb.BAD + rva, raw[start : start + min(length, virtual)])
    kernel = kb.kernel(memory)
    return kernel, LoadedModule("BadDriver.sys", "", kb.BAD, size, 1), raw


def after(raw: bytes, key: str) -> str:
    """The text behind a key, as it lies in the file."""
    at = raw.index((key + "\0").encode("utf-16-le")) + 2 * len(key) + 2
    return raw[at:].decode("utf-16-le", "ignore").lstrip("\0").split("\0", 1)[0]


def test_a_real_image(launcher: tuple[Kernel, LoadedModule, bytes]) -> None:
    kernel, module, raw = launcher
    found = read_version(kernel, module)
    assert found is not None
    assert found.company == after(raw, "CompanyName") != ""
    assert found.description == after(raw, "FileDescription")
    assert found.product == after(raw, "ProductName")
    assert found.original_name == after(raw, "OriginalFilename")
    fixed = raw.index(struct.pack("<I", 0xFEEF04BD))
    high, low = struct.unpack_from("<II", raw, fixed + 8)
    assert found.file_version == f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def test_resources_that_were_paged_out(launcher: tuple[Kernel, LoadedModule, bytes]) -> None:
    kernel, module, _ = launcher
    image = kernel.image(module)
    assert image is not None and image.resources[0]
    memory = kernel.memory
    assert isinstance(memory, kb.Bytes)
    del memory.cells[kb.BAD + image.resources[0] + 8]
    assert read_version(kernel, module) is None


def test_a_directory_that_leads_to_itself() -> None:
    memory = kb.Bytes()
    memory.fill(kb.BAD, 0x2000)
    memory.u16(kb.BAD + 0x1000 + 14, 1)
    memory.u32(kb.BAD + 0x1010, 16)
    memory.u32(kb.BAD + 0x1014, 0x80000000)
    kernel = kb.kernel(memory)
    module = LoadedModule("BadDriver.sys", "", kb.BAD, 0x10000, 1)
    sections = (Section(".rsrc", 0x1000, 0x1000, False),)
    kernel._images[kb.BAD] = Image(kb.BAD, 0x10000, 1, sections, (0, 0), None, (0x1000, 0x1000))
    assert read_version(kernel, module) is None
