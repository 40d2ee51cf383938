"""Device and driver objects, and the stack of devices a request travels down.

Offsets of DEVICE_OBJECT, DEVOBJ_EXTENSION and DRIVER_OBJECT are the same in every x64 build (public symbols).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from lab.dumps.memory import KERNEL_SPACE, i16, text_or_nothing, u32, u64
from lab.kernel.irp import MAJOR_FUNCTIONS
from lab.kernel.target import Kernel
from lab.model import DumpError

DEVICE_TYPE = 3  # IO_TYPE_DEVICE
DRIVER_TYPE = 4  # IO_TYPE_DRIVER
DRIVER_SIZE = 0x150
DEEPEST_STACK = 64
"""Longest device stack we follow; Windows itself allows far fewer."""
MOST_DEVICES = 4096
"""Of one driver."""

LAYOUT = "DEVICE_OBJECT, DEVOBJ_EXTENSION and DRIVER_OBJECT as in every x64 build (public symbols)"

_DEVICE_DRIVER = 0x08
_DEVICE_NEXT = 0x10
_DEVICE_ABOVE = 0x18  # AttachedDevice
_DEVICE_EXTENSION = 0x40
_DEVICE_KIND = 0x48
_DEVICE_OBJECT_EXTENSION = 0x138
_EXTENSION_DEVICE = 0x08
_EXTENSION_BELOW = 0x30  # AttachedTo
_DRIVER_DEVICE = 0x08
_DRIVER_START = 0x18
_DRIVER_IMAGE_SIZE = 0x20
_DRIVER_NAME = 0x38
_DRIVER_UNLOAD = 0x68
_DRIVER_MAJOR = 0x70


@dataclass(frozen=True)
class DriverObject:
    """A DRIVER_OBJECT. `name` as the debugger shows it, "\\FileSystem\\FltMgr"; "" if not in the dump."""

    address: int
    name: str
    start: int  # of its image
    size: int
    dispatch: tuple[int, ...]  # MajorFunction[28]
    first_device: int = 0  # DeviceObject; the others follow by their NextDevice
    unload: int = 0  # DriverUnload, 0 for a driver that cannot be unloaded

    def serves(self, routine: int) -> bool:
        """Whether `routine` is one of its dispatch routines."""
        return routine in self.dispatch

    def holds(self, address: int) -> bool:
        """Whether `address` is in its image."""
        return self.start <= address < self.start + self.size


@dataclass(frozen=True)
class Device:
    """A DEVICE_OBJECT and the driver that owns it."""

    address: int
    driver: DriverObject
    extension: int
    object_extension: int
    above: int  # AttachedDevice, 0 at the top
    below: int  # DeviceObjectExtension.AttachedTo, 0 at the bottom or when not in the dump
    following: int = 0  # NextDevice of the same driver
    kind: int = 0  # DeviceType, FILE_DEVICE_*


def read_driver(kernel: Kernel, address: int) -> DriverObject:
    """The DRIVER_OBJECT at `address`. DumpError when there is none or it is not in the dump."""
    memory = kernel.memory
    kind, size = struct.unpack("<hh", memory.read(address, 4))
    if kind != DRIVER_TYPE or size != DRIVER_SIZE:
        raise DumpError(f"there is no driver object at {address:#x} (type {kind}, size {size & 0xFFFF:#x})")
    count = len(MAJOR_FUNCTIONS)
    dispatch = struct.unpack(f"<{count}Q", memory.read(address + _DRIVER_MAJOR, 8 * count))
    return DriverObject(
        address=address,
        name=text_or_nothing(memory, address + _DRIVER_NAME),
        start=u64(memory, address + _DRIVER_START),
        size=u32(memory, address + _DRIVER_IMAGE_SIZE),
        dispatch=dispatch,
        first_device=u64(memory, address + _DRIVER_DEVICE),
        unload=u64(memory, address + _DRIVER_UNLOAD),
    )


def read_device(kernel: Kernel, address: int) -> Device:
    """The DEVICE_OBJECT at `address` with its driver. DumpError when there is none."""
    memory = kernel.memory
    if i16(memory, address) != DEVICE_TYPE:
        raise DumpError(f"there is no device object at {address:#x}")
    driver = read_driver(kernel, u64(memory, address + _DEVICE_DRIVER))
    extension = u64(memory, address + _DEVICE_OBJECT_EXTENSION)
    return Device(
        address=address,
        driver=driver,
        extension=u64(memory, address + _DEVICE_EXTENSION),
        object_extension=extension,
        above=u64(memory, address + _DEVICE_ABOVE),
        below=_below(kernel, extension, address),
        following=u64(memory, address + _DEVICE_NEXT),
        kind=u32(memory, address + _DEVICE_KIND),
    )


def _below(kernel: Kernel, extension: int, device: int) -> int:
    """AttachedTo of a device object extension that points back to its device; 0 when it does not."""
    try:
        if u64(kernel.memory, extension + _EXTENSION_DEVICE) != device:
            return 0
        return u64(kernel.memory, extension + _EXTENSION_BELOW)
    except DumpError:
        return 0


def device_stack(kernel: Kernel, address: int) -> tuple[Device, ...]:
    """The stack that `address` belongs to, top first, as the debugger's `!devstack` lists it.

    Ends where an object is not in the dump, after DEEPEST_STACK devices, or where the list bites its tail.
    DumpError when `address` itself is no device object.
    """
    with kernel.reading("device stack") as used:
        used.fact(LAYOUT)
        device = read_device(kernel, address)
        seen = {address}
        above = _follow(kernel, device, seen, lambda d: d.above, DEEPEST_STACK)
        below = _follow(kernel, device, seen, lambda d: d.below, DEEPEST_STACK)
        stack = (*reversed(above), device, *below)
        used.check("every object is a device (IO_TYPE_DEVICE) of a driver (IO_TYPE_DRIVER)")
        if all(upper.below == lower.address for upper, lower in pairwise(stack)):
            used.check("AttachedDevice and AttachedTo agree")
        for link, where in ((stack[0].above, "above the first"), (stack[-1].below, "below the last")):
            if link:
                used.fact(f"the stack is not whole: there is no device to be read at {link:#x}, {where}")
        return stack


def devices_of(kernel: Kernel, driver: DriverObject) -> tuple[Device, ...]:
    """All devices of a driver, by DeviceObject and NextDevice; as far as the dump holds them."""
    with kernel.reading("devices of a driver") as used:
        used.fact(LAYOUT)
        try:
            first = read_device(kernel, driver.first_device)
        except DumpError:
            return ()
        found = (first, *_follow(kernel, first, {first.address}, lambda d: d.following, MOST_DEVICES))
        own = tuple(device for device in found if device.driver.address == driver.address)
        if len(own) == len(found):
            used.check(f"each of its {len(own)} devices points back to the driver")
        return own


def _follow(
    kernel: Kernel, device: Device, seen: set[int], step: Callable[[Device], int], most: int
) -> list[Device]:
    found: list[Device] = []
    link = step(device)
    while link >= KERNEL_SPACE and link not in seen and len(seen) < most:
        seen.add(link)
        try:
            device = read_device(kernel, link)
        except DumpError:
            break
        found.append(device)
        link = step(device)
    return found
