"""Parameters of any kind of stop that point anywhere in a whole dump: an answer, never an odd error."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from lab.analysis import triage
from lab.analysis.rules.fault import FAULT_ADDRESS
from lab.analysis.stops import KIND_PARAMETER, KINDS
from lab.analysis.stops.plain import PLAIN
from lab.dumps.source import BytesSource
from lab.model import Origin, Triage
from lab.symbols import symbol_store
from lab.twin.crash import CrashState, Image, Instance, Stop
from lab.twin.memory import write_dump

NAMES = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
IMAGES = (*(Image(name, False) for name in NAMES), Image("BadDriver.sys", True))
_CODE, _PARAMETERS = 0x38, 0x40  # DUMP_HEADER64
EVERY = [(code, kind) for code, kinds in KINDS.items() for kind in kinds] + [(code, None) for code in PLAIN]


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytearray, Triage]:
    path = tmp_path_factory.mktemp("hostile") / "MEMORY.DMP"
    state = CrashState(
        20348,
        1,
        Stop.DISPATCH_CHANGED_APC,
        IMAGES,
        7,
        dispatch_owner="fltmgr.sys",
        instances=(Instance("BadDriver Instance", "189600", "BadDriver.sys"),),
        verifier_level=0x810,
        verified=("BadDriver.sys",),
    )
    write_dump(state, path, filler_pages=0)
    return bytearray(Path(path).read_bytes()), triage(path, symbol_store())


def addresses(found: Triage) -> list[int]:
    """Addresses of objects of every sort that the dump holds, and some of none."""
    assert found.dispatch is not None
    assert found.thread is not None
    objects = [found.dispatch.address, found.dispatch.volume, found.thread.address, found.thread.stack_base]
    objects += [device for device, _ in found.dispatch.device_stack]
    objects += [instance.address for instance in found.dispatch.instances]
    objects += [module.base + rva for module in found.modules for rva in (0, 0x1100, module.size)]
    objects += [value for frame in found.stack for _, value in frame.registers]
    objects += [frame.child_sp for frame in found.stack]
    return [*objects, 0, 1, 2, 0x7FFF_FFFF, 0xFFFF_8000_0000_0000, 2**64 - 1]


def test_parameters_may_point_anywhere(dump: tuple[bytearray, Triage]) -> None:
    raw, found = dump
    choice = random.Random(20)
    places = addresses(found)
    for code, kind in [*choice.sample(EVERY, 150), *((code, None) for code in PLAIN)]:
        parameters = [(choice.choice(places) + choice.choice((0, 0, 8, -8))) % 2**64 for _ in range(4)]
        if kind is not None:
            parameters[KIND_PARAMETER[code] - 1] = kind
        struct.pack_into("<I", raw, _CODE, code)
        struct.pack_into("<4Q", raw, _PARAMETERS, *parameters)
        said = triage(BytesSource(bytes(raw)), symbol_store(), name="hostile")
        assert said.bugcheck.code == code
        in_box = {module.name for module in said.modules if module.origin is Origin.IN_BOX}
        accused = {s.image for s in said.suspects} & in_box
        assert accused <= {i for e in said.evidence if e.rule == FAULT_ADDRESS for i in e.points_to}
