"""What a client is asked to do."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

WARM_UP = 0.3
"""Seconds of reading before anything is counted."""


@dataclass(frozen=True)
class Job:
    """READs of `size` bytes at random places of a file of `length`, `depth` in flight, for `seconds`.

    `protection` is "none", "signed" (with every answer verified) or "sealed" (SMB3 encryption). `server` is
    the process id of the server whose CPU time is taken too; 0: none. `easy` asks for what makes READs
    cheapest with a client that is not made for many READs at random places of one open file. `compound`
    READs go in one message, where the client can. `folder` is where a copy goes.
    """

    port: int
    user: str
    password: str
    share: str
    file: str
    length: int
    size: int
    depth: int
    seconds: float
    protection: str = "none"
    server: int = 0
    easy: bool = False
    compound: int = 1
    folder: str = ""
    host: str = "127.0.0.1"

    def offsets(self) -> Iterator[int]:
        """Multiples of `size` in an order by chance, the same for every client; never ends."""
        places = list(range(0, self.length - self.size + 1, self.size))
        random.Random(1).shuffle(places)
        return cycle(places)


def the_job() -> Job:
    """The job on the command line."""
    return Job(**json.loads(sys.argv[1]))
