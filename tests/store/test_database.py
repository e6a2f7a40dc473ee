"""Transactions and migrations, on both databases."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gateway.errors import Conflict, DatabaseUnavailable
from gateway.store import schema
from gateway.store.database import Connection, Database, upgrade

ADD = sa.insert(schema.lane_key)
COUNT = sa.select(sa.func.count()).select_from(schema.lane_key)


def count(database: Database) -> int:
    with database.reading() as connection:
        return connection.scalar(COUNT) or 0


def test_migrations_from_empty_make_the_schema(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    upgrade(empty_database_url)
    database = Database(empty_database_url)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    database.close()


def test_what_a_transaction_did_is_seen_after_it(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(ADD, {"digest": b"1", "lane": "a"})
    assert count(database) == 1


def test_an_exception_undoes_a_transaction(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as connection:
            connection.execute(ADD, {"digest": b"1", "lane": "a"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert count(database) == 0


def test_a_key_that_is_taken_is_a_conflict(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(ADD, {"digest": b"1", "lane": "a"})
    with pytest.raises(Conflict), database.transaction() as connection:
        connection.execute(ADD, {"digest": b"1", "lane": "b"})


def test_what_conflicts_is_attempted_again(database: Database) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise Conflict("another was quicker")
        connection.execute(ADD, {"digest": b"1", "lane": "a"})
        return len(tries)

    assert database.attempt(work) == 3
    assert count(database) == 1


def test_a_conflict_that_stays_is_raised(database: Database) -> None:
    def work(_connection: Connection) -> None:
        raise Conflict("always")

    with pytest.raises(Conflict):
        database.attempt(work)


def test_writers_from_many_threads_lose_nothing(database: Database) -> None:
    def write(number: int) -> None:
        for each in range(20):
            with database.transaction() as connection:
                connection.execute(ADD, {"digest": bytes((number, each)), "lane": "a"})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == 160


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql://nobody@127.0.0.1:1/none"])
def test_a_database_that_is_not_there_is_unavailable(url: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        Database(url).check()


def test_a_database_without_the_schema_is_unavailable(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(DatabaseUnavailable):
        database.check()
    database.close()
