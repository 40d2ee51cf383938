"""What a machine's hypervisor or controller saw of a bugcheck, for stops of which the guest has nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lab.machines import OutOfBandStop, Witness
from lab.model import Bugcheck, EntryKind, LabError
from lab.trials.bench import Bench

BACK = timedelta(days=1)
"""Clocks of hypervisors may differ from ours by less than this: what is new is told by comparing."""


class Outside:
    """Made before a load, it knows afterwards what is new. A machine that is no witness saw nothing."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._since = datetime.now(UTC) - BACK
        before = self._stops()
        self._before = None if before is None else {_same(each) for each in before}

    def stop(self) -> OutOfBandStop | None:
        """The last new bugcheck; of code 0 when it is only known that there was one."""
        now = self._stops()
        if now is None or self._before is None:
            return None  # what is not compared may be of another trial
        new = [each for each in now if _same(each) not in self._before]
        known = [each for each in new if each.bugcheck.code]
        return next(reversed(known or new), None)

    def _stops(self) -> tuple[OutOfBandStop, ...] | None:
        machine = self._bench.machine
        if not isinstance(machine, Witness):
            return ()
        try:
            return machine.stops(self._since)
        except LabError as error:  # a trial does not need it
            self._bench.tell(EntryKind.WARNING, f"no look from outside of the guest: {error.message}")
            return None


def _same(stop: OutOfBandStop) -> tuple[datetime, Bugcheck]:
    """A log has another name once the machine was powered on again."""
    return stop.at, stop.bugcheck
