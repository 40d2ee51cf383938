"""The connections of a load, each through all its lives."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from lab.model import Clock, LoadPlan
from lab.smb.load.churn import ChurnLane
from lab.smb.load.fileset import FileSet
from lab.smb.load.lane import Lane
from lab.smb.load.readlane import ReadLane
from lab.smb.load.sessions import SessionLane
from lab.smb.load.tally import Tally, total
from lab.smb.load.tape import Reads
from lab.smb.load.transport import transport
from lab.smb.profiles import Profile, Work
from lab.smb.remote_file import RemoteFile
from lab.smb.share import Share, connect
from lab.smb.target import SmbTarget

SHORT_LIFE = 1.0
"""Seconds that a connection must have stood for its loss to be no sign of a server that drops them all."""
SESSION_SECONDS = 2.0
"""How long each step of a session that is made again and again may take."""


@dataclass
class Place:
    """One of a load's connections. Its own thread changes it, under `lock`; others look at it."""

    index: int
    lane: Lane | None = None
    share: Share | None = None
    files: list[RemoteFile] = field(default_factory=list)
    lives: int = 0
    failed_tries: int = 0  # in a row, to make it again; short lives count as such
    opened_at: float = 0.0
    trouble: str = ""  # what ended its last connection
    given_up: str = ""  # why it is not made again
    last_heard: float = 0.0  # of the lanes before
    owes_nothing_at: float = 0.0  # when it was last seen to owe nothing
    past: Tally = field(default_factory=Tally)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def alive(self) -> bool:
        lane = self.lane
        return lane is not None and lane.alive

    @property
    def heard(self) -> float:
        """When the server last sent anything here."""
        lane = self.lane
        return self.last_heard if lane is None else max(self.last_heard, lane.heard)

    @property
    def owed(self) -> int:
        lane = self.lane
        return lane.owed if lane is not None and lane.alive else 0

    @property
    def in_flight(self) -> int:
        lane = self.lane
        return lane.in_flight if lane is not None and lane.alive else 0

    def tallies(self) -> tuple[Tally, ...]:
        """The counts of all its lives."""
        with self.lock:
            return (self.past,) if self.lane is None else (self.past, self.lane.tally)

    @property
    def sent(self) -> int:
        return sum(tally.sent for tally in self.tallies())

    def bury(self, now: float) -> None:
        """The connection is lost: keep its counts, and drop what is left of it."""
        with self.lock:
            lane, share = self.lane, self.share
            if lane is not None:
                self.last_heard = max(self.last_heard, lane.heard)
                if lane.tally.answered and now - self.opened_at >= SHORT_LIFE:
                    self.failed_tries = 0
                self.past = total((self.past, lane.tally))
            self.lane = self.share = None
            self.files = []
        if share is not None:
            share.close(politely=False)

    def cut(self) -> None:
        """From another thread: break the connection, so that its thread finds it lost."""
        share = self.share
        if share is not None:
            with suppress(OSError):
                share.connection.socket.shutdown(socket.SHUT_RDWR)

    def close(self, *, politely: bool) -> None:
        """Close the file, log off and disconnect; at once when not `politely`. The counts stay."""
        if self.lane is not None:
            self.lane.finish()
        if self.share is not None:
            if politely and self.share.alive:
                self.share.seconds = 1.0
                for file in self.files:
                    file.close()
            self.share.close(politely=politely)
            self.share = None
            self.files = []


class Opener:
    """Makes a place's connection, and what works on it."""

    def __init__(
        self,
        target: SmbTarget,
        plan: LoadPlan,
        profile: Profile,
        files: FileSet,
        clock: Clock,
        over: threading.Event,
    ) -> None:
        self._target, self._plan, self._profile, self._files = target, plan, profile, files
        self._clock, self._over = clock, over
        self.transport = ""
        """How the connections' messages go, known when the first one is open."""

    def share(self, seconds: float) -> Share:
        return connect(self._target, self._target.data_share, seconds=seconds)

    def open(self, place: Place, seconds: float) -> None:
        """Connect within about `seconds`, and make the lane. Raises the errors of `connect`."""
        share = self.share(seconds)
        try:
            self.transport = self.transport or transport(share)
            reads = self._reads(place, share)
            files: list[RemoteFile] = []
            lane: Lane
            if self._profile.work is Work.SESSIONS:
                share.close()
                lane = SessionLane(
                    lambda: self.share(SESSION_SECONDS),
                    self._files.names[0],
                    reads,
                    wait=self._over.wait,
                    now=self._clock.now,
                )
            elif self._profile.work is Work.FILES:
                lane = ChurnLane(
                    share,
                    self._files.names,
                    reads,
                    verify_every=self._plan.verify_every,
                    now=self._clock.now,
                )
            else:
                files = [share.open(name) for name in self._files.names]
                lane = ReadLane(
                    share, files, reads, verify_every=self._plan.verify_every, now=self._clock.now
                )
        except BaseException:
            share.close(politely=False)
            raise
        with place.lock:
            place.lane, place.files = lane, files
            place.share = None if self._profile.work is Work.SESSIONS else share
            place.lives += 1
            place.opened_at = place.owes_nothing_at = self._clock.now()

    def _reads(self, place: Place, share: Share) -> Reads:
        """The same plan gives the same offsets: of this place, in this life of it."""
        size = self._profile.size
        if self._plan.size is None:
            size = min(size, share.connection.max_read)
        return Reads(
            size=size,
            unbuffered=self._profile.unbuffered and share.unbuffered,
            seed=random.Random(f"{self._plan.seed}/{place.index}/{place.lives}").getrandbits(63),
            span=self._files.length,
            compound=self._profile.compound,
        )
