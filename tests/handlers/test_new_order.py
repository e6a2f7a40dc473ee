"""new-order: the Task and what it refers to are kept, once."""

import pytest

from tests.handlers import HOSPITAL, ORDER, Gateway, message, task_of
from tests.orders import PHARMACY, Order, Resource, organization

REGISTRY = "http://registry.example/identifier"
STRANGER = "NOBODY-9", "urn:demo:nobody"
PARTS = [
    ("Task", ORDER),
    ("MedicationRequest", (f"{HOSPITAL}/prescription", "RX-1001-1")),
    ("Patient", (f"{REGISTRY}/patient", "9000000017")),
    ("Practitioner", (f"{REGISTRY}/practitioner", "P-0042")),
    ("Organization", (f"{REGISTRY}/organization", "HOSPITAL-1")),
    ("Organization", (f"{REGISTRY}/organization", "PHARMACY-7")),
]


def test_an_order_is_kept_with_all_that_it_refers_to(gateway: Gateway) -> None:
    reply = gateway.send(message("new-order__prescription"))

    assert reply.code == "ok"
    assert reply.issues == []
    kept = {f"{kind} {identifier[1]}": gateway.get(kind, identifier) for kind, identifier in PARTS}
    assert {name: found.version for name, found in kept.items()} == dict.fromkeys(kept, 1)
    task = kept["Task ORD-1001"].resource
    assert reply.focus == [task]
    assert task["focus"]["reference"] == kept["MedicationRequest RX-1001-1"].reference
    assert task["for"]["reference"] == kept["Patient 9000000017"].reference
    request = kept["MedicationRequest RX-1001-1"].resource
    assert request["requester"]["reference"] == kept["Practitioner P-0042"].reference


def test_a_laboratory_order_brings_its_specimen(gateway: Gateway) -> None:
    assert gateway.send(message("new-order__laboratory")).code == "ok"
    assert gateway.get("Specimen", (f"{HOSPITAL}/specimen", "SP-2001")).version == 1


def test_two_orders_share_the_patient_and_the_parties(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "new-order__laboratory")
    prescribed, examined = (gateway.get("Task", (ORDER[0], number)) for number in ("ORD-1001", "LAB-2001"))
    assert prescribed.resource["for"]["reference"] == examined.resource["for"]["reference"]
    assert gateway.get("Patient", (f"{REGISTRY}/patient", "9000000017")).version == 1


def test_what_is_empty_is_neither_kept_nor_sent_back(gateway: Gateway) -> None:
    empty = {"description": "", "note": [], "reasonCode": {"text": ""}}
    kept = gateway.send(message("new-order__prescription", **empty, owner={})).focus[0]
    assert kept.keys().isdisjoint([*empty, "owner"])

    again = gateway.send(message("order-update__accepted", **empty)).focus[0]
    assert again.keys().isdisjoint(empty)
    assert again["status"] == "accepted"


def test_a_draft_may_be_kept(gateway: Gateway) -> None:
    assert gateway.send(message("new-order__draft")).focus[0]["status"] == "draft"


def test_an_order_that_is_known_is_refused_with_its_status_and_what_to_send_instead(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted")

    reply = gateway.send(message("new-order__prescription"))

    assert reply.code == "fatal-error"
    assert [issue["code"] for issue in reply.issues] == ["duplicate"]
    assert reply.places == ["Bundle.entry[1].resource.identifier"]
    for words in ("|ORD-1001", "the status accepted", "order-update", "cancellation-request"):
        assert words in reply.text
    assert gateway.get("Task", ORDER).version == 2


def test_an_order_that_has_ended_is_refused_without_suggesting_to_change_it(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__cancelled")
    reply = gateway.send(message("new-order__prescription"))
    assert "the status cancelled" in reply.text
    assert "order-update" not in reply.text


def test_a_task_without_identifier_is_refused_and_nothing_is_kept(gateway: Gateway) -> None:
    reply = gateway.send(message("new-order__without-identifier"))

    assert reply.code == "fatal-error"
    assert reply.places == ["Bundle.entry[1].resource.identifier"]
    assert gateway.find("Patient", (f"{REGISTRY}/patient", "9000000017")) is None


@pytest.mark.parametrize("status", ["accepted", "completed", "cancelled"])
def test_a_new_task_in_a_later_status_is_refused(gateway: Gateway, status: str) -> None:
    reply = gateway.send(message("new-order__prescription", status=status))
    assert reply.code == "fatal-error"
    assert status in reply.text
    assert "draft, requested, ready" in reply.text


def test_an_order_in_the_name_of_another_partner_is_refused(gateway: Gateway) -> None:
    reply = gateway.send(Order().new_order(sender=STRANGER))
    assert (reply.code, [issue["code"] for issue in reply.issues]) == ("fatal-error", ["forbidden"])
    assert reply.places == ["Bundle.entry[1].resource.requester"]


def test_a_coordinator_places_the_order_of_a_client_that_does_not_speak_for_itself(gateway: Gateway) -> None:
    order = Order()
    reply = gateway.send(order.new_order(sender=STRANGER, requester=organization("CLIENT-4")))
    assert reply.code == "ok"
    assert gateway.send(order.update("cancelled", STRANGER)).code == "ok"


def test_an_identifier_of_anothers_order_is_refused_without_telling_of_it(gateway: Gateway) -> None:
    order = Order()
    gateway.send(order.new_order())
    reply = gateway.send(order.new_order(sender=STRANGER, requester=organization("NOBODY-9")))
    assert [issue["code"] for issue in reply.issues] == ["duplicate"]
    assert "requested" not in reply.text


def test_a_request_of_another_party_is_not_changed_by_a_new_order_about_it(gateway: Gateway) -> None:
    first, second = Order(), Order()
    gateway.send(first.new_order())
    about_the_same = second.new_order(sender=STRANGER, requester=organization("NOBODY-9"))
    about_the_same["entry"][2]["resource"] = first.new_order()["entry"][2]["resource"] | {"status": "on-hold"}

    reply = gateway.send(about_the_same)

    assert reply.code == "ok"
    assert [(issue["severity"], issue["expression"]) for issue in reply.issues][:1] == [
        ("warning", ["Bundle.entry[2].resource"])
    ]
    assert "another party's" in reply.text


def test_a_reference_that_means_no_entry_is_a_warning_beside_the_ok(gateway: Gateway) -> None:
    reply = gateway.send(message("new-order__dangling-reference"))

    assert reply.code == "ok"
    assert [(issue["severity"], issue["code"]) for issue in reply.issues] == [("warning", "not-found")]
    assert reply.places == ["Bundle.entry[2].resource.requester"]


@pytest.mark.parametrize("owner", [{"display": "The pharmacy"}, {"identifier": {"value": "PHARMACY-7"}}])
def test_an_order_whose_owner_nobody_can_be_recognised_as_is_a_warning_and_mended_by_an_update(
    gateway: Gateway, owner: Resource
) -> None:
    order = Order()
    reply = gateway.send(order.new_order(owner=owner))
    [warning] = reply.issues
    assert (reply.code, warning["severity"]) == ("ok", "warning")
    assert warning["expression"] == ["Bundle.entry[1].resource.owner"]
    assert "Task.owner.identifier" in warning["details"]["text"]
    assert gateway.send(order.update("accepted")).code == "fatal-error"
    mended = gateway.send(order.update("requested", owner=organization(PHARMACY[0])))
    assert (mended.code, mended.issues) == ("ok", [])
    assert gateway.send(order.update("accepted")).code == "ok"


def test_two_tasks_of_different_groups_in_focus_are_refused(gateway: Gateway) -> None:
    two = message("new-order__prescription")
    group = {"system": f"{HOSPITAL}/group", "value": "GRP-1009"}
    other = {**task_of(two), "identifier": [{"system": ORDER[0], "value": "ORD-1009"}], "groupIdentifier": group}
    two["entry"].append({"fullUrl": "urn:uuid:5c0e3d2c-0f43-4d5c-9f0c-6f6a4f9d2b10", "resource": other})
    two["entry"][0]["resource"]["focus"].append({"reference": two["entry"][-1]["fullUrl"]})

    reply = gateway.send(two)

    assert reply.code == "fatal-error"
    assert "one message for each" in reply.text
    assert gateway.find("Task", ORDER) is None


def test_a_focus_that_is_not_in_the_bundle_or_no_task_is_refused_with_its_place(gateway: Gateway) -> None:
    for focus in ("urn:uuid:5c0e3d2c-0f43-4d5c-9f0c-6f6a4f9d2b10", "the-request"):
        wrong = message("new-order__prescription")
        target = wrong["entry"][2]["fullUrl"] if focus == "the-request" else focus
        wrong["entry"][0]["resource"]["focus"] = [{"reference": target}]
        reply = gateway.send(wrong)
        assert reply.code == "fatal-error"
        assert reply.places == ["Bundle.entry[0].resource.focus[0]"]


def test_an_order_that_is_part_of_one_that_is_not_known_is_refused_and_nothing_is_kept(gateway: Gateway) -> None:
    url = "urn:uuid:5c0e3d2c-0f43-4d5c-9f0c-6f6a4f9d2b10"
    code = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]}
    for number, changes in (("ORD-1009", {"code": code}), (ORDER[1], {"status": "completed"})):
        order = message("new-order__prescription", partOf=[{"reference": url}])
        other = {
            "resourceType": "Task",
            "identifier": [{"system": ORDER[0], "value": number}],
            "status": "requested",
            "intent": "order",
        }
        order["entry"].append({"fullUrl": url, "resource": other | changes})
        reply = gateway.send(order)
        assert reply.code == "fatal-error"
        assert len(reply.places) == 1
        assert gateway.find("Task", (ORDER[0], number)) is None
    assert gateway.find("Task", ORDER) is None


def test_an_identifier_that_only_the_gateway_gives_is_none(gateway: Gateway) -> None:
    own = [{"system": "urn:x-fhir-gateway:x", "value": "1"}]
    reply = gateway.send(message("new-order__prescription", identifier=own))
    assert reply.places == ["Bundle.entry[1].resource.identifier"]
