"""The messages of the inbox as they are exported: in the order of their receipt, few in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.store.database import Database
from gateway.store.schema import message
from gateway.store.selections import Selection, of_inbox, reply, with_reply

_LOOKED_AT = 1000
_BYTES = 4 * 1024 * 1024
_MOST = 200


@dataclass(frozen=True, slots=True)
class Exported:
    """A message with what is known beside it; the names are the columns', `response_code` is its reply's."""

    id: int
    received_at: datetime
    media_type: str
    sender: str
    event_code: str
    partner: str | None
    manner: str | None
    wrapping: str | None
    reply_format: str
    reply_to: str | None
    recipient: str | None
    later: bool
    request_id: str
    state: str
    error: str | None
    body: bytes
    response_code: str | None


_COLUMNS = [*(message.c[name] for name in Exported.__slots__[:-1]), reply.c.response_code]


def count(connection: sa.Connection, selection: Selection) -> tuple[int, int]:
    """How many messages are meant, and the id of the last one there is: what comes later is not part of it."""
    last = connection.scalar(sa.select(sa.func.max(message.c.id))) or 0
    meant = sa.select(sa.func.count()).select_from(with_reply).where(message.c.id <= last, *of_inbox(selection))
    return connection.scalar(meant) or 0, last


def read(database: Database, selection: Selection, last: int) -> Iterator[Exported]:
    """The messages that are meant, up to the one with the id `last`. Raises DatabaseUnavailable."""
    after = 0
    meant = sa.select(message.c.id, sa.func.length(message.c.body)).select_from(with_reply)
    meant = meant.where(message.c.id <= last, *of_inbox(selection)).order_by(message.c.id).limit(_LOOKED_AT)
    while True:
        with database.reading() as connection:
            sizes = [(id_, size) for id_, size in connection.execute(meant.where(message.c.id > after))]
        for ids in _together(sizes):
            found = sa.select(*_COLUMNS).select_from(with_reply).where(message.c.id.in_(ids)).order_by(message.c.id)
            with database.reading() as connection:
                rows = connection.execute(found).all()
            yield from (Exported(*row) for row in rows)
        if len(sizes) < _LOOKED_AT:
            return
        after = sizes[-1][0]


def _together(sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """The ids of what is read at a time: so many, and not too large in all."""
    ids: list[int] = []
    total = 0
    for id_, size in sizes:
        if ids and (len(ids) == _MOST or total + size > _BYTES):
            yield ids
            ids, total = [], 0
        ids.append(id_)
        total += size
    if ids:
        yield ids
