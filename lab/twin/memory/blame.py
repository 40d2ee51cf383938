"""Stops that are a third-party driver's: what memory holds of each, and the parameters that lead there.

Parameters: Microsoft's bug check reference. The driver is `CrashState.dispatch_owner`.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.twin.crash import CrashState, Stop
from lab.twin.memory.devices import attach, device_object, driver_object, power_request
from lab.twin.memory.layout import Layout
from lab.twin.memory.physical import Memory, Pool
from lab.twin.memory.records import Record

_DISK = 7
_BASE_NAME = 0x58  # KLDR_DATA_TABLE_ENTRY.BaseDllName
_TRIAGE_SIGNATURE = 0x8000


def blamed(
    memory: Memory,
    pool: Pool,
    at: Layout,
    state: CrashState,
    entries: Mapping[str, int],
    verified: Mapping[str, int],
    parameters: tuple[int, int, int, int],
) -> tuple[int, int, int, int]:
    """Write what the stop needs; returns its parameters, which are `parameters` where they are known before.

    `entries` are the modules' list entries, `verified` Driver Verifier's data of drivers, by file name.
    """
    module = at.module(state.dispatch_owner)
    name = entries[module.name] + _BASE_NAME
    match state.stop:
        case Stop.PAGED_AT_DISPATCH:
            memory.u64(at.variable("KiBugCheckDriver"), name)
            return parameters
        case Stop.POWER_IRP_BLOCKED:
            return _blocked_power(memory, pool, at, state)
        case Stop.POOL_LEAKED:
            return 0x62, memory.read_u64(name + 8), verified.get(module.name, 0), state.leaks
    return parameters


def _blocked_power(memory: Memory, pool: Pool, at: Layout, state: CrashState) -> tuple[int, int, int, int]:
    """A device of a bus, the driver's device on top of it, and the power request that this one holds."""
    module = at.module(state.dispatch_owner)
    bus = at.module("pci.sys") if at.has("pci.sys") else at.nt
    bus_driver = driver_object(memory, pool, bus, "\\Driver\\pci", bus.entry, {})
    driver = driver_object(
        *(memory, pool, module, f"\\Driver\\{module.prefix}", at.address(f"{module.prefix}!Dispatch"), {})
    )
    physical = device_object(memory, pool, bus_driver, 0x100, _DISK, add=0x80)
    functional = device_object(memory, pool, driver, 0x180, _DISK, add=0x20)
    attach(memory, functional, physical)
    irp = power_request(memory, pool, functional)
    triage = Record(0x28)  # TRIAGE_9F_POWER
    triage.u16(0, _TRIAGE_SIGNATURE)
    triage.u16(2, 1)
    lists = pool.take(0x20, b"PopT")
    heads = Record(0x20)
    heads.loop(0, lists)
    heads.loop(0x10, lists)
    memory.write(lists, heads.data)
    triage.u64(8, lists)
    triage.u64(0x10, lists + 0x10)
    return 3, physical, pool.put(triage.data, b"PopT"), irp
