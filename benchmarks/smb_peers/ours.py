"""Our engine as a load drives it: one connection, one thread; what is signed or encrypted is verified.

It counts the bytes of an answer and hands them to nobody; `read_at` and `our_get` do hand them out.
"""

from __future__ import annotations

import threading
import time

from benchmarks.smb_peers.job import WARM_UP, Job, the_job
from benchmarks.smb_peers.meter import Meter
from benchmarks.smb_peers.our_security import our_target
from lab.smb.load.engine import Step, drive
from lab.smb.load.readlane import ReadLane
from lab.smb.load.tape import Reads
from lab.smb.share import connect


class Measuring:
    """A pace: always as many in flight as the job says. Counts from the end of the warm-up."""

    def __init__(self, job: Job, lane: ReadLane) -> None:
        self._job, self._tally, self._meter = job, lane.tally, Meter(job)
        self.over = threading.Event()
        self._started = False
        self._due = time.monotonic() + WARM_UP

    def __call__(self, now: float) -> Step:
        if now >= self._due and not self._started:
            self._started = True
            self._reads, self._bytes = self._tally.answered, self._tally.bytes_read
            self._due = now + self._job.seconds
            self._meter.start()
        elif now >= self._due and not self.over.is_set():
            self.over.set()
            self._meter.stop(self._tally.answered - self._reads, self._tally.bytes_read - self._bytes)
        return Step(self._job.depth, self._due - now)


def main(job: Job) -> None:
    with connect(our_target(job), job.share) as share, share.open(job.file) as file:
        lane = ReadLane(share, [file], Reads(size=job.size, seed=1, compound=job.compound), verify_every=1)
        pace = Measuring(job, lane)
        drive(lane, pace, pace.over)
        lane.finish()


if __name__ == "__main__":
    main(the_job())
