"""From a filter manager device to its minifilters, for both families of layouts and an unknown one."""

from __future__ import annotations

from dataclasses import dataclass

import kernel_bytes as kb
import pytest

from lab.kernel.devices import read_device
from lab.kernel.filters import find_volume
from lab.model import DumpError

DEVICE, VOLUME = kb.POOL + 0x60, kb.POOL + 0x800
DRIVER = kb.POOL + 0x10000


@dataclass(frozen=True)
class Family:
    """Offsets as published for one family (facts, 7.2), not as computed from its base."""

    build: int
    device: int
    volume_name: int
    list: int
    instance_volume: int
    filter: int
    altitude: int
    name: int
    callbacks: int
    filter_name: int
    filter_driver: int


WIN7 = Family(7601, 0x28, 0x50, 0x90 + 0x68, 0x28, 0x30, 0x40, 0x50, 0x90, 0x28, 0x50)
WIN10 = Family(20348, 0x38, 0x60, 0xA0 + 0x68, 0x38, 0x40, 0x50, 0x60, 0xA0, 0x38, 0x60)
FAMILIES = pytest.mark.parametrize("family", [WIN7, WIN10], ids=["7601", "20348"])

Instances = list[tuple[str, str, int, bool]]  # (name, altitude, image base, handles READ)
TWO: Instances = [
    ("Other Instance", "328010", kb.OTHER, False),
    ("BadDriver.sys Instance", "189600", kb.BAD, True),
]


def build(family: Family, instances: Instances) -> kb.Bytes:
    memory = kb.Bytes()
    kb.driver_object(memory, DRIVER, r"\FileSystem\FltMgr", kb.FLTMGR, 0x50000, kb.FLTMGR + 0x5610)
    kb.device_object(memory, DEVICE, DRIVER)
    memory.u64(DEVICE + 0x150 + 0x50, VOLUME)
    memory.fill(VOLUME, 0x200)
    memory.u32(VOLUME, 0x04000000)
    memory.u64(VOLUME + family.device, DEVICE)
    memory.text(VOLUME + family.volume_name, r"\Device\HarddiskVolume3", VOLUME + 0x1000)
    links = [VOLUME + family.list]
    for number, (name, altitude, image, reads) in enumerate(instances):
        instance = kb.POOL + 0x20000 + 0x4000 * number
        filter_, driver = instance + 0x1000, instance + 0x2000
        memory.fill(instance, 0x280)
        memory.u32(instance, 0x01000000)
        memory.u64(instance + family.instance_volume, VOLUME)
        memory.u64(instance + family.filter, filter_)
        memory.text(instance + family.altitude, altitude, instance + 0x400)
        memory.text(instance + family.name, name, instance + 0x500)
        memory.u64(instance + family.callbacks + 8 * 25, 0xFFFFFA8011111111 if reads else 0)
        memory.fill(filter_, 0x200)
        memory.u32(filter_, 0x02000000)
        memory.text(filter_ + family.filter_name, name.split()[0], filter_ + 0x400)
        memory.u64(filter_ + family.filter_driver, driver)
        kb.driver_object(memory, driver, r"\FileSystem\X", image, 0x10000, image + 0x100)
        links.append(instance + 0x10)
    for here, following in zip(links, [*links[1:], links[0]], strict=True):
        memory.u64(here, following)
    return memory


@FAMILIES
def test_the_instances_of_the_volume(family: Family) -> None:
    kernel = kb.kernel(build(family, TWO), family.build)
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert (volume.address, volume.name) == (VOLUME, r"\Device\HarddiskVolume3")
    assert [(i.name, i.altitude, i.image, i.handles_read) for i in volume.instances] == [
        ("Other Instance", "328010", "Other.sys", False),
        ("BadDriver.sys Instance", "189600", "BadDriver.sys", True),
    ]
    assert [i.filter_name for i in volume.instances] == ["Other", "BadDriver.sys"]
    assert volume.notes == ()


@FAMILIES
def test_a_volume_without_minifilters(family: Family) -> None:
    kernel = kb.kernel(build(family, []), family.build)
    assert find_volume(kernel, read_device(kernel, DEVICE)).instances == ()


def test_a_family_nobody_published_is_found_by_its_pointers() -> None:
    later = Family(20348, 0x48, 0x70, 0xB8 + 0x68, 0x48, 0x50, 0x60, 0x70, 0xB8, 0x48, 0x70)
    kernel = kb.kernel(build(later, TWO), 20348)
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert [i.image for i in volume.instances] == ["Other.sys", "BadDriver.sys"]
    assert all(i.handles_read is None for i in volume.instances), "where the callbacks are is not known"


def test_a_control_device_has_no_volume() -> None:
    memory = build(WIN7, TWO)
    memory.u32(VOLUME, 0x02000000)
    kernel = kb.kernel(memory)
    with pytest.raises(DumpError, match="no filter manager volume"):
        find_volume(kernel, read_device(kernel, DEVICE))


def test_a_volume_that_does_not_point_back_is_refused() -> None:
    memory = build(WIN7, TWO)
    memory.u64(VOLUME + 0x28, 0)
    kernel = kb.kernel(memory)
    with pytest.raises(DumpError, match="does not point back"):
        find_volume(kernel, read_device(kernel, DEVICE))


def test_a_damaged_list_keeps_what_was_read() -> None:
    memory = build(WIN7, TWO)
    memory.u32(kb.POOL + 0x24000, 0)
    kernel = kb.kernel(memory)
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert [i.image for i in volume.instances] == ["Other.sys"]
    assert "damaged" in volume.notes[0]


def test_a_list_that_bites_its_tail_ends() -> None:
    memory = build(WIN7, TWO)
    memory.u64(kb.POOL + 0x24010, kb.POOL + 0x20010)
    kernel = kb.kernel(memory)
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert len(volume.instances) == 2
    assert "bites its tail" in volume.notes[0]


def test_a_filter_that_is_paged_out_leaves_its_instance() -> None:
    memory = build(WIN7, TWO)
    memory.u64(kb.POOL + 0x20030, 0xFFFFF8A012345000)
    kernel = kb.kernel(memory)
    first = find_volume(kernel, read_device(kernel, DEVICE)).instances[0]
    assert (first.name, first.altitude, first.image) == ("Other Instance", "328010", "")


def test_altitudes_are_compared_as_numbers() -> None:
    sorted_right: Instances = [("A", "189600.5", kb.BAD, True), ("B", "45000", kb.OTHER, True)]
    kernel = kb.kernel(build(WIN7, sorted_right))
    assert find_volume(kernel, read_device(kernel, DEVICE)).notes == ()
    kernel = kb.kernel(build(WIN7, sorted_right[::-1]))
    assert "order" in find_volume(kernel, read_device(kernel, DEVICE)).notes[0]
