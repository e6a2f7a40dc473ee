"""Messages that no partner of a network should send: what is odd, what is another's, what comes twice or too early."""

import copy
import random
import uuid
from dataclasses import replace

import pytest

from gateway.errors import Refused
from gateway.partners import Partner, Partners
from tests.fhir.dialects.test_mutated import MESSAGES, mutated
from tests.journeys.dialects import Answered, Network, Resource, bars, bser, eps, erec, medcom, nphies
from tests.journeys.dialects.conftest import Opening
from tests.journeys.dialects.eps import FIRST, NUMBER, PHARMACY, SURGERY
from tests.journeys.dialects.test_nhs_eps import history, placed

PARTIES = {
    "nhs-eps": (SURGERY, PHARMACY),
    "nhs-bars": (bars.SENDER, bars.RECEIVER),
    "nhs-wales": (replace(bars.SENDER, dialect="nhs-wales"), replace(bars.RECEIVER, dialect="nhs-wales")),
    "nphies": (nphies.PROVIDER, nphies.PAYER),
    "medcom": (medcom.SENDER, medcom.RECEIVER),
    "ca-erec": (erec.CLINIC, erec.CENTRE),
    "bser": (bser.INITIATOR, bser.RECIPIENT),
}
LINE = f"{NUMBER}/{FIRST}"


def renewed(message: Resource) -> Resource:
    """The message with ids of its own."""
    message["id"] = str(uuid.uuid4())
    match message["entry"][0]:
        case {"resource": {"id": _} as header}:
            header["id"] = str(uuid.uuid4())
    if "identifier" in message:
        message["identifier"] = {"system": eps.RFC, "value": str(uuid.uuid4())}
    return message


@pytest.mark.parametrize("name", PARTIES)
def test_whatever_comes_is_answered_with_what_is_valid(network: Opening, name: str) -> None:
    """Every answer, and all that is told, is judged at the end."""
    at, chance = network(*PARTIES[name]), random.Random(name)
    answers = [at.post(renewed(copy.deepcopy(message)), PARTIES[name][0]) for message in MESSAGES[name][:2]]
    for _ in range(40):
        sent = renewed(mutated(chance.choice(MESSAGES[name]), chance))
        try:
            answers.append(at.post(sent, chance.choice(PARTIES[name])))
        except Refused:  # no message at all
            continue
    assert len(answers) > 20
    assert all(answer.status in (200, 202, 400, 403, 404, 409, 422) for answer in answers)


@pytest.fixture
def at(network: Opening) -> Network:
    return placed(network(SURGERY, PHARMACY, eps.OTHER_SURGERY))


def marked(at: Network) -> Answered:
    """What the pharmacy is sent about a line on which it is at work, and which is to be cancelled."""
    at.post(eps.notification({FIRST: "0003"}), PHARMACY)
    assert history(at.post(eps.cancellation(), SURGERY))[0] == "R-0003"
    return at.told(PHARMACY)[-1]


def test_a_response_with_the_identifier_of_the_request_is_no_repeat_of_it(at: Network) -> None:
    asked = eps.cancellation()
    at.post(eps.notification({FIRST: "0003"}), PHARMACY)
    at.post(asked, SURGERY)
    decided = eps.decision(asked, "R-0001") | {"identifier": asked["identifier"], "id": asked["id"]}
    assert at.post(decided, PHARMACY).status == 200
    assert at.statuses()[LINE] == "cancelled"


def test_who_asks_does_not_answer(at: Network) -> None:
    told = marked(at)
    assert told.body is not None
    for sender in (SURGERY, eps.OTHER_SURGERY):
        answer = at.post(eps.decision(told.body, "R-0001", sender.identifiers[0].rpartition("|")[2]), sender)
        assert answer.status == 400
    assert at.statuses()[LINE] == "in-progress"


def test_a_line_of_another_prescription_is_not_found(at: Network) -> None:
    other = "11111111-11ac-4e18-825f-6470467238b3"
    assert at.post(eps.prescription(other, number="0BBBBB-A83008-000000"), SURGERY).status == 200
    answer = at.post(eps.cancellation(FIRST, number="0BBBBB-A83008-000000"), SURGERY)
    assert (answer.status, answer.codes) == (400, ["R-0008"])
    assert {at.statuses()[LINE], at.statuses()[f"0BBBBB-A83008-000000/{other}"]} == {"requested"}


def test_another_cancellation_with_an_identifier_that_was_used_is_refused(at: Network) -> None:
    first, second = eps.cancellation(FIRST), eps.cancellation(eps.SECOND)
    second["identifier"] = first["identifier"]
    assert history(at.post(first, SURGERY))[0] == "R-0001"
    refused = at.post(second, SURGERY)
    assert (refused.status, refused.codes, refused.issues[0]["code"]) == (400, ["R-5000"], "processing")
    assert at.statuses()[f"{NUMBER}/{eps.SECOND}"] == "requested"


def test_another_prescriber_with_the_same_identifier_is_another(at: Network) -> None:
    first, theft = eps.cancellation(), eps.cancellation(sender="A99968")
    theft["identifier"] = first["identifier"]
    assert history(at.post(theft, eps.OTHER_SURGERY))[0] == "R-0007"
    assert history(at.post(first, SURGERY))[0] == "R-0001"


def test_a_message_is_read_in_the_dialect_in_which_it_came(at: Network) -> None:
    sent = eps.cancellation()
    answer = at.post(sent, SURGERY, then=Partners((replace(SURGERY, dialect="medcom"), PHARMACY)))
    assert (answer.status, history(answer)) == (200, ("R-0001", "cancelled"))


def test_who_is_no_party_learns_nothing_of_a_claim(network: Opening) -> None:
    licence = "http://nphies.sa/license/provider-license|N-F-00009"
    other = Partner("other", (licence,), ("http://other.example/N-F-00009",), dialect="nphies")
    at = network(nphies.PROVIDER, nphies.PAYER, other)
    at.post(nphies.message("claim-request", nphies.claim()), nphies.PROVIDER)
    for event, code in (("status-check", "status"), ("cancel-request", "cancel")):
        [task] = at.post(nphies.message(event, nphies.task(code), other), other).of_type("Task")
        assert task["status"] == "failed"
        assert [one["type"]["coding"][0]["code"] for one in task["output"]] == ["error"]
    [task] = at.post(nphies.cancel("C-9"), nphies.PROVIDER).of_type("Task")
    assert task["output"][0]["valueCodeableConcept"]["coding"][0]["code"] == "RE-00169"
    at.post(nphies.message("claim-request", nphies.claim("C-9")), nphies.PROVIDER)
    assert at.statuses() == {"C-1": "requested", "C-9": "requested"}


def test_a_claim_that_cannot_be_repeated_is_answered_without_it(network: Opening) -> None:
    at = network(nphies.PROVIDER, nphies.PAYER)
    answer = at.post(nphies.message("claim-request", nphies.claim(type="professional")), nphies.PROVIDER)
    assert (answer.status, answer.issues[0]["expression"]) == (400, ["Bundle.entry[1].resource.type"])


def test_in_wales_what_waits_is_not_answered_as_done(network: Opening) -> None:
    sender, _ = PARTIES["nhs-wales"]
    at = network(replace(sender, fulfilled_by="receiver"), bars.RECEIVER)
    at.post(bars.message("servicerequest-request", "new", bars.referral(), sender), at.partners.partners[0])
    taken = bars.message("servicerequest-response", "new", bars.referral(), bars.RECEIVER)
    encounter = {"resourceType": "Encounter", "status": "in-progress", "class": {"code": "VR"}}
    taken["entry"].append({"fullUrl": "urn:uuid:b83d13e2-8c2e-422c-88ac-63b8e86a4413", "resource": encounter})
    taken["entry"][0]["resource"]["focus"].append({"reference": taken["entry"][-1]["fullUrl"]})
    assert at.post(taken, bars.RECEIVER).status == 200
    asked = bars.message("servicerequest-request", "update", bars.referral("revoked"), sender)
    answer = at.post(asked, at.partners.partners[0])
    assert (answer.status, answer.codes) == (200, ["pending"])
    assert [one["status"] for one in answer.of_type("ServiceRequest")] == ["active"]
