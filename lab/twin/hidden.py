"""What only the twin knows until the verdict: the culprit, and how it misbehaves.

Everything here follows from the seed and from what was planted by name. Nothing of it is written to a
file, sent over a wire or put in a log; `commitment` binds the twin to it beforehand.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from random import Random

from lab.twin.catalogue import check_plantable, drivers, plantable
from lab.twin.driver import CatalogueDriver, Kind

_KIND_WEIGHTS = {Kind.MINIFILTER: 5, Kind.CLASS_FILTER: 3, Kind.OTHER: 2}


@dataclass(frozen=True, repr=False)
class Hidden:
    """`leak` is the probability that one READ leaves APCs disabled on its worker thread.

    `inlined`: the culprit's calls were inlined, so Driver Verifier's thunks never see them.
    `attached`: services of the third-party minifilters with an instance on the data volume.
    """

    culprit: CatalogueDriver
    inlined: bool
    leak: float
    attached: frozenset[str]
    salt: str

    @property
    def commitment(self) -> str:
        """SHA-256 of culprit and salt, in hexadecimal."""
        return commitment(self.culprit.service, self.salt)


def commitment(culprit: str, salt: str) -> str:
    """What a revealed culprit and salt must give: SHA-256 of one after the other, UTF-8."""
    return hashlib.sha256((culprit + salt).encode()).hexdigest()


def choose(build: int, seed: int, culprit: str | None, inlined: bool | None) -> Hidden:
    """Raises ConfigurationError when `culprit` names no driver that can be planted."""
    all_drivers = {driver.service: driver for driver in drivers(build)}
    allowed = {entry["service"].casefold(): all_drivers[entry["service"]] for entry in plantable(build)}
    random = Random(f"{seed}/culprit")
    kind = random.choices(list(_KIND_WEIGHTS), weights=list(_KIND_WEIGHTS.values()))[0]
    chosen = random.choice([driver for driver in allowed.values() if driver.kind is kind])
    if culprit is not None:
        check_plantable(build, culprit)
        chosen = allowed[culprit.casefold()]
    return Hidden(
        culprit=chosen,
        inlined=Random(f"{seed}/inlined").random() < 0.5 if inlined is None else inlined,
        leak=Random(f"{seed}/leak").uniform(0.005, 0.010),
        attached=_attached(chosen, all_drivers, seed),
        salt=secrets.token_hex(16),
    )


def _attached(culprit: CatalogueDriver, all_drivers: dict[str, CatalogueDriver], seed: int) -> frozenset[str]:
    """Two or three minifilters share the data volume, so that naming the volume does not name the culprit."""
    minifilters = sorted(d.service for d in all_drivers.values() if d.kind is Kind.MINIFILTER)
    random = Random(f"{seed}/attached")
    count = random.choice((2, 3))
    random.shuffle(minifilters)
    if culprit.service in minifilters:
        minifilters.remove(culprit.service)
        return frozenset([culprit.service, *minifilters[: count - 1]])
    return frozenset(minifilters[:count])
