"""What the tests of vSphere share: sessions and machines of a simulated vCenter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from vcsim import PASSWORD, USER, Vcsim, build

from lab.inventory import Timeouts
from lab.machines.vsphere import Session, Tasks, Vcenter
from lab.machines.vsphere.machine import VsphereMachine
from lab.model import SystemClock

NAME = "DC0_C0_RP0_VM0"
PATH = f"/DC0/vm/{NAME}"
LONG = 60.0
"""Seconds for what takes far less, on a busy computer."""


@contextmanager
def running(folder: Path, **how: Any) -> Iterator[Vcsim]:
    """A simulator with other settings than the fixture's."""
    if reason := build():
        pytest.skip(reason)
    vcenter = Vcsim(folder, **how)
    vcenter.start()
    try:
        yield vcenter
    finally:
        vcenter.kill()


def session_of(vcenter: Vcsim, **change: Any) -> Session:
    settings: dict[str, Any] = {"user": USER, "password": lambda: PASSWORD, "ca_file": vcenter.ca_file}
    return Session(vcenter.url, **settings | change)


def machine_of(session: Session, wanted: str = PATH, **change: float) -> VsphereMachine:
    timeouts = Timeouts(**{"power": LONG, "checkpoint": LONG, "tools": LONG, "poll": 0.05} | change)
    return VsphereMachine(
        Vcenter(session, Tasks(session)), wanted, address="", timeouts=timeouts, clock=SystemClock()
    )


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
