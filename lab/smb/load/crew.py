"""The threads of a load: one a connection, or one for very many of them, and one a disturbance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from lab.model import LabError
from lab.smb.load.company import Company
from lab.smb.load.disturb import Disturber
from lab.smb.load.engine import THREADS, Pace, Step, drive, drive_all
from lab.smb.load.lane import Lane
from lab.smb.load.pacing import LanePace
from lab.smb.load.places import Place
from lab.smb.profiles import Schedule, Work

LEAD_SECONDS = 0.05
"""Between the start of the threads and that of the load, so that all lanes begin together."""
ECHO_EVERY = 0.3
"""Seconds between two signs of life that are asked for while nothing is read."""


class Crew:
    """`start` it once, `join` it once `over` is set. `defects` are errors that no load should meet."""

    def __init__(
        self,
        company: Company,
        schedule: Schedule,
        work: Work,
        over: threading.Event,
        *,
        now: Callable[[], float],
    ) -> None:
        self._company, self._schedule, self._work = company, schedule, work
        self._over, self._now = over, now
        self._threads: list[threading.Thread] = []
        self._paces: list[Pace] = []
        self.defects: list[BaseException] = []

    def start(self, disturbers: Sequence[Disturber]) -> float:
        """Returns the time at which the load begins."""
        places = self._company.places
        start = self._now() + LEAD_SECONDS + 0.001 * len(places)
        self._paces = [
            _Pulse(
                LanePace(self._schedule, place.index, len(places), start=start, sent=lambda p=place: p.sent),  # type: ignore[misc]
                place,
                self._company,
            )
            for place in places
        ]
        if len(places) <= THREADS or self._work is Work.SESSIONS:
            for place in places:
                self._thread(f"load-{place.index}", lambda each=place: self._live(each))  # type: ignore[misc]
        else:
            self._thread("load-all", self._live_together)
        for disturber in disturbers:
            self._thread(
                f"load-{disturber.kind}".replace(" ", "-"),
                lambda each=disturber: each.run(self._over),  # type: ignore[misc]
            )
        return start

    def join(self) -> None:
        """Wait for all threads, also those that are started meanwhile."""
        while self._threads:
            self._threads.pop().join()

    def _thread(self, name: str, body: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                body()
            except Exception as error:  # the load must end and say so
                self.defects.append(error)
                self._over.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)  # whoever started it is waited for as well: none is missed

    def _live(self, place: Place) -> None:
        """A place's whole life in this thread."""
        while (lane := place.lane) is not None:
            try:
                drive(lane, self._paces[place.index], self._over, now=self._now)
                return
            except LabError as error:
                self._company.lost(place, error)
                self._company.make_again(place)

    def _live_together(self) -> None:
        """All places in this thread; one that is lost goes on in a thread of its own."""
        places = {id(place.lane): place for place in self._company.places}

        def lost(lane: Lane, error: LabError) -> None:
            place = places[id(lane)]
            self._company.lost(place, error)
            self._thread(f"load-{place.index}", lambda: self._again(place))

        lanes = [place.lane for place in self._company.places if place.lane is not None]
        drive_all(lanes, self._paces, self._over, now=self._now, on_error=lost)

    def _again(self, place: Place) -> None:
        if self._company.make_again(place):
            self._live(place)


class _Pulse:
    """A place's pace, which asks for a sign of life while nothing is wanted: a machine that dies then says
    nothing. One connection does so for all."""

    def __init__(self, pace: Pace, place: Place, company: Company) -> None:
        self._pace, self._place, self._company = pace, place, company
        self._next = 0.0

    def __call__(self, now: float) -> Step:
        step = self._pace(now)
        lane = self._place.lane
        if (step.in_flight and step.budget != 0) or lane is None or lane.owed or not self._chosen():
            return step
        if now >= self._next:
            lane.echo()
            self._next = now + ECHO_EVERY
        return step._replace(due=min(step.due, self._next - now))

    def _chosen(self) -> bool:
        return next((each for each in self._company.places if each.alive), None) is self._place
