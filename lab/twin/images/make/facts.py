"""Collect what the kernel sources need of each build into `facts.json.xz`: addresses and layouts.

    python -m lab.twin.images.make.facts FOLDER

FOLDER holds ISF files of the public symbols of ntkrnlmp.pdb (JPCERT/CC's Windows symbol tables,
BSD-3-Clause). A build without a file takes addresses from the built-in kernel tables, and the layouts of its
neighbour but for the fields that the built-in tables know.
"""

from __future__ import annotations

import json
import lzma
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from lab.twin.images.make import FACTS
from lab.twin.images.make.names import FUNCTIONS, STRUCTURES, VARIABLES

PDBS = {
    7601: "339E74133576439CBCDF7E0229DA3773-1",
    9600: "169C65213E3E42DDBEB4E3AC66312B82-1",
    14393: "DBBC830E3E9A48FDA25A2144C146930E-1",
    17763: "1806D020A6E46538D7AC3325FAC114D8-1",
    18362: "",
    19041: "5278AFF86C341677D7D7835C85B7B844-1",
    20348: "879AD95F3461091BB6318FA98072AD8E-1",
    22000: "",
}
NEIGHBOUR = {18362: 17763, 22000: 20348}
_SCALARS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}
_MAIN = {"_KTHREAD": "KTHREAD", "_ETHREAD": "ETHREAD", "_EPROCESS": "EPROCESS", "_KPRCB": "KPRCB"}


def collect(folder: Path) -> dict[str, Any]:
    rows = json.loads(lzma.decompress(files("lab.symbols").joinpath("data/kernels.json.xz").read_bytes()))
    facts: dict[str, Any] = {}
    for build, key in PDBS.items():
        if key:
            isf = json.loads(lzma.decompress((folder / f"{key}.json.xz").read_bytes()))
            row = next(row for row in rows if row["guid_age"] == key)
            names = {n: s["address"] for n, s in isf["symbols"].items() if n in (*FUNCTIONS, *VARIABLES)}
            types = {name: _layout(isf, name) for name in STRUCTURES if name in isf["user_types"]}
        else:
            row = [row for row in rows if row["version"].split(".")[2] == str(build)][-1]
            names = {n: a for n, a in row["rva"].items() if a and n in (*FUNCTIONS, *VARIABLES)}
            types = _like_neighbour(facts[str(NEIGHBOUR[build])]["types"], row)
        facts[str(build)] = {
            "pdb": row["guid_age"],
            "version": row["version"],
            "symbols": names,
            "types": types,
        }
    return facts


def _like_neighbour(types: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    found = dict(types)
    for name, key in _MAIN.items():
        own = {field: at for field, at in row[key].items() if at is not None}
        fields = [[f, own[f], *rest] for f, _, *rest in types[name]["fields"] if f in own]
        found[name] = {"size": row[f"{key}_size"], "fields": fields}
    thread, processor = found["_KTHREAD"]["size"], found["_KPRCB"]["size"]
    process = found["_KPROCESS"]["size"]
    found["_ETHREAD"]["fields"].insert(0, ["Tcb", 0, thread, "struct _KTHREAD %s"])
    found["_EPROCESS"]["fields"].insert(0, ["Pcb", 0, process, "struct _KPROCESS %s"])
    fields = [[f, at, processor if f == "Prcb" else n, t] for f, at, n, t in types["_KPCR"]["fields"]]
    found["_KPCR"] = {"size": 0x180 + processor, "fields": fields}
    return found


def _layout(isf: dict[str, Any], name: str) -> dict[str, Any]:
    """Size, and [field, offset, size, C type with %s for the name] by offset. Bit fields are left out."""
    described = isf["user_types"][name]
    fields = []
    for field, entry in described["fields"].items():
        size, declared = _declared(isf, entry["type"], field)
        if size:
            fields.append([field, entry["offset"], size, declared])
    return {"size": described["size"], "fields": sorted(fields, key=lambda f: (f[1], -f[2]))}


def _declared(isf: dict[str, Any], kind: dict[str, Any], field: str) -> tuple[int, str]:
    what = kind["kind"]
    if what == "pointer":
        target = kind["subtype"]
        if target["kind"] == "struct" and target["name"] in STRUCTURES:
            return 8, f"struct {target['name']} *%s"
        return 8, "void *%s"
    if what == "base":
        size = isf["base_types"][kind["name"]]["size"]
        signed = isf["base_types"][kind["name"]]["signed"]
        text = _SCALARS.get(size, "")
        return size, (text.replace("unsigned", "signed") if signed else text) + " %s" if text else ""
    if what == "enum":
        return 4, "int %s"
    if what in ("struct", "union"):
        if kind["name"] in STRUCTURES:
            return isf["user_types"][kind["name"]]["size"], f"struct {kind['name']} %s"
        size = isf["user_types"][kind["name"]]["size"]
        return size, f"{_SCALARS[size]} %s" if size in _SCALARS else f"unsigned char %s[{size}]"
    if what == "array":
        size, inner = _declared(isf, kind["subtype"], field)
        if "[" in inner:
            return size * kind["count"], f"unsigned char %s[{size * kind['count']}]"
        return size * kind["count"], inner.replace("%s", f"%s[{kind['count']}]")
    return 0, ""


if __name__ == "__main__":
    FACTS.write_bytes(
        lzma.compress(json.dumps(collect(Path(sys.argv[1])), separators=(",", ":")).encode(), preset=9)
    )
