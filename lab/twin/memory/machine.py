"""A whole crashed machine in memory, made from its CrashState."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from lab.twin.crash import CrashState, Stop
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
    Verified,
    dispatch_symbol,
    frames,
    is_deep,
    lay_crash,
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
    memory = Memory(rng, directory=at.directory, self_map=at.self_map)
    pool = Pool(memory, at.pool, _POOL_SIZE, rng)
    started = state.system_time - state.uptime_seconds
    code, parameters = stop_of(state, at)
    entries = _write_images(memory, pool, at, state)
    unloaded = write_unloaded(memory, pool, at, started=started)
    write_debugger_data(memory, at, code, parameters, state.processors)
    threads = Threads(write_processes(memory, pool, at, started=started))
    keys = [state.thread, *sorted({entry.thread for entry in state.region_log} - {state.thread})]
    for index, key in enumerate(keys):
        threads.by_key[key] = place_thread(memory, pool, at, rng, index)
    crashing = threads.by_key[state.thread]
    stacks = Stacks(
        memory, pool, at, state.dispatch_owner if is_deep(state) and at.has(state.dispatch_owner) else ""
    )
    write_filter_manager(memory, pool, at, stacks, state.volume, state.instances)
    verified = _verified_calls(memory, pool, at, state, stacks, crashing)
    registers = lay_crash(memory, at, state, crashing.top, crashing.address, verified)
    _write_threads(memory, at, state, threads, rng)
    prcb = _write_processors(memory, pool, at, state, crashing, registers, rng)
    addresses = {key: thread.address for key, thread in threads.by_key.items()}
    write_verifier(memory, pool, at, state, addresses, rng)
    if state.stop is Stop.DISPATCH_CHANGED_APC:
        for index, value in enumerate((code, *parameters)):
            memory.u64(at.variable("VfBugcheckTmpData") + 8 * index, value)
    _fill(memory, at, filler_pages, state)
    write_shared_data(memory, at, state)
    block = place_physical_memory_block(memory, pool, at)
    runs = _tight_runs(memory) if tight else memory.runs
    write_physical_memory_block(memory, block, runs)
    return Machine(
        layout=at,
        memory=memory,
        runs=runs,
        frames=sorted({*memory.pages, *memory.lazy}),
        code=code,
        parameters=parameters,
        registers=registers,
        thread=crashing.address,
        process=threads.process,
        prcb=prcb,
        stack_base=crashing.base,
        module_entries=entries,
        unloaded=unloaded,
    )


def _tight_runs(memory: Memory) -> tuple[tuple[int, int], ...]:
    """At most as many runs as a header has room for, around all frames that exist."""
    found = ranges(sorted({*memory.pages, *memory.lazy}))
    gaps = [later[0] - sum(run) for run, later in pairwise(found)]
    widest = sorted(range(len(gaps)), key=lambda index: -gaps[index])[: _MOST_RUNS - 1]
    starts = [0, *(index + 1 for index in sorted(widest))]
    ends = [*(start - 1 for start in starts[1:]), len(found) - 1]
    return tuple(
        (found[first][0], sum(found[last]) - found[first][0])
        for first, last in zip(starts, ends, strict=True)
    )


def _write_images(memory: Memory, pool: Pool, at: Layout, state: CrashState) -> tuple[int, ...]:
    verified = {name.casefold() for name in state.verified} if state.verifier_level else set()

    def resolve(name: str) -> int:
        return at.address(f"{'hal' if name.startswith('Hal') else 'nt'}!{name}")

    exceptions = {}
    for module in at.modules:
        watched = THUNKS if module.name.casefold() in verified else {}
        exceptions[module.name] = write_image(memory, module, resolve, watched)
    return write_modules(memory, pool, at, exceptions)


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
    irp = read_request(memory, pool, targets[len(positions) - 1][0], stacks.disk, thread.address, stacks.vpb)
    found = []
    for position, (device, dispatch) in zip(positions, targets, strict=False):
        caller = at.after_call(on_stack[position - 1], "nt!IovCallDriver")
        data = call_driver_data(
            pool, dispatch=dispatch, device=device, irp=irp, caller=caller, before=state.apc_before & 0xFFFF
        )
        found.append(Verified(data, device, irp))
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
        if key == state.thread:
            is_ = replace(
                is_,
                start=at.address("srv2!SrvProcWorkerThread"),
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
    crashing: Thread,
    registers: Registers,
    rng: Random,
) -> int:
    """The processor that crashed (by the seed), and the others in their idle loop; the KPRCB of the first."""
    crashed = state.seed % state.processors
    nobody = Threads(pool.take(at.kernel.sizes["EPROCESS"], b"Proc"), process_id=0)
    for offset in (0x30, at.kernel.at("EPROCESS.ThreadListHead")):
        memory.u64(nobody.process + offset, nobody.process + offset)
        memory.u64(nobody.process + offset + 8, nobody.process + offset)
    prcbs: list[int] = []
    for number in range(state.processors):
        idle = place_thread(memory, pool, at, rng, 0x200 + number)
        here = at.after_call("nt!KiIdleLoop", "nt!KiRetireDpcList")
        looping, _ = lay(memory, idle.top, frames(at, ("nt!KiIdleLoop",), here, {}), {}, entered=False)
        running = RUNNING if number != crashed else 3
        write_thread(memory, at, nobody, idle, ThreadState(saved_rsp=looping.rsp, state=running, priority=0))
        thread = crashing.address if number == crashed else idle.address
        now = registers if number == crashed else looping
        prcbs.append(write_processor(memory, pool, at, number, thread, idle.address, now))
    return prcbs[crashed]


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
