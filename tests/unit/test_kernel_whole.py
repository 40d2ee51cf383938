"""Readers over whole dumps: of the twin, whose writer knows nothing of them, and a real small one."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from lab.dumps.dump import Dump, open_dump
from lab.kernel.devices import device_stack
from lab.kernel.dispatch import devices_with_routine, find_saved_state
from lab.kernel.filters import volumes_behind
from lab.kernel.fltframes import read_filters, read_volumes
from lab.kernel.opening import open_kernel
from lab.kernel.processes import read_processes
from lab.kernel.processors import processor_context, read_processors
from lab.kernel.target import Kernel
from lab.kernel.threads import crashing_thread, stack_bounds
from lab.kernel.unwind import walk
from lab.kernel.verifier import read_verifier
from lab.kernel.version import read_version
from lab.kernel.waiting import waiting_context
from lab.model import DumpError
from lab.symbols import symbol_store
from lab.twin.crash import CrashState, Image, Instance, RegionLogEntry, Stop
from lab.twin.memory import write_dump, write_symbols

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
IMAGES = tuple(Image(n, False) for n in ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys"))
IMAGES += tuple(Image(n, True) for n in ("BadDriver.sys", "Suspect.sys", "Other.sys"))
CRASHING = 7


def state(build: int) -> CrashState:
    return CrashState(
        build,
        1,
        Stop.DISPATCH_CHANGED_APC,
        IMAGES,
        CRASHING,
        instances=(
            Instance("BadDriver.sys Instance", "189600", "BadDriver.sys"),
            Instance("Other Instance", "328010", "Other.sys"),
        ),
        verifier_level=0x810,
        verified=("BadDriver.sys", "Other.sys"),
        region_log=tuple(RegionLogEntry(50 + i, "enter", "Suspect.sys") for i in range(3)),
        processors=4,
    )


@pytest.fixture(scope="module", params=[7601, 17763, 20348])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(str(request.param)) / "MEMORY.DMP"
    write_dump(state(request.param), path, filler_pages=0)
    write_symbols(request.param, path.parent / "symbols")
    return path


@pytest.fixture(scope="module")
def dump(file: Path) -> Iterator[Dump]:
    with open_dump(file) as opened:
        yield opened


@pytest.fixture(scope="module")
def kernel(dump: Dump, file: Path) -> Kernel:
    return open_kernel(dump, symbol_store([file.parent / "symbols", SHARED / "isf"]))


def checks(kernel: Kernel, reader: str) -> tuple[str, ...]:
    return next(reading.checks for reading in kernel.readings if reading.reader == reader)


def test_processes_with_their_threads(kernel: Kernel) -> None:
    found = read_processes(kernel)
    assert [process.name for process in found] == [
        *("System", "smss.exe", "csrss.exe", "wininit.exe", "services.exe", "lsass.exe", "svchost.exe")
    ]
    system = found[0]
    assert system.process_id == 4
    assert system.directory_table_base == (kernel.header.directory_table_base or 0) & ~0xFFF
    assert [thread.state for thread in system.threads] == ["RUNNING", "WAIT", "WAIT", "WAIT"]
    assert system.threads[0].kernel_apc_disable == -1
    assert {thread.kernel_apc_disable for thread in system.threads[1:]} == {0}
    assert all(thread.cid.startswith("4.") for thread in system.threads)
    assert "the list of 7 processes closes" in checks(kernel, "processes")


def test_a_list_of_processes_that_breaks_is_kept_as_far_as_it_goes(file: Path, tmp_path: Path) -> None:
    with open_dump(file) as dump:
        kernel = open_kernel(dump)
        third = read_processes(kernel)[2].address + kernel.offset("_EPROCESS", "ActiveProcessLinks")
        offset = file.read_bytes().find(kernel.memory.read(third, 16))
    raw = bytearray(file.read_bytes())
    struct.pack_into("<Q", raw, offset, 0xFFFFFA8012345678)
    (tmp_path / "MEMORY.DMP").write_bytes(raw)
    with open_dump(tmp_path / "MEMORY.DMP") as dump:
        kernel = open_kernel(dump)
        assert [process.name for process in read_processes(kernel)] == ["System", "smss.exe", "csrss.exe"]
        assert not any("processes closes" in check for check in checks(kernel, "processes"))


def test_who_else_is_inside_a_critical_region(kernel: Kernel) -> None:
    threads = [thread for process in read_processes(kernel) for thread in process.threads]
    (inside,) = [each for each in threads if each.kernel_apc_disable or each.special_apc_disable]
    assert (inside.address, inside.kernel_apc_disable) == (crashing_thread(kernel)[0], -1)


def test_every_processor(kernel: Kernel) -> None:
    found = read_processors(kernel)
    assert [processor.number for processor in found] == [0, 1, 2, 3]
    assert [processor.crashed for processor in found] == [False, True, False, False]
    assert found[1].thread == crashing_thread(kernel)[0]
    assert found[1].symbol == "nt!KeBugCheckEx"
    assert found[0].symbol.startswith("nt!KiIdleLoop+") or not (SHARED / "isf").is_dir()
    assert processor_context(kernel, 1).rsp == kernel.context.rsp
    assert processor_context(kernel, 3).rip == found[3].instruction
    said = checks(kernel, "processors")
    assert "processor 1 stopped the system: it saved the stack pointer of the header's context" in said
    with pytest.raises(DumpError, match="processor 9"):
        processor_context(kernel, 9)


WAITING = [
    "KiSwapContext",
    "KiCommitThreadWait",
    "KeRemoveQueueEx",
    "ExpWorkerThread",
    "PspSystemThreadStartup",
]


def test_a_waiting_threads_stack(kernel: Kernel) -> None:
    if not (SHARED / "isf").is_dir():
        pytest.skip("the public symbols of the kernels are not here")
    for thread in read_processes(kernel)[0].threads[1:]:
        context, how = waiting_context(kernel, thread.address)
        assert "SwapContext" in how
        frames = walk(kernel, context, bounds=stack_bounds(kernel, thread.address))
        names = [frame.symbol.split("+")[0].removeprefix("nt!") for frame in frames]
        assert names[:6] == ["SwapContext", *WAITING]
        assert {frame.how for frame in frames[1:]} == {"unwound"}


def test_a_waiting_threads_stack_without_symbols(dump: Dump) -> None:
    """The return address into the kernel is looked for; from there on the stack is unwound."""
    kernel = open_kernel(dump)
    thread = read_processes(kernel)[0].threads[1]
    context, how = waiting_context(kernel, thread.address)
    assert "first return address" in how
    frames = walk(kernel, context, bounds=stack_bounds(kernel, thread.address))
    assert frames[3].symbol.startswith("nt!ExpWorkerThread+")
    assert {frame.how for frame in frames[1:]} == {"unwound"}


def test_a_running_thread_has_no_saved_registers(kernel: Kernel) -> None:
    with pytest.raises(DumpError, match="runs on processor 1"):
        waiting_context(kernel, crashing_thread(kernel)[0])


def test_what_symbols_lack_is_taken_from_the_table_of_that_very_kernel(
    dump: Dump, kernel: Kernel, tmp_path: Path
) -> None:
    """Symbols without types, as of a stripped PDB."""
    pdb = kernel.nt.pdb
    assert pdb is not None
    identity = {"GUID": pdb.guid, "age": pdb.age, "database": pdb.name, "machine_type": 34404}
    content = {"metadata": {"windows": {"pdb": identity}}, "symbols": {"KeBugCheckEx": {"address": 0x1000}}}
    (tmp_path / f"{pdb.key}.json").write_text(json.dumps(content | {"user_types": {}}))
    found = open_kernel(dump, symbol_store([tmp_path]))
    assert found.nt_symbols is not None and "ISF" in found.nt_symbols.source
    assert found.address("nt!KeBugCheckEx") == kernel.nt.base + 0x1000, "what symbols have comes first"
    assert found.thread == kernel.thread
    assert len(read_processes(found)) == 7
    assert read_verifier(found)[0].counters == read_verifier(kernel)[0].counters
    facts = next(reading.facts for reading in found.readings if reading.reader == "processes")
    assert facts and all("built-in table" in fact for fact in facts)


@pytest.mark.parametrize("root", [0, 0x5000, 0x1000000])
def test_page_tables_that_do_not_map_the_kernel(
    file: Path, tmp_path: Path, kernel: Kernel, root: int
) -> None:
    raw = bytearray(file.read_bytes())
    struct.pack_into("<Q", raw, 0x10, root)
    (tmp_path / "MEMORY.DMP").write_bytes(raw)
    with open_dump(tmp_path / "MEMORY.DMP", allow_incomplete=True) as dump:
        found = open_kernel(dump)
        assert [module.name for module in found.modules] == [module.name for module in kernel.modules]
        assert found.thread == kernel.thread
        assert "do not map the kernel's lists" in found.notes[0]
        assert f"{(kernel.header.directory_table_base or 0) & ~0xFFF:#x}" in found.notes[0]


def test_the_list_of_modules_is_found_through_the_debugger_data(
    file: Path, tmp_path: Path, kernel: Kernel
) -> None:
    raw = bytearray(file.read_bytes())
    raw[0x20:0x28] = b"PAGEPAGE"
    (tmp_path / "MEMORY.DMP").write_bytes(raw)
    with open_dump(tmp_path / "MEMORY.DMP", allow_incomplete=True) as dump:
        found = open_kernel(dump)
        assert [module.name for module in found.modules] == [module.name for module in kernel.modules]


def test_a_header_without_code(file: Path, tmp_path: Path, kernel: Kernel) -> None:
    raw = bytearray(file.read_bytes())
    raw[0x38:0x3C] = b"PAGE"
    (tmp_path / "MEMORY.DMP").write_bytes(raw)
    with open_dump(tmp_path / "MEMORY.DMP") as dump:
        assert open_kernel(dump).bugcheck == kernel.bugcheck


def test_modules_carry_timestamp_flags_and_what_was_unloaded(kernel: Kernel) -> None:
    for module in kernel.modules:
        image = kernel.image(module)
        assert image is not None and module.timestamp == image.timestamp
        assert module.flags & 0x4000  # LDRP_ENTRY_PROCESSED
        assert module.pdb is not None
    assert [each.name for each in kernel.unloaded] == [
        "dump_storport.sys",
        "dump_storahci.sys",
        "crashdmp.sys",
    ]
    assert all(each.when for each in kernel.unloaded)


@pytest.mark.parametrize("with_symbols", [True, False])
def test_all_minifilters_and_volumes(dump: Dump, file: Path, with_symbols: bool) -> None:
    kernel = open_kernel(dump, symbol_store([file.parent / "symbols"] if with_symbols else []))
    filters = read_filters(kernel)
    assert [(each.name, each.altitude, each.image) for each in filters] == [
        ("Other", "328010", "Other.sys"),
        ("BadDriver", "189600", "BadDriver.sys"),
    ]
    assert [each.handles(3) for each in filters] == [True, True]
    assert [each.handles(4) for each in filters] == [False, False]
    volumes = read_volumes(kernel)
    assert [volume.name for volume in volumes] == [r"\Device\Mup", r"\Device\HarddiskVolume3"]
    assert [[i.image for i in volume.instances] for volume in volumes] == [[], ["Other.sys", "BadDriver.sys"]]
    assert [i.handles_read for i in volumes[1].instances] == [True, True]
    assert [i.handles_read for i in read_volumes(kernel, 4)[1].instances] == [False, False]
    assert not any(volume.notes for volume in volumes)


def test_verifier_as_a_whole(kernel: Kernel) -> None:
    facts, notes = read_verifier(kernel)
    assert facts.drivers == ("BadDriver.sys", "Other.sys")
    counters = dict(facts.counters)
    assert counters["Loads"] == 2
    assert 20_000 <= counters["RaiseIrqls"] < 40_000
    assert counters["PagedBytes"] == 0
    assert ("AllocationFreed" in counters) == (kernel.build >= 20348)
    assert notes == ()
    said = checks(kernel, "verifier's note of the violation")
    assert said == ("nt!VfBugcheckTmpData holds code and parameters of the stop",)
    assert "every thread of its 3 entries is one" in checks(kernel, "critical-region log")


def test_verifiers_note_that_disagrees_is_said(file: Path, tmp_path: Path) -> None:
    raw = bytearray(file.read_bytes())
    struct.pack_into("<Q", raw, 0x50, 0xFFFE)  # parameter 3 of the header
    (tmp_path / "MEMORY.DMP").write_bytes(raw)
    with open_dump(tmp_path / "MEMORY.DMP") as dump:
        _, notes = read_verifier(open_kernel(dump))
        assert any(note.startswith("Verifier noted another violation") for note in notes)


def test_the_request_of_the_saved_state(kernel: Kernel) -> None:
    _, routine, _, before = kernel.bugcheck.parameters
    stack = walk(kernel)
    found = find_saved_state(kernel, routine, before, stack)
    assert found is not None and found.irp is not None
    assert found.major == 3
    assert found.irp.thread == kernel.thread
    location = found.irp.locations[-1]
    assert (location.device, location.file_name) == (found.device.address, ""), "IoCompleteRequest clears it"
    assert found.irp.current is None, "the call has returned"
    assert "the IRP was sent to the device" in found.checks


@pytest.mark.parametrize(
    ("on_the_stack", "where"), [(True, "of frame"), (False, "the filter manager's volumes")]
)
def test_without_the_saved_state_all_volumes_come_into_question(
    kernel: Kernel, on_the_stack: bool, where: str
) -> None:
    routine = kernel.bugcheck.parameters[1]
    found = devices_with_routine(kernel, routine, walk(kernel) if on_the_stack else ())
    assert found is not None
    assert where in found.found_by
    assert {device.driver.name.casefold() for device in found.devices} == {r"\filesystem\fltmgr"}
    names = {volume.name for volume in volumes_behind(kernel, found.devices)}
    assert names == {r"\Device\Mup", r"\Device\HarddiskVolume3"}


def test_the_device_stack_holds_together(kernel: Kernel) -> None:
    routine = kernel.bugcheck.parameters[1]
    found = find_saved_state(kernel, routine, 0, walk(kernel))
    assert found is not None
    assert device_stack(kernel, found.device.address)[0].driver.serves(routine)
    assert "AttachedDevice and AttachedTo agree" in checks(kernel, "device stack")


READERS: tuple[Callable[[Kernel], object], ...] = (
    read_processes,
    read_processors,
    crashing_thread,
    read_verifier,
    read_filters,
    read_volumes,
    lambda kernel: [read_version(kernel, module) for module in kernel.modules],
    lambda kernel: find_saved_state(kernel, kernel.bugcheck.parameters[1], 0, ()),
    lambda kernel: devices_with_routine(kernel, kernel.bugcheck.parameters[1], ()),
    lambda kernel: [waiting_context(kernel, thread.address) for thread in read_processes(kernel)[0].threads],
)


@pytest.mark.parametrize("seed", range(20))
def test_damage_anywhere_raises_nothing_but_our_own_errors(file: Path, tmp_path: Path, seed: int) -> None:
    """Words of memory replaced by others of it: pointers lead elsewhere, lists bite their tail."""
    rng = Random(seed)
    raw = bytearray(file.read_bytes())
    places = [
        at for at in (rng.randrange(0x3000, len(raw), 8) for _ in range(20_000)) if any(raw[at : at + 8])
    ]
    for at in rng.sample(places, min(len(places), 400)):
        source = rng.choice(places)
        raw[at : at + 8] = raw[source : source + 8]
    (tmp_path / "MEMORY.DMP").write_bytes(raw)
    with open_dump(tmp_path / "MEMORY.DMP", allow_incomplete=True) as dump:
        try:
            kernel = open_kernel(dump)
        except DumpError:
            return
        for reader in READERS:
            with suppress(DumpError):
                reader(kernel)


# --- a real small dump ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Iterator[Kernel]:
    path = SHARED / "kernel-dumps" / "rizin-triage_x64.dmp"
    if not path.is_file():
        pytest.skip(f"no test data at {path}")
    with open_dump(path) as dump:
        yield open_kernel(dump, symbol_store([SHARED / "isf"]))


def test_a_small_dump_of_windows_10_holds_every_processor(small: Kernel) -> None:
    found = read_processors(small)
    assert [processor.number for processor in found] == list(range(16))
    assert [processor.number for processor in found if processor.crashed] == [0]
    assert found[0].thread == small.thread
    assert found[0].symbol == "nt!KeBugCheckEx", "where it was when the dump was written"
    idle = [processor for processor in found if processor.symbol.startswith("nt!PpmIdleGuestExecute")]
    assert len(idle) == 13
    assert len({processor.thread for processor in found}) == 16
    assert {each.cr3 & ~0xFFF for each in small.processors} == {0x1AD000}
    assert all(each.dpc_stack for each in small.processors)


def test_a_small_dump_holds_the_process_and_thread_of_the_crash(small: Kernel) -> None:
    (process,) = read_processes(small)
    (thread,) = process.threads
    assert (process.name, process.process_id, process.directory_table_base) == ("System", 4, 0x1AD000)
    assert (thread.address, thread.state, thread.start) == (small.thread, "RUNNING", "nt!ExpWorkerThread")


def test_a_small_dump_says_which_drivers_were_unloaded(small: Kernel) -> None:
    assert {each.name for each in small.unloaded} >= {"dam.sys", "WdBoot.sys", "hwpolicy.sys"}
