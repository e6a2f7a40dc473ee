"""Every version of what is kept, and the message that made it: what reads, histories and audits are answered from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.fhir.identity import OWN_SENDER
from gateway.store.schema import REPLY, lane_key, message, outbox, resource, resource_version


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a resource; `content` is its JSON, `message_id` the message that made it."""

    type: str
    id: str
    number: int
    content: bytes
    message_id: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """A message, as those who ask about its effects are told of it."""

    id: int
    sender: str
    bundle_id: str | None
    header_id: str | None
    event_system: str | None
    event_code: str
    received_at: datetime
    is_rest: bool


@dataclass(frozen=True, slots=True)
class Processed:
    """A message that is done with, and its reply."""

    origin: Origin
    done_at: datetime
    media_type: str
    body: bytes
    wrapping: str | None
    response_code: str
    reply_format: str
    reply: bytes


_VERSION = (
    resource.c.type,
    resource_version.c.resource_id,
    resource_version.c.version,
    resource_version.c.content,
    resource_version.c.message_id,
    resource_version.c.updated_at,
)
_ORIGIN = (
    message.c.id,
    message.c.sender,
    message.c.bundle_id,
    message.c.header_id,
    message.c.event_system,
    message.c.event_code,
    message.c.received_at,
    message.c.wrapping.is_not(None),
)
_PUBLIC = (
    sa.select(*_VERSION)
    .join(resource, resource.c.id == resource_version.c.resource_id)
    .where(resource.c.sender != OWN_SENDER)
)
_PROCESSED = (
    sa.select(
        message.c.done_at,
        message.c.media_type,
        message.c.body,
        message.c.wrapping,
        outbox.c.response_code,
        outbox.c.format,
        outbox.c.content,
        *_ORIGIN,
    )
    .join(outbox, sa.and_(outbox.c.message_id == message.c.id, sa.text(f"outbox.{REPLY}")))
    .order_by(message.c.id.desc())
)


def find(connection: sa.Connection, kind: str, resource_id: str, number: int | None = None) -> Version | None:
    """A version of a resource, the current one unless its number is given; of what anybody may read."""
    wanted = number if number is not None else resource.c.version
    found = _PUBLIC.where(resource.c.id == resource_id, resource.c.type == kind, resource_version.c.version == wanted)
    row = connection.execute(found).one_or_none()
    return Version(*row) if row else None


def find_by_id(connection: sa.Connection, resource_id: str, number: int) -> Version | None:
    """A version of the resource with an id, of whatever type."""
    found = _PUBLIC.where(resource.c.id == resource_id, resource_version.c.version == number)
    row = connection.execute(found).one_or_none()
    return Version(*row) if row else None


def find_all(
    connection: sa.Connection, kind: str, resource_id: str, before: int | None, since: datetime | None, most: int
) -> list[Version]:
    """The versions of a resource below a number, made since a time, newest first; at most so many."""
    found = _PUBLIC.where(resource.c.id == resource_id, resource.c.type == kind)
    if before is not None:
        found = found.where(resource_version.c.version < sa.literal(before, sa.BigInteger))
    if since is not None:
        found = found.where(resource_version.c.updated_at >= since)
    rows = connection.execute(found.order_by(resource_version.c.version.desc()).limit(most))
    return [Version(*row) for row in rows]


def count(connection: sa.Connection, kind: str, resource_id: str, since: datetime | None) -> int:
    """How many versions of a resource were made since a time."""
    found = _PUBLIC.where(resource.c.id == resource_id, resource.c.type == kind)
    if since is not None:
        found = found.where(resource_version.c.updated_at >= since)
    return connection.execute(sa.select(sa.func.count()).select_from(found.subquery())).scalar_one()


def find_made(connection: sa.Connection, message_ids: Sequence[int]) -> dict[int, list[tuple[str, str, int]]]:
    """The versions that messages have made, each as type, id and number, by the message."""
    if not message_ids:
        return {}
    columns = (resource_version.c.message_id, resource.c.type, resource.c.id, resource_version.c.version)
    found = (
        sa.select(*columns)
        .join(resource, resource.c.id == resource_version.c.resource_id)
        .where(resource_version.c.message_id.in_(message_ids), resource.c.sender != OWN_SENDER)
        .order_by(resource.c.type.desc(), resource.c.id)
    )
    made: dict[int, list[tuple[str, str, int]]] = {}
    for message_id, *version in connection.execute(found):
        made.setdefault(message_id, []).append((version[0], version[1], version[2]))
    return made


def find_origins(connection: sa.Connection, message_ids: Iterable[int]) -> dict[int, Origin]:
    """Messages by their ids."""
    rows = connection.execute(sa.select(*_ORIGIN).where(message.c.id.in_([*message_ids])))
    return {row[0]: Origin(*row) for row in rows}


def find_processed(
    connection: sa.Connection,
    most: int,
    before: int | None = None,
    lanes: Sequence[str] | None = None,
    made: tuple[str, str] | None = None,
) -> list[Processed]:
    """Messages that are done with, newest first: below an id, of some lanes, or that made versions of a type and id."""
    found = _PROCESSED.limit(most)
    if before is not None:
        found = found.where(message.c.id < before)
    if lanes is not None:
        found = found.where(message.c.lane.in_(lanes))
    if made is not None:
        found = found.where(message.c.id.in_(_makers(*made)))
    rows = [list(row) for row in connection.execute(found)]
    return [Processed(Origin(*row[7:]), *row[:7]) for row in rows]


def find_lanes(connection: sa.Connection, kind: str, resource_id: str, digests: Sequence[bytes]) -> list[str]:
    """The lanes of the messages about a Task that is known by these keys."""
    by_key = sa.select(lane_key.c.lane).where(lane_key.c.digest.in_(digests))
    by_version = sa.select(message.c.lane).where(message.c.id.in_(_makers(kind, resource_id)))
    return sorted(connection.execute(by_key.union(by_version)).scalars())


def _makers(kind: str, resource_id: str) -> sa.Select[tuple[int]]:
    """The messages that made the versions of a resource."""
    return (
        sa.select(resource_version.c.message_id)
        .join(resource, resource.c.id == resource_version.c.resource_id)
        .where(resource.c.type == kind, resource.c.id == resource_id, resource.c.sender != OWN_SENDER)
    )
