"""Counting what a load did."""

from __future__ import annotations

from collections import Counter

from lab.smb.legacy.flight import Flight, Landing
from lab.smb.legacy.tally import Tally, percentile, total


def landing(seconds: float, status: str = "", data: bytes = b"x" * 4096, at: float = 10.0) -> Landing:
    return Landing(Flight(0, 4096, at - seconds, arrived=at), status, b"" if status else data)


def test_percentiles_are_those_of_the_sorted_list() -> None:
    latencies = Counter({100 * n: 1 for n in range(1, 101)})  # 1 ms ... 100 ms
    assert percentile(latencies, 0.50) == 50.0
    assert percentile(latencies, 0.95) == 95.0
    assert percentile(latencies, 0.99) == 99.0
    assert percentile(latencies, 1.0) == 100.0
    assert percentile(Counter({7: 3}), 0.5) == 0.07
    assert percentile(Counter(), 0.5) == 0.0


def test_error_statuses_are_counted_by_name_and_not_as_answered() -> None:
    tally = Tally()
    for _ in range(4):
        tally.sent_at(9.0)
    tally.landed(landing(0.5))
    tally.landed(landing(0.5, "STATUS_INSUFFICIENT_RESOURCES"))
    tally.landed(landing(0.5, data=b"short"))
    assert (tally.sent, tally.answered, tally.failures, tally.bytes_read) == (4, 2, 1, 4101)
    assert tally.failed == {"STATUS_INSUFFICIENT_RESOURCES": 1}


def test_the_total_of_lanes() -> None:
    one, two, idle = Tally(), Tally(), Tally()
    one.sent_at(2.0)
    one.landed(landing(0.001, at=5.0))
    two.sent_at(1.0)
    two.landed(landing(0.002, "STATUS_X", at=7.0))
    whole = total([one, two, idle])
    assert (whole.sent, whole.answered, whole.failures) == (2, 1, 1)
    assert (whole.first_sent, whole.last_answer) == (1.0, 7.0)
    assert percentile(whole.latencies, 0.5) == 1.0
