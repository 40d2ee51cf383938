"""Compile and link the twin's images, describe them, and pack them as data of the package.

    python -m lab.twin.images.make.build

Kernels have each function at the address that it has in the real build: every function is a section of its
own, and padding brings it there, so the linker itself writes unwind tables, import tables and the PDB.
"""

from __future__ import annotations

import json
import lzma
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.twin.images.make import DATA, FACTS, SOURCE, filters, place, structures
from lab.twin.images.make.describe import describe
from lab.twin.images.make.names import FUNCTIONS, WRITTEN
from lab.twin.images.make.pack import pack
from lab.twin.images.make.tools import LINK, assemble, compile_c, import_library, run, section_sizes

KERNEL_EXPORTS = [
    *("KeBugCheckEx", "IofCallDriver", "KeEnterCriticalRegion", "KeLeaveCriticalRegion"),
    *("PsTerminateSystemThread", "KeRemoveQueueEx", "ExAllocatePoolWithTag", "ExFreePoolWithTag"),
    *("ObfDereferenceObject", "DbgBreakPointWithStatus", "PsInitialSystemProcess", "KdDebuggerDataBlock"),
]
DRIVER_VARIANTS = 4
_KERNEL_SOURCES = ("kernel_base.c", "kernel_verifier.c", "kernel_interrupts.c", "kernel_entries.S")
_LONG_NAME = "d:\\build\\" + "x" * 118 + ".pdb"  # room for the name that an image gets in memory


@dataclass(frozen=True)
class Shop:
    """A folder to work in, the import libraries there, and the folder that gets the data."""

    folder: Path
    kernel_library: Path
    hal_library: Path
    out: Path


def open_shop(folder: Path) -> Shop:
    out = folder / "data"
    out.mkdir()
    kernel = import_library("ntoskrnl.exe", KERNEL_EXPORTS, folder)
    return Shop(folder, kernel, import_library("HAL.dll", ["HalHandleNMI"], folder), out)


def build_kernel(shop: Shop, build: int, facts: dict[str, Any]) -> None:
    folder = shop.folder / f"nt-{build}"
    shutil.copytree(SOURCE, folder)
    symbols = facts["symbols"]
    (folder / "structures.h").write_text(structures.header(facts["types"]))
    sized = {name: index * 0x10000 for index, name in enumerate(FUNCTIONS)}
    draft = [place.Place(name, at, 0, True, "D") for name, at in sized.items()]
    draft = [p for p in draft if p.name in place.wanted(build, symbols)[0]]
    draft += [place.Place(place.SPLIT, 0x7FFF0000, 0, True, "D")] if build == 7601 else []
    _layout_header(folder, build, draft, facts)
    objects = _compile(folder)
    by_section = section_sizes(objects)
    sizes = {p.name: by_section.get(p.section, 0) for p in draft}
    places = place.place(build, symbols, sizes)
    _layout_header(folder, build, places, facts)
    objects = _compile(folder)
    (folder / "padding.s").write_text(place.padding(places))
    padding = assemble("padding.s", folder)
    image, pdb = folder / "ntkrnlmp.exe", folder / "ntkrnlmp.pdb"
    options = [option for option in LINK if not option.startswith("/entry")]
    exports = [f"/export:{n}{'' if n in FUNCTIONS else ',DATA'}" for n in KERNEL_EXPORTS]
    run(
        "lld-link",
        padding,
        *(made.name for made in objects),
        shop.hal_library,
        *options,
        *exports,
        *(f"/out:{image.name}", f"/pdb:{pdb.name}", "/pdbaltpath:ntkrnlmp.pdb", "/entry:KxStartSystemThread"),
        *("/ignore:4078", "/merge:.xdata=ZTAIL", "/merge:.rdata=ZTAIL", "/merge:.pdata=ZPDATA"),
        cwd=folder,
    )
    described = describe(image, pdb, runs=True)
    for p in places:
        if p.name != place.SPLIT and described.symbols[p.name] != p.rva:
            raise SystemExit(f"{build}: {p.name} is at {described.symbols[p.name]:#x}, not {p.rva:#x}")
    guid, age = facts["pdb"].split("-")
    described.facts |= {"pdb": [guid, int(age, 16)], "version": facts["version"]}
    described.facts["types"] = {
        name: [facts["types"][name]["size"], {f[0]: f[1] for f in facts["types"][name]["fields"]}]
        for name in WRITTEN
        if name in facts["types"]
    }
    pack(shop.out, f"nt-{build}", described, image, pdb)


def _layout_header(folder: Path, build: int, places: list[place.Place], facts: dict[str, Any]) -> None:
    (folder / "layout.h").write_text(place.header(places, build, facts))


def _compile(folder: Path) -> list[Path]:
    return [compile_c(source, folder) for source in _KERNEL_SOURCES]


def build_image(shop: Shop, name: str, source: str, *options: str, headers: dict[str, str]) -> None:
    folder = shop.folder / name
    shutil.copytree(SOURCE, folder)
    for header, text in headers.items():
        (folder / header).write_text(text)
    made = compile_c(source, folder, *options)
    (folder / "resources.s").write_text('.section .rsrc,"dr"\n.space 0x800\n')
    resources = assemble("resources.s", folder)
    image, pdb = folder / "image.sys", folder / "image.pdb"
    link = [o for o in LINK if name != "hal" or not o.startswith("/entry")]
    run(
        "lld-link",
        made.name,
        resources,
        shop.kernel_library,
        *link,
        *(f"/out:{image.name}", f"/pdb:{pdb.name}", f"/pdbaltpath:{_LONG_NAME}", "/ignore:4078"),
        *(["/entry:HalInitSystem"] if name == "hal" else []),
        cwd=folder,
    )
    pack(shop.out, name, describe(image, pdb), image, pdb)


def main() -> None:
    facts = json.loads(lzma.decompress(FACTS.read_bytes()))
    with tempfile.TemporaryDirectory(prefix="twin-images-") as name:
        shop = open_shop(Path(name))
        plain = {"structures.h": structures.header(facts["17763"]["types"])}
        old = {"structures.h": structures.header(facts["7601"]["types"])}
        for image in ("srv2", "ntfs", "hal", "inbox"):
            build_image(shop, image, f"{image}.c", headers=plain)
        for image, headers, size, nodes in (
            ("fltmgr-7601", old, 0x20, 0x90),
            ("fltmgr-14393", plain, 0x30, 0xA0),
            ("fltmgr-22000", plain, 0x30, 0xA8),
        ):
            of_image = headers | {"filters.h": filters.header(size, nodes)}
            build_image(shop, image, "fltmgr.c", headers=of_image)
        for variant in range(DRIVER_VARIANTS):
            build_image(shop, f"driver-{variant}", "driver.c", f"-DVARIANT={variant}", headers=plain)
        for build, of_build in facts.items():
            build_kernel(shop, int(build), of_build)
        shutil.rmtree(DATA, ignore_errors=True)
        shutil.copytree(shop.out, DATA)


if __name__ == "__main__":
    main()
