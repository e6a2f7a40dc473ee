"""What happens while a call is under way: leases that run out, the operator, a response that is quicker, the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
import sqlalchemy as sa

from gateway import delivery
from gateway.delivery import Deliverer
from gateway.store import dead_letters, outbox, schema
from gateway.store.circuits import OPENS_AFTER
from gateway.store.database import Connection, Database
from tests.delivery.conftest import NAME, ON_SQLITE, Post
from tests.delivery.receiver import OK, Answering, Call, Receiver, Script, receiving
from tests.services import eventually


@dataclass
class FirstCall:
    """The first call, which hangs until it may end: at whom, by whom, and what `deliver` returns at last."""

    receiver: Receiver
    deliverer: Deliverer
    delivering: Future[int]
    may_end: threading.Event

    def end(self) -> int:
        self.may_end.set()
        return self.delivering.result(20)


@contextmanager
def under_way(post: Post, then: Answering = lambda _: OK) -> Iterator[FirstCall]:
    """`then` answers the first call, and those that come after it."""
    may_end, is_first = threading.Event(), iter([True])

    def answer(call: Call) -> Script:
        if next(is_first, False):
            may_end.wait(20)
        return then(call)

    with receiving(answer) as receiver, ThreadPoolExecutor(1) as pool:
        post.register(receiver, timeout=20.0)
        deliverer = post.deliverer("process-1")
        first = FirstCall(receiver, deliverer, pool.submit(deliverer.deliver, NAME), may_end)
        eventually(lambda: receiver.calls)
        try:
            yield first
        finally:
            may_end.set()


def test_what_another_takes_over_while_a_call_hangs_stays_in_order_in_effect(post: Post) -> None:
    first, second = post.put("task-1", "b-1"), post.put("task-1", "b-2")
    with under_way(post) as call:
        assert post.deliverer("process-2").deliver(NAME) == 0
        post.change(first, claimed_until=datetime.now(UTC) - timedelta(seconds=1))
        assert post.deliverer("process-2").deliver(NAME) == 2
        assert call.end() == 1
    assert call.receiver.effects == ["b-1", "b-2"]
    assert call.receiver.times == {"b-1": 2, "b-2": 1}
    assert [post.letter(number).state for number in (first, second)] == ["delivered", "delivered"]
    assert post.attempts(first) == [(1, "delivered"), (2, "delivered")]


class Clock(datetime):
    """Ahead of the time by as much as has been waited for the database."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.ahead


@ON_SQLITE
def test_a_claim_holds_from_when_it_is_made_however_long_it_has_waited(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt(work: Callable[[Connection], Any]) -> Any:
        Clock.ahead += timedelta(minutes=1)
        return Database.attempt(post.database, work)

    def answer(_: Call) -> Script:
        with post.database.reading() as connection:
            found.append(connection.execute(sa.select(schema.outbox.c.claimed_until)).scalar_one())
        return OK

    found: list[datetime] = []
    monkeypatch.setattr(delivery, "datetime", Clock)
    monkeypatch.setattr(post.database, "attempt", attempt)
    before = datetime.now(UTC)
    with receiving(answer) as receiver:
        post.register(receiver, timeout=5.0)
        post.put("task-1", "b-1")
        post.deliverer().deliver(NAME)
    assert found[0] - before >= timedelta(minutes=1, seconds=5)


@pytest.mark.parametrize("status", [200, 500])
def test_what_the_operator_drops_meanwhile_is_dropped_and_the_lane_goes_on(post: Post, status: int) -> None:
    first, second = post.put("task-1", "b-1"), post.put("task-1", "b-2")
    with under_way(post, lambda call: Script(status if call.bundle_id == "b-1" else 200)) as call:
        with post.database.transaction() as connection:
            assert dead_letters.drop(connection, [first]) == [first]
        assert call.end() == 2
    letters = [post.letter(number) for number in (first, second)]
    assert [(letter.state, letter.error) for letter in letters] == [
        ("dead", dead_letters.DROPPED),
        ("delivered", None),
    ]


def test_what_the_operator_has_tried_again_meanwhile_is_not_called_beside_itself(post: Post) -> None:
    number = post.put("task-1", "b-1")
    with under_way(post) as call:
        with post.database.transaction() as connection:
            assert dead_letters.revive(connection, [number], datetime.now(UTC)) == [number]
        assert post.deliverer("process-2").deliver(NAME) == 0
        assert call.end() == 1
    assert (post.letter(number).state, len(call.receiver.calls)) == ("delivered", 1)


def test_a_response_that_is_quicker_than_the_answer_closes_what_it_answers(post: Post) -> None:
    first, second = post.put("task-1", "b-1"), post.put("task-1", "b-2")

    def answer(call: Call) -> Script:
        return Script(500) if call.bundle_id == "b-1" else OK

    with under_way(post, answer) as call:
        with post.database.transaction() as connection:
            assert outbox.close(connection, first, 7, "ok", datetime.now(UTC))
        assert call.end() == 2
    assert [post.letter(number).state for number in (first, second)] == ["delivered", "delivered"]
    assert post.letter(first).attempts == 1


@ON_SQLITE
def test_an_answer_to_a_call_that_was_under_way_when_trouble_began_does_not_end_it(post: Post) -> None:
    post.schedule = (60.0,) * 20
    post.put("task-1", "b-1")
    with under_way(post, lambda call: OK if call.bundle_id == "b-1" else Script(500)) as call:
        call.deliverer.stop()
        for number in range(OPENS_AFTER):
            post.put(f"task-2-{number}", f"bad-{number}")
        post.deliverer("process-2").deliver(NAME)
        assert call.end() == 1
    assert post.alerts() == ["delivery in trouble"]


def test_who_is_paused_meanwhile_gets_the_call_that_is_under_way_and_no_other(post: Post) -> None:
    first, second = post.put("task-1", "b-1"), post.put("task-1", "b-2")
    with under_way(post) as call:
        post.partners[NAME] = replace(post.partners[NAME], state="paused")
        assert call.end() == 1
    assert call.receiver.effects == ["b-1"]
    assert [post.letter(number).state for number in (first, second)] == ["delivered", "due"]


@ON_SQLITE
def test_who_is_not_registered_any_more_is_not_called_any_more(post: Post) -> None:
    first, second = post.put("task-1", "b-1"), post.put("task-1", "b-2")
    with under_way(post) as call:
        del post.partners[NAME]
        call.end()
    assert call.receiver.effects == ["b-1"]
    assert [post.letter(number).state for number in (first, second)] == ["delivered", "dead"]


def test_a_process_that_ends_begins_no_call_and_gives_back_what_it_has_in_hand(post: Post) -> None:
    first, second = post.put("task-1", "b-1"), post.put("task-1", "b-2")
    with under_way(post) as call:
        call.deliverer.stop()
        assert call.deliverer.deliver(NAME) == 0
        assert call.deliverer.give_back() == 1
        assert post.deliverer("process-2").deliver(NAME) == 2
        assert call.end() == 1
    assert call.receiver.effects == ["b-1", "b-2"]
    assert [post.letter(number).state for number in (first, second)] == ["delivered", "delivered"]
