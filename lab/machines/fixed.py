"""A machine whose power is switched by the user's own commands, or by nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from lab.inventory import FixedMachine as Settings
from lab.inventory import Host
from lab.model import Clock, ConfigurationError, InfrastructureError, PowerState, TimedOut

_MOST_OUTPUT = 64 << 10


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

    def has_command(self, what: str) -> bool:
        """Whether there is one for on, off, reset or interrupt."""
        off_and_on = bool(self._commands["off"] and self._commands["on"])
        return bool(self._commands[what]) or (what == "reset" and off_and_on)

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
        self._switch("on", PowerState.ON)

    def power_off(self) -> None:
        self._switch("off", PowerState.OFF)

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

    def _switch(self, what: str, wanted: PowerState) -> None:
        try:
            self._run(what)
        except InfrastructureError:
            if not self._commands["state"] or self.power_state() is not wanted:
                raise  # a command may refuse what is done already

    def _run(self, what: str) -> str:
        command = list(self._commands[what])
        if not command:
            raise InfrastructureError(
                f"host '{self._name}' has no command to do '{what}'",
                help=f"Give machine.{what} in the inventory, or do it by hand.",
            )
        about = f"the '{what}' command of host '{self._name}' ({command[0]})"
        # Files and not pipes: what the command leaves running may keep a pipe open for ever.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                running = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
                )
            except FileNotFoundError:
                raise ConfigurationError(f"{about} does not exist") from None
            except OSError as error:
                raise ConfigurationError(f"{about} cannot be run: {error.strerror}") from None
            try:
                code = running.wait(self._seconds)
            except subprocess.TimeoutExpired:
                raise TimedOut("power", self._seconds, f"{about} has not ended") from None
            finally:
                if running.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(running.pid, signal.SIGKILL)
                    running.wait()
            if code:
                said = " ".join(_read(errors).split())[:200]
                raise InfrastructureError(f"{about} failed with exit code {code}: {said or 'no message'}")
            return _read(output)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MOST_OUTPUT).decode(errors="replace")


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
