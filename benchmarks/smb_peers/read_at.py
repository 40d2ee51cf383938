"""Our remote file, one READ at a time: what the reader of a dump does at a random place."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import read_for_a_while
from benchmarks.smb_peers.our_security import our_target
from lab.smb.share import connect


def main(job: Job) -> None:
    with connect(our_target(job), job.share) as share, share.open(job.file) as file:

        def lengths() -> Iterator[int]:
            for offset in job.offsets():
                yield len(file.read_at(offset, job.size))

        read_for_a_while(job, lengths())


if __name__ == "__main__":
    main(the_job())
