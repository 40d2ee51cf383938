"""Put a host back as the journal says it was found: now, later, or by another process."""

from __future__ import annotations

from lab.inventory import Host
from lab.journal import Journal
from lab.machines import open_machine
from lab.model import CredentialsRefused, InfrastructureError, PowerState, TimedOut
from lab.windows import open_guest, undo

ATTEMPTS = 3
"""Tries in all: the guest may just be going down for a restart that was asked for, or hang."""


def restore(host: Host, journal: Journal) -> list[str]:
    """Run the pending undo entries of a host, restart it, and mark them done.

    Returns what was put back, one sentence each; empty when there was nothing to do. Entries are marked
    done only after the restart, so that an interrupted restore is simply run again. Errors of the guest
    and of the way there pass through, with the entries still pending.
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
                boot = guest.wait_until_reachable()
                for entry in pending:
                    undo.replay(guest, entry.script, entry.parameters)
                guest.restart("bugcheck-lab: as found")
                guest.wait_for_new_boot(boot)
                break
            except CredentialsRefused:  # trying again could lock the account
                raise
            except (InfrastructureError, TimedOut) as error:
                if attempt == ATTEMPTS:
                    raise
                if isinstance(error, TimedOut):
                    machine.reset()
    for entry in pending:
        journal.undo_done(entry.id)
    return [entry.what for entry in pending]
