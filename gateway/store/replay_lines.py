"""What became of the items of replays, to be reported: line by line, the responses, and how many of which kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.store.replay_schema import replay, replay_file, replay_item, replay_part
from gateway.store.schema import message, outbox
from gateway.store.selections import reply, with_reply

_EVENT = sa.func.coalesce(message.c.event_code, outbox.c.event_code, outbox.c.kind)
_WITH_ORIGINALS = (
    replay_item.outerjoin(message, message.c.id == replay_item.c.message_id)
    .outerjoin(outbox, outbox.c.id == replay_item.c.outbox_id)
    .outerjoin(
        replay_file,
        sa.and_(replay_file.c.replay_id == replay_item.c.replay_id, replay_file.c.number == replay_item.c.file_number),
    )
)


@dataclass(frozen=True, slots=True)
class Row:
    """An item with what is known of it. `arrival` is the JSON of what came in a file and is not in the inbox."""

    position: int
    message_id: int | None
    outbox_id: int | None
    file: str | None
    event: str | None
    sender: str | None
    bundle_id: str | None
    before: str | None
    first_error: str | None
    outcome: str | None
    detail: str | None
    made_id: int | None
    changes: str | None
    arrival: str | None


def lines(
    connection: sa.Connection, replay_id: int, part: str, after: int, most: int, outcomes: Sequence[str] = ()
) -> list[Row]:
    """The items of a part after a position, in their order; those with one of the outcomes, where some are given."""
    i, m, o, f = replay_item.c, message.c, outbox.c, replay_file.c
    found: sa.Select[Any] = (
        sa.select(
            i.position,
            sa.func.coalesce(i.message_id, o.message_id),
            i.outbox_id,
            f.name,
            _EVENT,
            sa.func.coalesce(m.partner, m.sender, o.recipient),
            sa.func.coalesce(m.bundle_id, o.bundle_id),
            i.before,
            sa.func.coalesce(m.first_error, o.error),
            i.outcome,
            sa.func.coalesce(i.detail, f.problem),
            i.made_id,
            i.changes,
            sa.case((m.id.is_(None), f.arrival)),
        )
        .select_from(_WITH_ORIGINALS)
        .where(i.replay_id == replay_id, i.part == part, i.position > after)
        .order_by(i.position)
        .limit(most)
    )
    if outcomes:
        found = found.where(i.outcome.in_(outcomes))
    return [Row(*row) for row in connection.execute(found)]


def find_parts(connection: sa.Connection, replay_id: int) -> list[str]:
    p = replay_part.c
    return list(connection.scalars(sa.select(p.part).where(p.replay_id == replay_id).order_by(p.part)))


def count_kinds(connection: sa.Connection, replay_id: int) -> list[tuple[str | None, str | None, int]]:
    """How many items of which event have which outcome; None for what has none, or no outcome yet."""
    i = replay_item.c
    counted = (
        sa.select(_EVENT, i.outcome, sa.func.count())
        .select_from(_WITH_ORIGINALS)
        .where(i.replay_id == replay_id)
        .group_by(_EVENT, i.outcome)
        .order_by(_EVENT, i.outcome)
    )
    return [(event, outcome, number) for event, outcome, number in connection.execute(counted)]


# --- responses --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """A reply as it was sent; `http_status` None: 200."""

    content: bytes
    format: str
    version: str
    http_status: int | None
    created_at: datetime


_REPLY = ("content", "format", "version", "http_status", "created_at")


def find_replies(connection: sa.Connection, message_ids: Sequence[int]) -> dict[int, Response]:
    """The replies of messages, by the messages' ids."""
    found = sa.select(reply.c.message_id, *(reply.c[name] for name in _REPLY)).select_from(with_reply)
    rows = connection.execute(found.where(message.c.id.in_(message_ids), reply.c.id.is_not(None)))
    return {row[0]: Response(*row[1:]) for row in rows}


def find_replies_sent(connection: sa.Connection, entry_ids: Sequence[int]) -> dict[int, Response]:
    """The replies among entries of the outbox, by the entries' ids."""
    o = outbox.c
    found = sa.select(o.id, *(o[name] for name in _REPLY)).where(o.id.in_(entry_ids), o.kind == "reply")
    return {row[0]: Response(*row[1:]) for row in connection.execute(found)}


# --- the history of a message -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Original:
    """A message of the inbox, and what became of it."""

    id: int
    received_at: datetime
    event: str
    sender: str
    bundle_id: str | None
    state: str
    response_code: str | None
    error: str | None
    first_error: str | None
    replay_id: int | None
    replay_of: int | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """An item that a message has been, in one replay."""

    replay_id: int
    mode: str
    state: str
    started_at: datetime | None
    started_by: str | None
    outcome: str | None
    detail: str | None
    made_id: int | None


def find_originals(connection: sa.Connection, ids: Sequence[str]) -> list[Original]:
    """The messages with these numbers, or with these ids of Bundles or MessageHeaders; the first first."""
    m = message.c
    numbers = [int(one) for one in ids if one.isdecimal() and one.isascii() and len(one) <= 18]
    is_meant = sa.or_(m.id.in_(numbers), m.bundle_id.in_(ids), m.header_id.in_(ids))
    return [Original(*row) for row in connection.execute(_originals().where(is_meant).order_by(m.id))]


def find_made_of(connection: sa.Connection, message_id: int) -> list[Original]:
    """The messages that were made of one to carry it out again; the first first."""
    m = message.c
    return [Original(*row) for row in connection.execute(_originals().where(m.replay_of == message_id).order_by(m.id))]


def _originals() -> sa.Select[Any]:
    m = message.c
    sender = sa.func.coalesce(m.partner, m.sender)
    known = (m.event_code, sender, m.bundle_id, m.state, reply.c.response_code, m.error, m.first_error)
    return sa.select(m.id, m.received_at, *known, m.replay_id, m.replay_of).select_from(with_reply)


def find_replayed(connection: sa.Connection, message_id: int) -> list[Replayed]:
    """The replays that a message is in, or a delivery of it is sent again in; the first first."""
    i, r = replay_item.c, replay.c
    of_entries = sa.select(i.replay_id, i.part, i.position).join(outbox, outbox.c.id == i.outbox_id)
    own = sa.select(i.replay_id, i.part, i.position).where(i.message_id == message_id)
    its = own.union(of_entries.where(outbox.c.message_id == message_id)).subquery()
    found = (
        sa.select(r.id, r.mode, r.state, r.started_at, r.started_by, i.outcome, i.detail, i.made_id)
        .select_from(
            its.join(
                replay_item,
                sa.and_(i.replay_id == its.c.replay_id, i.part == its.c.part, i.position == its.c.position),
            ).join(replay, r.id == i.replay_id)
        )
        .order_by(r.id, i.position)
    )
    return [Replayed(*row) for row in connection.execute(found)]
