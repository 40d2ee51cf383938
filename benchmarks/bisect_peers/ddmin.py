"""Delta debugging by picire itself; each of its tests is as many soaks as make 95 % right, p known.

Idealised in its favour: picire asserts before every round that what is left still crashes, and would give up
when a flaky crash does not come; here that question costs nothing and is answered with yes. What it takes for
passed stays so: its cache never asks again.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from picire import DD, ConfigCache, Outcome
from picire.abstract_dd import AbstractDD

from benchmarks.bisect_peers.halving import steps
from benchmarks.bisect_peers.meter import WRONG, Found, Meter, Told, World
from benchmarks.bisect_peers.predicates import repeats, some


def ddmin(world: World, told: Told) -> Found:
    meter = Meter(world, told)
    times = repeats(told.p, steps(len(told.names)), WRONG)
    if told.hosts > 1:
        return meter.found(_Hosts(meter, times)(list(told.names)))
    crashes = some(meter, times)

    def test(config: Sequence[str], config_id: tuple[str, ...]) -> Any:
        return Outcome.FAIL if "assert" in config_id or crashes(config) else Outcome.PASS

    return meter.found(DD(test, cache=ConfigCache())(list(told.names)))


class _Hosts(AbstractDD):  # type: ignore[misc]
    """Its parallel form on simulated hosts: a test a host, none after the first crash, wait for all."""

    def __init__(self, meter: Meter, times: int) -> None:
        super().__init__(None, cache=ConfigCache())
        self._meter = meter
        self._times = times

    def _test_config(self, config: list[str], config_id: tuple[str, ...]) -> Any:
        return Outcome.FAIL  # only the question before each round comes here

    def _reduce_config(self, run: int, subsets: list[list[str]], complement_offset: float) -> Any:
        found = self._round(subsets)
        if found is not None:
            return [subsets[found]], 0
        order = [int((at + complement_offset) % len(subsets)) for at in range(len(subsets))]
        rests = [[unit for at, part in enumerate(subsets) if at != left for unit in part] for left in order]
        found = self._round(rests)
        if found is None:
            return None, complement_offset
        left = order[found]
        return subsets[:left] + subsets[left + 1 :], left

    def _round(self, configs: Sequence[list[str]]) -> int | None:
        """The number of a configuration that crashed. Costs the time until the last host is done."""
        meter, began = self._meter, self._meter.wall
        idle = [(0.0, host) for host in range(meter.told.hosts)]
        crash: tuple[float, int] | None = None
        ended = 0.0
        for number, config in enumerate(configs):
            now, host = heapq.heappop(idle)
            if crash and now >= crash[0]:
                break
            known = self._cache.lookup(config)
            if known is Outcome.FAIL:
                crash = min(crash or (now, number), (now, number))
                break
            took = 0.0
            if known is None:
                crashed, took = self._soaks(config, host)
                self._cache.add(config, Outcome.FAIL if crashed else Outcome.PASS)
                if crashed:
                    crash = min(crash or (now + took, number), (now + took, number))
            heapq.heappush(idle, (now + took, host))
            ended = max(ended, now + took)
        meter.wall = began + ended
        return crash[1] if crash else None

    def _soaks(self, config: Sequence[str], host: int) -> tuple[bool, float]:
        spent = 0.0
        for _ in range(self._times):
            crashed, took = self._meter.elsewhere(config, host)
            spent += took
            if crashed:
                return True, spent
        return False, spent
