"""A database that holds a journal: opened, checked, and used one transaction at a time.

All that is particular to SQLite is in `_open_file`, `_prepare_sqlite` and `_use_wal`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError, SQLAlchemyError

from lab.journal import schema
from lab.journal.ids import new_lab_id
from lab.model import ConfigurationError, InfrastructureError, LabError, TimedOut

_READS = "lab_reads"


@dataclass(frozen=True)
class Database:
    """`name` is for messages: a path, or a URL without its password. `busy_seconds` is the time-out
    `journal-lock`: how long a call waits for other processes to finish theirs."""

    name: str
    writer: Engine
    reader: Engine
    busy_seconds: float

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that sees and changes the newest state; all of it happens, or nothing."""
        with self._translated(), self.writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; never waits for a writer."""
        with self._translated(), self.reader.begin() as connection:
            yield connection

    def close(self) -> None:
        self.writer.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except LabError:
            raise
        except SQLAlchemyError as error:
            if "database is locked" in str(error):
                raise TimedOut(
                    "journal-lock",
                    self.busy_seconds,
                    f"another process is writing to {self.name}",
                    help="End the process that holds the journal, or use PostgreSQL for many workers.",
                ) from error
            raise InfrastructureError(
                f"the journal {self.name} failed: {_reason(error)}",
                help="Check that its disk is not full and its server runs, then start again.",
            ) from error


def open_database(where: str | Path, *, busy_seconds: float) -> Database:
    """Open what is at `where`, a path or a database URL, and make the schema if there is none.

    A SQLite file belongs on a local disk: WAL does not work over a network file system.
    Raises ConfigurationError when it is not a journal or one of a newer version.
    """
    url = _url(where)
    local = url.get_backend_name() == "sqlite"
    name = url.database or "" if local else url.render_as_string(hide_password=True)
    engine = _open_file(url, name, busy_seconds) if local else _open_server(url, name)
    reads = {_READS: True} if local else {"isolation_level": "REPEATABLE READ"}
    database = Database(name, engine, engine.execution_options(**reads), busy_seconds)
    try:
        _make_schema(database, local)
        if local:
            _use_wal(database)
    except BaseException:
        database.close()
        raise
    return database


def _url(where: str | Path) -> URL:
    text = str(where)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        url = make_url(text)
    except ArgumentError:  # its message would show the password
        raise ConfigurationError(
            "the journal's address is not a database URL",
            help="Give a path, or a URL like postgresql+psycopg://USER@HOST/DATABASE.",
        ) from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError("a journal in memory would be lost at the end", help="Give a file.")
    return url


def _open_file(url: URL, name: str, busy_seconds: float) -> Engine:
    path = Path(name)
    if path.is_dir():
        raise ConfigurationError(f"{name} is a directory, not a journal", help="Give the path of a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the journal's directory {path.parent}: {error.strerror}"
        ) from error
    engine = create_engine(url)
    _prepare_sqlite(engine, busy_seconds)
    return engine


def _open_server(url: URL, name: str) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"no Python driver is installed for the journal {name}: {error}",
            help="For PostgreSQL install psycopg and write postgresql+psycopg:// in the URL.",
        ) from error


def _prepare_sqlite(engine: Engine, busy_seconds: float) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        record.info["pid"] = os.getpid()
        connection.isolation_level = None  # we say BEGIN, not the driver, else DDL and reads get none
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(busy_seconds * 1000)}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")  # an undo entry must outlive a power cut
        cursor.close()

    @event.listens_for(engine, "checkout")
    def checkout(connection: Any, record: Any, proxy: Any) -> None:
        # A SQLite connection must not be used on both sides of a fork.
        if record.info["pid"] != os.getpid():
            record.dbapi_connection = proxy.dbapi_connection = None
            raise DisconnectionError("connection belongs to another process")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later could not wait for a lock; take it at once.
        reads = connection.get_execution_options().get(_READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _use_wal(database: Database) -> None:
    """Let readers and a writer work side by side. Kept in the file, so only the first time writes.

    After the schema is checked: a file that is not ours is not to be changed.
    """
    with database._translated(), database.writer.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        # When somebody else uses the new file this very moment, they will have done the same.
        with suppress(sqlite3.OperationalError):
            raw.execute("PRAGMA journal_mode = WAL")


def _make_schema(database: Database, local: bool) -> None:
    try:
        with database.writer.begin() as connection:
            found = _version(connection, local, database.name)
            if found is None:
                schema.metadata.create_all(connection)
                connection.execute(insert(schema.version).values(version=schema.SCHEMA_VERSION))
            elif found < schema.SCHEMA_VERSION:
                schema.metadata.create_all(connection)
                connection.execute(update(schema.version).values(version=schema.SCHEMA_VERSION))
            if found != schema.SCHEMA_VERSION and connection.execute(select(schema.lab)).first() is None:
                connection.execute(insert(schema.lab).values(id=new_lab_id()))
    except DBAPIError as error:
        if "database is locked" in str(error):
            raise TimedOut("journal-lock", database.busy_seconds, f"{database.name} is locked") from error
        if local:
            raise ConfigurationError(
                f"{database.name} cannot be used as a journal: {_reason(error)}",
                help="Give the path of a journal made by 'lab', or of a file that does not exist yet.",
            ) from error
        with database.read() as connection:  # another process may have made the schema just now
            if _version(connection, local, database.name) is None:
                raise InfrastructureError(
                    f"cannot make the journal's tables in {database.name}: {_reason(error)}",
                    help="Check that the server runs and that the user may create tables.",
                ) from error


def _version(connection: Connection, local: bool, name: str) -> int | None:
    """The schema version found; None when there is no journal yet."""
    tables = set(inspect(connection).get_table_names())
    if schema.version.name not in tables:
        foreign = tables if local else tables & set(schema.metadata.tables)
        if foreign:
            raise ConfigurationError(
                f"{name} is a database of something else (it has a table '{min(foreign)}')",
                help="Give the journal a file of its own.",
            )
        return None
    found = connection.execute(select(schema.version.c.version)).scalars().first()
    if found is None:
        raise ConfigurationError(f"the journal {name} does not say its version")
    if found > schema.SCHEMA_VERSION:
        raise ConfigurationError(
            f"the journal {name} has schema version {found}, this program knows {schema.SCHEMA_VERSION}",
            help="Update 'lab', or give another journal.",
        )
    return int(found)


def _reason(error: SQLAlchemyError) -> str:
    """The database's own words, on one line, without the SQL and its values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split()) or type(error).__name__
