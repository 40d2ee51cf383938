"""Our remote file as a stream, once from end to end to /dev/null, like smbclient's `get FILE /dev/null`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import Meter
from benchmarks.smb_peers.our_security import our_target
from lab.smb.share import connect


def main(job: Job) -> None:
    with connect(our_target(job), job.share) as share, Path("/dev/null").open("wb", buffering=0) as nowhere:
        meter = Meter(job)
        meter.start()
        pieces = total = 0
        with share.open(job.file) as file:
            for piece in file.stream(0, file.length):
                total += nowhere.write(piece) or 0
                pieces += 1
        meter.stop(pieces, total)


if __name__ == "__main__":
    main(the_job())
