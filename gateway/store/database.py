"""Connections and transactions, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.types.array import ListDumper
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from gateway.errors import Conflict, DatabaseUnavailable
from gateway.store.arrays import ArrayDumper
from gateway.store.statements import execute
from gateway.store.turns import Together, Turn

Connection = sa.Connection

MIGRATIONS = Path(__file__).parent / "migrations"
T = TypeVar("T")

_SERIALISATION_FAILURES = ("40001", "40P01")


class Database:
    """One process's way to the database: `transaction()` to change it, `reading()` to look.

    `url` is an SQLAlchemy URL (`sqlite:///path`, `postgresql+psycopg://…`). Each thread that asks keeps a connection.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        self.is_sqlite = is_sqlite = parsed.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(parsed) if is_sqlite else _postgresql_engine(parsed)
        self._turn = Turn(f"{parsed.database}.turn") if is_sqlite else nullcontext()
        self._together = Together(self.transaction) if is_sqlite else None
        self._begin = "BEGIN IMMEDIATE" if is_sqlite else "BEGIN"
        self._held = threading.local()
        self._opened: set[Connection] = set()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and is undone by an exception.

        Raises Conflict when another transaction came first (the whole block may be tried again), and
        DatabaseUnavailable.
        """
        with _own_errors(), self._turn, self._connection() as connection:
            execute(connection, self._begin).close()
            self._held.is_open = True
            try:
                yield connection
            except BaseException:
                execute(connection, "ROLLBACK").close()
                raise
            finally:
                self._held.is_open = False
            execute(connection, "COMMIT").close()

    def attempt(self, work: Callable[[Connection], T], times: int = 5) -> T:
        """What `work` returns, done in a transaction; done anew when another came first. Raises Conflict at last.

        On SQLite, where nobody else writes meanwhile, work of other threads may be done in the same transaction.
        """
        for _ in range(times - 1):
            try:
                return self._attempt_once(work)
            except Conflict:
                continue
        return self._attempt_once(work)

    def _attempt_once(self, work: Callable[[Connection], T]) -> T:
        if self._together is not None:
            with _own_errors():
                return self._together.attempt(work)
        with self.transaction() as connection:
            return work(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for single reads, each seeing what is committed at its time. Raises DatabaseUnavailable."""
        with _own_errors(), self._connection() as connection:
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """The connection that the thread keeps, until something goes wrong with it; a transaction keeps its own."""
        connection: Connection | None = getattr(self._held, "connection", None)
        is_in_transaction = getattr(self._held, "is_open", False)
        if connection is None:
            self._held.connection = connection = self._engine.connect()
            self._opened.add(connection)
        try:
            yield connection
        except BaseException:
            if not is_in_transaction:
                self._held.connection = None
                self._opened.discard(connection)
                connection.close()
            raise

    def check(self) -> None:
        """Raises DatabaseUnavailable, also where the schema is not there."""
        try:
            with self.reading() as connection:
                connection.execute(sa.text("SELECT 1 FROM message LIMIT 1"))
        except sa.exc.ProgrammingError as error:
            raise DatabaseUnavailable("no schema: run `fhir-gateway db upgrade`") from error

    def close(self) -> None:
        """Closes what all threads hold; none of them may be at work."""
        while self._opened:
            self._opened.pop().close()
        self._held = threading.local()


def upgrade(url: str) -> None:
    """Brings the schema up to date, from empty too. Raises DatabaseUnavailable."""
    from alembic import command
    from alembic.config import Config

    Path(sa.make_url(url).database or ".").parent.mkdir(parents=True, exist_ok=True)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    with _own_errors():
        command.upgrade(config, "head")


# Threads keep their connections, and end each transaction themselves: no pool, and nothing to reset.
_OURS: dict[str, Any] = {
    "poolclass": sa.NullPool,
    "pool_reset_on_return": None,
    "isolation_level": "AUTOCOMMIT",
    "hide_parameters": True,
}


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), **_OURS)

    @event.listens_for(engine, "connect")
    def _prepare(connection, _record) -> None:  # type: ignore[no-untyped-def]
        for dumper in (ArrayDumper, ListDumper):  # the last is used where a statement does not ask for binary
            connection.adapters.register_dumper(list, dumper)

    return engine


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False}, **_OURS)

    @event.listens_for(engine, "connect")
    def _prepare(connection, _record) -> None:  # type: ignore[no-untyped-def]
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """A part of a transaction that an exception undoes by itself. Raises as `Database.transaction` does."""
    execute(connection, "SAVEPOINT part").close()
    try:
        with _own_errors():
            yield
    except BaseException:
        execute(connection, "ROLLBACK TO part").close()
        raise
    execute(connection, "RELEASE part").close()


_CONFLICTS = (IntegrityError, sqlite3.IntegrityError, psycopg.IntegrityError)
_FAILURES = (
    OperationalError,
    InterfaceError,
    sqlite3.OperationalError,
    sqlite3.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)


@contextmanager
def _own_errors() -> Iterator[None]:
    """The drivers' errors, SQLAlchemy's wrapping or not, as what they mean for the gateway."""
    try:
        yield
    except _CONFLICTS as error:
        raise Conflict(type(error).__name__) from error
    except _FAILURES as error:
        cause = getattr(error, "orig", error)
        if getattr(cause, "sqlstate", None) in _SERIALISATION_FAILURES:
            raise Conflict(type(cause).__name__) from error
        raise DatabaseUnavailable(type(cause).__name__) from error
