"""The low-water mark gathers answers, and never hides one for long."""

from __future__ import annotations

import select
import socket
import sys
import time

import pytest
from smb_lanes import LIMIT, tcp_pair

from lab.smb.load.waiting import MOST_GATHERED, LowWater, Wait

ANSWER = 4180


class Options:
    """A socket that notes what is set."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.levels: list[int] = []
        self._refuses = refuses

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if self._refuses:
            raise OSError(92, "Protocol not available")
        self.levels.append(value)


def low_water(options: Options) -> LowWater:
    return LowWater(options)  # type: ignore[arg-type]


linux = pytest.mark.skipif(sys.platform != "linux", reason="SO_RCVLOWAT wakes nobody elsewhere")


def grown(mark: LowWater, outstanding: int = 64) -> LowWater:
    for _ in range(40):
        mark.aim(outstanding, ANSWER)
        mark.came(max(ANSWER, mark.level), 1)
    return mark


@linux
@pytest.mark.parametrize("outstanding", [4, 7, 64, 1000])
def test_it_grows_to_half_of_what_is_outstanding_at_most(outstanding: int) -> None:
    options = Options()
    grown(low_water(options), outstanding)
    assert max(options.levels) == min(outstanding // 2, MOST_GATHERED, (512 * 1024) / ANSWER) * ANSWER


@linux
def test_few_outstanding_answers_are_not_gathered() -> None:
    mark = grown(low_water(Options()))
    mark.aim(3, ANSWER)
    assert mark.level == 1


@linux
@pytest.mark.parametrize("selector", [False, True])
def test_answers_smaller_than_expected_lower_it_for_a_while(selector: bool) -> None:
    mark = grown(low_water(Options()))
    before = mark.level
    if not selector:
        mark.missed()
        assert mark.level == 1
    mark.came(5000, 0)
    mark.aim(64, ANSWER)
    assert mark.level == 2500
    assert grown(mark).level == 2500  # not yet
    assert grown(mark).level == before


@linux
def test_a_slow_server_does_not_lower_it() -> None:
    mark = grown(low_water(Options()))
    before = mark.level
    mark.missed()
    mark.came(5000, 40)
    mark.aim(64, ANSWER)
    assert mark.level == before


def test_without_the_option_every_byte_wakes() -> None:
    mark = grown(low_water(Options(refuses=True)))
    assert mark.level == 1


@linux
def test_the_kernel_obeys_it() -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        mark, wait = LowWater(ours), Wait(ours)
        mark.aim(64, 1000)
        mark.came(1000, 1)
        mark.aim(64, 1000)
        assert mark.level == 2000
        theirs.sendall(bytes(1999))
        assert not wait(0.05)
        theirs.sendall(bytes(1))
        assert wait(LIMIT)
        ours.recv(5000)
        theirs.sendall(bytes(1))
        assert not wait(0.05)
        theirs.close()
        assert wait(LIMIT)  # the end of the stream is never held back


@pytest.mark.parametrize("poll", [True, False])
def test_waiting_for_room_to_send(poll: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not poll:
        monkeypatch.delattr(select, "poll", raising=False)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wait = Wait(ours)
        assert wait(0.0, write=True)
        assert not wait(0.0)
        theirs.sendall(b"x")
        assert wait(LIMIT)
        started = time.monotonic()
        ours.recv(1)
        assert not wait(0.05)
        assert time.monotonic() - started >= 0.04
