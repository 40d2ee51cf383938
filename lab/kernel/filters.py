"""From a filter manager's device to the volume, its instances, and the drivers of their minifilters.

The filter manager's structures have no public layout for every build, so the volume is found by what must
hold (type bits, pointers back), and the family of layouts follows from where it holds.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lab.dumps.memory import KERNEL_SPACE, i16, text_or_nothing, u32, u64
from lab.kernel import fltlayout
from lab.kernel.devices import DEVICE_TYPE, Device, read_driver
from lab.kernel.fltlayout import PRIMARY_LINK, Layout
from lab.kernel.irp import READ
from lab.kernel.lists import follow
from lab.kernel.reading import Used
from lab.kernel.target import Kernel
from lab.model import DumpError, FilterInstance, Origin

INSTANCE_BITS = 0x01000000
FILTER_BITS = 0x02000000
VOLUME_BITS = 0x04000000
TYPE_MASK = 0xFF000000  # of FLT_OBJECT.Flags
MOST_INSTANCES = 256
MOST_OPERATIONS = 64
FIRST_CALLBACK = 22
"""Index of major function 0 in FLT_INSTANCE.CallbackNodes; before it are the numbers below 0 (fast I/O)."""

_VOLUME_OF_EXTENSION = 0x50  # _VOLUME_DEVICE_EXTENSION.Volume, the same in every known build
_LAST_OPERATION = 0x80  # IRP_MJ_OPERATION_END


@dataclass(frozen=True)
class Operation:
    """An FLT_OPERATION_REGISTRATION. `before` and `after` are its callbacks, 0 for none."""

    major: int
    before: int
    after: int


@dataclass(frozen=True)
class Filter:
    """A FLT_FILTER. `image` is the file name of its driver, "" when that is not in the dump."""

    address: int
    name: str
    altitude: str
    driver: str  # "\\FileSystem\\FileInfo"
    image: str
    operations: tuple[Operation, ...] | None = None  # None when they are not known

    def handles(self, major: int) -> bool | None:
        """Whether it registered a callback for a major function; None when that is not known."""
        if self.operations is None:
            return None
        return any(each.major == major for each in self.operations)


@dataclass(frozen=True)
class Volume:
    """A FLT_VOLUME. `instances` in the order of its list, highest altitude first.

    The origin of an instance's driver is left UNKNOWN here. `notes` say what could not be read.
    """

    address: int
    name: str
    instances: tuple[FilterInstance, ...]
    notes: tuple[str, ...] = ()
    device: int = 0


def find_volume(kernel: Kernel, device: Device, major: int = READ) -> Volume:
    """The volume behind a device of the filter manager; `handles_read` of an instance is about `major`.

    DumpError when the device has no volume: it is another driver's, or one of the filter manager's own
    control devices.
    """
    with kernel.reading("minifilters of the volume") as used:
        address = u64(kernel.memory, device.extension + _VOLUME_OF_EXTENSION)
        if u32(kernel.memory, address) & TYPE_MASK != VOLUME_BITS:
            raise DumpError(f"device {device.address:#x} has no filter manager volume behind it")
        used.check("the device's extension leads to an FLT_VOLUME by its type bits")
        return read_volume(kernel, address, device.address, major, used)


def volumes_behind(kernel: Kernel, devices: Iterable[Device], major: int = READ) -> tuple[Volume, ...]:
    """The volumes behind those of `devices` that have one; the others are control devices."""
    found = []
    for device in devices:
        try:
            found.append(find_volume(kernel, device, major))
        except DumpError:
            continue
    return tuple(found)


def read_volume(kernel: Kernel, address: int, device: int, major: int, used: Used) -> Volume:
    """The FLT_VOLUME at `address` that belongs to `device`. DumpError when it does not point back to it."""
    layout = layout_of_volume(kernel, address, device)
    used.fact(layout.source)
    used.check("the volume points back to its device")
    notes: list[str] = []
    name = text_or_nothing(kernel.memory, address + layout.device_name)
    if not name:
        notes.append(f"The name of volume {address:#x} is not in the dump.")
    head = _instance_list(kernel, address, layout)
    if head is None:
        notes.append(f"The instance list of volume {address:#x} was not found.")
        return Volume(address, name, (), tuple(notes), device)
    instances = _instances(kernel, address, head, layout, notes, major)
    if instances and not notes:
        used.check(f"each of its {len(instances)} instances points back to the volume, and their list closes")
    altitudes = [altitude_order(i.altitude) for i in instances]
    if altitudes != sorted(altitudes, reverse=True):
        notes.append(f"The instances of volume {address:#x} are not in the order of their altitudes.")
    elif len(instances) > 1:
        used.check("the instances are in the order of their altitudes")
    return Volume(address, name, instances, tuple(notes), device)


def device_of_volume(kernel: Kernel, volume: int) -> int | None:
    """The device whose extension leads to `volume`, looked for where a volume may point to it."""
    for offset in _BACK:
        try:
            device = u64(kernel.memory, volume + offset)
            if device < KERNEL_SPACE or i16(kernel.memory, device) != DEVICE_TYPE:
                continue
            extension = u64(kernel.memory, device + 0x40)
            if u64(kernel.memory, extension + _VOLUME_OF_EXTENSION) == volume:
                return device
        except DumpError:
            continue
    return None


_BACK = (0x28, 0x38, *range(0x20, 0x68, 8))


def layout_of_volume(kernel: Kernel, volume: int, device: int) -> Layout:
    """The layout by symbols if the volume agrees; else the family, by where it points back to its device."""
    symbols = fltlayout.told(kernel)
    if symbols is not None and u64(kernel.memory, volume + symbols.device) == device:
        return symbols
    for offset in _BACK:
        if u64(kernel.memory, volume + offset) == device:
            return _with_name(kernel, volume, fltlayout.family(offset - 8, kernel.build))
    raise DumpError(f"volume {volume:#x} does not point back to its device {device:#x}")


def _with_name(kernel: Kernel, volume: int, layout: Layout) -> Layout:
    """The layout with the device name where there is one: the newest kernels have it further behind.

    A name that is paged out tells nothing; what follows it, a GUID name, does not begin with a device.
    """
    for shift in (0, 0x10, 8, 0x18):
        if text_or_nothing(kernel.memory, volume + layout.device_name + shift).startswith("\\Device\\"):
            if not shift:
                return layout
            source = f"{layout.source}, volume name at +{layout.device_name + shift:#x}"
            return replace(
                layout,
                source=source,
                device_name=layout.device_name + shift,
                instances=layout.instances + shift,
            )
    return layout


def _instance_list(kernel: Kernel, volume: int, layout: Layout) -> int | None:
    """Address of the list head: the known place, or any that has instances of this volume on it."""
    known = volume + layout.instances
    if _is_head(kernel, known, volume, layout):
        return known
    for head in range(volume + 0x80, volume + 0x200, 8):
        try:
            link = u64(kernel.memory, head)
            if link != head and _is_instance(kernel, link - PRIMARY_LINK, volume, layout):
                return head
        except DumpError:
            continue
    # Nothing better: a list whose first entry is damaged is still that list.
    return known if layout.source in _PUBLISHED else None


_PUBLISHED = ("symbols of fltmgr", *(each.source for each in (fltlayout.WINDOWS_7, fltlayout.WINDOWS_10)))


def _is_head(kernel: Kernel, head: int, volume: int, layout: Layout) -> bool:
    """Whether `head` begins the list of the volume's instances, or an empty list."""
    try:
        link = u64(kernel.memory, head)
        if link == head:
            return layout.source in _PUBLISHED or u64(kernel.memory, head + 8) == head
        return link >= KERNEL_SPACE and _is_instance(kernel, link - PRIMARY_LINK, volume, layout)
    except DumpError:
        return False


def _is_instance(kernel: Kernel, address: int, volume: int, layout: Layout) -> bool:
    return (
        u32(kernel.memory, address) & TYPE_MASK == INSTANCE_BITS
        and u64(kernel.memory, address + layout.volume) == volume
    )


def _instances(
    kernel: Kernel, volume: int, head: int, layout: Layout, notes: list[str], major: int
) -> tuple[FilterInstance, ...]:
    found: list[FilterInstance] = []
    links = follow(kernel.memory, head, MOST_INSTANCES)
    for link in links.found:
        try:
            if not _is_instance(kernel, link - PRIMARY_LINK, volume, layout):
                notes.append(f"The instance list of volume {volume:#x} is damaged at {link:#x}.")
                return tuple(found)
            found.append(_instance(kernel, link - PRIMARY_LINK, layout, major))
        except DumpError as error:
            notes.append(f"The instance list of volume {volume:#x} is not whole: {error}.")
            return tuple(found)
    if links.broken:
        notes.append(f"The instance list of volume {volume:#x} is not whole: {links.broken}.")
    return tuple(found)


def _instance(kernel: Kernel, address: int, layout: Layout, major: int) -> FilterInstance:
    """One instance; a part that is not in the dump becomes empty, never a failure of the whole."""
    try:
        of = read_filter(kernel, u64(kernel.memory, address + layout.filter), layout)
    except DumpError:
        of = Filter(0, "", "", "", "")
    handles: bool | None = of.handles(major)
    if layout.callbacks is not None:
        try:
            node = layout.callbacks + 8 * (major + FIRST_CALLBACK)
            handles = u64(kernel.memory, address + node) != 0
        except DumpError:
            pass
    return FilterInstance(
        address=address,
        name=text_or_nothing(kernel.memory, address + layout.name),
        altitude=text_or_nothing(kernel.memory, address + layout.altitude),
        filter_name=of.name,
        image=of.image,
        origin=Origin.UNKNOWN,
        handles_read=handles,
    )


def read_filter(kernel: Kernel, address: int, layout: Layout) -> Filter:
    """The FLT_FILTER at `address`. DumpError when there is none; parts that are paged out are empty."""
    if u32(kernel.memory, address) & TYPE_MASK != FILTER_BITS:
        raise DumpError(f"there is no minifilter at {address:#x}")
    driver, image = "", ""
    try:
        found = read_driver(kernel, u64(kernel.memory, address + layout.filter_driver))
        module = kernel.module_at(found.start)
        driver, image = found.name, module.name if module else ""
    except DumpError:
        pass
    return Filter(
        address=address,
        name=text_or_nothing(kernel.memory, address + layout.filter_name),
        altitude=text_or_nothing(kernel.memory, address + layout.filter_altitude),
        driver=driver,
        image=image,
        operations=_operations(kernel, address, layout),
    )


def _operations(kernel: Kernel, address: int, layout: Layout) -> tuple[Operation, ...] | None:
    """The FLT_OPERATION_REGISTRATIONs up to IRP_MJ_OPERATION_END; None when they cannot be read to there."""
    if layout.operations is None:
        return None
    found: list[Operation] = []
    try:
        at = u64(kernel.memory, address + layout.operations)
        while at >= KERNEL_SPACE and len(found) < MOST_OPERATIONS:
            major, before, after = struct.unpack("<B7xQQ", kernel.memory.read(at, 24))
            if major == _LAST_OPERATION:
                return tuple(found)
            found.append(Operation(major, before, after))
            at += 0x20
    except DumpError:
        pass
    return None


def altitude_order(altitude: str) -> tuple[int, str]:
    """An altitude as a number one can compare: "189600" > "45000"; the fraction is compared as text."""
    if not re.fullmatch(r"\d+(\.\d+)?", altitude):
        return (0, "")
    whole, _, fraction = altitude.partition(".")
    return (int(whole), fraction)
