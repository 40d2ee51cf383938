"""What an image holds, told by the LLVM tools: functions with prologues, calls and variables; tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.twin.images.make.tools import run
from lab.twin.images.make.variables import NONVOLATILE, Variable, changes, variables

BASE = 0x140000000
_RUN_NAMES = {
    True: (".text", "POOLCODE", "PAGE", "PAGELK", "PAGEVRFY", "PAGEKD"),
    False: (".data", "ALMOSTRO", "PAGEDATA"),
}


@dataclass
class Described:
    """`symbols` are RVAs of public names; `functions` by RVA and `facts` are plain values for JSON."""

    symbols: dict[str, int]
    functions: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A call: offsets of the instruction and of what follows it, and what it calls ("*": any)."""

    at: int
    after: int
    callee: str


def describe(image: Path, pdb: Path, *, runs: bool = False) -> Described:
    """Describe `image`. With `runs` it is a kernel whose sections have working names, changed here."""
    if runs:
        _rename(image)
    sections = _sections(image)
    symbols = _publics(pdb, sections)
    imports = _imports(image)
    facts: dict[str, Any] = {"imports": [[slot, name] for slot, name in sorted(imports.items())]}
    facts |= _headers(image)
    facts["sections"] = [[name, rva, size] for name, rva, size in sections]
    facts["relocations"] = [
        int(at, 16) - BASE * (int(at, 16) >= BASE)
        for kind, at in re.findall(
            r"Type: (\w+)\s+Address: 0x([0-9A-F]+)", run("llvm-readobj", "--coff-basereloc", image)
        )
        if kind == "DIR64"
    ]
    told = run("llvm-pdbutil", "dump", "-symbols", pdb)
    locals_ = variables(told, sections)
    lengths = {
        n: int(size) for n, size in re.findall(r"S_[GL]PROC32 .*?`(\S+)`.*?code size = (\d+)", told, re.S)
    }
    unwinding = _unwinding(run("llvm-readobj", "--unwind", image))
    names: dict[int, str] = {}
    for name, rva in sorted(symbols.items(), reverse=True):
        names[rva] = name
    functions = []
    for start, entry in sorted(unwinding.items()):
        name = names.get(start, "")
        parent = names.get(entry["parent"], "") if entry["parent"] is not None else ""
        functions.append(
            _function(image, name or f"{parent} (split)", start, entry, parent, names, imports, locals_)
        )
    code = {rva for rva, name in names.items() if _is_code(image, sections, rva)} - set(unwinding)
    for start in sorted(code):
        name = names[start]
        end = start + lengths[name] if name in lengths else _leaf_end(image, start)
        leaf = {"end": end, "ops": [], "prologue": 0, "parent": None}
        functions.append(_function(image, name, start, leaf, "", names, imports, locals_))
    return Described(symbols, sorted(functions, key=lambda f: f["rva"]), facts)


def _function(
    image: Path,
    name: str,
    start: int,
    entry: dict[str, Any],
    parent: str,
    names: dict[int, str],
    imports: dict[int, str],
    locals_: dict[str, list[Variable]],
) -> dict[str, Any]:
    code = _disassembled(image, start, entry["end"])
    calls = []
    for index, (at, instruction, operands) in enumerate(code):
        if not instruction.startswith("call"):
            continue
        after = code[index + 1][0] if index + 1 < len(code) else entry["end"]
        calls.append(Call(at - start, after - start, _callee(operands, names, imports)))
    held = {
        str(call.after): live
        for call in calls
        if (live := _live(locals_.get(name, []), call.at, start, code))
    }
    return {
        "name": name,
        "rva": start,
        "size": entry["end"] - start,
        "ops": entry["ops"],
        "prologue": entry["prologue"],
        "calls": [[call.after, call.callee] for call in calls],
        "held": held,
        "parent": parent,
    }


def _live(found: list[Variable], at: int, start: int, code: list[tuple[int, str, str]]) -> dict[str, Any]:
    """Where variables are at a call at offset `at`: name -> register, or offset from rsp."""
    live: dict[str, Any] = {}
    for variable in found:
        if variable.start > at or (variable.place not in NONVOLATILE and not isinstance(variable.place, int)):
            continue
        if isinstance(variable.place, str):
            between = [line for line in code if variable.end <= line[0] - start < at]
            if any(changes(variable.place, what, operands) for _, what, operands in between):
                continue
        live[variable.name] = variable.place
    return live


def _callee(operands: str, names: dict[int, str], imports: dict[int, str]) -> str:
    direct = re.match(r"0x([0-9a-f]+)", operands)
    if direct:
        return names.get(int(direct[1], 16) - BASE, "*")
    through = re.search(r"\(%rip\)\s+# 0x([0-9a-f]+)", operands)
    return imports.get(int(through[1], 16) - BASE, "*") if through else "*"


def _disassembled(image: Path, start: int, end: int) -> list[tuple[int, str, str]]:
    """(RVA, mnemonic, operands) of each instruction."""
    text = run(
        *("llvm-objdump", "-d", "--no-show-raw-insn"),
        *(f"--start-address={BASE + start:#x}", f"--stop-address={BASE + end:#x}", image),
    )
    lines = re.findall(r"^\s*([0-9a-f]+):\s+(\S+)[ \t]*(.*)$", text, re.MULTILINE)
    return [(int(at, 16) - BASE, what, operands) for at, what, operands in lines]


def _leaf_end(image: Path, start: int) -> int:
    """Behind the first return or jump of a function in assembler."""
    code = _disassembled(image, start, start + 0x100)
    for index, (_, instruction, _) in enumerate(code):
        if instruction in ("retq", "jmp", "jmpq"):
            return code[index + 1][0]
    raise SystemExit(f"{image}: {start:#x} does not end")


def _rename(image: Path) -> None:
    """Give the sections the names that those of a kernel have."""
    data = bytearray(image.read_bytes())
    taken: dict[bool, int] = {True: 0, False: 0}
    text = run("llvm-readobj", "--sections", image)
    for name, flags in re.findall(r"Name: (K\d\d) .*?Characteristics \[ \((0x[0-9A-F]+)\)", text, re.DOTALL):
        code = bool(int(flags, 16) & 0x20)
        options = _RUN_NAMES[code]
        new = options[taken[code]] if taken[code] < len(options) else f"PAGE{name[1:]}"
        taken[code] += 1
        _replace(data, name, new)
    _replace(data, "ZPDATA", ".pdata")
    _replace(data, "ZTAIL", ".rdata")
    image.write_bytes(data)


def _replace(data: bytearray, old: str, new: str) -> None:
    at = data.index(old.encode().ljust(8, b"\0"), 0, 0x1000)
    data[at : at + 8] = new.encode().ljust(8, b"\0")


def _sections(image: Path) -> list[tuple[str, int, int]]:
    found = re.findall(
        r"Name: (\S+) .*?VirtualSize: (0x[0-9A-F]+)\s+VirtualAddress: (0x[0-9A-F]+)",
        run("llvm-readobj", "--sections", image),
        re.DOTALL,
    )
    return [(name, int(rva, 16), int(size, 16)) for name, size, rva in found]


def _is_code(image: Path, sections: list[tuple[str, int, int]], rva: int) -> bool:
    names = {name for name, start, size in sections if start <= rva < start + size}
    code = re.findall(
        r"Name: (\S+) .*?Characteristics \[ \((0x[0-9A-F]+)\)",
        run("llvm-readobj", "--sections", image),
        re.DOTALL,
    )
    return any(name in names and int(flags, 16) & 0x20 for name, flags in code)


def _publics(pdb: Path, sections: list[tuple[str, int, int]]) -> dict[str, int]:
    text = run("llvm-pdbutil", "dump", "-publics", pdb)
    found = re.findall(r"S_PUB32 .*?`(\S+)`\s+flags = .*?addr = (\d+):(\d+)", text)
    return {
        name: sections[int(segment) - 1][1] + int(offset)
        for name, segment, offset in found
        if not name.startswith("__")
    }


def _imports(image: Path) -> dict[int, str]:
    """Slot of the import address table -> name of the function."""
    found: dict[int, str] = {}
    text = run("llvm-readobj", "--coff-imports", image)
    for table, names in re.findall(r"ImportAddressTableRVA: (0x[0-9A-F]+)(.*?)\n}", text, re.DOTALL):
        for index, name in enumerate(re.findall(r"Symbol: (\S+)", names)):
            found[int(table, 16) + 8 * index] = name
    return found


def _headers(image: Path) -> dict[str, Any]:
    text = run("llvm-readobj", "--file-headers", "--coff-debug-directory", image)

    def number(name: str) -> int:
        found = re.search(rf"\b{name}: (0x[0-9A-F]+|\d+)", text)
        if found is None:
            raise SystemExit(f"{image}: no {name}")
        return int(found[1], 0)

    return {
        "size": number("SizeOfImage"),
        "entry": number("AddressOfEntryPoint"),
        "debug": number("DebugRVA"),
        "codeview": number("AddressOfRawData"),
        "resource": number("ResourceTableRVA"),
        "exception": [number("ExceptionTableRVA"), number("ExceptionTableSize")],
    }


def _unwinding(text: str) -> dict[int, dict[str, Any]]:
    """RVA of each function with unwind information -> its end, prologue and the function it was split off."""
    found: dict[int, dict[str, Any]] = {}
    for block in text.split("  RuntimeFunction {")[1:]:
        ends = [int(n, 16) - BASE for n in re.findall(r"(?:Start|End)Address: .*?\(0x([0-9A-F]+)\)", block)]
        size = re.search(r"PrologSize: (\d+)", block)
        frame = re.search(r"FrameOffset: (0x[0-9A-F]+|\d+)", block)
        codes = re.findall(r"0x[0-9A-F]+: (\w+)(.*)", block)
        ops = [_op(kind, rest, frame) for kind, rest in reversed(codes)]
        found[ends[0]] = {
            "end": ends[1],
            "prologue": int(size[1]) if size else 0,
            "ops": [op for op in ops if op],
            "parent": ends[2] if "Chained {" in block else None,
        }
    return found


def _op(kind: str, rest: str, frame: re.Match[str] | None) -> list[Any]:
    register = re.search(r"reg=(\w+)", rest)
    name = register[1].lower() if register else ""
    size = re.search(r"(?:size|offset)=(0x[0-9A-F]+|\d+)", rest)
    value = int(size[1], 0) if size else 0
    match kind:
        case "PUSH_NONVOL":
            return ["push", name, 0]
        case "ALLOC_SMALL" | "ALLOC_LARGE":
            return ["alloc", "", value]
        case "SAVE_NONVOL" | "SAVE_NONVOL_FAR":
            return ["save", name, value]
        case "SET_FPREG":
            return ["frame", name, value]
        case "PUSH_MACHFRAME":
            return ["machine", "", int("errcode=yes" in rest)]
    raise SystemExit(f"unwind operation {kind}")
