"""Going on after a lost connection, for as long as there is hope."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lab.capture.incoming import VaultError
from lab.capture.source import DumpRef
from lab.model import Clock, InfrastructureError, TimedOut
from lab.smb import AccessDenied, CredentialsRefused, NotOffered, NotThere

TRIES = 6
"""Lost connections in a row, without a byte between them, after which a fetch gives up."""

PAUSE = 0.5
"""Seconds before the second try; each further pause is one such longer."""

T = TypeVar("T")


class Replaced(InfrastructureError):
    """The dump is not the one any more that the fetch began with."""

    def __init__(self, ref: DumpRef) -> None:
        super().__init__(
            f"{ref.name} was replaced or cut short while it was fetched",
            help="Wait until the guest has finished writing its dump, then fetch it again.",
        )


class GivenUp(InfrastructureError):
    """The source was lost too often."""

    help = "Fetch it again when the host answers: what was received is kept."


class Stopped(Exception):
    """The fetch has ended: nobody waits for this any more."""


@dataclass(frozen=True)
class Patience:
    """Tries again after a loss of the source, with growing pauses, while there is time for the fetch.

    `received` tells how many bytes have come by any way: as long as that grows, so does the hope.
    """

    ref: DumpRef
    clock: Clock
    begun: float
    seconds: float | None
    received: Callable[[], int]
    stopped: threading.Event

    def __call__(self, read: Callable[[], T]) -> T:
        tries, seen = 0, self.received()
        while True:
            self.look_at_the_clock()
            try:
                return read()
            except (AccessDenied, CredentialsRefused, NotOffered, NotThere, Replaced, VaultError):
                raise
            except InfrastructureError as error:
                tries = tries + 1 if self.received() == seen else 1
                seen = self.received()
                if tries == TRIES:
                    raise GivenUp(
                        f"fetching {self.ref.name} failed {TRIES} times after {self.received()} of "
                        f"{self.ref.length} bytes: {error.message}"
                    ) from error
            for _ in range(tries):
                self.clock.sleep(PAUSE)
                if self.stopped.is_set():
                    raise Stopped

    def look_at_the_clock(self) -> None:
        """Raises TimedOut when the fetch has had its time."""
        if self.seconds is not None and self.clock.now() - self.begun >= self.seconds:
            raise TimedOut(
                "transfer",
                self.seconds,
                f"{self.received()} of {self.ref.length} bytes of {self.ref.name}",
                help="Raise the time-out 'transfer' or fetch it again: what was received is kept.",
            )
