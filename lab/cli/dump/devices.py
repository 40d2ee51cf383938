"""Questions about devices, requests and minifilters: `!devstack`, `!devobj`, `!irp`, `!fltkd`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from lab.analysis.gather.dispatch import saved_state
from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.place import address as place
from lab.cli.dump.place import meant
from lab.kernel.devices import device_stack, read_device
from lab.kernel.irp import Irp, read_irp
from lab.kernel.unwind import walk
from lab.model import ConfigurationError, DumpError
from lab.report import words
from lab.report.debugger import devices as shown


def devstack(
    kernel: Kernel,
    device: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="A device object; else that of verifier's saved state."),
    ] = None,
) -> Answer:
    """The device stack that a device object belongs to, top first."""
    asked = place(kernel, device) if device is not None else saved_device(kernel)
    with meant("a device object"):
        found = device_stack(kernel, asked)
    return answer(found, lambda devices: shown.devstack([(d.address, d.driver.name) for d in devices], asked))


def saved_device(kernel: Kernel) -> int:
    """The device of the call that Driver Verifier stopped for. ConfigurationError when there is none."""
    state = saved_state(kernel, kernel.dump.bugcheck, walk(kernel))
    if state is not None:
        return state.device.address
    raise ConfigurationError(
        "this dump holds no saved state of a call that names a device",
        help="Give the address of a device object.",
    )


def irp(
    kernel: Kernel,
    address: Annotated[str, typer.Argument(help="The address of an IRP.")],
) -> Answer:
    """A request: its thread and the drivers that it has come to."""
    with meant("an IRP"):
        asked = read_irp(kernel, place(kernel, address))
    return answer(asked, lambda found: _irp(kernel, found))


def _irp(kernel: Kernel, found: Irp) -> Iterator[str]:
    current = found.current.index if found.current else "none"
    yield f"Irp {found.address:016x} with {len(found.locations)} stack locations, current {current}"
    yield f"Thread {found.thread:016x}"
    yield "     cmd                                      device            file              completion"
    for each in reversed(found.locations):
        if not each.used:
            continue
        completion = kernel.symbol(each.completion) if each.completion else ""
        mark = ">" if each.current else " "
        objects = f"{each.device:016x}  {each.file:016x}"
        yield f"{mark}[{each.index:2}] {each.function:<40} {objects}  {completion}".rstrip()
        if driver := _driver(kernel, each.device):
            yield f"       {driver}"
        if each.file_name:
            yield f"       {each.file_name}"


def _driver(kernel: Kernel, device: int) -> str:
    """The driver that a device belongs to, "\\FileSystem\\Ntfs"; "" when the dump does not hold it."""
    try:
        return words.line(read_device(kernel, device).driver.name) if device else ""
    except DumpError:
        return ""
