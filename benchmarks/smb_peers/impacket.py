"""impacket: one READ at a time, which is all it can do.

Over SMB 3 it encrypts everything, asked or not; what is to go unencrypted goes over 2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from impacket.smb3structs import SMB2_DIALECT_21, SMB2_DIALECT_311
from impacket.smbconnection import SMBConnection

from benchmarks.smb_peers.job import Job, the_job
from benchmarks.smb_peers.meter import read_for_a_while


def main(job: Job) -> None:
    dialect = SMB2_DIALECT_311 if job.protection == "sealed" else SMB2_DIALECT_21
    connection = SMBConnection(job.host, job.host, sess_port=job.port, preferredDialect=dialect)
    connection.login(job.user, job.password)
    tree = connection.connectTree(job.share)
    file = connection.openFile(tree, job.file, desiredAccess=0x00120089)
    read_for_a_while(job, lengths(job, connection, tree, file), f"{connection.getDialect():#06x}")
    connection.close()


def lengths(job: Job, connection: Any, tree: Any, file: Any) -> Iterator[int]:
    for offset in job.offsets():
        yield len(connection.readFile(tree, file, offset, job.size))


if __name__ == "__main__":
    main(the_job())
