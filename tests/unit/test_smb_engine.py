"""The loops do what their paces say, end when told to, and hide no trouble."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from smb_lanes import LIMIT, Rig, Serving, success

from lab.model import LabError
from lab.smb.errors import Malformed, Unreachable
from lab.smb.load.engine import Pace, Step, drive, drive_all
from lab.smb.load.lane import Lane
from lab.smb.load.readlane import ReadLane
from lab.smb.load.tape import Reads

SMALL = Reads(size=512)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not reached():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.001)


def steady(in_flight: int) -> Pace:
    return lambda now: Step(in_flight, 1.0)


class Driven:
    """`drive`, or `drive_all` for one lane or more, in a thread; for `with`."""

    def __init__(
        self, lanes: list[ReadLane], pace: Pace, *, together: bool, drain_seconds: float = LIMIT
    ) -> None:
        self.over = threading.Event()
        self.error: LabError | None = None
        self.told: list[Lane] = []
        self._lanes, self._pace, self._together, self._drain = lanes, pace, together, drain_seconds
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        if self._together:
            errors = drive_all(
                self._lanes,
                [self._pace] * len(self._lanes),
                self.over,
                drain_seconds=self._drain,
                on_error=lambda lane, error: self.told.append(lane),
            )
            assert [lane for lane, _ in errors] == self.told
            self.error = errors[0][1] if errors else None
            return
        try:
            drive(self._lanes[0], self._pace, self.over, drain_seconds=self._drain)
        except LabError as error:
            self.error = error

    def __enter__(self) -> Driven:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), "the loop did not end"

    def ended(self) -> bool:
        return not self._thread.is_alive()


both = pytest.mark.parametrize("together", [False, True], ids=["drive", "drive_all"])


@both
def test_reads_are_kept_in_flight_and_drained_at_the_end(together: bool) -> None:
    with Rig(tcp=True) as rig:
        serving, lane = Serving(rig), rig.lane(SMALL)
        with Driven([lane], steady(32), together=together):
            until(lambda: lane.tally.answered > 5000)
        assert lane.in_flight == 0 and lane.alive
        assert lane.tally.sent == lane.tally.answered == len(serving.read)
        lane.finish()
        assert rig.share.alive


@both
def test_never_more_in_flight_than_wanted(together: bool) -> None:
    with Rig(tcp=True) as rig:
        lane = rig.lane(SMALL)
        with Driven([lane], steady(20), together=together, drain_seconds=0.0):
            until(lambda: lane.in_flight == 20)
            assert len(rig.server.requests(20)) == 20
            rig.server.peer.settimeout(0.2)
            with pytest.raises(TimeoutError):
                rig.server.peer.recv(1)
        lane.finish()
        assert lane.tally.lost == 20


@both
def test_a_budget_is_kept(together: bool) -> None:
    with Rig(tcp=True) as rig:
        serving, lane = Serving(rig), rig.lane(SMALL)
        turns = [0]

        def pace(now: float) -> Step:
            turns[0] += 1
            return Step(16, 0.005, budget=100 - lane.tally.sent)

        with Driven([lane], pace, together=together):
            until(lambda: lane.tally.answered == 100 and turns[0] > 100)
        assert len(serving.read) == lane.tally.sent == 100


@both
def test_a_burst_is_built_while_idle_and_released_when_due(together: bool) -> None:
    with Rig(tcp=True, credits=2000) as rig:
        lane = rig.lane(SMALL)
        built, due = lane.build, time.monotonic() + 0.5
        calls: list[str] = []
        released = lane.release
        lane.build = lambda: (calls.append("build"), built())[1]  # type: ignore[method-assign]
        lane.release = lambda count: (calls.append(f"release {count}"), released(count))[1]  # type: ignore[method-assign]

        def pace(now: float) -> Step:
            return Step(0, due - now) if now < due else Step(1000, 60.0)

        with Driven([lane], pace, together=together, drain_seconds=0.0):
            assert len(rig.server.requests(1000)) == 1000
        assert "build" in calls and calls.index("release 1000") > calls.index("build")
        first = lane.tally.first_sent
        assert first is not None and 0 <= first - due < 1.0


@both
@pytest.mark.parametrize("in_flight", [0, 8])
def test_a_silent_server_does_not_keep_the_loop(together: bool, in_flight: int) -> None:
    with Rig() as rig:
        lane = rig.lane(SMALL)
        with Driven([lane], steady(in_flight), together=together, drain_seconds=0.1) as driven:
            until(lambda: lane.in_flight == in_flight)
            driven.over.set()
            until(driven.ended)
        lane.finish()
        assert lane.tally.lost == in_flight


@both
@pytest.mark.parametrize("in_flight", [0, 8])
def test_a_lost_connection_is_told_also_when_idle(together: bool, in_flight: int) -> None:
    with Rig(tcp=True) as rig:
        lane = rig.lane(SMALL)
        with Driven([lane], steady(in_flight), together=together) as driven:
            until(lambda: lane.in_flight == in_flight)
            rig.server.peer.close()
            until(driven.ended)
            assert not driven.over.is_set()
        assert isinstance(driven.error, Unreachable)
        assert not lane.alive and lane.tally.lost == in_flight


@both
def test_a_malformed_answer_is_told(together: bool) -> None:
    with Rig() as rig:
        lane = rig.lane(SMALL)
        with Driven([lane], steady(4), together=together) as driven:
            rig.server.requests(4)
            rig.server.peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            until(driven.ended)
        assert isinstance(driven.error, Malformed)
        assert lane.tally.lost == 4


def test_one_lost_connection_of_many_leaves_the_others_going() -> None:
    with ExitStack() as stack:
        rigs = [stack.enter_context(Rig(tcp=True)) for _ in range(12)]
        lanes = [rig.lane(SMALL) for rig in rigs]
        served = [Serving(rig) for rig in rigs[1:]]
        with Driven(lanes, steady(8), together=True) as driven:
            until(lambda: all(lane.tally.answered > 50 for lane in lanes[1:]))
            rigs[0].server.peer.close()
            until(lambda: bool(driven.told))
            before = [lane.tally.answered for lane in lanes]
            until(
                lambda: all(
                    lane.tally.answered > count for lane, count in zip(lanes[1:], before[1:], strict=True)
                )
            )
        assert driven.told == [lanes[0]]
        assert [len(serving.read) for serving in served] == [lane.tally.sent for lane in lanes[1:]]
        assert all(lane.alive and lane.in_flight == 0 for lane in lanes[1:])


@both
def test_what_a_full_socket_kept_is_sent_when_it_has_room(together: bool) -> None:
    with Rig(credits=8192) as rig:
        lane = rig.lane(SMALL)
        with Driven([lane], steady(8192), together=together):
            until(lambda: lane.blocked)
            Serving(rig)
            until(lambda: lane.tally.answered > 20_000)
        assert lane.tally.sent == lane.tally.answered


@both
def test_few_small_answers_are_not_waited_for(together: bool) -> None:
    """The low-water mark never hides an answer: not the last one, and none that is shorter than usual."""
    with Rig(tcp=True) as rig:
        serving, lane = Serving(rig, most=3000), rig.lane(SMALL)
        with Driven([lane], steady(64), together=together, drain_seconds=0.0):
            until(lambda: lane.tally.answered == 3000 and len(serving.unanswered) == 64)
            for count, late in enumerate(serving.unanswered[:5], 3001):
                rig.server.send(success(late.message_id, 9 if count % 2 else 512))
                until(lambda count=count: lane.tally.answered == count)  # type: ignore[misc]
        assert len(serving.read) == 3000
