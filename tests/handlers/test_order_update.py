"""order-update: the order moves by its state machine, takes what the message has, and keeps the rest."""

import pytest

from tests.handlers import HOSPITAL, ORDER, Gateway, message, task_of

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

    assert gateway.send(update).code == "ok"

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
    assert "received, accepted, rejected, cancelled" in reply.text
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
    reply = gateway.send(message("order-update__completed", status="entered-in-error"))
    assert reply.focus[0]["status"] == "entered-in-error"


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
    reply = gateway.send(message("order-update__accepted", **ready))
    assert reply.code == "ok"
    assert reply.focus[0]["for"]["identifier"]["value"] == "9000000025"
    assert gateway.send(message("order-update__accepted", **ready | {"for": named("Patient", PATIENT)})).code != "ok"


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
