"""Is the target dead, is one of its connections stuck, has our session ended? Looked at from outside.

A machine at its blue screen closes nothing and answers nothing; a killed server closes all connections. A
stopped process is the hard case: the kernel still takes connections for it. So a server is alive only when it
answers the choice of a dialect, which needs no log-on and no worker that waits for storage.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.smb.dial import open_connection
from lab.smb.errors import Unreachable
from lab.smb.load.company import Company
from lab.smb.load.places import Place
from lab.smb.ntstatus import (
    STATUS_CONNECTION_DISCONNECTED,
    STATUS_FILE_CLOSED,
    STATUS_NETWORK_NAME_DELETED,
    STATUS_NETWORK_SESSION_EXPIRED,
    STATUS_USER_SESSION_DELETED,
)
from lab.smb.target import SmbTarget

SILENCE_SECONDS = 0.9
"""Silence of all connections, while answers are owed, after which the server is asked for a sign of life."""
KNOCK_SECONDS = 0.9
"""How long it may take to give one. A death is thus told within 2 s of the last answer."""
GRACE_SECONDS = 1.5
"""A server that refuses connections is dead after so long: one that is started anew may be back before."""
STUCK_SECONDS = 15.0
"""Silence of one connection that owes answers, while the server is alive, after which it is made anew."""

ENDED = frozenset(
    {
        STATUS_NETWORK_NAME_DELETED,  # the share is gone
        STATUS_USER_SESSION_DELETED,
        STATUS_NETWORK_SESSION_EXPIRED,
        STATUS_FILE_CLOSED,
        STATUS_CONNECTION_DISCONNECTED,
    }
)
"""NTSTATUS values that a READ gets for ever once its file, share or session has ended."""


def answers(target: SmbTarget) -> bool:
    """Whether the server speaks, whatever it says."""
    try:
        open_connection(target.host, target.port, target.security, seconds=KNOCK_SECONDS).close()
    except Unreachable:
        return False
    except Exception:  # an answer that we do not like is a sign of life
        return True
    return True


class Watch:
    """Call `look` often, with the clock's time."""

    def __init__(self, company: Company, knock: Callable[[], bool], now: Callable[[], float]) -> None:
        """`knock` tells whether the server speaks; it takes KNOCK_SECONDS at most."""
        self._company, self._knock, self._now = company, knock, now
        self._vouched = 0.0  # when a knock was last answered

    def look(self, now: float) -> None:
        """Declare the target dead when it is; break connections that are of no more use."""
        for place in self._company.places:
            if _ended(place) or self._stuck(place, now):
                place.cut()
        if now - self._last_sign < SILENCE_SECONDS or not self._awaited():
            return
        if self._knock():
            self._vouched = self._now()
        elif self._now() - self._last_sign >= GRACE_SECONDS:
            self._company.declare_dead(self._last_sign)

    def last_look(self) -> None:
        """All is over: did the target die in the very last moment, when nobody had to connect again?"""
        company = self._company
        lost = [place for place in company.places if not place.alive and not place.given_up]
        owing = [place for place in company.places if place.owed]
        if (lost or owing) and company.died_at is None and not self._knock():
            company.declare_dead(self._last_sign)

    @property
    def _last_sign(self) -> float:
        """When the server last showed that it is alive."""
        return max(self._company.heard, self._vouched)

    def _awaited(self) -> bool:
        """Whether anything should be heard: answers are owed, or there is no connection left."""
        places = self._company.places
        return any(place.owed for place in places) or not any(place.alive for place in places)

    def _stuck(self, place: Place, now: float) -> bool:
        if not place.owed:
            place.owes_nothing_at = now
            return False
        return now - max(place.heard, place.owes_nothing_at) >= STUCK_SECONDS


def _ended(place: Place) -> bool:
    lane = place.lane
    return lane is not None and lane.alive and any(lane.tally.failed[status] for status in ENDED)
