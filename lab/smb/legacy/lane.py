"""One connection of a load and the thread that reads over it."""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from lab.model import Clock, LabError
from lab.smb.errors import Unreachable
from lab.smb.legacy.datafile import BLOCK, LENGTH, NAME
from lab.smb.legacy.file import RemoteFile
from lab.smb.legacy.flight import Flights
from lab.smb.legacy.session import FAREWELL_SECONDS, Share, connect
from lab.smb.legacy.tally import Tally
from lab.smb.legacy.translate import translated
from lab.smb.profiles import Profile, Schedule, Slot
from lab.smb.target import SmbTarget

TICK = 0.05
"""Seconds between two looks at the state of a connection."""

PROBE_EVERY = 0.3
DRAIN_SECONDS = 1.0
RECONNECT_SECONDS = 1.0
MOST_RECONNECTS = 8
TOGETHER_SECONDS = 2.0
"""Connections lost within this time of each other were lost together."""


@dataclass
class Run:
    """What the lanes of one load share. `over` ends them all; `died` says that the target is gone."""

    target: SmbTarget
    profile: Profile
    slots: Schedule
    seconds: float
    connections: int
    seed: int
    clock: Clock
    start: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    died: threading.Event = field(default_factory=threading.Event)
    losses: dict[int, float] = field(default_factory=dict)  # lane -> when it last lost its connection
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def declare_dead(self) -> None:
        self.died.set()
        self.over.set()

    def fail(self, error: BaseException) -> None:
        self.errors.append(error)
        self.over.set()

    def lost(self, lane: int) -> bool:
        """Note that a lane lost its connection; True when by now all lanes lost theirs together."""
        now = self.clock.now()
        with self.lock:
            self.losses[lane] = now
            recent = [when for when in self.losses.values() if now - when <= TOGETHER_SECONDS]
            return len(recent) == self.connections


class Lane:
    """Reads random blocks over one connection as the schedule says. `open`, then `fly` in a thread."""

    def __init__(self, run: Run, index: int) -> None:
        self.run, self.index = run, index
        self.tally = Tally()
        self.share: Share | None = None
        self.flights: Flights | None = None
        self._file: RemoteFile | None = None
        self._random = random.Random(f"{run.seed}/{index}")
        self._next_probe = 0.0
        self._slot: Slot | None = None
        self._sent_in_slot = 0
        self._reconnects = 0

    def open(self, seconds: float) -> None:
        share = connect(self.run.target, self.run.target.data_share, seconds=seconds)
        try:
            self._file = share.open(NAME)
        except BaseException:
            share.close(politely=False)
            raise
        self.share, self.flights = share, share.flights(self.run.clock.now)

    def close(self) -> None:
        """Close the file, log off and disconnect; at once when the target is dead. Never raises."""
        if self.share is not None:
            politely = not self.run.died.is_set()
            if politely and self._file is not None:
                self.share.seconds = FAREWELL_SECONDS / 2
                self._file.close()
            self.share.close(politely=politely)
            self.share = None

    def fly(self) -> None:
        """The thread's body: until the plan is over, the run is stopped or the target is dead."""
        try:
            while not self.run.over.is_set():
                elapsed = self.run.clock.now() - self.run.start
                if elapsed >= self.run.seconds:
                    break
                if not self.alive and not self._recover():
                    return
                self._step(self.run.slots.at(elapsed), elapsed)
            self._drain()
        except Exception as error:  # a defect, or the disk of the server: the run must end and say so
            self.run.fail(error)

    @property
    def alive(self) -> bool:
        """False once its connection is known to be lost."""
        return self.share is not None and self.share.alive

    def _step(self, slot: Slot, elapsed: float) -> None:
        assert self.flights is not None
        if slot != self._slot:
            self._slot, self._sent_in_slot = slot, 0
        try:
            due = self._fill(slot, elapsed)
        except Exception as error:  # also what smbprotocol's receiver thread died of
            if self.alive and not isinstance(error, OSError):
                raise translated(error, self.run.target, f"reading file '{NAME}'") from error
            if self.share is not None:
                self.share.close(politely=False)  # a failed send may be seen before the closed socket
            return
        patience = max(0.001, min(TICK, slot.end - elapsed, due))
        if len(self.flights):
            self._collect(patience)
        else:
            self.run.over.wait(patience)

    def _fill(self, slot: Slot, elapsed: float) -> float:
        """Send what the phase and the credits allow; returns seconds until the rate allows more."""
        assert self.flights is not None and self.share is not None
        if not slot.phase.in_flight:
            self._probe(elapsed)
            return TICK
        depth = self._part(slot.phase.in_flight)
        rate = slot.phase.rate
        unbuffered = self.run.profile.unbuffered and self.share.unbuffered
        due = TICK
        while len(self.flights) < depth and self.flights.credits > 0:
            if rate is not None:
                due = self._next_due(slot, rate / self.run.connections) - elapsed
                if due > 0:
                    break
            short = depth - len(self.flights) - self.flights.credits
            offset = self._random.randrange(LENGTH // BLOCK) * BLOCK
            when = self.run.clock.now()
            self.flights.send_read(
                self._file_handle(), offset, BLOCK, want=1 + min(max(0, short), 32), unbuffered=unbuffered
            )
            self.tally.sent_at(when)
            self._sent_in_slot += 1
        return due

    def _file_handle(self) -> object:
        assert self._file is not None
        return self._file.handle

    def _next_due(self, slot: Slot, rate: float) -> float:
        """When this slot's next READ may go. Lanes are staggered, so that the cap holds over all."""
        return slot.start + (self._sent_in_slot + self.index / self.run.connections) / rate

    def _part(self, in_flight: int) -> int:
        """This lane's part of the READs in flight."""
        whole, rest = divmod(in_flight, self.run.connections)
        return whole + (1 if self.index < rest else 0)

    def _probe(self, elapsed: float) -> None:
        """Ask for a sign of life while nothing is read, on one connection only.

        A dead machine does not close its connections: it falls silent.
        """
        assert self.flights is not None
        if self.index == 0 and elapsed >= self._next_probe and not len(self.flights):
            if self.flights.credits > 0:
                self.flights.send_echo()
            self._next_probe = elapsed + PROBE_EVERY

    def _collect(self, seconds: float) -> None:
        assert self.flights is not None
        for landing in self.flights.collect(seconds):
            if landing.flight.size:
                self.tally.landed(landing)

    def _drain(self) -> None:
        """Wait for the answers still owed, so that a READ is not given up for nothing."""
        deadline = self.run.clock.now() + DRAIN_SECONDS
        while self.flights is not None and len(self.flights) and self.alive:
            left = deadline - self.run.clock.now()
            if left <= 0 or self.run.died.is_set():
                return
            self._collect(min(TICK, left))

    def _recover(self) -> bool:
        """Connect again after a loss; False when the target is dead. READs in flight are lost."""
        if self.flights is not None:
            self._collect(0)
        all_lost = self.run.lost(self.index)
        if self.share is not None:
            self.share.close(politely=False)
            self.share = None
        if all_lost:
            self.run.declare_dead()
            return False
        self._reconnects += 1
        if self._reconnects > MOST_RECONNECTS:
            raise Unreachable(
                f"{self.run.target.place} closed connection {self.index + 1} of the load "
                f"{self._reconnects} times"
            )
        with suppress(LabError):
            self.open(RECONNECT_SECONDS)
            return True
        self.run.declare_dead()
        return False
