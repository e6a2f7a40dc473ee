"""Journeys of nphies: claims adjudicated and cancelled, and the questions after them."""

from dataclasses import replace

import pytest

from gateway.partners import Partner
from tests.journeys.dialects import Answered, Network, Resource
from tests.journeys.dialects.conftest import Opening
from tests.journeys.dialects.cow import update
from tests.journeys.dialects.nphies import (
    COW_PAYER,
    PAYER,
    PROVIDER,
    adjudicated,
    cancel,
    claim,
    message,
    task,
)

NUMBER = "C-1"
POLLING = replace(PROVIDER, tell="poll")


@pytest.fixture
def claimed(network: Opening) -> Network:
    """A network in which a Claim was sent."""
    return place(network(PROVIDER, PAYER))


@pytest.fixture
def with_cow(network: Opening) -> Network:
    return place(network(PROVIDER, COW_PAYER))


@pytest.fixture
def polling(network: Opening) -> Network:
    """One in which the provider is not called."""
    return place(network(POLLING, PAYER))


def place(network: Network) -> Network:
    sent = message("claim-request", claim())
    answer = network.post(sent, network.partners.called("provider") or PROVIDER)
    assert event(answer) == "claim-response", answer.text
    assert answer.header["response"] == {"identifier": sent["entry"][0]["resource"]["id"], "code": "ok"}
    assert answer.of_type("ClaimResponse")[0]["outcome"] == "queued"
    assert tags(answer) == ["nphies-generated", "queued-messages"]
    return network


def event(answer: Answered) -> str:
    code: str = answer.header["eventCoding"]["code"]
    return code


def tags(answer: Answered) -> list[str]:
    return [tag["code"] for tag in answer.header["meta"]["tag"]]


def respond(network: Network, outcome: str, sender: Partner = PAYER, **said: object) -> Answered:
    """The payer's response, which is a message of its own that says what it answers."""
    answered = {"identifier": "c3a5a5a1-0000-4000-8000-000000000001", "code": "ok"}
    return network.post(message("claim-response", adjudicated(outcome, **said), sender, response=answered), sender)


def only_task(answer: Answered) -> Resource:
    [found] = answer.of_type("Task")
    return found


def errors(answer: Answered) -> list[str]:
    """The codes of the errors in the output of the Task."""
    found = [output["valueCodeableConcept"] for output in only_task(answer)["output"]]
    return [concept["coding"][0]["code"] for concept in found]


def status_of(network: Network) -> str:
    status: str = network.task(NUMBER)["status"]
    return status


def test_a_claim_goes_to_the_payer_and_its_response_back(claimed: Network) -> None:
    [told] = claimed.told(PAYER)
    assert event(told) == "claim-request"
    assert told.of_type("Claim")[0]["identifier"][0]["value"] == NUMBER
    answer = respond(claimed, "complete")
    assert (event(answer), answer.header["response"]["code"]) == ("acknowledgement", "ok")
    assert status_of(claimed) == "completed"
    back = claimed.told(PROVIDER)[-1]
    assert (event(back), back.of_type("ClaimResponse")[0]["outcome"]) == ("claim-response", "complete")


def test_a_response_names_the_message_that_it_answers(claimed: Network) -> None:
    placed = [one["value"] for one in claimed.task(NUMBER)["identifier"] if one["value"].startswith("urn:uuid:")]
    respond(claimed, "complete")
    assert f"urn:uuid:{claimed.told(PROVIDER)[-1].header['response']['identifier']}" in placed


def test_more_than_one_response_to_a_claim_is_normal(claimed: Network) -> None:
    for outcome, status in (("queued", "received"), ("partial", "in-progress"), ("complete", "completed")):
        assert event(respond(claimed, outcome)) == "acknowledgement"
        assert status_of(claimed) == status
    assert len(claimed.told(PROVIDER)) == 3


def test_a_rejected_claim_is_rejected_in_its_own_words(claimed: Network) -> None:
    respond(claimed, "error", disposition="Not covered")
    assert status_of(claimed) == "rejected"
    assert claimed.told(PROVIDER)[-1].of_type("ClaimResponse")[0]["disposition"] == "Not covered"


@pytest.mark.parametrize("code", ["cancel", "nullify"])
def test_before_the_payer_has_begun_it_is_cancelled_at_once(claimed: Network, code: str) -> None:
    answer = claimed.post(cancel(code=code), PROVIDER)
    assert (event(answer), only_task(answer)["status"]) == ("cancel-response", "completed")
    assert status_of(claimed) == "cancelled"
    told = claimed.told(PAYER)[-1]
    assert event(told) == "cancel-request"
    assert only_task(told)["focus"]["identifier"]["value"] == NUMBER
    assert only_task(told)["code"]["coding"][0]["code"] == code
    done = claimed.post(message("cancel-response", task(code, status="completed"), PAYER), PAYER)
    assert (event(done), len(claimed.told(PROVIDER))) == ("acknowledgement", 0)


def test_once_it_has_begun_the_payer_reverses_it(claimed: Network) -> None:
    respond(claimed, "partial")
    asked = cancel()
    answer = claimed.post(asked, PROVIDER)
    assert (only_task(answer)["status"], tags(answer)) == ("in-progress", ["nphies-generated", "queued-messages"])
    question = claimed.told(PAYER)[-1]
    assert (event(question), only_task(question)["reasonCode"]["coding"][0]["code"]) == ("cancel-request", "WI")
    done = task("cancel", status="completed")
    assert event(claimed.post(message("cancel-response", done, PAYER), PAYER)) == "acknowledgement"
    assert status_of(claimed) == "cancelled"
    back = claimed.told(PROVIDER)[-1]
    assert (event(back), only_task(back)["status"]) == ("cancel-response", "completed")
    assert back.header["response"]["identifier"] == asked["entry"][0]["resource"]["id"]


def test_or_refuses_to(claimed: Network) -> None:
    respond(claimed, "partial")
    claimed.post(cancel(), PROVIDER)
    error = {"coding": [{"system": "http://nphies.sa/terminology/CodeSystem/adjudication-error", "code": "RE-00169"}]}
    output = [{"type": {"coding": [{"code": "error"}]}, "valueCodeableConcept": error}]
    claimed.post(message("cancel-response", task("cancel", status="failed", output=output), PAYER), PAYER)
    assert status_of(claimed) == "in-progress"
    back = claimed.told(PROVIDER)[-1]
    assert (event(back), only_task(back)["status"], errors(back)) == ("cancel-response", "failed", ["RE-00169"])


def test_a_payer_of_the_gateways_own_way_is_asked_and_answers(with_cow: Network) -> None:
    named = with_cow.task(NUMBER)["identifier"]
    for status in ("accepted", "in-progress"):
        with_cow.post(update(named, status, COW_PAYER.endpoints[0]), COW_PAYER)
    with_cow.post(cancel(), PROVIDER)
    [asked] = [one for one in with_cow.told(COW_PAYER)[-1].of_type("Task") if "abort" in str(one["code"])]
    with_cow.post(update(asked["identifier"], "accepted", COW_PAYER.endpoints[0]), COW_PAYER)
    assert only_task(with_cow.told(PROVIDER)[-1])["status"] == "completed"


def test_what_is_completed_is_not_cancelled(claimed: Network) -> None:
    respond(claimed, "complete")
    answer = claimed.post(cancel(), PROVIDER)
    assert (answer.status, answer.header["response"]["code"]) == (200, "fatal-error")
    assert (only_task(answer)["status"], errors(answer)) == ("failed", ["too-late-completed"])


def test_the_status_of_a_claim_is_told(claimed: Network) -> None:
    for outcome, code in ((None, "queued"), ("partial", "partial"), ("complete", "complete")):
        if outcome:
            respond(claimed, outcome)
        answer = claimed.post(message("status-check", task("status")), PROVIDER)
        assert (event(answer), only_task(answer)["output"][0]["valueCode"]) == ("status-response", code)
    assert len(claimed.told(PAYER)) == 1


def test_the_status_of_an_unknown_claim_is_an_error(claimed: Network) -> None:
    answer = claimed.post(message("status-check", task("status", "C-9")), PROVIDER)
    assert (answer.status, only_task(answer)["status"]) == (200, "failed")


def test_the_same_message_has_the_same_answer_and_the_same_claim_is_refused(claimed: Network) -> None:
    sent = cancel()
    assert claimed.post(sent, PROVIDER) == claimed.post(sent, PROVIDER)
    again = claimed.post(message("claim-request", claim()), PROVIDER)
    [response] = again.of_type("ClaimResponse")
    assert (again.status, again.header["response"]["code"], response["outcome"]) == (200, "ok", "error")
    assert "C-1" in response["error"][0]["code"]["text"]


def test_what_one_writes_about_a_claim_the_other_is_sent(claimed: Network) -> None:
    about = [{"type": "Claim", "identifier": claim()["identifier"][0]}]
    question = {
        "resourceType": "CommunicationRequest",
        "id": "8",
        "status": "active",
        "about": about,
        "payload": [{"contentString": "The X-ray, please"}],
    }
    assert event(claimed.post(message("communication-request", question, PAYER), PAYER)) == "acknowledgement"
    told = claimed.told(PROVIDER)[-1]
    assert event(told) == "communication-request"
    assert told.of_type("CommunicationRequest")[0]["about"] == about


def test_a_payers_response_that_cannot_be_taken_is_noticed(claimed: Network) -> None:
    answer = claimed.post(message("claim-response", adjudicated("complete", "C-9"), PAYER), PAYER)
    assert (answer.status, event(answer)) == (200, "error-notice")
    assert answer.header["focus"]


@pytest.mark.parametrize("name", ["lunch-request", "cancel-request"])
def test_what_is_no_message_of_nphies_is_kept_and_refused_without_one(claimed: Network, name: str) -> None:
    answer = claimed.post(message(name, claim("C-2")), PROVIDER)
    assert answer.status == 400
    assert (answer.body or {})["resourceType"] == "OperationOutcome"


def polled(network: Network, *inputs: Resource) -> Answered:
    answer = network.post(message("poll-request", task("poll", input=list(inputs)), POLLING), POLLING)
    assert (answer.status, event(answer)) == (200, "poll-response")
    return answer


def wish(name: str, **value: object) -> Resource:
    return {"type": {"coding": [{"code": name}]}, **value}


def test_what_waits_is_polled_in_its_order_and_once(polling: Network) -> None:
    for outcome in ("queued", "partial", "complete"):
        respond(polling, outcome)
    first = polled(polling)
    [bundle] = first.of_type("Bundle")
    assert Answered(200, bundle).of_type("ClaimResponse")[0]["outcome"] == "queued"
    assert "queued-messages" in tags(first)
    [output] = only_task(first)["output"]
    assert output["valueReference"]["reference"] == f"urn:uuid:{bundle['id']}"
    rest = polled(polling, wish("count", valuePositiveInt=50))
    assert (len(rest.of_type("Bundle")), tags(rest)) == (2, ["nphies-generated"])
    nothing = polled(polling)
    assert (only_task(nothing)["status"], nothing.of_type("Bundle")) == ("completed", [])


def test_the_same_poll_has_the_same_messages(polling: Network) -> None:
    respond(polling, "complete")
    sent = message("poll-request", task("poll"), POLLING)
    first = polling.post(sent, POLLING)
    assert len(first.of_type("Bundle")) == 1
    assert polling.post(sent, POLLING) == first


def test_a_poll_is_by_kind(polling: Network) -> None:
    respond(polling, "complete")
    assert polled(polling, wish("exclude-message-type", valueCode="claim-response")).of_type("Bundle") == []
    assert len(polled(polling, wish("include-message-type", valueCode="claim-response")).of_type("Bundle")) == 1


@pytest.mark.parametrize(
    "inputs",
    [
        [wish("count", valuePositiveInt=101)],
        [wish("include-message-type", valueCode="a"), wish("exclude-message-type", valueCode="b")],
    ],
)
def test_a_poll_that_cannot_be_done_has_failed(polling: Network, inputs: list[Resource]) -> None:
    answer = polled(polling, *inputs)
    assert (answer.header["response"]["code"], only_task(answer)["status"]) == ("fatal-error", "failed")


def test_an_eligibility_inquiry_is_answered_too(claimed: Network) -> None:
    inquiry = {
        "resourceType": "CoverageEligibilityRequest",
        "id": "2",
        "identifier": [{"system": "http://provider.example/eligibility", "value": "E-1"}],
        "status": "active",
        "purpose": ["validation"],
        "patient": {"reference": "http://provider.example/Patient/3"},
        "created": "2026-01-02",
        "insurer": {"identifier": {"system": "http://nphies.sa/license/payer-license", "value": "N-I-00001"}},
    }
    answer = claimed.post(message("eligibility-request", inquiry), PROVIDER)
    [response] = answer.of_type("CoverageEligibilityResponse")
    assert (event(answer), response["outcome"]) == ("eligibility-response", "queued")
    assert event(claimed.told(PAYER)[-1]) == "eligibility-request"
