"""The PDBs of the twin's images, as a symbol store has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.twin.crash import Image
from lab.twin.images import pdb
from lab.twin.memory.layout import Module, guid_text, identify
from lab.twin.memory.tables import kernel

SYSTEM = tuple(
    Image(name, third_party=False)
    for name in ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
)
"""Images of every machine whose functions appear on stacks."""


@dataclass(frozen=True)
class ImageSymbols:
    """One PDB: its file name, the folder that holds it in a store (GUID and hexadecimal age), its source."""

    name: str
    folder: str
    source: str
    guid: bytes
    age: int

    def contents(self) -> bytes:
        return pdb(self.source, self.guid, self.age)


def symbols_of(build: int, images: Iterable[Image] = SYSTEM) -> tuple[ImageSymbols, ...]:
    """The PDB of each image of a machine of `build`."""
    nt = kernel(build)
    return tuple(_symbols(identify(image, nt)) for image in images)


def _symbols(module: Module) -> ImageSymbols:
    name = module.pdb.rpartition("\\")[2]
    folder = f"{guid_text(module.guid)}{module.age:X}"
    return ImageSymbols(name, folder, module.source, module.guid, module.age)


def write_symbols(build: int, directory: Path, images: Iterable[Image] = SYSTEM) -> None:
    """Write the PDBs of `images` into a symbol store: `directory`/NAME/GUIDAGE/NAME."""
    for found in symbols_of(build, images):
        path = directory / found.name / found.folder / found.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.contents())
