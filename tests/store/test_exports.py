"""What is exported is read in the order of receipt, few at a time, each message once."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.store import exports, schema
from gateway.store.selections import Selection
from tests.orders import Order
from tests.replay.desk import Desk


def test_messages_are_exported_once_each_up_to_the_last_there_was(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_LOOKED_AT", 3)
    monkeypatch.setattr(exports, "_MOST", 2)
    desk = Desk(database_url, tmp_path)
    received = desk.receive(*(Order().new_order() for _ in range(7)))
    desk.process(received[0])
    with desk.database.reading() as connection:
        number, last = exports.count(connection, Selection())
    desk.receive(Order().new_order())
    found = list(exports.read(desk.database, Selection(), last))
    kept = desk.rows(sa.select(schema.message.c.body).order_by(schema.message.c.id))
    assert number == len(received)
    assert [one.id for one in found] == [one.message_id for one in received]
    assert [bytes(one.body) for one in found] == [bytes(row.body) for row in kept[:-1]]
    assert [one.response_code for one in found] == ["ok", *[None] * 6]
    done = exports.read(desk.database, Selection(states=("done",)), last)
    assert [one.id for one in done] == [received[0].message_id]
    desk.database.close()
