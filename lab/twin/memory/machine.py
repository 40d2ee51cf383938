"""A whole crashed machine in memory, made from its CrashState."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from lab.twin.crash import CrashState, Stop
from lab.twin.memory.blame import blamed
from lab.twin.memory.checks import BLAMING
from lab.twin.memory.crashstack import Verified, frames, lay_crash
from lab.twin.memory.debugger import (
    place_physical_memory_block,
    write_debugger_data,
    write_physical_memory_block,
)
from lab.twin.memory.devices import Stacks, read_request
from lab.twin.memory.filters import write_filter_manager
from lab.twin.memory.image import write_image
from lab.twin.memory.layout import Layout, layout
from lab.twin.memory.loader import write_modules, write_unloaded
from lab.twin.memory.pagemaps import ranges
from lab.twin.memory.physical import PAGE, Memory, Pool
from lab.twin.memory.shared import write_shared_data
from lab.twin.memory.stack import Registers, context, lay
from lab.twin.memory.stops import (
    IN_IDLE_THREAD,
    dispatch_symbol,
    is_deep,
    names,
    stop_of,
    waiting_stack,
)
from lab.twin.memory.threads import (
    RUNNING,
    Thread,
    Threads,
    ThreadState,
    place_thread,
    write_processes,
    write_processor,
    write_thread,
)
from lab.twin.memory.verifier import THUNKS, call_driver_data, write_verifier

_POOL_SIZE = 0x4000000
_MOST_RUNS = 42  # in DUMP_HEADER64
_STANDBY = 3
_TICKS = 64  # clock ticks a second


@dataclass(frozen=True)
class Machine:
    """What a dump is written from."""

    layout: Layout
    memory: Memory
    runs: tuple[tuple[int, int], ...]  # of physical memory: first frame, frames
    frames: list[int]  # those that exist, sorted
    code: int
    parameters: tuple[int, int, int, int]
    registers: Registers
    thread: int
    process: int
    prcb: int
    stack_base: int
    module_entries: tuple[int, ...]
    unloaded: tuple[tuple[str, int, int], ...]  # name, start, end


def crashed_machine(state: CrashState, *, filler_pages: int, tight: bool = False) -> Machine:
    """Build it; takes some tens of milliseconds. ValueError when `state` contradicts itself.

    With `tight` the machine has little more physical memory than what exists of it.
    """
    at = layout(state)
    rng = Random(f"machine {state.build} {state.seed}")
    memory = Memory(rng, directory=at.directory, self_map=at.self_map, five_levels=state.five_levels)
    pool = Pool(memory, at.pool, _POOL_SIZE, rng)
    entries = _write_images(memory, pool, at, state)
    unloaded = write_unloaded(memory, pool, at, state)
    threads = Threads(write_processes(memory, pool, at, started=state.system_time - state.uptime_seconds))
    logged = {one.thread for one in state.region_log} | {one.thread for one in state.irp_log}
    keys = sorted(logged - {state.thread})
    for index, key in enumerate([state.thread, *keys]):
        threads.by_key[key] = place_thread(memory, pool, at, rng, index)
    idle = [place_thread(memory, pool, at, rng, 0x200 + number) for number in range(state.processors)]
    in_idle = state.stop in IN_IDLE_THREAD
    crashing = idle[state.seed % state.processors] if in_idle else threads.by_key[state.thread]
    addresses = {key: thread.address for key, thread in threads.by_key.items()}
    counters = write_verifier(memory, pool, at, state, addresses, rng)
    owner = state.dispatch_owner if is_deep(state) and at.has(state.dispatch_owner) else ""
    stacks = Stacks(memory, pool, at, owner)
    write_filter_manager(memory, pool, at, stacks, state.volume, state.instances)
    verified = _verified_calls(memory, pool, at, state, stacks, crashing)
    code, parameters = stop_of(state, at)
    if state.stop in BLAMING:
        parameters = blamed(memory, pool, at, state, entries, counters, parameters)
    write_debugger_data(memory, at, code, parameters, state.processors, encoded=state.encoded_kdbg)
    stop = code, parameters
    registers = lay_crash(memory, at, state, crashing.top, crashing.address, verified, stop)
    _write_threads(memory, at, state, threads, rng)
    prcb, nobody = _write_processors(memory, pool, at, state, idle, crashing, registers)
    if state.stop is Stop.DISPATCH_CHANGED_APC:
        for index, value in enumerate((code, *parameters)):
            memory.u64(at.variable("VfBugcheckTmpData") + 8 * index, value)
    for name in state.without_headers:
        memory.leave_out(at.module(name).base, 1)
    _fill(memory, at, filler_pages, state)
    write_shared_data(memory, at, state)
    block = place_physical_memory_block(memory, pool, at)
    runs = _tight_runs(memory) if tight else memory.runs
    write_physical_memory_block(memory, block, runs)
    return Machine(
        layout=at,
        memory=memory,
        runs=runs,
        frames=memory.frames,
        code=code,
        parameters=parameters,
        registers=registers,
        thread=crashing.address,
        process=nobody if in_idle else threads.process,
        prcb=prcb,
        stack_base=crashing.base,
        module_entries=tuple(entries.values()),
        unloaded=unloaded,
    )


def _tight_runs(memory: Memory) -> tuple[tuple[int, int], ...]:
    """At most as many runs as a header has room for, around all frames that exist."""
    found = ranges(memory.frames)
    gaps = [later[0] - sum(run) for run, later in pairwise(found)]
    widest = sorted(range(len(gaps)), key=lambda index: -gaps[index])[: _MOST_RUNS - 1]
    starts = [0, *(index + 1 for index in sorted(widest))]
    ends = [*(start - 1 for start in starts[1:]), len(found) - 1]
    return tuple(
        (found[first][0], sum(found[last]) - found[first][0])
        for first, last in zip(starts, ends, strict=True)
    )


def _write_images(memory: Memory, pool: Pool, at: Layout, state: CrashState) -> dict[str, int]:
    """All images; returns their entries in the list of modules, by file name, in load order."""
    verified = {name.casefold() for name in state.verified} if state.verifier_level else set()

    def resolve(name: str) -> int:
        return at.address(f"{'hal' if name.startswith('Hal') else 'nt'}!{name}")

    exceptions = {}
    for module in at.modules:
        watched = THUNKS if module.name.casefold() in verified else {}
        exceptions[module.name] = write_image(memory, module, resolve, watched)
    entries = write_modules(memory, pool, at, exceptions)
    return {module.name: entry for module, entry in zip(at.modules, entries, strict=True)}


def _verified_calls(
    memory: Memory, pool: Pool, at: Layout, state: CrashState, stacks: Stacks, thread: Thread
) -> tuple[Verified, ...]:
    """Verifier's records of the IoCallDrivers on the stack, outermost first; the last one is the culprit."""
    on_stack = names(state, at)
    positions = [index for index, name in enumerate(on_stack) if name == "nt!IovCallDriver"]
    if not positions:
        return ()
    targets = [
        (stacks.fltmgr, at.address("fltmgr!FltpDispatch")),
        (stacks.ntfs, at.address("Ntfs!NtfsFsdRead")),
        (stacks.class_filter, at.address(dispatch_symbol(state, at))),
    ]
    devices = [device for device, _ in targets[: len(positions)]]
    irp = read_request(memory, pool, devices, stacks.disk, thread.address, stacks.vpb)
    found = []
    for position, (device, dispatch) in zip(positions, targets, strict=False):
        caller = at.after_call(on_stack[position - 1], "nt!IovCallDriver")
        record = call_driver_data(
            dispatch=dispatch, device=device, irp=irp, caller=caller, before=state.apc_before & 0xFFFF
        )
        data = 0 if state.state_on_stack else pool.put(record, b"VfIo")
        found.append(Verified(data, device, irp, record))
    return tuple(found)


def _write_threads(memory: Memory, at: Layout, state: CrashState, threads: Threads, rng: Random) -> None:
    ticks = int(state.uptime_seconds * _TICKS)
    waits = at.address("nt!SwapContext") + at.function("nt!SwapContext").prologue
    filtering = {instance.image.casefold() for instance in state.instances}
    readers = {entry.thread for entry in state.region_log if entry.image.casefold() in filtering}
    for key, thread in threads.by_key.items():
        is_ = ThreadState(
            wait_time=max(0, ticks - rng.randrange(1, 200)) & 0xFFFFFFFF,
            context_switches=rng.randrange(1000, 200_000),
            kernel_time=rng.randrange(20, 400),
        )
        if key == state.thread and state.stop not in IN_IDLE_THREAD:
            start = "nt!ExpWorkerThread" if state.stop is Stop.POOL_LEAKED else "srv2!SrvProcWorkerThread"
            is_ = replace(
                is_,
                start=at.address(start),
                saved_rsp=thread.top - 0x400,
                state=RUNNING,
                kernel_apc_disable=state.apc_now,
                terminated=state.stop is Stop.APC_PENDING_DURING_EXIT,
            )
        else:
            start = "srv2!SrvProcWorkerThread" if key in readers else "nt!ExpWorkerThread"
            stack = frames(at, waiting_stack(start), waits, {})
            waiting, _ = lay(memory, thread.top, stack, {}, entered=False)
            is_ = replace(is_, start=at.address(start), saved_rsp=waiting.rsp, priority=13)
        write_thread(memory, at, threads, thread, is_)


def _write_processors(
    memory: Memory,
    pool: Pool,
    at: Layout,
    state: CrashState,
    idle_threads: list[Thread],
    crashing: Thread,
    registers: Registers,
) -> tuple[int, int]:
    """The processor that crashed (by the seed), and the others in their idle loop.

    Returns the KPRCB of the first, and the process of the idle threads.
    """
    crashed = state.seed % state.processors
    nobody = Threads(pool.take(at.kernel.sizes["EPROCESS"], b"Proc"), process_id=0)
    for offset in (0x30, at.kernel.at("EPROCESS.ThreadListHead")):
        memory.u64(nobody.process + offset, nobody.process + offset)
        memory.u64(nobody.process + offset + 8, nobody.process + offset)
    prcbs: list[int] = []
    here = at.after_call("nt!KiIdleLoop", "nt!KiRetireDpcList")
    for number, idle in enumerate(idle_threads):
        now, running = registers, RUNNING
        if idle is not crashing:
            stack = frames(at, ("nt!KiIdleLoop",), here, {})
            looping, _ = lay(memory, idle.top, stack, {}, entered=False)
            if number == crashed:
                running = _STANDBY
            else:
                now = looping
        own = ThreadState(saved_rsp=now.rsp, state=running, priority=0)
        write_thread(memory, at, nobody, idle, own)
        thread = crashing if number == crashed else idle
        prcbs.append(write_processor(memory, pool, at, number, thread.address, idle.address, now))
    return prcbs[crashed], nobody.process


def _fill(memory: Memory, at: Layout, count: int, state: CrashState) -> None:
    """Pool pages that nothing refers to, as most of a real dump is; made when the file is written."""
    start = at.pool + _POOL_SIZE
    memory.large_area(start, start + count * PAGE)
    for index in range(count):
        memory.fill_later(start + index * PAGE, lambda index=index: _pool_page(state, index))  # type: ignore[misc]


_TAGS = (b"Ntf0", b"Irp ", b"MmCa", b"Thre", b"File", b"FMsl", b"LS2c", b"Vad ", b"CcSc", b"ObNm")


def _pool_page(state: CrashState, index: int) -> bytes:
    """One page of small blocks: headers with tags, contents half zero, half noise."""
    rng = Random(f"page {state.build} {state.seed} {index}")
    page = bytearray(PAGE)
    at = 0
    while at < PAGE:
        size = min(PAGE - at, rng.choice((0x80, 0x100, 0x180, 0x400)))
        page[at : at + 8] = bytes((0, 0, size >> 4 & 0xFF, 2)) + rng.choice(_TAGS)
        page[at + 0x10 : at + size // 2] = rng.randbytes(max(0, size // 2 - 0x10))
        at += size
    return bytes(page)


def page_of(machine: Machine, frame: int) -> bytes | bytearray:
    """Contents of a page that exists."""
    memory = machine.memory
    held = memory.pages.get(frame)
    return held if held is not None else memory.lazy[frame]()


def saved_context(machine: Machine) -> bytes:
    """CONTEXT of the processor that crashed."""
    return context(machine.registers)
