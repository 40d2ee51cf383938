"""From a filter manager's device to the volume, its instances, and the drivers of their minifilters.

The filter manager's structures have no public layout for every build, so the volume is found by what must
hold (type bits, pointers back), and the family of layouts follows from where it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.dumps.memory import u32, u64, unicode_string
from lab.kernel.devices import Device, read_driver
from lab.kernel.target import Kernel
from lab.model import DumpError, FilterInstance, Origin

INSTANCE_BITS = 0x01000000
FILTER_BITS = 0x02000000
VOLUME_BITS = 0x04000000
_TYPE_MASK = 0xFF000000
MOST_INSTANCES = 256
READ_CALLBACK = 25
"""Index of IRP_MJ_READ in FLT_INSTANCE.CallbackNodes: major function + 22."""

_VOLUME_OF_EXTENSION = 0x50  # _VOLUME_DEVICE_EXTENSION.Volume, the same in every known build
_PRIMARY_LINK = 0x10  # FLT_OBJECT.PrimaryLink
_RESOURCE_LIST = 0x68  # FLT_RESOURCE_LIST_HEAD.rList, after the ERESOURCE


@dataclass(frozen=True)
class Layout:
    """Offsets that follow from the size of FLT_OBJECT (`base`): 0x20 on Windows 7, 0x30 on Windows 10."""

    base: int
    callbacks: int | None  # FLT_INSTANCE.CallbackNodes; None when the build is not known

    @property
    def device(self) -> int:
        return self.base + 8  # FLT_VOLUME.DeviceObject

    @property
    def device_name(self) -> int:
        return self.base + 0x30  # FLT_VOLUME.DeviceName

    @property
    def instances(self) -> int:
        return self.base + 0x70 + _RESOURCE_LIST  # FLT_VOLUME.InstanceList.rList

    @property
    def volume(self) -> int:
        return self.base + 8  # FLT_INSTANCE.Volume

    @property
    def filter(self) -> int:
        return self.base + 0x10  # FLT_INSTANCE.Filter

    @property
    def altitude(self) -> int:
        return self.base + 0x20  # FLT_INSTANCE.Altitude

    @property
    def name(self) -> int:
        return self.base + 0x30  # FLT_INSTANCE.Name

    @property
    def filter_name(self) -> int:
        return self.base + 8  # FLT_FILTER.Name

    @property
    def filter_driver(self) -> int:
        return self.base + 0x30  # FLT_FILTER.DriverObject


@dataclass(frozen=True)
class Volume:
    """A FLT_VOLUME. `instances` in the order of its list, highest altitude first.

    The origin of an instance's driver is left UNKNOWN here. `notes` say what could not be read.
    """

    address: int
    name: str
    instances: tuple[FilterInstance, ...]
    notes: tuple[str, ...] = ()


def find_volume(kernel: Kernel, device: Device) -> Volume:
    """The volume behind a device of the filter manager.

    DumpError when the device has no volume: it is another driver's, or one of the filter manager's own
    control devices.
    """
    memory = kernel.memory
    address = u64(memory, device.extension + _VOLUME_OF_EXTENSION)
    if u32(memory, address) & _TYPE_MASK != VOLUME_BITS:
        raise DumpError(f"device {device.address:#x} has no filter manager volume behind it")
    layout = _layout(kernel, address, device.address)
    notes: list[str] = []
    try:
        name = unicode_string(memory, address + layout.device_name)
    except DumpError:
        name = ""
        notes.append(f"The name of volume {address:#x} is not in the dump.")
    head = _instance_list(kernel, address, layout)
    instances = _instances(kernel, address, head, layout, notes)
    altitudes = [_height(i.altitude) for i in instances]
    if altitudes != sorted(altitudes, reverse=True):
        notes.append(f"The instances of volume {address:#x} are not in the order of their altitudes.")
    return Volume(address, name, instances, tuple(notes))


def _layout(kernel: Kernel, volume: int, device: int) -> Layout:
    """The family, by where the volume points back to its device: 8 bytes behind its FLT_OBJECT."""
    for offset in (0x28, 0x38, *range(0x20, 0x68, 8)):
        if u64(kernel.memory, volume + offset) == device:
            base = offset - 8
            return Layout(base, _callbacks(kernel, base))
    raise DumpError(f"volume {volume:#x} does not point back to its device {device:#x}")


def _callbacks(kernel: Kernel, base: int) -> int | None:
    told = kernel.find_offset("_FLT_INSTANCE", "CallbackNodes", "fltmgr")
    if told is not None:
        return told
    if base == 0x20:
        return 0x90
    if base == 0x30:
        return 0xA0 if kernel.build < 21390 else 0xA8
    return None


def _instance_list(kernel: Kernel, volume: int, layout: Layout) -> int:
    """Address of the list head: the known place, or any that has instances of this volume on it."""
    known = volume + layout.instances
    if layout.base in (0x20, 0x30):
        return known
    for head in range(volume + 0xC0, volume + 0x180, 8):
        try:
            link = u64(kernel.memory, head)
            if link != head and _is_instance(kernel, link - _PRIMARY_LINK, volume, layout):
                return head
        except DumpError:
            continue
    raise DumpError(f"the instance list of volume {volume:#x} was not found")


def _is_instance(kernel: Kernel, address: int, volume: int, layout: Layout) -> bool:
    return (
        u32(kernel.memory, address) & _TYPE_MASK == INSTANCE_BITS
        and u64(kernel.memory, address + layout.volume) == volume
    )


def _instances(
    kernel: Kernel, volume: int, head: int, layout: Layout, notes: list[str]
) -> tuple[FilterInstance, ...]:
    found: list[FilterInstance] = []
    seen = {head}
    try:
        link = u64(kernel.memory, head)
        while link not in seen and len(found) < MOST_INSTANCES:
            seen.add(link)
            address = link - _PRIMARY_LINK
            if not _is_instance(kernel, address, volume, layout):
                notes.append(f"The instance list of volume {volume:#x} is damaged at {link:#x}.")
                break
            found.append(_instance(kernel, address, layout))
            link = u64(kernel.memory, link)
        else:
            if link != head:
                notes.append(f"The instance list of volume {volume:#x} does not end.")
    except DumpError as error:
        notes.append(f"The instance list of volume {volume:#x} is not whole: {error}.")
    return tuple(found)


def _instance(kernel: Kernel, address: int, layout: Layout) -> FilterInstance:
    """One instance; a part that is not in the dump becomes empty, never a failure of the whole."""
    filter_name, image = "", ""
    try:
        filter_ = u64(kernel.memory, address + layout.filter)
        if u32(kernel.memory, filter_) & _TYPE_MASK == FILTER_BITS:
            filter_name = _text(kernel, filter_ + layout.filter_name)
            driver = read_driver(kernel, u64(kernel.memory, filter_ + layout.filter_driver))
            module = kernel.module_at(driver.start)
            image = module.name if module else ""
    except DumpError:
        pass
    handles: bool | None = None
    if layout.callbacks is not None:
        try:
            handles = u64(kernel.memory, address + layout.callbacks + 8 * READ_CALLBACK) != 0
        except DumpError:
            handles = None
    return FilterInstance(
        address=address,
        name=_text(kernel, address + layout.name),
        altitude=_text(kernel, address + layout.altitude),
        filter_name=filter_name,
        image=image,
        origin=Origin.UNKNOWN,
        handles_read=handles,
    )


def _text(kernel: Kernel, address: int) -> str:
    try:
        return unicode_string(kernel.memory, address)
    except DumpError:
        return ""


def _height(altitude: str) -> tuple[int, str]:
    """An altitude as a number one can compare: "189600" > "45000"; the fraction is compared as text."""
    if not re.fullmatch(r"\d+(\.\d+)?", altitude):
        return (0, "")
    whole, _, fraction = altitude.partition(".")
    return (int(whole), fraction)
