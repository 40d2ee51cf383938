"""Driver objects, device objects and their stacks, and the read request on its way.

Offsets are equal in every build: DRIVER_OBJECT, DEVICE_OBJECT, DEVOBJ_EXTENSION, IRP, IO_STACK_LOCATION.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.twin.memory.layout import Layout, Module
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record

READ = 3
_POWER = 0x16
_MAJOR_FUNCTIONS = 28
_DISK, _DISK_FILE_SYSTEM, _NETWORK = 7, 8, 0x14


def driver_object(
    memory: Memory, pool: Pool, module: Module, name: str, default: int, special: Mapping[int, int]
) -> int:
    """A DRIVER_OBJECT whose dispatch routines are `default`, but for the `special` major functions."""
    record = Record(0x150)
    address = pool.take(0x150, b"Driv")
    record.u16(0, 4)
    record.u16(2, 0x150)
    record.u32(0x10, 0x12)
    record.u64(0x18, module.base)
    record.u32(0x20, module.size)
    record.u64(0x30, address + 0x150)
    record.bytes(0x38, pool.string(name, b"Driv"))
    record.u64(0x58, module.entry)
    for major in range(_MAJOR_FUNCTIONS):
        record.u64(0x70 + 8 * major, special.get(major, default))
    memory.write(address, record.data)
    return address


def device_object(memory: Memory, pool: Pool, driver: int, extension: int, kind: int, *, add: int = 0) -> int:
    """A DEVICE_OBJECT of `driver` with `extension` bytes of its own, first in the driver's list."""
    size = 0x150 + extension
    address = pool.take(size + 0x70, b"Devi", align=0x100, add=add)
    record = Record(size + 0x70)
    record.u16(0, 3)
    record.u16(2, size)
    record.u64(8, driver)
    record.u64(0x10, memory.read_u64(driver + 8))
    record.u32(0x30, 0x40000)
    record.u64(0x40, address + 0x150)
    record.u32(0x48, kind)
    record.u8(0x4C, 1)
    record.u64(0x138, address + size)
    record.u16(size, 0xD)  # DEVOBJ_EXTENSION
    record.u64(size + 8, address)
    record.u32(size + 0x20, 0x80000800)
    memory.write(address, record.data)
    memory.u64(driver + 8, address)
    return address


def attach(memory: Memory, upper: int, lower: int) -> None:
    """IoAttachDeviceToDeviceStack."""
    memory.u64(lower + 0x18, upper)
    extension = memory.read_u64(upper + 0x138)
    memory.u64(extension + 0x30, lower)
    stack_size = (memory.read_u64(lower + 0x48) >> 32 & 0xFF) + 1
    memory.write(upper + 0x4C, bytes((stack_size,)))


def mount(memory: Memory, pool: Pool, file_system: int, volume: int) -> int:
    """A VPB that ties the file system's device to the volume's; returns its address."""
    record = Record(0x60)
    record.u16(0, 10)
    record.u16(2, 0x60)
    record.u16(4, 1)  # VPB_MOUNTED
    record.u64(8, file_system)
    record.u64(0x10, volume)
    address = pool.put(record.data, b"Vpb ")
    memory.u64(volume + 0x38, address)
    return address


def read_request(
    memory: Memory, pool: Pool, devices: Sequence[int], target: int, thread: int, vpb: int
) -> int:
    """An IRP for IRP_MJ_READ that went down `devices` and came back from the last; returns its address.

    Its file is on `target`. Whoever sent it to the last device owns it again: the location of that device is
    not current any more, and IoCompleteRequest cleared its file.
    """
    file_object = Record(0xD8)
    file_object.u16(0, 5)
    file_object.u16(2, 0xD8)
    file_object.u64(8, target)
    file_object.u64(0x10, vpb)
    file_object.bytes(0x58, pool.string("\\Shares\\data\\report.bin", b"File"))
    file_address = pool.put(file_object.data, b"File")
    depth = 10
    address, record = _irp(pool, depth, depth - len(devices) + 2)
    record.u64(0x38, 0x10000)  # IoStatus.Information: bytes read
    record.u64(0x98, thread)
    for index, device in enumerate(devices):
        location = _location(depth - index)
        record.u8(location, READ)
        record.u64(location + 0x28, device)
        record.u64(location + 0x30, 0 if device == devices[-1] else file_address)
    memory.write(address, record.data)
    return address


def power_request(memory: Memory, pool: Pool, device: int) -> int:
    """An IRP for IRP_MJ_POWER, IRP_MN_SET_POWER that `device` holds; returns its address."""
    current = 3
    address, record = _irp(pool, 4, current)
    location = _location(current)
    record.u8(location, _POWER)
    record.u8(location + 1, 2)
    record.u8(location + 3, 1)  # SL_PENDING_RETURNED
    record.u64(location + 0x28, device)
    memory.write(address, record.data)
    return address


def _irp(pool: Pool, depth: int, current: int) -> tuple[int, Record]:
    """Address and contents of an IRP with `depth` stack locations, which has come to location `current`."""
    size = _location(depth + 1)
    address = pool.take(size, b"Irp ")
    record = Record(size)
    record.u16(0, 6)
    record.u16(2, size)
    record.u8(0x42, depth)
    record.u8(0x43, current)
    record.u64(0xB8, address + _location(current))
    return address, record


def _location(number: int) -> int:
    """Offset in an IRP of one of its stack locations; the lowest driver's is 1."""
    return 0xD0 + (number - 1) * 0x48


class Stacks:
    """The device stacks of the volume: FltMgr over Ntfs, and the class filter over the volume itself."""

    def __init__(self, memory: Memory, pool: Pool, at: Layout, class_filter: str) -> None:
        """`class_filter` is the image of a volume class filter, or "" for none."""
        fltmgr, ntfs = at.module("fltmgr.sys"), at.module("Ntfs.sys")
        special = {0: at.address("fltmgr!FltpCreate"), 13: at.address("fltmgr!FltpFsControl")}
        self.memory, self.pool = memory, pool
        self.fltmgr_driver = driver_object(
            *(memory, pool, fltmgr, "\\FileSystem\\FltMgr", at.address("fltmgr!FltpDispatch"), special)
        )
        self.ntfs_driver = driver_object(
            *(memory, pool, ntfs, "\\FileSystem\\Ntfs", at.address("Ntfs!NtfsFsdDispatch")),
            {READ: at.address("Ntfs!NtfsFsdRead")},
        )
        manager = at.module("volmgr.sys") if at.has("volmgr.sys") else at.nt
        self.volume_driver = driver_object(*(memory, pool, manager, "\\Driver\\volmgr", manager.entry, {}))
        self.disk = device_object(memory, pool, self.volume_driver, 0x210, _DISK, add=0x50)
        self.ntfs = device_object(memory, pool, self.ntfs_driver, 0x7F0, _DISK_FILE_SYSTEM, add=0x30)
        self.fltmgr = self.filter_device(self.ntfs, _DISK_FILE_SYSTEM)
        self.vpb = mount(memory, pool, self.ntfs, self.disk)
        self.class_filter = 0
        if class_filter:
            module = at.module(class_filter)
            driver = driver_object(
                *(memory, pool, module, f"\\Driver\\{module.prefix}"),
                at.address(f"{module.prefix}!Dispatch"),
                {},
            )
            self.class_filter = device_object(memory, pool, driver, 0x120, _DISK, add=0xC0)
            attach(memory, self.class_filter, self.disk)

    def filter_device(self, lower: int, kind: int) -> int:
        """A FltMgr device, with the 0x58 bytes of its volume extension, on top of `lower`."""
        device = device_object(self.memory, self.pool, self.fltmgr_driver, 0x58, kind, add=0x60)
        attach(self.memory, device, lower)
        return device

    def network_device(self, at: Layout) -> int:
        """\\Device\\Mup's device object, which FltMgr attaches to as well."""
        mup = at.module("mup.sys") if at.has("mup.sys") else at.nt
        driver = driver_object(*(self.memory, self.pool, mup, "\\FileSystem\\Mup", mup.entry, {}))
        return device_object(self.memory, self.pool, driver, 0x40, _NETWORK, add=0x40)
