"""A plan carried out: hosts made side by side, accepted, handed out; what fails is taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from lab.inventory import Host, Pool
from lab.journal import Journal
from lab.machines import Restorable, open_machine
from lab.model import LabError, SystemClock
from lab.provision.accept import Examined
from lab.provision.maker import Maker
from lab.provision.plan import Plan, Planned
from lab.provision.store import HostFiles

Hold = Callable[[str], AbstractContextManager[Callable[[], None]]]
"""Leases the host of that name until the block ends. Gives a function that raises InfrastructureError when
the host is not ours any more."""

TellOf = Callable[[str, str], None]
"""Takes the name of a host and a short sentence of progress."""


class StoppingClock(SystemClock):
    """A clock whose sleeps end in KeyboardInterrupt once `stop` was called: it ends the waits of all threads.

    Within `undisturbed` a thread goes on waiting: what was begun is taken back to the end.
    """

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._here = threading.local()

    def stop(self) -> None:
        self.stopped.set()

    def sleep(self, seconds: float) -> None:
        if getattr(self._here, "undisturbed", False):
            super().sleep(seconds)
        elif self.stopped.wait(seconds):
            raise KeyboardInterrupt

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        self._here.undisturbed = True
        try:
            yield
        finally:
            self._here.undisturbed = False


@dataclass(frozen=True)
class Shop:
    """What the making of one pool's hosts needs. `owner` is who asks, for other people to read."""

    pool: Pool
    maker: Maker
    journal: Journal
    files: HostFiles
    hold: Hold
    examine: Callable[[Host], Examined]
    owner: str
    tell: TellOf = lambda name, text: None
    clock: StoppingClock = field(default_factory=StoppingClock)


@dataclass(frozen=True)
class Made:
    """How it went with one host. Without `error` it was handed out."""

    name: str
    seconds: float
    host: Host | None = None
    examined: Examined | None = None
    error: LabError | None = None
    left: str = ""
    """What could not be taken back, and stands in the journal; "" when nothing is left."""


def provision(shop: Shop, plan: Plan) -> tuple[Made, ...]:
    """Make the plan's hosts, `at_once` of them at a time; one that fails stops no other.

    Raises the plan's problem before anything is touched. On Ctrl-C what is half-made is taken back, and
    KeyboardInterrupt goes on; hosts that were handed out before stay so.
    """
    plan.check()
    with ThreadPoolExecutor(plan.at_once, thread_name_prefix="provision") as threads:
        futures: list[Future[Made]] = [threads.submit(make_one, shop, each) for each in plan.hosts]
        try:
            wait(futures)
        except BaseException:
            shop.clock.stop()
            for future in futures:
                future.cancel()
            raise
    return tuple(future.result() for future in futures)


def make_one(shop: Shop, planned: Planned) -> Made:
    """One host of a plan, from the journal's entry to the host's file. LabErrors are in the result."""
    began = shop.clock.now()
    examined: Examined | None = None

    def result(host: Host | None = None, error: LabError | None = None, left: str = "") -> Made:
        return Made(planned.name, shop.clock.now() - began, host, examined, error, left)

    def tell(text: str) -> None:
        shop.tell(planned.name, text)

    try:
        with shop.hold(planned.name) as ours:
            key = shop.journal.provision_begin(planned.name, shop.pool.name, planned.how, shop.owner)
            try:
                host = shop.maker.make(planned.name, tell)
                ours()
                _forget_changes(shop, planned.name)
                tell("looking whether it is fit")
                examined = shop.examine(host)
                examined.check(host.name)
                _keep_baseline(shop, host)
                ours()
                shop.files.write(host, shop.pool.name)
                shop.journal.provision_ready(key)
            except BaseException as error:
                left = _take_back(shop, planned.name, key, ours)
                if not isinstance(error, LabError):
                    raise
                return result(error=error, left=left)
    except LabError as error:  # it could not be leased, or is somebody's already
        return result(error=error)
    tell("ready")
    return result(host)


def _forget_changes(shop: Shop, name: str) -> None:
    """What an earlier run changed in the guest is gone with the guest, and is not to be put back any more."""
    changed = shop.journal.undo_pending(name)
    if changed and shop.maker.wipes(name):
        for each in changed:
            shop.journal.undo_done(each.id)


def _keep_baseline(shop: Shop, host: Host) -> None:
    machine = open_machine(host, shop.clock)
    if isinstance(machine, Restorable):
        name = shop.pool.baseline
        if all(each.name != name for each in machine.checkpoints()):
            shop.tell(host.name, f"taking the checkpoint '{name}'")
            machine.checkpoint(name)


def _take_back(shop: Shop, name: str, key: int, ours: Callable[[], None]) -> str:
    """Leave nothing of a host that failed; what stays, "" for nothing. Its entry then stays, too."""
    shop.tell(name, "taking it back")
    try:
        with shop.clock.undisturbed():
            ours()  # else it is somebody else's by now
            shop.files.remove(name)
            shop.maker.unmake(name, lambda text: shop.tell(name, text))
            shop.journal.provision_end(key)
    except LabError as error:
        return f"{name} could not be taken back: {error.message}; 'lab machine reap' tries again"
    return ""
