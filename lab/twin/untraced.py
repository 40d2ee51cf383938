"""Crashes that no dump explains: they come by chance under READ load while certain drivers run together.

The dump is that of any STOP 0x20: a worker thread ends with APCs disabled, long after the call that did it.
Driver Verifier sees nothing of it either. Only which drivers ran, and for how long, tells who did it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from random import Random

from lab.model import ConfigurationError
from lab.twin.driver import CatalogueDriver

SOAKS_TO_UNRELATED = 34
"""How much rarer the unrelated crash is: one in 50 soaks in which the defect crashes every other time."""

_AFFLICTED = 0.5  # lottery: share of boots in which the defect is there at all
_SOONER = 5.0  # and how much sooner it then crashes, so that a soak tells the boots apart


class Plot(StrEnum):
    """What can be hidden. One that says who crashes; the last two go with any of them."""

    SINGLE = "random-single"  # one driver
    PAIR = "random-pair"  # two drivers, only when both run
    TRIPLE = "random-triple"  # three drivers, only when all run
    EITHER = "random-either"  # two drivers, each by itself
    LOTTERY = "random-lottery"  # one driver; each boot crashes soon or never
    SYSTEM = "system"  # whatever runs
    UNRELATED = "unrelated"  # beside it a rare crash that looks the same, whatever runs
    NO_BOOT = "no-boot"  # and one driver with which Windows does not start unless one of two others runs


_EXTRA = frozenset({Plot.UNRELATED, Plot.NO_BOOT})
_CULPRITS = {Plot.SINGLE: 1, Plot.PAIR: 2, Plot.TRIPLE: 3, Plot.EITHER: 2, Plot.LOTTERY: 1, Plot.SYSTEM: 0}


@dataclass(frozen=True, repr=False)
class Unbootable:
    """With `driver`, but neither of `others`, Windows does not start. No dependency of a service says so."""

    driver: str
    others: tuple[str, str]

    def holds(self, running: frozenset[str]) -> bool:
        return self.driver in running and not running.intersection(self.others)


@dataclass(frozen=True, repr=False)
class Untraced:
    """`half_life` is the seconds of load in which one of two boots crashes, while the defect is there."""

    plot: Plot
    culprits: tuple[str, ...]
    half_life: float
    unrelated: bool
    unbootable: Unbootable | None

    def rate(self, running: frozenset[str], boot: Random) -> float:
        """Crashes a second of load of one boot with these services; `boot` is its source of chance."""
        rate = math.log(2) / self.half_life
        unrelated = rate / SOAKS_TO_UNRELATED if self.unrelated else 0.0
        if self.plot is Plot.LOTTERY:
            rate *= _SOONER if boot.random() < _AFFLICTED else 0.0
        present = [name in running for name in self.culprits]
        acting = sum(present) if self.plot is Plot.EITHER else int(all(present))
        return unrelated + acting * rate


def hide(
    plots: Sequence[str], seed: int, half_life: float, candidates: Sequence[CatalogueDriver]
) -> Untraced:
    """What these plots come to, chosen among the candidates by the seed alone.

    Raises ConfigurationError for a name that is no plot, and unless one of them says who crashes.
    """
    chosen = {_plot(name) for name in plots}
    plot = chosen - _EXTRA
    if len(plot) != 1 or half_life <= 0:
        names = ", ".join(str(each) for each in Plot if each not in _EXTRA)
        raise ConfigurationError(
            f"the twin cannot hide {' and '.join(plots)} with a half-life of {half_life:g} s",
            help=f"Choose one of {names}, and a half-life of more than 0 s.",
        )
    (who,) = plot
    random = Random(f"{seed}/untraced")
    culprits = _apart(candidates, _CULPRITS[who], random)
    others = [driver for driver in candidates if driver.service not in culprits]
    unbootable = _unbootable(others, random) if Plot.NO_BOOT in chosen else None
    return Untraced(who, tuple(sorted(culprits)), half_life, Plot.UNRELATED in chosen, unbootable)


def _plot(name: str) -> Plot:
    try:
        return Plot(name)
    except ValueError:
        raise ConfigurationError(
            f"the twin cannot hide {name!r}", help=f"Choose among {', '.join(Plot)}."
        ) from None


def _unbootable(candidates: Sequence[CatalogueDriver], random: Random) -> Unbootable:
    driver, first, second = _apart(candidates, 3, random)
    return Unbootable(driver, (first, second))


def _apart(candidates: Sequence[CatalogueDriver], count: int, random: Random) -> list[str]:
    """So many of them, none of which needs another: a driver and one that it needs cannot be told apart."""
    needs = {driver.service: set(driver.depends_on) for driver in candidates}
    while True:
        names = random.sample(sorted(needs), count)
        if not any(a in needs[b] or b in needs[a] for a, b in combinations(names, 2)):
            return names


class Fuse:
    """When a boot crashes: after so many seconds under load, drawn at its start. Without memory.

    A load lasts from the first READ of a connection until that connection ends, rests in between included.
    Not thread-safe: the machine's lock guards it. Times are guest seconds.
    """

    def __init__(self, rate: float, random: Callable[[], float]) -> None:
        """`rate` in crashes a guest second."""
        self._left = -math.log(1.0 - random()) / rate if rate > 0 else math.inf
        self._loads: set[int] = set()
        self._seen = 0.0

    def read(self, connection: int, now: float) -> None:
        """A READ of that connection is served."""
        if connection not in self._loads:
            self.burnt(now)
            self._loads.add(connection)

    def ended(self, connection: int, now: float) -> None:
        """That connection is no more."""
        self.burnt(now)
        self._loads.discard(connection)

    def burnt(self, now: float) -> bool:
        """Whether the boot has come to its crash; to be asked often, with times that never go back."""
        if self._loads:
            self._left -= now - self._seen
        self._seen = now
        return self._left <= 0.0
