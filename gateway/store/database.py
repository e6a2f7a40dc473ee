"""Connections and transactions, on SQLite and on PostgreSQL.

SQLite has one writer at a time, and whoever finds it busy sleeps and tries again, unfairly: writers queue for their
turn on a file lock instead, in this process and between processes, which takes the longest waits away.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.errors import Conflict, DatabaseUnavailable

Connection = sa.Connection

MIGRATIONS = Path(__file__).parent / "migrations"
T = TypeVar("T")

_SERIALISATION_FAILURES = ("40001", "40P01")


class Database:
    """One process's way to the database: `transaction()` to change it, `reading()` to look.

    `url` is an SQLAlchemy URL (`sqlite:///path`, `postgresql+psycopg://…`); `connections` bounds the pool.
    """

    def __init__(self, url: str, connections: int = 16) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        make = _sqlite_engine if self.is_sqlite else _postgresql_engine
        self._engine = make(self.url, connections)
        self._reader = make(self.url, connections, isolation_level="AUTOCOMMIT")
        self._turn = _Turn(f"{self.url.database}.turn") if self.is_sqlite else None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and is undone by an exception.

        Raises Conflict when another transaction came first (the whole block may be tried again), and
        DatabaseUnavailable.
        """
        with _own_errors():
            if self._turn is None:
                with self._engine.begin() as connection:
                    yield connection
            else:
                with self._turn, self._engine.connect() as connection:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    with _ended(connection):
                        yield connection

    def attempt(self, work: Callable[[Connection], T], times: int = 5) -> T:
        """What `work` returns, done in a transaction; done anew when another came first. Raises Conflict at last."""
        for _ in range(times - 1):
            try:
                with self.transaction() as connection:
                    return work(connection)
            except Conflict:
                continue
        with self.transaction() as connection:
            return work(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for single reads, each seeing what is committed at its time. Raises DatabaseUnavailable."""
        with _own_errors(), self._reader.connect() as connection:
            yield connection

    def check(self) -> None:
        """Raises DatabaseUnavailable, also where the schema is not there."""
        try:
            with self.reading() as connection:
                connection.execute(sa.text("SELECT 1 FROM message LIMIT 1"))
        except sa.exc.ProgrammingError as error:
            raise DatabaseUnavailable("no schema: run `fhir-gateway db upgrade`") from error

    def close(self) -> None:
        self._engine.dispose()
        self._reader.dispose()


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


# A connection goes back to its pool after its transaction has ended: there is nothing to reset.
def _postgresql_engine(url: sa.URL, connections: int, **options: Any) -> sa.Engine:
    driver = url.set(drivername="postgresql+psycopg")
    return sa.create_engine(driver, pool_size=connections, pool_use_lifo=True, pool_reset_on_return=None, **options)


def _sqlite_engine(url: sa.URL, connections: int, **options: Any) -> sa.Engine:
    engine = sa.create_engine(
        url,
        pool_size=connections,
        pool_use_lifo=True,
        pool_reset_on_return=None,
        connect_args={"timeout": 30, "check_same_thread": False},
        **options,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection, _record) -> None:  # type: ignore[no-untyped-def]
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(type(error.orig).__name__) from error
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        cause = getattr(error, "orig", None)
        if getattr(cause, "sqlstate", None) in _SERIALISATION_FAILURES:
            raise Conflict(type(cause).__name__) from error
        raise DatabaseUnavailable(type(cause or error).__name__) from error


@contextmanager
def _ended(connection: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


class _Turn:
    """A lock between threads and processes, held by an open file: the system frees it when its holder dies."""

    def __init__(self, path: str) -> None:
        self._threads = threading.Lock()
        self._path = path
        self._file = -1

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._threads.release()
            raise

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()
