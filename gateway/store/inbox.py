"""The inbox: every message as it was received, and how far it has come.

States: `new`; `failed` (its handler crashed, it is tried again when due); `done` (its effect and its reply are kept);
`dead` (set aside for the operator after the last try).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from gateway.store.schema import DEAD, REPLY, WAITING, message, outbox
from gateway.store.statements import Clause, Given, Rows, Statement, insert, looked_up, many

State = Literal["new", "failed", "done", "dead"]
_WAITS = sa.text(f"message.{WAITING}")
_IS_REPLY = sa.text(f"outbox.{REPLY}")
_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message row as it is first written; the names are the columns'."""

    sender: str
    bundle_id: str | None
    header_id: str | None
    bundle_key: bytes | None
    header_key: bytes | None
    event_system: str | None
    event_code: str
    lane: str
    content_hash: bytes
    media_type: str
    body: bytes
    reply_format: str
    reply_to: str | None
    later: bool
    request_id: str
    received_at: datetime
    wrapping: str | None = None
    partner: str | None = None
    manner: str | None = None
    recipient: str | None = None
    state: State = "new"
    error: str | None = None
    replay_id: int | None = None
    replay_of: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What tells a repeat from a conflict."""

    id: int
    state: State
    bundle_id: str | None
    header_id: str | None
    content_hash: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """The oldest unprocessed message of a lane."""

    id: int
    lane: str
    sender: str
    event_code: str
    media_type: str
    body: bytes
    reply_format: str
    reply_to: str | None
    later: bool
    wrapping: str | None
    partner: str | None
    manner: str | None
    recipient: str | None
    received_at: datetime
    attempts: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a message has come, with the reply once there is one (`content` in `format`, json or xml).

    `is_behind_failed`: an earlier message of its lane has failed, and it waits until that one's tries are over.
    """

    state: State
    attempts: int
    is_behind_failed: bool
    response_code: str | None
    content: bytes | None
    format: str | None
    http_status: int | None = None


_ARRIVAL = (*Arrival.__slots__, "first_error", "due_at", "nudged_at", "done_at")
_ADD = Statement(
    lambda name: (
        insert(message, name)
        .values({column: sa.bindparam(column) for column in _ARRIVAL})
        .on_conflict_do_nothing()
        .returning(message.c.id)
    )
)


_HOLD_END = Statement(
    sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("lane", type_=sa.Text), 0)))
)


def add(connection: sa.Connection, arrival: Arrival) -> int | None:
    """Keeps a message; returns its id, or None when one of its keys is there already (seen before).

    The transaction has the end of the lane to itself. PostgreSQL gives out ids before it commits: a message could else
    become visible behind one that is being processed already, and be processed beside it. What a replay carries out in
    the same transaction never waits.
    """
    if connection.dialect.name == "postgresql" and arrival.replay_id is None:
        _HOLD_END.run(connection, {"lane": arrival.lane})
    values = {name: getattr(arrival, name) for name in Arrival.__slots__}
    moment = arrival.received_at
    values |= {"due_at": moment, "nudged_at": moment, "done_at": moment if arrival.state == "done" else None}
    values["first_error"] = arrival.error
    added = _ADD.run(connection, values)
    return added[0][0] if added else None


_SEEN = Statement(
    sa.select(*(message.c[name] for name in Seen.__slots__)).where(
        sa.or_(message.c.bundle_key == sa.bindparam("bundle_key"), message.c.header_key == sa.bindparam("header_key"))
    )
)


def find_seen(connection: sa.Connection, bundle_key: bytes | None, header_key: bytes | None) -> list[Seen]:
    """The messages that hold one of these keys: at most one for each."""
    rows = _SEEN.run(connection, {"bundle_key": bundle_key, "header_key": header_key})
    return [Seen(*row) for row in rows]


def find_wrapping(connection: sa.Connection, bundle_key: bytes, body: bytes) -> str | None:
    """The wrapping of the message that holds this key, when it has this very body."""
    found = sa.select(message.c.wrapping).where(message.c.bundle_key == bundle_key, message.c.body == body)
    return connection.execute(found).scalar_one_or_none()


@dataclass(frozen=True, slots=True)
class Known:
    """A message that holds a key; `outcome` is its state, or when it is done the code of its reply.

    `response`: it is one itself, and has none.
    """

    id: int
    content_hash: bytes
    outcome: str


_KNOWN = many(
    lambda number, _name: (
        sa.select(
            message.c.bundle_key,
            message.c.header_key,
            message.c.id,
            message.c.content_hash,
            sa.case(
                (message.c.state != "done", message.c.state), else_=sa.func.coalesce(outbox.c.response_code, "response")
            ),
        )
        .select_from(message.outerjoin(outbox, sa.and_(outbox.c.message_id == message.c.id, _IS_REPLY)))
        .where(
            sa.or_(
                message.c.bundle_key.in_([sa.bindparam(f"key_{n}") for n in range(number)]),
                message.c.header_key.in_([sa.bindparam(f"key_{n}") for n in range(number)]),
            )
        )
    )
)


def find_known(connection: sa.Connection, keys: Sequence[bytes]) -> dict[bytes, Known]:
    """The messages that hold these keys."""
    found: dict[bytes, Known] = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        named = {f"key_{n}": key for n, key in enumerate(keys[start : start + _KEYS_AT_ONCE])}
        for bundle_key, header_key, message_id, content_hash, outcome in _KNOWN(len(named)).run(connection, named):
            one = Known(message_id, bytes(content_hash), outcome)
            found |= {bytes(key): one for key in (bundle_key, header_key) if key is not None}
    return found


_HEADS = many(
    lambda number, _name: sa.select(*(message.c[name] for name in Waiting.__slots__)).where(
        message.c.id.in_(
            sa.select(sa.func.min(message.c.id))
            .where(message.c.lane.in_([sa.bindparam(f"lane_{n}") for n in range(number)]), _WAITS)
            .group_by(message.c.lane)
        )
    )
)


def find_heads(connection: sa.Connection, lanes: Sequence[str]) -> list[Waiting]:
    """The oldest message of each lane that is not processed yet, due or not."""
    named = {f"lane_{n}": lane for n, lane in enumerate(lanes)}
    return [Waiting(*row) for row in _HEADS(len(lanes)).run(connection, named)] if lanes else []


_WAITING = Statement(
    sa.select(*(message.c[name] for name in Waiting.__slots__)).where(
        message.c.id == sa.bindparam("message_id"), _WAITS
    )
)


def find_waiting(connection: sa.Connection, message_id: int) -> Waiting | None:
    """A message that is not processed yet."""
    rows = _WAITING.run(connection, {"message_id": message_id})
    return Waiting(*rows[0]) if rows else None


def _claim(dialect: str, given: Given) -> Clause:
    tried, done_at = given["attempts"], given["done_at"]
    as_tried = sa.and_(message.c.id == given["id"], message.c.attempts == tried, _WAITS)
    claimed = sa.update(message).values(state="done", done_at=done_at, error=None).returning(message.c.id)
    if dialect == "sqlite":
        return claimed.where(as_tried)
    free = looked_up(sa.select(message.c.id).where(as_tried).with_for_update(skip_locked=True))
    taken = sa.select(free.c.id, done_at).select_from(given["id"].table.join(free, sa.true())).cte("taken")
    return claimed.values(done_at=taken.c.done_at).where(message.c.id == taken.c.id)


_UNCLAIMED = (
    sa.select(message.c.id)
    .where(message.c.id == sa.bindparam("message_id"), message.c.attempts == sa.bindparam("tried"), _WAITS)
    .with_for_update(skip_locked=True)
)
_CLAIM_ONE = Statement(
    sa.update(message)
    .where(message.c.id.in_(_UNCLAIMED))
    .values(state="done", done_at=sa.bindparam("now"), error=None)
    .returning(message.c.id)
)
_CLAIM = Rows([message.c.id, message.c.attempts, message.c.done_at], _claim, is_planned_once=False)


def claim(connection: sa.Connection, heads: Iterable[tuple[Waiting, datetime]]) -> set[int]:
    """Marks messages done, now, in the transaction that makes them so; returns the ids of those that no other has."""
    rows = [(head.id, head.attempts, now) for head, now in heads]
    if len(rows) == 1:
        claimed = _CLAIM_ONE.run(connection, dict(zip(("message_id", "tried", "now"), rows[0], strict=True)))
    else:
        claimed = _CLAIM.returned(connection, rows)
    return {message_id for (message_id,) in claimed}


def note(connection: sa.Connection, message_id: int, text: str) -> None:
    """Writes beside a message what the operator should know of it."""
    connection.execute(sa.update(message).where(message.c.id == message_id).values(error=text))


def fail(connection: sa.Connection, head: Waiting, cause: str, due_at: datetime | None) -> bool:
    """Records a failed attempt: due again at a time, or set aside (None). False when another was quicker."""
    state = "dead" if due_at is None else "failed"
    failed = (
        sa.update(message)
        .where(message.c.id == head.id, message.c.attempts == head.attempts, _WAITS)
        .values(state=state, attempts=head.attempts + 1, error=cause, due_at=due_at or head.due_at)
        .values(first_error=sa.func.coalesce(message.c.first_error, cause))
    )
    return connection.execute(failed).rowcount == 1


_earlier = message.alias("earlier")
_BEHIND_FAILED = sa.exists().where(
    _earlier.c.lane == message.c.lane,
    _earlier.c.id < message.c.id,
    sa.text(f"earlier.{WAITING}"),
    sa.literal_column("earlier.state = 'failed'"),
)
_PROGRESS = Statement(
    sa.select(
        message.c.state,
        message.c.attempts,
        _BEHIND_FAILED.label("is_behind_failed"),
        outbox.c.response_code,
        outbox.c.content,
        outbox.c.format,
        outbox.c.http_status,
    )
    .select_from(message.outerjoin(outbox, sa.and_(outbox.c.message_id == message.c.id, _IS_REPLY)))
    .where(message.c.id == sa.bindparam("message_id"))
)


def get_progress(connection: sa.Connection, message_id: int) -> Progress:
    """Raises ValueError when there is no such message."""
    [row] = _PROGRESS.run(connection, {"message_id": message_id})
    return Progress(*row)


@dataclass(frozen=True, slots=True)
class Events:
    """The events of one queue: those with these codes, or all but those."""

    codes: tuple[str, ...]
    all_but: bool


def take_due_lanes(
    connection: sa.Connection, now: datetime, nudged_before: datetime, events: Events, limit: int
) -> list[str]:
    """The lanes to put on a queue: head due, and not nudged since it fell due, or not since `nudged_before`.

    Marks them nudged now. A head that a worker has in hand is passed over.
    """
    heads = sa.select(sa.func.min(message.c.id)).where(_WAITS).group_by(message.c.lane)
    is_one_of_them = message.c.event_code.in_(events.codes)
    due = (
        sa.select(message.c.id)
        .where(
            message.c.id.in_(heads),
            message.c.due_at <= now,
            sa.or_(message.c.nudged_at < message.c.due_at, message.c.nudged_at <= nudged_before),
            sa.not_(is_one_of_them) if events.all_but else is_one_of_them,
        )
        .order_by(message.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    nudged = sa.update(message).where(message.c.id.in_(due)).values(nudged_at=now).returning(message.c.lane)
    return list(connection.scalars(nudged))


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many rows wait, and since when the oldest does (None: none waits)."""

    waiting: int
    oldest: datetime | None


def count_waiting(connection: sa.Connection) -> Backlog:
    counted = sa.select(sa.func.count(), sa.func.min(message.c.received_at)).where(_WAITS)
    return Backlog(*connection.execute(counted).one())


def count_dead(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(message).where(sa.text(f"message.{DEAD}"))) or 0
