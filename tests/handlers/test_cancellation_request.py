"""cancellation-request: every way it can go, and that none is lost, doubled, or contradicted by the order."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.fhir.references import Resource
from tests.conftest import ON_EACH_DATABASE
from tests.handlers import CANCELLATION, HOSPITAL, ORDER, OURSELVES, Gateway, keep_unchecked, message, task_of
from tests.orders import HOSPITAL as BY_HOSPITAL
from tests.orders import Order, sent_by
from tests.validity import assert_valid

BEGUN = ("new-order__prescription", "order-update__accepted", "order-update__in-progress")
REASON = {"text": "The patient is allergic to penicillin"}
OPEN_REQUESTS = "urn:x-fhir-gateway:open-cancellation-request"
PROPOSAL = "http://pharmacy.example/identifier/cancellation", "PC-77"


def statuses(gateway: Gateway) -> tuple[str, str]:
    """Of the cancellation request, and of the order."""
    request, order = gateway.get("Task", CANCELLATION), gateway.get("Task", ORDER)
    return request.resource["status"], order.resource["status"]


def of_the_order(**elements: Any) -> dict[str, Any]:
    return {"identifier": [{"system": ORDER[0], "value": ORDER[1]}], **elements}


@pytest.mark.parametrize("before", [[], ["order-update__accepted"]])
def test_an_order_that_has_not_begun_is_cancelled_at_once(gateway: Gateway, before: list[str]) -> None:
    gateway.send_all("new-order__prescription", *before)

    reply = gateway.send(message("cancellation-request__requested"))

    assert reply.code == "ok"
    assert reply.outcomes == ["cancelled"]
    request, order = reply.focus
    assert (request["status"], order["status"]) == ("completed", "cancelled")
    assert order["statusReason"] == REASON
    assert order["lastModified"] > order["authoredOn"]
    assert request["focus"]["reference"] == f"Task/{order['id']}"
    assert request["output"][0]["valueReference"] == {"reference": f"Task/{order['id']}"}


def test_a_draft_is_cancelled_at_once(gateway: Gateway) -> None:
    gateway.send_all("new-order__draft")
    focus = {"type": "Task", "identifier": {"system": ORDER[0], "value": "ORD-1002"}}
    assert gateway.send(message("cancellation-request__second", focus=focus)).outcomes == ["cancelled"]


@pytest.mark.parametrize("before", [(), ("order-update__on-hold",)])
def test_an_order_that_has_begun_stays_as_it_is_until_the_answer(gateway: Gateway, before: tuple[str, ...]) -> None:
    gateway.send_all(*BEGUN, *before)
    as_it_was = gateway.get("Task", ORDER)

    reply = gateway.send(message("cancellation-request__requested"))

    assert reply.code == "ok"
    assert reply.outcomes == ["pending"]
    request, order = reply.focus
    assert request["status"] == "requested"
    assert order == as_it_was.resource
    assert gateway.get("Task", ORDER).version == as_it_was.version


def test_an_accepted_cancellation_cancels_the_order_for_the_reason_it_was_asked_for(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")

    reply = gateway.send(message("cancellation-request__accepted"))

    assert reply.code == "ok"
    assert reply.outcomes == ["accepted"]
    request, order = reply.focus
    assert (request["status"], order["status"]) == ("completed", "cancelled")
    assert order["statusReason"] == REASON
    assert request["output"][0]["type"]["coding"][0]["code"] == "accepted"


def test_a_rejected_cancellation_leaves_the_order_and_keeps_the_reason(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")

    reply = gateway.send(message("cancellation-request__rejected"))

    assert reply.code == "ok"
    assert reply.outcomes == ["rejected"]
    assert "Already handed over to the patient" in reply.text
    assert statuses(gateway) == ("rejected", "in-progress")
    assert reply.focus[0]["statusReason"] == {"text": "Already handed over to the patient"}


def test_a_cancellation_may_be_taken_note_of_before_it_is_answered(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")
    assert gateway.send_all("cancellation-request__received").outcomes == ["pending"]
    assert statuses(gateway) == ("received", "in-progress")
    assert gateway.get("Task", CANCELLATION).resource["statusReason"] == REASON
    assert gateway.send_all("cancellation-request__accepted").outcomes == ["accepted"]
    assert statuses(gateway) == ("completed", "cancelled")
    assert gateway.get("Task", ORDER).resource["statusReason"] == REASON


def test_a_cancellation_may_be_withdrawn_while_it_is_open(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")
    assert gateway.send_all("cancellation-request__withdrawn").outcomes == ["withdrawn"]
    assert statuses(gateway) == ("cancelled", "in-progress")
    assert gateway.send(message("cancellation-request__accepted")).code == "fatal-error"
    assert gateway.send_all("cancellation-request__second").outcomes == ["pending"]


def test_the_answer_is_understood_as_an_order_update_and_without_its_code(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")
    own = {"system": CANCELLATION[0], "value": CANCELLATION[1]}
    later = "2026-03-02T11:00:00+01:00"
    reply = gateway.send(message("order-update__accepted", identifier=[own], lastModified=later))
    assert reply.outcomes == ["accepted"]
    assert statuses(gateway) == ("completed", "cancelled")
    assert "code" in reply.focus[0]


@pytest.mark.parametrize(
    "event",
    [
        {"eventCoding": {"system": "http://hl7.org/fhir/uv/cow/CodeSystem/temp", "code": "new-order"}},
        {"eventCoding": {"system": "http://hospital.example/events", "code": "stop"}},
        {"eventUri": "http://hospital.example/events/stop"},
    ],
)
def test_a_cancellation_is_known_by_its_code_whatever_the_event(gateway: Gateway, event: Resource) -> None:
    gateway.send_all("new-order__prescription")
    asked = message("cancellation-request__requested")
    header = asked["entry"][0]["resource"]
    del header["eventCoding"]
    header.update(event)
    assert gateway.send(asked).outcomes == ["cancelled"]


def test_a_repeat_is_answered_by_the_state_as_it_is_now_and_does_nothing(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    assert gateway.send_all("cancellation-request__requested").outcomes == ["pending"]
    assert gateway.send_all("cancellation-request__requested").outcomes == ["pending"]
    assert gateway.get("Task", CANCELLATION).version == 1
    gateway.send_all("cancellation-request__accepted")
    versions = gateway.get("Task", CANCELLATION).version, gateway.get("Task", ORDER).version

    for name in ("cancellation-request__requested", "cancellation-request__accepted"):
        reply = gateway.send_all(name)
        assert reply.outcomes == ["accepted"]
        assert [task["status"] for task in reply.focus] == ["completed", "cancelled"]
    assert versions == (gateway.get("Task", CANCELLATION).version, gateway.get("Task", ORDER).version)


def test_a_repeat_of_one_that_was_carried_out_at_once_is_answered_as_then(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "cancellation-request__requested")
    version = gateway.get("Task", ORDER).version
    assert gateway.send_all("cancellation-request__requested").outcomes == ["cancelled"]
    assert gateway.get("Task", ORDER).version == version


def test_a_second_cancellation_request_is_refused_while_one_is_open_and_not_after(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")

    reply = gateway.send(message("cancellation-request__second"))

    assert reply.code == "fatal-error"
    assert reply.outcomes == ["already-pending"]
    assert "|CXL-1001" in reply.text
    gateway.send_all("cancellation-request__rejected")
    assert gateway.send_all("cancellation-request__second").outcomes == ["pending"]


def test_it_is_too_late_to_cancel_a_completed_order(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "order-update__completed")
    reply = gateway.send(message("cancellation-request__requested"))
    assert reply.code == "fatal-error"
    assert reply.outcomes == ["too-late-completed"]
    assert reply.places == ["Bundle.entry[1].resource.focus"]
    assert gateway.find("Task", CANCELLATION) is None


@pytest.mark.parametrize(
    ("name", "status", "outcome"),
    [
        ("order-update__cancelled", "cancelled", "already-cancelled"),
        ("order-update__rejected", "rejected", "already-ended"),
        ("order-update__cancelled", "entered-in-error", "already-ended"),
    ],
)
def test_an_order_that_has_ended_is_not_cancelled_again(gateway: Gateway, name: str, status: str, outcome: str) -> None:
    gateway.send_all("new-order__prescription")
    assert gateway.send(message(name, status=status)).code == "ok"
    reply = gateway.send(message("cancellation-request__requested"))
    assert (reply.code, reply.outcomes) == ("fatal-error", [outcome])


@pytest.mark.parametrize(
    ("name", "end", "outcome"),
    [
        ("order-update__completed", "completed", "too-late-completed"),
        ("order-update__completed", "failed", "already-ended"),
        ("order-update__cancelled", "entered-in-error", "already-ended"),
    ],
)
def test_an_order_that_ends_while_the_question_is_open_answers_it(
    gateway: Gateway, name: str, end: str, outcome: str
) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")

    ending = gateway.send(message(name, status=end))

    assert ending.code == "ok"
    assert ending.outcomes == [outcome]
    assert [task["status"] for task in ending.focus] == [end, "rejected"]
    assert statuses(gateway) == ("rejected", end)
    late = gateway.send(message("cancellation-request__accepted"))
    assert (late.code, late.outcomes) == ("fatal-error", [outcome])
    assert gateway.send_all("cancellation-request__requested").outcomes == [outcome]
    assert statuses(gateway) == ("rejected", end)


def test_an_order_that_only_pauses_leaves_the_question_open(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested", "order-update__on-hold")
    assert statuses(gateway) == ("requested", "on-hold")
    assert gateway.send_all("cancellation-request__accepted").outcomes == ["accepted"]


@pytest.mark.parametrize("name", ["accepted", "rejected", "withdrawn"])
def test_an_answer_to_no_question_is_refused(gateway: Gateway, name: str) -> None:
    gateway.send_all(*BEGUN)
    reply = gateway.send(message(f"cancellation-request__{name}"))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["no-such-request"])
    assert reply.places == ["Bundle.entry[1].resource.status"]


def test_an_answer_is_given_once(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested", "cancellation-request__rejected")
    reply = gateway.send(message("cancellation-request__accepted"))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["rejected"])
    assert "rejected and cannot become accepted" in reply.text
    assert statuses(gateway) == ("rejected", "in-progress")


def test_an_answer_about_another_order_is_refused(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "new-order__laboratory", "cancellation-request__requested")
    other = {"type": "Task", "identifier": {"system": ORDER[0], "value": "LAB-2001"}}
    reply = gateway.send(message("cancellation-request__accepted", focus=other))
    assert reply.code == "fatal-error"
    assert reply.places == ["Bundle.entry[1].resource.focus"]
    assert statuses(gateway) == ("requested", "in-progress")


def test_a_request_without_identifier_or_focus_is_told_of_both(gateway: Gateway) -> None:
    asked = message("cancellation-request__requested")
    del task_of(asked)["identifier"], task_of(asked)["focus"]
    reply = gateway.send(asked)
    assert reply.places == [f"Bundle.entry[1].resource.{name}" for name in ("identifier", "focus")]


def test_a_task_without_the_code_is_told_to_have_it(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    asked = message("cancellation-request__requested")
    del task_of(asked)["code"]
    reply = gateway.send(asked)
    assert reply.places == ["Bundle.entry[1].resource.code"]
    assert "abort" in reply.text


def test_the_identifier_of_the_order_is_not_that_of_its_cancellation(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    reply = gateway.send(message("cancellation-request__requested", **of_the_order()))
    assert reply.code == "fatal-error"
    assert reply.places == ["Bundle.entry[1].resource.identifier"]
    assert gateway.get("Task", ORDER).resource["status"] == "requested"


def test_neither_a_patient_nor_a_cancellation_can_be_cancelled(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")
    patient = {"type": "Patient", "identifier": {"system": "http://registry.example/identifier/patient"}}
    patient["identifier"] = {**patient["identifier"], "value": "9000000017"}  # type: ignore[dict-item]
    request = {"type": "Task", "identifier": {"system": CANCELLATION[0], "value": CANCELLATION[1]}}
    for focus, words in ((patient, "A Patient cannot be cancelled"), (request, "a cancellation request itself")):
        reply = gateway.send(message("cancellation-request__second", focus=focus))
        assert reply.code == "fatal-error"
        assert words in reply.text


def test_a_copy_of_the_order_in_the_bundle_does_not_change_the_order(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    asked = message("cancellation-request__requested")
    asked["entry"][2]["resource"] |= {"status": "completed", "description": "something else"}
    gateway.send(asked)
    order = gateway.get("Task", ORDER).resource
    assert (order["status"], order["description"]) == ("in-progress", "Dispense amoxicillin 500 mg capsules, 21")


def test_a_fulfiller_may_propose_to_cancel_the_request(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)

    reply = gateway.send_all("cancellation-request__proposal")

    assert reply.outcomes == ["pending"]
    proposal, prescription = reply.focus
    assert (proposal["status"], proposal["intent"]) == ("requested", "proposal")
    assert proposal["focus"]["reference"] == f"MedicationRequest/{prescription['id']}"
    accepted = gateway.send_all("cancellation-request__proposal-accepted")
    assert accepted.outcomes == ["accepted"]
    assert "who placed the order revokes it" in accepted.text
    assert [resource["status"] for resource in accepted.focus] == ["accepted", "active"]
    assert gateway.get("Task", ORDER).resource["status"] == "in-progress"


def test_a_proposal_for_a_request_that_was_cancelled_is_refused(gateway: Gateway) -> None:
    order = message("new-order__prescription")
    order["entry"][2]["resource"]["status"] = "cancelled"
    gateway.send(order)
    reply = gateway.send(message("cancellation-request__proposal"))
    assert (reply.code, reply.outcomes) == ("fatal-error", ["already-cancelled"])
    assert gateway.find("Task", PROPOSAL) is None


@ON_EACH_DATABASE
def test_a_cancellation_that_comes_many_times_at_once_has_one_effect(gateway: Gateway, database_url: str) -> None:
    gateway.send_all("new-order__prescription")
    senders = [Gateway(database_url) for _ in range(4)]
    with ThreadPoolExecutor(len(senders)) as pool:
        replies = list(pool.map(lambda sender: sender.send(message("cancellation-request__requested")), senders))
    for sender in senders:
        sender.close()
    assert [reply.outcomes for reply in replies] == [["cancelled"]] * len(senders)
    assert (gateway.get("Task", ORDER).version, gateway.get("Task", CANCELLATION).version) == (2, 1)


@ON_EACH_DATABASE
@pytest.mark.parametrize("rival", ["completed", "cancellation"])
def test_of_an_acceptance_and_its_rival_exactly_one_wins(gateway: Gateway, database_url: str, rival: str) -> None:
    other = Gateway(database_url)
    for _ in range(8):
        order = Order()
        started = [order.new_order(), *(order.update(status) for status in ("accepted", "in-progress"))]
        for bundle in (*started, order.cancellation_request()):
            assert gateway.send(bundle).code == "ok"
        against = order.update("completed") if rival == "completed" else order.cancellation_request("rejected")
        with ThreadPoolExecutor(2) as pool:
            accepted = pool.submit(gateway.send, order.cancellation_request("accepted"))
            opposed = pool.submit(other.send, against)

        assert sorted((accepted.result().code, opposed.result().code)) == ["fatal-error", "ok"]
        ended = gateway.get("Task", (ORDER[0], f"ORD-1001-{order.number}")).resource["status"]
        request = gateway.get("Task", (CANCELLATION[0], f"CXL-1001-{order.number}")).resource["status"]
        won = ("cancelled", "completed"), ("in-progress" if rival == "cancellation" else "completed", "rejected")
        assert (ended, request) in won
        assert (accepted.result().code == "ok") == (ended == "cancelled")
    other.close()


def test_the_note_of_what_is_open_is_kept_under_a_name_of_the_gateway(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "cancellation-request__requested")
    order, request = gateway.get("Task", ORDER), gateway.get("Task", CANCELLATION)
    name = f"open-cancellation-request|{order.reference}"
    listed = gateway.find_own("List", name)
    assert listed is not None
    assert listed.resource["entry"] == [{"item": {"reference": request.reference}}]
    assert_valid(listed.resource)
    gateway.send_all("cancellation-request__accepted")
    listed = gateway.find_own("List", name)
    assert listed is not None
    assert "entry" not in listed.resource


def test_nobody_can_write_the_note_of_what_is_open_instead_of_the_gateway(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    forged = {
        "resourceType": "List",
        "identifier": [{"system": OPEN_REQUESTS, "value": gateway.get("Task", ORDER).reference}],
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": "Task/none"}}],
    }
    url = "urn:uuid:5c0e3d2c-0f43-4d5c-9f0c-6f6a4f9d2b10"
    for name in ("new-order__laboratory", "order-update__in-progress"):
        bundle = message(name)
        bundle["entry"].append({"fullUrl": url, "resource": forged})
        task_of(bundle)["input"] = [{"type": {"text": "x"}, "valueReference": {"reference": url}}]
        assert gateway.send(sent_by(BY_HOSPITAL, bundle)).code == "ok"

    assert gateway.send_all("cancellation-request__requested").outcomes == ["pending"]
    assert gateway.send_all("cancellation-request__accepted").outcomes == ["accepted"]


def test_the_identifier_of_a_cancellation_is_not_one_of_the_gateway(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    own = [{"system": OPEN_REQUESTS, "value": "x"}]
    reply = gateway.send(message("cancellation-request__requested", identifier=own))
    assert reply.places == ["Bundle.entry[1].resource.identifier"]


@pytest.mark.parametrize("focus", [None, {"display": "an order"}, {"reference": "Task/none"}])
def test_a_cancellation_that_is_kept_without_its_order_is_refused(
    gateway: Gateway, database_url: str, focus: Resource | None
) -> None:
    asked = message("cancellation-request__requested", focus=focus)
    if focus is None:
        del task_of(asked)["focus"]
    keep_unchecked(database_url, asked)
    for name in ("requested", "accepted", "withdrawn", "rejected"):
        reply = gateway.send(message(f"cancellation-request__{name}", **({"focus": focus} if focus else {})))
        assert reply.code == "fatal-error"
    unmentioned = message("cancellation-request__accepted")
    del task_of(unmentioned)["focus"]
    reply = gateway.send(unmentioned)
    assert (reply.code, reply.outcomes) == ("fatal-error", ["no-such-order"])


def test_an_order_is_cancelled_by_its_address_in_our_replies(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    address = f"{OURSELVES.base_url}/{gateway.get('Task', ORDER).reference}"
    asked = message("cancellation-request__requested", focus={"reference": address})
    assert gateway.send(asked).outcomes == ["cancelled"]


def test_reasons_may_come_as_the_code_of_the_request(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    [_, order] = gateway.send_all("cancellation-request__second").focus
    assert order["statusReason"] == {"text": "Another prescription was given"}
    assert gateway.find("Task", (f"{HOSPITAL}/cancellation", "CXL-1002")) is not None
