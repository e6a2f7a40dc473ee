"""The partners as they are kept, and each change of them, by whom; a change of one is a revision of all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.store.schema import partner, partner_change


@dataclass(frozen=True, slots=True)
class Row:
    """A partner: its `document` is JSON; `version` counts its changes, from 1."""

    name: str
    document: str
    version: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a partner: its documents before and after, where there were any."""

    partner: str
    at: datetime
    by: str
    what: str
    before: str | None
    after: str | None
    id: int = 0


_ROW = (partner.c.name, partner.c.document, partner.c.version, partner.c.updated_at)
_CHANGE = tuple(partner_change.c[name] for name in Change.__slots__)


def revision(connection: sa.Connection) -> int:
    """What becomes more by each change of any partner; 0 before the first."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(partner_change.c.id), 0))).scalar_one())


def read_all(connection: sa.Connection) -> list[Row]:
    """All there are, by name."""
    return [Row(*row) for row in connection.execute(sa.select(*_ROW).order_by(partner.c.name))]


def find(connection: sa.Connection, name: str) -> Row | None:
    row = connection.execute(sa.select(*_ROW).where(partner.c.name == name)).one_or_none()
    return Row(*row) if row else None


def lock(connection: sa.Connection) -> None:
    """Nobody else changes a partner until the transaction has ended; on SQLite nobody can."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE partner IN SHARE ROW EXCLUSIVE MODE"))


def keep(connection: sa.Connection, row: Row) -> None:
    """Adds a partner (version 1), or replaces it."""
    values = {"name": row.name, "document": row.document, "version": row.version, "updated_at": row.updated_at}
    if row.version == 1:
        connection.execute(sa.insert(partner).values(values))
    else:
        connection.execute(sa.update(partner).where(partner.c.name == row.name).values(values))


def remove(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.delete(partner).where(partner.c.name == name))


def record(connection: sa.Connection, change: Change) -> None:
    values = {name: getattr(change, name) for name in Change.__slots__ if name != "id"}
    connection.execute(sa.insert(partner_change).values(values))


def read_changes(connection: sa.Connection, name: str, limit: int, before: int | None = None) -> list[Change]:
    """What was done to a partner, the last first; `before` is the id of the last one that is known."""
    found = sa.select(*_CHANGE).where(partner_change.c.partner == name)
    if before is not None:
        found = found.where(partner_change.c.id < before)
    return [Change(*row) for row in connection.execute(found.order_by(partner_change.c.id.desc()).limit(limit))]
