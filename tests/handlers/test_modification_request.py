"""modification-request: change, replace, suspend, resume; asked, answered, withdrawn, and what comes of it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from gateway.fhir.policy import loading
from gateway.fhir.references import Resource
from tests.conftest import ON_EACH_DATABASE
from tests.handlers import CANCELLATION, HOSPITAL, ORDER, Gateway, Reply, keep_unchecked, message, task_of
from tests.orders import header_of
from tests.terms import TERMS

ACCEPTED = ("new-order__prescription", "order-update__accepted")
BEGUN = (*ACCEPTED, "order-update__in-progress")
CHANGE, PROPOSAL = (f"{HOSPITAL}/modification", "MOD-1"), ("http://pharmacy.example/identifier/modification", "PM-1")
PRESCRIPTION, NEXT_PRESCRIPTION = ((f"{HOSPITAL}/prescription", number) for number in ("RX-1001-1", "RX-1002-1"))
NEXT = f"{HOSPITAL}/order", "ORD-1002-R"
ALTERNATIVE = "http://pharmacy.example/identifier/proposal", "ALT-1"
REPLACED = {"system": "urn:x-fhir-gateway:status-reason", "code": "replaced"}


@pytest.fixture
def unrestricted(database_url: str) -> Iterator[Gateway]:
    """A gateway with the policy of which each party makes every move."""
    opened = Gateway(database_url, replace(TERMS, policy=loading.load("fhir")))
    yield opened
    opened.close()


def outcomes(reply: Reply) -> list[str]:
    codings = [coding for issue in reply.issues for coding in issue["details"].get("coding", [])]
    return [c["code"] for c in codings if c["system"] == "urn:x-fhir-gateway:modification-outcome"]


def status(gateway: Gateway, identifier: tuple[str, str], kind: str = "Task") -> str:
    found: str = gateway.get(kind, identifier).resource["status"]
    return found


def dose(gateway: Gateway, identifier: tuple[str, str] = PRESCRIPTION) -> str:
    text: str = gateway.get("MedicationRequest", identifier).resource["dosageInstruction"][0]["text"]
    return text


def from_hospital(bundle: Resource) -> Resource:
    """The same message, sent by the hospital."""
    ours = header_of(message("cancellation-request__requested"))
    header_of(bundle).update(source=ours["source"], sender=ours["sender"])
    return bundle


def from_pharmacy(bundle: Resource) -> Resource:
    ours = header_of(message("order-update__accepted"))
    header_of(bundle).update(source=ours["source"], sender=ours["sender"])
    return bundle


def resume(**changes: Any) -> Resource:
    """A request to resume, with an identifier of its own: that to suspend has had one too."""
    own = [{"system": CHANGE[0], "value": "MOD-2"}]
    return message("modification-request__resume", identifier=own, **changes)


# --- suspend and resume ----------------------------------------------------------------------------------------------


def test_an_order_in_work_is_suspended_when_its_fulfiller_accepts(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)

    asked = gateway.send_all("modification-request__suspend")

    assert outcomes(asked) == ["pending"]
    request, order = asked.focus
    assert (request["status"], order["status"]) == ("requested", "in-progress")
    assert request["owner"] == order["owner"]
    answered = gateway.send_all("modification-request__accepted")
    assert outcomes(answered) == ["accepted"]
    request, order = answered.focus
    assert (request["status"], order["status"]) == ("completed", "on-hold")
    assert order["statusReason"] == {"text": "A laboratory result is awaited"}
    assert request["output"][0]["valueReference"]["reference"] == f"Task/{order['id']}"


def test_an_order_that_is_suspended_is_resumed_when_its_fulfiller_accepts(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend", "modification-request__accepted")
    assert outcomes(gateway.send(resume())) == ["pending"]
    own = [{"system": CHANGE[0], "value": "MOD-2"}]
    answer = message("modification-request__accepted", identifier=own, lastModified="2026-03-02T12:30:00+01:00")
    assert outcomes(gateway.send(answer)) == ["accepted"]
    order = gateway.get("Task", ORDER).resource
    assert order["status"] == "in-progress"
    assert "statusReason" not in order


@pytest.mark.parametrize(
    ("before", "asked", "words"),
    [
        (ACCEPTED, "suspend", "is accepted"),
        (BEGUN, "resume", "is in-progress"),
        ((*BEGUN, "order-update__on-hold"), "suspend", "is on-hold"),
    ],
)
def test_what_the_order_cannot_do_is_not_asked(
    gateway: Gateway, before: tuple[str, ...], asked: str, words: str
) -> None:
    gateway.send_all(*before)
    reply = gateway.send(message(f"modification-request__{asked}"))
    assert (reply.code, outcomes(reply)) == ("fatal-error", ["not-possible"])
    assert words in reply.text
    assert gateway.find("Task", CHANGE) is None


def test_who_may_make_the_move_itself_need_not_ask(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    reply = gateway.send(from_pharmacy(message("modification-request__suspend")))
    assert outcomes(reply) == ["applied"]
    assert "order-update" in reply.text
    assert [task["status"] for task in reply.focus] == ["completed", "on-hold"]


def test_a_policy_in_which_the_placer_suspends_needs_no_answer(unrestricted: Gateway) -> None:
    unrestricted.send_all(*BEGUN)
    assert outcomes(unrestricted.send_all("modification-request__suspend")) == ["applied"]
    assert outcomes(unrestricted.send(resume())) == ["applied"]
    assert status(unrestricted, ORDER) == "in-progress"


# --- asking and answering --------------------------------------------------------------------------------------------


def test_a_rejected_request_leaves_the_order_and_keeps_the_reason(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend")
    reply = gateway.send_all("modification-request__rejected")
    assert outcomes(reply) == ["rejected"]
    assert "The capsules are handed over" in reply.text
    assert (status(gateway, CHANGE), status(gateway, ORDER)) == ("rejected", "in-progress")


def test_the_order_has_the_reason_of_who_asked(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    asked = message("modification-request__suspend", statusReason={"text": "The patient is in theatre"})
    del task_of(asked)["reasonCode"]
    assert gateway.send(asked).code == "ok"
    assert gateway.send(message("modification-request__accepted", status="received")).code == "ok"
    answered = gateway.send(message("modification-request__accepted", statusReason={"text": "We wait"}))
    request, order = answered.focus
    assert (request["status"], request["statusReason"]) == ("completed", {"text": "We wait"})
    assert order["statusReason"] == {"text": "The patient is in theatre"}


def test_who_has_asked_withdraws_and_may_ask_again(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend")
    assert outcomes(gateway.send_all("modification-request__withdrawn")) == ["withdrawn"]
    late = gateway.send(message("modification-request__accepted"))
    assert (late.code, outcomes(late)) == ("fatal-error", ["withdrawn"])
    again = message("modification-request__suspend", identifier=[{"system": CHANGE[0], "value": "MOD-3"}])
    assert outcomes(gateway.send(again)) == ["pending"]


def test_of_each_code_one_request_is_open_at_a_time(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend")
    own = [{"system": CHANGE[0], "value": "MOD-2"}]
    second = gateway.send(message("modification-request__suspend", identifier=own))
    assert (second.code, outcomes(second)) == ("fatal-error", ["already-pending"])
    assert "MOD-1" in second.text
    assert outcomes(gateway.send(message("modification-request__change", identifier=own))) == ["pending"]


def test_a_repeat_is_answered_by_the_state_as_it_is_now_and_does_nothing(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    for name, outcome in (("suspend", "pending"), ("suspend", "pending"), ("accepted", "accepted")):
        assert outcomes(gateway.send_all(f"modification-request__{name}")) == [outcome]
    versions = gateway.get("Task", CHANGE).version, gateway.get("Task", ORDER).version
    for name in ("suspend", "accepted"):
        assert outcomes(gateway.send_all(f"modification-request__{name}")) == ["accepted"]
    assert versions == (gateway.get("Task", CHANGE).version, gateway.get("Task", ORDER).version)


def test_the_answer_is_understood_as_an_order_update_and_without_its_code(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend")
    own = [{"system": CHANGE[0], "value": CHANGE[1]}]
    reply = gateway.send(message("order-update__accepted", identifier=own, lastModified="2026-03-02T11:30:00+01:00"))
    assert outcomes(reply) == ["accepted"]
    assert status(gateway, ORDER) == "on-hold"


def test_nobody_answers_its_own_question(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend")
    reply = gateway.send(from_hospital(message("modification-request__accepted")))
    assert (reply.code, reply.issues[0]["code"]) == ("fatal-error", "forbidden")
    assert status(gateway, ORDER) == "in-progress"


def test_who_has_handed_the_order_on_does_not_answer_for_its_new_owner(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend")
    laboratory = {"identifier": {"system": "http://registry.example/identifier/organization", "value": "LABORATORY-3"}}
    assert gateway.send(message("order-update__in-progress", owner=laboratory)).code == "ok"
    assert outcomes(gateway.send(message("modification-request__accepted"))) == ["not-a-party"]
    answer = message("modification-request__accepted")
    header_of(answer).update(source={"endpoint": "urn:demo:laboratory"}, sender=laboratory)
    assert outcomes(gateway.send(answer)) == ["accepted"]
    assert status(gateway, ORDER) == "on-hold"


def test_an_order_without_a_requester_has_its_creator_asked(gateway: Gateway) -> None:
    order = message("new-order__prescription")
    del task_of(order)["requester"]
    assert gateway.send(order).code == "ok"
    gateway.send_all(*BEGUN[1:])
    assert outcomes(gateway.send_all("modification-request__change-proposal")) == ["pending"]
    itself = gateway.send(from_pharmacy(message("modification-request__proposal-accepted")))
    assert (itself.code, itself.issues[0]["code"]) == ("fatal-error", "forbidden")
    assert outcomes(gateway.send_all("modification-request__proposal-accepted")) == ["accepted"]


def test_a_request_does_not_ask_another_than_the_other_party(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    hospital = {"type": "Organization", "identifier": {"system": "http://x.example", "value": "HOSPITAL-2"}}
    reply = gateway.send(message("modification-request__suspend", owner=hospital))
    assert (reply.code, outcomes(reply)) == ("fatal-error", ["not-a-party"])
    assert reply.places == ["Bundle.entry[1].resource.owner"]


@pytest.mark.parametrize("name", ["suspend", "change-proposal"])
def test_a_bystander_neither_asks_nor_answers(gateway: Gateway, name: str) -> None:
    gateway.send_all(*BEGUN)
    bundle = message(f"modification-request__{name}")
    header_of(bundle).update(source={"endpoint": "urn:demo:nobody"})
    del header_of(bundle)["sender"]
    reply = gateway.send(bundle)
    assert (reply.code, outcomes(reply)) == ("fatal-error", ["not-a-party"])
    gateway.send_all("modification-request__suspend")
    answer = message("modification-request__accepted")
    header_of(answer).update(source={"endpoint": "urn:demo:nobody"})
    del header_of(answer)["sender"]
    assert outcomes(gateway.send(answer)) == ["not-a-party"]


def test_an_order_that_ends_ends_what_is_open_about_it(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__suspend", "order-update__completed")
    assert status(gateway, CHANGE) == "rejected"
    late = gateway.send(message("modification-request__accepted"))
    assert (late.code, outcomes(late)) == ("fatal-error", ["already-ended"])
    assert outcomes(gateway.send_all("modification-request__suspend")) == ["already-ended"]


def test_an_order_that_has_ended_is_not_modified(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "order-update__completed")
    for name in ("suspend", "resume", "change", "replace"):
        reply = gateway.send(message(f"modification-request__{name}"))
        assert (reply.code, outcomes(reply)) == ("fatal-error", ["already-ended"])


def test_a_request_about_no_order_or_an_answer_to_none_is_refused(gateway: Gateway) -> None:
    reply = gateway.send(message("modification-request__suspend"))
    assert (reply.code, outcomes(reply)) == ("fatal-error", ["no-such-order"])
    assert "ORD-1001" in reply.text
    gateway.send_all(*BEGUN)
    bundle = message("modification-request__rejected")
    task_of(bundle)["code"] = task_of(message("modification-request__change"))["code"]
    assert outcomes(gateway.send(bundle)) == ["no-such-request"]


def test_a_task_without_the_code_is_told_to_have_it(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    bundle = message("modification-request__suspend")
    del task_of(bundle)["code"]
    reply = gateway.send(bundle)
    assert reply.places == ["Bundle.entry[1].resource.code"]
    order = message("modification-request__suspend", identifier=[{"system": ORDER[0], "value": ORDER[1]}])
    assert "is that of an order" in gateway.send(order).text


@pytest.mark.parametrize("focus", [None, {"display": "an order"}, {"reference": "Task/none"}])
def test_a_request_that_is_kept_without_its_order_is_refused(
    gateway: Gateway, database_url: str, focus: Resource | None
) -> None:
    asked = message("modification-request__suspend", focus=focus)
    if focus is None:
        del task_of(asked)["focus"]
    keep_unchecked(database_url, asked)
    reply = gateway.send(message("modification-request__accepted"))
    assert (reply.code, outcomes(reply)) == ("fatal-error", ["no-such-order"])


@pytest.mark.parametrize("given", [[], [{"type": {"text": "x"}, "valueString": "a changed prescription"}]])
def test_a_change_that_is_kept_without_its_request_is_not_accepted(
    gateway: Gateway, database_url: str, given: list[Resource]
) -> None:
    gateway.send_all(*BEGUN)
    asked = message("modification-request__change")
    task_of(asked)["input"] = given
    if not given:
        del task_of(asked)["input"]
    keep_unchecked(database_url, asked)
    reply = gateway.send(message("modification-request__accepted"))
    assert (reply.code, outcomes(reply)) == ("fatal-error", ["not-possible"])


# --- change ----------------------------------------------------------------------------------------------------------


def test_a_change_is_made_at_once_while_the_fulfiller_may_still_decline(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    as_it_was = gateway.get("MedicationRequest", PRESCRIPTION)

    reply = gateway.send_all("modification-request__change")

    assert outcomes(reply) == ["applied"]
    assert [resource["status"] for resource in reply.focus] == ["completed", "requested", "active"]
    changed = gateway.get("MedicationRequest", PRESCRIPTION)
    assert (changed.id, changed.version, changed.sender) == (as_it_was.id, 2, as_it_was.sender)
    assert dose(gateway) == "One capsule four times daily for 10 days"


def test_a_change_of_accepted_work_waits_and_the_old_stands_until_then(gateway: Gateway) -> None:
    gateway.send_all(*ACCEPTED)
    before = dose(gateway)

    asked = gateway.send_all("modification-request__change")

    assert outcomes(asked) == ["pending"]
    assert dose(gateway) == before
    proposal, original = (item["valueReference"]["reference"] for item in asked.focus[0]["input"])
    assert original == gateway.get("MedicationRequest", PRESCRIPTION).reference
    assert proposal != original
    answered = gateway.send_all("modification-request__accepted")
    assert outcomes(answered) == ["accepted"]
    changed = gateway.get("MedicationRequest", PRESCRIPTION).resource
    assert changed["dosageInstruction"][0]["text"] == "One capsule four times daily for 10 days"
    assert (changed["intent"], changed["status"]) == ("order", "active")
    assert status(gateway, ORDER) == "accepted"


def test_a_rejected_change_leaves_the_request_as_it_was(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    before = gateway.get("MedicationRequest", PRESCRIPTION)
    gateway.send_all("modification-request__change", "modification-request__rejected")
    assert gateway.get("MedicationRequest", PRESCRIPTION) == before


def test_an_answer_that_repeats_the_question_changes_nothing_by_that(gateway: Gateway) -> None:
    gateway.send_all(*ACCEPTED, "modification-request__change")
    echo = from_pharmacy(message("modification-request__change"))
    task_of(echo)["status"] = "accepted"
    assert outcomes(gateway.send(echo)) == ["accepted"]
    assert dose(gateway) == "One capsule four times daily for 10 days"
    assert gateway.get("MedicationRequest", PRESCRIPTION).version == 2


def test_a_change_without_the_changed_request_is_refused(gateway: Gateway) -> None:
    gateway.send_all(*ACCEPTED)
    for name in ("change", "replace"):
        bundle = message(f"modification-request__{name}")
        del task_of(bundle)["input"]
        reply = gateway.send(bundle)
        assert (reply.code, outcomes(reply)) == ("fatal-error", ["not-possible"])
        assert reply.places == ["Bundle.entry[1].resource.input"]


def test_a_fulfiller_proposes_a_change_and_the_placer_accepts_it(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    as_it_was = gateway.get("MedicationRequest", PRESCRIPTION)

    asked = gateway.send_all("modification-request__change-proposal")

    assert outcomes(asked) == ["pending"]
    assert (asked.focus[0]["intent"], asked.focus[0]["requester"]) == ("proposal", asked.focus[1]["owner"])
    assert gateway.get("MedicationRequest", PRESCRIPTION) == as_it_was
    assert outcomes(gateway.send_all("modification-request__proposal-accepted")) == ["accepted"]
    changed = gateway.get("MedicationRequest", PRESCRIPTION)
    assert (changed.id, changed.sender) == (as_it_was.id, as_it_was.sender)
    assert changed.resource["medicationCodeableConcept"]["text"] == "Amoxicillin 250 mg capsules"
    assert changed.resource["intent"] == "order"
    assert changed.resource["identifier"] == as_it_was.resource["identifier"]


def test_a_proposal_may_be_the_request_in_focus(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    bundle = message("modification-request__change-proposal")
    bundle["entry"][2]["resource"]["identifier"] = [{"system": PRESCRIPTION[0], "value": PRESCRIPTION[1]}]
    task_of(bundle)["focus"] = task_of(bundle).pop("input")[0]["valueReference"]
    before = gateway.get("MedicationRequest", PRESCRIPTION)
    assert outcomes(gateway.send(bundle)) == ["pending"]
    assert gateway.get("MedicationRequest", PRESCRIPTION) == before
    assert outcomes(gateway.send_all("modification-request__proposal-accepted")) == ["accepted"]
    assert dose(gateway) == "Two capsules three times daily for 7 days"


def test_the_placer_may_send_its_own_version_when_it_accepts(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__change-proposal")
    bundle = message("modification-request__proposal-accepted")
    own = message("modification-request__change")["entry"][3]
    own["resource"]["dosageInstruction"][0]["text"] = "Two small capsules three times daily"
    bundle["entry"].append(own)
    task_of(bundle)["input"] = [{"type": {"text": "As changed"}, "valueReference": {"reference": own["fullUrl"]}}]
    assert outcomes(gateway.send(bundle)) == ["accepted"]
    assert dose(gateway) == "Two small capsules three times daily"


@ON_EACH_DATABASE
def test_of_two_answers_at_once_exactly_one_counts(gateway: Gateway, database_url: str) -> None:
    other = Gateway(database_url)
    gateway.send_all(*BEGUN, "modification-request__suspend")
    names = ("modification-request__accepted", "modification-request__withdrawn")
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda side, name: side.send(message(name)), (gateway, other), names))
    other.close()
    assert sorted(reply.code for reply in replies) == ["fatal-error", "ok"]
    ended = status(gateway, CHANGE), status(gateway, ORDER)
    assert ended == (("completed", "on-hold") if replies[0].code == "ok" else ("cancelled", "in-progress"))


# --- replace ---------------------------------------------------------------------------------------------------------


def test_an_order_that_has_not_begun_is_replaced_in_one_message(gateway: Gateway) -> None:
    gateway.send_all(*ACCEPTED)

    reply = gateway.send_all("modification-request__replace")

    assert outcomes(reply) == ["applied"]
    request, old, new = reply.focus[:3]
    assert [task["status"] for task in (request, old, new)] == ["completed", "cancelled", "requested"]
    assert old["statusReason"]["coding"] == [REPLACED]
    assert request["output"][0]["valueReference"]["reference"] == f"Task/{new['id']}"
    prescription = gateway.get("MedicationRequest", NEXT_PRESCRIPTION).resource
    replaced = gateway.get("MedicationRequest", PRESCRIPTION)
    assert prescription["priorPrescription"]["reference"] == replaced.reference
    assert replaced.resource["status"] == "cancelled"


def test_work_that_has_begun_is_replaced_when_the_fulfiller_accepts(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)

    assert outcomes(gateway.send_all("modification-request__replace")) == ["pending"]

    assert (status(gateway, ORDER), status(gateway, NEXT)) == ("in-progress", "draft")
    assert status(gateway, PRESCRIPTION, "MedicationRequest") == "active"
    answered = gateway.send_all("modification-request__accepted")
    assert outcomes(answered) == ["accepted"]
    assert (status(gateway, ORDER), status(gateway, NEXT)) == ("cancelled", "requested")
    assert status(gateway, PRESCRIPTION, "MedicationRequest") == "cancelled"


@pytest.mark.parametrize(("begun", "old"), [(ACCEPTED, "cancelled"), (BEGUN, "in-progress")])
def test_a_cancellation_that_has_overtaken_a_replacement_ends_it(
    gateway: Gateway, begun: tuple[str, ...], old: str
) -> None:
    gateway.send_all(*begun)
    about = {"type": "Task", "identifier": dict(zip(("system", "value"), NEXT, strict=True))}
    assert gateway.send(message("cancellation-request__requested", focus=about)).outcomes == ["held"]

    reply = gateway.send_all("modification-request__replace")

    assert reply.outcomes == ["cancelled"]
    assert "CXL-1001" in reply.text
    assert {"Task/" + task["id"]: task["status"] for task in reply.focus}.items() >= {
        (gateway.get("Task", NEXT).reference, "cancelled"),
        (gateway.get("Task", CANCELLATION).reference, "completed"),
    }
    assert (status(gateway, ORDER), status(gateway, NEXT), status(gateway, CANCELLATION)) == (
        old,
        "cancelled",
        "completed",
    )


def test_an_order_is_not_replaced_by_one_that_was_cancelled_meanwhile(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN, "modification-request__replace")
    named = [dict(zip(("system", "value"), NEXT, strict=True))]
    cancelled = message("order-update__cancelled", identifier=named, lastModified="2026-03-02T11:30:00+01:00")
    assert gateway.send(cancelled).code == "ok"
    reply = gateway.send(message("modification-request__accepted"))
    assert (reply.code, outcomes(reply)) == ("fatal-error", ["not-possible"])
    assert (status(gateway, ORDER), status(gateway, CHANGE)) == ("in-progress", "requested")
    assert outcomes(gateway.send_all("modification-request__rejected")) == ["rejected"]


@pytest.mark.parametrize("name", ["rejected", "withdrawn"])
def test_a_replacement_that_is_not_agreed_on_ends_the_new_order(gateway: Gateway, name: str) -> None:
    gateway.send_all(*BEGUN, "modification-request__replace", f"modification-request__{name}")
    assert (status(gateway, ORDER), status(gateway, NEXT)) == ("in-progress", "cancelled")
    assert status(gateway, PRESCRIPTION, "MedicationRequest") == "active"


@pytest.mark.parametrize("begun", [ACCEPTED, BEGUN])
def test_a_message_about_a_replaced_order_is_answered_with_what_replaced_it(
    gateway: Gateway, begun: tuple[str, ...]
) -> None:
    gateway.send_all(*begun, "modification-request__replace")
    if begun is BEGUN:
        gateway.send_all("modification-request__accepted")
    for late in (message("order-update__in-progress"), resume()):
        reply = gateway.send(late)
        assert reply.code == "fatal-error"
        assert "was replaced by http://hospital.example/identifier/order|ORD-1002-R" in reply.text


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"status": "accepted"}, "Bundle.entry[3].resource.status"),
        ({"identifier": [{"system": ORDER[0], "value": ORDER[1]}]}, "Bundle.entry[3].resource.identifier"),
        ({"focus": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000000"}}, "Bundle.entry[3].resource.focus"),
    ],
)
def test_a_replacement_with_a_new_order_that_is_none_does_nothing(
    gateway: Gateway, change: Resource, place: str
) -> None:
    gateway.send_all(*ACCEPTED)
    bundle = message("modification-request__replace")
    bundle["entry"][3]["resource"].update(change)
    reply = gateway.send(bundle)
    assert (reply.code, reply.places[0]) == ("fatal-error", place)
    assert status(gateway, ORDER) == "accepted"


def test_the_new_request_says_what_it_replaces(gateway: Gateway) -> None:
    gateway.send_all(*ACCEPTED)
    bundle = message("modification-request__replace")
    del bundle["entry"][4]["resource"]["priorPrescription"]
    reply = gateway.send(bundle)
    assert reply.places == ["Bundle.entry[4].resource.priorPrescription"]


def test_an_accepted_proposal_to_replace_is_placed_by_the_placer(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    assert outcomes(gateway.send_all("modification-request__replace-proposal")) == ["pending"]
    accepted = gateway.send_all("modification-request__proposal-accepted")
    assert outcomes(accepted) == ["accepted"]
    assert "new-order" in accepted.text
    assert (status(gateway, PROPOSAL), status(gateway, ORDER)) == ("accepted", "in-progress")

    gateway.send_all("new-order__proposal-accepted")

    assert (status(gateway, PROPOSAL), status(gateway, ORDER)) == ("completed", "cancelled")
    [*_, output] = gateway.get("Task", PROPOSAL).resource["output"]
    assert output["valueReference"]["reference"] == gateway.get("Task", NEXT).reference


# --- an alternative, and orders that replace others ------------------------------------------------------------------


def test_a_contraindication_an_alternative_and_its_acceptance(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription")
    [rejected] = gateway.send_all("order-update__alternative").focus
    proposal = gateway.get("MedicationRequest", ALTERNATIVE)
    assert (rejected["status"], proposal.resource["intent"]) == ("rejected", "proposal")
    assert rejected["output"][0]["valueReference"]["reference"] == proposal.reference

    [order, *_] = gateway.send_all("new-order__proposal-accepted").focus

    assert (order["intent"], order["focus"]["reference"]) == ("order", proposal.reference)
    assert gateway.get("MedicationRequest", ALTERNATIVE) == proposal, "it is its creator's"
    assert status(gateway, PRESCRIPTION, "MedicationRequest") == "cancelled"
    late = gateway.send(message("order-update__accepted"))
    assert "was replaced by http://hospital.example/identifier/order|ORD-1002-R" in late.text


def test_an_alternative_is_accepted_by_a_request_of_the_placers_own(gateway: Gateway) -> None:
    gateway.send_all("new-order__prescription", "order-update__alternative", "new-order__alternative")
    prescription = gateway.get("MedicationRequest", NEXT_PRESCRIPTION).resource
    old = gateway.get("MedicationRequest", PRESCRIPTION)
    assert prescription["priorPrescription"]["reference"] == old.reference
    assert prescription["intent"] == "order"
    assert (old.resource["status"], status(gateway, ORDER)) == ("cancelled", "rejected")


def test_a_new_order_that_replaces_ends_what_has_not_begun(gateway: Gateway) -> None:
    gateway.send_all(*ACCEPTED)
    reply = gateway.send_all("new-order__alternative")
    assert (status(gateway, ORDER), status(gateway, NEXT)) == ("cancelled", "requested")
    assert gateway.get("Task", ORDER).resource["statusReason"]["coding"] == [REPLACED]
    assert [resource["status"] for resource in reply.focus] == ["requested", "cancelled", "cancelled"]


def test_a_new_order_that_replaces_leaves_work_that_has_begun_and_says_so(gateway: Gateway) -> None:
    gateway.send_all(*BEGUN)
    reply = gateway.send_all("new-order__alternative")
    assert (status(gateway, ORDER), status(gateway, NEXT)) == ("in-progress", "requested")
    assert status(gateway, PRESCRIPTION, "MedicationRequest") == "active"
    assert "goes on" in reply.text


def test_nobody_replaces_the_order_of_another(gateway: Gateway) -> None:
    gateway.send_all(*ACCEPTED)
    bundle = message("new-order__alternative")
    stranger = {"type": "Organization", "identifier": {"system": "http://x.example", "value": "CLINIC-9"}}
    header_of(bundle).update(source={"endpoint": "urn:demo:clinic"}, sender=stranger)
    task_of(bundle)["requester"] = stranger
    assert gateway.send(bundle).code == "ok"
    assert status(gateway, ORDER) == "accepted"
    assert status(gateway, PRESCRIPTION, "MedicationRequest") == "active"
