"""The twin's dumps, read by two readers that know nothing of the writer: a public one, and the tests' own."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import kdmp_parser
import pytest
from dump_writer_walk import (
    APC_DISABLE,
    BUGCHECK,
    CID,
    ENTER,
    FLT_OBJECT,
    IOV_CALL_DRIVER,
    KERNEL_PDB,
    KERNEL_STACK,
    LEAVE,
    PRCB_CONTEXT,
    PROCESS,
    PROCESS_ID,
    PROCESS_NAME,
    RVA,
    STACK_BASE,
    SUSPECTS,
    SYSTEM_THREAD_START,
    THREAD_HEAD,
    THREAD_LINK,
    WIN32_START,
    Absent,
    Dump,
)

from lab.symbols.pdb import open_pdb
from lab.twin.crash import CrashState, Image, Instance, RegionLogEntry, Stop
from lab.twin.memory import parameters, write_dump, write_symbols

STORY = (Stop.APC_PENDING_DURING_EXIT, Stop.DISPATCH_CHANGED_APC, Stop.NMI, Stop.MANUAL)
BUILDS = pytest.mark.parametrize("build", [7601, 17763, 20348])
IMAGES = (
    *(Image(name, False) for name in ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "volmgr.sys")),
    *(Image(name, True) for name in ("Suspect.sys", "BadDriver.sys", "VolFlt.sys")),
    Image("srv2.sys", False),
)
LOG = tuple(
    RegionLogEntry(5 + n % 3, ("enter", "leave")[n % 2], ("Suspect.sys", "BadDriver.sys")[n % 5 == 0])
    for n in range(128)
)
INSTANCES = (
    Instance("BadDriver.sys Instance", "189600", "BadDriver.sys"),
    Instance("Suspect Instance", "385100.5", "Suspect.sys"),
)
STATE = CrashState(
    build=7601,
    seed=11,
    stop=Stop.DISPATCH_CHANGED_APC,
    images=IMAGES,
    thread=7,
    instances=INSTANCES,
    verifier_level=0x810,
    verified=("BadDriver.sys", "Suspect.sys", "Gone.sys"),
    region_log=LOG,
    processors=4,
    uptime_seconds=71_303.25,
    system_time=1_325_376_000.5,
)
EXIT = replace(STATE, stop=Stop.APC_PENDING_DURING_EXIT)
Write = Callable[[CrashState], Dump]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    directory = tmp_path_factory.mktemp("dumps")

    @cache
    def written(state: CrashState) -> Dump:
        write_dump(state, directory / "MEMORY.DMP", filler_pages=16)
        return Dump(directory / "MEMORY.DMP")

    return written


@BUILDS
def test_the_header(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build))
    assert dump.bytes[:8] == b"PAGEDU64"
    assert (dump.kind, dump.header32(0x30)) == (2 if build == 7601 else 6, 0x8664)
    assert (dump.build, dump.header32(0x34)) == (build, 4)
    assert dump.header64(0xFA0) == len(dump.bytes) == dump.first + 0x1000 * len(dump.frames)
    assert dump.count == len(dump.frames)
    assert dump.header64(0xFA8) == (1_325_376_000 + 11_644_473_600) * 10_000_000 + 5_000_000
    assert dump.header64(0x1030) == 713_032_500_000
    code, given = parameters(replace(STATE, build=build))
    assert (dump.header32(0x38), struct.unpack_from("<4Q", dump.bytes, 0x40)) == (code, given)
    assert code == 0xC4 and given[0] == 0xC5 and given[2:] == (0xFFFF, 0)
    runs = [struct.unpack_from("<QQ", dump.bytes, 0x98 + 16 * n) for n in range(dump.header32(0x88))]
    assert sum(count for _, count in runs) == dump.header64(0x90)
    assert all(any(first <= frame < first + count for first, count in runs) for frame in dump.frames)
    assert dump.header32(0x34 + 0x348) == dump.header32(0x118 + 0x348) == 0x1F80
    assert dump.bytes[0x1FF0:0x2000] == b"PAGE" * 4


@BUILDS
@pytest.mark.parametrize("stop", STORY)
def test_the_public_reader_agrees(tmp_path: Path, build: int, stop: Stop) -> None:
    if build == 7601:
        pytest.skip("no public reader of dumps of type 2 is known")
    path = tmp_path / "MEMORY.DMP"
    write_dump(replace(STATE, build=build, stop=stop), path, filler_pages=600)
    own, public = Dump(path), kdmp_parser.KernelDumpParser(path)
    assert public.type == 6
    for frame, offset in own.frames.items():
        assert bytes(public.read_physical_page(frame << 12)) == own.bytes[offset : offset + 0x1000]
    registers = own.registers()
    assert public.context.Rip == registers["rip"] == own.nt + BUGCHECK[build]
    assert (public.context.Rsp, public.context.Rbx) == (registers["rsp"], registers["rbx"])
    tables = own.header64(0x10) & ~0xFFF
    addresses = [
        own.nt,
        own.header64(0x20),
        own.header64(0x80),
        registers["rsp"],
        own.nt + RVA[build]["index"],
    ]
    addresses += [own.u64(own.nt + RVA[build]["traces"]), *(image.base for image in own.images)]
    for address in addresses:
        assert public.translate_virtual(address, tables) == own.translate(address)
    assert public.translate_virtual(0x10000, tables) is None
    with pytest.raises(Absent):
        own.translate(0x10000)


@BUILDS
def test_modules(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build))
    assert [image.name for image in dump.images] == [image.name for image in IMAGES]
    assert dump.images[0].full_name == r"\SystemRoot\system32\ntoskrnl.exe"
    assert dump.images[-1].full_name == r"\SystemRoot\system32\drivers\srv2.sys"
    assert dump.header64(0x20) == dump.nt + RVA[build]["list"]
    ordered = sorted(dump.images, key=lambda image: image.base)
    for lower, upper in pairwise(ordered):
        assert lower.base + lower.size <= upper.base
    assert dump.codeview(dump.nt) == (KERNEL_PDB[build], 1, "ntkrnlmp.pdb")
    names = {image.name: dump.codeview(image.base)[2] for image in dump.images[1:]}
    assert (names["srv2.sys"], names["Ntfs.sys"], names["fltmgr.sys"]) == (
        "srv2.pdb",
        "ntfs.pdb",
        "fltmgr.pdb",
    )
    assert names["BadDriver.sys"].endswith(r"\BadDriver.pdb")
    assert len({dump.codeview(image.base)[0] for image in dump.images}) == len(dump.images)


@BUILDS
def test_every_function_has_sound_unwind_data(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build))
    for image in dump.images:
        optional = image.base + dump.u32(image.base + 0x3C) + 24
        rva, size = dump.u32(optional + 112 + 24), dump.u32(optional + 112 + 28)
        table = list(struct.iter_unpack("<III", dump.read(image.base + rva, size)))
        assert table == sorted(table)
        for (begin, end, data), (following, _, _) in zip(
            table, [*table[1:], (image.size, 0, 0)], strict=True
        ):
            assert begin < end <= following
            version, prologue, count, _ = dump.read(image.base + data, 4)
            assert version in (1, 0x21)
            codes = dump.read(image.base + data + 4, 2 * count)
            assert not codes or codes[0] <= prologue <= end - begin
            assert dump.read(image.base + begin, end - begin)


@BUILDS
@pytest.mark.parametrize("stop", STORY)
@pytest.mark.parametrize("owner", ["fltmgr.sys", "VolFlt.sys", "Ntfs.sys"])
def test_stacks_unwind_to_the_start_of_the_thread(write: Write, build: int, stop: Stop, owner: str) -> None:
    dump = write(replace(STATE, build=build, stop=stop, dispatch_owner=owner))
    frames = dump.unwind()
    images = [image.name if (image := dump.image_at(frame.ip)) else "" for frame in frames]
    assert "" not in images
    assert (images[0], images[-3:]) == ("ntoskrnl.exe", ["srv2.sys", "ntoskrnl.exe", "ntoskrnl.exe"])
    assert 0 < frames[-1].ip - dump.nt - SYSTEM_THREAD_START[build] < 0x30
    if stop in (Stop.APC_PENDING_DURING_EXIT, Stop.DISPATCH_CHANGED_APC):
        assert all(dump.calls_before(frame.ip) for frame in frames[1:])
        assert ("Ntfs.sys" in images) == (stop is Stop.DISPATCH_CHANGED_APC and owner == "VolFlt.sys")
    # What the outermost functions saved comes back unchanged, whatever lay between.
    assert frames[-1].registers["rsi"] == write(replace(EXIT, build=build)).unwind()[-1].registers["rsi"]


def test_the_exit_of_a_thread_is_in_a_split_off_block_on_7601(write: Write) -> None:
    dump = write(EXIT)
    caller = dump.unwind()[1].ip
    assert -0x1C530 < caller - (dump.nt + 0x42DFC0) < -0x1C500  # nt!PspExitThread+0xffffffff`fffe3...
    entry = dump.runtime_function(caller - 1)
    assert entry is not None
    base, begin, _, data = entry
    assert dump.read(base + data, 1)[0] >> 3 == 4
    assert dump.u32(base + data + 4) == 0x42DFC0 > begin


@BUILDS
def test_the_crashing_thread(write: Write, build: int) -> None:
    dump = write(replace(EXIT, build=build, apc_now=-2))
    processors = dump.u64(dump.header64(0x80) + 0x218)
    crashed = [
        prcb
        for prcb in struct.unpack("<4Q", dump.read(processors, 32))
        if dump.u64(dump.u64(prcb + PRCB_CONTEXT[build]) + 0x98) == dump.registers()["rsp"]
    ]
    assert [dump.u32(prcb + 0x24) for prcb in crashed] == [STATE.seed % 4]
    saved = dump.u64(crashed[0] + PRCB_CONTEXT[build])
    assert dump.read(saved, 0x4D0) == dump.bytes[0x348 : 0x348 + 0x4D0]
    thread = dump.u64(crashed[0] + 8)
    assert dump.u16(thread) & 0xFF == 6
    assert (dump.u16(thread + APC_DISABLE[build]), dump.u16(thread + APC_DISABLE[build] + 2)) == (0xFFFE, 0)
    assert dump.u64(thread + 0x30) < dump.registers()["rsp"] < dump.u64(thread + STACK_BASE[build])
    start = dump.image_at(dump.u64(thread + WIN32_START[build]))
    assert start is not None and start.name == "srv2.sys"
    assert dump.u64(thread + CID[build]) == 4
    process = dump.u64(thread + PROCESS[build])
    assert (dump.u64(process + PROCESS_ID[build]), dump.u64(process + 0x28)) == (
        4,
        dump.header64(0x10) & ~0xFFF,
    )
    assert dump.read(process + PROCESS_NAME[build], 7) == b"System\0"
    threads = list(dump.list(process + THREAD_HEAD[build], THREAD_LINK[build]))
    assert thread in threads and len(threads) == 3
    for other in set(threads) - {thread}:
        assert (
            dump.u64(other + 0x30)
            < dump.u64(other + KERNEL_STACK[build])
            < dump.u64(other + STACK_BASE[build])
        )


@BUILDS
def test_processes_and_debugger_data(write: Write, build: int) -> None:
    dump = write(replace(EXIT, build=build))
    link = {7601: 0x188, 17763: 0x2E8, 20348: 0x448}[build]
    names = [
        dump.read(p + PROCESS_NAME[build], 15).split(b"\0")[0] for p in dump.list(dump.header64(0x28), link)
    ]
    assert names[:2] == [b"System", b"smss.exe"]
    block = dump.header64(0x80)
    assert dump.read(block + 0x10, 4) == b"KDBG"
    assert dump.u32(block + 0x14) == (0x340 if build == 7601 else 0x360)
    assert (dump.u64(block + 0x18), dump.u64(block + 0x48)) == (dump.nt, dump.header64(0x20))
    assert dump.u64(block + 0x50) == dump.header64(0x28)
    assert dump.read(dump.u64(block + 0x208), 40).startswith(f"{build}.".encode())
    assert struct.unpack("<5Q", dump.read(dump.u64(block + 0x88), 40)) == (0x20, 0, 0xFFFF, 0, 1)
    assert dump.u16(block + 0x338) == PRCB_CONTEXT[build]
    assert dump.u64(dump.u64(block + 0x1D0)) == (0xFFFF080000000000 if build == 7601 else 0xFFFF800000000000)
    assert dump.u64(block + 0x248) == dump.nt + RVA[build]["data"]
    unloaded, count = dump.u64(dump.u64(block + 0x220)), dump.u32(dump.u64(block + 0x228))
    assert [dump.text(unloaded + 0x28 * n) for n in range(count)][-1] == "crashdmp.sys"
    runs = dump.u64(dump.u64(block + 0x270))
    assert dump.read(runs, 0x10 + 48) == dump.bytes[0x88:0x8C] + bytes(4) + dump.bytes[0x90 : 0x90 + 56]


@BUILDS
def test_the_verifier_and_its_log(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build))
    at = {name: dump.nt + rva for name, rva in RVA[build].items()}
    assert dump.u32(at["data"]) == 0x810
    suspects = list(dump.list(dump.nt + SUSPECTS[build]))
    assert [dump.text(entry + 0x18) for entry in suspects] == list(STATE.verified)
    assert [dump.u32(entry + 0x10) for entry in suspects] == [1, 1, 0]
    ring, index, length = dump.u64(at["traces"]), dump.u32(at["index"]), dump.u32(at["length"])
    assert length == 0x80
    threads: dict[int, set[int]] = {}
    for age, expected in enumerate(reversed(LOG)):
        thread, *stack = struct.unpack("<8Q", dump.read(ring + 0x40 * ((index - age) & 0x7F), 0x40))
        threads.setdefault(expected.thread, set()).add(thread)
        assert dump.u16(thread) & 0xFF == 6
        verifier = dump.runtime_function(stack[0] - 1)
        assert verifier is not None
        routine = (ENTER if expected.direction == "enter" else LEAVE)[build]
        assert (verifier[0], verifier[1]) == (dump.nt, routine)
        callers = [dump.image_at(address) for address in stack if address]
        first = next(image for image in callers if image is not None and image.base != dump.nt)
        assert first.name == expected.image
        assert all(dump.calls_before(address) for address in stack if address)
    assert {len(found) for found in threads.values()} == {1}
    assert len(threads) == 3


@BUILDS
def test_a_short_log_and_none(write: Write, build: int) -> None:
    short = write(replace(STATE, build=build, region_log=LOG[:3]))
    traces, index = short.nt + RVA[build]["traces"], short.nt + RVA[build]["index"]
    used = [n for n in range(128) if short.u64(short.u64(traces) + 0x40 * n)]
    assert (used, short.u32(index)) == ([1, 2, 3], 3)
    none = write(replace(STATE, build=build, verifier_level=0x10))
    assert none.u64(none.nt + RVA[build]["traces"]) == 0
    off = write(replace(EXIT, build=build, verifier_level=0, verified=(), region_log=()))
    assert list(off.list(off.nt + SUSPECTS[build])) == []


def driver_name(dump: Dump, device: int) -> str:
    assert (dump.u16(device), dump.u16(dump.u64(device + 8))) == (3, 4)
    return dump.text(dump.u64(device + 8) + 0x38)


def is_device(dump: Dump, address: int) -> bool:
    try:
        return (dump.u16(address), dump.u16(dump.u64(address + 8))) == (3, 4)
    except Absent:
        return False


@BUILDS
def test_from_the_saved_state_to_the_minifilters(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build))
    dispatch = dump.header64(0x48)
    after, call = dump.unwind()[2:4]
    (state,) = dump.keeps(after, 0x30, dispatch)
    assert dump.keeps(call, 0x30, dispatch) == [state]
    assert (dump.u32(state + 0xBC), dump.u16(dump.u64(state + 0xA8))) == (0, 6)
    caller = dump.u64(state + 0xB0)
    assert caller == dump.unwind()[4].ip
    device = dump.u64(state + 0xA0)
    driver = dump.u64(device + 8)
    assert driver_name(dump, device) == r"\FileSystem\FltMgr"
    assert dump.u64(driver + 0x70 + 8 * 3) == dispatch
    extension, object_extension = dump.u64(device + 0x40), dump.u64(device + 0x138)
    assert (extension - device, object_extension - device) == (0x150, 0x1A8)
    below = dump.u64(object_extension + 0x30)
    assert (driver_name(dump, below), dump.u64(below + 0x18)) == (r"\FileSystem\Ntfs", device)
    volume = dump.u64(extension + 0x50)
    base = FLT_OBJECT[build]
    assert (dump.u32(volume), dump.u64(volume + base + 8)) == (0x04000000, device)
    assert dump.text(volume + base + 0x30) == STATE.volume
    instances = list(dump.list(volume + base + 0x70 + 0x68, 0x10))
    assert dump.u32(volume + base + 0x70 + 0x78) == len(instances) == 2
    seen = []
    for instance in instances:
        assert (dump.u32(instance), dump.u64(instance + base + 8)) == (0x01000000, volume)
        owner = dump.u64(instance + base + 0x10)
        assert dump.u32(owner) == 0x02000000
        assert list(dump.list(owner + base + 0x38 + 0x68, base + 0x40)) == [instance]
        image = dump.image_at(dump.u64(dump.u64(owner + base + 0x30) + 0x18))
        assert image is not None
        node = dump.u64(instance + base + 0x70 + 8 * 25)
        assert dump.u64(node + 0x10) == instance
        seen.append(
            (
                dump.text(instance + base + 0x20),
                dump.text(instance + base + 0x30),
                image.name,
                dump.text(owner + base + 8),
            )
        )
    assert seen == [
        ("385100.5", "Suspect Instance", "Suspect.sys", "Suspect"),
        ("189600", "BadDriver.sys Instance", "BadDriver.sys", "BadDriver"),
    ]
    head = dump.u64(volume + base + 0x28)
    assert volume in list(dump.list(head + 0xC8 + 0x68, 0x10))
    assert len(list(dump.list(head + 0x48 + 0x68, 0x10))) == 2


@BUILDS
def test_a_class_filter_below_the_file_system(write: Write, build: int) -> None:
    dump = write(replace(STATE, build=build, dispatch_owner="VolFlt.sys"))
    accused = dump.image_at(dump.header64(0x48))
    assert accused is not None and accused.name == "VolFlt.sys"
    (state,) = dump.keeps(dump.unwind()[2], 0x30, dump.header64(0x48))
    device = dump.u64(state + 0xA0)
    assert driver_name(dump, device) == r"\Driver\VolFlt"
    below = dump.u64(dump.u64(device + 0x138) + 0x30)
    assert driver_name(dump, below) == r"\Driver\volmgr"
    assert dump.u64(state + 0x30) == dump.header64(0x48) == dump.u64(dump.u64(device + 8) + 0x70 + 24)
    watched = [
        frame
        for frame in dump.unwind()
        if (entry := dump.runtime_function(frame.ip - 1)) and entry[:2] == (dump.nt, IOV_CALL_DRIVER[build])
    ]
    targets = []
    for frame in watched:
        devices = {r for r in frame.registers.values() if r > 1 << 63 and is_device(dump, r)}
        targets += [driver_name(dump, device) for device in devices]
    assert targets == [r"\Driver\VolFlt", r"\FileSystem\Ntfs", r"\FileSystem\FltMgr"]


@BUILDS
def test_symbols_fit_the_images(write: Write, tmp_path: Path, build: int) -> None:
    write_symbols(build, tmp_path, IMAGES)
    dump = write(replace(STATE, build=build))
    for image in dump.images:
        guid, age, name = dump.codeview(image.base)
        path = tmp_path / name.split("\\")[-1] / f"{guid}{age:X}" / name.split("\\")[-1]
        found = open_pdb(path)
        assert (found.guid, found.age) == (guid, age)
        # .pdata of the image and names of the PDB begin functions at the same places
        optional = image.base + dump.u32(image.base + 0x3C) + 24
        table, size = dump.u32(optional + 112 + 24), dump.u32(optional + 112 + 28)
        for begin, _, _ in struct.iter_unpack("<III", dump.read(image.base + table, size)):
            nearest = found.nearest(begin)
            assert nearest is not None
            assert nearest[1] == 0 or (image.base == dump.nt and build == 7601)
        if name == "fltmgr.pdb":
            assert dump.header64(0x48) == image.base + (found.rva("FltpDispatch") or 0)
            assert found.offset("_FLT_VOLUME", "InstanceList") == (0x90 if build == 7601 else 0xA0)
    assert len(list(tmp_path.rglob("*.pdb"))) == 2 * len(IMAGES)  # files, and folders of their names


def test_equal_states_give_equal_files_and_other_seeds_other_addresses(tmp_path: Path, write: Write) -> None:
    for name in ("one", "two"):
        write_dump(STATE, tmp_path / name, filler_pages=40)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    for build in (7601, 17763, 20348):
        bases = {write(replace(EXIT, build=build, seed=seed, region_log=())).nt for seed in range(6)}
        assert len(bases) > 3


@BUILDS
def test_the_size(tmp_path: Path, build: int) -> None:
    write_dump(replace(STATE, build=build), tmp_path / "MEMORY.DMP")
    assert 2_000_000 < (tmp_path / "MEMORY.DMP").stat().st_size < 8_000_000


@pytest.mark.parametrize("seed", range(5))
@BUILDS
def test_many_drivers_do_not_overlap(write: Write, build: int, seed: int) -> None:
    many = (*IMAGES, *(Image(f"drv{n}.sys", True, 0x20000 + 0x3000 * n) for n in range(90)))
    dump = write(replace(EXIT, build=build, seed=seed, images=many, region_log=(), processors=16))
    ordered = sorted(dump.images, key=lambda image: image.base)
    assert len(ordered) == len(many)
    for lower, upper in pairwise(ordered):
        assert lower.base + lower.size <= upper.base
    assert all(dump.image_at(frame.sp) is None for frame in dump.unwind())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"images": IMAGES[1:]}, "images"),
        ({"images": IMAGES[:-1]}, "images"),
        ({"images": (*IMAGES, IMAGES[3])}, "images"),
        ({"region_log": (*LOG, *LOG)}, "region_log"),
        ({"region_log": (RegionLogEntry(1, "enter", "Gone.sys"),)}, "region_log"),
        ({"instances": (Instance("x", "1", "Gone.sys"),)}, "instances"),
        ({"instances": (Instance("x", "high", "BadDriver.sys"),)}, "instances"),
        ({"dispatch_owner": "Gone.sys"}, "dispatch_owner"),
        ({"processors": 0}, "processors"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, change: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        write_dump(replace(STATE, **change), tmp_path / "MEMORY.DMP")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
