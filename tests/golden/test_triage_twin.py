"""Dumps of every build, stop and constellation, from the file to the suspects.

The files come from the twin's writer, which lays memory out by the published offsets and knows nothing of the
reader; what is expected here is written down from the crash that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from lab.analysis import triage
from lab.analysis.facts import function
from lab.model import Driver, Origin, Relation, StartType, Strength, Triage, compare
from lab.report.triage_text import render
from lab.symbols import symbol_store
from lab.twin.crash import CrashState, Image, Instance, IrpLogEntry, RegionLogEntry, Stop, Unloaded
from lab.twin.inbox import IN_BOX as TWIN_IN_BOX
from lab.twin.memory import BUILDS as ALL_BUILDS
from lab.twin.memory import DUMP_TYPES, write_dump, write_symbols
from lab.twin.thirdparty import THIRD_PARTY as TWIN_THIRD_PARTY

BUILDS = pytest.mark.parametrize("build", ALL_BUILDS)
STORIES = pytest.mark.parametrize("build", [7601, 17763, 20348])
"""Builds for what does not differ between kernels; each of them has another layout."""
SYSTEM = tuple(
    Image(name, False) for name in ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
)
THIRD = tuple(Image(name, True) for name in ("BadDriver.sys", "Suspect.sys", "Other.sys", "Disk1.sys"))
CRASHING = 7
BAD = Instance("BadDriver.sys Instance", "189600", "BadDriver.sys")
OTHER = Instance("Other Instance", "328010", "Other.sys")

EXIT_STACK = [
    "nt!KeBugCheckEx",
    "nt!PspExitThread",
    "nt!PspTerminateThreadByPointer",
    "nt!PsTerminateSystemThread",
    "srv2!SrvProcTerminateWorkerThreadInternal",
    "srv2!SrvProcWorkerThread",
    "nt!PspSystemThreadStartup",
    "nt!KxStartSystemThread",
]
VERIFIED_STACK = [
    "nt!KeBugCheckEx",
    "nt!VfBugCheckNoStackUsage",
    "nt!VfAfterCallDriver",
    "nt!IovCallDriver",
    "srv2!Smb2ExecuteRead",
    "srv2!SrvProcessPacket",
    "srv2!SrvProcWorkerThread",
    "nt!PspSystemThreadStartup",
    "nt!KiStartSystemThread",
]
"""As the article's `!thread` and `kn` list them."""

SAME_CODE = {"nt!KxStartSystemThread": "nt!KiStartSystemThread"}
"""Two names of one address in every build."""

KERNEL_SYMBOLS = Path(__file__).parents[2].parent / "shared" / "data" / "isf"
"""Public symbols of real kernels, which fit the twin's."""


def state(build: int, stop: Stop = Stop.APC_PENDING_DURING_EXIT) -> CrashState:
    return CrashState(build, 1, stop, SYSTEM + THIRD, CRASHING)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[CrashState], Triage]:
    """Writes the dump of a state and reads it. Each state once."""
    directory = tmp_path_factory.mktemp("dumps")
    for build in ALL_BUILDS:
        write_symbols(build, directory / "symbols")
    store = symbol_store([directory / "symbols"], offline=True)

    @cache
    def read(asked: CrashState) -> Triage:
        path = directory / "MEMORY.DMP"
        write_dump(asked, path, filler_pages=0)
        return triage(path, store)

    return read


Read = Callable[[CrashState], Triage]


def functions(found: Triage) -> list[str]:
    return [SAME_CODE.get(name, name) for name in (function(frame.symbol) for frame in found.stack)]


def named(stack: list[str]) -> list[str]:
    return [SAME_CODE.get(name, name) for name in stack]


def rules(found: Triage) -> dict[str, tuple[Strength, tuple[str, ...]]]:
    return {e.rule: (e.strength, e.points_to) for e in found.evidence}


def suspects(found: Triage) -> list[str]:
    return [s.image for s in found.suspects]


@BUILDS
def test_a_thread_exits_with_apcs_disabled(read: Read, build: int) -> None:
    found = read(state(build))
    assert found.bugcheck.code == 0x20
    assert found.bugcheck.parameters[1] == 0xFFFF
    assert (found.dump.build, found.dump.machine) == (build, "x64")
    assert found.dump.dump_type == (2 if build == 7601 else 6)
    assert functions(found) == named(EXIT_STACK)
    assert {frame.how for frame in found.stack[1:]} == {"unwound"}
    assert found.thread is not None
    assert (found.thread.kernel_apc_disable, found.thread.special_apc_disable) == (-1, 0)
    assert (found.thread.process, function(found.thread.start)) == ("System", "srv2!SrvProcWorkerThread")
    assert found.thread.stack_limit < found.stack[0].child_sp < found.thread.stack_base
    assert found.verifier is not None
    assert found.verifier.level == 0
    assert found.suspects == ()
    assert rules(found).keys() >= {"0x20.apc-count.negative", "0x20.worker-thread"}


@BUILDS
@pytest.mark.parametrize(("count", "sense"), [(-2, "negative"), (3, "positive")])
def test_the_sign_of_the_count(read: Read, build: int, count: int, sense: str) -> None:
    found = read(replace(state(build), apc_now=count))
    assert found.thread is not None
    assert found.thread.kernel_apc_disable == count
    assert f"0x20.apc-count.{sense}" in rules(found)


@BUILDS
def test_modules_and_where_they_come_from(read: Read, build: int) -> None:
    found = read(state(build))
    assert [m.name for m in found.modules] == [image.name for image in SYSTEM + THIRD]
    assert [m.name for m in found.third_party] == [image.name for image in THIRD]


@BUILDS
def test_an_empty_region_log(read: Read, build: int) -> None:
    found = read(replace(state(build), verifier_level=0x800, verified=("BadDriver.sys", "Suspect.sys")))
    assert found.verifier is not None
    assert found.verifier.options == ("Miscellaneous checks enabled",)
    assert found.verifier.drivers == ("BadDriver.sys", "Suspect.sys")
    assert (found.verifier.log_allocated, found.verifier.log_capacity, found.verifier.log) == (True, 0x80, ())
    assert "0x20.region-log.empty" in rules(found)
    assert any("inlined" in note for note in found.notes)
    assert found.suspects == ()


@BUILDS
def test_a_noisy_region_log(read: Read, build: int) -> None:
    noise = tuple(RegionLogEntry(50, ("enter", "leave")[i % 2], "Suspect.sys") for i in range(128))
    found = read(replace(state(build), verifier_level=0x800, verified=("Suspect.sys",), region_log=noise))
    assert found.verifier is not None
    assert len(found.verifier.log) == 128
    assert {entry.caller for entry in found.verifier.log} == {"Suspect.sys"}
    assert [entry.direction for entry in found.verifier.log[:2]] == ["leave", "enter"]
    assert rules(found)["0x20.region-log.monopolised"] == (Strength.WEAK, ("Suspect.sys",))
    assert suspects(found) == ["Suspect.sys"]


@BUILDS
def test_a_telling_region_log(read: Read, build: int) -> None:
    log = (
        RegionLogEntry(50, "enter", "Suspect.sys"),
        RegionLogEntry(50, "leave", "Suspect.sys"),
        RegionLogEntry(CRASHING, "enter", "Other.sys"),
        RegionLogEntry(CRASHING, "enter", "BadDriver.sys"),
        RegionLogEntry(CRASHING, "leave", "Other.sys"),
    )
    found = read(replace(state(build), verifier_level=0x800, verified=("BadDriver.sys",), region_log=log))
    assert found.verifier is not None
    assert [(e.direction, e.caller) for e in reversed(found.verifier.log)] == [
        (e.direction, e.image) for e in log
    ]
    assert found.thread is not None
    assert [e.thread == found.thread.address for e in reversed(found.verifier.log)] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert rules(found)["0x20.region-log.unbalanced-thread"] == (Strength.STRONG, ("BadDriver.sys",))
    assert suspects(found) == ["BadDriver.sys"]


def verified(build: int, owner: str, *instances: Instance) -> CrashState:
    return replace(
        state(build, Stop.DISPATCH_CHANGED_APC),
        dispatch_owner=owner,
        instances=instances,
        verifier_level=0x810,
        verified=("BadDriver.sys", "Other.sys"),
    )


@BUILDS
def test_a_minifilter(read: Read, build: int) -> None:
    found = read(verified(build, "fltmgr.sys", BAD))
    assert (found.bugcheck.code, found.bugcheck.parameters[0]) == (0xC4, 0xC5)
    assert found.bugcheck.parameters[2:] == (0xFFFF, 0)
    assert functions(found) == VERIFIED_STACK
    assert found.verifier is not None
    assert found.verifier.level == 0x810
    assert "Io subsystem checking enabled" in found.verifier.options
    dispatch = found.dispatch
    assert dispatch is not None
    assert function(dispatch.dispatch_symbol) == "fltmgr!FltpDispatch"
    assert [name.casefold() for _, name in dispatch.device_stack] == [
        r"\filesystem\fltmgr",
        r"\filesystem\ntfs",
    ]
    assert (dispatch.image, dispatch.major) == ("fltmgr.sys", 3)
    assert dispatch.volume_name == r"\Device\HarddiskVolume3"
    assert [(i.name, i.altitude, i.image) for i in dispatch.instances] == [
        ("BadDriver.sys Instance", "189600", "BadDriver.sys")
    ]
    assert dispatch.apc_before == 0
    assert rules(found)["0xc4.c5.only-minifilter"] == (Strength.STRONG, ("BadDriver.sys",))
    assert suspects(found) == ["BadDriver.sys"]


@BUILDS
def test_two_minifilters_stay_a_set(read: Read, build: int) -> None:
    found = read(verified(build, "fltmgr.sys", BAD, OTHER))
    assert found.dispatch is not None
    assert [i.altitude for i in found.dispatch.instances] == ["328010", "189600"]
    assert rules(found)["0xc4.c5.minifilters"] == (Strength.MODERATE, ("Other.sys", "BadDriver.sys"))
    assert [(s.image, s.weight) for s in found.suspects] == [("BadDriver.sys", 0.5), ("Other.sys", 0.5)]


@BUILDS
def test_a_minifilter_of_windows_is_never_a_suspect(read: Read, build: int) -> None:
    asked = verified(build, "fltmgr.sys", BAD, Instance("FileInfo", "45000", "fileinfo.sys"))
    found = read(replace(asked, images=(*SYSTEM, Image("fileinfo.sys", False), *THIRD)))
    assert found.dispatch is not None
    assert [i.origin for i in found.dispatch.instances] == [Origin.THIRD_PARTY, Origin.IN_BOX]
    assert suspects(found) == ["BadDriver.sys"]


@BUILDS
def test_a_class_filter(read: Read, build: int) -> None:
    found = read(verified(build, "Disk1.sys"))
    names = functions(found)
    assert names[:4] == VERIFIED_STACK[:4]
    assert names[-5:] == VERIFIED_STACK[-5:]
    called = [name for name in names if name == "nt!IovCallDriver"]
    assert len(called) == 3, "srv2 to the filter manager to Ntfs to the class filter, each call checked"
    assert found.dispatch is not None
    assert found.dispatch.device_stack[0][1].casefold().endswith(r"\disk1")
    assert rules(found)["0xc4.c5.dispatch-routine"] == (Strength.PROOF, ("Disk1.sys",))
    assert suspects(found) == ["Disk1.sys"]


@BUILDS
@pytest.mark.parametrize(("stop", "code"), [(Stop.NMI, 0x80), (Stop.MANUAL, 0xE2)])
def test_our_own_stops(read: Read, build: int, stop: Stop, code: int) -> None:
    found = read(state(build, stop))
    assert found.bugcheck.code == code
    assert found.suspects == ()
    assert compare(read(state(build)).signature, found.signature) is Relation.OURS


def test_signatures_agree_across_builds_and_with_verifier_on(read: Read) -> None:
    exits = [read(state(build)).signature for build in ALL_BUILDS]
    assert {compare(exits[0], other) for other in exits} == {Relation.SAME}
    assert compare(exits[0], read(verified(20348, "fltmgr.sys", BAD)).signature) is Relation.SIBLING


def test_what_a_guest_reports_wins(tmp_path: Path) -> None:
    write_dump(verified(7601, "fltmgr.sys", BAD, OTHER), tmp_path / "MEMORY.DMP", filler_pages=0)
    reported = Driver(
        "Other", "Other.sys", "", StartType.BOOT, True, origin=Origin.IN_BOX, origin_because="signed"
    )
    found = triage(tmp_path / "MEMORY.DMP", None, [reported])
    assert suspects(found) == ["BadDriver.sys"]
    (other,) = (m for m in found.modules if m.name == "Other.sys")
    assert (other.origin, other.origin_because) == (Origin.IN_BOX, "signed")


@BUILDS
def test_without_symbols_of_srv2_and_fltmgr(tmp_path: Path, build: int) -> None:
    write_dump(verified(build, "fltmgr.sys", BAD), tmp_path / "MEMORY.DMP", filler_pages=0)
    found = triage(tmp_path / "MEMORY.DMP")
    assert [name.split("!")[0] for name in functions(found)[4:7]] == ["srv2", "srv2", "srv2"]
    assert suspects(found) == ["BadDriver.sys"]


@BUILDS
def test_the_text_of_the_article(read: Read, build: int) -> None:
    text = render(read(verified(build, "fltmgr.sys", BAD)))
    for part in (
        "DRIVER_VERIFIER_DETECTED_VIOLATION (c4)",
        "Arg1: 00000000000000c5",
        " nt!VfAfterCallDriver+0x",
        "Verify Level 810 ... enabled options are:",
        '"BadDriver.sys Instance" "189600"',
        "  100%  BadDriver.sys",
    ):
        assert part in text


def test_the_twins_own_drivers_are_classified_by_name_as_it_means_them() -> None:
    from lab.analysis.origin import classify

    assert {d.image: classify(d.image)[0] for d in TWIN_IN_BOX} == {
        d.image: Origin.IN_BOX for d in TWIN_IN_BOX
    }
    assert Origin.IN_BOX not in {classify(d.image)[0] for d in TWIN_THIRD_PARTY}


@pytest.mark.parametrize("build", [7601, 9600, 14393, 17763, 19041, 20348])
def test_symbols_of_the_real_kernel_name_the_twins_functions(tmp_path: Path, build: int) -> None:
    if not KERNEL_SYMBOLS.is_dir():
        pytest.skip("the public symbols of real kernels are not at hand")
    write_dump(verified(build, "fltmgr.sys", BAD), tmp_path / "MEMORY.DMP", filler_pages=0)
    found = triage(tmp_path / "MEMORY.DMP", symbol_store([KERNEL_SYMBOLS], offline=True))
    kernel = [name for name in functions(found) if name.startswith("nt!")]
    assert kernel == [name for name in VERIFIED_STACK if name.startswith("nt!")]
    assert suspects(found) == ["BadDriver.sys"]


@STORIES
@pytest.mark.parametrize("kind", DUMP_TYPES)
def test_every_type_of_dump(tmp_path: Path, build: int, kind: int) -> None:
    write_symbols(build, tmp_path / "symbols")
    write_dump(verified(build, "fltmgr.sys", BAD), tmp_path / "MEMORY.DMP", kind, filler_pages=0)
    found = triage(tmp_path / "MEMORY.DMP", symbol_store([tmp_path / "symbols"], offline=True))
    assert found.dump.dump_type == kind
    assert found.verifier is not None and found.verifier.level == 0x810
    assert [m.name for m in found.modules] == [image.name for image in SYSTEM + THIRD]
    assert found.thread is not None and found.thread.kernel_apc_disable == -1
    if kind == 4:
        # No images, no pool: the stack is scanned, and nobody is accused by what is not there.
        assert {frame.how for frame in found.stack[1:]} == {"scanned"}
        assert {"nt", "srv2"} <= {name.split("!")[0].split("+")[0] for name in functions(found)}
        assert found.dispatch is None or found.dispatch.instances == ()
    else:
        assert functions(found) == VERIFIED_STACK
        assert suspects(found) == ["BadDriver.sys"]


@STORIES
def test_a_region_log_that_is_not_in_the_dump(read: Read, build: int) -> None:
    noise = tuple(RegionLogEntry(50, ("enter", "leave")[i % 2], "Suspect.sys") for i in range(128))
    asked = replace(state(build), verifier_level=0x800, verified=("Suspect.sys",), region_log=noise)
    found = read(replace(asked, log_paged_out=True))
    assert found.verifier is not None and found.verifier.log == ()
    assert any("critical-region log are not in the dump" in note for note in found.notes)
    assert "0x20.region-log.empty" not in rules(found)
    assert found.suspects == ()


@STORIES
@pytest.mark.parametrize("owner", ["fltmgr.sys", "Disk1.sys"])
def test_a_record_on_the_stack(read: Read, build: int, owner: str) -> None:
    found = read(replace(verified(build, owner, BAD), state_on_stack=True))
    assert functions(found)[3:5] == ["nt!IovpCallDriverWithStackBuffer", "nt!IovCallDriver"]
    assert found.dispatch is not None and found.dispatch.apc_before == 0
    assert found.thread is not None
    assert suspects(found) == [{"fltmgr.sys": "BadDriver.sys"}.get(owner, owner)]


@STORIES
def test_only_minifilters_of_windows_accuse_nobody(read: Read, build: int) -> None:
    asked = verified(build, "fltmgr.sys", Instance("FileInfo", "45000", "fileinfo.sys"))
    found = read(replace(asked, images=(*SYSTEM, Image("fileinfo.sys", False), *THIRD)))
    assert found.dispatch is not None and found.dispatch.volume_name == r"\Device\HarddiskVolume3"
    assert suspects(found) == []
    assert any("No third-party minifilter" in note for note in found.notes)


@STORIES
def test_a_count_that_grew(read: Read, build: int) -> None:
    found = read(replace(verified(build, "fltmgr.sys", BAD), apc_now=1))
    assert found.bugcheck.parameters[2] == 1
    assert "enabled APCs more often" in next(
        e.statement for e in found.evidence if e.rule == "0xc4.c5.apc-count"
    )
    assert suspects(found) == ["BadDriver.sys"]


@pytest.mark.parametrize("build", [9600, 17763, 22000])
def test_an_irp_log_brackets_the_call(read: Read, build: int) -> None:
    log = (
        *(IrpLogEntry(CRASHING, "allocate", "Other.sys") for _ in range(3)),
        *(IrpLogEntry(CRASHING, "complete", "BadDriver.sys", -1) for _ in range(3)),
    )
    found = read(replace(verified(build, "fltmgr.sys", BAD, OTHER), irp_log=log))
    assert found.verifier is not None
    assert [entry.kernel_apc_disable for entry in found.verifier.irp_log] == [-1, -1, -1, 0, 0, 0]
    assert "0xc4.c5.irp-log.bracket" in rules(found)


@BUILDS
def test_verified_drivers_with_their_counters(read: Read, build: int) -> None:
    found = read(verified(build, "fltmgr.sys", BAD))
    assert found.verifier is not None
    assert sorted(driver.name for driver in found.verifier.loaded) == ["BadDriver.sys", "Other.sys"]


@STORIES
def test_unloaded_drivers_are_told(read: Read, build: int) -> None:
    found = read(replace(state(build), unloaded=(Unloaded("OldFlt.sys", seconds=30.0),)))
    assert [driver.name for driver in found.unloaded][-2:] == ["crashdmp.sys", "OldFlt.sys"]


@STORIES
def test_images_without_headers_are_still_accused(read: Read, build: int) -> None:
    found = read(replace(verified(build, "fltmgr.sys", BAD), without_headers=("BadDriver.sys", "fltmgr.sys")))
    assert functions(found) == VERIFIED_STACK
    assert suspects(found) == ["BadDriver.sys"]


@pytest.mark.parametrize("change", [{"five_levels": True}, {"encoded_kdbg": True}])
def test_an_unusual_machine(read: Read, change: dict[str, bool]) -> None:
    found = read(replace(verified(20348, "fltmgr.sys", BAD), **change))
    assert functions(found) == VERIFIED_STACK
    assert suspects(found) == ["BadDriver.sys"]


IDLE = ["nt!KiProcessExpiredTimerList", "nt!KiExecuteAllDpcs", "nt!KiRetireDpcList", "nt!KiIdleLoop"]


def blaming(build: int, stop: Stop) -> CrashState:
    level = 8 if stop is Stop.POOL_LEAKED else 0
    asked = replace(state(build, stop), dispatch_owner="BadDriver.sys", apc_now=0)
    return replace(asked, verifier_level=level, verified=("BadDriver.sys",))


@BUILDS
def test_paged_memory_touched_at_dispatch_level(read: Read, build: int) -> None:
    found = read(blaming(build, Stop.PAGED_AT_DISPATCH))
    names = functions(found)
    assert names[:3] == ["nt!KeBugCheckEx", "nt!KiBugCheckDispatch", "nt!KiPageFault"]
    assert names[3].startswith("BadDriver") and names[4:] == IDLE
    assert rules(found)["fault.address"] == (Strength.STRONG, ("BadDriver.sys",))
    assert rules(found)["kernel.names"] == (Strength.MODERATE, ("BadDriver.sys",))
    assert suspects(found) == ["BadDriver.sys"]


@STORIES
def test_a_small_dump_with_the_driver_that_the_system_blames(tmp_path: Path, build: int) -> None:
    write_dump(blaming(build, Stop.PAGED_AT_DISPATCH), tmp_path / "Mini.dmp", 4)
    found = triage(tmp_path / "Mini.dmp")
    assert rules(found)["fault.address"] == (Strength.STRONG, ("BadDriver.sys",))
    assert suspects(found) == ["BadDriver.sys"]


@BUILDS
def test_a_power_request_that_nobody_completes(read: Read, build: int) -> None:
    found = read(blaming(build, Stop.POWER_IRP_BLOCKED))
    assert functions(found)[-4:] == IDLE
    assert rules(found)["0x9f.request"] == (Strength.STRONG, ("BadDriver.sys",))
    assert suspects(found) == ["BadDriver.sys"]


@BUILDS
def test_pool_left_at_unload(read: Read, build: int) -> None:
    found = read(blaming(build, Stop.POOL_LEAKED))
    assert "nt!VfPoolCheckForLeaks" in functions(found)
    assert rules(found)["0xc4.62.name"] == (Strength.PROOF, ("BadDriver.sys",))
    assert suspects(found) == ["BadDriver.sys"]


@pytest.mark.parametrize("build", [b for b in ALL_BUILDS if b > 7601])
def test_a_dpc_that_takes_too_long(read: Read, build: int) -> None:
    found = read(blaming(build, Stop.DPC_WATCHDOG))
    assert functions(found)[-4:] == IDLE
    assert rules(found)["0x133.running"] == (Strength.STRONG, ("BadDriver.sys",))
    assert suspects(found) == ["BadDriver.sys"]
