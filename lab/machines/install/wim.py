"""Which editions an install image holds, by the description in XML that every WIM and ESD file carries."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree

from lab.machines.install.errors import BadImage

MOST_XML = 8 << 20
MOST_IMAGES = 256
MOST_LANGUAGES = 256
_HEADER = 208
_ARCHITECTURES = {"0": "x86", "5": "arm", "9": "amd64", "12": "arm64"}


@dataclass(frozen=True)
class Edition:
    """An image within the install image."""

    index: int
    name: str
    architecture: str
    """As answer files name it, "amd64"; "" when the image does not say."""

    build: int
    """0 when the image does not say."""

    languages: tuple[str, ...] = ()
    """Such as "en-US"; () when the image does not say."""


def editions(read: Callable[[int, int], bytes], size: int, what: str) -> tuple[Edition, ...]:
    """The images of a WIM of `size` bytes; `read(offset, length)` gives exactly those bytes of it.

    Raises BadImage about `what`.
    """
    if size < _HEADER:
        raise BadImage(f"{what} is too short for an install image")
    header = read(0, _HEADER)
    if header[:8] != b"MSWIM\0\0\0":
        raise BadImage(f"{what} is not a WIM file")
    packed, offset, length = struct.unpack_from("<QQQ", header, 72)
    stored = packed & ((1 << 56) - 1)
    if packed >> 56 & 4 or stored != length:
        raise BadImage(f"{what} has a compressed description, which WIM files do not have")
    if length > MOST_XML or offset + length > size:
        raise BadImage(f"{what} has its description outside of the file; the copy is not whole")
    try:
        text = read(offset, length).decode("utf-16")
        if "<!" in text:  # no entities: an install image has no document type
            raise BadImage(f"{what} has a description with a document type")
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise BadImage(f"{what} has a damaged description: {error}") from None
    found = [_edition(each) for each in root.findall("IMAGE")[:MOST_IMAGES]]
    return tuple(each for each in found if each is not None)


def _edition(image: ElementTree.Element) -> Edition | None:
    def number(text: str | None) -> int:
        return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0

    index = number(image.get("INDEX"))
    architecture = _ARCHITECTURES.get((image.findtext("WINDOWS/ARCH") or "").strip(), "")
    build = number((image.findtext("WINDOWS/VERSION/BUILD") or "").strip())
    spoken = [
        (each.text or "").strip() for each in image.findall("WINDOWS/LANGUAGES/LANGUAGE")[:MOST_LANGUAGES]
    ]
    languages = tuple(each for each in spoken if each)
    name = (image.findtext("NAME") or "").strip()
    return Edition(index, name, architecture, build, languages) if index else None
