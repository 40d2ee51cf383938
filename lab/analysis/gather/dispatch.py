"""The IoCallDriver that Driver Verifier stopped: its saved state, the device stack, the minifilters."""

from __future__ import annotations

from dataclasses import dataclass

from lab.analysis.gather.attempt import attempt, quietly
from lab.analysis.rules.apc_count import signed16
from lab.dumps.memory import u64
from lab.kernel.devices import device_stack
from lab.kernel.dispatch import DEVICE, IRP_AFTER_DEVICE, SavedState, find_device, find_saved_state
from lab.kernel.filters import Volume, find_volume
from lab.kernel.irp import Irp, read_irp
from lab.kernel.target import Kernel
from lab.model import Bugcheck, DispatchState, Frame

CHECKED = frozenset({(0xC4, 0xC5), (0xC4, 0xC1), (0xC9, 0x12)})
"""Stops whose parameter 2 is a dispatch routine that nt!IovCallDriver had called."""


@dataclass(frozen=True)
class Call:
    """The state, and the major function of the request where its IRP still tells."""

    state: DispatchState
    major: int | None


def read_call(kernel: Kernel, bugcheck: Bugcheck, stack: tuple[Frame, ...], notes: list[str]) -> Call | None:
    """What is known of the call; None for any other stop, or when not even a device was found."""
    kind, routine, _, before = bugcheck.parameters
    if (bugcheck.code, kind) not in CHECKED:
        return None
    saved = find_saved_state(kernel, routine, before, stack)
    if saved is None:
        notes.append("Nothing on the stack or in a register has the invariants of Verifier's saved state.")
        saved = _any_device(kernel, routine, before, stack, notes)
    if saved is None:
        return None
    volume = _volume(kernel, saved, notes)
    state = DispatchState(
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
    )
    return Call(state, _major(kernel, saved) if saved.address else None)


def _any_device(
    kernel: Kernel, routine: int, before: int, stack: tuple[Frame, ...], notes: list[str]
) -> SavedState | None:
    """A stand-in for the saved state (address 0): some device of the routine's driver on the stack."""
    found = find_device(kernel, routine, stack)
    if found is None:
        return None
    device, where = found
    notes.append(
        f"Device {device.address:#x} ({where}) is taken for the one that was called, which is a guess."
    )
    checks = ("its driver has the dispatch routine of parameter 2",)
    return SavedState(0, where, checks, device, signed16(before))


def _volume(kernel: Kernel, saved: SavedState, notes: list[str]) -> Volume | None:
    owner = kernel.module_at(saved.device.driver.start)
    if owner is None or owner.name.casefold() != "fltmgr.sys":
        return None
    volume = attempt(notes, "The filter manager's volume", lambda: find_volume(kernel, saved.device))
    if volume is not None:
        notes.extend(volume.notes)
    return volume


def _major(kernel: Kernel, saved: SavedState) -> int | None:
    """Of the IRP that the call was made with: its stack location at the device, else the current one.

    None when the IRP has been freed since, or the state does not lead to one.
    """

    def read() -> Irp:
        return read_irp(kernel, u64(kernel.memory, saved.address + DEVICE + IRP_AFTER_DEVICE))

    irp = quietly(read)
    if irp is None:
        return None
    own = next((each for each in irp.locations if each.device == saved.device.address), irp.current)
    return own.major if own is not None else None
