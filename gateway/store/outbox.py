"""The outbox: every reply as it was, or will be, sent; at most one for a message."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from gateway.store.inbox import Backlog
from gateway.store.schema import DUE, outbox
from gateway.store.statements import Statement

_COLUMNS = tuple(column.name for column in outbox.c if column.name != "id")
_ADD = Statement(sa.insert(outbox).values({column: sa.bindparam(column) for column in _COLUMNS}))


def add(
    connection: sa.Connection,
    *,
    message_id: int,
    header_id: str,
    response_code: str,
    format: str,  # noqa: A002 - the column's name
    content: bytes,
    destination: str | None,
    later: bool,
    now: datetime,
) -> None:
    """Keeps a reply: answered on the request's own connection, or due to be delivered `later`."""
    _ADD.run(
        connection,
        {
            "message_id": message_id,
            "header_id": header_id,
            "response_code": response_code,
            "format": format,
            "content": content,
            "destination": destination,
            "state": "due" if later else "answered",
            "created_at": now,
        },
    )


def count_due(connection: sa.Connection) -> Backlog:
    counted = sa.select(sa.func.count(), sa.func.min(outbox.c.created_at)).where(sa.text(DUE))
    return Backlog(*connection.execute(counted).one())
