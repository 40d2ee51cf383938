"""What the four parameters of the bugcheck lead to: texts, devices, requests, pool, stacks of threads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lab.analysis.facts import DeviceFacts, PoolFacts, RequestFacts
from lab.analysis.gather.attempt import quietly
from lab.analysis.gather.pool import read_block, tag_text, users
from lab.analysis.stops import Role, describe
from lab.dumps.memory import KERNEL_SPACE, u64, unicode_string
from lab.kernel.devices import device_stack, read_device, read_driver
from lab.kernel.irp import read_irp
from lab.kernel.processors import processor_context
from lab.kernel.target import Kernel
from lab.kernel.threads import stack_bounds
from lab.kernel.unwind import walk
from lab.kernel.waiting import waiting_context
from lab.model import Bugcheck, DumpError, Frame

MOST_TEXT = 512
_SPECIAL_POOL = frozenset({0xC1, 0xD5, 0xD6})
_POWER_STACKS = frozenset({(0x9F, 0x3), (0x9F, 0x5)})
"""Kinds whose parameter 2 is only the bottom of the device stack in question."""


@dataclass
class Targets:
    """What was found, by the address (or the tag) in the parameter."""

    texts: dict[int, str] = field(default_factory=dict)
    devices: dict[int, DeviceFacts] = field(default_factory=dict)
    requests: dict[int, RequestFacts] = field(default_factory=dict)
    pool: dict[int, PoolFacts] = field(default_factory=dict)
    stacks: dict[int, tuple[Frame, ...]] = field(default_factory=dict)

    @property
    def images(self) -> set[str]:
        """The drivers of every device and request among them."""
        found = {image for device in self.devices.values() for _, _, image in device.stack}
        found |= {device.image for device in self.devices.values()}
        return found | {request.image for request in self.requests.values()}


def read_targets(kernel: Kernel, bugcheck: Bugcheck, devices: Iterable[int] = ()) -> Targets:
    """Everything the parameters of this very stop lead to, and the device objects `devices`."""
    found = Targets()
    stop = describe(bugcheck)
    if stop is None:
        return found
    for parameter, value in zip(stop.parameters, bugcheck.parameters, strict=True):
        if value:
            _read(kernel, bugcheck, parameter.role, value, found)
    if (bugcheck.code, bugcheck.parameters[0]) in _POWER_STACKS:
        _device(kernel, bugcheck.parameters[1], found)
    for device in devices:
        _device(kernel, device, found)
    return found


def with_users(
    kernel: Kernel, pool: Mapping[int, PoolFacts], foreign: frozenset[str]
) -> dict[int, PoolFacts]:
    """The blocks, each with the images that use its tag, of those in `foreign` (lower case)."""
    searched = [module for module in kernel.modules if module.name.casefold() in foreign]
    return {
        key: replace(block, users=users(kernel, block.tag, searched)) if block.tag else block
        for key, block in pool.items()
    }


def _read(kernel: Kernel, bugcheck: Bugcheck, role: Role, value: int, found: Targets) -> None:
    if role in (Role.NAME, Role.RULE):
        found.texts[value] = text_at(kernel, value)
    elif role is Role.DEVICE:
        _device(kernel, value, found)
    elif role is Role.DRIVER:
        _driver(kernel, value, found)
    elif role is Role.REQUEST:
        _request(kernel, value, found)
    elif role is Role.TAG:
        found.pool[value] = PoolFacts(0, tag_text(value), 0, "the parameter itself")
    elif role in (Role.POOL, Role.LOCK, Role.MEMORY) and kernel.module_at(value) is None:
        block = read_block(kernel, value, special=bugcheck.code in _SPECIAL_POOL)
        if block is not None:
            found.pool[value] = block
    elif role is Role.THREAD:
        found.stacks[value] = quietly(lambda: thread_stack(kernel, value)) or ()


def _image(kernel: Kernel, address: int) -> str:
    module = kernel.module_at(address)
    return module.name if module is not None else ""


def _device(kernel: Kernel, address: int, found: Targets) -> None:
    device = quietly(lambda: read_device(kernel, address))
    if device is None:
        return
    stack = quietly(lambda: device_stack(kernel, address)) or (device,)
    found.devices[address] = DeviceFacts(
        address,
        device.driver.name,
        _image(kernel, device.driver.start),
        tuple((each.address, each.driver.name, _image(kernel, each.driver.start)) for each in stack),
    )


def _driver(kernel: Kernel, address: int, found: Targets) -> None:
    driver = quietly(lambda: read_driver(kernel, address))
    if driver is not None:
        found.devices[address] = DeviceFacts(address, driver.name, _image(kernel, driver.start))


def _request(kernel: Kernel, address: int, found: Targets) -> None:
    irp = quietly(lambda: read_irp(kernel, address))
    if irp is None:
        return
    at = irp.current
    device = quietly(lambda: read_device(kernel, at.device)) if at is not None else None
    found.requests[address] = RequestFacts(
        address,
        major=at.major if at else None,
        minor=at.minor if at else None,
        device=at.device if at else 0,
        image=_image(kernel, device.driver.start) if device else "",
        thread=irp.thread,
    )


def thread_stack(kernel: Kernel, thread: int) -> tuple[Frame, ...]:
    """The stack of any thread, running or not. DumpError when its registers are not in the dump."""
    running = next((each for each in kernel.processors if each.thread == thread), None)
    if running is not None:
        context = processor_context(kernel, running.number)
    else:
        context, _ = waiting_context(kernel, thread)
    return walk(kernel, context, bounds=stack_bounds(kernel, thread))


def named_driver(kernel: Kernel) -> str:
    """The driver that the kernel holds responsible, "" for none: nt!KiBugCheckDriver points to its name."""
    variable = kernel.address("nt!KiBugCheckDriver")
    if variable is None:
        return ""
    pointer = quietly(lambda: u64(kernel.memory, variable)) or 0
    return text_at(kernel, pointer)


def text_at(kernel: Kernel, address: int) -> str:
    """The text that a pointer leads to: a UNICODE_STRING, or characters up to a NUL; "" for anything else."""
    if address < KERNEL_SPACE:
        return ""
    counted = quietly(lambda: unicode_string(kernel.memory, address, limit=MOST_TEXT))
    if counted and _is_text(counted):
        return counted
    raw = _up_to_page(kernel, address)
    wide = raw[: len(raw) & ~1].decode("utf-16-le", "replace").split("\0", 1)[0]
    narrow = raw.split(b"\0", 1)[0].decode("latin-1")
    return next((text for text in (wide, narrow) if len(text) > 1 and _is_text(text)), "")


def _is_text(text: str) -> bool:
    return all(0x20 <= ord(character) < 0x7F for character in text)


def _up_to_page(kernel: Kernel, address: int) -> bytes:
    """At most MOST_TEXT bytes, less when the next page is not in the dump."""
    try:
        return kernel.memory.read(address, MOST_TEXT)
    except DumpError:
        rest = -address & 0xFFF
        return quietly(lambda: kernel.memory.read(address, min(rest, MOST_TEXT))) or b""
