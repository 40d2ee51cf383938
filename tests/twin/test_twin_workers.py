"""The crash model by itself, with time given by hand."""

from __future__ import annotations

from random import Random

from lab.twin.crash import Stop
from lab.twin.regionlog import CAPACITY, RegionLog
from lab.twin.workers import IDLE_EXIT, Defect, QueueCounts, StopRequest, Workers


def pool(
    leak: float | None, *, checked: bool = False, logged: bool = False, noise: str = "", seed: int = 1
) -> tuple[Workers, RegionLog]:
    log = RegionLog(noise, Random(seed))
    defect = None if leak is None else Defect("bad.sys", leak, checked=checked, logged=logged)
    return Workers(defect, log, 2, Random(seed)), log


def burst(workers: Workers, reads: int, connections: int = 4) -> StopRequest | None:
    for number in range(reads):
        request = workers.read(number % connections, 1, number * 0.001)
        if request is not None:
            return request
    return None


def test_threads_come_with_concurrent_reads_and_go_when_idle() -> None:
    workers, _ = pool(None)
    burst(workers, 400, connections=6)
    assert len(workers) == 12
    assert workers.tick(IDLE_EXIT / 2) is None
    assert len(workers) == 12
    assert workers.tick(IDLE_EXIT + 1) is None
    assert len(workers) == 0


def test_there_is_a_most_of_threads() -> None:
    workers, _ = pool(None)
    burst(workers, 400, connections=100)
    assert len(workers) == 40


def test_the_queue_counts_what_is_in_flight_and_who_serves_it() -> None:
    workers, _ = pool(None)
    assert workers.counts(0.0) == QueueCounts(active=0, available=0, length=0, clients=0)
    for connection in range(4):
        for _ in range(30):
            workers.read(connection, 15, 1.0)
    assert workers.counts(1.0) == QueueCounts(active=40, available=0, length=24, clients=4)
    later = 1.0 + IDLE_EXIT / 2
    assert workers.counts(later) == QueueCounts(active=0, available=40, length=0, clients=0)
    workers.tick(1.0 + IDLE_EXIT)
    assert workers.counts(1.0 + IDLE_EXIT).available == 0


def test_a_leak_stops_the_system_when_the_thread_exits_not_before() -> None:
    workers, _ = pool(0.01)
    assert burst(workers, 600) is None
    request = workers.tick(IDLE_EXIT + 1)
    assert request is not None
    assert request.stop is Stop.APC_PENDING_DURING_EXIT
    assert request.apc_now < 0


def test_a_checked_leak_stops_the_system_at_the_read() -> None:
    workers, _ = pool(0.01, checked=True)
    request = burst(workers, 2000)
    assert request is not None
    assert (request.stop, request.apc_before, request.apc_now) == (Stop.DISPATCH_CHANGED_APC, 0, -1)


def test_a_dormant_culprit_does_nothing_for_a_while() -> None:
    crashed = 0
    for seed in range(40):
        log = RegionLog("", Random(seed))
        defect = Defect("bad.sys", 0.01, checked=False, logged=False, dormant=0.5)
        workers = Workers(defect, log, 2, Random(seed))
        burst(workers, 1500)
        crashed += workers.tick(IDLE_EXIT + 2) is not None
    assert 10 < crashed < 30


def test_a_burst_usually_ends_in_a_crash_but_not_always() -> None:
    crashed = 0
    for seed in range(200):
        workers, _ = pool(0.0075, seed=seed)
        burst(workers, 300)
        crashed += workers.tick(IDLE_EXIT + 1) is not None
    assert 140 < crashed < 195


def test_the_log_is_empty_when_the_calls_are_inlined() -> None:
    workers, log = pool(0.01)
    burst(workers, 600)
    assert log.snapshot() == ()


def test_the_log_tells_when_the_calls_are_not_inlined() -> None:
    workers, log = pool(0.01, logged=True)
    burst(workers, 600)
    request = workers.tick(IDLE_EXIT + 1)
    assert request is not None
    mine = [entry for entry in log.snapshot() if entry.thread == request.thread]
    assert {entry.image for entry in mine} == {"bad.sys"}
    assert request.apc_now in (-1, -2)
    entered = sum(entry.direction == "enter" for entry in mine)
    assert entered - sum(entry.direction == "leave" for entry in mine) == -request.apc_now


def test_a_noisy_driver_hides_everything_and_is_itself_balanced() -> None:
    workers, log = pool(0.01, logged=True, noise="noisy.sys")
    burst(workers, 600)
    entries = log.snapshot()
    assert len(entries) == CAPACITY
    assert {entry.image for entry in entries} == {"noisy.sys"}
    for thread in {entry.thread for entry in entries}:
        turns = [entry.direction for entry in entries if entry.thread == thread]
        assert turns == ["enter", "leave"] * (len(turns) // 2)
