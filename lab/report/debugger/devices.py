"""`!devstack`, `!devobj` and the minifilters of `!fltkd`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.kernel.irp import READ, major_name
from lab.model import DispatchState, FilterInstance
from lab.report import words

UNNAMED = "(name not in the dump)"


def devstack(stack: Sequence[tuple[int, str]], asked: int) -> Iterator[str]:
    """(device, driver name), top first; `asked` is the device that was asked for."""
    yield "  !DevObj           !DrvObj"
    for device, driver in stack:
        yield f"{'>' if device == asked else ' '} {device:016x}  {driver or UNNAMED}"


def saved_state(state: DispatchState) -> Iterator[str]:
    """Verifier's saved state of the call, and how it is known to be that: no debugger command shows it."""
    if state.address:
        yield f"Saved state {words.address(state.address)} ({state.found_in})"
    else:
        yield f"Saved state not found; a device from {state.found_in}"
    yield from (f"      {check}" for check in state.checks)
    if state.irp:
        asked = f", {major_name(state.major)}" if state.major is not None else ""
        yield f"      IRP {words.address(state.irp)}{asked}"
    yield ""
    yield f"Dispatch routine {words.address(state.dispatch_routine)} {state.dispatch_symbol}"


def volume(
    address: int, name: str, instances: Sequence[FilterInstance], major: int | None = None
) -> Iterator[str]:
    """`!fltkd.volume`: the volume's instances, highest altitude first. `major` is as for `instance`."""
    yield f'FLT_VOLUME: {address:016x} "{name}"'
    yield "   InstanceList:"
    yield from (f"      {line}" for each in instances for line in instance(each, major))


def instance(each: FilterInstance, major: int | None = None) -> Iterator[str]:
    """One FLT_INSTANCE with its driver, which the debugger leaves to be looked up.

    `major` is the major function that was asked about, see `FilterInstance.handles_read`.
    """
    image = each.image or "(driver not in the dump)"
    idle = f", no {request(major)} callback" if each.handles_read is False else ""
    yield (f'FLT_INSTANCE: {each.address:016x} "{each.name}" "{each.altitude}"  {image}, {each.origin}{idle}')


def request(major: int | None) -> str:
    """ "WRITE": what `FilterInstance.handles_read` is about; READ when the request is not known."""
    return major_name(READ if major is None else major).removeprefix("IRP_MJ_")
