"""Minifilters: `!fltkd.filters`, `!fltkd.volumes`, `!fltkd.volume`."""

from __future__ import annotations

from typing import Annotated

import typer

from lab.analysis.gather import with_origins
from lab.analysis.gather.modules import read_modules
from lab.cli.dump.answer import Answer, Kernel, answer
from lab.cli.dump.place import address as place
from lab.kernel.devices import read_device
from lab.kernel.filters import Filter, Volume, find_volume
from lab.kernel.fltframes import read_filters, read_volumes
from lab.model import FilterInstance
from lab.report.debugger import devices as shown


def filters(
    kernel: Kernel,
    device: Annotated[
        str | None, typer.Argument(metavar="ADDRESS", help="Only the volume of this device object.")
    ] = None,
    volumes: Annotated[bool, typer.Option("--volumes", help="By volume, as !fltkd.volumes.")] = False,
) -> Answer:
    """Minifilters by altitude, with their instances; or volumes with theirs."""
    if device is not None:
        found = (_with_origins(kernel, find_volume(kernel, read_device(kernel, place(kernel, device)))),)
        return answer(found, _volumes)
    attached = tuple(_with_origins(kernel, volume) for volume in read_volumes(kernel))
    if volumes:
        return answer(attached, _volumes)
    instances = tuple(i for volume in attached for i in volume.instances)
    value = tuple((f, tuple(i for i in instances if _is_of(i, f))) for f in read_filters(kernel))
    lines = answer(value, _filters).lines
    return Answer([{"filter": f, "instances": of} for f, of in value], lines)


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
