"""PE images in memory: a blueprint's contents, as the loader leaves them.

The loader's part: addresses in the import table and in data, and the base in the headers. What makes each
image its own is written over the blueprint's: time stamp, checksum, size, CodeView record, version resource.
Layout: Microsoft's PE Format. Only pages that have contents exist; the rest of an image reads as not present,
like the pageable parts of a real driver.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from lab.twin.images import Blueprint
from lab.twin.memory.layout import Module
from lab.twin.memory.physical import PAGE, Memory
from lab.twin.memory.version import resource_section

_LINKED_BASE = 0x140000000
_DEBUG = 6  # index of the data directory
_IN_HEADERS = 0xE00
_DISCARDED = ".reloc"
_WINDOWS = "Microsoft® Windows® Operating System"


def write_image(
    memory: Memory, module: Module, resolve: Callable[[str], int], watched: Mapping[str, str]
) -> tuple[int, int]:
    """Write the image of `module`; returns address and size of its .pdata.

    `resolve` gives the address of an imported function. `watched` are the functions that Driver Verifier
    puts in the place of imports of this image.
    """
    built = module.blueprint
    discarded = {rva for name, rva, _ in built.sections if name == _DISCARDED}
    for rva, contents in built.pages.items():
        if rva and rva not in discarded:
            memory.write(module.base + rva, contents)
    memory.write(module.base, _headers(module, built))
    for slot, name in built.imports:
        memory.u64(module.base + slot, resolve(watched.get(name, name)))
    for rva in built.relocations:
        linked = struct.unpack_from("<Q", built.pages[rva & -PAGE], rva & (PAGE - 1))[0]
        memory.u64(module.base + rva, linked - _LINKED_BASE + module.base)
    record = b"RSDS" + module.guid + struct.pack("<I", module.age) + module.pdb.encode() + b"\0"
    debug, codeview = _codeview(module)
    directory = struct.pack("<IIHHIIII", 0, module.timestamp, 0, 0, 2, len(record), codeview, codeview)
    memory.write(module.base + debug, directory)
    memory.write(module.base + codeview, record)
    memory.forbid_execution(module.base)
    resources = resource_section(built.resource, module.version, _strings(module))
    memory.write(module.base + built.resource, resources)
    return module.base + built.exception[0], built.exception[1]


def _codeview(module: Module) -> tuple[int, int]:
    """RVAs of the debug directory and of the CodeView record.

    Other analysers look for the kernel's in the first 4 MiB of its image, and here these are full of code: so
    it has them in the page of its headers.
    """
    if module.prefix == "nt":
        return _IN_HEADERS, _IN_HEADERS + 28
    return module.blueprint.debug, module.blueprint.codeview


def _strings(module: Module) -> dict[str, str]:
    return {
        "CompanyName": module.company,
        "FileDescription": f"{module.prefix} driver" if module.third_party else module.name,
        "FileVersion": module.version,
        "InternalName": module.name,
        "LegalCopyright": f"© {module.company}. All rights reserved.",
        "OriginalFilename": "ntkrnlmp.exe" if module.prefix == "nt" else module.name,
        "ProductName": f"{module.company} {module.prefix}" if module.third_party else _WINDOWS,
        "ProductVersion": module.version.split(" ")[0],
    }


def _headers(module: Module, built: Blueprint) -> bytearray:
    """The header page, with what is this image's own, and its last section reaching to its end."""
    page = bytearray(built.pages[0])
    page[:4] = b"MZ\x90\0"  # as Microsoft's linker begins, and other analysers expect
    (at,) = struct.unpack_from("<I", page, 0x3C)
    (sections,) = struct.unpack_from("<H", page, at + 6)
    struct.pack_into("<I", page, at + 8, module.timestamp)
    optional = at + 24
    struct.pack_into("<Q", page, optional + 24, module.base)
    struct.pack_into("<I", page, optional + 56, module.size)
    struct.pack_into("<I", page, optional + 60, PAGE)  # SizeOfHeaders
    struct.pack_into("<I", page, optional + 64, checksum(module))
    struct.pack_into("<II", page, optional + 112 + 8 * _DEBUG, _codeview(module)[0], 28)
    table = optional + 0xF0
    if module.prefix == "nt" and b"POOLCODE" not in page:
        _insert_pool_code(page, table, sections)
        sections += 1
        struct.pack_into("<H", page, at + 6, sections)
    (rva,) = struct.unpack_from("<I", page, table + 40 * (sections - 1) + 12)
    struct.pack_into("<I", page, table + 40 * (sections - 1) + 8, module.size - rva)
    return page


def _insert_pool_code(page: bytearray, table: int, sections: int) -> None:
    """Make the last page of .text a section POOLCODE, by which other analysers know the kernel.

    Kernels of some builds have all their functions in .text here.
    """
    index = next(i for i in range(sections) if page[table + 40 * i : table + 40 * i + 5] == b".text")
    here, end = table + 40 * index, table + 40 * sections
    size, rva = struct.unpack_from("<II", page, here + 8)
    kept = (size - 1) & -PAGE
    page[here + 80 : end + 40] = page[here + 40 : end]
    page[here + 40 : here + 80] = page[here : here + 40]
    struct.pack_into("<I", page, here + 8, kept)
    struct.pack_into("<8sII", page, here + 40, b"POOLCODE", size - kept, rva + kept)


def checksum(module: Module) -> int:
    """The CheckSum that the headers and the module list agree on."""
    return (module.timestamp * 0x9E3779B1 >> 7) & 0xFFFFF
