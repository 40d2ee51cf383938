"""What the tests of clones share: orders, and a stand-in for the guest of a simulated vCenter."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pyVmomi import vim
from vcsim import Vcsim
from vsphere_lab import LONG, until

from lab.machines.vsphere import Session, Tasks, Vcenter, find
from lab.machines.vsphere.customize import Customization
from lab.machines.vsphere.making import Clones, Limits
from lab.machines.vsphere.place import Order

LAB = "lab-7c1f"
RUN = "run-1"
POOL = "/DC0/host/DC0_C0/Resources"
TOMORROW = datetime.now(UTC) + timedelta(days=1)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
TOLD = b"what a guest would tell as its certificate"


class Password:
    """A secret by reference that remembers how often it was looked up."""

    def __init__(self, value: str = "Sysprep-1 & <ü>") -> None:
        self.value = value
        self.revealed = 0

    def reveal(self) -> str:
        self.revealed += 1
        return self.value

    def __repr__(self) -> str:
        return "•••"


def order(name: str = "srv1", **change: Any) -> Order:
    return Order(**{"name": name, "source": "ws2019", "resource_pool": POOL} | change)


def linked(name: str = "srv1", **change: Any) -> Order:
    return order(name, snapshot="base", **change)


def customized(name: str = "srv1", **change: Any) -> Order:
    sysprep = Customization(computer_name=name, administrator_password=Password())
    return linked(name, customization=sysprep, **change)


def clones_of(session: Session, lab: str = LAB, **change: float) -> Clones:
    limits = Limits(
        **{
            "clone": LONG,
            "customization": LONG,
            "tools": LONG,
            "first_boot": LONG,
            "power": LONG,
            "delete": LONG,
            "poll": 0.05,
        }
        | change
    )
    return Clones(Vcenter(session, Tasks(session)), lab, limits=limits)


def answering(vcenter: Vcsim, *names: str) -> None:
    """Machines of these names get addresses when they are powered on."""
    vcenter.control(behind={name: {"address": f"192.0.2.{n}"} for n, name in enumerate(names, 1)})


def machines(session: Session) -> set[str]:
    """Names of all machines."""
    return {row["name"] for _, row in find.properties(session, vim.VirtualMachine, ["name"])}


def post(session: Session, event: Any, vm: Any) -> None:
    """Have the vCenter know of an event of a machine."""
    event.vm = vim.event.VmEventArgument(name=vm.name, vm=vm)
    event.createdTime = datetime.now(UTC)
    event.userName, event.key, event.chainId = "", 0, 0
    session.act(lambda: session.content.eventManager.PostEvent(event, None), "an event")


def tell(session: Session, vm: Any, key: str, value: str) -> None:
    """What a guest tells its hypervisor by rpctool."""
    spec = vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key=key, value=value)])
    Tasks(session).run(lambda: vm.ReconfigVM_Task(spec), "guestinfo", LONG)


@contextmanager
def guest(session: Session, name: str, *events: Any, **told: str) -> Iterator[None]:
    """Once the machine runs, what would come of Sysprep and of the first log-on in it."""

    def run() -> None:
        until(lambda: running(session, name))
        vm = find.machine(session, name)
        for event in events:
            post(session, event, vm)
        for key, value in told.items():
            tell(session, vm, f"guestinfo.bugchecklab.{key}", value)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(LONG)


def running(session: Session, name: str) -> bool:
    rows = find.properties(session, vim.VirtualMachine, ["name", "runtime.powerState"])
    return any(row["name"] == name and str(row["runtime.powerState"]) == "poweredOn" for _, row in rows)


def told_certificate() -> dict[str, str]:
    return {"certificate": base64.b64encode(TOLD).decode()}
