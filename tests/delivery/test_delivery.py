"""What becomes of what is due, by what the recipient answers: delivered, due again, or dead with its reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.delivery import SLOW_SECONDS
from gateway.store import dead_letters, deliveries
from gateway.store.deliveries import Claimant, Claimed
from gateway.transport import Answer
from gateway.verdicts import JITTER, judge
from tests.delivery.conftest import NAME, ON_SQLITE, Post
from tests.delivery.receiver import OK, Call, Script, receiving
from tests.services import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENTRY = Claimed(1, NAME, "lane", "message", "", None, "h", "json", "R4", b"", 1, 0, NOW)
SCHEDULE = (1.0, 60.0)


def answer(outcome: str, status: int | None = None, retry_after: float | None = None) -> Answer:
    return Answer(outcome, status, retry_after, None, b"", "It said so.", 0.1)  # type: ignore[arg-type]


@ON_SQLITE
def test_what_is_due_arrives_as_it_was_written_and_says_who_it_is(post: Post) -> None:
    with receiving() as receiver:
        post.register(receiver)
        number = post.put("task-1", "b-1")
        assert post.deliverer().deliver(NAME) == 1
    [call] = receiver.calls
    assert (call.bundle_id, call.path) == ("b-1", "/in")
    assert call.headers["content-type"] == "application/fhir+json; fhirVersion=4.0"
    assert call.headers["x-request-id"] == "header-of-b-1"
    letter = post.letter(number)
    assert (letter.state, letter.attempts, letter.error) == ("delivered", 1, None)
    assert letter.delivered_at
    assert post.attempts(number) == [(1, "delivered")]


@ON_SQLITE
def test_an_answer_that_comes_later_is_posted_as_asynchronous(post: Post) -> None:
    with receiving() as receiver:
        post.register(receiver)
        post.put("task-1", "b-1", kind="reply", destination=f"{receiver.url}?key=1", response_code="ok")
        post.deliverer().deliver(NAME)
    assert [call.path for call in receiver.calls] == ["/in?key=1&async=true"]


def test_in_one_lane_nothing_overtakes_and_a_bad_message_holds_back_its_own_lane_only(post: Post) -> None:
    def answer(call: Call) -> Script:
        return Script(500) if call.bundle_id == "bad" else OK

    post.schedule = (3600.0,)
    with receiving(answer) as receiver:
        post.register(receiver)
        first, bad, behind = post.put("task-1", "b-1"), post.put("task-1", "bad"), post.put("task-1", "b-2")
        others = [post.put(f"task-{n}", f"other-{n}") for n in range(2, 5)]
        post.deliverer().deliver(NAME)
    assert receiver.effects[0] == "b-1"
    assert sorted(receiver.effects[1:]) == ["other-2", "other-3", "other-4"]
    states = [post.letter(number).state for number in (first, bad, behind, *others)]
    assert states == ["delivered", "due", "due", "delivered", "delivered", "delivered"]


def test_what_is_refused_is_dead_at_once_and_the_lane_goes_on(post: Post) -> None:
    def answer(call: Call) -> Script:
        return Script(422) if call.bundle_id == "bad" else OK

    with receiving(answer) as receiver:
        post.register(receiver)
        bad, behind = post.put("task-1", "bad"), post.put("task-1", "b-2")
        post.deliverer().deliver(NAME)
    assert (post.letter(bad).state, post.letter(behind).state) == ("dead", "delivered")
    assert "422" in str(post.letter(bad).error)
    assert post.circuit() is None


@ON_SQLITE
@pytest.mark.parametrize("script", [Script(500), Script(200, breaks=True), Script(garbage=True), Script(302)])
def test_after_the_schedule_it_is_dead_with_its_reason(post: Post, script: Script) -> None:
    with receiving(lambda _: script) as receiver:
        post.register(receiver)
        number = post.put("task-1", "b-1")
        for _ in post.schedule:
            post.deliverer().deliver(NAME)
            post.pass_time()
        assert post.letter(number).state == "due" or len(receiver.calls) == len(post.schedule) + 1
        post.deliverer().deliver(NAME)
    letter = post.letter(number)
    assert (letter.state, letter.attempts) == ("dead", 1 + len(post.schedule))
    assert "last attempt" in str(letter.error)
    assert len({call.headers["x-request-id"] for call in receiver.calls}) == 1


def test_who_is_busy_is_not_called_until_the_time_it_named(post: Post) -> None:
    scripts = [Script(429, {"Retry-After": "120"}), OK, OK]
    with receiving(lambda _: scripts.pop(0)) as receiver:
        post.register(receiver)
        busy, other = post.put("task-1", "b-1"), post.put("task-2", "b-2")
        assert post.deliverer().deliver(NAME) == 1
        letter = post.letter(busy)
        assert letter.due_at
        assert letter.due_at - datetime.now(UTC) > timedelta(seconds=100)
        assert (letter.state, letter.failures) == ("due", 0)
        assert post.deliverer().deliver(NAME) == 0
        post.pass_time()
        assert post.deliverer().deliver(NAME) == 2
    assert (post.letter(busy).state, post.letter(other).state) == ("delivered", "delivered")


@pytest.mark.parametrize(("wait", "seconds"), [(0.0, 1), (None, 30), (90.0, 90), (86_400.0, 3600)])
def test_the_time_that_who_is_busy_names_is_bounded(wait: float | None, seconds: int) -> None:
    verdict = judge(ENTRY, answer("busy", 429, wait), SCHEDULE, NOW)
    assert (verdict.state, verdict.due_at, verdict.failures) == ("due", NOW + timedelta(seconds=seconds), 0)


@pytest.mark.parametrize(
    ("outcome", "status", "state"),
    [
        ("delivered", 204, "delivered"),
        ("refused", 404, "dead"),
        ("refused", 413, "dead"),
        ("refused", 401, "due"),
        ("failed", 500, "due"),
        ("unreachable", None, "due"),
        ("forbidden", None, "dead"),
    ],
)
def test_each_answer_has_its_verdict(outcome: str, status: int | None, state: str) -> None:
    assert judge(ENTRY, answer(outcome, status), SCHEDULE, NOW).state == state


def test_the_schedule_is_literal_but_for_a_tenth() -> None:
    waits = {judge(replace(ENTRY, failures=1), answer("failed", 500), SCHEDULE, NOW).due_at for _ in range(50)}
    seconds = [(wait - NOW).total_seconds() for wait in waits if wait]
    assert len(seconds) > 1
    assert 60 * (1 - JITTER) <= min(seconds) <= max(seconds) <= 60 * (1 + JITTER)
    assert judge(replace(ENTRY, failures=2), answer("failed", 500), SCHEDULE, NOW).state == "dead"


@ON_SQLITE
def test_a_partner_has_a_schedule_of_its_own(post: Post) -> None:
    with receiving(lambda _: Script(500)) as receiver:
        post.register(receiver, retry_schedule=(7200.0,))
        number = post.put("task-1", "b-1")
        post.deliverer().deliver(NAME)
    due_at = post.letter(number).due_at
    assert due_at
    assert timedelta(hours=1.7) < due_at - datetime.now(UTC) < timedelta(hours=2.3)


@ON_SQLITE
@pytest.mark.parametrize("state", ["paused", "blocked"])
def test_who_is_not_active_is_sent_nothing_and_loses_nothing(post: Post, state: str) -> None:
    with receiving() as receiver:
        post.register(receiver)
        active = post.partners[NAME]
        post.partners[NAME] = replace(active, state=state)  # type: ignore[arg-type]
        number = post.put("task-1", "b-1")
        assert post.deliverer().deliver(NAME) == 0
        assert (post.letter(number).state, post.letter(number).attempts) == ("due", 0)
        post.partners[NAME] = active
        assert post.deliverer().deliver(NAME) == 1
    assert receiver.effects == ["b-1"]


@ON_SQLITE
def test_who_is_at_no_address_fetches_and_who_is_nobody_gets_nothing(post: Post) -> None:
    with receiving() as receiver:
        post.register(receiver)
    post.partners[NAME] = replace(post.partners[NAME], endpoints=("urn:example:ward",))
    fetched, lost = post.put("task-1", "b-1"), post.put("task-1", "b-2", "urn:example:gone")
    post.deliverer().deliver(NAME)
    post.deliverer().deliver("urn:example:gone")
    assert (post.letter(fetched).state, post.letter(lost).state) == ("queued", "dead")
    assert "not registered" in str(post.letter(lost).error)


@ON_SQLITE
def test_in_the_sandbox_whoever_is_on_this_machine_is_answered(post: Post) -> None:
    with receiving() as receiver:
        post.put("task-1", "b-1", receiver.url, kind="reply", destination=receiver.url)
        assert post.deliverer().deliver(receiver.url) == 1
    assert receiver.effects == ["b-1"]


def test_what_a_process_had_in_hand_when_it_died_is_delivered_when_it_comes_back(post: Post) -> None:
    with receiving() as receiver:
        post.register(receiver)
        number = post.put("task-1", "b-1")
        claimant = Claimant("process-1", datetime.now(UTC) + timedelta(hours=1), 4, "")
        with post.database.transaction() as connection:
            assert deliveries.claim(connection, NAME, claimant, datetime.now(UTC))[0]
        assert post.deliverer("process-2").deliver(NAME) == 0
        again = post.deliverer("process-1")
        assert (post.deliverer("process-2").give_back(), again.give_back()) == (0, 1)
        assert again.deliver(NAME) == 1
    assert post.letter(number).attempts == 2
    assert post.attempts(number) == [(2, "delivered")]


def test_who_has_lost_its_claim_finishes_nothing(post: Post) -> None:
    now = datetime.now(UTC)
    late = Claimant("process-1", now - timedelta(seconds=1), 4, "")
    number = post.put("task-1", "b-1", created_at=now - timedelta(minutes=1))
    with post.database.transaction() as connection:
        lost, _ = deliveries.claim(connection, NAME, late, now)
        taken, _ = deliveries.claim(
            connection, NAME, replace(late, name="process-2", until=now + timedelta(hours=1)), now
        )
    assert lost
    assert taken
    verdict = judge(lost.entry, answer("failed", 500), (), now)
    with post.database.transaction() as connection:
        assert not deliveries.finish(connection, lost.entry, None, verdict, now)
        assert deliveries.finish(connection, taken.entry, None, replace(verdict, state="delivered"), now)
    assert post.letter(number).state == "delivered"


def test_many_processes_call_a_partner_no_more_often_at_once_than_it_takes_and_nobody_twice(post: Post) -> None:
    with receiving(lambda _: Script(seconds=0.01)) as receiver:
        post.register(receiver, at_once=3)
        sent = [f"b-{lane}-{n}" for n in range(3) for lane in range(12)]
        for bundle_id in sent:
            post.put(f"task-{bundle_id.split('-')[1]}", bundle_id)
        processes = [post.deliverer(f"process-{n}", line_seconds=30) for n in range(6)]

        def work(process: int) -> None:
            eventually(lambda: not processes[process].deliver(NAME) and len(receiver.effects) == len(sent))

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
    assert sorted(receiver.effects) == sorted(sent)
    assert set(receiver.times.values()) == {1}
    assert 1 < receiver.most_at_once <= 3
    for lane in range(12):
        its = [one for one in receiver.effects if one.startswith(f"b-{lane}-")]
        assert its == sorted(its)


@ON_SQLITE
def test_another_line_is_asked_for_only_where_answers_come_soon(post: Post) -> None:
    with receiving() as receiver:
        post.register(receiver)
        for number in range(4):
            post.put(f"task-{number}", f"b-{number}")
        post.deliverer().deliver(NAME)
    assert post.lines == [NAME] * 2
    assert SLOW_SECONDS > 1


@ON_SQLITE
def test_a_line_lets_others_have_their_turn(post: Post) -> None:
    with receiving() as receiver:
        post.register(receiver, at_once=1)
        for number in range(3):
            post.put("task-1", f"b-{number}")
        assert post.deliverer(line_seconds=0.0).deliver(NAME) == 1
    assert post.lines == [NAME]


def test_the_operator_has_it_tried_again_or_drops_it(post: Post) -> None:
    scripts = [Script(400), Script(400), OK]
    with receiving(lambda _: scripts.pop(0)) as receiver:
        post.register(receiver)
        first, second = post.put("task-1", "b-1"), post.put("task-2", "b-2")
        post.deliverer().deliver(NAME)
        with post.database.transaction() as connection:
            dead = dead_letters.find_some(connection, ["dead"], NAME, 10)
            assert [letter.id for letter in dead] == [first, second]
            assert dead_letters.revive(connection, [first, 4711], datetime.now(UTC)) == [first]
        assert post.deliverer().deliver(NAME) == 1
        assert post.attempts(first) == [(1, "refused"), (2, "delivered")]
        with post.database.transaction() as connection:
            assert dead_letters.revive_all(connection, NAME, datetime.now(UTC)) == 1
            assert dead_letters.drop(connection, [first, second]) == [second]
        assert post.deliverer().deliver(NAME) == 0
    assert post.letter(second).error == dead_letters.DROPPED
