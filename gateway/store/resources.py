"""Resources as the gateway keeps them: every version, found by key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.errors import Conflict
from gateway.store.schema import resource, resource_key, resource_version

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Row:
    """The current version of a resource; `content` is its JSON."""

    id: str
    type: str
    version: int
    sender: str
    content: bytes


_CURRENT = sa.and_(resource_version.c.resource_id == resource.c.id, resource_version.c.version == resource.c.version)
_COLUMNS = (resource.c.id, resource.c.type, resource.c.version, resource.c.sender, resource_version.c.content)
_BY_KEY = (
    sa.select(resource_key.c.digest, *_COLUMNS)
    .join_from(resource_key, resource, resource.c.id == resource_key.c.resource_id)
    .join(resource_version, _CURRENT)
    .where(resource_key.c.digest.in_(sa.bindparam("digests", expanding=True)))
)
_BY_ID = sa.select(*_COLUMNS).join(resource_version, _CURRENT).where(resource.c.id == sa.bindparam("resource_id"))


def find_by_keys(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, Row]:
    """The resources known by these keys."""
    found: dict[bytes, Row] = {}
    for start in range(0, len(digests), _AT_ONCE):
        chunk = list(digests[start : start + _AT_ONCE])
        found |= {row[0]: Row(*row[1:]) for row in connection.execute(_BY_KEY, {"digests": chunk})}
    return found


def find(connection: sa.Connection, resource_type: str, resource_id: str) -> Row | None:
    row = connection.execute(_BY_ID, {"resource_id": resource_id}).one_or_none()
    return Row(*row) if row is not None and row.type == resource_type else None


# With RETURNING, rows are inserted by one statement; without it, psycopg takes several round trips for them.
_NEW = sa.insert(resource).returning(resource.c.id)
_VERSIONS = sa.insert(resource_version).returning(resource_version.c.version)
_IDENTIFIERS = sa.insert(resource_key).returning(resource_key.c.digest)
_ADVANCE = (
    sa.update(resource)
    .where(resource.c.id == sa.bindparam("resource_id"), resource.c.version == sa.bindparam("before"))
    .values(version=resource.c.version + 1)
)


def write(connection: sa.Connection, rows: Iterable[Row], message_id: int, now: datetime) -> None:
    """Writes new versions, version 1 making the resource; in one order everywhere, so that no two wait for each other.

    Raises Conflict when another transaction wrote one of them first.
    """
    ordered = sorted(rows, key=lambda row: row.id)
    if not ordered:
        return
    new = [{"id": r.id, "type": r.type, "version": 1, "sender": r.sender} for r in ordered if r.version == 1]
    if new:
        connection.execute(_NEW, new)
    for row in ordered:
        if row.version > 1:
            _advance(connection, row)
    versions = [
        {"resource_id": r.id, "version": r.version, "content": r.content, "message_id": message_id, "updated_at": now}
        for r in ordered
    ]
    connection.execute(_VERSIONS, versions)


def _advance(connection: sa.Connection, row: Row) -> None:
    if connection.execute(_ADVANCE, {"resource_id": row.id, "before": row.version - 1}).rowcount != 1:
        raise Conflict(f"{row.type}/{row.id} was changed by another transaction")


def add_identifiers(connection: sa.Connection, keys: dict[bytes, str]) -> None:
    """New business identifiers of resources. Raises Conflict where another transaction took one first."""
    if keys:
        rows = [{"digest": digest, "resource_id": keys[digest]} for digest in sorted(keys)]
        connection.execute(_IDENTIFIERS, rows)


def _move_key(insert: sqlite.Insert | postgresql.Insert) -> sa.Insert:
    new = {"resource_id": insert.excluded.resource_id}
    return insert.on_conflict_do_update(index_elements=["digest"], set_=new).returning(resource_key.c.digest)


_MOVE_KEY = {
    "sqlite": _move_key(sqlite.insert(resource_key)),
    "postgresql": _move_key(postgresql.insert(resource_key)),
}


def set_addresses(connection: sa.Connection, keys: dict[bytes, str]) -> None:
    """A sender's addresses of resources: an address that it uses again means the later resource."""
    if not keys:
        return
    connection.execute(
        _MOVE_KEY[connection.dialect.name], [{"digest": digest, "resource_id": keys[digest]} for digest in sorted(keys)]
    )
