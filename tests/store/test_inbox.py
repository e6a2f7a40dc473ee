"""Lanes that two messages open at the same time are one, and nothing becomes visible behind what is at work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from gateway.errors import Conflict
from gateway.store import lanes
from gateway.store.database import Database, upgrade
from tests.services import eventually
from tests.store.filled import add_message


def test_of_two_that_open_a_lane_at_once_the_later_tries_again(postgres_url: str) -> None:

    upgrade(postgres_url)
    database = Database(postgres_url)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            lane = lanes.join(connection, [b"k1"])
            later = pool.submit(_join, database, [b"k0", b"k1"])
            eventually(lambda: connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")), 10)
        with pytest.raises(Conflict):
            later.result(10)
        assert pool.submit(_join, database, [b"k0", b"k1"]).result(10) == lane
    database.close()


def test_of_two_that_come_into_a_lane_at_once_the_later_has_its_number_when_the_earlier_is_there(
    postgres_url: str,
) -> None:
    upgrade(postgres_url)
    database = Database(postgres_url)
    with ThreadPoolExecutor(2) as pool:
        with database.transaction() as connection:
            earlier = add_message(connection, "one")
            later = pool.submit(_add, database, "one")
            eventually(lambda: connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")), 10)
            elsewhere = pool.submit(_add, database, "another").result(10)
        assert earlier < elsewhere < later.result(10)
    database.close()


def _add(database: Database, lane: str) -> int:
    with database.transaction() as connection:
        return add_message(connection, lane)


def _join(database: Database, keys: list[bytes]) -> str:
    with database.transaction() as connection:
        return lanes.join(connection, keys)
