"""Lost connections, and when their target is held for dead: with lanes and a server made of plain values."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from lab.model import CredentialsRefused, LabError
from lab.smb import NotThere, Unreachable
from lab.smb.load import company as company_module
from lab.smb.load import watch as watch_module
from lab.smb.load.company import MOST_REFUSALS, MOST_TRIES, TOGETHER_SECONDS, Company
from lab.smb.load.places import SHORT_LIFE, Place
from lab.smb.load.tally import Tally
from lab.smb.load.watch import GRACE_SECONDS, KNOCK_SECONDS, SILENCE_SECONDS, STUCK_SECONDS, Watch


@dataclass
class FakeLane:
    """A lane that is what a test says."""

    heard: float
    owed: int = 0
    in_flight: int = 0
    alive: bool = True
    tally: Tally = field(default_factory=Tally)
    batch: int = 1
    blocked: bool = False
    gathering: bool = False

    def fileno(self) -> int:
        return -1

    def build(self) -> None: ...
    def release(self, count: int) -> int:
        return count

    def receive(self, seconds: float) -> int:
        return 0

    def echo(self) -> None: ...
    def finish(self) -> None: ...


class World:
    """Some places, a clock, and a server that answers as the test says."""

    def __init__(self, connections: int = 3, restarted: Callable[[], bool] | None = None) -> None:
        self.time = 100.0
        self.over = threading.Event()
        self.answers: list[LabError | None] = []  # to tries to connect; at the end: lets everyone in
        self.tries = 0
        self.speaks = True
        self.knocks = 0
        self.knock_takes = 0.0
        self.cuts: list[int] = []
        self.places = [Place(index) for index in range(connections)]
        self.company = Company(self.places, self._open, self.over, now=lambda: self.time, restarted=restarted)
        self.watch = Watch(self.company, self._knock, lambda: self.time)
        for place in self.places:
            place.lane = FakeLane(self.time)
            place.cut = lambda place=place: self.cuts.append(place.index)  # type: ignore[method-assign,misc]

    def lane(self, index: int) -> FakeLane:
        lane = self.places[index].lane
        assert isinstance(lane, FakeLane)
        return lane

    def lose(self, index: int) -> None:
        self.lane(index).alive = False
        self.company.lost(self.places[index], Unreachable(f"connection {index} was reset"))

    def _open(self, place: Place, seconds: float) -> None:
        self.tries += 1
        error = self.answers.pop(0) if self.answers else None
        if error is not None:
            raise error
        place.lane, place.opened_at = FakeLane(self.time), self.time

    def _knock(self) -> bool:
        self.knocks += 1
        self.time += self.knock_takes
        return self.speaks


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company_module, "_FIRST_WAIT", 0.0)


def test_a_lost_connection_is_made_again_and_its_counts_are_kept() -> None:
    world = World()
    world.lane(1).tally.sent = 7
    world.answers = [Unreachable("refused"), Unreachable("refused")]
    world.lose(1)
    assert not world.places[1].alive and world.company.make_again(world.places[1])
    world.lane(1).tally.sent = 5
    assert world.tries == 3 and world.company.reconnects == 1
    assert world.places[1].sent == 12 and world.company.given_up == []
    assert not world.company.losses.operations


def test_one_that_cannot_be_made_again_is_given_up_with_its_reason() -> None:
    world = World()
    world.answers = [Unreachable("connection refused")] * 50
    world.lose(0)
    assert not world.company.make_again(world.places[0])
    assert world.tries == MOST_TRIES
    assert world.company.given_up == ["connection refused"] and not world.over.is_set()


@pytest.mark.parametrize(
    "refusal", [CredentialsRefused("credentials refused"), NotThere("share 'Data' does not exist")]
)
def test_a_server_that_says_no_is_asked_a_few_times_only(refusal: LabError) -> None:
    world = World()
    for index in range(3):
        world.lose(index)
    for index in range(3):
        world.answers = [refusal] * 50
        assert not world.company.make_again(world.places[index])
    assert world.tries == 3 * MOST_REFUSALS
    assert world.company.given_up == [refusal.message] * 3
    assert world.over.is_set() and world.company.died_at is None


def test_a_server_that_takes_connections_and_drops_them_is_given_up() -> None:
    world = World()
    for _ in range(MOST_TRIES):
        world.lane(2).tally.answered = 1  # a single READ
        world.time += SHORT_LIFE / 2
        world.lose(2)
        assert world.company.make_again(world.places[2])
    world.lose(2)
    assert not world.company.make_again(world.places[2])
    assert world.company.given_up == ["connection 2 was reset"]


def test_one_that_stands_in_between_may_be_lost_as_often_as_it_likes() -> None:
    world = World()
    for _ in range(5 * MOST_TRIES):
        world.lane(2).tally.answered = 1
        world.time += SHORT_LIFE
        world.lose(2)
        assert world.company.make_again(world.places[2])
    assert world.company.reconnects == 5 * MOST_TRIES


def test_all_lost_and_made_again_is_told() -> None:
    world = World()
    for index in range(3):
        world.lose(index)
    assert all(world.company.make_again(place) for place in world.places)
    assert world.company.losses.operations == {"loss of all connections": 1}
    assert not world.over.is_set()


def test_all_lost_and_another_boot_answers_is_a_death() -> None:
    world = World(restarted=lambda: True)
    world.lane(1).heard = 107.5
    for index in range(3):
        world.lose(index)
    world.time = 109.0
    assert not world.company.make_again(world.places[0])
    assert world.company.died_at == 107.5 and world.over.is_set()


def test_all_are_lost_though_the_first_is_back_before_the_last_is_missed() -> None:
    world = World(restarted=lambda: True)
    for index in range(3):
        world.lane(index).heard = 107.0 + index / 10
    world.time = 108.0
    world.lose(0)
    world.lose(1)
    assert world.company.make_again(world.places[0])
    world.lane(0).heard = world.time = 108.4
    assert world.company.died_at is None
    world.lose(2)
    assert not world.company.make_again(world.places[1])
    assert world.company.died_at == 107.2


def test_connections_lost_one_by_one_over_time_are_not_lost_together() -> None:
    world = World(restarted=lambda: pytest.fail("asked"))
    for index in (0, 1, 2, 0, 1, 2):
        world.time += TOGETHER_SECONDS * 0.7
        world.lose(index)
        assert world.company.make_again(world.places[index])
    assert world.company.reconnects == 6 and not world.company.losses.operations


def test_one_of_several_lost_is_no_reason_to_ask_for_the_boot() -> None:
    world = World(restarted=lambda: pytest.fail("asked"))
    world.lose(0)
    assert world.company.make_again(world.places[0])


def test_a_load_that_is_over_connects_no_more() -> None:
    world = World()
    world.over.set()
    world.lose(0)
    assert not world.company.make_again(world.places[0]) and world.tries == 0


def test_a_silent_machine_is_dead_within_two_seconds_of_its_last_answer() -> None:
    world = World()
    world.speaks, world.knock_takes = False, KNOCK_SECONDS
    for place in world.places:
        assert isinstance(place.lane, FakeLane)
        place.lane.owed = 5
    world.lane(1).heard = 101.0
    while world.company.died_at is None:
        world.time += 0.05
        assert world.time < 103.0
        world.watch.look(world.time)
    assert world.company.died_at == 101.0 and world.over.is_set() and world.knocks == 1
    assert world.cuts == [0, 1, 2]  # nobody waits for what will not come


def test_a_machine_that_refuses_connections_is_dead_only_when_it_had_time_to_come_back() -> None:
    world = World()
    world.speaks = False
    for index in range(3):
        world.lose(index)
    while world.company.died_at is None:
        world.time += 0.05
        world.watch.look(world.time)
    assert world.company.died_at == 100.0
    assert GRACE_SECONDS <= world.time - 100.0 < GRACE_SECONDS + 0.1


def test_a_server_that_is_merely_slow_lives() -> None:
    world = World()
    world.lane(0).owed = 5
    for _ in range(200):  # ten seconds without a READ's answer, and yet it speaks
        world.time += 0.05
        world.watch.look(world.time)
    assert world.company.died_at is None and not world.cuts
    assert 5 <= world.knocks <= 10 / SILENCE_SECONDS + 1


def test_silence_is_no_sign_when_nothing_is_owed() -> None:
    world = World()
    world.speaks = False
    for _ in range(200):
        world.time += 0.05
        world.watch.look(world.time)
    assert world.company.died_at is None and world.knocks == 0


def test_the_last_sign_of_life_may_be_an_answered_knock() -> None:
    world = World()
    world.lane(0).owed = 1
    world.time = 105.0
    world.watch.look(105.0)
    assert world.knocks == 1
    world.speaks, world.knock_takes = False, KNOCK_SECONDS
    while world.company.died_at is None:
        world.time += 0.05
        world.watch.look(world.time)
    assert world.company.died_at == 105.0


def test_one_stuck_connection_is_broken_while_the_others_go_on() -> None:
    world = World()
    world.lane(1).owed = 3
    for _ in range(int(STUCK_SECONDS / 0.05) + 2):
        assert world.cuts == [] or world.time - 100.0 >= STUCK_SECONDS
        world.time += 0.05
        world.lane(0).heard = world.time
        world.watch.look(world.time)
    assert set(world.cuts) == {1} and world.company.died_at is None and world.knocks == 0


def test_an_idle_connection_is_not_stuck_as_soon_as_it_is_used() -> None:
    world = World()
    for _ in range(int(3 * STUCK_SECONDS / 0.05)):
        world.time += 0.05
        world.lane(0).heard = world.time
        world.watch.look(world.time)
    world.lane(1).owed = 3
    world.watch.look(world.time)
    assert world.cuts == []


@pytest.mark.parametrize("status", sorted(watch_module.ENDED))
def test_a_connection_whose_share_or_session_has_ended_is_broken(status: int) -> None:
    world = World()
    world.lane(2).tally.failed[status] += 1
    world.lane(1).tally.failed[0xC000_0054] += 100  # STATUS_FILE_LOCK_CONFLICT: the load goes on
    world.watch.look(world.time)
    assert world.cuts == [2]


@pytest.mark.parametrize(
    ("owed", "lost", "speaks", "dead"),
    [(0, False, False, False), (4, False, False, True), (4, False, True, False), (0, True, False, True)],
)
def test_the_last_look(owed: int, lost: bool, speaks: bool, dead: bool) -> None:
    world = World()
    world.speaks = speaks
    world.lane(0).owed = owed
    if lost:
        world.lose(1)
    world.watch.last_look()
    assert (world.company.died_at is not None) is dead
