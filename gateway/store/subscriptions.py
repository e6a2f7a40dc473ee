"""The subscriptions that partners have created, and the events of each, numbered from 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from gateway.fhir.definitions import Version
from gateway.store.schema import DUE, QUEUED, outbox, subscription, subscription_counter, subscription_event
from gateway.store.statements import Statement

Status = Literal["requested", "active", "error", "off"]


@dataclass(frozen=True, slots=True)
class Row:
    """A subscription; the names are the columns'. `version` counts its changes, from 1.

    `recipient` is as whom its partner is called at its endpoint: `gateway.recipients`.
    """

    id: str
    partner: str
    recipient: str
    status: Status
    version: int
    fhir_version: Version
    content: bytes
    updated_at: datetime
    error: str | None = None
    handshake: str | None = None
    timeout: int | None = None
    heartbeat_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """That a Task was created or changed, with its version then."""

    number: int
    at: datetime
    resource_id: str
    version: int


Revision = tuple[int, datetime | None]
_COLUMNS = [subscription.c[name] for name in Row.__slots__]
_EVENT = [subscription_event.c[name] for name in Event.__slots__]
_OPEN = subscription.c.status != "off"
_ITS = subscription.c.id == sa.bindparam("subscription_id")


def revision(connection: sa.Connection) -> Revision:
    """What is another after each change of any subscription."""
    row = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(subscription.c.version), 0), sa.func.max(subscription.c.updated_at))
    ).one()
    return int(row[0]), row[1]


def read_open(connection: sa.Connection) -> list[Row]:
    """All but those that are off."""
    return [Row(*row) for row in connection.execute(sa.select(*_COLUMNS).where(_OPEN).order_by(subscription.c.id))]


def find(connection: sa.Connection, subscription_id: str, partner: str) -> Row | None:
    """A subscription of a partner's."""
    its = (subscription.c.id == subscription_id, subscription.c.partner == partner)
    row = connection.execute(sa.select(*_COLUMNS).where(*its)).one_or_none()
    return Row(*row) if row else None


def find_all(connection: sa.Connection, partner: str) -> list[Row]:
    """A partner's, what was changed last first."""
    found = sa.select(*_COLUMNS).where(subscription.c.partner == partner)
    ordered = found.order_by(subscription.c.updated_at.desc(), subscription.c.id)
    return [Row(*row) for row in connection.execute(ordered)]


def add(connection: sa.Connection, row: Row) -> None:
    connection.execute(sa.insert(subscription).values({name: getattr(row, name) for name in Row.__slots__}))


def change(connection: sa.Connection, row: Row) -> bool:
    """Replaces the version before `row.version`; False when another change came first."""
    values = {name: getattr(row, name) for name in Row.__slots__ if name not in ("id", "partner")}
    its = (subscription.c.id == row.id, subscription.c.version == row.version - 1)
    return connection.execute(sa.update(subscription).where(*its).values(values)).rowcount == 1


def hold_all(connection: sa.Connection, partner: str) -> None:
    """Nobody else adds one of the partner's until the transaction has ended; on SQLite nobody can."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:partner, 2))"), {"partner": partner})


def remove(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Forgets subscriptions that are off, with their events."""
    connection.execute(sa.delete(subscription_event).where(subscription_event.c.subscription_id.in_(ids)))
    connection.execute(sa.delete(subscription_counter).where(subscription_counter.c.party.in_(ids)))
    connection.execute(sa.delete(subscription).where(subscription.c.id.in_(ids)))


def hold_its(connection: sa.Connection, partner: str) -> list[Row]:
    """All of a partner's, and nobody tells them of anything until the transaction has ended."""
    its = sa.select(*_COLUMNS).where(subscription.c.partner == partner).order_by(subscription.c.id)
    return [Row(*row) for row in connection.execute(its.with_for_update())]


# --- events ----------------------------------------------------------------------------------------------------------

_STATUS = {
    "sqlite": Statement(sa.select(subscription.c.status).where(_ITS)),
    "postgresql": Statement(sa.select(subscription.c.status).where(_ITS).with_for_update(key_share=True)),
}
_ADD_EVENT = Statement(
    sa.insert(subscription_event).values({column.name: sa.bindparam(column.name) for column in subscription_event.c})
)
_POSTPONE = Statement(sa.update(subscription).where(_ITS).values(heartbeat_at=sa.bindparam("next")))


def hold(connection: sa.Connection, subscription_id: str) -> Status:
    """How a subscription stands, and stands until the transaction has ended; `off` where there is none."""
    rows = _STATUS[connection.dialect.name].run(connection, {"subscription_id": subscription_id})
    status: Status = rows[0][0] if rows else "off"
    return status


def add_events(connection: sa.Connection, subscription_id: str, events: Iterable[Event]) -> None:
    for event in events:
        values = {name: getattr(event, name) for name in Event.__slots__}
        _ADD_EVENT.run(connection, {"subscription_id": subscription_id, **values})


def postpone_heartbeat(connection: sa.Connection, subscription_id: str, until: datetime) -> None:
    _POSTPONE.run(connection, {"subscription_id": subscription_id, "next": until})


def find_events(connection: sa.Connection, subscription_id: str, since: int, until: int, limit: int) -> list[Event]:
    """The events with numbers from `since` to `until`, the first `limit` of them."""
    found = sa.select(*_EVENT).where(
        subscription_event.c.subscription_id == subscription_id, subscription_event.c.number.between(since, until)
    )
    return [Event(*row) for row in connection.execute(found.order_by(subscription_event.c.number).limit(limit))]


def count_events(connection: sa.Connection, ids: Sequence[str]) -> dict[str, int]:
    """How many events each has had."""
    found = sa.select(subscription_counter.c.party, subscription_counter.c.events)
    counted = {row[0]: int(row[1]) for row in connection.execute(found.where(subscription_counter.c.party.in_(ids)))}
    return {one: counted.get(one, 0) for one in ids}


# --- their lives -----------------------------------------------------------------------------------------------------


def find_settled(connection: sa.Connection, subscription_id: str) -> Row | None:
    """One that is to be changed by what became of a notification; on PostgreSQL it is held."""
    row = connection.execute(sa.select(*_COLUMNS).where(subscription.c.id == subscription_id).with_for_update()).first()
    return Row(*row) if row else None


def find_timeout(connection: sa.Connection, subscription_id: str) -> int | None:
    found = sa.select(subscription.c.timeout).where(subscription.c.id == subscription_id)
    timeout: int | None = connection.execute(found).scalar_one_or_none()
    return timeout


def find_over(connection: sa.Connection, now: datetime, limit: int) -> list[Row]:
    """Those whose end has come."""
    found = sa.select(*_COLUMNS).where(_OPEN, subscription.c.ends_at <= now)
    return [Row(*row) for row in connection.execute(found.order_by(subscription.c.ends_at).limit(limit))]


def find_quiet(connection: sa.Connection, now: datetime, limit: int) -> list[Row]:
    """Those that are active, whose heartbeat is due, and that have nothing in the outbox."""
    waiting, its = sa.select(sa.literal(1)), outbox.c.recipient == subscription.c.recipient
    due = waiting.where(sa.text(f"outbox.{DUE}"), its, outbox.c.lane == subscription.c.id)
    polled = outbox.c.recipient == subscription.c.partner
    queued = waiting.where(sa.text(f"outbox.{QUEUED}"), polled, outbox.c.subscription_id == subscription.c.id)
    found = sa.select(*_COLUMNS).where(
        subscription.c.status == "active", subscription.c.heartbeat_at <= now, ~due.exists(), ~queued.exists()
    )
    return [Row(*row) for row in connection.execute(found.order_by(subscription.c.heartbeat_at).limit(limit))]


def take_heartbeat(connection: sa.Connection, row: Row, until: datetime) -> bool:
    """Puts off the next heartbeat; False when another has done so, or the subscription has changed."""
    its = (
        subscription.c.id == row.id,
        subscription.c.version == row.version,
        subscription.c.heartbeat_at == row.heartbeat_at,
    )
    return connection.execute(sa.update(subscription).where(*its).values(heartbeat_at=until)).rowcount == 1


def set_aside(connection: sa.Connection, row: Row, error: str) -> None:
    """Has nothing more of what is due of a subscription delivered, but for what is in hand."""
    is_its = (outbox.c.recipient == row.recipient, outbox.c.lane == row.id)
    of_it = (sa.text(DUE), *is_its, outbox.c.claimed_until.is_(None))
    waiting = sa.update(outbox).where(*of_it, outbox.c.subscription_id == row.id)
    connection.execute(waiting.values(state="dead", error=error, due_at=None))
