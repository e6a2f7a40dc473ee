"""Statements that run for every message: compiled once for each database, and handed to its driver as text.

SQLAlchemy takes longer to prepare a statement than a database to carry it out. These are written with its language all
the same; only their execution goes past it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import sqlalchemy as sa
from psycopg import Connection as Driver
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.sql.selectable import LateralFromClause

from gateway.store.schema import Instant

Row = tuple[Any, ...]
Insert = sqlite.Insert | postgresql.Insert
Clause = sa.Select[Any] | sa.UpdateBase

_DIALECTS: dict[str, sa.engine.Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": PGDialect_psycopg(),  # type: ignore[no-untyped-call]
}
_DIFFERENT_LENGTHS = 512
_AT_ONCE = 512
_FEW = 8
_ARRAY = re.compile(r"%\((\w+)\)s(?= AS [A-Z ]+\[\])")
"""An array among the parameters for PostgreSQL: its driver writes them in binary in a fraction of the time."""
_PLAIN: dict[type[Any], sa.types.TypeEngine[Any]] = {
    bytes: sa.LargeBinary(),
    datetime: sa.DateTime(timezone=True),
    int: sa.BigInteger(),
    str: sa.Text(),
}


class Statement:
    """One statement; `clause` is the same for both databases, or made for the `insert` of each."""

    def __init__(self, clause: Clause | Callable[[str], Clause], *, is_planned_once: bool = True) -> None:
        self._is_planned_once = is_planned_once
        self._texts: dict[str, str] = {}
        self._constants: dict[str, Any] = {}
        for name, dialect in _DIALECTS.items():
            made = clause(name) if callable(clause) else clause
            compiled = made.compile(dialect=dialect)
            self._texts[name] = _ARRAY.sub(r"%(\1)b", str(compiled))
            self._constants |= compiled.params
            self._instants = [n for n, column in enumerate(made.exported_columns) if isinstance(column.type, Instant)]

    def run(self, connection: sa.Connection, parameters: dict[str, Any]) -> list[Row]:
        """All rows that it returns; none for one that returns none. Raises the driver's own errors."""
        cursor = self._execute(connection, parameters)
        rows: list[Row] = list(cursor.fetchall()) if cursor.description else []
        cursor.close()
        if self._instants and connection.dialect.name == "sqlite":
            return [self._from_sqlite(row) for row in rows]
        return rows

    def write(self, connection: sa.Connection, parameters: dict[str, Any]) -> int:
        """How many rows it wrote. Raises the driver's own errors."""
        cursor = self._execute(connection, parameters)
        written: int = cursor.rowcount
        cursor.close()
        return written

    def run_each(self, connection: sa.Connection, parameters: Sequence[dict[str, Any]]) -> int:
        """Runs it once for each of the parameters; returns how many rows it wrote. Raises the driver's own errors."""
        name = connection.dialect.name
        values = [{**self._constants, **one} for one in parameters]
        cursor = connection.connection.cursor()
        cursor.executemany(self._texts[name], values if name != "sqlite" else list(map(_for_sqlite, values)))
        written: int = cursor.rowcount
        cursor.close()
        return written

    def _execute(self, connection: sa.Connection, parameters: dict[str, Any]) -> DBAPICursor:
        name = connection.dialect.name
        values = {**self._constants, **parameters}
        values = _for_sqlite(values) if name == "sqlite" else values
        return execute(connection, self._texts[name], values, is_planned_once=self._is_planned_once)

    def _from_sqlite(self, row: Row) -> Row:
        values = list(row)
        for index in self._instants:
            if values[index] is not None:
                values[index] = datetime.fromisoformat(values[index]).replace(tzinfo=UTC)
        return tuple(values)


def execute(
    connection: sa.Connection, text: str, values: dict[str, Any] | None = None, *, is_planned_once: bool = True
) -> DBAPICursor:
    """Hands a statement to the driver itself; the cursor is the caller's to close.

    PostgreSQL plans one that comes often once for all times, unless it is to be planned for how large tables are now.
    """
    driver = connection.connection.driver_connection
    if isinstance(driver, Driver):
        prepare = None if is_planned_once else False
        return cast("DBAPICursor", driver.cursor(binary=True).execute(text, values or (), prepare=prepare))
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


class Among:
    """A SELECT of the rows whose `column` has one of many values; `make` is given that condition.

    PostgreSQL takes many values as an array, and goes through them in their order: always, where they are to be taken
    `in_order`. Few, and SQLite all, are taken one by one: some of them twice, so that there are few statements.
    """

    def __init__(
        self,
        column: sa.Column[Any],
        make: Callable[[sa.ColumnElement[bool]], sa.Select[Any]],
        *,
        in_order: bool = False,
    ) -> None:
        self._few = 0 if in_order else _FEW
        array = sa.cast(sa.bindparam("values"), postgresql.ARRAY(_plain(column)))
        values = sa.func.unnest(array).table_valued("value").render_derived()

        def for_dialect(number: int, name: str) -> Clause:
            if name == "sqlite" or number:
                return make(column.in_([sa.bindparam(f"value_{n}") for n in range(number)]))
            found = looked_up(make(column == values.c.value))
            return sa.select(*found.c).select_from(values.join(found, sa.true()))

        self._of = many(for_dialect)

    def run(self, connection: sa.Connection, values: Sequence[Any]) -> list[Row]:
        """All rows that it returns, for any number of values. Raises the driver's own errors."""
        if connection.dialect.name != "sqlite" and len(values) > self._few:
            return self._of(0).run(connection, {"values": list(values)})
        found: list[Row] = []
        for start in range(0, len(values), _AT_ONCE):
            some = values[start : start + _AT_ONCE]
            number = 1 << (len(some) - 1).bit_length()
            named = {f"value_{n}": some[min(n, len(some) - 1)] for n in range(number)}
            found += self._of(number).run(connection, named)
        return found


Given = Mapping[str, sa.ColumnElement[Any]]
"""The values of a row, by the names of its columns."""


class Rows:
    """A statement for any number of rows, each with values for these columns; `make(dialect's name, the values)`.

    PostgreSQL takes all of them at once, as arrays, in a statement that stays the same: what is given are the columns
    of a table. SQLite takes one after the other: they are parameters.
    """

    def __init__(
        self,
        columns: Sequence[sa.Column[Any]],
        make: Callable[[str, Given], Clause],
        *,
        is_planned_once: bool = True,
        few: Callable[[int, str], Clause] | None = None,
    ) -> None:
        """`few` makes the statement for a few rows, with `{name}_0`, `{name}_1`, … for parameters."""
        self._few = many(few) if few is not None else None
        self._columns = [column.name for column in columns]
        self._names = [f"{column.name}_given" for column in columns]
        one: dict[str, sa.ColumnElement[Any]] = {c.name: sa.bindparam(f"{c.name}_given") for c in columns}
        arrays = [sa.cast(one[column.name], postgresql.ARRAY(_plain(column))) for column in columns]
        table = sa.func.unnest(*arrays).table_valued(*one).render_derived()
        self._statement = Statement(
            lambda name: make(name, one if name == "sqlite" else dict(table.c)), is_planned_once=is_planned_once
        )

    def run(self, connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> int:
        """Returns how many rows it wrote. Raises the driver's own errors."""
        if not rows:
            return 0
        if connection.dialect.name == "sqlite":
            return self._statement.run_each(connection, list(map(self._named, rows)))
        if self._few is not None and len(rows) <= _FEW:
            named = {
                f"{name}_{n}": value
                for n, row in enumerate(rows)
                for name, value in zip(self._columns, row, strict=True)
            }
            return self._few(len(rows)).write(connection, named)
        return self._statement.write(connection, self._arrays(rows))

    def returned(self, connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> list[Row]:
        """All that it returns for the rows, not in their order. Raises the driver's own errors."""
        if not rows:
            return []
        if connection.dialect.name == "sqlite":
            return [one for row in rows for one in self._statement.run(connection, self._named(row))]
        return self._statement.run(connection, self._arrays(rows))

    def _named(self, row: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self._names, row, strict=True))

    def _arrays(self, rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
        return self._named([*map(list, zip(*rows, strict=True))])


def looked_up(found: sa.Select[Any]) -> LateralFromClause:
    """What a SELECT finds for each row of what is given: for one after the other, by an index.

    PostgreSQL would else compare all at once with a whole table that it takes for small: with what it has been told of
    it a minute ago, or before there was anything in it.
    """
    return found.offset(sa.literal_column("0")).lateral()


def adding(table: sa.Table, *names: str) -> Rows:
    """An INSERT of any number of rows with values for these columns, in the order given."""

    def make(dialect: str, given: Given) -> Clause:
        adding = insert(table, dialect)
        return adding.values(given) if dialect == "sqlite" else adding.from_select(names, sa.select(*given.values()))

    def few(number: int, dialect: str) -> Clause:
        rows: list[dict[str, Any]] = [{one: sa.bindparam(f"{one}_{n}") for one in names} for n in range(number)]
        return insert(table, dialect).values(rows)

    return Rows([table.c[name] for name in names], make, few=few)


def _plain(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """The type without what concerns the table alone, such as its length."""
    of_python = column.type.python_type
    return _PLAIN.get(of_python) or column.type


def many(make: Callable[[int, str], Clause]) -> Callable[[int], Statement]:
    """A statement for each number of rows or keys that it takes, `make(number, dialect's name)`."""
    return lru_cache(_DIFFERENT_LENGTHS)(lambda number: Statement(lambda name: make(number, name)))


def insert(table: sa.Table, name: str) -> Insert:
    """The database's own INSERT, which knows ON CONFLICT."""
    return sqlite.insert(table) if name == "sqlite" else postgresql.insert(table)
