"""Bugcheck 0x9F: which driver holds the power IRP, or what Plug and Play waits for.

Parameters as the bug check reference has them; TRIAGE_9F_POWER, TRIAGE_9F_PNP and what their lists hold are
laid out alike in every build that publishes them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from lab.dumps.memory import KERNEL_SPACE, text_or_nothing, u64
from lab.kernel.devices import Device, device_stack, read_device
from lab.kernel.irp import Irp, is_irp, read_irp
from lab.kernel.lists import follow
from lab.kernel.reading import Used
from lab.kernel.target import Kernel
from lab.model import DumpError

CODE = 0x9F
MOST_ENTRIES = 256
SIGNATURES = range(0x8000, 0x8010)
"""Of TRIAGE_9F_POWER 0x8000; that of TRIAGE_9F_PNP is not documented and taken to be near."""
_IRP_LIST, _THREAD_LIST, _COMPLETION_QUEUE = 8, 0x10, 8
_ENTRY_IRP, _ENTRY_PDO = 0x10, 0x18  # TRIAGE_POP_IRP_DATA
_WORKER_THREAD, _WORKER_IRP, _WORKER_DEVICE = 0x10, 0x18, 0x20  # POP_IRP_WORKER_ENTRY
_REQUEST_NODE = 0x10  # PNP_DEVICE_COMPLETION_REQUEST.DeviceNode
_NODE_DEVICE, _NODE_INSTANCE, _NODE_SERVICE = 0x20, 0x28, 0x38  # DEVICE_NODE

KINDS = {
    1: "a device object was freed with a power IRP outstanding",
    2: "a power IRP was completed without PoStartNextPowerIrp",
    3: "a device object has been blocking an IRP for too long",
    4: "the power transition timed out waiting for Plug and Play",
    5: "a directed power transition was not done in time",
    0x500: "a power IRP was completed without PoStartNextPowerIrp",
}
_DEVICE_PARAMETER = {1: 2, 2: 3, 3: 2, 5: 2, 0x500: 4}
"""Which parameter is the device in question."""


@dataclass(frozen=True)
class PowerWorker:
    """A thread that sends power IRPs and is inside a driver."""

    thread: int
    irp: int
    device: int
    image: str


@dataclass(frozen=True)
class WaitingDevice:
    """A device that Plug and Play waits for: its driver's `service`, and `instance`, the device's id."""

    node: int
    device: int
    instance: str
    service: str


@dataclass(frozen=True)
class PowerFailure:
    """What a 0x9F stop tells. `holder` is the device whose driver the IRP was last given to."""

    kind: int
    meaning: str
    stack: tuple[Device, ...] = ()  # of the device in question, top first
    irp: Irp | None = None
    holder: Device | None = None
    image: str = ""  # file name of the holder's driver, "" when not known
    thread: int = 0  # that holds the Plug and Play lock
    irps: tuple[int, ...] = ()  # all power IRPs that were under way
    workers: tuple[PowerWorker, ...] = ()
    waiting: tuple[WaitingDevice, ...] = ()
    notes: tuple[str, ...] = field(default=())


def read_power_failure(kernel: Kernel) -> PowerFailure | None:
    """What the stop's parameters lead to; None for any other bugcheck."""
    stop = kernel.bugcheck
    if stop.code != CODE:
        return None
    with kernel.reading("power failure") as used:
        kind = stop.parameters[0]
        meaning = KINDS.get(kind, f"kind {kind:#x}")
        notes: list[str] = []
        number = _DEVICE_PARAMETER.get(kind)
        stack = _stack(kernel, stop.parameters[number - 1], notes) if number else ()
        if kind == 3:
            irp = _blocked(kernel, stop.parameters[3], notes)
            holder = _holder(kernel, irp, notes)
            if holder is not None and any(each.address == holder.address for each in stack):
                used.check("the IRP is at a device of the stack of parameter 2")
            irps, workers = _power_lists(kernel, stop.parameters[2], used)
            image = _image(kernel, holder)
            return PowerFailure(kind, meaning, stack, irp, holder, image, 0, irps, workers, (), tuple(notes))
        if kind == 4:
            waiting = _completion_queue(kernel, stop.parameters[3], used)
            thread = stop.parameters[2]
            return PowerFailure(kind, meaning, thread=thread, waiting=waiting, notes=tuple(notes))
        holder = next(
            (each for each in stack if number and each.address == stop.parameters[number - 1]), None
        )
        return PowerFailure(
            kind, meaning, stack, holder=holder, image=_image(kernel, holder), notes=tuple(notes)
        )


def _stack(kernel: Kernel, device: int, notes: list[str]) -> tuple[Device, ...]:
    try:
        return device_stack(kernel, device)
    except DumpError as error:
        notes.append(f"The device stack of {device:#x} could not be read: {error}.")
        return ()


def _blocked(kernel: Kernel, address: int, notes: list[str]) -> Irp | None:
    try:
        return read_irp(kernel, address)
    except DumpError as error:
        notes.append(f"The blocked IRP could not be read: {error}.")
        return None


def _holder(kernel: Kernel, irp: Irp | None, notes: list[str]) -> Device | None:
    """The device of the IRP's current stack location: its driver was called, and did not pass it on."""
    location = irp.current if irp else None
    if irp is None:
        return None
    if location is None or not location.device:
        notes.append(f"IRP {irp.address:#x} has no current stack location: it is with nobody.")
        return None
    try:
        return read_device(kernel, location.device)
    except DumpError as error:
        notes.append(f"The device that holds the IRP could not be read: {error}.")
        return None


def _image(kernel: Kernel, device: Device | None) -> str:
    module = kernel.module_at(device.driver.start) if device else None
    return module.name if module else ""


def _power_lists(kernel: Kernel, address: int, used: Used) -> tuple[tuple[int, ...], tuple[PowerWorker, ...]]:
    """(IRPs under way, workers that are inside a driver) of TRIAGE_9F_POWER, as far as its lists go."""
    heads = _triage_heads(kernel, address, (_IRP_LIST, _THREAD_LIST), used)
    irps, workers = [], []
    for entry in follow(kernel.memory, heads[0], MOST_ENTRIES).found if heads[0] else ():
        irp = _word(kernel, entry + _ENTRY_IRP)
        if irp and is_irp(kernel, irp):
            irps.append(irp)
    for entry in follow(kernel.memory, heads[1], MOST_ENTRIES).found if heads[1] else ():
        thread, irp = _word(kernel, entry + _WORKER_THREAD), _word(kernel, entry + _WORKER_IRP)
        if not irp or not is_irp(kernel, irp):
            continue  # it waits for work
        device = _word(kernel, entry + _WORKER_DEVICE)
        try:
            image = _image(kernel, read_device(kernel, device))
        except DumpError:
            image = ""
        workers.append(PowerWorker(thread, irp, device, image))
    return tuple(irps), tuple(workers)


def _completion_queue(kernel: Kernel, address: int, used: Used) -> tuple[WaitingDevice, ...]:
    """Devices of DispatchedList of TRIAGE_9F_PNP's completion queue, as far as it goes."""
    (head,) = _triage_heads(kernel, address, (_COMPLETION_QUEUE,), used)
    found = []
    for entry in follow(kernel.memory, head, MOST_ENTRIES).found if head else ():
        node = _word(kernel, entry + _REQUEST_NODE)
        if node >= KERNEL_SPACE:
            found.append(
                WaitingDevice(
                    node=node,
                    device=_word(kernel, node + _NODE_DEVICE),
                    instance=text_or_nothing(kernel.memory, node + _NODE_INSTANCE),
                    service=text_or_nothing(kernel.memory, node + _NODE_SERVICE),
                )
            )
    return tuple(found)


def _triage_heads(kernel: Kernel, address: int, offsets: tuple[int, ...], used: Used) -> tuple[int, ...]:
    """The list heads a TRIAGE_9F structure points to, 0 where it does not; all 0 when there is none."""
    nothing = (0,) * len(offsets)
    if address < KERNEL_SPACE:
        return nothing
    try:
        (seen,) = struct.unpack("<H", kernel.memory.read(address, 2))
    except DumpError:
        return nothing
    if seen not in SIGNATURES:
        return nothing  # before Windows 7 the parameter is another device
    used.check(f"the structure has the signature {seen:#x}")
    heads = (_word(kernel, address + offset) for offset in offsets)
    return tuple(head if head >= KERNEL_SPACE else 0 for head in heads)


def _word(kernel: Kernel, address: int) -> int:
    try:
        return u64(kernel.memory, address)
    except DumpError:
        return 0
