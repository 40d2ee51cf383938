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
from lab.twin.crash import CrashState, Image, Instance, RegionLogEntry, Stop
from lab.twin.inbox import IN_BOX as TWIN_IN_BOX
from lab.twin.memory import write_dump, write_symbols
from lab.twin.thirdparty import THIRD_PARTY as TWIN_THIRD_PARTY

BUILDS = pytest.mark.parametrize("build", [7601, 17763, 20348])
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
ONLY_THERE = {"nt!PspTerminateThreadByPointer": "nt", "nt!PsTerminateSystemThread": "nt"}
"""What the built-in kernel tables do not name; the public symbols of the same kernels do."""


def state(build: int, stop: Stop = Stop.APC_PENDING_DURING_EXIT) -> CrashState:
    return CrashState(build, 1, stop, SYSTEM + THIRD, CRASHING)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[CrashState], Triage]:
    """Writes the dump of a state and reads it. Each state once."""
    directory = tmp_path_factory.mktemp("dumps")
    for build in (7601, 17763, 20348):
        write_symbols(build, directory / "symbols")
    store = symbol_store([directory / "symbols", KERNEL_SYMBOLS])

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
    """The names of `stack` as the symbols at hand have them."""
    missing = {} if KERNEL_SYMBOLS.is_dir() else ONLY_THERE
    return [missing.get(name, SAME_CODE.get(name, name)) for name in stack]


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
    exits = [read(state(build)).signature for build in (7601, 17763, 20348)]
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
