"""The outbox: all that is sent, as it is sent; for a message one reply, and one entry for each partner it tells."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from gateway.store.inbox import Backlog
from gateway.store.schema import DUE, outbox, subscription_counter
from gateway.store.statements import Insert, Statement, insert

Kind = Literal["reply", "message", "notification"]

_COLUMNS = tuple(column.name for column in outbox.c if column.name != "id")
_ADD = Statement(sa.insert(outbox).values({column: sa.bindparam(column) for column in _COLUMNS}))


def _count_more(adding: Insert) -> sa.UpdateBase:
    values = adding.values(party=sa.bindparam("party"), events=sa.bindparam("more"))
    more = {"events": subscription_counter.c.events + adding.excluded.events}
    counted = values.on_conflict_do_update(index_elements=["party"], set_=more)
    return counted.returning(subscription_counter.c.events)


_COUNT = Statement(lambda name: _count_more(insert(subscription_counter, name)))


def add(
    connection: sa.Connection,
    *,
    message_id: int,
    header_id: str,
    response_code: str | None,
    format: str,  # noqa: A002 - the column's name
    content: bytes,
    destination: str | None,
    later: bool,
    now: datetime,
    kind: Kind = "reply",
    party: str | None = None,
) -> None:
    """Keeps what is sent: answered on the request's own connection, or due to be delivered `later`.

    A reply has a `response_code`; what tells a partner has its name as `party`.
    """
    _ADD.run(
        connection,
        {
            "message_id": message_id,
            "kind": kind,
            "party": party,
            "header_id": header_id,
            "response_code": response_code,
            "format": format,
            "content": content,
            "destination": destination,
            "state": "due" if later else "answered",
            "created_at": now,
        },
    )


def count_events(connection: sa.Connection, party: str, more: int) -> int:
    """How many events a partner has been told of, with so `more`: the number of the last of them.

    Nobody else counts for the partner until the transaction has ended.
    """
    [(events,)] = _COUNT.run(connection, {"party": party, "more": more})
    return int(events)


def count_due(connection: sa.Connection) -> Backlog:
    counted = sa.select(sa.func.count(), sa.func.min(outbox.c.created_at)).where(sa.text(DUE))
    return Backlog(*connection.execute(counted).one())
