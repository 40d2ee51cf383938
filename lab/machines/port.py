"""What a caller may rely on from every machine back end.

`Machine` is what all of them can do. Everything else is a capability of its own, asked for with isinstance:
`if isinstance(machine, Restorable): ...`. A back end has the methods of a capability or it has none of them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from lab.model import Bugcheck, PowerState


@runtime_checkable
class Machine(Protocol):
    """A computer we can power, reset and interrupt.

    Calls return when the back end has accepted the request; `power_state` tells when it took effect. To ask
    for the state that it is in already is no error.
    Raise InfrastructureError when the back end refuses or cannot be reached, TimedOut when it does not
    answer in time, ConfigurationError when what the inventory names does not exist there.
    """

    def power_state(self) -> PowerState: ...
    def power_on(self) -> None: ...

    def power_off(self) -> None:
        """Hard, as if the cord were pulled."""

    def reset(self) -> None:
        """Hard."""

    def interrupt(self) -> None:
        """NMI: a hung Windows stops with 0x80 and writes a dump. That stop is ours."""

    def address(self) -> str:
        """Host name or IP address of the guest."""


@dataclass(frozen=True)
class Checkpoint:
    """A state that a machine can be put back to."""

    name: str
    at: datetime | None
    """When it was taken, with a time zone; None when the back end does not say."""

    memory: bool = False
    """True: the machine ran, and its memory is kept. False: disks only."""

    @property
    def power(self) -> PowerState:
        """What the machine is after a restore: running when memory was kept, else off."""
        return PowerState.ON if self.memory else PowerState.OFF


@runtime_checkable
class Restorable(Protocol):
    """A machine that can be put back to a named state. A name stands for one checkpoint of the machine."""

    def checkpoint(self, name: str, *, memory: bool = False) -> None:
        """Take one; returns when it is there. With `memory` a running machine goes on from it, as it was.

        Raises ConfigurationError when the name is taken.
        """

    def restore(self, name: str) -> None:
        """Returns when the restore is done, not when it is queued, and the power is as `Checkpoint.power`.

        Raises ConfigurationError that names the checkpoints there are when there is none of that name.
        """

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All of them, oldest first."""

    def remove_checkpoint(self, name: str) -> None:
        """Returns when it is gone; later checkpoints stay. Raises ConfigurationError as `restore` does."""


@runtime_checkable
class Screen(Protocol):
    """A machine whose screen can be seen: a blue screen shows there when nothing else answers."""

    def screenshot(self) -> bytes:
        """A PNG. Raises InfrastructureError when the machine is off."""


class Console(Protocol):
    """An open serial console."""

    def read(self, seconds: float) -> bytes:
        """What has come, at once when there is something; else what comes within that time, b"" for nothing.

        Raises InfrastructureError when the connection is lost.
        """

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


@runtime_checkable
class SerialConsole(Protocol):
    """A machine whose serial port can be reached: boot messages, EMS/SAC."""

    def console(self) -> AbstractContextManager[Console]:
        """Open it; one at a time. Raises InfrastructureError when another holds it."""


class BootDevice(StrEnum):
    CD = "cd"
    PXE = "pxe"
    DISK = "disk"


@runtime_checkable
class BootOverride(Protocol):
    """A machine that can be told what to boot from."""

    def boot_once(self, device: BootDevice) -> None:
        """For the next boot only. Raises InfrastructureError when it did not take, as read back."""


@runtime_checkable
class BootsFromMedia(BootOverride, Protocol):
    """A machine that also takes virtual media."""

    def insert_media(self, source: str) -> None:
        """Put an ISO image into the virtual drive: a URL, or a path as the back end understands it.

        Returns when it is in; what was in the drive before is ejected.
        """

    def eject_media(self) -> None:
        """An empty drive is no error."""


@dataclass(frozen=True)
class OutOfBandStop:
    """A bugcheck as seen from outside of the guest."""

    at: datetime
    """With a time zone, by the clock of the observer."""

    bugcheck: Bugcheck
    """Of code 0: it is known that there was one, but not which."""

    source: str
    """Where it was read, for a person: "vmware.log of ws2019-3"."""


@runtime_checkable
class Witness(Protocol):
    """A machine whose hypervisor or controller sees bugchecks, without the guest."""

    def stops(self, since: datetime) -> tuple[OutOfBandStop, ...]:
        """Oldest first. `since` has a time zone."""


@runtime_checkable
class Interference(Protocol):
    """A machine that something else may reset behind our back, which spoils the dump of a crash."""

    def meddlers(self) -> tuple[str, ...]:
        """One sentence each on what would do it and how to stop it; () when nothing would."""
