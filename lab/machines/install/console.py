"""The last line that a serial console showed, for errors that tell what was last seen."""

from __future__ import annotations

import re
from contextlib import ExitStack
from types import TracebackType

from lab.machines.port import Console, SerialConsole
from lab.model import LabError

_KEPT = 4096
_LOOKS = 64
_ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


class Watcher:
    """Of no machine it shows nothing. A console that fails is told of and does no harm."""

    def __init__(self, machine: SerialConsole | None) -> None:
        self._machine = machine
        self._console: Console | None = None
        self._stack = ExitStack()
        self._tail = b""
        self.last = ""
        """"console: 'Starting services'", or why there is none."""

    def __enter__(self) -> Watcher:
        if self._machine is not None:
            try:
                self._console = self._stack.enter_context(self._machine.console())
            except LabError as error:
                self.last = f"console: {error}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._console = None
        try:
            self._stack.close()
        except LabError as failed:
            self.last = f"console: {failed}"

    def look(self) -> None:
        """Take in what has come; never waits long, whatever the console sends."""
        if self._console is None:
            return
        try:
            for _ in range(_LOOKS):
                data = self._console.read(0.05)
                if not data:
                    break
                self._tail = (self._tail + data)[-_KEPT:]
        except LabError as error:
            self._console, self.last = None, f"console: {error}"
            return
        plain = _ESCAPES.sub(b" ", self._tail).decode("utf-8", errors="replace")
        lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", plain)]
        shown = [line for line in lines if line]
        if shown:
            self.last = f"console: '{shown[-1][:120]}'"
