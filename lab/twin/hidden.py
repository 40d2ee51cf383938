"""What only the twin knows until the verdict: the culprit, and how it misbehaves.

Everything here follows from the seed and from what was planted by name. Nothing of it is written to a
file, sent over a wire or put in a log; `commitment` binds the twin to it beforehand.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lab.twin.catalogue import FEWEST, can_be_planted, check_plantable, drivers
from lab.twin.driver import CatalogueDriver, Kind
from lab.twin.untraced import Untraced, hide

_KIND_WEIGHTS = {Kind.MINIFILTER: 5, Kind.CLASS_FILTER: 3, Kind.OTHER: 2}


@dataclass(frozen=True, repr=False)
class Leak:
    """A culprit that leaves APCs disabled, with this `probability`, on the worker thread that serves a READ.

    `inlined`: its calls were inlined, so Driver Verifier's thunks never see them.
    """

    culprit: CatalogueDriver
    inlined: bool
    probability: float


@dataclass(frozen=True, repr=False)
class Hidden:
    """`attached`: services of the third-party minifilters with an instance on the data volume."""

    defect: Leak | Untraced
    attached: frozenset[str]
    salt: str

    @property
    def culprits(self) -> str:
        """Service names, joined by "+"; none when the crash comes whatever runs."""
        defect = self.defect
        return defect.culprit.service if isinstance(defect, Leak) else "+".join(defect.culprits)

    def unbootable(self, running: frozenset[str]) -> bool:
        """Windows does not start with just these services."""
        unbootable = self.defect.unbootable if isinstance(self.defect, Untraced) else None
        return unbootable is not None and unbootable.holds(running)

    @property
    def commitment(self) -> str:
        """SHA-256 of culprits and salt, in hexadecimal."""
        return commitment(self.culprits, self.salt)


def commitment(culprit: str, salt: str) -> str:
    """What a revealed culprit and salt must give: SHA-256 of one after the other, UTF-8."""
    return hashlib.sha256((culprit + salt).encode()).hexdigest()


def choose(
    build: int, seed: int, culprit: str | None, inlined: bool | None, third_party: int = FEWEST
) -> Hidden:
    """A leak. Raises ConfigurationError when `culprit` names no driver that can be planted."""
    all_drivers = {driver.service: driver for driver in drivers(build, third_party)}
    allowed = {name.casefold(): driver for name, driver in all_drivers.items() if can_be_planted(driver)}
    random = Random(f"{seed}/culprit")
    kind = random.choices(list(_KIND_WEIGHTS), weights=list(_KIND_WEIGHTS.values()))[0]
    chosen = random.choice([driver for driver in allowed.values() if driver.kind is kind])
    if culprit is not None:
        check_plantable(build, culprit, third_party)
        chosen = allowed[culprit.casefold()]
    leak = Leak(
        culprit=chosen,
        inlined=Random(f"{seed}/inlined").random() < 0.5 if inlined is None else inlined,
        probability=Random(f"{seed}/leak").uniform(0.005, 0.010),
    )
    return Hidden(leak, _attached(chosen.service, all_drivers, seed), secrets.token_hex(16))


def choose_untraced(
    build: int, seed: int, plots: Sequence[str], hidden_seed: int, half_life: float, third_party: int = FEWEST
) -> Hidden:
    """Crashes without a trace, by `hidden_seed` alone (see `hide`).

    What is on the data volume is `seed`'s choice, as all of the machine, and says nothing of who causes them.
    Raises ConfigurationError for plots that make no sense.
    """
    all_drivers = {driver.service: driver for driver in drivers(build, third_party)}
    candidates = [driver for driver in all_drivers.values() if can_be_planted(driver)]
    untraced = hide(plots, hidden_seed, half_life, candidates)
    return Hidden(untraced, _attached(None, all_drivers, seed), secrets.token_hex(16))


def _attached(culprit: str | None, all_drivers: dict[str, CatalogueDriver], seed: int) -> frozenset[str]:
    """Two or three minifilters share the data volume, so that naming the volume does not name the culprit."""
    minifilters = sorted(d.service for d in all_drivers.values() if d.kind is Kind.MINIFILTER)
    random = Random(f"{seed}/attached")
    count = random.choice((2, 3))
    random.shuffle(minifilters)
    if culprit in minifilters:
        minifilters.remove(culprit)
        return frozenset([culprit, *minifilters[: count - 1]])
    return frozenset(minifilters[:count])
