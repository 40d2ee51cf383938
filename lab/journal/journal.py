"""The journal: every call is one transaction, and safe beside other processes on the same database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType

from lab.journal import cases, leases, provisions, trials, undo
from lab.journal.cases import CaseSummary
from lab.journal.database import Database, open_database
from lab.journal.leases import Lease
from lab.journal.provisions import Provision
from lab.journal.times import utc_now
from lab.journal.trials import Heartbeat, RunningTrial
from lab.journal.undo import JSON, Undo
from lab.model import (
    Case,
    Driver,
    Entry,
    EntryKind,
    LoadPlan,
    LoadReport,
    Outcome,
    Recipe,
    Signature,
    Triage,
    Verdict,
)


def open_journal(
    where: str | Path, *, now: Callable[[], datetime] = utc_now, busy_seconds: float = 30.0
) -> Journal:
    """Open the journal at a path (SQLite) or database URL; it is made when there is none.

    `busy_seconds` is the time-out `journal-lock`. Raises ConfigurationError when what is there is not
    a journal, or one of a newer version; InfrastructureError when a database server does not answer.
    """
    return Journal(open_database(where, busy_seconds=busy_seconds), now)


class Journal:
    """Entries, trials and crashes are only ever added. Close it, or use it in a `with`.

    Any call may raise InfrastructureError (the database failed) or TimedOut (`journal-lock`); every
    call that names a case raises ConfigurationError when there is no such case.
    """

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    @property
    def name(self) -> str:
        """Where it is: a path, or a URL without its password."""
        return self._database.name

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Cases

    def new_case(
        self,
        title: str,
        expected: Signature,
        load: LoadPlan,
        *,
        customer: Triage | None = None,
        customer_sha: str = "",
    ) -> Case:
        """Open a case. `customer` is what was read from the customer's dump, `customer_sha` its SHA-256."""
        with self._database.write() as c:
            case_id = cases.new_case(c, self._now(), title, expected, load, customer, customer_sha)
            return cases.load_case(c, case_id)

    def case(self, case_id: str) -> Case:
        """All that is known of a case; running trials are not in it. Takes an id, its unique beginning,
        or its last four letters."""
        with self._database.read() as c:
            return cases.load_case(c, cases.find(c, case_id))

    def cases(self) -> list[CaseSummary]:
        """All cases, newest first."""
        with self._database.read() as c:
            return cases.summaries(c)

    def set_drivers(self, case_id: str, drivers: Iterable[Driver]) -> None:
        """Keep the drivers of the lab host as found."""
        with self._database.write() as c:
            cases.set_drivers(c, case_id, tuple(drivers))

    def set_load(self, case_id: str, load: LoadPlan) -> None:
        """Keep another usual load of the case's trials to come."""
        with self._database.write() as c:
            cases.set_load(c, case_id, load)

    def set_verdict(self, case_id: str, verdict: Verdict) -> None:
        with self._database.write() as c:
            cases.set_verdict(c, case_id, verdict)

    def add_crash(self, case_id: str, sha: str, triage: Triage) -> bool:
        """Keep what was read from the dump with SHA-256 `sha`. False when the case has it already:
        the first reading stays."""
        with self._database.write() as c:
            return cases.add_crash(c, self._now(), case_id, sha, triage)

    # Entries

    def note(self, case_id: str, kind: EntryKind, text: str, trial: int | None = None) -> Entry:
        """Add a line to the case's story; numbers count up from 1 without gaps."""
        with self._database.write() as c:
            if trial is not None:
                trials.state(c, case_id, trial)
            return cases.add_entry(c, self._now(), case_id, kind, text, trial)

    def entries(self, case_id: str, after: int = 0) -> list[Entry]:
        """The entries with a number greater than `after`, oldest first."""
        with self._database.read() as c:
            return cases.entries(c, cases.find(c, case_id), after)

    # Trials

    def begin_trial(self, case_id: str, host: str, recipe: Recipe) -> int:
        """Write that a trial begins, before the host is touched. Returns its number, from 1."""
        with self._database.write() as c:
            cases.claim(c, case_id)
            return trials.begin(c, self._now(), case_id, host, recipe)

    def end_trial(
        self,
        case_id: str,
        number: int,
        outcome: Outcome,
        enabled: Iterable[str],
        load: LoadReport | None,
        seconds: float,
    ) -> None:
        """Write how a trial ended, exactly once. `enabled` are the third-party services that ran,
        `seconds` is the wall-clock time of the whole trial.

        Raises InfrastructureError when it has ended already, ConfigurationError when there is none.
        """
        with self._database.write() as c:
            trials.end(c, self._now(), case_id, number, outcome, frozenset(enabled), load, seconds)

    def beat(self, case_id: str, number: int, beat: Heartbeat) -> None:
        """Write how far a running trial is; of the second one of a trial only `seconds` counts.

        Raises InfrastructureError when it has ended already, ConfigurationError when there is none.
        """
        with self._database.write() as c:
            trials.beat(c, self._now(), case_id, number, beat)

    def running_trials(self) -> list[RunningTrial]:
        """Trials of all cases that have not ended, oldest first."""
        with self._database.read() as c:
            return trials.running(c)

    def abandon(self, case_id: str, number: int, why: str) -> None:
        """End a trial whose process died, as Invalid(INTERRUPTED). Raises as `end_trial`."""
        with self._database.write() as c:
            trials.abandon(c, self._now(), case_id, number, why)

    # Provisioned hosts

    def lab_id(self) -> str:
        """What this lab is called in the marks of all that it makes; the same for ever."""
        with self._database.read() as c:
            return provisions.lab_id(c)

    def provision_begin(self, host: str, pool: str, how: str, owner: str) -> int:
        """Write what will be made, before it is. Returns the entry's id. Raises InfrastructureError when
        the host has an entry that has not ended."""
        with self._database.write() as c:
            return provisions.begin(c, self._now(), host, pool, how, owner)

    def provision_ready(self, key: int) -> None:
        """Write that the host was accepted and is handed out."""
        with self._database.write() as c:
            provisions.ready(c, self._now(), key)

    def provision_end(self, key: int) -> None:
        """Write that nothing is left of it; saying it twice changes nothing."""
        with self._database.write() as c:
            provisions.end(c, self._now(), key)

    def provisions(self) -> list[Provision]:
        """Hosts that are handed out, being made, or half-made by a process that died; oldest first."""
        with self._database.read() as c:
            return provisions.pending(c)

    def provision_seconds(self, pool: str) -> list[float]:
        """How long hosts of that pool took until they were ready, oldest first."""
        with self._database.read() as c:
            return provisions.seconds(c, pool)

    # Undo

    def undo_push(self, host: str, what: str, script: str, parameters: Mapping[str, JSON]) -> int:
        """Write how a change is taken back, before it is made. Returns the entry's id.

        `what` is one sentence; `script` and `parameters` are a guest script and its parameters (registry
        values as found, never a secret).
        """
        with self._database.write() as c:
            return undo.push(c, self._now(), host, what, script, parameters)

    def undo_pending(self, host: str | None = None) -> list[Undo]:
        """What is not yet taken back on `host` (None: on any host), newest first: the order to do it in."""
        with self._database.read() as c:
            return undo.pending(c, host)

    def undo_done(self, undo_id: int) -> None:
        """Write that an entry is taken back; saying it twice changes nothing."""
        with self._database.write() as c:
            undo.done(c, self._now(), undo_id)

    # Leases

    def acquire(self, host: str, owner: str, seconds: float) -> Lease:
        """Lease `host` for `seconds`. While another lease runs raises InfrastructureError naming its
        holder and its end. A lease that ran out is taken over; the token always grows."""
        with self._database.write() as c:
            return leases.acquire(c, self._now(), host, owner, seconds)

    def renew(self, lease: Lease, seconds: float) -> Lease:
        """`lease` until `seconds` from now. Raises InfrastructureError when it is lost."""
        with self._database.write() as c:
            return leases.renew(c, self._now(), lease, seconds)

    def release(self, lease: Lease) -> bool:
        """Give the host back. False when the lease was lost before; then nothing is changed."""
        with self._database.write() as c:
            return leases.release(c, self._now(), lease)

    def leases(self) -> list[Lease]:
        """The leases that run now, by host."""
        with self._database.read() as c:
            return leases.current(c, self._now())
