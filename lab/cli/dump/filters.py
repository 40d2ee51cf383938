"""Minifilters: `!fltkd.filters`, `!fltkd.volumes`, `!fltkd.volume`."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.analysis.gather import with_origins
from lab.analysis.gather.modules import read_modules
from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.devices import saved_device
from lab.cli.dump.place import address as place
from lab.cli.dump.place import meant
from lab.dumps import NotPresent
from lab.kernel.devices import read_device
from lab.kernel.filters import Filter, Volume, device_of_volume, find_volume
from lab.kernel.fltframes import read_filters, read_volumes
from lab.model import ConfigurationError, DumpError, FilterInstance
from lab.report.debugger import devices as shown


def filters(
    kernel: Kernel,
    device: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="Only this FLT_VOLUME, or that of this device.")
    ] = None,
    volumes: Annotated[bool, typer.Option("--volumes", help="By volume, as !fltkd.volumes.")] = False,
) -> Answer:
    """Minifilters by altitude, with their instances; or volumes with theirs."""
    if device is not None:
        with meant("an FLT_VOLUME, or of a device of the filter manager"):
            found = (_with_origins(kernel, _volume(kernel, place(kernel, device))),)
        return answer(found, _volumes)
    try:
        attached = tuple(_with_origins(kernel, volume) for volume in read_volumes(kernel))
    except DumpError as error:
        if kernel.dump.triage is None:
            raise
        raise DumpError(
            "a small dump does not hold the filter manager's frames", help="Take a kernel or a complete dump."
        ) from error
    if volumes:
        return answer(attached, _volumes)
    instances = tuple(i for volume in attached for i in volume.instances)
    value = tuple((f, tuple(i for i in instances if _is_of(i, f))) for f in read_filters(kernel))
    lines = answer(value, _filters).lines
    return Answer([{"filter": f, "instances": of} for f, of in value], lines)


def volume(kernel: Kernel) -> Answer:
    """The volume of verifier's saved state; all volumes when that names none."""
    try:
        device = saved_device(kernel)
        return answer((_with_origins(kernel, find_volume(kernel, read_device(kernel, device))),), _volumes)
    except (ConfigurationError, DumpError):
        return filters(kernel, volumes=True)


def _volume(kernel: Kernel, address: int) -> Volume:
    """The volume at `address`, or behind the device at `address`."""
    device = device_of_volume(kernel, address)
    found = read_device(kernel, address if device is None else device)
    try:
        return find_volume(kernel, found)
    except NotPresent as error:
        raise DumpError(f"device {found.address:#x} has no filter manager volume behind it") from error


def _with_origins(kernel: Kernel, volume: Volume) -> Volume:
    images = {instance.image for instance in volume.instances}
    modules = read_modules(kernel, {}, touched=(), named=images, instances=volume.instances, notes=[])
    return Volume(
        volume.address,
        volume.name,
        with_origins(volume.instances, modules),
        volume.notes,
        volume.device,
    )


def _is_of(instance: FilterInstance, owner: Filter) -> bool:
    return instance.filter_name == owner.name and instance.image == owner.image


def _filters(found: tuple[tuple[Filter, tuple[FilterInstance, ...]], ...]) -> list[str]:
    lines = ["Filter List:"]
    for owner, instances in found:
        image = owner.image or "(driver not in the dump)"
        lines.append(f'   FLT_FILTER: {owner.address:016x} "{owner.name}" "{owner.altitude}"  {image}')
        lines += [f"      {line}" for each in instances for line in shown.instance(each)]
    return lines


def _volumes(found: tuple[Volume, ...]) -> list[str]:
    lines = ["Volume List:"]
    for volume in found:
        lines.append(f'   FLT_VOLUME: {volume.address:016x} "{volume.name}"')
        lines += [f"      {line}" for each in volume.instances for line in shown.instance(each)]
        lines += [f"      {note}" for note in volume.notes]
    return lines
