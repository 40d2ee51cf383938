"""Waiting until a machine's power is what was asked for."""

from __future__ import annotations

from lab.inventory import Timeouts
from lab.machines.port import Machine
from lab.model import Clock, PowerState, wait_until


def wait_for_power(
    machine: Machine, wanted: PowerState, name: str, timeouts: Timeouts, clock: Clock
) -> PowerState:
    """Wait (`power`) until it is so. A back end that cannot tell the state is believed: UNKNOWN at once.

    Raises TimedOut, and what the back end raises.
    """
    seen = PowerState.UNKNOWN

    def look() -> PowerState | None:
        nonlocal seen
        seen = machine.power_state()
        return seen if seen in (wanted, PowerState.UNKNOWN) else None

    return wait_until(
        look,
        wait="power",
        seconds=timeouts.power,
        clock=clock,
        every=timeouts.poll,
        last_seen=lambda: f"{name} is {seen}",
    )
