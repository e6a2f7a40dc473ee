"""What falls due by the clock: the resources whose time has come, and that it was taken note of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.store.schema import FALLS_DUE, resource
from gateway.store.statements import Statement


@dataclass(frozen=True, slots=True)
class Due:
    """A version of a resource by which something has fallen due."""

    type: str
    id: str
    version: int


_DUE = Statement(
    sa.select(resource.c.type, resource.c.id, resource.c.version)
    .where(sa.text(f"resource.{FALLS_DUE}"), resource.c.due_at <= sa.bindparam("now"))
    .order_by(resource.c.due_at, resource.c.id)
    .limit(sa.bindparam("limit"))
)
_NOTE = Statement(
    sa.update(resource)
    .where(resource.c.id == sa.bindparam("resource_id"), resource.c.version == sa.bindparam("before"))
    .values(due_at=sa.null())
)


def find_due(connection: sa.Connection, now: datetime, limit: int) -> list[Due]:
    """The resources whose time has come, those first whose it was first."""
    return [Due(*row) for row in _DUE.run(connection, {"now": now, "limit": limit})]


def take_note(connection: sa.Connection, noted: Iterable[Due]) -> None:
    """These are due no more, unless they have changed since: a new version has a time of its own."""
    for due in sorted(noted, key=lambda due: due.id):
        _NOTE.run(connection, {"resource_id": due.id, "before": due.version})
