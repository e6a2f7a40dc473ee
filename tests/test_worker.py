"""Draining lanes, sweeping up what is due, and telling a worker that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.fhir.message import Event, Message, Ourselves
from gateway.in_hand import InHand
from gateway.jobs import LANES_A_JOB, Courier, Dispatcher, celery_app
from gateway.notices import Listener, Notices
from gateway.receiving import Received, receive
from gateway.records import Records
from gateway.routing import Handler, Registry, Reply
from gateway.settings import Settings
from gateway.store import inbox, schema
from gateway.store.database import Database
from gateway.store.inbox import Waiting
from gateway.sweeping import Sweep, Watchdog
from gateway.worker import Drainer
from tests.senders import COW, Sender, read, submission, task
from tests.services import eventually

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
QUEUE = "messages"


class Station:
    """One worker with its database and its broker, and the handlers `x` (notes the message's id) and `slow`."""

    def __init__(self, database_url: str, redis_url: str, **changes: Any) -> None:
        self.settings = Settings(database_url=database_url, redis_url=redis_url, **changes)
        self.database = Database(database_url)
        self.registry = Registry()
        self.handled: list[str] = []
        for code, handler in (("x", self.note), ("slow", self.be_slow)):
            self.registry.add(Handler(Event(COW, code), "consequence", code, ("Task",), handler, None))
        self.dispatcher = Dispatcher(celery_app(self.settings), self.settings)
        self.notices = Notices(redis_url)
        self.in_hand = InHand(self.settings.var / "worker.in-hand")
        self.drainer = Drainer(self.database, self.registry, self.dispatcher, self.notices, self.in_hand, self.settings)

    def note(self, message: Message, _records: Records) -> Reply:
        self.handled.append(message.header_id or "")
        return Reply()

    def be_slow(self, _message: Message, _records: Records) -> Reply:
        time.sleep(5)
        return Reply()

    def receive(self, number: str, event: str = "x", header_id: str | None = None) -> Received:
        bundle = Sender().write(event, task(number), header_id=header_id)
        return receive(self.database, self.registry, OURSELVES, read(bundle), submission(bundle))

    def states(self) -> list[str]:
        with self.database.reading() as connection:
            return list(connection.scalars(sa.select(schema.message.c.state).order_by(schema.message.c.id)))

    def queued(self, queue: str = QUEUE) -> int:
        return self.dispatcher.queue_length(queue)

    def heads(self, *lanes: str) -> list[Waiting]:
        with self.database.reading() as connection:
            return inbox.find_heads(connection, lanes)

    def sweep(self, later: float = 0.0) -> int:
        return Sweep(self.database, self.dispatcher).run(datetime.now(UTC) + timedelta(seconds=later))

    def close(self) -> None:
        self.database.close()
        self.dispatcher.close()
        self.notices.close()
        self.in_hand.close()


Open = Callable[..., Station]


@pytest.fixture
def open_station(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Open]:
    opened: list[Station] = []

    def new(**changes: Any) -> Station:
        opened.append(Station(database_url, redis_url, var=tmp_path, **changes))
        return opened[-1]

    yield new
    for station in opened:
        station.close()


def test_a_lane_is_drained_oldest_first(open_station: Open) -> None:
    station = open_station()
    ids = [f"h-{n}" for n in range(20)]
    lanes = {station.receive("1", header_id=header_id).lane for header_id in ids}
    station.drainer.drain([lanes.pop()], QUEUE)
    assert station.handled == ids
    assert not lanes
    assert station.queued() == 0


def test_a_long_lane_is_handed_on(open_station: Open) -> None:
    station = open_station(lane_messages=3)
    [lane] = {station.receive("1").lane for _ in range(5)}
    station.drainer.drain([lane], QUEUE)
    assert station.states() == ["done"] * 3 + ["new"] * 2
    assert station.queued() == 1


def test_an_event_with_a_queue_of_its_own_is_handed_to_it(open_station: Open) -> None:
    station = open_station(queues={"slow": "slow-ones"})
    [lane] = {station.receive("1").lane, station.receive("1", "slow").lane}
    station.drainer.drain([lane], QUEUE)
    assert station.states() == ["done", "new"]
    assert (station.queued(), station.queued("slow-ones")) == (0, 1)


def test_an_empty_lane_is_no_work(open_station: Open) -> None:
    station = open_station()
    station.drainer.drain(["nobody's"], QUEUE)
    assert station.drainer.begun == 1


def test_a_handler_that_takes_too_long_is_a_failure(open_station: Open) -> None:
    station = open_station(handler_timeout=0.1)
    station.drainer.drain([station.receive("1", "slow").lane], QUEUE)
    assert station.states() == ["failed"]


def test_a_message_that_killed_its_worker_counts_as_failed(open_station: Open) -> None:
    station = open_station()
    station.in_hand.take(str(station.receive("1").message_id))
    station.drainer.take_over()
    assert station.states() == ["failed"]
    assert station.in_hand.find() is None


def test_a_message_that_kills_every_worker_is_set_aside(open_station: Open) -> None:
    station = open_station(retry_schedule=(0.0, 0.0))
    poison, next_one = station.receive("1"), station.receive("1")
    for _ in range(3):
        station.in_hand.take(str(poison.message_id))
        station.drainer.take_over()
    station.drainer.drain([next_one.lane], QUEUE)
    assert station.states() == ["dead", "done"]


def test_a_worker_that_died_after_its_commit_harms_nothing(open_station: Open) -> None:
    station = open_station()
    received = station.receive("1")
    station.drainer.drain([received.lane], QUEUE)
    station.in_hand.take(str(received.message_id))
    station.drainer.take_over()
    assert station.states() == ["done"]


def test_lanes_that_come_at_once_go_together(open_station: Open) -> None:
    station = open_station()
    courier = Courier(station.dispatcher)
    for number in range(100):
        courier.take(str(number), "x")
    eventually(lambda: station.queued() >= 100 / LANES_A_JOB, 10)
    assert station.queued() < 100


def test_the_sweep_queues_what_nobody_took(open_station: Open) -> None:
    station = open_station()
    for number in range(3):
        station.receive(str(number))
        station.receive(str(number))
    assert station.sweep() == 0
    assert station.sweep(later=6) == 3
    assert station.sweep(later=7) == 0
    assert station.queued() == 3


def test_the_sweep_queues_a_failed_message_as_soon_as_it_is_due(open_station: Open) -> None:
    station = open_station(retry_schedule=(2.0,), handler_timeout=0.1)
    station.drainer.drain([station.receive("1", "slow").lane], QUEUE)
    assert (station.sweep(), station.sweep(later=2.5)) == (0, 1)


def test_the_sweep_passes_over_what_a_worker_has_in_hand(open_station: Open) -> None:
    station = open_station()
    claimed, other = station.receive("1"), station.receive("2")
    [head] = [h for h in station.heads(claimed.lane, other.lane) if h.id == claimed.message_id]
    if station.database.is_sqlite:
        assert station.sweep(later=6) == 2
        return
    with station.database.transaction() as connection:
        assert inbox.claim(connection, [(head, datetime.now(UTC))])
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(station.sweep, 6).result(10) == 1


def test_the_sweep_queues_each_event_where_it_belongs(open_station: Open) -> None:
    station = open_station(queues={"slow": "slow-ones"})
    for number, event in enumerate(("x", "slow", "unheard-of")):
        station.receive(str(number), event)
    assert station.sweep(later=6) == 3
    assert (station.queued(), station.queued("slow-ones")) == (2, 1)


def test_the_sweep_adds_nothing_to_a_long_queue(open_station: Open) -> None:
    station = open_station()
    for number in range(60):
        station.dispatcher.nudge([str(number)], QUEUE)
    station.receive("1")
    assert station.sweep(later=6) == 0
    assert station.queued() == 60


def test_a_broker_that_is_away_only_delays(database_url: str, tmp_path: Path) -> None:
    station = Station(database_url, "redis://127.0.0.1:1/0", var=tmp_path)
    assert station.dispatcher.nudge([station.receive("1").lane], QUEUE) is False
    assert station.sweep(later=6) == 0
    assert station.states() == ["new"]
    station.close()


@pytest.fixture
def watchdog(open_station: Open) -> Iterator[Watchdog]:
    healthy = Watchdog("worker-1", open_station(handler_timeout=0.1).settings, patience=0.2)
    yield healthy
    healthy.close()


def test_a_worker_that_begins_no_job_though_jobs_wait_is_unhealthy(open_station: Open, watchdog: Watchdog) -> None:
    station = open_station()
    station.notices.beat("worker-1", 0)
    assert watchdog()
    station.dispatcher.nudge(["a lane"], QUEUE)
    time.sleep(0.5)
    assert not watchdog()
    station.notices.beat("worker-1", 1)
    assert watchdog()


def test_a_worker_with_nothing_to_do_is_healthy(open_station: Open, watchdog: Watchdog) -> None:
    open_station().notices.beat("worker-1", 0)
    assert watchdog()
    time.sleep(0.5)
    assert watchdog()


def test_a_worker_that_gives_no_sign_of_life_is_unhealthy(watchdog: Watchdog) -> None:
    time.sleep(0.5)
    assert not watchdog()


def test_who_listens_hears_what_is_processed(redis_url: str) -> None:
    heard: list[int] = []
    Listener(redis_url, heard.append)
    notices = Notices(redis_url)

    def announced() -> bool:
        notices.announce([7, 8])
        return heard[:2] == [7, 8]

    eventually(announced, 10)
    notices.close()
