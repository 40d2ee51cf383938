"""From the kernel's objects to the facts that the rules reason about. Every reader may fail by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lab.analysis.facts import Facts
from lab.analysis.gather.attempt import attempt, quietly, sentence
from lab.analysis.gather.dispatch import read_call
from lab.analysis.gather.exception import in_short, read_record, read_trap
from lab.analysis.gather.modules import read_modules, read_unloaded
from lab.analysis.gather.parameters import named_driver, read_targets, with_users
from lab.analysis.gather.wanted import without_id
from lab.kernel.power import read_power_failure
from lab.kernel.processors import read_processors
from lab.kernel.target import Kernel
from lab.kernel.threads import crashing_thread, read_thread
from lab.kernel.unwind import walk
from lab.kernel.verifier import read_verifier
from lab.model import (
    DispatchState,
    Driver,
    FilterInstance,
    Module,
    Origin,
    ThreadFacts,
    VerifierFacts,
)


def gather(kernel: Kernel, known: Mapping[str, Driver]) -> tuple[Facts, tuple[str, ...]]:
    """(facts, notes) of one stopped kernel. `known` are drivers as a guest reported them (`by_image`).

    What cannot be read is noted, never raised.
    """
    notes = [sentence(note) for note in kernel.notes]
    bugcheck = kernel.bugcheck
    thread = attempt(notes, "The crashing thread", lambda: _thread(kernel, notes))
    stack = attempt(notes, "The crashing thread's stack", lambda: walk(kernel)) or ()
    verifier = attempt(notes, "Driver Verifier's settings", lambda: _verifier(kernel, notes))
    call = attempt(
        notes, "Verifier's saved state of the call", lambda: read_call(kernel, bugcheck, stack, notes)
    )
    instances = (*(call.state.instances if call and call.state else ()), *(call.elsewhere if call else ()))
    power = attempt(notes, "What the power failure leads to", lambda: read_power_failure(kernel))
    targets = read_targets(kernel, bugcheck, [each.device for each in power.waiting] if power else ())
    touched = (*(frame.instruction for frame in stack), *bugcheck.parameters)
    named = targets.images | _callers(verifier) | {instance.image for instance in instances}
    modules = read_modules(kernel, known, touched, named, instances, notes)
    record = read_record(kernel, bugcheck)
    foreign = frozenset(m.name.casefold() for m in modules if m.origin is not Origin.IN_BOX)
    facts = Facts(
        bugcheck=bugcheck,
        modules=modules,
        thread=thread,
        stack=stack,
        verifier=verifier,
        dispatch=_with_origins(call.state, modules) if call and call.state else None,
        exception=in_short(record),
        record=record,
        trap=read_trap(kernel, bugcheck),
        named=named_driver(kernel),
        major=call.major if call else None,
        elsewhere=with_origins(call.elsewhere, modules) if call else (),
        power=power,
        processors=quietly(lambda: read_processors(kernel)) or (),
        unloaded=read_unloaded(kernel),
        texts=targets.texts,
        devices=targets.devices,
        requests=targets.requests,
        pool=with_users(kernel, targets.pool, foreign),
        stacks=targets.stacks,
        known=known,
    )
    return facts, (*notes, *without_id(kernel, stack))


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


def _callers(verifier: VerifierFacts | None) -> set[str]:
    """The drivers in verifier's logs."""
    if verifier is None:
        return set()
    return {entry.caller for entry in verifier.log} | {entry.caller for entry in verifier.irp_log}


def _with_origins(state: DispatchState, modules: tuple[Module, ...]) -> DispatchState:
    return replace(state, instances=with_origins(state.instances, modules))


def with_origins(
    instances: tuple[FilterInstance, ...], modules: tuple[Module, ...]
) -> tuple[FilterInstance, ...]:
    """The instances, each with the origin of its driver's image."""
    origins = {module.name.casefold(): module.origin for module in modules}
    return tuple(replace(i, origin=origins.get(i.image.casefold(), Origin.UNKNOWN)) for i in instances)
