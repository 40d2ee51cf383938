"""What a caller may rely on from every machine back end."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lab.model import PowerState


@runtime_checkable
class Machine(Protocol):
    """A computer we can power, reset and interrupt.

    Calls return when the back end has accepted the request; `power_state` tells when it took effect.
    Raise InfrastructureError when the back end refuses or cannot be reached.
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


@runtime_checkable
class Restorable(Protocol):
    """A machine that can be put back to a named state."""

    def checkpoint(self, name: str) -> None: ...

    def restore(self, name: str) -> None:
        """Returns when the restore is done, not when it is queued."""
