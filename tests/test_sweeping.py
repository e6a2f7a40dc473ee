"""The clock: what falls due in a Task becomes one message, however many clocks there are and however long none was."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import routing, sweeping
from gateway.fhir.task.deadlines import CLOCK, deadline_message, is_flagged
from gateway.jobs import Dispatcher, celery_app
from gateway.processing import Processor
from gateway.settings import Settings
from gateway.store import deadlines, inbox, schema
from gateway.store.database import Database
from gateway.store.deadlines import Due
from gateway.sweeping import Clock
from gateway.terms import Terms
from tests.handlers import CANCELLATION, CHECKING, OURSELVES, Gateway, message
from tests.orders import HOSPITAL, Order
from tests.terms import TERMS

PAST = {"period": {"end": "2026-03-01"}}
FUTURE = {"period": {"end": "9000"}}
LATER = timedelta(hours=2)


class Tower:
    """A gateway whose clock is struck by hand."""

    def __init__(self, database_url: str, redis_url: str, var: Path, terms: Terms = TERMS) -> None:
        in_force = Settings(database_url=database_url, redis_url=redis_url, var=var)
        self.terms = terms
        self.gateway = Gateway(database_url, terms)
        self.database = Database(database_url)
        self.dispatcher = Dispatcher(celery_app(in_force), in_force)
        self.registry = routing.load(["handlers"])
        self.clock = Clock(self.database, self.registry, OURSELVES, self.dispatcher)

    def strike(self) -> int:
        return self.clock.run(datetime.now(UTC))

    def place(self, **elements: object) -> Order:
        order = Order()
        assert self.gateway.send(order.new_order(**elements)).code == "ok"
        return order

    def told(self) -> list[str]:
        """The messages of the clock, by their state."""
        of_clock = sa.select(schema.message.c.state).where(schema.message.c.sender == CLOCK)
        with self.database.reading() as connection:
            return list(connection.scalars(of_clock))

    def partners_told(self) -> list[str]:
        """Who is told of what the clock's messages have changed."""
        told = (
            sa.select(schema.outbox.c.party)
            .join(schema.message, schema.message.c.id == schema.outbox.c.message_id)
            .where(schema.message.c.sender == CLOCK, schema.outbox.c.kind == "message")
        )
        with self.database.reading() as connection:
            return sorted(connection.scalars(told))

    def process(self) -> None:
        """Processes what waits, as a worker would."""
        processor = Processor(self.database, self.registry, OURSELVES, CHECKING, self.terms, ())
        waiting = sa.select(schema.message.c.lane).where(schema.message.c.state == "new").distinct()
        with self.database.reading() as connection:
            lanes = list(connection.scalars(waiting))
        for lane in lanes:
            while heads := processor.find_due([lane]):
                assert [one.outcome for one in processor.process(heads)] == ["ok"]

    def due(self, later: timedelta = timedelta(0)) -> list[Due]:
        with self.database.reading() as connection:
            return deadlines.find_due(connection, datetime.now(UTC) + later, 100)

    def is_flagged(self, order: Order) -> bool:
        return is_flagged(self.gateway.get("Task", order.identifier).resource)

    def close(self) -> None:
        self.gateway.close()
        self.database.close()
        self.dispatcher.close()


@pytest.fixture
def tower(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Tower]:
    opened = Tower(database_url, redis_url, tmp_path)
    yield opened
    opened.close()


def test_an_order_whose_period_has_ended_is_told_once(tower: Tower) -> None:
    late, in_time = tower.place(restriction=PAST), tower.place(restriction=FUTURE)
    assert tower.strike() == 1
    assert tower.dispatcher.queue_length("messages") == 1
    assert tower.strike() == 0
    tower.process()
    assert (tower.is_flagged(late), tower.is_flagged(in_time)) == (True, False)
    assert tower.strike() == 0
    assert tower.told() == ["done"]
    assert tower.partners_told() == ["Example General Hospital", "Example Street Pharmacy"]


def test_a_cancellation_request_is_held_for_the_time_of_the_policy(tower: Tower) -> None:
    tower.gateway.send(message("cancellation-request__requested"))
    assert tower.strike() == 0
    assert [due.version for due in tower.due(LATER)] == [1]


def test_a_cancellation_request_is_rejected_when_it_was_held_long_enough(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    policy = replace(TERMS.policy, hold=timedelta(microseconds=1))
    tower = Tower(database_url, redis_url, tmp_path, replace(TERMS, policy=policy))
    tower.gateway.send(message("cancellation-request__requested"))
    assert tower.strike() == 1
    tower.process()
    assert tower.gateway.get("Task", CANCELLATION).resource["status"] == "rejected"
    assert tower.strike() == 0
    tower.close()


def test_one_whose_order_comes_before_the_clock_is_processed_is_left_to_it(tower: Tower) -> None:
    tower.gateway.send(message("cancellation-request__requested"))
    tower.gateway.send(message("new-order__prescription"))
    assert tower.due(LATER) == []


def test_two_clocks_at_once_make_one_message_of_each(tower: Tower, database_url: str) -> None:
    for _ in range(6):
        tower.place(restriction=PAST)
    databases = [Database(database_url) for _ in range(2)]
    clocks = [Clock(database, tower.registry, OURSELVES, tower.dispatcher) for database in databases]
    now = datetime.now(UTC)
    with ThreadPoolExecutor(len(clocks)) as pool:
        made = list(pool.map(lambda clock: clock.run(now), clocks))
    for database in databases:
        database.close()
    assert sum(made) == 6
    tower.process()
    assert tower.told() == ["done"] * 6


def test_what_fell_due_while_no_clock_ran_is_told_bit_by_bit(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_DEADLINES_A_ROUND", 3)
    for _ in range(5):
        tower.place(restriction=PAST)
    assert [tower.strike() for _ in range(3)] == [3, 2, 0]


def test_one_that_fails_holds_up_no_other_and_stays_due(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        tower.place(restriction=PAST)
    failing = tower.due()[0]

    def compose(task_id: str, *said: Any) -> dict[str, Any]:
        if task_id == failing.id:
            raise ValueError("whatever it is")
        return deadline_message(task_id, *said)

    with monkeypatch.context() as broken:
        broken.setattr(sweeping, "deadline_message", compose)
        assert tower.strike() == 2
        assert tower.due() == [failing]
    assert tower.strike() == 1


def test_a_clock_that_stops_before_it_takes_note_makes_no_second_message(
    tower: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower.place(restriction=PAST)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(deadlines, "take_note", lambda *_: None)
        assert tower.strike() == 1
    assert len(tower.due()) == 1
    assert tower.strike() == 0
    assert tower.due() == []
    assert tower.told() == ["new"]


def test_a_task_that_changes_meanwhile_is_due_by_its_new_version(tower: Tower) -> None:
    order = tower.place(restriction=PAST)
    [seen] = tower.due()
    tower.gateway.send(order.update("requested", HOSPITAL, priority="urgent"))
    with tower.database.transaction() as connection:
        deadlines.take_note(connection, [seen])
    assert [due.version for due in tower.due()] == [2]


def test_the_message_of_a_clock_goes_behind_what_waits_for_the_same_order(tower: Tower) -> None:
    order = tower.place(restriction=PAST)
    tower.strike()
    with tower.database.reading() as connection:
        lanes = {row.lane for row in connection.execute(sa.select(schema.message.c.lane))}
        assert len(lanes) == 1
        assert len(inbox.find_heads(connection, sorted(lanes))) == 1
    assert tower.gateway.send(order.update("accepted")).code == "ok"
    assert tower.is_flagged(order)
