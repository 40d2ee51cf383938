"""pike: READs kept in flight through its futures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from pike import model, smb2

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import read_for_a_while


def main(job: Job) -> None:
    required = smb2.SMB2_NEGOTIATE_SIGNING_ENABLED | smb2.SMB2_NEGOTIATE_SIGNING_REQUIRED
    mode = required if job.protection == "signed" else smb2.SMB2_NEGOTIATE_SIGNING_ENABLED
    connection = model.Client(security_mode=mode).connect(job.host, job.port).negotiate()
    channel = connection.session_setup(f"WORKGROUP\\{job.user}%{job.password}")
    tree = channel.tree_connect(job.share)
    file = channel.create(
        tree, job.file, access=smb2.GENERIC_READ, share=1, disposition=smb2.FILE_OPEN
    ).result()
    dialect = int(connection.negotiate_response.dialect_revision)
    read_for_a_while(job, lengths(job, channel, file), f"{dialect:#06x}")
    connection.close()


def lengths(job: Job, channel: Any, file: Any) -> Iterator[int]:
    flying: deque[Any] = deque()
    for offset in job.offsets():
        request = channel.read_request(file, job.size, offset).parent.parent
        flying.append(channel.connection.submit(request)[0])
        if len(flying) == job.depth:
            yield len(flying.popleft().result()[0].data)


if __name__ == "__main__":
    main(the_job())
