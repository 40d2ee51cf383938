"""Bugcheck 0x9F: from its parameters to the driver that holds the IRP, or the device that is waited for."""

from __future__ import annotations

from itertools import pairwise

import kernel_bytes as kb

from lab.kernel.power import read_power_failure
from lab.model import Bugcheck

PDO, FDO, IRP = kb.POOL + 0x60, kb.POOL + 0x1030, kb.POOL + 0x30000
BUS, DISK = kb.POOL + 0x10000, kb.POOL + 0x11000
TRIAGE, ENTRY, WORKER, IDLE = kb.POOL + 0x40000, kb.POOL + 0x41000, kb.POOL + 0x42000, kb.POOL + 0x43000
IRPS, THREADS, NODE = kb.POOL + 0x44000, kb.POOL + 0x45000, kb.POOL + 0x46000
THREAD = kb.POOL + 0x50000


def memory() -> kb.Bytes:
    """A device stack of two, and an IRP_MN_SET_POWER that the upper driver has not passed on."""
    found = kb.Bytes()
    kb.driver_object(found, BUS, r"\Driver\bus", kb.NTFS, 0x100000, kb.NTFS + 0x100)
    kb.driver_object(found, DISK, r"\Driver\BadDriver", kb.BAD, 0x10000, kb.BAD + 0x100)
    kb.device_object(found, PDO, BUS, above=FDO)
    kb.device_object(found, FDO, DISK, below=PDO)
    kb.irp(found, IRP, [PDO, FDO], current=2, major=22, minor=2)
    found.fill(TRIAGE, 0x30)
    found.u16(TRIAGE, 0x8000)
    found.u16(TRIAGE + 2, 1)
    found.u64(TRIAGE + 8, IRPS, THREADS)
    for head, entries in ((IRPS, [ENTRY]), (THREADS, [WORKER, IDLE])):
        ring = [head, *entries, head]
        for here, following in pairwise(ring):
            found.u64(here, following)
    found.u64(ENTRY + 0x10, IRP, PDO)
    found.u64(WORKER + 0x10, THREAD, IRP, FDO)
    found.u64(IDLE + 0x10, THREAD + 0x1000, 0, 0)
    return found


def stop(*parameters: int) -> Bugcheck:
    first, second, third, fourth = parameters
    return Bugcheck(0x9F, (first, second, third, fourth))


def test_the_driver_that_holds_the_irp() -> None:
    kernel = kb.kernel(memory(), bugcheck=stop(3, PDO, TRIAGE, IRP))
    failure = read_power_failure(kernel)
    assert failure is not None
    assert [device.address for device in failure.stack] == [FDO, PDO]
    assert failure.holder is not None
    assert (failure.holder.address, failure.image) == (FDO, "BadDriver.sys")
    assert failure.irp is not None and failure.irp.current is not None
    assert failure.irp.current.function == "IRP_MJ_POWER, IRP_MN_SET_POWER"
    assert failure.irps == (IRP,)
    assert [(worker.thread, worker.image) for worker in failure.workers] == [(THREAD, "BadDriver.sys")]
    assert failure.notes == ()
    checks = {check for reading in kernel.readings for check in reading.checks}
    assert "the IRP is at a device of the stack of parameter 2" in checks


def test_an_irp_that_is_not_in_the_dump_leaves_the_stack() -> None:
    failure = read_power_failure(kb.kernel(memory(), bugcheck=stop(3, PDO, 0, 0xFFFFFA8099999990)))
    assert failure is not None
    assert len(failure.stack) == 2
    assert (failure.irp, failure.holder, failure.image) == (None, None, "")
    assert "blocked IRP" in failure.notes[0]


def test_a_completed_irp_is_with_nobody() -> None:
    found = memory()
    found.put(IRP + 0x43, b"\x03")
    failure = read_power_failure(kb.kernel(found, bugcheck=stop(3, PDO, TRIAGE, IRP)))
    assert failure is not None
    assert failure.holder is None
    assert "with nobody" in failure.notes[0]


def test_lists_that_bite_their_tail_end() -> None:
    found = memory()
    found.u64(ENTRY, ENTRY)
    failure = read_power_failure(kb.kernel(found, bugcheck=stop(3, PDO, TRIAGE, IRP)))
    assert failure is not None and failure.irps == (IRP,)


def test_another_structure_than_triage_is_left_alone() -> None:
    found = memory()
    found.u16(TRIAGE, 3)  # before Windows 7 the parameter is a device object
    failure = read_power_failure(kb.kernel(found, bugcheck=stop(3, PDO, TRIAGE, IRP)))
    assert failure is not None and (failure.irps, failure.workers) == ((), ())


def test_what_plug_and_play_waits_for() -> None:
    found = memory()
    queue, request = kb.POOL + 0x47000, kb.POOL + 0x48000
    found.u64(TRIAGE + 8, queue)
    found.u64(queue, request)
    found.u64(request, queue)
    found.u64(request + 0x10, NODE)
    found.u64(NODE + 0x20, PDO)
    found.text(NODE + 0x28, r"USB\VID_0781&PID_5583\1", NODE + 0x100)
    found.text(NODE + 0x38, "BadDriver", NODE + 0x200)
    failure = read_power_failure(kb.kernel(found, bugcheck=stop(4, 300, THREAD, TRIAGE)))
    assert failure is not None
    assert failure.thread == THREAD
    (waiting,) = failure.waiting
    assert (waiting.device, waiting.instance, waiting.service) == (
        PDO,
        r"USB\VID_0781&PID_5583\1",
        "BadDriver",
    )


def test_a_device_freed_with_an_irp_outstanding() -> None:
    failure = read_power_failure(kb.kernel(memory(), bugcheck=stop(1, FDO, 0, 0)))
    assert failure is not None
    assert failure.image == "BadDriver.sys"
    assert "outstanding" in failure.meaning


def test_any_other_stop_is_none() -> None:
    assert read_power_failure(kb.kernel(memory())) is None
