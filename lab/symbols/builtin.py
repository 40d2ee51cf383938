"""Built-in tables of public kernel builds: a few dozen names and the layouts the analyser needs."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from lab.symbols.layouts import Layout, layouts
from lab.symbols.nearest import in_order
from lab.symbols.port import PdbId

_TABLES = {"KTHREAD": "_KTHREAD", "ETHREAD": "_ETHREAD", "EPROCESS": "_EPROCESS", "KPRCB": "_KPRCB"}
_FAMILY = {19042: 19041, 19043: 19041, 19044: 19041, 19045: 19041, 18363: 18362, 18326: 18362}
"""Builds that are another one's kernel under a new number."""


@dataclass(frozen=True)
class BuiltinKernel:
    """A ModuleSymbols of one kernel build, or of what several builds have in common (`pdb` is None).

    The table is sparse: `nearest` answers only where a name lies exactly, since what lies between two
    of its names is not known.
    """

    source: str
    pdb: PdbId | None
    build: int
    rvas: dict[str, int] = field(repr=False)
    types: dict[str, Layout] = field(repr=False)

    def rva(self, name: str) -> int | None:
        return self.rvas.get(name)

    def nearest(self, rva: int) -> tuple[str, int] | None:
        found = sorted(name for name, address in self.rvas.items() if address == rva)
        return (found[0], 0) if found else None

    def offset(self, type_name: str, field: str) -> int | None:
        layout = self.types.get(type_name)
        return layout[1].get(field) if layout else None

    def size(self, type_name: str) -> int | None:
        layout = self.types.get(type_name)
        return layout[0] if layout else None

    def names(self) -> Iterator[tuple[str, int]]:
        return iter(self.rvas.items())

    def fields(self, type_name: str) -> tuple[tuple[str, int], ...]:
        layout = self.types.get(type_name)
        return in_order(layout[1].items()) if layout else ()


def builtin_kernel(pdb: PdbId) -> BuiltinKernel | None:
    """The table of exactly this PDB, or None."""
    key = f"{pdb.guid.upper()}-{pdb.age:x}"
    return _of_id(key) if key in _rows() else None


def identify_kernel(
    *,
    base: int | None,
    module_list: int | None,
    process_list: int | None,
    debugger_data: int | None = None,
    bugcheck_rip: int | None = None,
    build: int = 0,
) -> BuiltinKernel | None:
    """The kernel whose PsLoadedModuleList and PsActiveProcessHead are where a dump's header has them.

    `base` is the kernel's load address; without it every address that puts both on their place and is
    page-aligned is accepted. Where several builds agree, the debugger data block, the build number and
    the address of KeBugCheckEx decide; if they do not, the result holds only what the builds share.
    None when no build fits.
    """
    if module_list is None or process_list is None:
        return None

    def holds(kernel: BuiltinKernel, name: str, address: int | None) -> bool:
        rva = kernel.rvas.get(name)
        return rva is not None and kernel_base(kernel, module_list) + rva == address

    found = [
        kernel
        for kernel in map(_of_id, _with_heads(process_list - module_list))
        if (start := kernel_base(kernel, module_list)) & 0xFFF == 0 and base in (None, start)
    ]
    for name, address in (("KdDebuggerDataBlock", debugger_data), ("KeBugCheckEx", bugcheck_rip)):
        found = [kernel for kernel in found if holds(kernel, name, address)] or found
    found = [kernel for kernel in found if _family(kernel.build) == _family(build)] or found
    if base is None and len({kernel_base(kernel, module_list) for kernel in found}) > 1:
        return None
    return _common(found) if len(found) > 1 else (found[0] if found else None)


def builtin_layouts(build: int) -> BuiltinKernel | None:
    """Layouts without names, as all known kernels of `build` have them; None for an unknown build.

    Updates of a build move code and data about, but have not been seen to move fields.
    """
    alike = list(kernels(_family(build)))
    if not alike:
        return None
    return replace(_common(alike), source=f"layouts of build {_family(build)}", rvas={}, pdb=None)


def kernel_base(kernel: BuiltinKernel, module_list: int) -> int:
    """Where `kernel` is loaded if its PsLoadedModuleList is at `module_list`."""
    return module_list - kernel.rvas["PsLoadedModuleList"]


def kernels(family: int = 0) -> tuple[BuiltinKernel, ...]:
    """All built-in tables, or those of the builds that are `family` or another name of it."""
    return tuple(_of_id(key) for key, row in _rows().items() if family in (0, _family(_build(row))))


def _with_heads(distance: int) -> list[str]:
    """Ids of the kernels whose PsActiveProcessHead is so many bytes behind PsLoadedModuleList."""
    return [
        key
        for key, row in _rows().items()
        if row["rva"]["PsActiveProcessHead"] - row["rva"]["PsLoadedModuleList"] == distance
    ]


@cache
def _rows() -> dict[str, dict[str, Any]]:
    """The tables as they are stored, by `GUID-age`. A kernel is made of one when it is asked for."""
    packed = (Path(__file__).parent / "data" / "kernels.json.xz").read_bytes()
    return {row["guid_age"]: row for row in json.loads(lzma.decompress(packed))}


def _build(row: dict[str, Any]) -> int:
    return int(row["version"].split(".")[2])


@cache
def _of_id(key: str) -> BuiltinKernel:
    row = _rows()[key]
    guid, age = key.split("-")
    build = _build(row)
    types = layouts(_family(build))
    for key, name in _TABLES.items():
        fields = {k: v for k, v in row[key].items() if v is not None}
        types[name] = (row.get(f"{key}_size"), fields)
    names = {name: rva for name, rva in row["rva"].items() if rva is not None}
    source = f"built-in table {row['version']}"
    return BuiltinKernel(source, PdbId(row["pdb"], guid, int(age, 16)), build, names, types)


def _family(build: int) -> int:
    return _FAMILY.get(build, build)


def _common(found: list[BuiltinKernel]) -> BuiltinKernel:
    """What all of `found` agree on."""
    first, rest = found[0], found[1:]
    names = {n: a for n, a in first.rvas.items() if all(k.rvas.get(n) == a for k in rest)}
    types: dict[str, Layout] = {}
    for name, (size, fields) in first.types.items():
        if any(name not in k.types for k in rest):
            continue
        shared = {f: o for f, o in fields.items() if all(k.types[name][1].get(f) == o for k in rest)}
        types[name] = (size if all(k.types[name][0] == size for k in rest) else None, shared)
    versions = [kernel.source.rpartition(" ")[2] for kernel in found]
    return BuiltinKernel(
        f"built-in tables {versions[0]} ... {versions[-1]} ({len(versions)} alike)",
        None,
        first.build,
        names,
        types,
    )
