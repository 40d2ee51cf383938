"""Making, taking back and handing back hosts; and dying at every step of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.inventory import Host, Pool, load
from lab.journal import Journal, open_journal
from lab.model import ConfigurationError, InfrastructureError, PowerState
from lab.provision import (
    Candidate,
    Desk,
    Examined,
    HostFiles,
    Made,
    NotAccepted,
    Plan,
    Planned,
    Shop,
    Stock,
    StoppingClock,
    differences,
    hand_back,
    make_one,
    make_plan,
    provision,
    reap,
)
from lab.provision import rack as rack_module
from lab.provision.accept import source_of
from lab.provision.rack import Rack
from lab.windows.check import Check

INVENTORY = """\
hosts:
  a: &host
    address: 192.0.2.1
    expendable: true
    machine: {kind: fixed}
    guest: {shell: {kind: psrp, user: crash, password: {env: P}}}
  b: *host
  c: *host
pools:
  rack: {members: [a, b, c]}
"""
SHELL = {"kind": "psrp", "user": "u", "password": {"env": "P"}}
VCENTER = {"kind": "vcenter", "url": "https://vc", "user": "u", "password": {"env": "V"}}
TEMPLATE = {"kind": "vsphere", "controller": VCENTER, "template": "ws"}
INSTALL = {
    "iso": "windows.iso",
    "edition": 1,
    "accept_license_terms": True,
    "administrator_password": {"env": "A"},
    "media": {"listen": "127.0.0.1"},
}
FIT = Examined((Check("shell", True, "logged on"),), (("X", "x.sys", "1"),))
UNFIT = Examined((Check("build", False, "1, and the pool's is 2", "Correct it."),))


class Outside:
    """What is made, as files of a folder: it outlives the process. Things go wrong as told."""

    def __init__(self, folder: Path, hosts: dict[str, Host]) -> None:
        self.folder, self.hosts = folder, hosts
        self.fails: set[str] = set()
        self.stuck: set[str] = set()
        self.wiping = True
        folder.mkdir(exist_ok=True)

    def stock(self) -> Stock:
        return Stock(tuple(Candidate(name, "make it") for name in self.hosts))

    def make(self, name: str, tell: Callable[[str], None]) -> Host:
        (self.folder / name).write_text("half")
        if name in self.fails:
            raise InfrastructureError(f"{name} went wrong")
        (self.folder / name).write_text("whole")
        return self.hosts[name]

    def unmake(self, name: str, tell: Callable[[str], None]) -> None:
        if name in self.stuck:
            raise InfrastructureError(f"{name} is stuck")
        (self.folder / name).unlink(missing_ok=True)

    def wipes(self, name: str) -> bool:
        return self.wiping

    @property
    def made(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "lab.yaml"
        path.write_text(INVENTORY)
        self.inventory = load([path])
        self.outside = Outside(folder / "outside", dict(self.inventory.hosts))
        self.journal = self.opened()
        self.put_back: list[str] = []
        self.unfit: set[str] = set()

    def opened(self) -> Journal:
        return open_journal(self.folder / "journal.db")

    @contextmanager
    def hold(self, name: str) -> Iterator[Callable[[], None]]:
        with self.opened() as journal:
            lease = journal.acquire(name, "me:1", 60)
            try:
                yield lambda: None
            finally:
                journal.release(lease)

    def shop(self) -> Shop:
        return Shop(
            pool=self.inventory.pools["rack"],
            maker=self.outside,
            journal=self.journal,
            files=HostFiles(self.folder / "hosts", {}),
            hold=self.hold,
            examine=lambda host: UNFIT if host.name in self.unfit else FIT,
            owner="me@here",
        )

    def desk(self) -> Desk:
        return Desk(
            journal=self.journal,
            files=HostFiles(self.folder / "hosts", {}),
            maker=lambda pool: self.outside,
            hold=self.hold,
            put_back=self.put_back.append,
        )

    def plan(self, wanted: int = 3) -> Plan:
        return make_plan(self.inventory.pools["rack"], wanted, self.outside.stock())

    def files(self) -> set[str]:
        folder = self.folder / "hosts"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def known(self) -> dict[str, bool]:
        """Hosts of the journal, and whether they were handed out."""
        return {each.host: each.ready is not None for each in self.journal.provisions()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.journal.close()


def by_name(made: tuple[Made, ...]) -> dict[str, Made]:
    return {each.name: each for each in made}


def test_one_that_fails_stops_no_other_and_is_taken_back(world: World) -> None:
    world.outside.fails, world.unfit = {"a"}, {"b"}
    made = by_name(provision(world.shop(), world.plan()))
    assert [str(made[name].error) for name in "ab"] == [
        "a went wrong",
        "host b is not fit: build: 1, and the pool's is 2",
    ]
    assert isinstance(made["b"].error, NotAccepted) and made["b"].error.help == "Correct it."
    assert made["c"].error is None and made["c"].host is not None
    assert world.outside.made == {"c"} and world.known() == {"c": True} and world.files() == {"c.yaml"}
    assert world.journal.leases() == []


def test_what_cannot_be_taken_back_stays_in_the_journal_until_it_can(world: World) -> None:
    world.outside.fails = world.outside.stuck = {"a"}
    made = make_one(world.shop(), Planned("a", "make it"))
    assert str(made.error) == "a went wrong" and "a is stuck; 'lab machine reap' tries again" in made.left
    assert world.known() == {"a": False}
    (kept,) = reap(world.desk())
    assert kept.kept == "a is stuck" and world.known() == {"a": False}
    world.outside.stuck = set()
    assert [each.kept for each in reap(world.desk())] == [""]
    assert world.outside.made == set() and world.known() == {}


def test_a_plan_with_a_problem_touches_nothing(world: World) -> None:
    with pytest.raises(ConfigurationError, match="has 3 members, and 4 were asked for"):
        provision(world.shop(), world.plan(4))
    assert world.outside.made == set() and world.known() == {}


def test_somebody_elses_host_is_left_alone(world: World) -> None:
    provision(world.shop(), world.plan(1))
    again = make_one(world.shop(), Planned("a", "make it"))
    assert "host a is handed out already, by me@here" in str(again.error)
    with world.hold("b"):
        assert "leased by me:1" in str(make_one(world.shop(), Planned("b", "make it")).error)
    assert world.outside.made == {"a"} and world.known() == {"a": True}


def test_reaping_leaves_what_is_being_made_and_what_is_handed_out(world: World) -> None:
    provision(world.shop(), world.plan(1))
    world.journal.provision_begin("b", "rack", "make it", "you")
    with world.hold("b"):
        (kept,) = reap(world.desk())
        assert kept.name == "b" and "is leased by me:1" in kept.kept
    assert [each.name for each in reap(world.desk(), "other")] == []
    assert [(each.name, each.kept) for each in reap(world.desk())] == [("b", "")]
    assert world.known() == {"a": True} and world.outside.made == {"a"}


@pytest.mark.parametrize("wiping", [True, False])
def test_what_was_changed_in_a_guest_is_put_back_unless_it_is_wiped(world: World, wiping: bool) -> None:
    provision(world.shop(), world.plan(2))
    world.outside.wiping = wiping
    world.journal.undo_push("a", "verifier as found", "Set-LabVerifier", {"Flags": 0})
    for name in "ab":
        hand_back(world.desk(), name)
    assert world.put_back == ([] if wiping else ["a"])
    assert world.journal.undo_pending() == [] and world.known() == {} and world.files() == set()


@pytest.mark.parametrize("wiping", [True, False])
def test_what_an_earlier_run_changed_is_forgotten_with_the_guest(world: World, wiping: bool) -> None:
    world.outside.wiping = wiping
    world.journal.undo_push("a", "verifier as found", "Set-LabVerifier", {"Flags": 0})
    assert make_one(world.shop(), Planned("a", "make it")).error is None
    assert [each.host for each in world.journal.undo_pending()] == ([] if wiping else ["a"])


def test_an_interrupt_ends_the_waits_of_all_threads_and_leaves_nothing(world: World) -> None:
    shop = world.shop()
    waiting = threading.Barrier(4)

    class Waiting(Outside):
        def make(self, name: str, tell: Callable[[str], None]) -> Host:
            super().make(name, tell)
            waiting.wait(60)
            shop.clock.sleep(3600)
            raise AssertionError("nobody stopped it")

        def unmake(self, name: str, tell: Callable[[str], None]) -> None:
            shop.clock.sleep(0)  # what is begun is taken back to the end
            super().unmake(name, tell)

    shop = replace(shop, maker=Waiting(world.outside.folder, world.outside.hosts))

    def interrupt() -> None:
        waiting.wait(60)
        shop.clock.stop()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        provision(shop, world.plan())
    interrupting.join()
    assert world.outside.made == set() and world.known() == {} and world.journal.leases() == []


class Mortal:
    """Passes calls on and ends the process, as SIGKILL does, before or after the one that was chosen."""

    def __init__(self, to: Any, step: Callable[[], None]) -> None:
        self._to, self._step = to, step

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._to, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._step()
            answer = found(*arguments, **named)
            self._step()
            return answer

        return call


def dying(folder: Path, at: int, what: Callable[[World, Callable[[Any], Any]], None]) -> bool:
    """Do `what` in a process that dies at its step number `at`. Whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count == at:
                os._exit(9)

        try:
            what(World(folder), lambda to: Mortal(to, step))
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def mortal_shop(world: World, mortal: Callable[[Any], Any]) -> Shop:
    shop = world.shop()
    return replace(
        shop,
        maker=mortal(shop.maker),
        journal=mortal(shop.journal),
        files=mortal(shop.files),
        hold=world.hold,
    )


def make_a(world: World, mortal: Callable[[Any], Any]) -> None:
    make_one(mortal_shop(world, mortal), Planned("a", "make it"))


def fail_with_a(world: World, mortal: Callable[[Any], Any]) -> None:
    world.outside.fails = {"a"}
    make_a(world, mortal)


def return_a(world: World, mortal: Callable[[Any], Any]) -> None:
    desk = world.desk()
    mortal_desk = replace(desk, journal=mortal(desk.journal), files=mortal(desk.files))
    hand_back(replace(mortal_desk, maker=lambda pool: mortal(world.outside)), "a")


@pytest.mark.parametrize(("what", "steps"), [(make_a, 8), (fail_with_a, 8), (return_a, 10)])
def test_dying_at_any_step_leaves_nothing_that_the_journal_does_not_know(
    tmp_path: Path, what: Callable[[World, Callable[[Any], Any]], None], steps: int
) -> None:
    died = 0
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        if what is return_a:
            before = World(folder)
            make_one(before.shop(), Planned("a", "make it"))
            before.journal.close()
        if not dying(folder, at, what):
            break
        died += 1
        world = World(folder)
        for lease in world.journal.leases():  # as of a process that is no more
            world.journal.release(lease)
        assert world.outside.made <= set(world.known())
        assert {name.removesuffix(".yaml") for name in world.files()} <= set(world.known())
        if world.known().get("a"):  # handed out, or being handed back
            assert list(reap(world.desk())) == []
            hand_back(world.desk(), "a")
        else:
            assert all(not each.kept for each in reap(world.desk()))
        assert world.outside.made == set() and world.known() == {} and world.files() == set()
        assert make_one(world.shop(), Planned("a", "make it")).error is None
        world.journal.close()
    assert died >= steps


class Checkpointed:
    """A machine that can be restored, as far as a rack uses one."""

    def __init__(self, *names: str) -> None:
        from lab.machines import Checkpoint

        self.kept = [Checkpoint(name, None) for name in names]
        self.state = PowerState.ON
        self.asked: list[str] = []

    def power_state(self) -> PowerState:
        return self.state

    def power_on(self) -> None:
        self.asked.append("on")
        self.state = PowerState.ON

    def checkpoint(self, name: str, *, memory: bool = False) -> None:
        self.asked.append(f"checkpoint {name}")

    def restore(self, name: str) -> None:
        self.asked.append(f"restore {name}")
        self.state = PowerState.OFF

    def checkpoints(self) -> tuple[Any, ...]:
        return tuple(self.kept)

    def remove_checkpoint(self, name: str) -> None: ...


class NoGuest:
    def __enter__(self) -> NoGuest:
        return self

    def __exit__(self, *error: object) -> None: ...

    def wait_until_reachable(self) -> None: ...


def test_a_rack_restores_the_baseline_and_takes_one_where_there_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = {"a": Checkpointed("baseline"), "b": Checkpointed("other"), "c": None}
    monkeypatch.setenv("P", "x")
    opened = lambda host, clock=None: machines[host.name] or world.outside  # noqa: E731
    monkeypatch.setattr(rack_module, "open_machine", opened)
    monkeypatch.setattr("lab.provision.act.open_machine", opened)
    monkeypatch.setattr(rack_module, "open_guest", lambda host, clock: NoGuest())
    monkeypatch.setattr(Outside, "power_state", lambda self: PowerState.ON, raising=False)
    rack = Rack(world.inventory.pools["rack"], world.inventory.hosts, StoppingClock())
    stock = rack.stock()
    assert [each.how for each in stock.candidates] == [
        "restore the checkpoint 'baseline' and power on",
        "power on, and take the checkpoint 'baseline' once it is accepted",
        "power on, and take it as it is",
    ]
    assert stock.warnings == ("c cannot be put back to a checkpoint: it is taken, and handed back, as it is",)
    machines["b"] = None
    (warning,) = rack.stock().warnings
    assert warning.startswith("b, c cannot be put back to a checkpoint: they are taken")
    machines["b"] = Checkpointed("other")
    monkeypatch.delenv("P")
    assert all(each.obstacle.endswith("variable P is not set") for each in rack.stock().candidates)
    monkeypatch.setenv("P", "x")
    shop = replace(world.shop(), maker=rack)
    assert [each.error for each in provision(shop, world.plan())] == [None] * 3
    a, b = machines["a"], machines["b"]
    assert a is not None and a.asked == ["restore baseline", "on"]
    assert b is not None and b.asked == ["checkpoint baseline"]
    assert [rack.wipes(name) for name in "abc"] == [True, False, False]
    rack.unmake("a", print)
    assert a.asked[-1] == "restore baseline"


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"members": ["a"]}, "the host itself"),
        (
            {"members": ["a"], "install": INSTALL},
            "the answer file, 'drivers' or 'commands' of install",
        ),
        ({"machine": TEMPLATE, "guest": {"shell": SHELL}}, "the template"),
    ],
)
def test_a_host_that_is_not_fit_is_corrected_where_it_comes_from(
    settings: dict[str, Any], source: str
) -> None:
    found = source_of(Pool.model_validate({"name": "p", **settings}))
    with pytest.raises(NotAccepted) as caught:
        replace(UNFIT, source=found).check("a")
    assert caught.value.help == f"Correct it. Correct {source}, and provision again."


def test_differences_are_told_from_the_first_host() -> None:
    one = replace(FIT, drivers=(("X", "x.sys", "1"), ("Y", "y.sys", "")))
    two = replace(FIT, drivers=(("X", "x.sys", "2"),))
    assert differences([]) == () and differences([("a", one), ("b", one)]) == ()
    assert differences([("a", one), ("b", two), ("c", one)]) == (
        "the drivers of b differ from those of a: it lacks x.sys 1, y.sys and has x.sys 2",
    )
