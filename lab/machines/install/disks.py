"""The disk of an answer file: is it laid out as Setup can, and is Windows put where there is room."""

from __future__ import annotations

from collections.abc import Iterator

from lab.machines.install.problem import Problem
from lab.machines.install.xml import Element

TYPES = ("Primary", "EFI", "Extended", "Logical", "MSR")


def number(element: Element | None) -> int | None:
    """Its text as a number without sign; None for anything else."""
    text = element.text if element is not None else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def disk_problems(setup: Element, firmware: str) -> Iterator[Problem]:
    """Of Microsoft-Windows-Setup in windowsPE."""
    disks: dict[int, Element] = {}
    for disk in setup.all("DiskConfiguration/Disk"):
        which = number(disk.one("DiskID"))
        if which is None:
            yield Problem(disk.line, "<Disk> lacks a DiskID")
        elif which in disks:
            yield Problem(disk.line, f"disk {which} is configured twice")
        else:
            disks[which] = disk
            yield from _layout(disk)
    image = setup.one("ImageInstall/OSImage")
    anywhere = image.one("InstallToAvailablePartition") if image else None
    if anywhere is not None and anywhere.text.lower() == "true":
        return
    target = image.one("InstallTo") if image else None
    if target is None:
        yield Problem(
            (image or setup).line,
            "no disk is chosen (ImageInstall/OSImage: InstallTo, or InstallToAvailablePartition)",
        )
        return
    which, partition = number(target.one("DiskID")), number(target.one("PartitionID"))
    if which is None or partition is None:
        yield Problem(target.line, "<InstallTo> lacks a DiskID or a PartitionID")
    elif which in disks:
        yield from _target(target, disks[which], partition, firmware)


def _layout(disk: Element) -> Iterator[Problem]:
    created = list(disk.all("CreatePartitions/CreatePartition"))
    for element in created:
        kind, size, extend = element.one("Type"), element.one("Size"), element.one("Extend")
        if kind is None or kind.text not in TYPES:
            yield Problem(
                (kind or element).line, f"<CreatePartition> lacks a Type; there are {', '.join(TYPES)}"
            )
        grows = extend is not None and extend.text.lower() == "true"
        if grows == (size is not None):
            yield Problem(element.line, "<CreatePartition> needs either a Size or Extend")
        elif size is not None and not number(size):
            yield Problem(size.line, f"Size of <CreatePartition> is '{size.text}' instead of megabytes")
    orders = [number(element.one("Order")) for element in created]
    if None not in orders and sorted(orders, key=lambda o: o or 0) != list(range(1, len(orders) + 1)):
        yield Problem(disk.line, "the Order of the partitions does not run from 1 without gaps")
    wiped = disk.one("WillWipeDisk")
    known = len(created) if wiped is not None and wiped.text.lower() == "true" else None
    for element in disk.all("ModifyPartitions/ModifyPartition"):
        which = number(element.one("PartitionID"))
        if which is None:
            yield Problem(element.line, "<ModifyPartition> lacks a PartitionID")
        elif known is not None and not 1 <= which <= known:
            yield Problem(element.line, f"<ModifyPartition> changes partition {which} of {known}")


def _target(target: Element, disk: Element, partition: int, firmware: str) -> Iterator[Problem]:
    wiped = disk.one("WillWipeDisk")
    if wiped is None or wiped.text.lower() != "true":
        return  # partitions that are there already count too
    created = {
        number(element.one("Order")): (element.one("Type") or element).text
        for element in disk.all("CreatePartitions/CreatePartition")
    }
    if partition not in created:
        yield Problem(target.line, f"Windows goes to partition {partition}, and the disk gets {len(created)}")
    elif created[partition] not in ("Primary", "Logical"):
        yield Problem(
            target.line, f"Windows goes to partition {partition}, which is of type {created[partition]}"
        )
    if firmware == "uefi" and "EFI" not in created.values():
        yield Problem(disk.line, "the disk gets no EFI partition, which UEFI firmware starts Windows from")
    elif firmware == "bios" and {"EFI", "MSR"} & set(created.values()):
        yield Problem(disk.line, "the disk gets an EFI or MSR partition, which BIOS firmware cannot use")
