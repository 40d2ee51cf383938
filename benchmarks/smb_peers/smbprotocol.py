"""smbprotocol: READs kept in flight through its low-level Open, as fast as it goes."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any

from smbprotocol import Dialects
from smbprotocol.connection import Connection
from smbprotocol.open import (
    CreateDisposition,
    CreateOptions,
    FilePipePrinterAccessMask,
    ImpersonationLevel,
    Open,
    ShareAccess,
)
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import read_for_a_while


def main(job: Job) -> None:
    connection = Connection(uuid.uuid4(), job.host, job.port, require_signing=job.protection != "none")
    # On 3.1.1 it sends TREE_CONNECT unsigned unless everything is signed, and the server refuses that.
    connection.connect(dialect=Dialects.SMB_3_0_2 if job.protection == "none" else None)
    session = Session(connection, job.user, job.password, require_encryption=job.protection == "sealed")
    session.connect()
    tree = TreeConnect(session, rf"\\{job.host}\{job.share}")
    tree.connect()
    file = Open(tree, job.file)
    file.create(
        ImpersonationLevel.Impersonation,
        FilePipePrinterAccessMask.GENERIC_READ,
        0,
        ShareAccess.FILE_SHARE_READ,
        CreateDisposition.FILE_OPEN,
        CreateOptions.FILE_NON_DIRECTORY_FILE,
    )
    read_for_a_while(job, lengths(job, connection, session, tree, file), f"{connection.dialect:#06x}")
    connection.disconnect(close=False)


def lengths(job: Job, connection: Any, session: Any, tree: Any, file: Any) -> Iterator[int]:
    flying: deque[Any] = deque()
    parse = None
    for offset in job.offsets():
        message, parse = file.read(offset, job.size, send=False)
        flying.append(connection.send(message, sid=session.session_id, tid=tree.tree_connect_id))
        if len(flying) == job.depth:
            yield len(parse(flying.popleft()))


if __name__ == "__main__":
    main(the_job())
