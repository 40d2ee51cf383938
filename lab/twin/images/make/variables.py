"""Where a function's parameters and variables live, as its PDB says."""

from __future__ import annotations

import re
from dataclasses import dataclass

NONVOLATILE = frozenset({"rbx", "rbp", "rsi", "rdi", "r12", "r13", "r14", "r15"})


@dataclass(frozen=True)
class Variable:
    """A range of a function's code, by offsets from its start, in which a variable has one place.

    The place is a register, or an offset from rsp.
    """

    name: str
    place: str | int
    start: int
    end: int


def variables(text: str, sections: list[tuple[str, int, int]]) -> dict[str, list[Variable]]:
    """Function -> ranges, in the order of `llvm-pdbutil dump -symbols`, whose output `text` is."""
    found: dict[str, list[Variable]] = {}
    function, begin, name = "", 0, ""
    for record in re.split(r"\n +\d+ \| ", text):
        kind = record.split(" ", 1)[0]
        if kind in ("S_GPROC32", "S_LPROC32"):
            told = re.search(r"`(\S+)`.*?addr = (\d+):(\d+)", record, re.DOTALL)
            assert told is not None
            function = told[1]
            begin = sections[int(told[2]) - 1][1] + int(told[3])
            found[function] = []
        elif kind == "S_LOCAL":
            name = re.findall(r"`(\S+)`", record)[0]
        elif kind.startswith("S_DEFRANGE") and function:
            place = _place(kind, record)
            where = re.search(r"(?:range start = |range = \[)(\d+):(\d+)(?:, length = |,\+)(\d+)", record)
            if where is None or place is None:
                continue
            start = sections[int(where[1]) - 1][1] + int(where[2]) - begin
            found[function].append(Variable(name, place, start, start + int(where[3])))
    return found


def _place(kind: str, record: str) -> str | int | None:
    if kind == "S_DEFRANGE_REGISTER":
        register = re.search(r"register = (\w+)", record)
        return _whole(register[1].lower()) if register else None
    if kind in ("S_DEFRANGE_FRAMEPOINTER_REL", "S_DEFRANGE_REGISTER_REL"):
        offset = re.search(r"offset = (-?\d+)", record)
        based = re.search(r"register = (\w+)", record)
        if offset is None or (based is not None and based[1] != "RSP"):
            return None
        return int(offset[1])
    return None


def _names(register: str) -> tuple[str, ...]:
    if register[1].isdigit():
        return register, f"{register}d", f"{register}w", f"{register}b"
    stem = register[1:]
    return register, f"e{stem}", stem, f"{stem[0]}l" if stem == "bx" else f"{stem}l"


def _whole(register: str) -> str:
    return next((whole for whole in NONVOLATILE if register in _names(whole)), register)


def changes(register: str, instruction: str, operands: str) -> bool:
    """Whether an instruction (AT&T) writes `register`."""
    if instruction.startswith(("cmp", "test", "push", "call", "jmp")):
        return False
    last = operands.split("#")[0].strip().rsplit(" ", 1)[-1]
    return last.removeprefix("%") in _names(register)
