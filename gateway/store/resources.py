"""Resources as the gateway keeps them: every version, found by key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.errors import Conflict
from gateway.store.schema import resource, resource_key, resource_version
from gateway.store.statements import Among, Clause, Given, Rows, Statement, adding, insert, looked_up

_ORDINAL_BITS = 20


@dataclass(frozen=True, slots=True)
class Row:
    """The current version of a resource; `content` is its JSON, `number` its place in the order of creation."""

    id: str
    type: str
    version: int
    sender: str
    number: int
    content: bytes
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it is written: made by a message, now."""

    row: Row
    message_id: int
    now: datetime


_CURRENT = sa.and_(resource_version.c.resource_id == resource.c.id, resource_version.c.version == resource.c.version)
_COLUMNS = (*(resource.c[name] for name in ("id", "type", "version", "sender", "number")), resource_version.c.content)
_BY_KEYS = Among(
    resource_key.c.digest,
    lambda is_one: (
        sa.select(resource_key.c.digest, *_COLUMNS)
        .join_from(resource_key, resource, resource.c.id == resource_key.c.resource_id)
        .join(resource_version, _CURRENT)
        .where(is_one)
    ),
)
_HOLDERS = Among(
    resource_key.c.digest,
    lambda is_one: (
        sa.select(resource_key.c.digest, resource.c.id, resource.c.version)
        .join_from(resource_key, resource, resource.c.id == resource_key.c.resource_id)
        .where(is_one)
    ),
)
_BY_ID = Statement(
    sa.select(*_COLUMNS).join(resource_version, _CURRENT).where(resource.c.id == sa.bindparam("resource_id"))
)

_AS_CREATED = Statement(
    sa.select(resource_version.c.content).where(
        resource_version.c.resource_id == sa.bindparam("resource_id"),
        resource_version.c.version == sa.literal_column("1"),
    )
)
_BY_IDS = Among(resource.c.id, lambda is_one: sa.select(*_COLUMNS).join(resource_version, _CURRENT).where(is_one))


def number_of(message_id: int, ordinal: int) -> int:
    """The number of what a message makes as its `ordinal`-th resource (from 0): the order of creation."""
    return message_id << _ORDINAL_BITS | ordinal


def message_of(number: int) -> int:
    """The id of the message that made the resource with a number."""
    return number >> _ORDINAL_BITS


def find_by_keys(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, Row]:
    """The resources known by these keys."""
    return {row[0]: Row(*row[1:]) for row in _BY_KEYS.run(connection, digests)}


def find_holders(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, tuple[str, int]]:
    """The resources known by these keys: each one's id and current version."""
    return {digest: (resource_id, version) for digest, resource_id, version in _HOLDERS.run(connection, digests)}


def find(connection: sa.Connection, resource_type: str, resource_id: str) -> Row | None:
    rows = [Row(*row) for row in _BY_ID.run(connection, {"resource_id": resource_id})]
    return rows[0] if rows and rows[0].type == resource_type else None


def find_as_created(connection: sa.Connection, resource_id: str) -> bytes:
    """The content of the first version of a resource. Raises ValueError when there is no such resource."""
    [[content]] = _AS_CREATED.run(connection, {"resource_id": resource_id})
    return bytes(content)


def find_by_ids(connection: sa.Connection, ids: Sequence[str]) -> list[Row]:
    """The resources of these ids that there are."""
    return [Row(*row) for row in _BY_IDS.run(connection, ids)]


_VERSIONS_HELD = Among(
    resource.c.id,
    lambda is_one: sa.select(resource.c.id, resource.c.version).where(is_one).with_for_update(read=True),
    in_order=True,
)


def hold_versions(connection: sa.Connection, ids: Sequence[str]) -> dict[str, int]:
    """The current versions of resources, which nobody changes before the transaction has ended; taken in this order."""
    return dict(_VERSIONS_HELD.run(connection, ids))


_BY_NUMBERS = Among(
    resource.c.number, lambda is_one: sa.select(*_COLUMNS).join(resource_version, _CURRENT).where(is_one)
)


def find_by_numbers(connection: sa.Connection, numbers: Sequence[int]) -> list[Row]:
    """The resources with these numbers, in the order of the numbers given."""
    found: dict[int, Row] = {row[4]: Row(*row) for row in _BY_NUMBERS.run(connection, numbers)}
    return [found[number] for number in numbers if number in found]


_NEW = adding(resource, "id", "type", "version", "sender", "number", "updated_at", "due_at")
_VERSIONS = adding(resource_version, "resource_id", "version", "content", "message_id", "updated_at")
_ADD_KEYS = adding(resource_key, "digest", "resource_id")


def _advance(dialect: str, given: Given) -> Clause:
    """PostgreSQL takes the rows in the order given, and only then changes them."""
    changes = {name: given[name] for name in ("version", "updated_at", "due_at")}
    is_next = sa.and_(resource.c.id == given["id"], resource.c.version == given["version"] - sa.literal_column("1"))
    if dialect == "sqlite":
        return sa.update(resource).where(is_next).values(changes)
    place: sa.ColumnClause[str] = sa.literal_column("resource.ctid")
    free = looked_up(sa.select(place.label("place")).select_from(resource).where(is_next).with_for_update())
    taken = sa.select(free.c.place, *given.values()).select_from(given["id"].table.join(free, sa.true()))
    held = taken.cte("held").prefix_with("MATERIALIZED", dialect="postgresql")
    return sa.update(resource).where(place == held.c.place).values({name: held.c[name] for name in changes})


def _move_key(dialect: str, given: Given) -> Clause:
    names = ("digest", "resource_id")
    moving = insert(resource_key, dialect)
    moving = moving.values(given) if dialect == "sqlite" else moving.from_select(names, sa.select(*given.values()))
    return moving.on_conflict_do_update(index_elements=["digest"], set_={"resource_id": moving.excluded.resource_id})


_ADVANCE = Rows([resource.c[name] for name in ("id", "version", "updated_at", "due_at")], _advance)
_MOVE_KEYS = Rows([resource_key.c[name] for name in ("digest", "resource_id")], _move_key)


def write(connection: sa.Connection, versions: Iterable[Version]) -> None:
    """Writes new versions, version 1 making the resource; in one order everywhere, so that no two wait for each other.

    Raises Conflict when another transaction wrote one of them first.
    """
    ordered = sorted(versions, key=lambda one: one.row.id)
    new = [one for one in ordered if one.row.version == 1]
    changed = [(one.row.id, one.row.version, one.now, one.row.due_at) for one in ordered if one.row.version > 1]
    _NEW.run(
        connection,
        [(r.id, r.type, r.version, r.sender, r.number, one.now, r.due_at) for one in new for r in (one.row,)],
    )
    if _ADVANCE.run(connection, changed) < len(changed):
        raise Conflict("a resource was changed by another transaction")
    _VERSIONS.run(
        connection, [(one.row.id, one.row.version, one.row.content, one.message_id, one.now) for one in ordered]
    )


def add_identifiers(connection: sa.Connection, keys: dict[bytes, str]) -> None:
    """New business identifiers of resources. Raises Conflict where another transaction took one first."""
    _ADD_KEYS.run(connection, sorted(keys.items()))


def set_addresses(connection: sa.Connection, keys: dict[bytes, str]) -> None:
    """A sender's addresses of resources: an address that it uses again means the later resource."""
    _MOVE_KEYS.run(connection, sorted(keys.items()))
