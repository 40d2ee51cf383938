"""The file that a load reads."""

from __future__ import annotations

import random

from lab.smb.errors import NotThere
from lab.smb.legacy.session import connect
from lab.smb.target import SmbTarget

NAME = "bugcheck-lab.bin"
LENGTH = 4 << 20
BLOCK = 4096
"""READs are of one block, at a multiple of it: unbuffered READs must be (MS-FSA 2.1.5.3)."""


def content() -> bytes:
    """The file's bytes: always the same, and not compressible."""
    return random.Random(NAME).randbytes(LENGTH)


def prepare(target: SmbTarget, *, seconds: float = 10.0) -> None:
    """See that the data share holds the file in its full length; write it when not."""
    with connect(target, target.data_share, seconds=seconds) as share:
        try:
            if share.stat(NAME).length == LENGTH:
                return
        except NotThere:
            pass
        with share.create(NAME) as file:
            file.write_at(0, content())
