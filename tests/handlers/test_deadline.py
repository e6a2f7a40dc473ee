"""What falls due by the clock: an order whose period has ended, a cancellation request whose order does not come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway import Kept
from gateway.fhir.policy.model import Expiry
from gateway.fhir.task.deadlines import deadline_message, deadline_of, end_of
from tests.handlers import CANCELLATION, OURSELVES, Gateway, Reply, keep_unchecked, message
from tests.orders import HOSPITAL, Order, sent_by
from tests.terms import TERMS

FLAG = {"system": "urn:x-fhir-gateway:flag", "code": "overdue"}
PAST = {"period": {"end": "2026-03-01"}}
FUTURE = {"period": {"end": "9000"}}
EXPIRING = replace(TERMS.policy, expiry=Expiry("expire", "failed", timedelta(0)))


@pytest.fixture
def expiring(database_url: str) -> Iterator[Gateway]:
    """A gateway by whose policy an order expires."""
    opened = Gateway(database_url, replace(TERMS, policy=EXPIRING))
    yield opened
    opened.close()


def placed(gateway: Gateway, *statuses: str, **elements: Any) -> Order:
    order = Order()
    for bundle in (order.new_order(**elements), *(order.update(status) for status in statuses)):
        assert gateway.send(bundle).code == "ok"
    return order


def tell(gateway: Gateway, task: Kept, version: int | None = None) -> Reply:
    """Tells that a Task's time has come, by its current version or another."""
    now = datetime.now(UTC)
    return gateway.send(deadline_message(task.id, version or task.version, OURSELVES.base_url, OURSELVES.endpoint, now))


def tags(task: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = task["meta"].get("tag", [])
    return found


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ("2026-06-02", "2026-06-03T00:00:00Z"),
        ("2026-02", "2026-03-01T00:00:00Z"),
        ("2026-12", "2027-01-01T00:00:00Z"),
        ("2026", "2027-01-01T00:00:00Z"),
        ("2026-06-02T10:00:00+02:00", "2026-06-02T08:00:00Z"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"),
        ("2026-06-02T10:00:00.123456789Z", "2026-06-02T10:00:00.123456Z"),
    ],
)
def test_a_moment_lasts_as_long_as_it_says(said: str, end: str) -> None:
    assert end_of(said) == datetime.fromisoformat(end)


@pytest.mark.parametrize("said", [None, 7, "", "soon", "2026-13", "9999", "9999-12-31", "2026-06-02T10:00:00", []])
def test_what_is_no_moment_never_ends(said: Any) -> None:
    assert end_of(said) is None


@pytest.mark.parametrize("restriction", [None, [], "x", {"period": []}, {"period": {"end": {}}}, {"period": {}}])
def test_a_task_of_any_shape_has_a_deadline_or_none(restriction: Any) -> None:
    task = {"resourceType": "Task", "status": "requested", "restriction": restriction, "focus": [], "meta": []}
    assert deadline_of(task, TERMS.policy, datetime.now(UTC)) is None


def test_grace_is_added_to_the_end_of_the_period() -> None:
    policy = replace(TERMS.policy, expiry=Expiry("flag", "failed", timedelta(hours=2)))
    task = {"resourceType": "Task", "status": "requested", "restriction": PAST}
    assert deadline_of(task, policy, datetime.now(UTC)) == datetime(2026, 3, 2, 2, tzinfo=UTC)


@pytest.mark.parametrize("statuses", [(), ("accepted",), ("accepted", "in-progress")])
def test_an_order_whose_period_has_ended_is_flagged_once(gateway: Gateway, statuses: tuple[str, ...]) -> None:
    order = placed(gateway, *statuses, restriction=PAST)
    was = gateway.get("Task", order.identifier)
    assert deadline_of(was.resource, TERMS.policy, datetime.now(UTC)) == datetime(2026, 3, 2, tzinfo=UTC)

    reply = tell(gateway, was)

    assert (reply.code, reply.outcomes) == ("ok", ["expired"])
    [task] = reply.focus
    assert tags(task) == [FLAG]
    assert task["status"] == was.resource["status"]
    now = gateway.get("Task", order.identifier)
    assert now.version == was.version + 1
    assert deadline_of(now.resource, TERMS.policy, datetime.now(UTC)) is None
    assert tell(gateway, now).focus == []
    assert gateway.get("Task", order.identifier).version == now.version


def test_the_flag_stays_while_work_goes_on_and_goes_when_the_order_ends(gateway: Gateway) -> None:
    order = placed(gateway, "accepted", restriction=PAST)
    tell(gateway, gateway.get("Task", order.identifier))
    own = {"meta": {"tag": [{"system": "http://pharmacy.example/tags", "code": "urgent"}]}}
    [begun] = gateway.send(order.update("in-progress", **own)).focus
    assert FLAG in tags(begun)
    assert len(tags(begun)) == 2
    [completed] = gateway.send(order.update("completed")).focus
    assert FLAG not in tags(completed)
    assert len(tags(completed)) == 1


@pytest.mark.parametrize("restriction", [FUTURE, {"repetitions": 1}])
def test_the_flag_goes_when_the_placer_moves_the_period_and_may_come_again(
    gateway: Gateway, restriction: dict[str, Any]
) -> None:
    order = placed(gateway, restriction=PAST)
    tell(gateway, gateway.get("Task", order.identifier))

    [moved] = gateway.send(order.update("requested", HOSPITAL, restriction=restriction)).focus

    assert tags(moved) == []
    gateway.send(order.update("requested", HOSPITAL, restriction=PAST))
    task = gateway.get("Task", order.identifier)
    assert tags(tell(gateway, task).focus[0]) == [FLAG]


def test_nobody_flags_an_order_itself(gateway: Gateway) -> None:
    order = placed(gateway, meta={"tag": [FLAG]}, restriction=PAST)
    assert tags(gateway.get("Task", order.identifier).resource) == []
    gateway.send(order.update("accepted", meta={"tag": [FLAG]}))
    assert tags(gateway.get("Task", order.identifier).resource) == []


def test_a_task_that_has_changed_since_is_left(gateway: Gateway) -> None:
    order = placed(gateway, "accepted", restriction=PAST)
    reply = tell(gateway, gateway.get("Task", order.identifier), version=1)
    assert (reply.code, reply.focus) == ("ok", [])
    assert gateway.get("Task", order.identifier).version == 2


def test_an_order_that_has_time_is_left(gateway: Gateway) -> None:
    order = placed(gateway, restriction=FUTURE)
    assert tell(gateway, gateway.get("Task", order.identifier)).focus == []


def test_an_order_that_has_ended_is_left(expiring: Gateway) -> None:
    order = placed(expiring, "accepted", "in-progress", "completed", restriction=PAST)
    task = expiring.get("Task", order.identifier)
    assert deadline_of(task.resource, EXPIRING, datetime.now(UTC)) is None
    assert tell(expiring, task).focus == []


def test_by_a_policy_that_says_so_an_order_expires_and_with_it_what_is_open_about_it(expiring: Gateway) -> None:
    order = placed(expiring, "accepted", "in-progress", restriction=PAST)
    expiring.send(order.cancellation_request())

    reply = tell(expiring, expiring.get("Task", order.identifier))

    assert (reply.code, reply.outcomes) == ("ok", ["expired", "expired"])
    task, request = reply.focus
    assert (task["status"], request["status"]) == ("failed", "rejected")
    assert task["statusReason"]["coding"][0]["code"] == "expired"
    assert request["statusReason"]["coding"][0]["code"] == "expired"
    assert tags(task) == []
    late = expiring.send(order.cancellation_request("accepted"))
    assert (late.code, late.outcomes) == ("fatal-error", ["expired"])
    assert expiring.send(order.update("completed")).code == "fatal-error"


def test_an_order_that_expires_as_cancelled_completes_its_cancellation_request(database_url: str) -> None:
    policy = replace(TERMS.policy, expiry=Expiry("expire", "cancelled", timedelta(0)))
    gateway = Gateway(database_url, replace(TERMS, policy=policy))
    order = placed(gateway, "accepted", "in-progress", restriction=PAST)
    gateway.send(order.cancellation_request())
    assert [task["status"] for task in tell(gateway, gateway.get("Task", order.identifier)).focus] == [
        "cancelled",
        "completed",
    ]
    assert gateway.send(order.cancellation_request()).outcomes == ["expired"]
    gateway.close()


def test_a_cancellation_request_whose_order_does_not_come_is_rejected(gateway: Gateway) -> None:
    gateway.send_all("cancellation-request__requested")

    reply = tell(gateway, gateway.get("Task", CANCELLATION))

    [request] = reply.focus
    assert request["status"] == "rejected"
    assert request["statusReason"]["coding"][0]["code"] == "no-such-order"
    again = gateway.send(message("cancellation-request__requested"))
    assert (again.code, again.outcomes) == ("ok", ["no-such-order"])
    placed_late = gateway.send(message("new-order__prescription"))
    assert (placed_late.outcomes, [task["status"] for task in placed_late.focus]) == ([], ["requested"])
    assert gateway.get("Task", CANCELLATION).resource["status"] == "rejected"


def test_one_whose_order_came_unseen_has_its_effect(gateway: Gateway, database_url: str) -> None:
    gateway.send_all("cancellation-request__requested")
    keep_unchecked(database_url, message("new-order__prescription"))
    reply = tell(gateway, gateway.get("Task", CANCELLATION))
    assert reply.outcomes == ["cancelled"]
    assert [task["status"] for task in reply.focus] == ["completed", "cancelled"]


def test_one_whose_order_has_come_is_left(gateway: Gateway) -> None:
    gateway.send_all("cancellation-request__requested", "new-order__prescription")
    request = gateway.get("Task", CANCELLATION)
    assert tell(gateway, request).focus == []
    assert tell(gateway, request, version=1).focus == []


def test_the_clock_is_nobody_elses(gateway: Gateway) -> None:
    order = placed(gateway, restriction=PAST)
    task = gateway.get("Task", order.identifier)
    bundle = deadline_message(task.id, task.version, OURSELVES.base_url, OURSELVES.endpoint, datetime.now(UTC))

    reply = gateway.send(sent_by(HOSPITAL, bundle))

    assert [issue["code"] for issue in reply.issues] == ["forbidden"]
    assert gateway.get("Task", order.identifier).version == task.version


@pytest.mark.parametrize("focus", [[{"reference": f"{OURSELVES.base_url}/Task/none/_history/1"}], [{"display": "?"}]])
def test_the_deadline_of_nothing_does_nothing(gateway: Gateway, focus: list[dict[str, Any]]) -> None:
    bundle = deadline_message("none", 1, OURSELVES.base_url, OURSELVES.endpoint, datetime.now(UTC))
    bundle["entry"][0]["resource"]["focus"] = focus
    assert gateway.send(bundle).focus == []
