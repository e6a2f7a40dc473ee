"""The life of a subscription: from its handshake to its end, and what it brings meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from gateway.partners.directory import Directory
from gateway.store import circuits
from gateway.store import subscriptions as kept
from gateway.store.circuits import OPENS_AFTER
from gateway.store.database import Database
from tests.delivery.receiver import OK, Call, Script, receiving
from tests.subscriptions.subscribing import R5, MakeWorld, Notification, World, r4, r5
from tests.web.served import BASE, HOSPITAL, JSON, PHARMACY, XML, changed, placed

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what no database makes a difference to."""


def test_a_subscription_is_active_once_its_handshake_is_accepted(world: World) -> None:
    created = world.create(r4(world.receiver.url))
    assert (created["status"], created["meta"]["versionId"]) == ("requested", "1")
    assert world.status(created["id"]).status == "requested"
    world.deliver()
    [handshake] = world.received
    assert (handshake.kind, handshake.status, handshake.total) == ("handshake", "requested", 0)
    status = world.status(created["id"])
    assert (status.kind, status.status, status.total, status.error) == ("query-status", "active", 0, [])


def test_events_are_told_in_order_and_numbered_without_a_gap(world: World) -> None:
    subscription_id = world.activate(r4(world.receiver.url))
    for number in ("1", "2", "3"):
        placed(world.api, number=number)
    world.deliver()
    told = world.received[1:]
    assert [(one.kind, one.total, one.numbers) for one in told] == [
        ("event-notification", number, [number]) for number in (1, 2, 3)
    ]
    assert {*world.outbox("recipient", "lane", "subscription_id", "destination", "state")} == {
        ("Pharmacy", subscription_id, subscription_id, world.receiver.url, "delivered")
    }


@ON_SQLITE
@pytest.mark.parametrize("format_", ["json", "xml"])
@pytest.mark.parametrize(("number", "version"), [("4.0", "R4"), ("4.3", "R4B"), ("5.0", "R5")])
def test_notifications_are_in_the_version_and_format_that_the_subscription_names(
    world: World, number: str, version: str, format_: str
) -> None:
    payload = f"application/fhir+{format_}; fhirVersion={number}"
    wanted = r4(world.receiver.url, content="full-resource", payload=payload, heartbeat_period=60)
    world.activate(wanted)
    placed(world.api)
    world.deliver()
    world.heartbeats.run(datetime.now(UTC) + timedelta(seconds=61))
    world.deliver()
    assert [(one.kind, one.version, one.shown) for one in world.received] == [
        ("handshake", version, []),
        ("event-notification", version, ["Task"]),
        ("heartbeat", version, []),
    ]
    assert {call.headers["content-type"] for call in world.receiver.calls} == {payload}


@ON_SQLITE
def test_who_does_not_accept_the_handshake_finds_out_why_and_begins_anew(make_world: MakeWorld) -> None:
    answers = [Script(410), OK]
    world = make_world(lambda _: answers.pop(0))
    created = world.create(r4(world.receiver.url))
    world.deliver()
    status = world.status(created["id"])
    assert status.status == "error"
    assert "410" in status.error[0]
    read = orjson.loads(world.get(f"Subscription/{created['id']}").data)
    assert (read["status"], read["error"]) == ("error", status.error[0])

    placed(world.api)
    assert len(world.receiver.calls) == 1
    answer = world.api.put(f"Subscription/{created['id']}", read | {"status": "requested"})
    assert (answer.status_code, orjson.loads(answer.data)["status"]) == (200, "requested")
    world.deliver()
    handshake = world.received[1]
    assert (handshake.kind, handshake.total) == ("handshake", 1)
    assert world.status(created["id"]).status == "active"
    assert world.events(created["id"]).numbers == [1]


def test_a_notification_that_is_given_up_puts_it_in_error_and_what_follows_is_kept(make_world: MakeWorld) -> None:
    def answer(call: Call) -> Script:
        return OK if Notification(call.body).kind == "handshake" else Script(404)

    world = make_world(answer)
    subscription_id = world.activate(r4(world.receiver.url))
    placed(world.api, number="1")
    placed(world.api, number="2")
    world.deliver()
    assert [one.numbers for one in world.received] == [[], [1]]
    status = world.status(subscription_id)
    assert (status.status, status.total) == ("error", 2)
    assert "404" in status.error[0]
    placed(world.api, number="3")
    assert [state for (state,) in world.outbox("state")] == ["delivered", "dead", "dead"]
    told = world.events(subscription_id)
    assert (told.kind, told.status, told.numbers, told.total) == ("query-event", "error", [1, 2, 3], 3)


@ON_SQLITE
def test_what_fails_for_a_while_is_no_error(make_world: MakeWorld) -> None:
    answers = [Script(503), OK]
    world = make_world(lambda _: answers.pop(0))
    created = world.create(r4(world.receiver.url))
    world.deliver()
    assert world.status(created["id"]).status == "requested"
    world.deliver()
    assert world.status(created["id"]).status == "active"


@ON_SQLITE
def test_an_attempt_takes_no_longer_than_the_subscription_lets_it(make_world: MakeWorld) -> None:
    answers = [Script(seconds=3.0), OK]
    world = make_world(lambda _: answers.pop(0))
    created = world.create(r4(world.receiver.url, timeout=1))
    world.deliver()
    assert [state for (state,) in world.outbox("state")] == ["due"]
    world.deliver()
    assert world.status(created["id"]).status == "active"


@ON_SQLITE
def test_the_subscriber_is_not_told_of_what_it_does_itself(world: World) -> None:
    world.activate(r4(world.receiver.url))
    task = placed(world.api)
    answer = world.api.put(f"Task/{task['id']}", changed(task, "accepted"), party=PHARMACY)
    assert answer.status_code == 200
    world.deliver()
    assert [one.total for one in world.received] == [0, 1]


@ON_SQLITE
def test_only_what_matches_is_told_and_counted(world: World) -> None:
    subscription_id = world.activate(r4(world.receiver.url, "Task?status=cancelled"))
    task = placed(world.api)
    assert world.api.put(f"Task/{task['id']}", changed(task, "cancelled"), party=HOSPITAL).status_code == 200
    world.deliver()
    assert [(one.numbers, one.total) for one in world.received] == [([], 0), ([1], 1)]
    assert world.status(subscription_id).total == 1


def test_a_quiet_subscription_has_a_heartbeat_and_one_with_something_to_deliver_has_none(world: World) -> None:
    world.activate(r4(world.receiver.url, heartbeat_period=60))
    now = datetime.now(UTC)
    assert world.heartbeats.run(now + timedelta(seconds=30)) == 0
    assert world.heartbeats.run(now + timedelta(seconds=61)) == 1
    assert world.heartbeats.run(now + timedelta(seconds=200)) == 0
    world.deliver()
    assert world.heartbeats.run(now + timedelta(seconds=62)) == 0
    placed(world.api)
    assert world.heartbeats.run(now + timedelta(seconds=200)) == 0
    world.deliver()
    assert world.heartbeats.run(now + timedelta(seconds=200)) == 1
    world.deliver()
    kinds = ["handshake", "heartbeat", "event-notification", "heartbeat"]
    assert [(one.kind, one.total) for one in world.received] == [*zip(kinds, [0, 0, 1, 1], strict=True)]


@ON_SQLITE
def test_an_endpoint_elsewhere_does_not_work_by_itself_alone(world: World) -> None:
    with receiving() as elsewhere:
        there, here = world.activate(r4(elsewhere.url)), world.activate(r4(world.receiver.url))
        elsewhere.answer = lambda _: Script(500)
        for number in ("1", "2"):
            placed(world.api, number=number)
        for _ in range(OPENS_AFTER):
            world.deliver()
        place = elsewhere.url.removesuffix("/in")
    with world.database.reading() as connection:
        assert [one.recipient for one in circuits.list_open(connection)] == [f"Pharmacy at {place}"]
    assert [one.numbers for one in world.received] == [[], [1], [2]]
    assert [world.status(one).status for one in (there, here)] == ["active", "active"]


def test_who_takes_the_name_of_a_partner_that_was_removed_has_nothing_of_its(world: World) -> None:
    subscription_id = world.activate(r4(world.receiver.url))
    placed(world.api)
    directory = Directory(world.database, loopback=True)
    before = directory.get("Pharmacy").document
    directory.remove("Pharmacy", "an operator")
    directory.add(before, "an operator")
    assert world.get(f"Subscription/{subscription_id}").status_code == 404
    world.deliver()
    assert [one.kind for one in world.received] == ["handshake"]
    assert world.outbox("state", "error") == [("delivered", None), ("dead", "Pharmacy was removed.")]
    with world.database.reading() as connection:
        assert kept.find_events(connection, subscription_id, 1, 9, 9) == []


def test_a_subscription_ends_when_its_time_has_come(world: World) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    subscription_id = world.activate(r4(world.receiver.url, end=end.isoformat(timespec="milliseconds")))
    world.heartbeats.run(end - timedelta(seconds=1))
    assert world.status(subscription_id).status == "active"
    world.heartbeats.run(end)
    assert world.status(subscription_id).status == "off"
    placed(world.api)
    world.deliver()
    assert len(world.received) == 1


def test_what_is_deleted_is_off_and_sends_nothing_more(world: World) -> None:
    subscription_id = world.activate(r4(world.receiver.url))
    placed(world.api, number="1")
    assert world.api.call("DELETE", f"Subscription/{subscription_id}").status_code == 204
    placed(world.api, number="2")
    world.deliver()
    assert [one.kind for one in world.received] == ["handshake"]
    status = world.status(subscription_id)
    assert (status.status, status.total) == ("off", 1)
    assert orjson.loads(world.get(f"Subscription/{subscription_id}").data)["status"] == "off"


@ON_SQLITE
def test_who_changes_what_it_wants_shakes_hands_again(world: World) -> None:
    subscription_id = world.activate(r4(world.receiver.url, "Task?status=cancelled"))
    wanted = r4(f"{world.receiver.url}/elsewhere", id=subscription_id)
    answer = world.api.put(f"Subscription/{subscription_id}", wanted, If_Match='W/"1"')
    assert answer.status_code == 412
    assert world.api.put(f"Subscription/{subscription_id}", wanted, If_Match='W/"2"').status_code == 200
    placed(world.api, number="1")
    world.deliver()
    placed(world.api, number="2")
    world.deliver()
    assert [(call.path, Notification(call.body).numbers) for call in world.receiver.calls] == [
        ("/in", []),
        ("/in/elsewhere", []),
        ("/in/elsewhere", [2]),
    ]


@ON_SQLITE
def test_a_notification_has_no_more_tasks_than_the_subscription_wants(world: World) -> None:
    world.activate(r4(world.receiver.url, max_count=1))
    whole = placed(world.api, number="1")
    placed(world.api, number="2", partOf=[{"reference": f"Task/{whole['id']}"}])
    world.deliver()
    assert [one.numbers for one in world.received] == [[], [1], [2]]


@ON_SQLITE
def test_who_is_not_called_fetches_its_notifications(make_world: MakeWorld) -> None:
    world = make_world(tell="poll")
    created = world.create(r4(world.receiver.url))
    assert created["status"] == "active"
    placed(world.api)
    polled = orjson.loads(world.api.post("$poll", None).data)
    kinds = [entry["resource"]["entry"][0]["resource"]["resourceType"] for entry in polled["entry"]]
    assert "Parameters" in kinds
    assert ("queued", created["id"]) in world.outbox("state", "subscription_id")


def test_partners_have_a_hundred_subscriptions_at_most(world: World) -> None:
    first = world.create(r4(world.receiver.url))
    _add(world.database, first["id"], "active", 99)
    answer = world.api.post("Subscription", r4(world.receiver.url))
    assert (answer.status_code, "100 subscriptions" in answer.text) == (422, True)
    world.api.call("DELETE", f"Subscription/{first['id']}")
    _add(world.database, first["id"], "off", 110)
    assert world.create(r4(world.receiver.url))
    with world.database.reading() as connection:
        assert len(kept.find_all(connection, "Pharmacy")) == 200


def _add(database: Database, like: str, status: kept.Status, number: int) -> None:
    with database.transaction() as connection:
        row = kept.find(connection, like, "Pharmacy")
        assert row is not None
        for one in range(number):
            kept.add(connection, replace(row, id=f"{status}-{one}", status=status))


@ON_SQLITE
def test_a_subscription_of_r5_is_told_in_r5(world: World) -> None:
    created = world.create(r5(world.receiver.url, filterBy=[{"filterParameter": "status", "value": "requested"}]), R5)
    assert created["topic"] == f"{BASE}/SubscriptionTopic/task-updates"
    world.deliver()
    placed(world.api)
    world.deliver()
    assert [(one.kind, one.version) for one in world.received] == [
        ("handshake", "R5"),
        ("event-notification", "R5"),
    ]
    assert JSON in world.receiver.calls[0].headers["content-type"]
    assert world.get(f"Subscription/{created['id']}", Accept=XML).status_code == 200
