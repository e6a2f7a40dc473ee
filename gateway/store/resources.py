"""Resources as the gateway keeps them: every version, found by key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.errors import Conflict
from gateway.store.schema import resource, resource_key, resource_version
from gateway.store.statements import Insert, Statement, insert, many

_AT_ONCE = 100
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


_CURRENT = sa.and_(resource_version.c.resource_id == resource.c.id, resource_version.c.version == resource.c.version)
_COLUMNS = (*(resource.c[name] for name in ("id", "type", "version", "sender", "number")), resource_version.c.content)
_BY_KEYS = many(
    lambda number, _name: (
        sa.select(resource_key.c.digest, *_COLUMNS)
        .join_from(resource_key, resource, resource.c.id == resource_key.c.resource_id)
        .join(resource_version, _CURRENT)
        .where(resource_key.c.digest.in_([sa.bindparam(f"digest_{n}") for n in range(number)]))
    )
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
_BY_IDS = many(
    lambda number, _name: (
        sa.select(*_COLUMNS)
        .join(resource_version, _CURRENT)
        .where(resource.c.id.in_([sa.bindparam(f"id_{n}") for n in range(number)]))
    )
)


def number_of(message_id: int, ordinal: int) -> int:
    """The number of what a message makes as its `ordinal`-th resource (from 0): the order of creation."""
    return message_id << _ORDINAL_BITS | ordinal


def message_of(number: int) -> int:
    """The id of the message that made the resource with a number."""
    return number >> _ORDINAL_BITS


def find_by_keys(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, Row]:
    """The resources known by these keys."""
    found: dict[bytes, Row] = {}
    for start in range(0, len(digests), _AT_ONCE):
        named = {f"digest_{n}": digest for n, digest in enumerate(digests[start : start + _AT_ONCE])}
        found |= {row[0]: Row(*row[1:]) for row in _BY_KEYS(len(named)).run(connection, named)}
    return found


def find(connection: sa.Connection, resource_type: str, resource_id: str) -> Row | None:
    rows = [Row(*row) for row in _BY_ID.run(connection, {"resource_id": resource_id})]
    return rows[0] if rows and rows[0].type == resource_type else None


def find_as_created(connection: sa.Connection, resource_id: str) -> bytes:
    """The content of the first version of a resource. Raises ValueError when there is no such resource."""
    [[content]] = _AS_CREATED.run(connection, {"resource_id": resource_id})
    return bytes(content)


def find_by_ids(connection: sa.Connection, ids: Sequence[str]) -> list[Row]:
    """The resources of these ids that there are."""
    found: list[Row] = []
    for start in range(0, len(ids), _AT_ONCE):
        named = {f"id_{n}": resource_id for n, resource_id in enumerate(ids[start : start + _AT_ONCE])}
        found += [Row(*row) for row in _BY_IDS(len(named)).run(connection, named)]
    return found


_VERSIONS_HELD = many(
    lambda number, _name: (
        sa.select(resource.c.id, resource.c.version)
        .where(resource.c.id.in_([sa.bindparam(f"id_{n}") for n in range(number)]))
        .order_by(resource.c.id)
        .with_for_update(read=True)
    )
)


def hold_versions(connection: sa.Connection, ids: Sequence[str]) -> dict[str, int]:
    """The current versions of resources, which nobody changes before the transaction has ended."""
    named = {f"id_{n}": resource_id for n, resource_id in enumerate(ids)}
    return dict(_VERSIONS_HELD(len(named)).run(connection, named)) if named else {}


_BY_NUMBERS = many(
    lambda number, _name: (
        sa.select(*_COLUMNS)
        .join(resource_version, _CURRENT)
        .where(resource.c.number.in_([sa.bindparam(f"number_{n}") for n in range(number)]))
    )
)


def find_by_numbers(connection: sa.Connection, numbers: Sequence[int]) -> list[Row]:
    """The resources with these numbers, in the order of the numbers given."""
    found: dict[int, Row] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        named = {f"number_{n}": number for n, number in enumerate(numbers[start : start + _AT_ONCE])}
        found |= {row[4]: Row(*row) for row in _BY_NUMBERS(len(named)).run(connection, named)}
    return [found[number] for number in numbers if number in found]


_NEW = many(
    lambda number, _name: sa.insert(resource).values(
        [
            {
                **_numbered("id", "type", "sender", "number", "due_at", number=n),
                "version": sa.literal_column("1"),
                "updated_at": sa.bindparam("updated_at"),
            }
            for n in range(number)
        ]
    )
)
_VERSIONS = many(
    lambda number, _name: sa.insert(resource_version).values(
        [
            {
                **_numbered("resource_id", "version", "content", number=n),
                "message_id": sa.bindparam("message_id"),
                "updated_at": sa.bindparam("updated_at"),
            }
            for n in range(number)
        ]
    )
)
_ADVANCE = Statement(
    sa.update(resource)
    .where(resource.c.id == sa.bindparam("resource_id"), resource.c.version == sa.bindparam("before"))
    .values(
        version=resource.c.version + sa.literal_column("1"),
        updated_at=sa.bindparam("updated_at"),
        due_at=sa.bindparam("due_at"),
    )
    .returning(resource.c.version)
)
_ADD_KEYS = many(
    lambda number, _name: sa.insert(resource_key).values(
        [_numbered("digest", "resource_id", number=n) for n in range(number)]
    )
)


def _numbered(*names: str, number: int) -> dict[str, sa.BindParameter[Any]]:
    return {name: sa.bindparam(f"{name}_{number}") for name in names}


def _move_key(adding: Insert) -> sa.Insert:
    values = adding.values(digest=sa.bindparam("digest"), resource_id=sa.bindparam("resource_id"))
    return values.on_conflict_do_update(index_elements=["digest"], set_={"resource_id": adding.excluded.resource_id})


_MOVE_KEY = Statement(lambda name: _move_key(insert(resource_key, name)))


def write(connection: sa.Connection, rows: Iterable[Row], message_id: int, now: datetime) -> None:
    """Writes new versions, version 1 making the resource; in one order everywhere, so that no two wait for each other.

    Raises Conflict when another transaction wrote one of them first.
    """
    ordered = sorted(rows, key=lambda row: row.id)
    for start in range(0, len(ordered), _AT_ONCE):
        _write(connection, ordered[start : start + _AT_ONCE], {"message_id": message_id, "updated_at": now})


def _write(connection: sa.Connection, rows: Sequence[Row], common: dict[str, Any]) -> None:
    values = dict(common)
    new = [row for row in rows if row.version == 1]
    for number, row in enumerate(new):
        values |= {f"{name}_{number}": getattr(row, name) for name in ("id", "type", "sender", "number", "due_at")}
    if new:
        _NEW(len(new)).run(connection, values)
    for number, row in enumerate(rows):
        if row.version > 1:
            _advance(connection, row, common["updated_at"])
        values |= {
            f"resource_id_{number}": row.id,
            f"version_{number}": row.version,
            f"content_{number}": row.content,
        }
    _VERSIONS(len(rows)).run(connection, values)


def _advance(connection: sa.Connection, row: Row, now: datetime) -> None:
    values = {"resource_id": row.id, "before": row.version - 1, "updated_at": now, "due_at": row.due_at}
    if not _ADVANCE.run(connection, values):
        raise Conflict(f"{row.type}/{row.id} was changed by another transaction")


def add_identifiers(connection: sa.Connection, keys: dict[bytes, str]) -> None:
    """New business identifiers of resources. Raises Conflict where another transaction took one first."""
    ordered = sorted(keys.items())
    for start in range(0, len(ordered), _AT_ONCE):
        values: dict[str, Any] = {}
        for number, (digest, resource_id) in enumerate(ordered[start : start + _AT_ONCE]):
            values |= {f"digest_{number}": digest, f"resource_id_{number}": resource_id}
        _ADD_KEYS(len(values) // 2).run(connection, values)


def set_addresses(connection: sa.Connection, keys: dict[bytes, str]) -> None:
    """A sender's addresses of resources: an address that it uses again means the later resource."""
    for digest, resource_id in sorted(keys.items()):
        _MOVE_KEY.run(connection, {"digest": digest, "resource_id": resource_id})
