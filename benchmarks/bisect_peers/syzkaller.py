"""syzkaller's rule for a flaky bisection, on half of the suspects a step.

Ten soaks a step, twenty at the first one and for ever after one where less than half of them crashed. Bad:
at least two crashes and a sixth of the soaks; good: none. A lone crash decides nothing: the step is done
again, at most five times. Read in pkg/bisect of google/syzkaller.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bisect_peers.meter import Found, Meter, Told, World

SOAKS, FLAKY_SOAKS, AGAIN = 10, 20, 5


def syzkaller(world: World, told: Told) -> Found:
    search = _Search(Meter(world, told))
    left: Sequence[str] = told.names
    if not search.bad(left, FLAKY_SOAKS):
        return search.meter.found(())
    while len(left) > 1:
        half = left[: len(left) // 2]
        left = half if search.bad(half, SOAKS) else left[len(half) :]
    return search.meter.found(left)


class _Search:
    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.flaky = False

    def bad(self, on: Sequence[str], soaks: int) -> bool:
        crashes = 0
        for _ in range(AGAIN):
            wanted = FLAKY_SOAKS if self.flaky else soaks
            crashes = self._crashes(on, wanted)
            if crashes >= max(2, wanted // 6):
                self.flaky = self.flaky or crashes < wanted / 2
                return True
            if not crashes:
                return False
        return True

    def _crashes(self, on: Sequence[str], wanted: int) -> int:
        seen: list[bool] = []
        while len(seen) < wanted:
            seen += self.meter.together(on, wanted - len(seen))
        return sum(seen)
