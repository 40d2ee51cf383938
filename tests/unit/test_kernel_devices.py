"""Device and driver objects, by the offsets that public symbols give for every build."""

from __future__ import annotations

import kernel_bytes as kb
import pytest

from lab.kernel.devices import DEEPEST_STACK, device_stack, read_device, read_driver
from lab.model import DumpError

FILTER, FILE_SYSTEM = kb.POOL + 0x60, kb.POOL + 0x1030
FLT_DRIVER, NTFS_DRIVER = kb.POOL + 0x10000, kb.POOL + 0x11000


@pytest.fixture
def memory() -> kb.Bytes:
    memory = kb.Bytes()
    kb.driver_object(memory, FLT_DRIVER, r"\FileSystem\FltMgr", kb.FLTMGR, 0x50000, kb.FLTMGR + 0x5610)
    kb.driver_object(memory, NTFS_DRIVER, r"\FileSystem\Ntfs", kb.NTFS, 0x100000, kb.NTFS + 0x2000)
    kb.device_object(memory, FILTER, FLT_DRIVER, below=FILE_SYSTEM)
    kb.device_object(memory, FILE_SYSTEM, NTFS_DRIVER, above=FILTER)
    return memory


def test_a_device_as_the_article_shows_it(memory: kb.Bytes) -> None:
    device = read_device(kb.kernel(memory), FILTER)
    assert device.driver.name == r"\FileSystem\FltMgr"
    assert (device.extension, device.object_extension) == (kb.POOL + 0x1B0, kb.POOL + 0x208)
    assert device.below == FILE_SYSTEM
    assert device.driver.serves(kb.FLTMGR + 0x5610)
    assert not device.driver.serves(kb.FLTMGR + 0x5611)
    assert device.driver.holds(kb.FLTMGR + 0x4FFFF)
    assert not device.driver.holds(kb.FLTMGR + 0x50000)


@pytest.mark.parametrize("asked", [FILTER, FILE_SYSTEM])
def test_the_stack_is_the_same_from_each_of_its_devices(memory: kb.Bytes, asked: int) -> None:
    stack = device_stack(kb.kernel(memory), asked)
    assert [(d.address, d.driver.name) for d in stack] == [
        (FILTER, r"\FileSystem\FltMgr"),
        (FILE_SYSTEM, r"\FileSystem\Ntfs"),
    ]


def test_a_stack_that_bites_its_tail_ends(memory: kb.Bytes) -> None:
    kb.device_object(memory, FILE_SYSTEM, NTFS_DRIVER, above=FILTER, below=FILTER)
    assert len(device_stack(kb.kernel(memory), FILTER)) == 2


def test_a_stack_without_end_is_cut(memory: kb.Bytes) -> None:
    at = [kb.POOL + 0x100000 + 0x400 * i for i in range(100)]
    for i, address in enumerate(at):
        kb.device_object(memory, address, NTFS_DRIVER, below=at[i + 1] if i < 99 else 0)
    assert len(device_stack(kb.kernel(memory), at[0])) == DEEPEST_STACK


def test_a_stack_ends_where_the_dump_does(memory: kb.Bytes) -> None:
    kb.device_object(memory, FILTER, FLT_DRIVER, above=0xFFFFFA8012345678, below=FILE_SYSTEM)
    kernel = kb.kernel(memory)
    assert [d.address for d in device_stack(kernel, FILTER)] == [FILTER, FILE_SYSTEM]
    (reading,) = kernel.readings
    said = "the stack is not whole: there is no device to be read at 0xfffffa8012345678, above the first"
    assert said in reading.facts


def test_a_name_that_is_paged_out_is_empty(memory: kb.Bytes) -> None:
    memory.u64(FLT_DRIVER + 0x40, 0xFFFFF8A000001000)
    assert read_driver(kb.kernel(memory), FLT_DRIVER).name == ""


def test_other_objects_are_refused(memory: kb.Bytes) -> None:
    kernel = kb.kernel(memory)
    with pytest.raises(DumpError, match="no device object"):
        read_device(kernel, FLT_DRIVER)
    with pytest.raises(DumpError, match="no driver object"):
        read_driver(kernel, FILTER)
    memory.u16(FLT_DRIVER + 2, 0x148)
    with pytest.raises(DumpError, match="no driver object"):
        read_device(kernel, FILTER)


def test_an_extension_of_another_device_says_nothing(memory: kb.Bytes) -> None:
    memory.u64(FILTER + 0x1A8 + 0x8, FILE_SYSTEM)
    assert read_device(kb.kernel(memory), FILTER).below == 0
