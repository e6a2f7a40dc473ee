"""resource-update: a Request, a report, a dispense: kept, changed by who created it, and known to those it concerns."""

from typing import Any

import pytest

from gateway import indexed
from tests.handlers import HOSPITAL as SYSTEM
from tests.handlers import Gateway
from tests.orders import HOSPITAL, PHARMACY, Order, Party, Resource, focus_of, organization, renewed, sent_by
from tests.senders import Sender

STRANGER = "NOBODY-9", "urn:demo:nobody"
EVENT = {"system": "urn:x-fhir-gateway:message-event"}


@pytest.fixture
def order(gateway: Gateway) -> Order:
    order = Order()
    assert gateway.send(order.new_order()).code == "ok"
    return order


def update(resource: Resource, sender: Party = HOSPITAL) -> Resource:
    return sent_by(sender, Sender().write("resource-update", resource, **EVENT))


def prescription(order: Order, **elements: Any) -> Resource:
    """The order's Request, without what else its message has."""
    patient = {"system": "http://registry.example/identifier/patient", "value": f"9000000017-{order.number}"}
    return {
        "resourceType": "MedicationRequest",
        "identifier": [{"system": f"{SYSTEM}/prescription", "value": f"RX-1001-1-{order.number}"}],
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "Amoxicillin 500 mg capsules"},
        "subject": {"type": "Patient", "identifier": patient},
        **elements,
    }


def dispense(order: Order, status: str) -> Resource:
    identifier = prescription(order)["identifier"][0]
    return {
        "resourceType": "MedicationDispense",
        "identifier": [{"system": "http://pharmacy.example/identifier/dispense", "value": f"D-{order.number}"}],
        "status": status,
        "medicationCodeableConcept": {"text": "Amoxicillin 500 mg capsules"},
        "subject": prescription(order)["subject"],
        "authorizingPrescription": [{"type": "MedicationRequest", "identifier": identifier}],
    }


def kinds(focus: list[Resource]) -> list[str]:
    return [resource["resourceType"] for resource in focus]


def test_a_request_is_changed_by_who_created_it_and_its_orders_are_named(gateway: Gateway, order: Order) -> None:
    reply = gateway.send(update(prescription(order, note=[{"text": "With food"}])))
    assert reply.code == "ok", reply.text
    assert kinds(reply.focus) == ["MedicationRequest", "Task"]
    assert reply.focus[0]["meta"]["versionId"] == "2"
    assert reply.focus[0]["note"] == [{"text": "With food"}]
    assert reply.focus[1] == gateway.get("Task", order.identifier).resource


def test_the_same_again_makes_no_new_version(gateway: Gateway, order: Order) -> None:
    first = update(prescription(order))
    gateway.send(first)
    assert gateway.send(renewed(first)).focus[0]["meta"]["versionId"] == "2"


@pytest.mark.parametrize("sender", [PHARMACY, STRANGER])
def test_another_partys_request_is_not_changed(gateway: Gateway, order: Order, sender: Party) -> None:
    reply = gateway.send(update(prescription(order, status="on-hold"), sender))
    assert (reply.code, [issue["code"] for issue in reply.issues]) == ("fatal-error", ["forbidden"])
    assert "modification request" in reply.text
    assert gateway.get("MedicationRequest", (f"{SYSTEM}/prescription", f"RX-1001-1-{order.number}")).version == 1


def test_a_request_that_is_revoked_does_not_end_its_order(gateway: Gateway, order: Order) -> None:
    reply = gateway.send(update(prescription(order, status="stopped")))
    assert [(issue["severity"], issue["expression"]) for issue in reply.issues] == [
        ("warning", ["Bundle.entry[1].resource.status"])
    ]
    assert order.identifier[1] in reply.text
    assert gateway.get("Task", order.identifier).resource["status"] == "requested"


def test_a_request_is_revoked_however_many_orders_others_have_placed_about_it(
    gateway: Gateway, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed, "MOST", 0)
    reply = gateway.send(update(prescription(order, status="stopped")))
    assert (reply.code, [issue["code"] for issue in reply.issues]) == ("ok", ["too-costly"])
    assert reply.focus[0]["status"] == "stopped"


def test_a_request_whose_order_has_ended_is_revoked_without_a_warning(gateway: Gateway, order: Order) -> None:
    gateway.send(order.update("cancelled"))
    assert gateway.send(update(prescription(order, status="stopped"))).issues == []


def test_a_dispense_is_new_and_then_changed_and_shows_its_fulfiller_the_order(gateway: Gateway, order: Order) -> None:
    for number, status in enumerate(("preparation", "completed"), start=1):
        reply = gateway.send(update(dispense(order, status), PHARMACY))
        assert kinds(reply.focus) == ["MedicationDispense", "Task"]
        assert (reply.focus[0]["status"], reply.focus[0]["meta"]["versionId"]) == (status, str(number))
    assert gateway.send(update(dispense(order, "cancelled"))).code == "fatal-error"


def test_who_is_no_party_of_an_order_does_not_see_it_by_a_dispense_of_its_own(gateway: Gateway, order: Order) -> None:
    assert kinds(gateway.send(update(dispense(order, "completed"), STRANGER)).focus) == ["MedicationDispense"]


def test_a_task_is_not_changed_so(gateway: Gateway, order: Order) -> None:
    task = order.update("accepted")["entry"][1]["resource"]
    reply = gateway.send(update(task, PHARMACY))
    assert (reply.code, reply.places) == ("fatal-error", ["Bundle.entry[0].resource.focus[0]"])
    assert gateway.get("Task", order.identifier).resource["status"] == "requested"


def test_two_resources_in_focus_are_refused(gateway: Gateway, order: Order) -> None:
    both = Sender().write("resource-update", prescription(order), dispense(order, "completed"), **EVENT)
    reply = gateway.send(sent_by(HOSPITAL, both))
    assert [issue["code"] for issue in reply.issues] == ["not-supported"]


@pytest.mark.parametrize(
    ("status", "has_become", "outcome"),
    [
        ("cancelled", "completed", "accepted"),
        ("stopped", "completed", "accepted"),
        ("entered-in-error", "completed", "accepted"),
        ("completed", "rejected", "too-late-completed"),
    ],
)
@pytest.mark.parametrize("beside", ["order-update", "resource-update", "answer"])
def test_a_proposal_to_cancel_a_request_ends_with_it(
    gateway: Gateway, order: Order, beside: str, status: str, has_become: str, outcome: str
) -> None:
    proposal = order.cancellation_request(sender=PHARMACY)
    name = prescription(order)["identifier"][0]
    parties = {"requester": organization(PHARMACY[0]), "owner": organization(HOSPITAL[0])}
    about = {"type": "MedicationRequest", "identifier": name}
    focus_of(proposal).update(parties, intent="proposal", focus=about)
    [asked, _] = gateway.send(proposal).focus
    ended = prescription(order, status=status)
    if beside == "resource-update":
        bundle = update(ended)
    elif beside == "order-update":
        bundle = order.update("requested", HOSPITAL, focus={"reference": "urn:uuid:9"}, priority="stat")
    else:
        bundle = sent_by(HOSPITAL, renewed(proposal))
        focus_of(bundle).update(status="received", focus={"reference": "urn:uuid:9"})
    if beside != "resource-update":
        bundle["entry"].append({"fullUrl": "urn:uuid:9", "resource": ended})

    reply = gateway.send(bundle)

    assert reply.code == "ok", reply.text
    assert outcome in reply.outcomes
    assert [task["status"] for task in reply.focus if task["id"] == asked["id"]] == [has_become]
    again = gateway.send(renewed(proposal))
    assert (again.code, again.outcomes) == ("ok", [outcome])
