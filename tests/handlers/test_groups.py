"""Several Requests in one order: by the extension for further focuses, by a group identifier, by a RequestGroup."""

from typing import Any

import pytest

from gateway.fhir.task.elements import FOCUS_EXTENSIONS
from tests.handlers import HOSPITAL as SYSTEM
from tests.handlers import Gateway, Reply
from tests.orders import HOSPITAL, Order, Resource, focus_of

URL = "urn:uuid:7d3c2b10-5c0e-4d2c-9f43-0f436f6a4f9d"
OTHER_URL = "urn:uuid:8e4d3c21-6d1f-4e3d-8a54-1a547a7b5a0e"
FORMS = pytest.mark.parametrize("form", FOCUS_EXTENSIONS)


def second_request(order: Order, **elements: Any) -> Resource:
    """Another Request of the order's prescription, as an entry of its message."""
    request = order.new_order()["entry"][2]["resource"]
    identifier = [{"system": f"{SYSTEM}/prescription", "value": f"RX-SECOND-{order.number}"}]
    return {"fullUrl": URL, "resource": request | {"identifier": identifier} | elements}


def grouped(order: Order, form: str, **elements: Any) -> Resource:
    """An order about two Requests, the second by the extension in one of its forms."""
    also = {"url": form, "valueReference": {"reference": URL}}
    bundle = order.new_order(extension=[also])
    request = second_request(order, **elements)
    parts = {entry["resource"]["resourceType"]: entry["fullUrl"] for entry in bundle["entry"]}
    request["resource"] |= {
        "subject": {"reference": parts["Patient"]},
        "requester": {"reference": parts["Practitioner"]},
    }
    request["resource"]["dispenseRequest"] = {"numberOfRepeatsAllowed": 0}
    bundle["entry"].append(request)
    return bundle


def second(gateway: Gateway, order: Order) -> str:
    return gateway.get("MedicationRequest", (f"{SYSTEM}/prescription", f"RX-SECOND-{order.number}")).reference


def send(gateway: Gateway, *bundles: Resource) -> Reply:
    for bundle in bundles:
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text
    return reply


def about(order: Order, number: str) -> Resource:
    value = f"{number}-{order.number}"
    return {"type": "MedicationRequest", "identifier": {"system": f"{SYSTEM}/prescription", "value": value}}


@FORMS
def test_all_the_requests_of_an_order_are_kept_and_found_from_it(gateway: Gateway, form: str) -> None:
    order = Order()
    [task] = send(gateway, grouped(order, form)).focus
    assert task["extension"] == [{"url": form, "valueReference": {"reference": second(gateway, order)}}]
    assert task["focus"]["reference"] != second(gateway, order)


@FORMS
def test_none_of_them_changes_once_the_order_is_settled(gateway: Gateway, form: str) -> None:
    order = Order()
    [task] = send(gateway, grouped(order, form)).focus

    def with_focus(number: str) -> Resource:
        return order.update("accepted", extension=[{"url": form, "valueReference": about(order, number)}])

    reply = gateway.send(with_focus("RX-1001-1-OTHER"))
    assert (reply.code, reply.places) == ("fatal-error", ["Bundle.entry[1].resource.extension"])
    assert send(gateway, with_focus("RX-SECOND")).focus[0]["extension"] == task["extension"]


@FORMS
def test_they_stay_when_a_message_says_something_else_or_nothing_of_them(gateway: Gateway, form: str) -> None:
    order = Order()
    [task] = send(gateway, grouped(order, form)).focus
    own = [{"url": "http://pharmacy.example/fhir/StructureDefinition/counter", "valueString": "3"}]
    said: list[Resource] = [{}, {"extension": own}, {"focus": about(order, "RX-1001-1")}]
    for elements in said:
        kept = send(gateway, order.update("accepted", **elements)).focus[0]
        assert task["extension"][0] in kept["extension"]
        assert kept["focus"] == task["focus"]


def test_an_order_about_several_requests_is_cancelled_as_one(gateway: Gateway) -> None:
    order = Order()
    send(gateway, grouped(order, FOCUS_EXTENSIONS[0]), order.update("accepted"), order.update("in-progress"))
    pending = send(gateway, order.cancellation_request())
    assert pending.outcomes == ["pending"]
    assert send(gateway, order.cancellation_request("accepted")).outcomes == ["accepted"]
    assert gateway.get("Task", order.identifier).resource["status"] == "cancelled"


def test_requests_of_two_groups_in_one_order_are_warned_of(gateway: Gateway) -> None:
    order, other = Order(), {"system": f"{SYSTEM}/requisition", "value": "REQ-OTHER"}
    reply = send(gateway, grouped(order, FOCUS_EXTENSIONS[0], groupIdentifier=other))
    assert [(issue["severity"], issue["expression"]) for issue in reply.issues] == [
        ("warning", ["Bundle.entry[1].resource.groupIdentifier"])
    ]
    assert "REQ-OTHER" in reply.text


def test_a_request_group_is_kept_with_the_requests_of_its_actions(gateway: Gateway) -> None:
    order = Order()
    bundle = order.new_order()
    actions = {"action": [{"action": [{"resource": {"reference": bundle["entry"][2]["fullUrl"]}}]}]}
    name = {"system": f"{SYSTEM}/group", "value": f"G-{order.number}"}
    group = {"resourceType": "RequestGroup", "identifier": [name], "status": "active", "intent": "order"} | actions
    bundle["entry"].append({"fullUrl": OTHER_URL, "resource": group})
    bundle["entry"][2]["resource"]["intent"] = "option"
    focus_of(bundle)["focus"] = {"reference": OTHER_URL}

    [task] = send(gateway, bundle).focus

    kept = gateway.get("RequestGroup", (name["system"], name["value"]))
    request = gateway.get("MedicationRequest", (f"{SYSTEM}/prescription", f"RX-1001-1-{order.number}"))
    assert task["focus"]["reference"] == kept.reference
    assert kept.resource["action"][0]["action"][0]["resource"]["reference"] == request.reference


@FORMS
def test_a_draft_may_still_be_about_other_requests(gateway: Gateway, form: str) -> None:
    order = Order()
    send(gateway, order.new_order("draft"))
    bundle = grouped(order, form)
    extension, entry = focus_of(bundle)["extension"], bundle["entry"][-1]
    minimal = {name: entry["resource"][name] for name in ("resourceType", "identifier", "status", "intent")}
    patient = {"system": "http://registry.example/identifier/patient", "value": f"9000000017-{order.number}"}
    minimal |= {"medicationCodeableConcept": {"text": "Paracetamol"}, "subject": {"identifier": patient}}
    update = order.update("draft", HOSPITAL, extension=extension)
    update["entry"].append({"fullUrl": URL, "resource": minimal})

    [task] = send(gateway, update).focus

    assert task["extension"] == [{"url": form, "valueReference": {"reference": second(gateway, order)}}]
