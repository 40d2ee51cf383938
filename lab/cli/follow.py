"""Follows a case while something else works on it, by looking at its journal now and then."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from lab.model import LabError


class Follower:
    """A context that looks every `every` seconds, in a thread of its own, and once more when it is left.

    Subclasses say what to look at; `begin` and `end` are for what stands on the screen meanwhile.
    """

    def __init__(self, name: str, every: float) -> None:
        self.done = threading.Event()
        self._every = every
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def look(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.begin()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.done.set()
        self._thread.join(timeout=5)
        self.look()
        self.end()

    def _follow(self) -> None:
        while not self.done.wait(self._every):
            with suppress(LabError):  # a journal that is busy is looked at again
                self.look()
