"""aiosmb: a coroutine for each READ in flight.

It lets one READ of an open file finish before the next begins; `easy` opens the file once for each coroutine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from aiosmb.commons.connection.factory import SMBConnectionFactory
from aiosmb.commons.interfaces.file import SMBFile

from benchmarks.smb_peers.job import WARM_UP, Job, the_job
from benchmarks.smb_peers.meter import Meter


class Count:
    reads = bytes = 0


async def main(job: Job) -> None:
    url = f"smb2+ntlm-password://{job.user}:{job.password}@{job.host}:{job.port}"
    connection = SMBConnectionFactory.from_url(url).get_connection(nosign=job.protection != "signed")
    _ok(await connection.login())
    handles = []
    for _ in range(job.depth if job.easy else 1):
        file = SMBFile.from_uncpath(rf"\\{job.host}\{job.share}\{job.file}")
        _ok(await file.open(connection, "r"))
        handles.append((file.tree_id, file.file_id))
    count, offsets = Count(), job.offsets()
    tasks = [
        asyncio.create_task(read(job, connection, handle, offsets, count))
        for handle in islice(cycle(handles), job.depth)
    ]
    await asyncio.sleep(WARM_UP)
    meter = Meter(job, f"{connection.selected_dialect.value:#06x}")
    reads, total = count.reads, count.bytes
    meter.start()
    await asyncio.sleep(job.seconds)
    meter.stop(count.reads - reads, count.bytes - total)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connection.disconnect()


async def read(
    job: Job, connection: Any, handle: tuple[int, int], offsets: Iterator[int], count: Count
) -> None:
    tree, file = handle
    while True:
        data, _, error = await connection.read(tree, file, next(offsets), job.size)
        if error is not None:
            raise error
        count.reads += 1
        count.bytes += len(data)


def _ok(answer: tuple[Any, Exception | None]) -> None:
    if answer[-1] is not None:
        raise answer[-1]


if __name__ == "__main__":
    asyncio.run(main(the_job()))
