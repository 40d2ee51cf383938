"""A host is put back as it was found: as it answers, after a reset, or from its checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.inventory import Host
from lab.journal import Journal, open_journal
from lab.machines import Checkpoint
from lab.model import GuestError, InfrastructureError, PowerState, TimedOut
from lab.trials import restore

MODULE = sys.modules[restore.__module__]
HOST = cast(Host, SimpleNamespace(name="srv1"))


@dataclass
class Metal:
    """A machine whose Windows starts again after `resets` resets, and in which `refuses` is refused."""

    resets: int = 0
    refuses: str = ""
    asked: list[str] = field(default_factory=list)
    state: PowerState = PowerState.ON

    @property
    def starts(self) -> bool:
        return self.asked.count("reset") >= self.resets

    def power_state(self) -> PowerState:
        return self.state

    def power_on(self) -> None:
        self.asked.append("on")
        self.state = PowerState.ON

    def power_off(self) -> None: ...
    def interrupt(self) -> None: ...
    def address(self) -> str:
        return ""

    def reset(self) -> None:
        self.asked.append("reset")


@dataclass
class Virtual(Metal):
    """One that has checkpoints, too: all of disks only."""

    names: tuple[str, ...] = ("older", "baseline")

    @property
    def starts(self) -> bool:
        return super().starts or "restore baseline" in self.asked

    def checkpoint(self, name: str, *, memory: bool = False) -> None: ...
    def remove_checkpoint(self, name: str) -> None: ...
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        return tuple(Checkpoint(name, None) for name in self.names)

    def restore(self, name: str) -> None:
        self.asked.append(f"restore {name}")
        self.state = PowerState.OFF


class Windows:
    """What answers there."""

    def __init__(self, machine: Metal) -> None:
        self._machine = machine

    def wait_until_reachable(self) -> None:
        if not self._machine.starts or self._machine.state is PowerState.OFF:
            raise TimedOut("reachable", 300, "nothing")

    def restart(self, token: str) -> None:
        self._machine.asked.append("restart")

    def wait_for_new_boot(self, old: object) -> None: ...


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "j.db") as journal:
        for what in ("start types", "verifier settings"):
            journal.undo_push(HOST.name, what, "script", {"of": what})
        yield journal


def put_back(machine: Metal, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    @contextmanager
    def open_guest(host: Host) -> Iterator[Windows]:
        yield Windows(machine)

    def replay(guest: Any, script: str, parameters: Any) -> None:
        machine.asked.append(parameters["of"])
        if parameters["of"] == machine.refuses:
            raise GuestError("there is no such service")

    monkeypatch.setattr(MODULE, "open_machine", lambda host: machine)
    monkeypatch.setattr(MODULE, "open_guest", open_guest)
    monkeypatch.setattr(MODULE.undo, "replay", replay)
    return restore(HOST, journal)


REPLAYED = ["verifier settings", "start types", "restart"]


@pytest.mark.parametrize("resets", [0, 1, 2])
@pytest.mark.parametrize("kind", [Metal, Virtual])
def test_a_host_that_answers_in_the_end_keeps_its_disks(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, resets: int, kind: type[Metal]
) -> None:
    machine = kind(resets)
    assert put_back(machine, journal, monkeypatch) == REPLAYED[:2]
    assert machine.asked == ["reset"] * resets + REPLAYED
    assert not journal.undo_pending(HOST.name)


def test_one_that_does_not_start_any_more_is_put_back_to_its_baseline(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Virtual(resets=9)
    checkpoint, *rest = put_back(machine, journal, monkeypatch)
    assert (checkpoint, rest) == ("the checkpoint 'baseline', for it did not start any more", REPLAYED[:2])
    assert machine.asked == ["reset", "reset", "restore baseline", "on", *REPLAYED]
    assert not journal.undo_pending(HOST.name)


@pytest.mark.parametrize("machine", [Metal(9), Virtual(9, names=("older",))], ids=["metal", "no baseline"])
def test_without_a_baseline_the_wait_that_ran_out_is_told(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, machine: Metal
) -> None:
    with pytest.raises(TimedOut, match="reachable"):
        put_back(machine, journal, monkeypatch)
    assert machine.asked == ["reset", "reset"]
    assert len(journal.undo_pending(HOST.name)) == 2


def test_a_baseline_that_lacks_what_was_found_is_no_host_as_found(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GuestError, match="no such service"):
        put_back(Virtual(resets=9, refuses="start types"), journal, monkeypatch)
    (left,) = journal.undo_pending(HOST.name)
    assert left.what == "start types"


def test_an_error_that_is_no_wait_is_no_reason_for_a_checkpoint(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Windows) -> None:
        raise InfrastructureError("the controller refuses")

    monkeypatch.setattr(Windows, "wait_until_reachable", broken)
    machine = Virtual()
    with pytest.raises(InfrastructureError, match="controller"):
        put_back(machine, journal, monkeypatch)
    assert machine.asked == []
