"""An image as it was built: contents, functions, tables, and the PDB that goes with it."""

from __future__ import annotations

import json
import lzma
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

PAGE = 0x1000
_AGE_IN_INFORMATION, _GUID_IN_INFORMATION, _AGE_IN_DBI = 8, 12, 8


@dataclass(frozen=True)
class Op:
    """One step of a prologue: push, alloc (bytes), save (`register` at [rsp+value]), frame (register is
    rsp+value), or machine (the processor pushed an interrupt frame; value 1: an error code, too)."""

    kind: str
    register: str
    value: int

    @property
    def taken(self) -> int:
        """Bytes of stack it takes (an interrupt frame is taken by the processor)."""
        return {"push": 8, "alloc": self.value}.get(self.kind, 0)


@dataclass(frozen=True)
class Function:
    """A function at `rva`. `parent` is the function that a split-off block belongs to.

    `calls` are (offset behind the call, callee); callee "*" is a call through a pointer. `held` tells, by
    offset behind a call, where variables are meanwhile: a register, or an offset from rsp.
    """

    name: str
    rva: int
    size: int
    ops: tuple[Op, ...]
    prologue: int  # bytes of code
    calls: tuple[tuple[int, str], ...]
    held: Mapping[int, Mapping[str, str | int]]
    parent: str

    @property
    def interrupt(self) -> bool:
        return any(op.kind == "machine" for op in self.ops)

    def after_call(self, callee: str) -> int | None:
        """Offset behind the first call of `callee`, or else behind the first call through a pointer."""
        exact = [after for after, name in self.calls if name == callee]
        pointers = [after for after, name in self.calls if name == "*"]
        return next(iter(exact + pointers), None)


@dataclass(frozen=True)
class Blueprint:
    """One image. All addresses are RVAs; `symbols` are its public names."""

    size: int
    entry: int
    debug: int  # its one IMAGE_DEBUG_DIRECTORY that counts
    codeview: int
    resource: int
    exception: tuple[int, int]
    sections: tuple[tuple[str, int, int], ...]  # name, RVA, size
    imports: tuple[tuple[int, str], ...]  # slot of the import address table, name
    relocations: tuple[int, ...]  # qwords that hold addresses
    symbols: Mapping[str, int]
    functions: tuple[Function, ...]
    pages: Mapping[int, bytes]
    pdb_id: tuple[str, int] | None  # of a kernel: that of the real build
    version: str
    types: Mapping[str, tuple[int, Mapping[str, int]]]  # of a kernel: size and field offsets
    identity: tuple[int, int]  # offsets in its PDB of the information stream and the DBI stream

    def function(self, name: str) -> Function:
        """KeyError when there is none. A public name that shares its address with another is as good."""
        rva = self.symbols.get(name)
        for function in self.functions:
            if function.rva == rva or function.name == name:
                return function
        raise KeyError(name)


@cache
def blueprint(name: str) -> Blueprint:
    """The image `name` ("srv2", "nt-17763", "driver-0"); FileNotFoundError when there is none."""
    head, _, contents = _unpacked(f"{name}.xz").partition(b"\n")
    told: dict[str, Any] = json.loads(head)
    pages = {rva: contents[index * PAGE : (index + 1) * PAGE] for index, rva in enumerate(told["pages"])}
    return Blueprint(
        size=told["size"],
        entry=told["entry"],
        debug=told["debug"],
        codeview=told["codeview"],
        resource=told["resource"],
        exception=(told["exception"][0], told["exception"][1]),
        sections=tuple((n, rva, size) for n, rva, size in told["sections"]),
        imports=tuple((slot, n) for slot, n in told["imports"]),
        relocations=tuple(told["relocations"]),
        symbols=told["symbols"],
        functions=tuple(_function(entry) for entry in told["functions"]),
        pages=pages,
        pdb_id=(told["pdb"][0], told["pdb"][1]) if "pdb" in told else None,
        version=told.get("version", ""),
        types={n: (size, fields) for n, (size, fields) in told.get("types", {}).items()},
        identity=(told["identity"][0], told["identity"][1]),
    )


def _function(told: dict[str, Any]) -> Function:
    return Function(
        name=told["name"],
        rva=told["rva"],
        size=told["size"],
        ops=tuple(Op(*op) for op in told["ops"]),
        prologue=told["prologue"],
        calls=tuple((after, callee) for after, callee in told["calls"]),
        held={int(after): places for after, places in told["held"].items()},
        parent=told["parent"],
    )


def pdb(name: str, guid: bytes, age: int) -> bytes:
    """The PDB of image `name`, with this GUID (16 bytes, as in memory) and age."""
    contents = bytearray(_unpacked(f"{name}.pdb.xz"))
    information, dbi = blueprint(name).identity
    struct.pack_into("<I", contents, information + _AGE_IN_INFORMATION, age)
    at = information + _GUID_IN_INFORMATION
    contents[at : at + 16] = guid
    struct.pack_into("<I", contents, dbi + _AGE_IN_DBI, age)
    return bytes(contents)


def _unpacked(name: str) -> bytes:
    return lzma.decompress(files("lab.twin.images").joinpath("data", name).read_bytes())
