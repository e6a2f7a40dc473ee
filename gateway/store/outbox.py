"""The outbox: all that is sent, as it is sent; for a message one reply, and one entry for each partner it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

import sqlalchemy as sa

from gateway.store.schema import QUEUED, TOLD, outbox, subscription_counter
from gateway.store.statements import Insert, Statement, adding, insert

Kind = Literal["reply", "message", "notification"]
NOTIFICATION = "subscription-notification"
State = Literal["answered", "due", "queued", "held", "delivered", "dead"]


def _count_more(adding: Insert) -> sa.UpdateBase:
    values = adding.values(party=sa.bindparam("party"), events=sa.bindparam("more"))
    more = {"events": subscription_counter.c.events + adding.excluded.events}
    counted = values.on_conflict_do_update(index_elements=["party"], set_=more)
    return counted.returning(subscription_counter.c.events)


_COUNT = Statement(lambda name: _count_more(insert(subscription_counter, name)))


@dataclass(frozen=True, slots=True)
class Entry:
    """What is sent, as it is first written; the names are the columns'.

    A reply has a `response_code`, what tells a partner that has its name as `party`. What is `due` or `queued` has a
    `recipient`, and in one `lane` is delivered to it in order.
    """

    message_id: int | None
    kind: Kind
    header_id: str
    bundle_id: str | None
    format: str
    version: str
    content: bytes
    state: State
    created_at: datetime
    lane: str | None = None
    recipient: str | None = None
    destination: str | None = None
    party: str | None = None
    subscription_id: str = ""
    event_code: str | None = None
    response_code: str | None = None
    http_status: int | None = None
    replay_id: int | None = None


_ADD = Statement(
    lambda name: (
        insert(outbox, name)
        .values({column: sa.bindparam(column) for column in (*Entry.__slots__, "due_at")})
        .returning(outbox.c.id)
    )
)


def add(connection: sa.Connection, entry: Entry, due_at: datetime | None = None) -> int:
    """Keeps what is sent, at once or when it is due, which is at once unless a time is given; returns its id."""
    values = {name: getattr(entry, name) for name in Entry.__slots__} | {"lane": entry.lane or entry.header_id}
    due_at = (due_at or entry.created_at) if entry.state == "due" else None
    [(added,)] = _ADD.run(connection, {**values, "due_at": due_at})
    return int(added)


_COLUMNS = (*Entry.__slots__, "due_at")
_ADD_ALL = adding(outbox, *_COLUMNS)
_values = attrgetter(*Entry.__slots__)
_STATE, _REPLAY_ID, _LANE = map(_COLUMNS.index, ("state", "replay_id", "lane"))


def add_all(
    connection: sa.Connection, entries: Sequence[Entry], replay_id: int | None = None, *, is_held: bool = False
) -> None:
    """Keeps what is sent, in its order, at once; of a replay, held if so wished what would else be due or queued."""
    rows: list[Sequence[Any]] = []
    for entry in entries:
        row = [*_values(entry), entry.created_at if entry.state == "due" else None]
        row[_LANE], row[_REPLAY_ID] = entry.lane or entry.header_id, replay_id or entry.replay_id
        if is_held and entry.state in ("due", "queued"):
            row[_STATE] = "held"
        rows.append(row)
    _ADD_ALL.run(connection, rows)


def count_events(connection: sa.Connection, party: str, more: int) -> int:
    """How many events a partner has been told of, with so `more`: the number of the last of them.

    Nobody else counts for the partner until the transaction has ended.
    """
    [(events,)] = _COUNT.run(connection, {"party": party, "more": more})
    return int(events)


@dataclass(frozen=True, slots=True)
class Told:
    """What a response can answer, and how far it has come."""

    id: int
    kind: Kind
    recipient: str | None
    header_id: str
    bundle_id: str | None
    state: State
    attempts: int


_TOLD = [outbox.c[name] for name in Told.__slots__]


def find(connection: sa.Connection, entry_id: int) -> Told | None:
    row = connection.execute(sa.select(*_TOLD).where(outbox.c.id == entry_id)).one_or_none()
    return Told(*row) if row else None


def find_told(connection: sa.Connection, ids: Sequence[str]) -> list[Told]:
    """What partners were told by messages that have one of these ids, of the header or of the Bundle."""
    known_as = sa.or_(outbox.c.header_id.in_(ids), outbox.c.bundle_id.in_(ids))
    is_message = sa.and_(sa.text(f"outbox.{TOLD}"), outbox.c.kind == "message")
    found = sa.select(*_TOLD).where(is_message, known_as).order_by(outbox.c.id)
    return [Told(*row) for row in connection.execute(found)]


def close(connection: sa.Connection, entry_id: int, message_id: int, code: str, now: datetime) -> bool:
    """Records the response to what was told; False when there was one before, which stays.

    A response to what is not known to be delivered shows that it was; what is dead and was not taken stays so.
    """
    closed = (
        sa.update(outbox)
        .where(outbox.c.id == entry_id, outbox.c.closed_at.is_(None))
        .values(closed_at=now, closed_by=message_id, closed_code=code)
    )
    if connection.execute(closed).rowcount != 1:
        return False
    was = ("due", "queued") if code == "transient-error" else ("due", "queued", "dead")
    arrived = sa.update(outbox).where(outbox.c.id == entry_id, outbox.c.state.in_(was))
    connection.execute(
        arrived.values(state="delivered", delivered_at=now, due_at=None, claimed_until=None, claimed_by=None)
    )
    return True


def send_again(connection: sa.Connection, entry_id: int, message_id: int, due_at: datetime) -> bool:
    """Has what was sent sent again, because the response in this message asks for that; False where it is closed.

    The same response again does not do it twice. Who has the entry in hand, and has not recorded yet that it arrived,
    loses it.
    """
    again = (
        sa.update(outbox)
        .where(
            outbox.c.id == entry_id,
            outbox.c.state.in_(("delivered", "due")),
            outbox.c.closed_at.is_(None),
            outbox.c.closed_by.is_distinct_from(message_id),
        )
        .values(state="due", due_at=due_at, claimed_until=None, claimed_by=None, delivered_at=None)
        .values(closed_by=message_id, closed_code="transient-error")
    )
    return connection.execute(again).rowcount == 1


def queue_again(connection: sa.Connection, entry_id: int, message_id: int) -> bool:
    """As `send_again`, for what is polled: it waits again, or still."""
    again = (
        sa.update(outbox)
        .where(
            outbox.c.id == entry_id,
            outbox.c.state.in_(("delivered", "queued")),
            outbox.c.closed_at.is_(None),
            outbox.c.closed_by.is_distinct_from(message_id),
        )
        .values(state="queued", delivered_at=None, closed_by=message_id, closed_code="transient-error")
    )
    return connection.execute(again).rowcount == 1


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits to be polled, as it is sent."""

    id: int
    header_id: str
    bundle_id: str | None
    event_code: str | None
    format: str
    version: str
    content: bytes


def poll(
    connection: sa.Connection,
    recipient: str,
    count: int,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[Queued]:
    """The first of what waits for a partner, in its order; of these events only, and of none of those.

    NOTIFICATION stands for what is no message. It stays until it is acknowledged.
    """
    event = sa.func.coalesce(outbox.c.event_code, NOTIFICATION)
    waiting = sa.select(*(outbox.c[name] for name in Queued.__slots__)).where(
        sa.text(f"outbox.{QUEUED}"),
        outbox.c.recipient == recipient,
        *([event.in_(include)] if include else []),
        *([event.not_in(exclude)] if exclude else []),
    )
    return [Queued(*row) for row in connection.execute(waiting.order_by(outbox.c.id).limit(count))]


def is_waiting(connection: sa.Connection, recipient: str, but: Sequence[str] = ()) -> bool:
    """Whether anything waits to be polled by a partner, but for what has these ids of its header."""
    waiting = sa.select(outbox.c.id).where(sa.text(f"outbox.{QUEUED}"), outbox.c.recipient == recipient)
    others = waiting.where(outbox.c.header_id.not_in(but)) if but else waiting
    return connection.execute(others.limit(1)).first() is not None


def acknowledge(connection: sa.Connection, recipient: str, ids: Sequence[str], now: datetime) -> int:
    """Marks what waits for a partner delivered, by the ids of Bundles or MessageHeaders; returns how much that is."""
    taken = (
        sa.update(outbox)
        .where(
            sa.text(QUEUED),
            outbox.c.recipient == recipient,
            sa.or_(outbox.c.header_id.in_(ids), outbox.c.bundle_id.in_(ids)),
        )
        .values(state="delivered", delivered_at=now)
    )
    return connection.execute(taken).rowcount
