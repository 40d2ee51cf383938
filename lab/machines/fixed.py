"""A machine whose power is switched by the user's own commands, or by nobody."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from lab.inventory import FixedMachine as Settings
from lab.inventory import Host
from lab.model import Clock, ConfigurationError, InfrastructureError, PowerState


class FixedMachine:
    """See `lab.machines.port.Machine`. A command that was not given raises InfrastructureError."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        on: Sequence[str] = (),
        off: Sequence[str] = (),
        reset: Sequence[str] = (),
        interrupt: Sequence[str] = (),
        state: Sequence[str] = (),
        seconds: float = 60,
    ) -> None:
        self._name = name
        self._address = address
        self._commands = {"on": on, "off": off, "reset": reset, "interrupt": interrupt, "state": state}
        self._seconds = seconds

    def power_state(self) -> PowerState:
        """Unknown without a `state` command."""
        if not self._commands["state"]:
            return PowerState.UNKNOWN
        answer = self._run("state").strip().casefold()
        try:
            return PowerState(answer)
        except ValueError:
            raise InfrastructureError(
                f"the 'state' command of host '{self._name}' printed {answer[:40]!r} instead of on or off"
            ) from None

    def power_on(self) -> None:
        self._run("on")

    def power_off(self) -> None:
        self._run("off")

    def reset(self) -> None:
        """By the `reset` command, else `off` and then `on`."""
        if not self._commands["reset"] and self._commands["off"] and self._commands["on"]:
            self._run("off")
            self._run("on")
        else:
            self._run("reset")

    def interrupt(self) -> None:
        self._run("interrupt")

    def address(self) -> str:
        return self._address

    def _run(self, what: str) -> str:
        command = list(self._commands[what])
        if not command:
            raise InfrastructureError(
                f"host '{self._name}' has no command to do '{what}'",
                help=f"Give machine.{what} in the inventory, or do it by hand.",
            )
        about = f"the '{what}' command of host '{self._name}' ({command[0]})"
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._seconds, check=False
            )
        except FileNotFoundError:
            raise ConfigurationError(f"{about} does not exist") from None
        except OSError as error:
            raise ConfigurationError(f"{about} cannot be run: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise InfrastructureError(f"{about} did not end within {self._seconds:g} s") from None
        if done.returncode:
            said = " ".join(done.stderr.decode(errors="replace").split())[:200]
            raise InfrastructureError(
                f"{about} failed with exit code {done.returncode}: {said or 'no message'}"
            )
        return done.stdout.decode(errors="replace")


def open_machine(settings: Settings, host: Host, clock: Clock) -> FixedMachine:
    return FixedMachine(
        host.name,
        host.address,
        on=settings.on,
        off=settings.off,
        reset=settings.reset,
        interrupt=settings.interrupt,
        state=settings.state,
        seconds=host.timeouts.power,
    )
