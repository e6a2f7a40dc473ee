"""A cancellation request that overtakes its order is held for it, and is neither lost nor applied twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.fhir.task.deadlines import deadline_of
from tests.handlers import CANCELLATION, ORDER, OURSELVES, Gateway, keep_unchecked, message, task_of
from tests.orders import HOSPITAL, PHARMACY, Party, organization, sent_by
from tests.terms import TERMS

STRANGER = "CLINIC-9", "urn:example:clinic"
BY_IDENTIFIER = {"type": "Task", "identifier": {"system": ORDER[0], "value": ORDER[1]}}
POLICY = TERMS.policy


def overtaking(sender: Party = HOSPITAL, name: str = "requested", **changes: Any) -> dict[str, Any]:
    return sent_by(sender, message(f"cancellation-request__{name}", **changes))


@pytest.mark.parametrize("changes", [{}, {"focus": BY_IDENTIFIER}])
def test_it_is_held_and_has_its_effect_when_the_order_comes(gateway: Gateway, changes: dict[str, Any]) -> None:
    held = gateway.send(overtaking(**changes))
    assert (held.code, held.outcomes) == ("ok", ["held"])
    assert [task["status"] for task in held.focus] == ["requested"]
    assert gateway.find("Task", ORDER) is None

    placed = gateway.send(message("new-order__prescription"))

    assert (placed.code, placed.outcomes) == ("ok", ["cancelled"])
    order, request = placed.focus
    assert (order["status"], request["status"]) == ("cancelled", "completed")
    assert order["statusReason"] == {"text": "The patient is allergic to penicillin"}
    assert request["focus"]["reference"] == f"Task/{order['id']}"
    assert request["output"][0]["valueReference"] == {"reference": f"Task/{order['id']}"}
    assert gateway.get("Task", ORDER).version == 1
    assert gateway.send(overtaking()).outcomes == ["cancelled"]
    assert gateway.send(message("order-update__accepted")).code == "fatal-error"


def test_its_parties_are_those_of_the_order_when_that_comes(gateway: Gateway) -> None:
    asked = overtaking()
    del task_of(asked)["requester"], task_of(asked)["owner"]
    gateway.send(asked)
    order, request = gateway.send(message("new-order__prescription")).focus
    assert (request["requester"], request["owner"]) == (order["requester"], order["owner"])


def test_a_repeat_is_held_once(gateway: Gateway) -> None:
    for _ in range(2):
        assert gateway.send(overtaking()).outcomes == ["held"]
    assert gateway.get("Task", CANCELLATION).version == 1
    assert gateway.send(message("new-order__prescription")).outcomes == ["cancelled"]


def test_a_second_one_of_the_same_sender_is_refused_while_one_is_held(gateway: Gateway) -> None:
    gateway.send(overtaking())
    reply = gateway.send(overtaking(name="second"))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["already-pending"])
    assert "|CXL-1001" in reply.text
    assert gateway.send(overtaking(name="withdrawn")).outcomes == ["withdrawn"]
    assert gateway.send(overtaking(name="second")).outcomes == ["held"]


def test_one_that_was_withdrawn_does_nothing_to_the_order(gateway: Gateway) -> None:
    gateway.send(overtaking())
    assert gateway.send(overtaking(name="withdrawn")).outcomes == ["withdrawn"]
    placed = gateway.send(message("new-order__prescription"))
    assert (placed.outcomes, [task["status"] for task in placed.focus]) == ([], ["requested"])
    assert gateway.get("Task", CANCELLATION).resource["status"] == "cancelled"


@pytest.mark.parametrize("name", ["accepted", "rejected", "received", "withdrawn"])
@pytest.mark.parametrize("sender", [PHARMACY, STRANGER])
def test_nobody_else_answers_or_withdraws_what_is_held(gateway: Gateway, name: str, sender: Party) -> None:
    asked = overtaking()
    del task_of(asked)["owner"]
    gateway.send(asked)
    assert [issue["code"] for issue in gateway.send(overtaking(sender, name)).issues] == ["forbidden"]
    assert gateway.get("Task", CANCELLATION).resource["status"] == "requested"


@pytest.mark.parametrize("name", ["accepted", "rejected", "received"])
def test_who_is_asked_has_nothing_to_answer_before_the_order_comes(gateway: Gateway, name: str) -> None:
    gateway.send(overtaking())
    reply = gateway.send(overtaking(PHARMACY, name))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["held"])
    assert gateway.send(message("new-order__prescription")).outcomes == ["cancelled"]


def test_another_than_the_orders_owner_is_not_asked(gateway: Gateway) -> None:
    gateway.send(overtaking(owner=organization(STRANGER[0])))
    order, request = gateway.send(message("new-order__prescription")).focus
    assert request["owner"] == order["owner"]


@pytest.mark.parametrize("sender", [STRANGER, PHARMACY])
def test_one_that_did_not_come_from_the_placer_is_rejected_and_leaves_the_order(
    gateway: Gateway, sender: Party
) -> None:
    claimed = {"requester": organization(HOSPITAL[0])}
    assert gateway.send(overtaking(sender, **claimed)).outcomes == ["held"]
    assert gateway.send(overtaking(name="second")).outcomes == ["held"]

    placed = gateway.send(message("new-order__prescription"))

    assert [task["status"] for task in placed.focus] == ["cancelled", "completed"]
    refused = gateway.get("Task", CANCELLATION).resource
    assert refused["status"] == "rejected"
    assert refused["statusReason"]["coding"][0]["code"] == "not-the-placer"
    assert gateway.send(overtaking(sender)).outcomes == ["not-the-placer"]


def test_one_of_a_stranger_alone_leaves_the_order_as_it_is_placed(gateway: Gateway) -> None:
    gateway.send(overtaking(STRANGER))
    placed = gateway.send(message("new-order__prescription"))
    assert (placed.outcomes, [task["status"] for task in placed.focus]) == ([], ["requested"])


def test_one_whose_order_came_unseen_has_its_effect_when_it_is_sent_again(gateway: Gateway, database_url: str) -> None:
    gateway.send(overtaking())
    keep_unchecked(database_url, message("new-order__prescription"))
    reply = gateway.send(overtaking())
    assert (reply.code, reply.outcomes) == ("ok", ["cancelled"])
    assert [task["status"] for task in reply.focus] == ["completed", "cancelled"]


def test_an_order_that_is_refused_leaves_it_held(gateway: Gateway) -> None:
    gateway.send(overtaking())
    assert gateway.send(message("new-order__prescription", status="completed")).code == "fatal-error"
    assert gateway.send(overtaking()).outcomes == ["held"]
    assert gateway.send(message("new-order__prescription")).outcomes == ["cancelled"]


@pytest.mark.parametrize(
    "focus",
    [
        {"display": "an order"},
        {"reference": "Task/123"},
        {"reference": f"{OURSELVES.base_url}/Task/none"},
        {"type": "ServiceRequest", "identifier": {"system": ORDER[0], "value": "SR-1"}},
        {"identifier": {"system": "urn:x-fhir-gateway:own", "value": "1"}},
    ],
)
def test_what_names_no_order_by_an_identifier_is_not_held(gateway: Gateway, focus: dict[str, Any]) -> None:
    reply = gateway.send(overtaking(focus=focus))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["no-such-order"])
    assert gateway.find("Task", CANCELLATION) is None


def test_without_a_hold_it_is_refused_at_once_and_can_be_sent_again(database_url: str) -> None:
    gateway = Gateway(database_url, replace(TERMS, policy=replace(POLICY, hold=timedelta(0))))
    reply = gateway.send(overtaking())
    assert (reply.code, reply.outcomes) == ("fatal-error", ["no-such-order"])
    assert f"{ORDER[0]}|ORD-1001" in reply.text
    gateway.send_all("new-order__prescription")
    assert gateway.send(overtaking()).outcomes == ["cancelled"]
    gateway.close()


def test_only_so_many_are_held_for_one_order(gateway: Gateway) -> None:
    for number in range(11):
        name = {"identifier": [{"system": CANCELLATION[0], "value": f"X-{number}"}]}
        reply = gateway.send(overtaking((f"CLINIC-{number}", f"urn:example:clinic-{number}"), **name))
        assert reply.outcomes == (["held"] if number < 10 else ["no-such-order"])


def test_it_falls_due_when_the_time_of_the_policy_is_over_and_not_when_its_order_has_come(gateway: Gateway) -> None:
    gateway.send(overtaking())
    held, now = gateway.get("Task", CANCELLATION).resource, datetime.now(UTC)
    assert deadline_of(held, POLICY, now) == now + POLICY.hold
    gateway.send_all("new-order__prescription")
    assert deadline_of(gateway.get("Task", CANCELLATION).resource, POLICY, now) is None
