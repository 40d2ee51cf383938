"""What can go wrong, by who must act. The class decides the exit code of the command line."""

from __future__ import annotations


class LabError(Exception):
    """Base of every error this project raises on purpose.

    `message` is one sentence: what was wrong and where. `help` is one sentence: what to do.
    """

    exit_code = 1
    help = ""

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if help is not None:
            self.help = help

    def __str__(self) -> str:
        return self.message


class ConfigurationError(LabError):
    """The user's input is wrong: inventory, recipe, options. The user must act."""

    exit_code = 3
    help = "Correct the input and try again."


class Refused(ConfigurationError):
    """The input is well-formed, but acting on it would not be safe."""

    help = "Only hosts of the inventory marked 'expendable: true' may be crashed, loaded or changed."


class InfrastructureError(LabError):
    """Power, network, hypervisor or credentials failed. The keeper of the lab must act."""

    exit_code = 4
    help = "Check the host with 'lab host check NAME'."


class CredentialsRefused(InfrastructureError):
    """A log-on was refused: trying again with the same user and password will not help."""

    help = "Correct the user or the password reference of this host in the inventory."


class GuestError(LabError):
    """Windows answered, and said no: a script failed, a setting was refused."""

    exit_code = 5
    help = "Look at the guest's own message above."


class NotApplied(GuestError):
    """A change was accepted, but did not hold when read back. Never counts as evidence.

    `services` are the drivers that are not as planned. `final`: waiting longer will not change it.
    """

    help = "Look for what protects the setting (tamper protection, group policy), or pin the driver."

    def __init__(
        self, message: str, *, services: tuple[str, ...] = (), final: bool = False, help: str | None = None
    ) -> None:
        super().__init__(message, help=help)
        self.services = services
        self.final = final


class LoadNotDelivered(LabError):
    """A read load did not reach the server as planned, so it says nothing of the server."""

    exit_code = 8
    help = "See what failed above; ask for less, or look at the share, the disk and the network of the host."


class TimedOut(LabError):
    """A named wait ran out. `wait` names it, `seconds` is its limit, `last_seen` what was seen last."""

    exit_code = 6

    def __init__(self, wait: str, seconds: float, last_seen: str, *, help: str | None = None) -> None:
        super().__init__(
            f"waited {seconds:g} s for {wait}; last seen: {last_seen}",
            help=help or f"Raise the time-out '{wait}' or look at the host.",
        )
        self.wait = wait
        self.seconds = seconds
        self.last_seen = last_seen


class DumpError(LabError):
    """A file is not a dump we can read, or not whole; the message says which and what still can be said."""

    exit_code = 7
    help = "Copy the file again from the machine that wrote it and compare sizes."
