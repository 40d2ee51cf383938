"""C declarations of structures whose fields must lie at given offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Field = tuple[str, int, int, str]
"""Name, offset, size, and the C declaration with %s for the name."""

_TAIL = """union {{
struct {{ unsigned char Reserved0[{list}]; struct _LIST_ENTRY ListEntry;
union {{ struct _IO_STACK_LOCATION *CurrentStackLocation; unsigned int PacketType; }};
struct _FILE_OBJECT *OriginalFileObject; }} Overlay;
unsigned char Apc[{size}]; }} %s"""


def header(types: dict[str, Any]) -> str:
    """All of `types` ({name: {"size", "fields"}}), each behind what it contains."""
    done: list[str] = []
    lines = ["#pragma once", "#pragma pack(push, 1)"]

    def declare(name: str) -> None:
        if name in done or name not in types:
            return
        done.append(name)
        fields = [_field(name, field) for field in types[name]["fields"]]
        for _, _, _, declared in fields:
            contained = re.match(r"struct (\w+) %s", declared)
            if contained:
                declare(contained[1])
        lines.append(structure(name, types[name]["size"], fields))

    for name in sorted(types):
        declare(name)
    return "\n".join([*lines, "#pragma pack(pop)", ""])


def _field(owner: str, field: list[Any]) -> Field:
    name, offset, size, declared = field
    if (owner, name) == ("_IRP", "Tail"):
        declared = _TAIL.format(list=0x30, size=size)
    return name, offset, size, declared


def structure(name: str, size: int, fields: Iterable[Field]) -> str:
    """One structure; fields that overlap become the alternatives of an anonymous union."""
    return f"struct {name} {{\n{_members(sorted(fields, key=lambda f: (f[1], -f[2])), 0, size, [0])}}};"


def _members(fields: list[Field], start: int, end: int, padding: list[int]) -> str:
    text, at, index = "", start, 0
    while index < len(fields):
        cluster = [fields[index]]
        stop = fields[index][1] + fields[index][2]
        while index + len(cluster) < len(fields) and fields[index + len(cluster)][1] < stop:
            cluster.append(fields[index + len(cluster)])
            stop = max(stop, cluster[-1][1] + cluster[-1][2])
        first = cluster[0][1]
        text += _gap(first - at, padding)
        text += f"{cluster[0][3] % cluster[0][0]};\n" if len(cluster) == 1 else _union(cluster, padding)
        at, index = stop, index + len(cluster)
    return text + _gap(end - at, padding)


def _union(cluster: list[Field], padding: list[int]) -> str:
    chains: list[list[Field]] = []
    for field in cluster:
        for chain in chains:
            if chain[-1][1] + chain[-1][2] <= field[1]:
                chain.append(field)
                break
        else:
            chains.append([field])
    start = cluster[0][1]
    parts = []
    for chain in chains:
        if len(chain) == 1 and chain[0][1] == start:
            parts.append(f"{chain[0][3] % chain[0][0]};\n")
        else:
            body = _members(chain, start, chain[-1][1] + chain[-1][2], padding)
            parts.append(f"struct {{ {body} }};\n")
    return "union { " + "".join(parts) + "};\n"


def _gap(size: int, padding: list[int]) -> str:
    if size <= 0:
        return ""
    padding[0] += 1
    return f"unsigned char Gap_{padding[0]}[{size}];\n"
