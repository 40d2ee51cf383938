"""A running Windows: shells, scripts, drivers, verifier, crash control, boots and events."""

from __future__ import annotations

from lab.inventory import Host, PsrpShell, SshShell
from lab.model import Clock, SystemClock
from lab.windows.guest import Guest
from lab.windows.shell import Script, Shell

__all__ = ["Guest", "Script", "Shell", "open_guest", "open_shell"]


def open_shell(host: Host, clock: Clock | None = None) -> Shell:
    """The shell that the host's inventory entry names. Nothing is connected before the first script.

    Raises ConfigurationError when a secret is missing.
    """
    settings = host.guest.shell
    clock = clock or SystemClock()
    if isinstance(settings, PsrpShell):
        from lab.windows import psrp

        return psrp.open_shell(host.address, settings, host.timeouts, clock)
    assert isinstance(settings, SshShell)
    from lab.windows import ssh

    return ssh.open_shell(host.address, settings, host.timeouts, clock)


def open_guest(host: Host, clock: Clock | None = None) -> Guest:
    """The host's guest, over the shell of its inventory entry."""
    clock = clock or SystemClock()
    return Guest(open_shell(host, clock), clock, host.timeouts, pinned=host.pinned)
