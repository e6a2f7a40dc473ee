"""Who has the baton of an order: claimed by who accepts it first, handed over, and never lost."""

from typing import Any

import pytest

from gateway.fhir.versions import from_r4
from tests.handlers import Gateway, Reply
from tests.orders import HOSPITAL, PARTIES, PHARMACY, Order, Party, Resource, header_of, organization

OTHER = "PHARMACY-8", "urn:demo:other-pharmacy"
THIRD = "PHARMACY-9", "urn:demo:third-pharmacy"
OWNER = "Bundle.entry[1].resource.owner"


@pytest.fixture
def order() -> Order:
    return Order()


def send(gateway: Gateway, *bundles: Resource) -> Resource:
    """The Task as the last of these messages leaves it, each of which must be done."""
    for bundle in bundles:
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text
    return reply.focus[0]


def refused(reply: Reply) -> list[tuple[str, str]]:
    assert reply.code == "fatal-error"
    return [(issue["code"], *issue["expression"]) for issue in reply.issues]


def owner_of(task: Resource) -> Any:
    return task["owner"]["identifier"]["value"]


def performers_of(gateway: Gateway, task: Resource) -> list[str]:
    """The earlier owners as a partner of R5 sees them."""
    made, lost = from_r4(task, "R5")
    assert not lost
    actors = [performer["actor"] for performer in made.get("performer", [])]
    pharmacy = gateway.get("Organization", (PARTIES, PHARMACY[0]))
    return [PHARMACY[0] if a.get("reference") == pharmacy.reference else a["identifier"]["value"] for a in actors]


def handed_over(order: Order, to: Party, status: str, sender: Party) -> Resource:
    return order.update(status, sender, owner=organization(to[0]))


@pytest.mark.parametrize("status", ["received", "accepted"])
def test_who_receives_or_accepts_an_order_without_owner_becomes_its_owner(
    gateway: Gateway, order: Order, status: str
) -> None:
    send(gateway, order.new_order(owner=None))

    task = send(gateway, order.update(status, OTHER))

    assert owner_of(task) == OTHER[0]
    assert task["owner"]["identifier"]["system"] == PARTIES
    assert refused(gateway.send(order.update("rejected"))) == [("forbidden", "Bundle.entry[1].resource.status")]
    assert send(gateway, order.update("in-progress" if status == "accepted" else "accepted", OTHER))


def test_a_claim_may_name_its_own_organization_as_owner_and_no_other(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(owner=None))
    assert refused(gateway.send(handed_over(order, THIRD, "accepted", OTHER))) == [("forbidden", OWNER)]
    assert owner_of(send(gateway, handed_over(order, OTHER, "accepted", OTHER))) == OTHER[0]


def test_who_cannot_be_named_cannot_claim_and_is_told_what_to_send(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(owner=None))
    nameless = order.update("accepted", OTHER)
    del header_of(nameless)["sender"]

    reply = gateway.send(nameless)

    assert refused(reply) == [("required", OWNER)]
    assert "MessageHeader.sender" in reply.text
    assert gateway.get("Task", order.identifier).version == 1


def test_nobody_changes_an_order_without_owner_before_claiming_it(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(owner=None))
    reply = gateway.send(order.update("requested", OTHER, note=[{"text": "May I?"}]))
    assert refused(reply) == [("forbidden", OWNER)]
    assert "received or accepted" in reply.text


def test_the_placer_assigns_an_order_that_nobody_has(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(owner=None))
    task = send(gateway, handed_over(order, OTHER, "requested", HOSPITAL))
    assert (owner_of(task), task["status"]) == (OTHER[0], "requested")
    assert "extension" not in task
    assert refused(gateway.send(order.update("accepted"))) == [("forbidden", "Bundle.entry[1].resource.status")]
    assert owner_of(send(gateway, order.update("accepted", OTHER))) == OTHER[0]


def test_the_placer_gives_an_accepted_order_to_another_that_may_reject_it(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(), order.update("accepted", businessStatus={"text": "Queued"}))

    reply = gateway.send(handed_over(order, OTHER, "accepted", HOSPITAL))

    [task] = reply.focus
    assert (owner_of(task), task["status"]) == (OTHER[0], "requested")
    assert "businessStatus" not in task
    assert "requested again" in reply.text
    assert performers_of(gateway, task) == [PHARMACY[0]]
    assert refused(gateway.send(order.update("accepted"))) == [("forbidden", "Bundle.entry[1].resource.status")]
    assert send(gateway, order.update("rejected", OTHER))["status"] == "rejected"


@pytest.mark.parametrize("begun", [["in-progress"], ["in-progress", "on-hold"]])
def test_the_placer_takes_no_order_away_once_work_has_begun(gateway: Gateway, order: Order, begun: list[str]) -> None:
    send(gateway, order.new_order(), order.update("accepted"), *map(order.update, begun))
    reply = gateway.send(handed_over(order, OTHER, begun[-1], HOSPITAL))
    assert refused(reply) == [("forbidden", OWNER)]
    assert "cancellation request" in reply.text


def test_the_owner_hands_the_order_over_while_it_works_on_it(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(), order.update("accepted"), order.update("in-progress"))

    task = send(gateway, handed_over(order, OTHER, "in-progress", PHARMACY))

    assert (owner_of(task), task["status"]) == (OTHER[0], "in-progress")
    assert performers_of(gateway, task) == [PHARMACY[0]]
    assert refused(gateway.send(order.update("completed"))) == [("forbidden", "Bundle.entry[1].resource.status")]
    assert send(gateway, order.update("completed", OTHER))["status"] == "completed"


def test_each_earlier_owner_is_kept_once_and_in_order(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(), order.update("accepted"))
    passed = [(PHARMACY, OTHER), (OTHER, PHARMACY), (PHARMACY, THIRD), (THIRD, OTHER)]
    task = send(gateway, *(handed_over(order, to, "accepted", sender) for sender, to in passed))
    assert performers_of(gateway, task) == [PHARMACY[0], OTHER[0], THIRD[0]]
    assert task["status"] == "accepted"


def test_earlier_owners_stay_whatever_extensions_a_message_has(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(), handed_over(order, OTHER, "requested", HOSPITAL))
    own = [{"url": "http://pharmacy.example/fhir/StructureDefinition/counter", "valueString": "3"}]
    task = send(gateway, order.update("accepted", OTHER, extension=own))
    assert own[0] in task["extension"]
    assert performers_of(gateway, task) == [PHARMACY[0]]


def test_the_same_owner_in_other_words_is_no_hand_over(gateway: Gateway, order: Order) -> None:
    placed = send(gateway, order.new_order())
    task = send(gateway, handed_over(order, PHARMACY, "accepted", PHARMACY))
    assert task["owner"] == placed["owner"]
    assert "extension" not in task


def test_an_owner_that_nobody_can_tell_is_none(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order())
    reply = gateway.send(order.update("requested", HOSPITAL, owner={"display": "The pharmacy round the corner"}))
    assert refused(reply) == [("required", OWNER)]


def test_an_order_that_has_ended_changes_hands_no_more(gateway: Gateway, order: Order) -> None:
    send(gateway, order.new_order(), *map(order.update, ("accepted", "in-progress")))
    assert ("business-rule", OWNER) in refused(gateway.send(handed_over(order, OTHER, "completed", PHARMACY)))
    send(gateway, order.update("completed"))
    assert ("business-rule", OWNER) in refused(gateway.send(handed_over(order, OTHER, "completed", PHARMACY)))
