"""The search tokens of the current version of each resource that can be searched for: see `gateway.fhir.search`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from gateway.fhir import json
from gateway.fhir.identity import OWN_SENDER
from gateway.fhir.search import SEARCHED, creator_tokens, tokens_of, waiting_tokens
from gateway.store.schema import resource, resource_version, search_key
from gateway.store.statements import Clause, Given, Rows, adding, looked_up

_PLACE: sa.ColumnClause[str] = sa.literal_column("search_key.ctid")
_BATCH = 500
"""Resources whose tokens are computed at once when a store is filled: some megabytes."""


def _remove(dialect: str, given: Given) -> Clause:
    is_it = sa.and_(*(search_key.c[name] == value for name, value in given.items()))
    if dialect == "sqlite":
        return sa.delete(search_key).where(is_it)
    found = looked_up(sa.select(_PLACE.label("place")).select_from(search_key).where(is_it))
    places = sa.select(found.c.place).select_from(given["digest"].table.join(found, sa.true()))
    return sa.delete(search_key).where(_PLACE.in_(places))


_ADD = adding(search_key, "digest", "number")
_REMOVE = Rows([search_key.c.digest, search_key.c.number], _remove)


def change(
    connection: sa.Connection, added: Mapping[int, Collection[bytes]], removed: Mapping[int, Collection[bytes]]
) -> None:
    """Adds and removes tokens of resources, by their numbers. The caller holds the rows of these resources."""
    for statement, tokens in ((_REMOVE, removed), (_ADD, added)):
        pairs = sorted((digest, number) for number, digests in tokens.items() for digest in digests)
        statement.run(connection, pairs)


def fill(connection: sa.Connection) -> None:
    """Computes the tokens of all that is kept, in a store that has none yet."""
    after = -1
    while rows := [(row.number, row.content) for row in connection.execute(_after(after))]:
        change(connection, {number: tokens_of(json.parse_own(content)) for number, content in rows}, {})
        after = rows[-1][0]


def add_creators(connection: sa.Connection) -> None:
    """Adds the tokens by which what is kept is found by who has created it, in a store that has none of them yet."""
    after = -1
    while rows := connection.execute(_created_after(after)).all():
        change(connection, {row.number: creator_tokens(row.type, row.sender.split(" ", 1)) for row in rows}, {})
        after = rows[-1].number


def add_waiting(connection: sa.Connection) -> None:
    """Adds the tokens by which orders that have no owner are found, in a store that has none of them yet."""
    after = -1
    while rows := [(row.number, row.content) for row in connection.execute(_after(after))]:
        change(connection, {number: waiting_tokens(json.parse_own(content)) for number, content in rows}, {})
        after = rows[-1][0]


def _created_after(number: int) -> sa.Select[Any]:
    return (
        sa.select(resource.c.number, resource.c.type, resource.c.sender)
        .where(resource.c.number > number, resource.c.type.in_(SEARCHED), resource.c.sender != OWN_SENDER)
        .order_by(resource.c.number)
        .limit(_BATCH)
    )


def _after(number: int) -> sa.Select[Any]:
    is_current = sa.and_(
        resource_version.c.resource_id == resource.c.id, resource_version.c.version == resource.c.version
    )
    return (
        sa.select(resource.c.number, resource_version.c.content)
        .join(resource_version, is_current)
        .where(resource.c.number > number, resource.c.type.in_(SEARCHED), resource.c.sender != OWN_SENDER)
        .order_by(resource.c.number)
        .limit(_BATCH)
    )
