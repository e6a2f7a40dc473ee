"""Lanes that two messages open at the same time are one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from gateway.errors import Conflict
from gateway.store import inbox
from gateway.store.database import Database, upgrade
from tests.services import eventually


def test_of_two_that_open_a_lane_at_once_the_later_tries_again(postgres_url: str) -> None:

    upgrade(postgres_url)
    database = Database(postgres_url)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as connection:
            lane = inbox.join_lane(connection, [b"k1"])
            later = pool.submit(_join, database, [b"k0", b"k1"])
            eventually(lambda: connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")), 10)
        with pytest.raises(Conflict):
            later.result(10)
        assert pool.submit(_join, database, [b"k0", b"k1"]).result(10) == lane
    database.close()


def _join(database: Database, keys: list[bytes]) -> str:
    with database.transaction() as connection:
        return inbox.join_lane(connection, keys)
