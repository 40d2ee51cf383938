"""Put a host back as the journal says it was found: now, later, or by another process."""

from __future__ import annotations

from collections.abc import Sequence

from lab.inventory import Host
from lab.journal import Journal, Undo
from lab.machines import open_machine
from lab.model import CredentialsRefused, GuestError, InfrastructureError, PowerState, TimedOut
from lab.windows import Guest, open_guest, undo

ATTEMPTS = 3
"""Tries in all: the guest may just be going down for a restart that was asked for, or hang."""


def restore(host: Host, journal: Journal) -> list[str]:
    """Run the pending undo entries of a host, restart it, and mark them done.

    Returns what was put back, one sentence each; empty when there was nothing to do. Entries are marked
    done only after the restart, so that an interrupted restore is simply run again. An entry that the
    guest refuses stays pending and does not keep the others from being put back; its error is raised
    at the end. Errors of the way there pass through, with all entries still pending.
    """
    pending = journal.undo_pending(host.name)
    if not pending:
        return []
    machine = open_machine(host)
    if machine.power_state() is PowerState.OFF:
        machine.power_on()
    with open_guest(host) as guest:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                done, refused = _replay(guest, pending)
                break
            except CredentialsRefused:  # trying again could lock the account
                raise
            except (InfrastructureError, TimedOut) as error:
                if attempt == ATTEMPTS:
                    raise
                if isinstance(error, TimedOut):
                    machine.reset()
    for entry in done:
        journal.undo_done(entry.id)
    if refused is not None:
        raise refused
    return [entry.what for entry in done]


def _replay(guest: Guest, pending: Sequence[Undo]) -> tuple[list[Undo], GuestError | None]:
    """The entries that were put back and hold after the restart, and the first refusal of another."""
    boot = guest.wait_until_reachable()
    done: list[Undo] = []
    refused: GuestError | None = None
    for entry in pending:
        try:
            undo.replay(guest, entry.script, entry.parameters)
            done.append(entry)
        except GuestError as error:
            refused = refused or error
    guest.restart("bugcheck-lab: as found")
    guest.wait_for_new_boot(boot)
    return done, refused
