"""A request about an order that names it by the identifier of its group (a requisition, a prescription)."""

from typing import Any

import pytest

from tests.handlers import HOSPITAL as SYSTEM
from tests.handlers import Gateway, message, task_of
from tests.orders import HOSPITAL, PHARMACY, Order, Party, Resource, sent_by

STRANGER = "NOBODY-9", "urn:demo:nobody"
BEGUN = ("accepted", "in-progress")


def group(order: Order) -> Resource:
    return {"system": f"{SYSTEM}/requisition", "value": f"REQ-1001-{order.number}"}


def placed(gateway: Gateway, *moves: str, **elements: Any) -> Order:
    order = Order()
    for bundle in (order.new_order(**elements), *(order.update(status) for status in moves)):
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text
    return order


def asked(name: str, order: Order, sender: Party = HOSPITAL, **focus: Any) -> Resource:
    """A request whose focus is the group of an order, with other elements; the order itself is not in the message."""
    own = [{"system": f"{SYSTEM}/request", "value": order.number}]
    bundle = message(name, identifier=own, focus={"identifier": group(order)} | focus)
    for element in ("requester", "owner"):
        task_of(bundle).pop(element, None)
    return sent_by(sender, bundle)


def codes(gateway: Gateway, bundle: Resource) -> list[str]:
    """Of a message that is refused."""
    reply = gateway.send(bundle)
    assert reply.code == "fatal-error"
    return [issue["code"] for issue in reply.issues]


@pytest.mark.parametrize("focus", [{}, {"type": "MedicationRequest"}, {"type": "Task"}])
def test_a_modification_request_is_about_the_order_of_the_group(gateway: Gateway, focus: Resource) -> None:
    order = placed(gateway, *BEGUN)
    bundle = asked("modification-request__suspend", order, **focus)

    reply = gateway.send(bundle)

    assert reply.code == "ok", reply.text
    request, about = reply.focus
    assert about == gateway.get("Task", order.identifier).resource
    assert request["focus"]["reference"] == f"Task/{about['id']}"
    assert request["focus"].get("type", "Task") == "Task"
    own = task_of(bundle)["identifier"]
    answer = message("modification-request__accepted", identifier=own)
    assert [task["status"] for task in gateway.send(answer).focus] == ["completed", "on-hold"]
    assert gateway.send(asked("modification-request__suspend", order, **focus)).code == "ok", "it is sent again"


@pytest.mark.parametrize(("moves", "outcome"), [((), "cancelled"), (BEGUN, "pending")])
def test_a_cancellation_request_is_about_the_order_of_the_group(
    gateway: Gateway, moves: tuple[str, ...], outcome: str
) -> None:
    order = placed(gateway, *moves)
    for _ in range(2):
        reply = gateway.send(asked("cancellation-request__requested", order))
        assert (reply.code, reply.outcomes) == ("ok", [outcome]), reply.text
    assert reply.focus[1]["id"] == gateway.get("Task", order.identifier).id


def test_a_fulfiller_proposes_to_cancel_what_the_order_of_the_group_is_about(gateway: Gateway) -> None:
    order = placed(gateway)
    reply = gateway.send(asked("cancellation-request__proposal", order, PHARMACY))
    assert (reply.code, reply.outcomes) == ("ok", ["pending"])
    assert [resource["resourceType"] for resource in reply.focus] == ["Task", "MedicationRequest"]


@pytest.mark.parametrize("name", ["modification-request__suspend", "cancellation-request__requested"])
def test_a_group_of_several_orders_is_refused_and_they_are_named(gateway: Gateway, name: str) -> None:
    order = placed(gateway, *BEGUN)
    other = placed(gateway, *BEGUN, groupIdentifier=group(order))

    reply = gateway.send(asked(name, order))

    assert [(issue["code"], issue["expression"]) for issue in reply.issues] == [
        ("multiple-matches", ["Bundle.entry[1].resource.focus.identifier"])
    ]
    assert all(one.identifier[1] in reply.text for one in (order, other))
    assert gateway.send(other.update("completed")).code == "ok"
    assert gateway.send(asked(name, order)).code == "ok", "the other one has ended"


@pytest.mark.parametrize("name", ["modification-request__suspend", "modification-request__change"])
def test_the_orders_of_a_group_are_its_parties_alone(gateway: Gateway, name: str) -> None:
    order = placed(gateway, *BEGUN)
    placed(gateway, *BEGUN, groupIdentifier=group(order))
    assert codes(gateway, asked(name, order, STRANGER)) == ["not-found"]


def test_a_bystander_cancels_no_order_by_its_group(gateway: Gateway) -> None:
    order = placed(gateway)
    assert gateway.send(asked("cancellation-request__requested", order, STRANGER)).outcomes == ["held"]
    assert gateway.get("Task", order.identifier).resource["status"] == "requested"


def test_a_group_without_a_system_is_nobodys(gateway: Gateway) -> None:
    order = placed(gateway, *BEGUN)
    focus = {"identifier": {"value": group(order)["value"]}}
    assert codes(gateway, asked("modification-request__suspend", order, **focus)) == ["not-found"]


def test_the_group_of_an_order_that_has_ended_is_answered_by_that(gateway: Gateway) -> None:
    order = placed(gateway, *BEGUN, "completed")
    reply = gateway.send(asked("cancellation-request__requested", order))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["too-late-completed"])
