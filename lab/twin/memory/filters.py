"""The filter manager's frame, volumes, filters and instances.

Layouts: that of Windows 7/2008 R2 (here of 9600, too), where FLT_OBJECT is 0x20 bytes, and that of the 10
family, where it is 0x30. All offsets after FLT_OBJECT differ by that alone, but for FLT_FILTER.Operations
and, since 22000, FLT_INSTANCE.CallbackNodes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from decimal import Decimal

from lab.twin.crash import Instance
from lab.twin.memory.devices import READ, Stacks, driver_object
from lab.twin.memory.layout import Layout, Module
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record

CALLBACKS = 50
_READ_NODE = READ + 22
_VOLUME, _FILTER, _INSTANCE = 0x04000000, 0x02000000, 0x01000000
_FRAME_FILTERS, _FRAME_VOLUMES, _GLOBALS_FRAMES = 0x48, 0xC8, 0x58
_LIST = 0x68  # FLT_RESOURCE_LIST_HEAD.rList, behind its ERESOURCE
_COUNT = 0x78
_FLT_FSTYPE_NTFS, _FLT_FSTYPE_MUP = 2, 13
_NETWORK_FILE_SYSTEM = 0x14  # FILE_DEVICE_NETWORK_FILE_SYSTEM


@dataclass
class FilterManager:
    """What has been written so far. `base` is the size of FLT_OBJECT."""

    memory: Memory
    pool: Pool
    at: Layout
    frame: int
    base: int
    filters: dict[str, int] = field(default_factory=dict)


def write_filter_manager(
    memory: Memory, pool: Pool, at: Layout, stacks: Stacks, volume: str, instances: tuple[Instance, ...]
) -> None:
    """The frame with its filters, the volume with its instances, and the volume of the network."""
    manager = FilterManager(
        memory, pool, at, pool.take(0x240, b"FMfr"), 0x30 if at.kernel.build >= 14393 else 0x20
    )
    _frame(manager)
    network = stacks.filter_device(stacks.network_device(at), _NETWORK_FILE_SYSTEM)
    _volume(manager, "\\Device\\Mup", network, 0, _FLT_FSTYPE_MUP, "\\Mup")
    main = _volume(manager, volume, stacks.fltmgr, stacks.disk, _FLT_FSTYPE_NTFS, "\\Ntfs")
    for instance in sorted(instances, key=lambda one: Decimal(one.altitude), reverse=True):
        _instance(manager, main, instance)


def _frame(manager: FilterManager) -> None:
    frame = Record(0x240)
    frame.u16(0, 0xF104)
    frame.u16(2, 0x240)
    for offset in (_FRAME_FILTERS, _FRAME_VOLUMES):
        frame.loop(offset + _LIST, manager.frame)
    manager.memory.write(manager.frame, frame.data)
    base = manager.at.address("fltmgr!FltGlobals")
    frames = Record(_GLOBALS_FRAMES + 0x80)
    frames.loop(_GLOBALS_FRAMES + _LIST, base)
    manager.memory.write(base, frames.data)
    _append(manager.memory, base + _GLOBALS_FRAMES, manager.frame + 8)


def _append(memory: Memory, resource_list: int, entry: int) -> None:
    """Insert at the end of a FLT_RESOURCE_LIST_HEAD, and count."""
    head = resource_list + _LIST
    last = memory.read_u64(head + 8)
    memory.write(entry, struct.pack("<QQ", head, last))
    memory.u64(last, entry)
    memory.u64(head + 8, entry)
    count = memory.read_u64(resource_list + _COUNT) & 0xFFFFFFFF
    memory.u32(resource_list + _COUNT, count + 1)


def _volume(manager: FilterManager, name: str, device: int, disk: int, kind: int, control: str) -> int:
    b = manager.base
    size = b + 0x650
    address = manager.pool.take(size, b"FMvo")
    text = manager.pool.string
    record = Record(size)
    record.u32(0, _VOLUME)
    record.u32(4, 1)
    record.u64(8, 0x20A)
    record.u32(b, 0x64)
    record.u32(b + 4, kind)
    record.u64(b + 8, device)
    record.u64(b + 0x10, disk)
    record.u64(b + 0x18, address)
    record.u64(b + 0x28, manager.frame)
    record.bytes(b + 0x30, text(name, b"FMvn"))
    if disk:
        record.bytes(b + 0x40, text("\\??\\Volume{552791b0-455d-11de-b7b9-00145eed6acc}", b"FMvn"))
    record.bytes(b + 0x50, text(control, b"FMvn"))
    record.bytes(b + 0x60, text(f"\\FileSystem{control}", b"FMvn"))
    record.loop(b + 0x70 + _LIST, address)
    for operation in range(CALLBACKS):
        record.loop(b + 0xF0 + 0x10 * operation, address)
    manager.memory.write(address, record.data)
    _append(manager.memory, manager.frame + _FRAME_VOLUMES, address + 0x10)
    extension = Record(0x58)  # VOLUME_DEVICE_EXTENSION
    extension.u16(0, 0xF10A)
    extension.u16(2, 0x58)
    extension.u64(8, manager.memory.read_u64(manager.memory.read_u64(device + 0x138) + 0x30))
    extension.u64(0x10, manager.frame)
    extension.u32(0x18, 1)
    extension.u64(0x50, address)
    manager.memory.write(device + 0x150, extension.data)
    return address


def _filter(manager: FilterManager, module: Module, altitude: str) -> int:
    """The filter of a driver image, registered in the frame; made once for all its instances."""
    if module.name in manager.filters:
        return manager.filters[module.name]
    b, memory, pool = manager.base, manager.memory, manager.pool
    dispatch, before, after = (
        manager.at.address(f"{module.prefix}!{name}") if module.has(name) else module.entry
        for name in ("Dispatch", "PreRead", "PostRead")
    )
    driver = driver_object(memory, pool, module, f"\\FileSystem\\{module.prefix}", dispatch, {})
    operations = struct.pack("<BxxxIQQQ", READ, 0, before, after, 0) + struct.pack("<B31x", 0x80)
    record = Record(b + 0x1A0)
    address = pool.take(b + 0x1A0, b"FMfl")
    record.u32(0, _FILTER)
    record.u32(4, 1)
    record.u64(8, 2)
    record.u64(b, manager.frame)
    record.bytes(b + 8, pool.string(module.prefix, b"FMfn"))
    record.bytes(b + 0x18, pool.string(altitude, b"FMfn"))
    record.u32(b + 0x28, 2)
    record.u64(b + 0x30, driver)
    record.loop(b + 0x38 + _LIST, address)
    record.u64(0x1A8 if b == 0x30 else 0x188, pool.put(operations, b"FMfl"))
    memory.write(address, record.data)
    _append(memory, manager.frame + _FRAME_FILTERS, address + 0x10)
    manager.filters[module.name] = address
    return address


def _instance(manager: FilterManager, volume: int, instance: Instance) -> None:
    b, memory, pool = manager.base, manager.memory, manager.pool
    module = manager.at.module(instance.image)
    owner = _filter(manager, module, instance.altitude)
    nodes = b + (0x78 if manager.at.kernel.build >= 22000 else 0x70)
    size = nodes + 8 * CALLBACKS
    address = pool.take(size, b"FMis", add=0x10, align=0x20)
    node = pool.take(0x30, b"FMcb")
    record = Record(size)
    record.u32(0, _INSTANCE)
    record.u32(4, 1)
    record.u64(8, 2)
    record.u64(b + 8, volume)
    record.u64(b + 0x10, owner)
    record.bytes(b + 0x20, pool.string(instance.altitude, b"FMin"))
    record.bytes(b + 0x30, pool.string(instance.name, b"FMin"))
    record.u64(nodes + 8 * _READ_NODE, node)
    memory.write(address, record.data)
    _append(memory, volume + b + 0x70, address + 0x10)
    _append(memory, owner + b + 0x38, address + b + 0x40)
    # CALLBACK_NODE: linked in the volume's list of the operation, in order of altitude
    head = volume + b + 0xF0 + 0x10 * _READ_NODE
    last = memory.read_u64(head + 8)
    memory.write(node, struct.pack("<QQQ", head, last, address))
    memory.u64(last, node)
    memory.u64(head + 8, node)
