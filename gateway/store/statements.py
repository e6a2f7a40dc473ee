"""Statements that run for every message: compiled once for each database, and handed to its driver as text.

SQLAlchemy takes longer to prepare a statement than a database to carry it out. These are written with its language all
the same; only their execution goes past it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import DBAPICursor

from gateway.store.schema import Instant

Row = tuple[Any, ...]
Insert = sqlite.Insert | postgresql.Insert
Clause = sa.Select[Any] | sa.UpdateBase

_DIALECTS: dict[str, sa.engine.Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": PGDialect_psycopg(),  # type: ignore[no-untyped-call]
}
_DIFFERENT_LENGTHS = 512


class Statement:
    """One statement; `clause` is the same for both databases, or made for the `insert` of each."""

    def __init__(self, clause: Clause | Callable[[str], Clause]) -> None:
        self._texts: dict[str, str] = {}
        self._constants: dict[str, Any] = {}
        for name, dialect in _DIALECTS.items():
            made = clause(name) if callable(clause) else clause
            compiled = made.compile(dialect=dialect)
            self._texts[name] = str(compiled)
            self._constants |= compiled.params
            self._instants = [n for n, column in enumerate(made.exported_columns) if isinstance(column.type, Instant)]

    def run(self, connection: sa.Connection, parameters: dict[str, Any]) -> list[Row]:
        """All rows that it returns; none for one that returns none. Raises the driver's own errors."""
        name = connection.dialect.name
        values = {**self._constants, **parameters}
        cursor = execute(connection, self._texts[name], values if name != "sqlite" else _for_sqlite(values))
        rows: list[Row] = list(cursor.fetchall()) if cursor.description else []
        cursor.close()
        return [self._from_sqlite(row) for row in rows] if self._instants and name == "sqlite" else rows

    def run_each(self, connection: sa.Connection, parameters: Sequence[dict[str, Any]]) -> None:
        """Runs it once for each of the parameters. Raises the driver's own errors."""
        cursor = connection.connection.cursor()
        cursor.executemany(self._texts[connection.dialect.name], [{**self._constants, **one} for one in parameters])
        cursor.close()

    def _from_sqlite(self, row: Row) -> Row:
        values = list(row)
        for index in self._instants:
            if values[index] is not None:
                values[index] = datetime.fromisoformat(values[index]).replace(tzinfo=UTC)
        return tuple(values)


def execute(connection: sa.Connection, text: str, values: dict[str, Any] | None = None) -> DBAPICursor:
    """Hands a statement to the driver itself; the cursor is the caller's to close."""
    cursor = connection.connection.cursor()
    cursor.execute(text, values or ())
    return cursor


def _for_sqlite(values: dict[str, Any]) -> dict[str, Any]:
    """Moments as the texts that `Instant` keeps in SQLite."""
    return {
        name: value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        if type(value) is datetime
        else value
        for name, value in values.items()
    }


def many(make: Callable[[int, str], Clause]) -> Callable[[int], Statement]:
    """A statement for each number of rows or keys that it takes, `make(number, dialect's name)`."""
    return lru_cache(_DIFFERENT_LENGTHS)(lambda number: Statement(lambda name: make(number, name)))


def insert(table: sa.Table, name: str) -> Insert:
    """The database's own INSERT, which knows ON CONFLICT."""
    return sqlite.insert(table) if name == "sqlite" else postgresql.insert(table)
