"""Put a host back as the journal says it was found: now, later, or by another process."""

from __future__ import annotations

from collections.abc import Sequence

from lab.inventory import Host
from lab.journal import Journal, Undo
from lab.machines import Machine, Restorable, open_machine
from lab.model import CredentialsRefused, GuestError, InfrastructureError, PowerState, TimedOut
from lab.windows import Guest, open_guest, undo

ATTEMPTS = 3
"""Tries in all: the guest may just be going down for a restart that was asked for, or hang."""

BASELINE = "baseline"
"""The checkpoint that is the last resort: `lab provision` calls its own so, unless told otherwise."""


def restore(host: Host, journal: Journal) -> list[str]:
    """Run the pending undo entries of a host, restart it, and mark them done.

    A host that does not answer is reset. One that still does not is put back to its checkpoint `BASELINE`,
    where there is one, before the entries are run.

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
    told: list[str] = []
    with open_guest(host) as guest:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                done, refused = _replay(guest, pending)
                break
            except CredentialsRefused:  # trying again could lock the account
                raise
            except InfrastructureError:
                if attempt == ATTEMPTS:
                    raise
            except TimedOut:
                if attempt < ATTEMPTS:
                    machine.reset()
                    continue
                if not _at_baseline(machine):
                    raise
                told = [f"the checkpoint '{BASELINE}', for it did not start any more"]
                done, refused = _replay(guest, pending)
    for entry in done:
        journal.undo_done(entry.id)
    if refused is not None:
        raise refused
    return told + [entry.what for entry in done]


def _at_baseline(machine: Machine) -> bool:
    """Whether the machine was put back to its baseline, and is on. False: it has none."""
    if not isinstance(machine, Restorable) or all(each.name != BASELINE for each in machine.checkpoints()):
        return False
    machine.restore(BASELINE)
    if machine.power_state() is PowerState.OFF:
        machine.power_on()
    return True


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
