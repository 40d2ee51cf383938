"""pysmb: one READ at a time, and for each it opens and closes the file.

`easy` reads in order instead: stretches of 1,000 READs, for each of which it opens the file once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smb.SMBConnection import SMBConnection

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import read_for_a_while

STRETCH = 1000


class Pieces:
    """A file to write to that keeps the lengths of what is written."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def write(self, data: bytes) -> None:
        self.lengths.append(len(data))


def main(job: Job) -> None:
    sign = SMBConnection.SIGN_NEVER if job.protection == "none" else SMBConnection.SIGN_WHEN_SUPPORTED
    connection = SMBConnection(
        job.user, job.password, "bench", job.host, use_ntlm_v2=True, sign_options=sign, is_direct_tcp=True
    )
    if not connection.connect(job.host, job.port):
        raise SystemExit("pysmb could not log on")
    connection.max_read_size = job.size  # how large a READ it makes
    read_for_a_while(job, lengths(job, connection))
    connection.close()


def lengths(job: Job, connection: Any) -> Iterator[int]:
    stretch = min(STRETCH, job.length // job.size)
    pieces = Pieces()
    for offset in job.offsets():
        if job.easy:
            connection.retrieveFileFromOffset(job.share, job.file, pieces, 0, stretch * job.size)
        else:
            connection.retrieveFileFromOffset(job.share, job.file, pieces, offset, job.size)
        yield from pieces.lengths
        pieces.lengths.clear()


if __name__ == "__main__":
    main(the_job())
