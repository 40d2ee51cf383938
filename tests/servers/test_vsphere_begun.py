"""Clones that a vCenter still makes, found by what they will be called, against a simulated vCenter.

The simulator's own events of clones come when they are made; ours (tests/servers/vcsim) come when they begin,
as the names of vCenter's events say. Not proven by it: the order in which a vCenter makes task and event.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from vcsim import Vcsim
from vsphere_clones import POOL, RUN, TOMORROW, clones_of, linked, machines, order
from vsphere_lab import LONG, NAME, machine_of, until

from lab.machines.vsphere import Session, begun
from lab.machines.vsphere.place import Order
from lab.model import InfrastructureError, SystemClock, TimedOut


@contextmanager
def cloning(session: Session, wanted: Order) -> Iterator[None]:
    """A clone is being made, and given up at the end."""
    cancel = threading.Event()

    def make() -> None:
        with suppress(InfrastructureError):
            clones_of(session).make(wanted, RUN, TOMORROW, cancel=cancel)

    thread = threading.Thread(target=make)
    thread.start()
    try:
        until(lambda: wanted.name in {each.name for each in begun.clones(session)})
        yield
    finally:
        cancel.set()
        thread.join(LONG)


def settle(session: Session, name: str, source: str = "", seconds: float = LONG) -> None:
    begun.settle(session, name, source, seconds=seconds, every=0.05, clock=SystemClock())


def test_what_is_being_made_is_told_by_name(vcenter: Vcsim, session: Session) -> None:
    """Of templates and of machines, which a vCenter tells by different events."""
    machine_of(session).checkpoint("base")
    vcenter.control(work={"CloneVM_Task": 10 * LONG})
    before = machines(session)
    with ExitStack() as going:
        going.enter_context(cloning(session, order("full")))
        going.enter_context(cloning(session, linked("child", source=NAME, resource_pool=POOL)))
        found = {each.name: each.source for each in begun.clones(session)}
        assert found == {"full": "ws2019", "child": NAME}
        for name in found:
            with pytest.raises(TimedOut, match=rf"0\.2 s for delete; .* still makes the clone {name} \(run"):
                settle(session, name, seconds=0.2)
        settle(session, "other", NAME)  # nobody makes that one
    settle(session, "full")
    assert begun.clones(session) == () and machines(session) == before


@pytest.mark.parametrize(
    ("name", "source", "may_be"),
    [
        ("srv1", "other", True),
        ("srv2", "ws2019", False),
        (None, "ws2019", True),  # it may be any of that source's
        (None, "other", False),
    ],
)
def test_a_clone_whose_name_is_not_told(name: str | None, source: str, may_be: bool) -> None:
    assert begun.Begun(source, name, "running").may_be("srv1", "ws2019") is may_be
