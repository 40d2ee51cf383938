"""Counting what a load did."""

from __future__ import annotations

import threading

from lab.smb.load.tally import Tally, total


def test_the_total_of_lanes() -> None:
    one, two, idle = Tally(), Tally(), Tally()
    one.sent, one.answered, one.bytes_read, one.first_sent, one.last_answer = 3, 2, 8192, 2.0, 5.0
    one.failed[0xC0000022] += 1
    one.latencies[100] += 2
    two.sent, two.answered, two.short, two.first_sent, two.last_answer = 1, 1, 1, 1.0, 7.0
    two.failed[0xC0000022] += 2
    two.operations["echoes"] += 4
    whole = total([one, two, idle])
    assert (whole.sent, whole.answered, whole.bytes_read, whole.short, whole.failures) == (4, 3, 8192, 1, 3)
    assert (whole.first_sent, whole.last_answer) == (1.0, 7.0)
    assert whole.failed == {0xC0000022: 3} and whole.latencies == {100: 2}
    assert whole.operations == {"echoes": 4}


def test_a_total_may_be_taken_while_a_lane_counts() -> None:
    tally, over = Tally(), threading.Event()

    def count() -> None:
        for status in range(200_000):
            tally.failed[status] += 1
        over.set()

    thread = threading.Thread(target=count)
    thread.start()
    seen = [0]
    while not over.is_set():
        seen.append(total([tally]).failures)
    thread.join()
    assert seen == sorted(seen) and total([tally]).failures == 200_000
