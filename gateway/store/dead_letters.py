"""What the operator sees of deliveries and does about them: what is due and dead, its attempts, once more, no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.store.deliveries import Attempt
from gateway.store.inbox import Backlog
from gateway.store.schema import DEAD, DUE, delivery_attempt, outbox

DROPPED = "Dropped by the operator."


@dataclass(frozen=True, slots=True)
class Letter:
    """An entry of the outbox, without what it says; the names are the columns'."""

    id: int
    kind: str
    recipient: str | None
    destination: str | None
    lane: str | None
    message_id: int | None
    header_id: str
    bundle_id: str | None
    state: str
    attempts: int
    failures: int
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None
    error: str | None


_COLUMNS = [outbox.c[name] for name in Letter.__slots__]


def count_due(connection: sa.Connection) -> Backlog:
    return _count(connection, DUE)


def count_dead(connection: sa.Connection) -> Backlog:
    return _count(connection, DEAD)


def _count(connection: sa.Connection, where: str) -> Backlog:
    counted = sa.select(sa.func.count(), sa.func.min(outbox.c.created_at)).where(sa.text(f"outbox.{where}"))
    return Backlog(*connection.execute(counted).one())


def find(connection: sa.Connection, entry_id: int) -> Letter | None:
    row = connection.execute(sa.select(*_COLUMNS).where(outbox.c.id == entry_id)).one_or_none()
    return Letter(*row) if row else None


def find_some(connection: sa.Connection, states: Sequence[str], recipient: str | None, limit: int) -> list[Letter]:
    """Due or dead ones, the oldest first; `states` are those wanted."""
    where = sa.or_(*(sa.text(f"outbox.{WHERE[state]}") for state in states))
    its = [outbox.c.recipient == recipient] if recipient is not None else []
    found = sa.select(*_COLUMNS).where(where, *its).order_by(outbox.c.id).limit(limit)
    return [Letter(*row) for row in connection.execute(found)]


WHERE = {"due": DUE, "dead": DEAD}


def attempts(connection: sa.Connection, entry_id: int) -> list[tuple[int, Attempt]]:
    """Each with its number, from 1; one that is missing was under way when its process died."""
    columns = [delivery_attempt.c[name] for name in ("number", *Attempt.__slots__)]
    made = sa.select(*columns).where(delivery_attempt.c.outbox_id == entry_id).order_by(delivery_attempt.c.number)
    return [(row[0], Attempt(*row[1:])) for row in connection.execute(made)]


def revive(connection: sa.Connection, entry_ids: Sequence[int], now: datetime) -> list[int]:
    """Makes dead entries due, and those that wait for their next attempt due at once; returns the ids of those."""
    return _change(connection, entry_ids, state="due", due_at=now, failures=0)


def revive_all(connection: sa.Connection, recipient: str, now: datetime) -> int:
    """Makes all that is dead of a recipient due; returns how many that were."""
    dead = sa.and_(sa.text(f"outbox.{DEAD}"), outbox.c.recipient == recipient)
    return connection.execute(sa.update(outbox).where(dead).values(state="due", due_at=now, failures=0)).rowcount


def drop(connection: sa.Connection, entry_ids: Sequence[int]) -> list[int]:
    """Sets entries aside that are due; returns the ids of those. What is under way may arrive all the same."""
    return _change(connection, entry_ids, state="dead", due_at=None, claimed_until=None, error=DROPPED)


def _change(connection: sa.Connection, entry_ids: Sequence[int], **values: object) -> list[int]:
    open_ones = sa.or_(sa.text(f"outbox.{DUE}"), sa.text(f"outbox.{DEAD}"))
    of_them = sa.update(outbox).where(outbox.c.id.in_(entry_ids), open_ones, outbox.c.recipient.is_not(None))
    return sorted(connection.scalars(of_them.values(values).returning(outbox.c.id)))
