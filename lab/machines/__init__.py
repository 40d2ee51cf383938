"""Machines we can power, reset and interrupt. One back end a file; the contract is `port`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from lab.inventory import Host
from lab.machines import fixed, redfish
from lab.machines.port import (
    BootDevice,
    BootOverride,
    BootsFromMedia,
    Checkpoint,
    Console,
    Interference,
    Machine,
    OutOfBandStop,
    Restorable,
    Screen,
    SerialConsole,
    Witness,
)
from lab.model import Clock, ConfigurationError, SystemClock

__all__ = [
    "BACK_ENDS",
    "BootDevice",
    "BootOverride",
    "BootsFromMedia",
    "Checkpoint",
    "Console",
    "Interference",
    "Machine",
    "OutOfBandStop",
    "Restorable",
    "Screen",
    "SerialConsole",
    "Witness",
    "open_machine",
]


def _open_vsphere(settings: Any, host: Host, clock: Clock) -> Machine:
    if find_spec("pyVmomi") is None:  # not every lab has it
        raise ConfigurationError(
            f"host '{host.name}' is a machine of a vCenter, and pyvmomi is not installed",
            help="Install it with 'pip install bugcheck-lab[vsphere]'.",
        )
    from lab.machines.vsphere import machine

    return machine.open_machine(settings, host, clock)


def _open_ipmi(settings: Any, host: Host, clock: Clock) -> Machine:
    if find_spec("pyghmi") is None:  # likewise
        raise ConfigurationError(
            f"host '{host.name}' is powered by IPMI, and pyghmi is not installed",
            help="Install it with 'pip install bugcheck-lab[ipmi]'.",
        )
    from lab.machines import ipmi

    return ipmi.open_machine(settings, host, clock)


BACK_ENDS: dict[str, Callable[[Any, Host, Clock], Machine]] = {
    "fixed": fixed.open_machine,
    "ipmi": _open_ipmi,
    "redfish": redfish.open_machine,
    "vsphere": _open_vsphere,
}
"""Kind in the inventory to the function that opens it: takes the kind's own settings, the host, the clock."""


def open_machine(host: Host, clock: Clock | None = None) -> Machine:
    """The machine that the host's inventory entry names. Connects on first use.

    Raises ConfigurationError when a secret is missing or a certificate file does not exist.
    """
    opener = BACK_ENDS.get(host.machine.kind)
    if opener is None:
        raise ConfigurationError(
            f"host '{host.name}': no back end for machines of kind '{host.machine.kind}'"
        )
    return opener(host.machine, host, clock or SystemClock())
