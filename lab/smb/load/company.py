"""All connections of a load together: lost ones are made again, until the target is dead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from lab.model import LabError
from lab.smb.errors import Unreachable
from lab.smb.load.places import Place
from lab.smb.load.tally import Tally

MOST_TRIES = 10
"""Failed tries in a row to make a connection again while others stand."""
MOST_REFUSALS = 3
"""The same where the server answers, and says no: it may just be starting."""
RECONNECT_SECONDS = 1.0
ALL_LOST = "loss of all connections"
"""Its name among the operations of a load: some were made again, and no other boot is known to answer."""
TOGETHER_SECONDS = 5.0
"""Connections lost within so long of the first were lost together, though some may be back by then."""
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0

Open = Callable[[Place, float], None]


class Company:
    """What is known of the server by all places. Any thread may use it."""

    def __init__(
        self,
        places: Sequence[Place],
        open: Open,
        over: threading.Event,
        *,
        now: Callable[[], float],
        restarted: Callable[[], bool | None] | None = None,
    ) -> None:
        self.places = places
        self.reconnects = 0
        self.died_at: float | None = None
        self.trouble = ""
        """What ended the connection that was lost last."""
        self.losses = Tally()
        """Its operations count how often all connections were lost."""
        self._open, self._over, self._now, self._restarted = open, over, now, restarted
        self._lock = threading.Lock()
        self._first_loss = -TOGETHER_SECONDS
        self._standing: set[int] = set()  # that stood at the first loss, and have not been lost since
        self._all_lost_at: float | None = None  # the last sign of life before

    @property
    def heard(self) -> float:
        """When the server last sent anything."""
        return max(place.heard for place in self.places)

    @property
    def given_up(self) -> list[str]:
        return [place.given_up for place in self.places if place.given_up]

    def declare_dead(self, heard: float) -> None:
        """The target is gone; `heard` was its last sign of life. Ends the load."""
        self.died_at = heard
        self._over.set()
        for place in self.places:
            place.cut()

    def lost(self, place: Place, error: LabError) -> None:
        """A place's lane has failed."""
        now = self._now()
        place.trouble = self.trouble = error.message
        place.bury(now)
        with self._lock:
            if now - self._first_loss > TOGETHER_SECONDS:
                self._first_loss = now
                self._standing = {each.index for each in self.places if each.alive}
            self._standing.discard(place.index)
            if not self._standing:
                self._all_lost_at = max(each.last_heard for each in self.places)

    def make_again(self, place: Place) -> bool:
        """Connect again after a loss. False when there is no use in it: the load is over, the target is dead,
        or this connection cannot be had any more."""
        refusals = 0
        while not self._over.wait(self._wait(place)):
            if place.failed_tries >= MOST_TRIES and any(each.alive for each in self.places):
                return self._give_up(place, place.trouble)
            place.failed_tries += 1  # until it has stood for a while
            try:
                self._open(place, RECONNECT_SECONDS)
            except Unreachable as error:
                place.trouble = error.message
            except LabError as error:
                refusals += 1
                if refusals >= MOST_REFUSALS:
                    return self._give_up(place, error.message)
            else:
                return self._back(place)
        return False

    def _wait(self, place: Place) -> float:
        """The first try is made at once."""
        return min(_FIRST_WAIT * float(2**place.failed_tries - 1), _LONGEST_WAIT)

    def _give_up(self, place: Place, why: str) -> bool:
        place.given_up = why
        if all(each.given_up for each in self.places):
            self._over.set()
        return False

    def _back(self, place: Place) -> bool:
        """A connection is made again: was it another boot of the machine that answered?"""
        with self._lock:
            self.reconnects += 1
            heard, self._all_lost_at = self._all_lost_at, None
            if heard is None:
                return True
            self._first_loss = -TOGETHER_SECONDS  # what is lost from now on is another matter
            if self._restarted is None or not self._restarted():
                self.losses.operations[ALL_LOST] += 1
                return True
        self.declare_dead(heard)
        return False
