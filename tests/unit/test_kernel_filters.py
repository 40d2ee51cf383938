"""From a filter manager device to its minifilters, for both families of layouts and an unknown one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import kernel_bytes as kb
import pytest

from lab.kernel import fltframes
from lab.kernel.devices import read_device
from lab.kernel.filters import find_volume, volumes_behind
from lab.kernel.fltframes import read_filters, read_volumes
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

NEWER = Family(26100, 0x38, 0x70, 0xB0 + 0x68, 0x38, 0x40, 0x50, 0x60, 0xA8, 0x38, 0x60)
"""The volume's name 0x10 bytes further behind, as published for the newest; its list somewhere behind it."""

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


@pytest.mark.parametrize("shift", [0, 0x10, 0x18])
def test_the_newest_volumes_are_recognised_by_name_and_list(shift: int) -> None:
    family = replace(NEWER, list=NEWER.list + shift)
    kernel = kb.kernel(build(family, TWO), 26100)
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert volume.name == r"\Device\HarddiskVolume3"
    assert [(i.image, i.handles_read) for i in volume.instances] == [
        ("Other.sys", False),
        ("BadDriver.sys", True),
    ]
    (reading,) = (each for each in kernel.readings if each.reader == "minifilters of the volume")
    assert any("volume name at +0x70" in fact for fact in reading.facts)


@FAMILIES
def test_a_name_that_is_paged_out_does_not_move_the_layout(family: Family) -> None:
    memory = build(family, TWO)
    memory.u64(VOLUME + family.volume_name + 8, 0xFFFFF8A012345000)
    memory.text(
        VOLUME + family.volume_name + 0x10,
        r"\??\Volume{552791b0-455d-11de-b7b9-00145eed6acc}",
        VOLUME + 0x1200,
    )
    kernel = kb.kernel(memory, family.build)
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert [i.image for i in volume.instances] == ["Other.sys", "BadDriver.sys"]
    assert volume.name == ""
    assert "name" in volume.notes[0]


@pytest.mark.parametrize(("major", "handled"), [(3, True), (4, False), (0, False)])
def test_callbacks_are_those_of_the_request(major: int, handled: bool) -> None:
    kernel = kb.kernel(build(WIN10, TWO[1:]), 20348)
    (instance,) = find_volume(kernel, read_device(kernel, DEVICE), major).instances
    assert instance.handles_read is handled


def fltmgr_symbols(shift: int) -> kb.TableSymbols:
    """Symbols of a fltmgr whose structures lie `shift` bytes further behind than those of any family."""
    fields = {
        ("_FLT_VOLUME", "DeviceObject"): 0x38,
        ("_FLT_VOLUME", "Frame"): 0x58,
        ("_FLT_VOLUME", "DeviceName"): 0x60,
        ("_FLT_VOLUME", "InstanceList"): 0xA0,
        ("_FLT_INSTANCE", "Volume"): 0x38,
        ("_FLT_INSTANCE", "Filter"): 0x40,
        ("_FLT_INSTANCE", "Altitude"): 0x50,
        ("_FLT_INSTANCE", "Name"): 0x60,
        ("_FLT_INSTANCE", "CallbackNodes"): 0xA0,
        ("_FLT_FILTER", "Name"): 0x38,
        ("_FLT_FILTER", "DefaultAltitude"): 0x48,
        ("_FLT_FILTER", "DriverObject"): 0x60,
    }
    return kb.TableSymbols({}, {key: at + shift for key, at in fields.items()})


def test_symbols_come_before_the_family() -> None:
    """The structures lie 8 bytes further behind than any family has them, and are read all the same."""
    moved = Family(20348, *(getattr(WIN10, f) + 8 for f in list(WIN10.__dataclass_fields__)[1:]))
    kernel = kb.kernel(build(moved, TWO), 20348, others={"fltMgr.pdb": fltmgr_symbols(8)})
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert [(i.image, i.handles_read) for i in volume.instances] == [
        ("Other.sys", False),
        ("BadDriver.sys", True),
    ]
    assert volume.notes == ()


def test_symbols_that_the_memory_contradicts_are_not_used() -> None:
    kernel = kb.kernel(build(WIN10, TWO), 20348, others={"fltMgr.pdb": fltmgr_symbols(8)})
    volume = find_volume(kernel, read_device(kernel, DEVICE))
    assert [i.image for i in volume.instances] == ["Other.sys", "BadDriver.sys"]


def test_control_devices_are_passed_over() -> None:
    memory = build(WIN7, TWO)
    control = kb.POOL + 0x70000
    kb.device_object(memory, control, DRIVER)
    memory.u64(control + 0x150 + 0x50, 0)
    kernel = kb.kernel(memory)
    devices = [read_device(kernel, control), read_device(kernel, DEVICE)]
    assert [volume.address for volume in volumes_behind(kernel, devices)] == [VOLUME]


# --- frames ---------------------------------------------------------------------------------------

GLOBALS, FRAME = 0x2A540, kb.POOL + 0x60000


def framed(family: Family) -> kb.Bytes:
    """`build`, with a frame that has both filters and the volume, on the list of FltGlobals."""
    memory = build(family, TWO)
    memory.fill(FRAME, 0x240)
    base = family.device - 8
    head = kb.FLTMGR + GLOBALS + 0x58 + 0x68
    filters = [kb.POOL + 0x21000, kb.POOL + 0x25000]
    rings = (
        [head, FRAME + 8],
        [FRAME + 0x48 + 0x68, *(each + 0x10 for each in filters)],
        [FRAME + 0xC8 + 0x68, VOLUME + 0x10],
    )
    for ring in rings:
        for here, following in zip(ring, [*ring[1:], ring[0]], strict=True):
            memory.u64(here, following)
            memory.u64(following + 8, here)
    memory.u64(VOLUME + base + 0x28, FRAME)
    for each, altitude in zip(filters, ("328010", "189600"), strict=True):
        memory.text(each + base + 0x18, altitude, each + 0x500)
    return memory


@FAMILIES
def test_all_filters_and_volumes(family: Family) -> None:
    kernel = kb.kernel(
        framed(family), family.build, others={"fltMgr.pdb": kb.TableSymbols({"FltGlobals": GLOBALS})}
    )
    assert [(f.name, f.altitude, f.image) for f in read_filters(kernel)] == [
        ("Other", "328010", "Other.sys"),
        ("BadDriver.sys", "189600", "BadDriver.sys"),
    ]
    (volume,) = read_volumes(kernel)
    assert (volume.name, len(volume.instances), volume.device) == (r"\Device\HarddiskVolume3", 2, DEVICE)


def test_globals_where_other_updates_have_them_are_tried() -> None:
    kernel = kb.kernel(framed(WIN10), 17763)
    assert len(read_filters(kernel)) == 2
    (reading,) = (each for each in kernel.readings if each.reader == "minifilters")
    assert "fltmgr!FltGlobals was taken to be at +0x2a540, as in other updates" in reading.facts


def test_without_the_globals_nothing_is_made_up() -> None:
    kernel = kb.kernel(framed(WIN10), 20348)
    with pytest.raises(DumpError, match="frames were not found"):
        read_filters(kernel)


def test_a_frame_full_of_long_lists_stays_quick() -> None:
    """Every word of a damaged frame begins a list of a thousand objects that are nothing of the kind."""
    memory = framed(WIN10)
    chain = kb.POOL + 0x100000
    for number in range(1000):
        memory.u64(chain + 0x20 * number, chain + 0x20 * (number + 1))
        memory.u32(chain + 0x20 * number - 0x10, 0)
    for at in range(0x20, 0x240, 8):
        memory.u64(FRAME + at, chain)
    reads = 0
    read = memory.read

    def counted(address: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return read(address, size)

    memory.read = counted  # type: ignore[method-assign]
    with pytest.raises(DumpError, match="frames were not found"):
        read_volumes(kb.kernel(memory, 17763))
    assert reads < 1000


def test_volumes_beyond_the_limit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fltframes, "MOST_IN_ALL", 3)
    memory, second = framed(WIN10), kb.POOL + 0x90000
    memory.u32(second, 0x04000000)
    memory.u64(VOLUME + 0x10, second + 0x10)
    memory.u64(second + 0x10, FRAME + 0xC8 + 0x68)
    first, last = read_volumes(kb.kernel(memory, 17763))
    assert (len(first.instances), first.notes) == (2, ())
    assert (last.address, last.instances) == (second, ())
    assert "was not read" in last.notes[0]


def test_operations_that_do_not_end_are_not_known() -> None:
    memory = framed(WIN10)
    table = kb.POOL + 0x80000
    memory.fill(table, 0x20 * 100)
    memory.u64(kb.POOL + 0x21000 + 0x1A8, table)
    kernel = kb.kernel(memory, 17763)
    assert [f.operations for f in read_filters(kernel)] == [None, None]
    memory.put(table, b"\x03")
    memory.put(table + 0x20, b"\x80")
    kernel = kb.kernel(memory, 17763)
    first = read_filters(kernel)[0]
    assert (first.handles(3), first.handles(4)) == (True, False)
