"""Who has recipients called: the bell, which rings once for what comes together, and the sweep, whatever was lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.delivery import Listeners
from gateway.jobs import DELIVERIES, Dispatcher, Doorbell, celery_app
from gateway.notices import Notices
from gateway.settings import Settings
from gateway.store import circuits
from gateway.store.database import Connection
from gateway.store.deliveries import Claimed, Verdict
from gateway.sweeping import Reminder
from gateway.transport import Answer
from tests.delivery.conftest import NAME, Post
from tests.delivery.receiver import Script, receiving


class Bells:
    """The way from an outbox to the queue of deliveries."""

    def __init__(self, post: Post, redis_url: str) -> None:
        in_force = Settings(redis_url=redis_url)
        self.dispatcher = Dispatcher(celery_app(in_force), in_force)
        self.notices = Notices(redis_url)
        self.doorbell = Doorbell(self.dispatcher, self.notices)
        self.reminder = Reminder(post.database, post, self.dispatcher, self.doorbell)

    def queued(self) -> int:
        return self.dispatcher.queue_length(DELIVERIES)

    def close(self) -> None:
        self.dispatcher.close()
        self.notices.close()


@pytest.fixture
def bells(post: Post, redis_url: str) -> Iterator[Bells]:
    opened = Bells(post, redis_url)
    yield opened
    opened.close()


def test_who_is_rung_for_again_before_a_job_has_begun_gets_no_second_one(bells: Bells) -> None:
    assert bells.doorbell.ring(["a", "b", "a"]) == 2
    assert bells.doorbell.ring(["a"]) == 0
    bells.doorbell.heed("a")
    assert bells.doorbell.ring(["a"]) == 1
    assert bells.queued() == 3


def test_a_broker_that_is_away_only_delays(post: Post) -> None:
    away = Bells(post, "redis://127.0.0.1:1/0")
    post.put("task-1", "b-1")
    assert (away.doorbell.ring([NAME]), away.reminder.run(datetime.now(UTC))) == (0, 0)
    away.close()


def test_the_sweep_has_those_called_who_may_be(bells: Bells, post: Post) -> None:
    now = datetime.now(UTC)
    with receiving() as receiver:
        for name in ("active", "paused", "held"):
            post.register(receiver, name)
            post.put("task-1", f"for-{name}", name)
    post.partners["paused"] = replace(post.partners["paused"], state="paused")
    with post.database.transaction() as connection:
        circuits.hold(connection, "held", now + timedelta(hours=1))
    assert bells.reminder.run(now + timedelta(minutes=1)) == 1
    assert bells.reminder.run(now + timedelta(minutes=1)) == 0
    assert bells.reminder.run(now + timedelta(hours=2)) == 1


def test_a_job_that_was_lost_holds_nobody_up(bells: Bells, post: Post) -> None:
    post.put("task-1", "b-1")
    assert bells.notices.ring(NAME)
    assert bells.reminder.run(datetime.now(UTC) + timedelta(seconds=1)) == 1


def test_who_is_concerned_is_told_of_answers_and_of_how_it_ends(post: Post) -> None:
    answers: list[tuple[int, int | None]] = []
    ends: list[tuple[int, str]] = []

    def answered(entry: Claimed, answer: Answer) -> None:
        answers.append((entry.id, answer.status))
        raise ValueError("it cannot be read")

    def settled(_: Connection, entry: Claimed, verdict: Verdict, _now: datetime) -> None:
        ends.append((entry.id, verdict.state))

    scripts = [Script(500), Script(200), Script(400)]
    with receiving(lambda _: scripts.pop(0)) as receiver:
        post.register(receiver)
        first = post.put("task-1", "b-1")
        deliverer = post.deliverer(listeners=Listeners(answered, settled))
        deliverer.deliver(NAME)
        post.pass_time()
        deliverer.deliver(NAME)
        second = post.put("task-1", "b-2")
        deliverer.deliver(NAME)
    assert answers == [(first, 500), (first, 200), (second, 400)]
    assert ends == [(first, "delivered"), (second, "dead")]
