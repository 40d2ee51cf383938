"""Stops of several families, from a whole dump to the suspect.

The dumps are the twin's, which lays memory out by the published offsets and knows nothing of the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.analysis import triage
from lab.model import Relation, Strength, Triage, compare
from lab.symbols import SymbolStore, symbol_store
from lab.twin.crash import CrashState, Image, Instance, IrpLogEntry, RegionLogEntry, Stop
from lab.twin.memory import write_dump, write_symbols

NAMES = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
IMAGES = (
    *(Image(name, False) for name in NAMES),
    Image("BadDriver.sys", True),
    Image("Other.sys", True),
)
CRASHING = 7
BUILDS = pytest.mark.parametrize("build", [7601, 20348])
Read = Callable[..., Triage]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Writes the dump of a state and reads it, with or without symbols."""
    folder = tmp_path_factory.mktemp("whole")
    for build in (7601, 20348):
        write_symbols(build, folder / "symbols")
    store = symbol_store([folder / "symbols"])

    def read(state: CrashState, symbols: SymbolStore | None = store) -> Triage:
        path: Path = folder / "MEMORY.DMP"
        write_dump(state, path, filler_pages=0)
        return triage(path, symbols)

    return read


def state(build: int, stop: Stop) -> CrashState:
    return CrashState(build, 1, stop, IMAGES, CRASHING, apc_now=0, dispatch_owner="BadDriver.sys")


def strengths(found: Triage) -> dict[str, Strength]:
    return {each.rule: each.strength for each in found.evidence if each.points_to}


def suspects(found: Triage) -> list[str]:
    return [suspect.image for suspect in found.suspects]


@BUILDS
def test_memory_touched_at_dispatch_level(read: Read, build: int) -> None:
    found = read(state(build, Stop.PAGED_AT_DISPATCH))
    assert strengths(found)["fault.address"] is Strength.STRONG
    assert strengths(found)["kernel.names"] is Strength.MODERATE
    assert suspects(found) == ["BadDriver.sys"]
    assert found.signature.fault.split("!")[0] == "BadDriver"


@BUILDS
def test_a_power_irp_that_is_blocked(read: Read, build: int) -> None:
    found = read(state(build, Stop.POWER_IRP_BLOCKED))
    assert strengths(found)["0x9f.request"] is Strength.STRONG
    assert suspects(found) == ["BadDriver.sys"]
    assert (found.signature.sub_code, found.signature.fault) == (3, "BadDriver")


@BUILDS
def test_pool_that_a_driver_did_not_free(read: Read, build: int) -> None:
    asked = replace(state(build, Stop.POOL_LEAKED), verifier_level=0x9, verified=("BadDriver.sys",))
    found = read(asked)
    assert strengths(found) == {"0xc4.62.name": Strength.PROOF}
    assert suspects(found) == ["BadDriver.sys"]


def test_a_dpc_that_takes_too_long(read: Read) -> None:
    found = read(state(20348, Stop.DPC_WATCHDOG))
    assert strengths(found) == {"0x133.running": Strength.STRONG}
    assert suspects(found) == ["BadDriver.sys"]


@pytest.mark.parametrize(
    "stop", [Stop.PAGED_AT_DISPATCH, Stop.POWER_IRP_BLOCKED, Stop.POOL_LEAKED, Stop.DPC_WATCHDOG]
)
def test_without_symbols_the_suspect_is_the_same_and_so_is_the_crash(read: Read, stop: Stop) -> None:
    asked = state(20348, stop)
    if stop is Stop.POOL_LEAKED:
        asked = replace(asked, verifier_level=0x9, verified=("BadDriver.sys",))
    named, bare = read(asked), read(asked, None)
    assert suspects(named) == suspects(bare) == ["BadDriver.sys"]
    assert compare(named.signature, bare.signature) is Relation.SAME
    assert compare(bare.signature, named.signature) is Relation.SAME


def test_the_irp_log_speaks_where_the_region_log_is_paged_out(read: Read) -> None:
    log = (
        IrpLogEntry(CRASHING, "allocate", "Ntfs.sys", 0),
        IrpLogEntry(CRASHING, "complete", "Ntfs.sys", 0),
        IrpLogEntry(CRASHING, "allocate", "BadDriver.sys", -1),
        IrpLogEntry(CRASHING, "complete", "Ntfs.sys", -1),
    )
    exits = CrashState(20348, 1, Stop.APC_PENDING_DURING_EXIT, IMAGES, CRASHING)
    found = read(
        replace(exits, verifier_level=0x810, verified=("BadDriver.sys",), irp_log=log, log_paged_out=True)
    )
    assert strengths(found) == {"0x20.irp-log.bracket": Strength.MODERATE}
    assert any("paged out" in note for note in found.notes)


@BUILDS
def test_an_extra_leave(read: Read, build: int) -> None:
    exits = CrashState(build, 1, Stop.APC_PENDING_DURING_EXIT, IMAGES, CRASHING, apc_now=1)
    log = (RegionLogEntry(CRASHING, "leave", "BadDriver.sys"),)
    found = read(replace(exits, verifier_level=0x800, verified=("BadDriver.sys",), region_log=log))
    assert strengths(found) == {"0x20.region-log.unbalanced-thread": Strength.STRONG}


@BUILDS
def test_two_minifilters_when_the_saved_state_is_on_the_stack(read: Read, build: int) -> None:
    asked = CrashState(
        build,
        1,
        Stop.DISPATCH_CHANGED_APC,
        IMAGES,
        CRASHING,
        instances=(Instance("a", "189600", "BadDriver.sys"), Instance("b", "328010", "Other.sys")),
        state_on_stack=True,
    )
    found = read(asked)
    assert strengths(found) == {"0xc4.c5.minifilters": Strength.MODERATE}
    assert [s.weight for s in found.suspects] == [0.5, 0.5]
