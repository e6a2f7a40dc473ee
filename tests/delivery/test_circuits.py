"""A recipient that does not work: called by probes alone, told of once, and of no cost to the others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gateway import delivery
from gateway.store import circuits, deliveries, schema
from gateway.store.circuits import LONGEST_PAUSE, OPENS_AFTER
from tests.delivery.conftest import NAME, ON_SQLITE, Post
from tests.delivery.receiver import OK, Answering, Call, Script, receiving
from tests.services import eventually

OTHER = "Example Pharmacy"


def when(event: threading.Event) -> Answering:
    """Answers when that has come."""

    def answer(_: Call) -> Script:
        event.wait(20)
        return OK

    return answer


def test_trouble_begins_and_ends_with_one_alert_each_whoever_finds_out(post: Post) -> None:
    post.schedule = (60.0,) * 20
    with receiving(lambda _: Script(500)) as receiver:
        post.register(receiver)
        numbers = [post.put(f"task-{n}", f"b-{n}") for n in range(8)]
        for n in range(OPENS_AFTER):
            post.deliverer(f"process-{n}").deliver(NAME)
            post.pass_time()
        assert post.alerts() == ["delivery in trouble"]
        opened = post.circuit()
        assert opened
        assert opened.opened_at
        assert "500" in str(opened.cause)
        receiver.answer = lambda _: OK
        post.deliverer().deliver(NAME)
    assert post.alerts() == ["delivery in trouble", "delivery has recovered"]
    assert post.circuit() is None
    assert [post.letter(number).state for number in numbers] == ["delivered"] * 8


def test_while_it_does_not_work_one_call_at_a_time_finds_out_and_the_pause_grows(post: Post) -> None:
    post.schedule = (60.0, 120.0, 180.0, *[3600.0] * 20)
    with receiving(lambda _: Script(500)) as receiver:
        post.register(receiver)
        for n in range(8):
            post.put(f"task-{n}", f"b-{n}")
        post.deliverer().deliver(NAME)
        assert len(receiver.calls) == OPENS_AFTER
        assert post.deliverer().deliver(NAME) == 0
        pauses = []
        for _ in range(8):
            circuit = post.circuit()
            assert circuit
            assert circuit.probe_at
            pauses.append(circuit.probe_at - datetime.now(UTC))
            post.pass_time()
            assert post.deliverer().deliver(NAME) == 1
    longest = round(LONGEST_PAUSE / 60)
    assert [round(pause.total_seconds() / 60) for pause in pauses] == [1, 2, 3, *[longest] * 5]


def test_a_probe_is_under_way_once(post: Post) -> None:
    ends, post.schedule = threading.Event(), (60.0,) * 20
    with receiving(lambda _: Script(500)) as receiver:
        post.register(receiver)
        for n in range(8):
            post.put(f"task-{n}", f"b-{n}")
        post.deliverer().deliver(NAME)
        post.pass_time()
        receiver.answer = when(ends)
        with ThreadPoolExecutor(1) as pool:
            probe = pool.submit(post.deliverer().deliver, NAME)
            eventually(lambda: len(receiver.calls) > OPENS_AFTER)
            assert post.deliverer("process-2").deliver(NAME) == 0
            ends.set()
            assert probe.result(20) == 8


@ON_SQLITE
def test_who_refuses_works(post: Post) -> None:
    with receiving(lambda _: Script(400)) as receiver:
        post.register(receiver)
        for n in range(2 * OPENS_AFTER):
            post.put(f"task-{n}", f"b-{n}")
        assert post.deliverer().deliver(NAME) == 2 * OPENS_AFTER
    assert post.alerts() == []


def test_messages_that_always_fail_are_told_of_once_and_hold_up_no_other(post: Post) -> None:
    post.schedule = (60.0,) * 20
    with receiving(lambda call: OK if call.bundle_id.startswith("good") else Script(500)) as receiver:
        post.register(receiver)
        for number in range(2):
            post.put(f"task-{number}", f"bad-{number}")
        for _ in range(OPENS_AFTER):
            assert post.deliverer().deliver(NAME) == 2
            post.pass_time()
        assert post.alerts() == ["delivery in trouble"]
        post.put("task-1", "good-behind")
        others = [post.put(f"task-{number}", f"good-{number}") for number in range(2, 4)]
        assert post.deliverer().deliver(NAME) == 4
    assert [post.letter(number).state for number in others] == ["delivered", "delivered"]
    assert post.alerts() == ["delivery in trouble", "delivery has recovered"]


def test_who_fails_with_new_messages_too_gets_no_more_until_the_next_probe(post: Post) -> None:
    post.schedule = (60.0,) * 20
    with receiving(lambda _: Script(500)) as receiver:
        post.register(receiver)
        post.put("task-1", "old")
        for _ in range(OPENS_AFTER):
            post.deliverer().deliver(NAME)
            post.pass_time()
        for number in range(2 * OPENS_AFTER):
            post.put(f"task-new-{number}", f"new-{number}")
        assert [post.deliverer().deliver(NAME) for _ in range(2)] == [OPENS_AFTER, 0]
    assert post.alerts() == ["delivery in trouble"]


def test_what_has_waited_for_the_whole_schedule_is_dead_though_it_was_not_called_for(post: Post) -> None:
    post.schedule = (60.0,) * 20
    with receiving(lambda _: Script(500)) as receiver:
        post.register(receiver)
        numbers = [post.put(f"task-{n % 10}", f"b-{n}") for n in range(20)]
        post.deliverer().deliver(NAME)
        later = post.put("task-new", "b-new")
        ago = datetime.now(UTC) - timedelta(days=1)
        with post.database.transaction() as connection:
            connection.execute(sa.update(schema.circuit).values(opened_at=ago, probe_at=ago))
            old = sa.update(schema.outbox).where(
                schema.outbox.c.id != later, schema.outbox.c.due_at < datetime.now(UTC)
            )
            connection.execute(old.values(due_at=ago))
        calls = len(receiver.calls)
        assert post.deliverer().deliver(NAME) == 1
    letters = [post.letter(number) for number in numbers]
    dead = [letter for letter in letters if letter.state == "dead"]
    assert len(receiver.calls) == calls + 1
    assert {letter.attempts for letter in dead} == {0}
    assert all("out of order" in str(letter.error) for letter in dead)
    assert len(dead) == len(numbers) - len({call.bundle_id for call in receiver.calls} - {"b-new"})
    assert post.letter(later).state == "due"


@ON_SQLITE
def test_slow_recipients_leave_threads_to_the_others(post: Post) -> None:
    ends = threading.Event()
    with receiving(when(ends)) as receiver, receiving() as quick:
        slow = [f"slow {n}" for n in range(3)]
        for name in slow:
            post.register(receiver, name)
            for number in range(3):
                post.put(f"task-{number}", f"{number}-{name[-1]}", name)
        post.register(quick, OTHER)
        deliverer = post.deliverer(most_slow=2, line_seconds=0.0)
        for name in slow:
            deliverer.remember(name, 20.0)
        with ThreadPoolExecutor(2) as pool:
            stuck = [pool.submit(deliverer.deliver, name) for name in slow[:2]]
            eventually(lambda: len(receiver.calls) == 2)
            assert [deliverer.deliver(name) for name in slow] == [0, 0, 0]
            post.put("task-1", "b-1", OTHER)
            assert deliverer.deliver(OTHER) == 1
            post.lines.clear()
            for name in slow[:2]:
                deliverer.remember(name, 20.0)
            ends.set()
            assert [one.result(20) for one in stuck] == [1, 1]
    assert len(receiver.calls) == 2


@ON_SQLITE
def test_a_slow_recipient_has_one_call_at_a_time_and_lets_others_that_are_slow_have_their_turn(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SLOW_SECONDS", 0.0)
    may_end = threading.Event()
    with receiving(when(may_end)) as receiver:
        names = ["slow 0", "slow 1"]
        for name in names:
            post.register(receiver, name)
            for number in range(4):
                post.put(f"task-{number}", f"{number}-{name[-1]}", name)
        deliverer = post.deliverer(most_slow=1, line_seconds=0.0)
        for name in names:
            deliverer.remember(name, 20.0)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(deliverer.deliver, names[0])
            eventually(lambda: receiver.at_once == 1)
            assert [deliverer.deliver(name) for name in names] == [0, 0]
            may_end.set()
            assert first.result(20) == 1
            assert post.lines == []
            assert pool.submit(deliverer.deliver, names[1]).result(20) == 1
            assert post.lines == [names[1]]


@ON_SQLITE
def test_recipients_that_were_never_called_leave_threads_to_the_others(post: Post) -> None:
    ends = threading.Event()
    with receiving(when(ends)) as receiver, receiving() as quick:
        new = [f"new {n}" for n in range(3)]
        for name in new:
            post.register(receiver, name)
            post.put("task-1", f"first-{name[-1]}", name)
            post.put("task-2", f"second-{name[-1]}", name)
        post.register(quick, OTHER)
        deliverer = post.deliverer(most_slow=4)
        with ThreadPoolExecutor(2) as pool:
            begun = [pool.submit(deliverer.deliver, name) for name in new[:2]]
            eventually(lambda: len(receiver.calls) == 2)
            deliverer.remember(OTHER, 0.1)
            post.put("task-1", "b-1", OTHER)
            assert [deliverer.deliver(name) for name in (*new, OTHER)] == [0, 0, 0, 1]
            ends.set()
            assert [one.result(20) for one in begun] == [2, 2]


def test_the_sweep_finds_to_whom_something_is_due_however_much_that_is(post: Post) -> None:
    now = datetime.now(UTC)
    for n in range(5):
        for name in ("a", "b", "c"):
            post.put(f"task-{n}", f"b-{n}", name, created_at=now)
    post.put("task-1", "tomorrow", "d", created_at=now + timedelta(days=1))
    post.put("task-1", "polled", "e", state="queued")
    with post.database.transaction() as connection:
        circuits.hold(connection, "b", now + timedelta(hours=1))
        assert deliveries.find_due_recipients(connection, now, 100) == ["a", "c"]
        assert deliveries.find_due_recipients(connection, now, 1) == ["a"]
        assert deliveries.find_due_recipients(connection, now, 1, "a") == ["c"]
        assert deliveries.find_due_recipients(connection, now + timedelta(hours=2), 100) == ["a", "b", "c"]
