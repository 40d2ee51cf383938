"""One dump, from the file to suspects. What cannot be read becomes a note, never a failure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from lab.analysis.facts import ExceptionFacts, Facts
from lab.analysis.origin import by_image, classify
from lab.analysis.rules import apply
from lab.analysis.rules.apc_count import signed16
from lab.analysis.signature import signature
from lab.analysis.suspects import rank
from lab.dumps.dump import open_dump
from lab.dumps.memory import u32, u64
from lab.kernel.devices import device_stack
from lab.kernel.dispatch import SavedState, find_device, find_saved_state
from lab.kernel.filters import Volume, find_volume
from lab.kernel.target import Kernel, open_kernel
from lab.kernel.threads import crashing_thread, read_thread
from lab.kernel.unwind import walk
from lab.kernel.verifier import read_verifier
from lab.model import (
    Bugcheck,
    DispatchState,
    Driver,
    DumpError,
    Frame,
    Module,
    Origin,
    ThreadFacts,
    Triage,
    VerifierFacts,
)
from lab.symbols.port import SymbolStore

T = TypeVar("T")

DISPATCH_CHECKED = frozenset({(0xC4, 0xC5), (0xC4, 0xC1), (0xC9, 0x12)})
"""Stops whose parameter 2 is a dispatch routine that nt!IovCallDriver had called."""

EXCEPTION_RECORD = {0x7E: 3, 0x1000007E: 3, 0x139: 3}
"""Which parameter (1..4) is the address of an EXCEPTION_RECORD."""

STATUS_IN_PARAMETER_1 = frozenset({0x7E, 0x1000007E, 0x1E, 0x3B, 0x8E, 0x1000008E})


def triage(
    path: Path | str,
    symbols: SymbolStore | None = None,
    known: Sequence[Driver] = (),
    *,
    allow_incomplete: bool = False,
) -> Triage:
    """Everything one dump says, and whom it speaks against.

    `known` are drivers as a guest reported them; their origin wins over what the dump says. Raises DumpError
    when the file is no kernel dump, or not whole (unless `allow_incomplete`), or has no module list, and
    ConfigurationError when there is no such file.
    """
    with open_dump(path, allow_incomplete=allow_incomplete) as dump:
        kernel = open_kernel(dump, symbols)
        notes = [_sentence(note) for note in kernel.notes]
        origins = by_image(known)
        bugcheck = dump.bugcheck
        modules = _modules(kernel, origins)
        thread = _try(notes, "The crashing thread", lambda: _thread(kernel, notes))
        stack = _try(notes, "The crashing thread's stack", lambda: tuple(walk(kernel, kernel.context))) or ()
        verifier = _try(notes, "Driver Verifier's settings", lambda: _verifier(kernel, notes))
        dispatch = _try(
            notes,
            "Verifier's saved state of the call",
            lambda: _dispatch(kernel, bugcheck, stack, origins, notes),
        )
        facts = Facts(
            bugcheck=bugcheck,
            modules=modules,
            thread=thread,
            stack=stack,
            verifier=verifier,
            dispatch=dispatch,
            exception=_exception(kernel, bugcheck),
        )
        evidence, said = apply(facts)
        notes.extend(said)
        return Triage(
            dump=dump.facts(),
            bugcheck=bugcheck,
            thread=thread,
            stack=stack,
            modules=modules,
            signature=signature(bugcheck, thread, stack),
            verifier=verifier,
            dispatch=dispatch,
            evidence=evidence,
            suspects=rank(facts, evidence),
            notes=tuple(dict.fromkeys(notes)),
        )


def _try(notes: list[str], what: str, read: Callable[[], T | None]) -> T | None:
    """The value, or None with a note. A damaged dump may also make a structure's bytes nonsense."""
    try:
        return read()
    except DumpError as error:
        notes.append(f"{what} could not be read: {error.message}.")
    except (struct.error, ValueError, OverflowError, IndexError, RecursionError) as error:
        notes.append(f"{what} could not be read, the dump is damaged there: {error}.")
    return None


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _modules(kernel: Kernel, origins: Mapping[str, Driver]) -> tuple[Module, ...]:
    found = []
    for loaded in kernel.modules:
        if loaded.base == kernel.nt.base:
            origin, because = Origin.IN_BOX, "the kernel itself"
        else:
            origin, because = classify(loaded.name, origins)
        pdb = f"{loaded.pdb.name}/{loaded.pdb.guid}{loaded.pdb.age:X}" if loaded.pdb else ""
        found.append(Module(loaded.name, loaded.base, loaded.size, loaded.timestamp, pdb, origin, because))
    return tuple(found)


def _thread(kernel: Kernel, notes: list[str]) -> ThreadFacts:
    address, how = crashing_thread(kernel)
    facts, said = read_thread(kernel, address)
    notes.extend(said)
    rsp = kernel.context.rsp
    if facts.stack_limit and facts.stack_base and not facts.stack_limit <= rsp < facts.stack_base:
        notes.append(
            f"The stack pointer {rsp:#x} is outside the stack of thread {address:#x} (found by {how}): the "
            "processor was on another stack, or this is not the thread."
        )
    return facts


def _verifier(kernel: Kernel, notes: list[str]) -> VerifierFacts:
    facts, said = read_verifier(kernel)
    notes.extend(said)
    return facts


def _dispatch(
    kernel: Kernel,
    bugcheck: Bugcheck,
    stack: tuple[Frame, ...],
    origins: Mapping[str, Driver],
    notes: list[str],
) -> DispatchState | None:
    """Verifier's saved state, the device stack, and the minifilters behind it."""
    kind, routine, _, before = bugcheck.parameters
    if (bugcheck.code, kind) not in DISPATCH_CHECKED:
        return None
    state = find_saved_state(kernel, routine, before, stack)
    if state is None:
        notes.append("Nothing on the stack or in a register has the invariants of Verifier's saved state.")
        state = _any_device(kernel, routine, before, stack, notes)
    if state is None:
        return None
    volume = _volume(kernel, state, notes)
    instances = tuple(
        replace(each, origin=classify(each.image, origins)[0])
        for each in (volume.instances if volume else ())
    )
    devices = device_stack(kernel, state.device.address)
    return DispatchState(
        address=state.address,
        found_in=state.found_in,
        checks=state.checks,
        dispatch_routine=routine,
        dispatch_symbol=kernel.symbol(routine),
        apc_before=state.apc_before,
        device=state.device.address,
        driver=state.device.driver.name,
        device_stack=tuple((device.address, device.driver.name) for device in devices),
        volume=volume.address if volume else 0,
        volume_name=volume.name if volume else "",
        instances=instances,
    )


def _any_device(
    kernel: Kernel, routine: int, before: int, stack: tuple[Frame, ...], notes: list[str]
) -> SavedState | None:
    """A stand-in for the saved state (address 0): some device of the routine's driver on the stack."""
    found = find_device(kernel, routine, stack)
    if found is None:
        return None
    device, where = found
    notes.append(
        f"Device {device.address:#x} ({where}) is taken for the one that was called, which is a guess."
    )
    checks = ("its driver has the dispatch routine of parameter 2",)
    return SavedState(0, where, checks, device, signed16(before))


def _volume(kernel: Kernel, state: SavedState, notes: list[str]) -> Volume | None:
    owner = kernel.module_at(state.device.driver.start)
    if owner is None or owner.name.casefold() != "fltmgr.sys":
        return None
    volume = _try(notes, "The filter manager's volume", lambda: find_volume(kernel, state.device))
    if volume is not None:
        notes.extend(volume.notes)
    return volume


def _exception(kernel: Kernel, bugcheck: Bugcheck) -> ExceptionFacts | None:
    """The exception of the stop: its record when the dump holds it, else what the parameters say."""
    number = EXCEPTION_RECORD.get(bugcheck.code)
    if number is not None:
        record = bugcheck.parameters[number - 1]
        try:
            code, address = u32(kernel.memory, record), u64(kernel.memory, record + 0x10)
        except DumpError:
            pass
        else:
            if code:
                return ExceptionFacts(
                    code, address, f"EXCEPTION_RECORD {record:#x}, bugcheck parameter {number}"
                )
    if bugcheck.code in STATUS_IN_PARAMETER_1:
        status, address = bugcheck.parameters[:2]
        return ExceptionFacts(status & 0xFFFFFFFF, address, "bugcheck parameters 1 and 2")
    return None
