"""The tables. Values are JSON text (`codec`); only what is looked for has a column of its own.

Names carry the prefix `lab_`, so that a team's PostgreSQL database may be shared with others.
Times are UTC, ISO 8601 with milliseconds: fixed width, so text order is time order.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

SCHEMA_VERSION = 4
"""2 has `provision`, 3 has `lab`, 4 has `heartbeat`; an older journal gets the tables that it lacks when it
is opened."""

metadata = MetaData()

version = Table("lab_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

lab = Table("lab_lab", metadata, Column("id", Text, primary_key=True))  # one row

case = Table(
    "lab_case",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("opened", Text, nullable=False),
    Column("code", Text, nullable=False),  # bugcheck expected, "0x20"
    Column("expected", Text, nullable=False),
    Column("load", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("drivers", Text, nullable=False),
    Column("verdict", Text),
)

trial = Table(
    "lab_trial",
    metadata,
    Column("case_id", Text, ForeignKey("lab_case.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("host", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    # All of these are null while the trial runs, and are written once.
    Column("ended", Text),
    Column("kind", Text),
    Column("outcome", Text),
    Column("enabled", Text),
    Column("load", Text),
    Column("seconds", Float),
)

heartbeat = Table(  # of trials that run; a trial that ends takes its own with it
    "lab_heartbeat",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("boot", Text, nullable=False),
    Column("position", BigInteger, nullable=False),  # record ids of Windows' logs have 64 bits
    Column("enabled", Text, nullable=False),
    Column("stale", LargeBinary),
    ForeignKeyConstraint(["case_id", "number"], ["lab_trial.case_id", "lab_trial.number"]),
)

crash = Table(
    "lab_crash",
    metadata,
    Column("case_id", Text, ForeignKey("lab_case.id"), primary_key=True),
    Column("sha", Text, primary_key=True),
    Column("added", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("triage", Text, nullable=False),
)

entry = Table(
    "lab_entry",
    metadata,
    Column("case_id", Text, ForeignKey("lab_case.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("trial", Integer),
    ForeignKeyConstraint(["case_id", "trial"], ["lab_trial.case_id", "lab_trial.number"]),
)

undo = Table(
    "lab_undo",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", Text, nullable=False),
    Column("written", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("script", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("done", Text),
    Index("lab_undo_pending", "host", "done"),
    sqlite_autoincrement=True,  # an id is never used twice, as with PostgreSQL's sequences
)

lease = Table(
    "lab_lease",
    metadata,
    Column("host", Text, primary_key=True),
    Column("owner", Text, nullable=False),  # "" when released; the row stays, so that the token grows
    Column("token", Integer, nullable=False),
    Column("expires", Text, nullable=False),
)

provision = Table(
    "lab_provision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("how", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("intended", Text, nullable=False),  # written before anything is made
    Column("ready", Text),
    Column("ended", Text),
    Index("lab_provision_pending", "ended"),
    sqlite_autoincrement=True,
)
