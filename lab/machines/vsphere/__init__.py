"""Machines of a vCenter, by pyvmomi.

`connect(controller)` gives a `Vcenter`: its session and the one waiter for its tasks, shared by all machines
of this process that name the same controller. `find` finds objects, `machine` is the back end.
"""

from __future__ import annotations

import atexit
import threading
from dataclasses import dataclass

from lab.inventory import VcenterController
from lab.machines.vsphere.faults import VcenterFault
from lab.machines.vsphere.session import Session
from lab.machines.vsphere.tasks import Cancelled, Progress, Tasks

__all__ = ["Cancelled", "Progress", "Session", "Tasks", "Vcenter", "VcenterFault", "connect"]


@dataclass(frozen=True)
class Vcenter:
    """A log-on to a vCenter, and what waits for its tasks."""

    session: Session
    tasks: Tasks


_open: dict[VcenterController, Vcenter] = {}
_lock = threading.Lock()


def connect(controller: VcenterController, connect_seconds: float = 15) -> Vcenter:
    """The one `Vcenter` for these settings. Logs on at the first call that needs it, off when Python ends.

    Raises ConfigurationError when its CA file is not there or is none.
    """
    with _lock:
        found = _open.get(controller)
        if found is None:
            session = Session(
                controller.url,
                user=controller.user,
                password=controller.password.reveal,
                ca_file=controller.ca_file,
                thumbprint=controller.thumbprint,
                connect_seconds=connect_seconds,
            )
            found = _open[controller] = Vcenter(session, Tasks(session))
        return found


@atexit.register
def close_all() -> None:
    """Log off everywhere."""
    with _lock:
        while _open:
            _open.popitem()[1].session.close()
