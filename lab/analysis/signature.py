"""What makes two crashes the same: no addresses, no offsets, no builds."""

from __future__ import annotations

import re
from itertools import groupby

from lab.analysis.callers import TRAPS, outside_kernel
from lab.analysis.facts import Facts, function, stem
from lab.analysis.rules.dispatch_routine import KINDS as ROUTINES
from lab.analysis.rules.fault import INSTRUCTION_PARAMETER, NO_INSTRUCTION, fault_address
from lab.analysis.rules.parameters import named_image
from lab.analysis.rules.power import BLOCKED
from lab.analysis.stops import Role, describe, kind
from lab.model import Bugcheck, Frame, Signature, ThreadFacts
from lab.model.relation import EXCEPTIONS

DEPTH = 16
"""Frames of the stack that go into a signature."""

_REPORTING = frozenset({"nt!KeBugCheckEx", "nt!KeBugCheck2", "nt!KeBugCheck"}) | TRAPS
_PART_OF = re.compile(r"(\$(filt|fin|catch)\$\d+|\.(cold|part\.\d+|constprop\.\d+))+$")
"""What compilers append to the name of a part of a function that they split off."""

_ALIASES = {"nt!KxStartSystemThread": "nt!KiStartSystemThread", "nt!memmove": "nt!memcpy"}
"""Two names of one address in every build."""

_CALLER_AT_FAULT = frozenset({0xC4, 0xC9, 0xE6, 0xF7, 0x133})


def signature(
    bugcheck: Bugcheck, thread: ThreadFacts | None, stack: tuple[Frame, ...], fault: str = ""
) -> Signature:
    """The signature of one crash. Frames without a symbol keep only their module's name.

    `fault` is the place at fault, see `place_at_fault`.
    """
    functions = (plain(frame.symbol) for frame in stack if frame.symbol)
    named = [
        name for name in functions if name and name not in _REPORTING and not name.startswith(("0x", "<"))
    ]
    # Frames of a module without symbols all have its name: how many there are says nothing.
    named = [name for name, _ in groupby(named)]
    start = plain(thread.start) if thread else ""
    return Signature(
        code=bugcheck.code,
        sub_code=sub_code(bugcheck),
        thread_start=start if "!" in start else "",
        functions=tuple(named[:DEPTH]),
        fault=fault,
    )


def signature_of(facts: Facts) -> Signature:
    """The signature of a crash that has been read."""
    return signature(facts.bugcheck, facts.thread, facts.stack, place_at_fault(facts))


def sub_code(bugcheck: Bugcheck) -> int:
    """The kind where a bugcheck has several, the NTSTATUS of an exception, else 0."""
    if bugcheck.code in EXCEPTIONS:
        return bugcheck.parameters[0] & 0xFFFFFFFF
    if bugcheck.code == 0x139:
        return bugcheck.parameters[0]
    return kind(bugcheck) or 0


def plain(symbol: str) -> str:
    """The function of a symbol, whatever part of it the code was split into."""
    name = _PART_OF.sub("", function(symbol))
    return _ALIASES.get(name, name)


def place_at_fault(facts: Facts) -> str:
    """The function or module that the stop itself points at: "nt!memcpy", "BadDriver"; "" when at none.

    Not for damaged pool and APC disable counts: there the place tells who noticed, which changes from crash
    to crash.
    """
    code, parameters = facts.bugcheck.code, facts.bugcheck.parameters
    if code in INSTRUCTION_PARAMETER or code in NO_INSTRUCTION:
        return _named(facts, fault_address(facts)[0])
    if code == 0x139:
        found = facts.trap.instruction if facts.trap else facts.exception.address if facts.exception else 0
        return _named(facts, found)
    if code == 0x9F:
        request = facts.requests.get(parameters[3]) if parameters[0] == BLOCKED else None
        return _short(request.image) if request else ""
    if code in (0xCE, 0xEA, 0x116):
        return _by_parameters(facts)
    if code in _CALLER_AT_FAULT and (code, parameters[0]) not in ROUTINES:
        stack = outside_kernel(facts.stack)
        return _by_parameters(facts) or (plain(stack[0].symbol) if stack else "")
    return ""


def _by_parameters(facts: Facts) -> str:
    """What the first parameter that names a driver, or that is an address in one, leads to."""
    stop = describe(facts.bugcheck)
    pairs = zip(stop.parameters, facts.bugcheck.parameters, strict=True) if stop else ()
    for parameter, value in pairs:
        found = ""
        if parameter.role is Role.NAME:
            found = _short(named_image(facts, facts.texts.get(value, "")))
        elif parameter.role in (Role.CODE, Role.IMAGE, Role.MEMORY):
            found = _named(facts, value)
        if found:
            return found
    return ""


def _named(facts: Facts, address: int) -> str:
    """The function at `address` if the stack or the trap frame has its name, else the module."""
    if not address:
        return ""
    if facts.trap is not None and facts.trap.instruction == address:
        return plain(facts.trap.symbol)
    frame = next((f for f in facts.stack if f.instruction == address and f.symbol), None)
    if frame is not None:
        return plain(frame.symbol)
    module = facts.module_at(address)
    if module is not None:
        return _short(module.name)
    gone = facts.unloaded_at(address)
    return _short(gone.name) if gone is not None else ""


def _short(image: str) -> str:
    """An image as it stands in symbols: "nt", "BadDriver"."""
    short = stem(image)
    return short if short == "nt" else image[: len(short)]
