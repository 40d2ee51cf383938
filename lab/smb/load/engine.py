"""The loops that drive lanes: one lane in a thread of its own, or many in one thread."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from lab.model import LabError
from lab.smb.load.lane import Lane
from lab.smb.load.waiting import PATIENCE

THREADS = 16
"""Connections up to which each has a thread of its own; above, threads share them."""

TICK = 0.04
"""Seconds after which a waiting loop looks whether it is over."""

DRAIN_SECONDS = 2.0
"""How long answers are waited for when all is over."""

_BUILD_ROOM = 0.02  # seconds: laying out and signing a lap takes a few ms


class Step(NamedTuple):
    """What a lane is to do now: READs in flight, seconds until that changes, and how many READs may still be
    sent before then (None: any number)."""

    in_flight: int
    due: float
    budget: int | None = None


class Pace(Protocol):
    def __call__(self, now: float) -> Step: ...


def drive(
    lane: Lane,
    pace: Pace,
    over: threading.Event,
    *,
    now: Callable[[], float] = time.monotonic,
    drain_seconds: float = DRAIN_SECONDS,
) -> None:
    """Drive one lane until `over` is set, then take in what is still owed, for `drain_seconds` at most.

    Raises what the lane raises: Unreachable and Malformed.
    """
    while not over.is_set():
        step = pace(now())
        _refill(lane, step)
        due = min(max(step.due, 0.0), TICK)
        if not lane.owed and not lane.blocked and due >= _BUILD_ROOM:
            started = now()
            lane.build()
            due -= now() - started
        lane.receive(due)
    deadline = now() + drain_seconds
    while (lane.owed or lane.blocked) and (left := deadline - now()) > 0:
        lane.receive(min(left, TICK))


def _refill(lane: Lane, step: Step) -> None:
    """Bring the lane's READs in flight to what is wanted. A few missing ones wait until more are missing: a
    batch costs little more than one."""
    missing = step.in_flight - lane.in_flight
    if missing <= 0 or missing < min(lane.batch, step.in_flight // 4):
        return
    if step.budget is not None:
        missing = min(missing, step.budget)
    if missing > 0:
        lane.release(missing)


def drive_all(
    lanes: Sequence[Lane],
    paces: Sequence[Pace],
    over: threading.Event,
    *,
    now: Callable[[], float] = time.monotonic,
    drain_seconds: float = DRAIN_SECONDS,
    on_error: Callable[[Lane, LabError], None] | None = None,
) -> list[tuple[Lane, LabError]]:
    """Drive many lanes in this thread as `drive` drives one.

    A lane that raises Unreachable or Malformed is left; the others go on. Each such lane is told to
    `on_error` at once, and all of them are returned.
    """
    with selectors.DefaultSelector() as selector:
        crowd = _Crowd(selector, now, on_error)
        for lane, pace in zip(lanes, paces, strict=True):
            crowd.add(lane, pace)
        while crowd.members and not over.is_set():
            crowd.turn(release=True)
        deadline = now() + drain_seconds
        while crowd.owed() and now() < deadline:
            crowd.turn(release=False)
    return crowd.errors


class _Member:
    """A lane among others."""

    def __init__(self, lane: Lane, pace: Pace) -> None:
        self.lane, self.pace = lane, pace
        self.number = lane.fileno()
        self.writes = False
        self.due = 0.0  # by the clock


class _Crowd:
    """Lanes on one selector."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        now: Callable[[], float],
        on_error: Callable[[Lane, LabError], None] | None,
    ) -> None:
        self.members: dict[int, _Member] = {}
        self.errors: list[tuple[Lane, LabError]] = []
        self._selector, self._now, self._on_error = selector, now, on_error
        self._next = now()  # when all lanes are looked at again

    def add(self, lane: Lane, pace: Pace) -> None:
        if lane.alive:
            member = _Member(lane, pace)
            self.members[member.number] = member
            self._selector.register(member.number, selectors.EVENT_READ, member)

    def owed(self) -> bool:
        return any(member.lane.owed or member.lane.blocked for member in self.members.values())

    def turn(self, *, release: bool) -> None:
        """Wait for something to happen, and see to it."""
        for key, _ in self._selector.select(max(0.0, self._next - self._now())):
            self._visit(key.data, release, receive=True)
        at = self._now()
        if at < self._next:
            return
        self._next = at + TICK
        for member in tuple(self.members.values()):
            late = member.lane.gathering and at - member.lane.heard >= PATIENCE
            if late or (release and member.due <= at):
                self._visit(member, release, receive=late)
            self._plan(member, at, release)

    def _plan(self, member: _Member, at: float, release: bool) -> None:
        """See that this lane is looked at in time."""
        if member.lane.gathering:
            self._next = min(self._next, at + PATIENCE)
        if release:
            self._next = min(self._next, member.due)

    def _visit(self, member: _Member, release: bool, *, receive: bool) -> None:
        lane = member.lane
        try:
            if receive or lane.blocked:
                lane.receive(0)
            if release:
                at = self._now()
                step = member.pace(at)
                _refill(lane, step)
                member.due = at + max(0.0, step.due)
                if not lane.owed and not lane.blocked and step.due >= _BUILD_ROOM:
                    lane.build()
        except LabError as error:
            self._leave(member, error)
            return
        self._plan(member, self._now(), release)
        if lane.blocked is not member.writes:
            member.writes = lane.blocked
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.writes else 0)
            self._selector.modify(member.number, events, member)

    def _leave(self, member: _Member, error: LabError) -> None:
        self._selector.unregister(member.number)
        del self.members[member.number]
        self.errors.append((member.lane, error))
        if self._on_error is not None:
            self._on_error(member.lane, error)
