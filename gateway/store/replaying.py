"""What a replay finds of messages in the inbox, and does to them; and what it has the outbox send again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.store.inbox import Arrival, Waiting
from gateway.store.replay_items import Counted
from gateway.store.replay_schema import replay_item
from gateway.store.schema import DEAD, WAITING, message, outbox
from gateway.store.selections import reply, with_reply
from gateway.store.statements import Among, many

_NOT_DONE = sa.or_(sa.text(f"message.{WAITING}"), sa.text(f"message.{DEAD}"))


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a message is; `size` is that of its body, `response_code` that of its reply, where it has one."""

    id: int
    state: str
    lane: str
    partner: str | None
    sender: str
    bundle_id: str | None
    header_id: str | None
    bundle_key: bytes | None
    content_hash: bytes
    size: int
    response_code: str | None


_STANDING = Among(
    message.c.id,
    lambda is_one: (
        sa.select(
            *(message.c[name] for name in Standing.__slots__[:-2]),
            sa.func.length(message.c.body),
            reply.c.response_code,
        )
        .select_from(with_reply)
        .where(is_one)
    ),
)
_MESSAGES = Among(
    message.c.id, lambda is_one: sa.select(*(message.c[name] for name in Waiting.__slots__)).where(is_one)
)
_FIRST_WAITING = many(
    lambda number, _name: sa.select(message.c.lane, message.c.id, message.c.received_at).where(
        message.c.id.in_(
            sa.select(sa.func.min(message.c.id))
            .where(
                message.c.lane.in_([sa.bindparam(f"lane_{n}") for n in range(number)]),
                sa.text(f"message.{WAITING}"),
            )
            .group_by(message.c.lane)
        )
    )
)
_AT_ONCE = 500


def find_standing(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Standing]:
    """How far messages are, by their ids; without those that there are not."""
    return {row[0]: Standing(*row) for row in _STANDING.run(connection, ids)}


def find_messages(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Waiting]:
    """Messages, whatever their state, by their ids."""
    return {row[0]: Waiting(*row) for row in _MESSAGES.run(connection, ids)}


def find_first_waiting(connection: sa.Connection, lanes: Sequence[str]) -> dict[str, tuple[int, datetime]]:
    """The oldest message that waits in each of these lanes, where one does, and when it was received."""
    named = {f"lane_{n}": lane for n, lane in enumerate(lanes)}
    rows = _FIRST_WAITING(len(named)).run(connection, named) if lanes else []
    return {row[0]: (row[1], row[2]) for row in rows}


def get_arrival(connection: sa.Connection, message_id: int) -> Arrival:
    """A message as it was first written. Raises ValueError when there is no such message."""
    columns = (message.c[name] for name in Arrival.__slots__)
    row = connection.execute(sa.select(*columns).where(message.c.id == message_id)).one_or_none()
    if row is None:
        raise ValueError(f"no message {message_id}")
    return Arrival(**dict(zip(Arrival.__slots__, row, strict=True)))


_TAKE = many(
    lambda number, _name: (
        sa.update(message)
        .where(
            message.c.id.in_(
                sa.select(message.c.id)
                .where(message.c.id.in_([sa.bindparam(f"id_{n}") for n in range(number)]), _NOT_DONE)
                .order_by(message.c.id)
                .with_for_update(skip_locked=True)
            )
        )
        .values(state="done", done_at=sa.bindparam("now"), error=None, replay_id=sa.bindparam("of_replay"))
        .returning(message.c.id)
    )
)


def take(connection: sa.Connection, ids: Sequence[int], replay_id: int, now: datetime) -> set[int]:
    """Marks messages done that are not, in the transaction that makes them so; those that nobody else has in hand."""
    named = {f"id_{n}": one for n, one in enumerate(ids)}
    return (
        {row[0] for row in _TAKE(len(named)).run(connection, {**named, "now": now, "of_replay": replay_id})}
        if ids
        else set()
    )


def set_aside(connection: sa.Connection, message_id: int, cause: str, replay_id: int) -> bool:
    """Records that a message failed in a replay: it is dead, with the cause."""
    c = message.c
    failed = sa.update(message).where(c.id == message_id, _NOT_DONE)
    values = {"state": "dead", "attempts": c.attempts + 1, "error": cause, "replay_id": replay_id}
    return connection.execute(failed.values(first_error=sa.func.coalesce(c.first_error, cause), **values)).rowcount == 1


# --- sending again ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """What the outbox has of a message, or an entry of it: to whom it went, if to anybody; who has asked, or was told.

    `is_there`: it has something; `is_empty`: nothing but a status of HTTP. `waits`: it is on its way still, or held.
    """

    is_there: bool
    recipient: str | None
    destination: str | None
    is_empty: bool
    waits: bool
    partner: str | None
    sender: str | None


def _is_on_its_way(state: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return sa.or_(*(state == sa.literal_column(f"'{one}'") for one in ("due", "queued", "held")))


_OF_REPLY = (
    reply.c.id.is_not(None).label("is_there"),
    reply.c.recipient,
    reply.c.destination,
    sa.func.coalesce(sa.func.length(reply.c.content) == 0, sa.false()).label("is_empty"),
    sa.func.coalesce(_is_on_its_way(reply.c.state), sa.false()).label("waits"),
    message.c.partner,
    message.c.sender,
)
_OF_ENTRY = (
    outbox.c.id.is_not(None).label("is_there"),
    outbox.c.recipient,
    outbox.c.destination,
    (sa.func.length(outbox.c.content) == 0).label("is_empty"),
    _is_on_its_way(outbox.c.state).label("waits"),
    sa.func.coalesce(message.c.partner, outbox.c.party).label("partner"),
    message.c.sender,
)
_WITH_MESSAGE = outbox.outerjoin(message, sa.and_(message.c.id == outbox.c.message_id, outbox.c.kind == "reply"))


_REPLIES = Among(
    message.c.id,
    lambda is_one: (
        sa.select(message.c.id, reply.c.id.label("outbox_id"), *_OF_REPLY).select_from(with_reply).where(is_one)
    ),
)
_ENTRIES = Among(
    outbox.c.id, lambda is_one: sa.select(outbox.c.id, *_OF_ENTRY).select_from(_WITH_MESSAGE).where(is_one)
)


def find_replies(connection: sa.Connection, message_ids: Sequence[int]) -> dict[int, tuple[int | None, Kept]]:
    """The replies of messages, each with its id in the outbox."""
    return {row[0]: (row[1], Kept(*row[2:])) for row in _REPLIES.run(connection, message_ids)}


def find_entries(connection: sa.Connection, ids: Sequence[int]) -> dict[int, tuple[int | None, Kept]]:
    """Entries of the outbox; of a reply, with whom it answers."""
    return {row[0]: (row[0], Kept(*row[1:])) for row in _ENTRIES.run(connection, ids)}


def count_replies(connection: sa.Connection, replay_id: int) -> Iterator[tuple[Kept, Counted]]:
    """The replies of a replay's messages by all that says to whom they would go."""
    i, m = replay_item.c, message.c
    from_ = with_reply.join(replay_item, sa.and_(i.message_id == m.id, i.replay_id == replay_id))
    return _count(connection, _OF_REPLY, (m.event_code, m.sender, m.partner, i.before), m.received_at, from_)


def count_entries(connection: sa.Connection, replay_id: int) -> Iterator[tuple[Kept, Counted]]:
    """The entries that a replay has, likewise."""
    i, o = replay_item.c, outbox.c
    from_ = _WITH_MESSAGE.join(replay_item, sa.and_(i.outbox_id == o.id, i.replay_id == replay_id))
    event = sa.func.coalesce(o.event_code, o.kind)
    return _count(connection, _OF_ENTRY, (event, sa.literal(""), o.recipient, i.before), o.created_at, from_)


def _count(
    connection: sa.Connection,
    kept: Sequence[sa.ColumnElement[Any]],
    kind: Sequence[sa.ColumnElement[Any]],
    at: sa.ColumnElement[datetime],
    from_: sa.FromClause,
) -> Iterator[tuple[Kept, Counted]]:
    by = [column for column in (*kept, *kind) if not isinstance(column, sa.BindParameter)]
    counted = sa.select(*kept, *kind, sa.func.count(), sa.func.min(at), sa.func.max(at)).select_from(from_)
    for row in connection.execute(counted.group_by(*by).order_by(sa.func.count().desc())):
        yield Kept(*row[: len(kept)]), Counted(*row[len(kept) :])


_COPIED = (
    "message_id",
    "kind",
    "party",
    "lane",
    "subscription_id",
    "header_id",
    "bundle_id",
    "event_code",
    "response_code",
    "format",
    "version",
    "content",
)


def send_again(connection: sa.Connection, ids: Sequence[int], values: Mapping[str, Any]) -> dict[int, int]:
    """Has entries sent once more, as entries of their own; `values` are what they have different: recipient, …

    Returns the ids of the new ones by those of the old ones.
    """
    o = outbox.c
    given = [sa.literal(value, o[name].type).label(name) for name, value in values.items()]
    copied = sa.select(*(o[name] for name in _COPIED), o.id, *given).where(o.id.in_(ids)).order_by(o.id)
    added = sa.insert(outbox).from_select([*_COPIED, "resent_of", *values], copied)
    return {of: new for new, of in connection.execute(added.returning(o.id, o.resent_of))}
