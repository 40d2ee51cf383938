"""The host's shell while a load runs: the server's own queues, and whether the host was started anew."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from lab.model import LabError, QueueSample, SystemClock, TimedOut, wait_until
from lab.windows import Guest

RESTART_SECONDS = 5.0
"""How long a shell that does not answer yet is asked which boot it is of."""
RESTART_POLL = 0.5


class HostShell:
    """The host's shell during a load: the server's own queues, and whether the host was started anew.

    A host without a shell can be loaded, too: then neither is known. `failure` says why the last look at
    the queues gave none.
    """

    def __init__(self, guest: Guest, boot: str = "") -> None:
        """`boot` is the identity of the boot that is running, where that is known."""
        self._guest = guest
        self._boot = boot
        self._using = threading.Lock()
        self.failure = "the load was over before the first look"

    def note_boot(self) -> threading.Thread:
        """Remember which boot is running, in the background: a shell that hangs must not hold up the load."""
        thread = threading.Thread(target=self._note_boot, name="load-boot", daemon=True)
        thread.start()
        return thread

    def _note_boot(self) -> None:
        with self._using, suppress(LabError):
            self._boot = self._guest.boot().identity

    def queues(self) -> Sequence[QueueSample]:
        with self._using:
            try:
                found = self._guest.server_queues()
            except LabError as error:
                self.failure = error.message
                raise
            self.failure = ""
            return found

    def restarted(self) -> bool | None:
        """Whether another boot answers now; asked right after connections came back. None: not known."""
        if not self._boot:
            return None
        try:
            boot = wait_until(
                self._running,
                wait="restarted",
                seconds=RESTART_SECONDS,
                clock=SystemClock(),
                every=RESTART_POLL,
            )
        except TimedOut:
            return None
        return boot != self._boot

    def _running(self) -> str | None:
        """The boot that answers; None when none does yet, or a look at the queues hangs in the shell."""
        if not self._using.acquire(timeout=RESTART_POLL):
            return None
        try:
            return self._guest.boot().identity
        except LabError:
            return None
        finally:
            self._using.release()

    def close(self) -> None:
        """Close the shell, unless a script hangs in it: a host that has died would keep us waiting."""
        if self._using.acquire(blocking=False):
            self._guest.close()
            self._using.release()
