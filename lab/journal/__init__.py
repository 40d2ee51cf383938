"""Cases, trials, crashes, leases and undo entries in a database.

SQLite by default (one file, several processes), PostgreSQL for a team (a URL). The journal is what
survives a killed process: whoever comes next reads it and goes on.
"""

from lab.journal.cases import CaseSummary
from lab.journal.journal import Journal, open_journal
from lab.journal.leases import Lease
from lab.journal.provisions import Provision
from lab.journal.trials import Heartbeat, RunningTrial
from lab.journal.undo import JSON, Undo

__all__ = [
    "JSON",
    "CaseSummary",
    "Heartbeat",
    "Journal",
    "Lease",
    "Provision",
    "RunningTrial",
    "Undo",
    "open_journal",
]
