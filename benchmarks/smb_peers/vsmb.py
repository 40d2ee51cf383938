"""vsmb, a client in Rust: `depth` places a call. For each it sends CREATE, then READ and CLOSE as a compound.

Its other calls are slower for small READs: they ask for the file's length before each. It signs always.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from vsmb import SmbClient

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import read_for_a_while


def main(job: Job) -> None:
    with SmbClient(f"{job.host}:{job.port}", job.share, job.user, job.password) as client:
        read_for_a_while(job, lengths(job, client), f"{client.smb_dialect():#06x}")


def lengths(job: Job, client: SmbClient) -> Iterator[int]:
    offsets = job.offsets()
    files = [f"/{job.file}"] * job.depth
    while True:
        starts = list(islice(offsets, job.depth))
        answers, errors = client.read_many(files, starts, [start + job.size for start in starts])
        if errors:
            raise SystemExit(f"vsmb: {errors}")
        for data in answers:
            yield len(data)


if __name__ == "__main__":
    main(the_job())
