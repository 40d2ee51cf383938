"""Verifier's saved state is found by what must hold of it, wherever it lies."""

from __future__ import annotations

import kernel_bytes as kb
import pytest

from lab.kernel.devices import devices_of, read_driver
from lab.kernel.dispatch import SavedState, devices_with_routine, find_saved_state
from lab.model import Frame

ROUTINE = kb.FLTMGR + 0x5610
DEVICE, DRIVER, STATE, IRP = kb.POOL + 0x60, kb.POOL + 0x10000, kb.POOL + 0x20790, kb.POOL + 0x30000
BOTTOM, CALLER = kb.STACK, kb.STACK + 0x100


def memory(state: int = STATE, *, before: int = 0, device_at: int = 0xA0) -> kb.Bytes:
    found = kb.Bytes()
    kb.driver_object(found, DRIVER, r"\FileSystem\FltMgr", kb.FLTMGR, 0x50000, ROUTINE)
    kb.device_object(found, DEVICE, DRIVER)
    found.fill(BOTTOM, 0x400)
    found.fill(state, 0x180)
    found.u64(state + 0x30, ROUTINE)
    found.u64(state + device_at, DEVICE, IRP)
    found.u32(state + device_at + 0x1C, before)
    kb.irp(found, IRP, [kb.POOL + 0x1030, DEVICE], current=2, major=4)
    return found


def stack(**registers: int) -> tuple[Frame, ...]:
    return (
        kb.frame(0, BOTTOM, "nt!KeBugCheckEx"),
        kb.frame(1, BOTTOM + 0x8, "nt!VfBugCheckNoStackUsage+0x30"),
        kb.frame(2, BOTTOM + 0x48, "nt!VfAfterCallDriver+0x33e", rsp=BOTTOM + 0x48, **registers),
        kb.frame(3, BOTTOM + 0x98, "nt!IovCallDriver+0x57e"),
        kb.frame(4, CALLER, "srv2!Smb2ExecuteRead+0x9a6"),
    )


def find(found: kb.Bytes, frames: tuple[Frame, ...], *, before: int | None = 0) -> SavedState | None:
    return find_saved_state(kb.kernel(found), ROUTINE, before, frames)


def test_in_a_register_as_in_the_article() -> None:
    state = find(memory(), stack(rbx=STATE))
    assert state is not None
    assert (state.address, state.found_in) == (STATE, "rbx of frame 2")
    assert (state.device.address, state.apc_before) == (DEVICE, 0)
    assert state.major == 4
    assert len(state.checks) == 6, state.checks


def test_as_a_value_on_the_stack() -> None:
    found = memory()
    found.u64(BOTTOM + 0x68, STATE)
    state = find(found, stack(rbx=0, rsi=kb.POOL + 0x999998))
    assert state is not None
    assert (state.address, state.found_in) == (STATE, "stack +0x68")


def test_lying_on_the_stack_itself() -> None:
    inside = BOTTOM + 0x48
    state = find(memory(inside), stack())
    assert state is not None
    assert (state.address, state.found_in) == (inside, "on the stack at +0x48")


def test_beyond_the_caller_nothing_is_looked_for() -> None:
    found = memory()
    found.u64(CALLER + 0x8, STATE)
    assert find(found, stack()) is None


@pytest.mark.parametrize("before", [0xFFFF, 0xFFFE, 1])
def test_the_count_before_must_agree(before: int) -> None:
    state = find(memory(before=before), stack(rbx=STATE), before=before)
    assert state is not None
    assert state.apc_before == (before if before < 0x8000 else before - 0x10000)
    assert find(memory(before=0), stack(rbx=STATE), before=before) is None


def test_a_stop_that_does_not_tell_the_count_is_about_a_call_all_the_same() -> None:
    """Of 0xC9/0x12, parameter 4 is an IRQL: the count is what the saved state says."""
    state = find(memory(before=0xFFFE), stack(rbx=STATE), before=None)
    assert state is not None
    assert (state.device.address, state.apc_before) == (DEVICE, -2)
    assert not any("count" in check for check in state.checks)


def test_another_routine_is_not_it() -> None:
    found = memory()
    found.u64(STATE + 0x30, ROUTINE + 8)
    assert find(found, stack(rbx=STATE)) is None


def test_the_device_must_be_one_whose_driver_has_the_routine() -> None:
    found = memory()
    kb.driver_object(found, DRIVER, r"\FileSystem\Ntfs", kb.NTFS, 0x100000, kb.NTFS + 0x100)
    assert find(found, stack(rbx=STATE)) is None
    kb.driver_object(found, DRIVER, r"\FileSystem\FltMgr", kb.FLTMGR, 0x50000, kb.FLTMGR + 0x999)
    state = find(found, stack(rbx=STATE))
    assert state is not None
    assert "the routine is inside its driver's image" in state.checks


@pytest.mark.parametrize("device_at", [0x80, 0xA8, 0x120])
def test_a_moved_device_is_found_and_said_to_be_inferred(device_at: int) -> None:
    state = find(memory(device_at=device_at), stack(rbx=STATE))
    assert state is not None
    assert state.device.address == DEVICE
    assert any("inferred" in check for check in state.checks)


def test_the_decoy_with_the_wrong_count_does_not_hide_the_real_one() -> None:
    found = memory()
    decoy = kb.POOL + 0x40000
    found.fill(decoy, 0x180)
    found.u64(decoy + 0x30, ROUTINE)
    found.u64(decoy + 0xA0, DEVICE)
    found.u32(decoy + 0xBC, 7)
    state = find(found, stack(rbx=decoy, rbp=STATE))
    assert state is not None
    assert (state.address, state.found_in) == (STATE, "rbp of frame 2")


@pytest.mark.parametrize(
    ("devices", "current", "major"), [([0, DEVICE], 2, 4), ([DEVICE, 0], 2, 4), ([0, 0], 3, None)]
)
def test_the_request_says_which_major_function(devices: list[int], current: int, major: int | None) -> None:
    found = memory()
    kb.irp(found, IRP, devices, current=current, major=4)
    state = find(found, stack(rbx=STATE))
    assert state is not None and state.major == major


def test_a_request_that_was_freed_leaves_the_state() -> None:
    found = memory()
    found.u64(STATE + 0xA8, 0xFFFFFA8012345670)
    state = find(found, stack(rbx=STATE))
    assert state is not None
    assert (state.irp, state.major) == (None, None)


def test_all_devices_of_the_routines_driver_when_nothing_else_is_known() -> None:
    """The driver is found through a file system's device, on whose stack its own is."""
    found = memory()
    found.u64(STATE + 0x30, 0)
    ntfs, other, ntfs_driver = kb.POOL + 0x50000, kb.POOL + 0x51000, kb.POOL + 0x52000
    kb.driver_object(found, ntfs_driver, r"\FileSystem\Ntfs", kb.NTFS, 0x100000, kb.NTFS + 0x100)
    kb.device_object(found, ntfs, ntfs_driver, above=DEVICE)
    kb.device_object(found, DEVICE, DRIVER, below=ntfs)
    kb.device_object(found, other, DRIVER)
    found.u64(DRIVER + 8, other)
    found.u64(other + 0x10, DEVICE)
    assert devices_with_routine(kb.kernel(found), ROUTINE, stack()) is None
    found.u64(BOTTOM + 0x60, ntfs)
    all_of_them = devices_with_routine(kb.kernel(found), ROUTINE, stack())
    assert all_of_them is not None
    assert [device.address for device in all_of_them.devices] == [other, DEVICE]
    assert "device stack" in all_of_them.found_by
    found.u64(BOTTOM + 0x58, DEVICE)
    all_of_them = devices_with_routine(kb.kernel(found), ROUTINE, stack())
    assert all_of_them is not None
    assert [device.address for device in all_of_them.likely] == [DEVICE]
    assert all_of_them.found_by == "stack +0x58"
    assert devices_with_routine(kb.kernel(found), ROUTINE + 8, stack()) is None


def test_a_list_of_devices_that_bites_its_tail_ends() -> None:
    found = memory()
    found.u64(DRIVER + 8, DEVICE)
    found.u64(DEVICE + 0x10, DEVICE)
    kernel = kb.kernel(found)
    assert [d.address for d in devices_of(kernel, read_driver(kernel, DRIVER))] == [DEVICE]
