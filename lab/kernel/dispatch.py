"""Driver Verifier's saved state of the IoCallDriver that went wrong.

With I/O verification on, nt!IovCallDriver notes the dispatch routine, the device and the thread's APC disable
count before the call, and nt!VfAfterCallDriver compares. The structure has no public layout; it is found by
what must hold of it, wherever it lies, and what held is kept as part of the finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.dumps.memory import KERNEL_SPACE, u32, u64
from lab.kernel.devices import Device, device_stack, devices_of, read_device
from lab.kernel.fltframes import read_volumes
from lab.kernel.irp import Irp, is_irp, read_irp
from lab.kernel.target import Kernel
from lab.model import DumpError, Frame

ROUTINE = 0x30
DEVICE = 0xA0
IRP_AFTER_DEVICE = 0x8
COUNT_AFTER_DEVICE = 0x1C
"""Offsets in the saved state: the same in every listing from 7601 to Windows 11; checked at run time."""

DEVICE_RANGE = range(0x80, 0x128, 8)
"""Where the device may be when it is not at DEVICE."""

MOST_STACK = 0x4000
MOST_STACKS = 64
"""Device stacks that are searched for the driver of a routine."""
_ALIGNED = 7
_OWNERS = ("nt!VfAfterCallDriver", "nt!IovCallDriver", "nt!IovpCallDriverWithStackBuffer")


@dataclass(frozen=True)
class SavedState:
    """The saved state, found. `checks` are the invariants that held, in words."""

    address: int
    found_in: str
    checks: tuple[str, ...]
    device: Device
    apc_before: int  # signed 16-bit kernel APC disable count before the call
    irp: Irp | None = None  # the request, when the dump holds it

    @property
    def major(self) -> int | None:
        """Major function of the request: what its stack location for the device says; None if unknown."""
        if self.irp is None:
            return None
        own = [each for each in self.irp.locations if each.device == self.device.address]
        location = next((each for each in own if each.current), None) or (
            own[-1] if own else self.irp.current
        )
        return location.major if location else None


def find_saved_state(
    kernel: Kernel, routine: int, count_before: int | None, stack: Sequence[Frame]
) -> SavedState | None:
    """The state that Verifier saved before calling dispatch routine `routine`.

    `routine` and `count_before` are parameters 2 and 4 of bugcheck 0xC4/0xC5; other stops do not tell the
    count, which is None then. None when no candidate holds.
    """
    with kernel.reading("verifier's saved state of the call") as used:
        found = _find(kernel, routine, count_before, stack)
        for check in found.checks if found else ():
            used.check(check)
        return found


def _find(
    kernel: Kernel, routine: int, count_before: int | None, stack: Sequence[Frame]
) -> SavedState | None:
    candidates = list(_candidates(kernel, stack))
    for address, where in candidates:
        found = _check(kernel, address, where, routine, count_before, DEVICE)
        if found is not None:
            return found
    for address, where in candidates:
        if not _holds_routine(kernel, address, routine):
            continue
        for offset in DEVICE_RANGE:
            found = _check(kernel, address, where, routine, count_before, offset)
            if found is not None:
                return found
    return None


@dataclass(frozen=True)
class RoutineDevices:
    """All devices of the driver that a dispatch routine belongs to, and how the driver was found.

    One of them was called; which one is not known. `likely` are those of them that were seen on the stack.
    """

    devices: tuple[Device, ...]
    found_by: str
    likely: tuple[Device, ...] = ()


def devices_with_routine(kernel: Kernel, routine: int, stack: Sequence[Frame]) -> RoutineDevices | None:
    """Every device whose driver has the dispatch routine, for when the saved state is not in the dump.

    The driver is found through any device on the crashing stack: its own, or one whose device stack the
    driver is on; that of the filter manager through its volumes, too. None when it is not found.
    """
    with kernel.reading("devices with the dispatch routine") as used:
        seen: list[tuple[Device, str]] = []
        for address, where in _candidates(kernel, stack):
            try:
                seen.append((read_device(kernel, address), where))
            except DumpError:
                continue
        own = [(device, where) for device, where in seen if device.driver.serves(routine)]
        likely = tuple({device.address: device for device, _ in own}.values())
        for device, where in own:
            used.check("the routine is one of the driver's major functions")
            return RoutineDevices(devices_of(kernel, device.driver) or likely, where, likely)
        for device, where in seen[:MOST_STACKS]:
            for each in device_stack(kernel, device.address):
                if each.driver.serves(routine):
                    used.check("the routine is one of the driver's major functions")
                    how = f"the device stack of device {device.address:#x} ({where})"
                    return RoutineDevices(devices_of(kernel, each.driver) or (each,), how, (each,))
        return _through_volumes(kernel, routine)


def _through_volumes(kernel: Kernel, routine: int) -> RoutineDevices | None:
    """The filter manager's own lists lead to its devices when no device on the stack does."""
    module = kernel.module_at(routine)
    if module is None or module.name.casefold() != "fltmgr.sys":
        return None
    try:
        volumes = read_volumes(kernel)
    except DumpError:
        return None
    for volume in volumes:
        try:
            device = read_device(kernel, volume.device)
        except DumpError:
            continue
        if device.driver.serves(routine):
            return RoutineDevices(
                devices_of(kernel, device.driver) or (device,), "the filter manager's volumes"
            )
    return None


def _candidates(kernel: Kernel, stack: Sequence[Frame]) -> Iterator[tuple[int, str]]:
    """(address, where it was found), the likeliest first; a later duplicate does not change the order."""
    seen: set[int] = set()
    for address, where in _raw_candidates(kernel, stack):
        if address >= KERNEL_SPACE and not address & _ALIGNED and address not in seen:
            seen.add(address)
            yield address, where


def _raw_candidates(kernel: Kernel, stack: Sequence[Frame]) -> Iterator[tuple[int, str]]:
    owners = [frame for frame in stack if frame.symbol.split("+", 1)[0] in _OWNERS]
    for frame in owners:
        for name, value in frame.registers:
            if name not in ("rsp", "rip"):
                yield value, f"{name} of frame {frame.index:x}"
    if not stack:
        return
    bottom = stack[0].child_sp
    top = _caller_sp(stack, owners)
    for slot in range(bottom, min(top, bottom + MOST_STACK), 8):
        try:
            yield u64(kernel.memory, slot), f"stack +{slot - bottom:#x}"
        except DumpError:
            break
    for slot in range(bottom, min(top, bottom + MOST_STACK), 8):
        yield slot, f"on the stack at +{slot - bottom:#x}"


def _caller_sp(stack: Sequence[Frame], owners: Sequence[Frame]) -> int:
    """Where the frame of IoCallDriver's caller begins: the saved state cannot lie beyond."""
    last = owners[-1].index if owners else min(8, len(stack) - 1)
    beyond = [frame.child_sp for frame in stack if frame.index > last]
    return beyond[0] if beyond else stack[-1].child_sp + 0x200


def _holds_routine(kernel: Kernel, address: int, routine: int) -> bool:
    try:
        return u64(kernel.memory, address + ROUTINE) == routine
    except DumpError:
        return False


def _check(
    kernel: Kernel, address: int, where: str, routine: int, count_before: int | None, offset: int
) -> SavedState | None:
    """The state at `address` if every required invariant holds with the device at `offset`.

    At the usual offset a count that is known must agree too; at an inferred one it cannot be asked.
    """
    memory = kernel.memory
    try:
        if not _holds_routine(kernel, address, routine):
            return None
        device = read_device(kernel, u64(memory, address + offset))
    except DumpError:
        return None
    checks = [f"+{ROUTINE:#x} is the dispatch routine of parameter 2", f"+{offset:#x} is a device object"]
    if device.driver.serves(routine):
        checks.append("the routine is one of its driver's major functions")
    elif device.driver.holds(routine):
        checks.append("the routine is inside its driver's image")
    else:
        return None
    try:
        count = u32(memory, address + offset + COUNT_AFTER_DEVICE)
    except DumpError:
        count = None
    if count_before is None:
        count_before = count if count is not None and offset == DEVICE else 0
    elif count == count_before & 0xFFFFFFFF:
        checks.append(f"+{offset + COUNT_AFTER_DEVICE:#x} is the APC disable count of parameter 4")
    elif offset == DEVICE:
        return None
    if offset != DEVICE:
        checks.append(f"the offset of the device ({offset:#x}) is inferred")
    irp = _pointed_irp(kernel, address + offset + IRP_AFTER_DEVICE)
    if irp is not None:
        checks.append(f"+{offset + IRP_AFTER_DEVICE:#x} is an IRP")
        if any(each.device == device.address for each in irp.locations):
            checks.append("the IRP was sent to the device")
    before = (count_before & 0xFFFF) - ((count_before & 0x8000) << 1)
    return SavedState(address, where, tuple(checks), device, before, irp)


def _pointed_irp(kernel: Kernel, slot: int) -> Irp | None:
    """The IRP that `slot` points to; one that has been freed or cannot be read is None."""
    try:
        address = u64(kernel.memory, slot)
        return read_irp(kernel, address) if is_irp(kernel, address) else None
    except DumpError:
        return None
