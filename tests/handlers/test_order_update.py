"""order-update: the order moves by its state machine, takes what the message has, and keeps the rest."""

from typing import Any

import pytest

from tests.handlers import HOSPITAL, ORDER, OURSELVES, Gateway, message, task_of
from tests.orders import HOSPITAL as HOSPITAL_SENDS
from tests.orders import PHARMACY as PHARMACY_SENDS
from tests.orders import Order, header_of, organization, renewed, sent_by

PHARMACY = "http://pharmacy.example/identifier"
PRESCRIPTION = f"{HOSPITAL}/prescription", "RX-1001-1"
PATIENT = "http://registry.example/identifier/patient", "9000000017"


def named(kind: str, identifier: tuple[str, str]) -> dict[str, object]:
    return {"type": kind, "identifier": {"system": identifier[0], "value": identifier[1]}}


def test_an_update_moves_the_order_and_leaves_what_it_does_not_mention(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    placed = gateway.get("Task", ORDER).resource

    reply = gateway.send(message("order-update__accepted"))

    assert reply.code == "ok"
    assert reply.issues == []
    [task] = reply.focus
    assert task == gateway.get("Task", ORDER).resource
    assert task["status"] == "accepted"
    assert task["businessStatus"] == {"text": "Queued for dispensing"}
    assert task["meta"]["versionId"] == "2"
    for untouched in ("id", "focus", "for", "requester", "owner", "description", "authoredOn", "restriction"):
        assert task[untouched] == placed[untouched]


def test_an_identifier_that_a_party_adds_is_one_the_order_is_found_by(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted")
    own = {"system": f"{PHARMACY}/dispensing-order", "value": "D-5005"}

    reply = gateway.send(message("order-update__in-progress", identifier=[own]))

    assert reply.code == "ok"
    assert [identifier["value"] for identifier in reply.focus[0]["identifier"]] == ["ORD-1001", "D-5005"]


def test_a_message_that_changes_nothing_makes_no_new_version(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted")
    reply = gateway.send_all("order-update__accepted")
    assert reply.focus[0]["meta"]["versionId"] == "2"


def test_the_same_status_again_may_change_other_elements(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted")
    reply = gateway.send(message("order-update__accepted", businessStatus={"text": "Waiting for the patient"}))
    assert reply.focus[0]["businessStatus"] == {"text": "Waiting for the patient"}
    assert reply.focus[0]["meta"]["versionId"] == "3"


def test_a_reason_goes_with_the_status_it_was_given_for(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted", "order-update__in-progress")
    assert "statusReason" in gateway.send_all("order-update__on-hold").focus[0]
    assert "statusReason" not in gateway.send_all("order-update__in-progress").focus[0]


def test_what_came_of_an_order_is_kept_with_it(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted", "order-update__in-progress")

    [task] = gateway.send_all("order-update__completed").focus

    dispense = gateway.get("MedicationDispense", (f"{PHARMACY}/dispense", "DSP-5005"))
    assert task["output"][0]["valueReference"]["reference"] == dispense.reference
    assert dispense.resource["subject"]["reference"] == task["for"]["reference"]


def test_a_report_is_kept_with_its_results_and_their_digits(gateway: Gateway) -> None:
    gateway.send_all("new-order__laboratory")
    for status in ("accepted", "in-progress"):
        assert gateway.send(message("order-update__laboratory-report", status=status)).code == "ok"
    gateway.send_all("order-update__laboratory-report")
    result = gateway.get("Observation", ("http://laboratory.example/identifier/result", "R-3001-1"))
    assert b'"value":3.10,' in result.content


def test_a_request_that_another_party_created_is_not_changed_by_an_update(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    update = message("order-update__accepted")
    changed = {
        "resourceType": "MedicationRequest",
        "identifier": [{"system": PRESCRIPTION[0], "value": PRESCRIPTION[1]}],
        "status": "stopped",
        "intent": "order",
        "medicationCodeableConcept": {"text": "something else"},
        "subject": named("Patient", PATIENT),
    }
    update["entry"].append({"fullUrl": "urn:uuid:8d8e9ad5-0a7f-4f5e-9d7c-3a3a4f5b6c7d", "resource": changed})
    task_of(update)["focus"] = {"reference": update["entry"][-1]["fullUrl"]}

    reply = gateway.send(update)

    assert reply.code == "ok"
    assert [issue["severity"] for issue in reply.issues] == ["warning"]
    assert "modification request" in reply.text
    kept = gateway.get("MedicationRequest", PRESCRIPTION)
    assert (kept.version, kept.resource["status"]) == (1, "active")


def test_an_unknown_order_is_refused_with_the_identifiers_that_were_tried(gateway: Gateway) -> None:
    reply = gateway.send(message("order-update__accepted"))
    assert reply.code == "fatal-error"
    assert [issue["code"] for issue in reply.issues] == ["not-found"]
    assert reply.places == ["Bundle.entry[1].resource.identifier"]
    assert f"{ORDER[0]}|ORD-1001" in reply.text
    assert f"{PHARMACY}/dispensing-order|D-5005" in reply.text
    assert gateway.find("Task", ORDER) is None


def test_an_update_without_identifier_is_told_to_have_one(gateway: Gateway) -> None:
    update = message("order-update__accepted")
    del task_of(update)["identifier"]
    reply = gateway.send(update)
    assert [issue["code"] for issue in reply.issues] == ["required"]


def test_a_move_the_order_cannot_make_is_refused_with_those_it_can(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")

    reply = gateway.send(message("order-update__completed"))

    assert reply.code == "fatal-error"
    assert reply.places == ["Bundle.entry[1].resource.status"]
    assert "requested and cannot become completed" in reply.text
    assert "accepted, then in-progress, then completed" in reply.text
    assert gateway.get("Task", ORDER).version == 1
    assert gateway.find("MedicationDispense", (f"{PHARMACY}/dispense", "DSP-5005")) is None


@pytest.mark.parametrize("before", [[], ["order-update__accepted"]])
def test_an_order_that_has_not_begun_is_cancelled_directly(gateway: Gateway, before: list[str]) -> None:
    gateway.send_all("new-order__prescription", *before)
    [task] = gateway.send_all("order-update__cancelled").focus
    assert task["status"] == "cancelled"
    assert task["statusReason"] == {"text": "Prescribed for the wrong patient"}


@pytest.mark.parametrize(
    "before", [["order-update__in-progress"], ["order-update__in-progress", "order-update__on-hold"]]
)
def test_an_order_that_has_begun_is_not_cancelled_directly(gateway: Gateway, before: list[str]) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted", *before)
    reply = gateway.send(message("order-update__cancelled"))
    assert reply.code == "fatal-error"
    assert "send a cancellation request" in reply.text
    assert gateway.get("Task", ORDER).resource["status"] != "cancelled"


def test_a_rejected_order_keeps_the_reason_and_is_over(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    [task] = gateway.send_all("order-update__rejected").focus
    assert task["statusReason"]["text"] == "The patient reports an allergy to penicillin"
    assert "rejected is final" in gateway.send(message("order-update__accepted")).text


def test_an_order_can_turn_out_to_be_an_error_even_when_completed(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__accepted", "order-update__in-progress")
    gateway.send_all("order-update__completed")
    mistake = message("order-update__in-progress", status="entered-in-error", businessStatus={"text": "Mistake"})
    refused = gateway.send(mistake)
    assert [issue["code"] for issue in refused.issues] == ["forbidden"]
    assert gateway.send(sent_by(HOSPITAL_SENDS, renewed(mistake))).focus[0]["status"] == "entered-in-error"


def test_what_an_order_is_about_cannot_change(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    other = {"system": PATIENT[0], "value": "9999999999"}
    somebody = {"type": "Patient", "identifier": other}

    reply = gateway.send(message("order-update__accepted", **{"for": somebody, "intent": "plan", "focus": somebody}))

    assert reply.code == "fatal-error"
    assert sorted(reply.places) == [f"Bundle.entry[1].resource.{name}" for name in ("focus", "for", "intent")]
    assert "9999999999" in reply.text
    assert gateway.get("Task", ORDER).version == 1


def test_the_same_patient_may_be_named_by_identifier_by_an_entry_or_as_the_gateway_does(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    placed = gateway.get("Task", ORDER).resource
    with_entry = message("order-update__completed", status="accepted")
    assert gateway.send(with_entry).code == "ok"
    for patient in (named("Patient", PATIENT), placed["for"], {"identifier": named("Patient", PATIENT)["identifier"]}):
        assert gateway.send(message("order-update__accepted", **{"for": patient})).code == "ok"
    assert gateway.get("Task", ORDER).resource["for"] == placed["for"]


def test_a_draft_may_still_be_about_somebody_else(gateway: Gateway) -> None:
    gateway.send_all("new-order__draft")
    ready = {
        "identifier": [{"system": ORDER[0], "value": "ORD-1002"}],
        "status": "requested",
        "for": {"type": "Patient", "identifier": {"system": PATIENT[0], "value": "9000000025"}},
    }
    sent_on = sent_by(HOSPITAL_SENDS, message("order-update__accepted", **ready))
    reply = gateway.send(sent_on)
    assert reply.code == "ok"
    assert reply.focus[0]["for"]["identifier"]["value"] == "9000000025"
    task_of(sent_on)["for"] = named("Patient", PATIENT)
    assert gateway.send(renewed(sent_on)).code == "fatal-error"


def test_an_order_is_not_modified_before_it_was_authored(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    reply = gateway.send(message("order-update__accepted", lastModified="2026-03-01T00:00:00Z"))
    assert [issue["code"] for issue in reply.issues] == ["invariant"]
    assert reply.places == ["Bundle.entry[1].resource.lastModified"]


def test_identifiers_of_two_orders_mean_neither(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "new-order__laboratory")
    both = [{"system": ORDER[0], "value": number} for number in ("ORD-1001", "LAB-2001")]
    reply = gateway.send(message("order-update__accepted", identifier=both))
    assert [issue["code"] for issue in reply.issues] == ["multiple-matches"]


def told(gateway: Gateway, order: Order, *statuses: str) -> dict[str, Any]:
    """The order after it was placed and has gone through these statuses."""
    for bundle in (order.new_order(), *map(order.update, statuses)):
        reply = gateway.send(bundle)
        assert reply.code == "ok", reply.text
    return reply.focus[0]


STRANGER = "NOBODY-9", "urn:demo:nobody"
TYPE = {"text": "Report"}
AT_WORK = ("accepted", "in-progress")


def result(value: str) -> dict[str, Any]:
    return {"type": TYPE, "valueReference": organization(value)}


def progress(done: int) -> dict[str, Any]:
    return {"type": {"text": "progress"}, "valueString": f"{done} of 10"}


@pytest.mark.parametrize("status", ["requested", "accepted"])
def test_who_is_no_party_of_an_order_learns_and_changes_nothing(gateway: Gateway, status: str) -> None:
    order = Order()
    told(gateway, order)
    reply = gateway.send(order.update(status, STRANGER, note=[{"text": "Mine"}]))
    assert (reply.code, [issue["code"] for issue in reply.issues]) == ("fatal-error", ["forbidden"])
    assert reply.focus == []
    assert gateway.get("Task", order.identifier).version == 1


def test_an_update_by_a_party_that_may_not_make_the_move_names_who_may(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order)
    reply = gateway.send(order.update("accepted", HOSPITAL_SENDS))
    assert [issue["code"] for issue in reply.issues] == ["forbidden"]
    assert "fulfiller" in reply.text


def test_more_information_is_needed_and_comes_as_an_input(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order)
    waiting = {"coding": [{"system": "http://hl7.org/fhir/uv/cow/CodeSystem/temp", "code": "awaiting-information"}]}
    asked = order.update("received", businessStatus=waiting, statusReason={"text": "Which strength?"})
    task = gateway.send(asked).focus[0]
    assert task["statusReason"] == {"text": "Which strength?"}

    answer = {"type": {"text": "Strength"}, "valueString": "500 mg"}
    task = gateway.send(order.update("received", HOSPITAL_SENDS, input=[answer])).focus[0]

    assert task["input"] == [answer]
    assert task["businessStatus"] == waiting
    assert gateway.send(order.update("received", input=[answer | {"valueString": "250 mg"}])).code == "fatal-error"


def test_outputs_are_added_and_none_is_lost_by_a_message_that_names_fewer(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order, *AT_WORK)
    gateway.send(order.update("in-progress", output=[result("A")]))
    gateway.send(order.update("in-progress", output=[result("B")]))
    amended = result("A") | {"type": TYPE, "id": "first"}
    task = gateway.send(order.update("completed", output=[amended])).focus[0]
    assert task["output"] == [amended, result("B")]


def test_an_output_that_is_a_value_is_the_latest_of_its_type(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order, *AT_WORK)
    for done in (4, 5):
        task = gateway.send(order.update("in-progress", output=[progress(done), result("A")])).focus[0]
    assert task["output"] == [result("A"), progress(5)]


def test_notes_of_both_parties_stay(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order)
    gateway.send(order.update("accepted", note=[{"text": "Ready at noon"}]))
    task = gateway.send(order.update("accepted", HOSPITAL_SENDS, note=[{"text": "The patient comes at one"}])).focus[0]
    assert [note["text"] for note in task["note"]] == ["Ready at noon", "The patient comes at one"]


def test_a_completed_order_still_takes_outputs_and_notes_and_nothing_else(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order, *AT_WORK, "completed")

    late = gateway.send(order.update("completed", output=[result("A")], businessStatus={"text": "Amended"}))
    thanks = gateway.send(order.update("completed", HOSPITAL_SENDS, note=[{"text": "Seen"}]))
    other = gateway.send(order.update("completed", statusReason={"text": "Because"}))
    foreign = gateway.send(order.update("completed", HOSPITAL_SENDS, output=[result("B")]))

    assert (late.code, thanks.code) == ("ok", "ok")
    assert thanks.focus[0]["output"] == [result("A")]
    assert (other.code, other.places) == ("fatal-error", ["Bundle.entry[1].resource.statusReason"])
    assert "outputs" in other.text
    assert [issue["code"] for issue in foreign.issues] == ["forbidden"]


@pytest.mark.parametrize("status", ["cancelled", "rejected"])
def test_an_order_that_came_to_nothing_takes_notes_only(gateway: Gateway, status: str) -> None:
    order = Order()
    told(gateway, order, status)
    assert gateway.send(order.update(status, PHARMACY_SENDS, note=[{"text": "Put back"}])).code == "ok"
    reply = gateway.send(order.update(status, PHARMACY_SENDS, output=[result("A")]))
    assert (reply.code, reply.places) == ("fatal-error", ["Bundle.entry[1].resource.output"])


def at_own_address(gateway: Gateway, update: dict[str, Any], order: Order, version: str) -> dict[str, Any]:
    """The update with the Task at the address that the gateway gives it, in that version."""
    kept = gateway.get("Task", order.identifier)
    url = f"{OURSELVES.base_url}/{kept.reference}"
    update["entry"][1]["fullUrl"] = url
    header_of(update)["focus"] = [{"reference": url}]
    task_of(update)["id"] = kept.id
    task_of(update)["meta"] = {"versionId": version}
    return update


def test_an_update_of_an_earlier_version_is_refused_with_both_named(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order, "received")

    stale = gateway.send(at_own_address(gateway, order.update("accepted"), order, "1"))

    assert [issue["code"] for issue in stale.issues] == ["conflict"]
    assert "version 1" in stale.text
    assert "version 2" in stale.text
    assert gateway.send(at_own_address(gateway, order.update("accepted"), order, "2")).code == "ok"


def test_what_version_the_sender_itself_keeps_means_nothing(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order, "received")
    assert gateway.send(order.update("accepted", id="77", meta={"versionId": "1"})).code == "ok"


def test_the_placer_answers_in_the_request_itself(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order, "received")
    request = order.new_order()["entry"][2]
    request["resource"]["note"] = [{"text": "500 mg, as before"}]
    for party in ("subject", "requester"):
        request["resource"][party].pop("reference")
    request["resource"]["dispenseRequest"].pop("performer")
    answer = order.update("received", HOSPITAL_SENDS, focus={"reference": request["fullUrl"]})
    answer["entry"].append(request)

    reply = gateway.send(answer)

    assert reply.code == "ok", reply.text
    kept = gateway.get("MedicationRequest", (PRESCRIPTION[0], f"{PRESCRIPTION[1]}-{order.number}"))
    assert (kept.version, kept.resource["note"]) == (2, [{"text": "500 mg, as before"}])


def test_an_order_whose_request_is_revoked_goes_on_with_a_warning(gateway: Gateway) -> None:
    order = Order()
    told(gateway, order, "received")
    request = order.new_order()["entry"][2]
    minimal = ("resourceType", "identifier", "intent", "medicationCodeableConcept")
    request["resource"] = {name: request["resource"][name] for name in minimal} | {"status": "stopped"}
    request["resource"]["subject"] = named("Patient", (PATIENT[0], f"{PATIENT[1]}-{order.number}"))
    update = order.update("received", HOSPITAL_SENDS, focus={"reference": request["fullUrl"]})
    update["entry"].append(request)

    reply = gateway.send(update)

    assert reply.code == "ok"
    assert [issue["severity"] for issue in reply.issues] == ["warning"]
    assert "goes on" in reply.text
