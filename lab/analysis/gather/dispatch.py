"""The IoCallDriver that Driver Verifier stopped: its saved state, the device stack, the minifilters."""

from __future__ import annotations

from dataclasses import dataclass

from lab.analysis.gather.attempt import attempt, quietly
from lab.analysis.rules.apc_count import signed16
from lab.analysis.rules.dispatch_routine import KINDS
from lab.analysis.rules.minifilters import major_by_sender
from lab.kernel.devices import Device, device_stack, devices_of
from lab.kernel.dispatch import SavedState, devices_with_routine, find_saved_state
from lab.kernel.filters import Volume, find_volume, volumes_behind
from lab.kernel.fltframes import read_volumes
from lab.kernel.irp import READ
from lab.kernel.target import Kernel
from lab.model import Bugcheck, DispatchState, FilterInstance, Frame

CHECKED = frozenset({(0xC4, 0xC5), (0xC4, 0xC1), (0xC9, 0x12)})
"""Stops whose parameter 2 is a dispatch routine that nt!IovCallDriver had called."""


@dataclass(frozen=True)
class Call:
    """What is known of the call. `state` is None when not even a device was found.

    `major` is the major function of the request, None when nothing tells. `elsewhere` are the minifilter
    instances of the other volumes; of all when the volume of the request is not known.
    """

    state: DispatchState | None
    major: int | None
    elsewhere: tuple[FilterInstance, ...] = ()


def read_call(kernel: Kernel, bugcheck: Bugcheck, stack: tuple[Frame, ...], notes: list[str]) -> Call | None:
    """The call that went wrong; None for a stop that is about no such call."""
    if (bugcheck.code, bugcheck.parameters[0]) not in CHECKED:
        return None
    routine = bugcheck.parameters[1]
    saved = saved_state(kernel, bugcheck, stack)
    devices: tuple[Device, ...] = ()
    if saved is None:
        notes.append("Nothing on the stack or in a register has the invariants of Verifier's saved state.")
        saved, devices = _any_device(kernel, bugcheck, stack, notes)
    major = saved.major if saved is not None else None
    major = major if major is not None else major_by_sender(stack)
    wanted = READ if major is None else major
    volume = _volume(kernel, saved, wanted, notes) if saved is not None else None
    others: tuple[Volume, ...] = ()
    if _of_filter_manager(kernel, routine):
        others = _volumes(kernel, saved, devices, wanted)
    return Call(
        state=_state(kernel, saved, routine, volume, major) if saved is not None else None,
        major=major,
        elsewhere=tuple(
            i for each in others if volume is None or each.address != volume.address for i in each.instances
        ),
    )


def saved_state(kernel: Kernel, bugcheck: Bugcheck, stack: tuple[Frame, ...]) -> SavedState | None:
    """What verifier saved of the call. None when it is not found, or when the stop is about no such call."""
    kind, routine, _, _ = bugcheck.parameters
    if (bugcheck.code, kind) not in CHECKED:
        return None
    return find_saved_state(kernel, routine, _count_before(bugcheck), stack)


def _count_before(bugcheck: Bugcheck) -> int | None:
    """The APC disable count before the call, where parameter 4 is that."""
    return bugcheck.parameters[3] if KINDS[bugcheck.code, bugcheck.parameters[0]].counts else None


def _state(
    kernel: Kernel, saved: SavedState, routine: int, volume: Volume | None, major: int | None
) -> DispatchState:
    owner = kernel.module_at(saved.device.driver.start)
    return DispatchState(
        address=saved.address,
        found_in=saved.found_in,
        checks=saved.checks,
        dispatch_routine=routine,
        dispatch_symbol=kernel.symbol(routine),
        apc_before=saved.apc_before,
        device=saved.device.address,
        driver=saved.device.driver.name,
        device_stack=tuple((d.address, d.driver.name) for d in device_stack(kernel, saved.device.address)),
        volume=volume.address if volume else 0,
        volume_name=volume.name if volume else "",
        instances=volume.instances if volume else (),
        image=owner.name if owner is not None else "",
        major=major,
        irp=saved.irp.address if saved.irp is not None else 0,
    )


def _any_device(
    kernel: Kernel, bugcheck: Bugcheck, stack: tuple[Frame, ...], notes: list[str]
) -> tuple[SavedState | None, tuple[Device, ...]]:
    """(a stand-in for the saved state (address 0), all devices of the routine's driver).

    The stand-in is a device of that driver that was seen on the stack.
    """
    found = devices_with_routine(kernel, bugcheck.parameters[1], stack)
    if found is None:
        return None, ()
    if not found.likely:
        return None, found.devices
    device = found.likely[0]
    notes.append(
        f"Device {device.address:#x} ({found.found_by}) is taken for the one that was called, which is a "
        "guess."
    )
    checks = ("its driver has the dispatch routine of parameter 2",)
    before = signed16(_count_before(bugcheck) or 0)
    return SavedState(0, found.found_by, checks, device, before), found.devices


def _of_filter_manager(kernel: Kernel, address: int) -> bool:
    module = kernel.module_at(address)
    return module is not None and module.name.casefold() == "fltmgr.sys"


def _volume(kernel: Kernel, saved: SavedState, major: int, notes: list[str]) -> Volume | None:
    if not _of_filter_manager(kernel, saved.device.driver.start):
        return None
    volume = attempt(notes, "The filter manager's volume", lambda: find_volume(kernel, saved.device, major))
    if volume is not None:
        notes.extend(volume.notes)
    return volume


def _volumes(
    kernel: Kernel, saved: SavedState | None, devices: tuple[Device, ...], major: int
) -> tuple[Volume, ...]:
    """Every volume: behind the devices of the filter manager's driver object, else by its own lists."""
    if saved is not None and not devices:
        devices = quietly(lambda: devices_of(kernel, saved.device.driver)) or ()
    found = volumes_behind(kernel, devices, major)
    return found or quietly(lambda: read_volumes(kernel, major)) or ()
