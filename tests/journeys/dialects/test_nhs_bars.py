"""Journeys of NHS BaRS and of the Welsh referral service: requests, changes, cancellations, results."""

import pytest

from gateway.partners import Partner
from tests.journeys.dialects import Answered, Network, Resource, bars
from tests.journeys.dialects.bars import COW_RECEIVER, OTHER, RECEIVER, REFERRAL, SENDER
from tests.journeys.dialects.conftest import Opening
from tests.senders import COW, Sender

EVENTS = pytest.mark.parametrize(
    ("event", "new", "ended"),
    [
        ("servicerequest-request", bars.referral(), bars.referral("revoked")),
        ("servicerequest-request", bars.referral(), bars.referral("entered-in-error")),
        ("booking-request", bars.booking(), bars.booking("cancelled")),
    ],
    ids=["revoked", "entered-in-error", "booking"],
)
NAME = f"urn:uuid:{REFERRAL}"


@pytest.fixture
def both(network: Opening) -> Network:
    return network(SENDER, RECEIVER, OTHER)


@pytest.fixture
def with_cow(network: Opening) -> Network:
    return network(SENDER, COW_RECEIVER, OTHER)


def send(at: Network, event: str, reason: str, about: Resource, sender: Partner = SENDER) -> tuple[Resource, Answered]:
    sent = bars.message(event, reason, about, sender)
    return sent, at.post(sent, sender, nhsd_target_identifier=bars.target())


def referred(at: Network) -> Resource:
    sent, answer = send(at, "servicerequest-request", "new", bars.referral())
    assert answer.status == 200, answer.text
    return sent


def moved(at: Network, *statuses: str) -> None:
    for status in statuses:
        task = {"resourceType": "Task", "identifier": at.task(NAME)["identifier"], "status": status, "intent": "order"}
        reply = at.post(Sender(COW_RECEIVER.endpoints[0]).write("order-update", task, system=COW), COW_RECEIVER)
        assert reply.header["response"]["code"] == "ok", reply.text


@EVENTS
def test_a_request_is_placed_and_cancelled(both: Network, event: str, new: Resource, ended: Resource) -> None:
    sent, answer = send(both, event, "new", new)
    assert (answer.status, answer.header["response"]) == (200, {"identifier": sent["id"], "code": "ok"}), answer.text
    assert answer.header["eventCoding"]["code"] == event.replace("-request", "-response")
    assert [one["status"] for one in answer.of_type(new["resourceType"])] == [new["status"]]
    task = both.task(NAME)
    assert (task["status"], task["owner"]["identifier"]["value"]) == ("requested", "111111111")
    cancelled, answer = send(both, event, "update", ended)
    assert answer.status == 200, answer.text
    assert answer.header["response"]["identifier"] == cancelled["id"]
    assert [one["status"] for one in answer.of_type(new["resourceType"])] == [ended["status"]]
    assert both.task(NAME)["status"] == "cancelled"


def test_it_is_cancelled_once(both: Network) -> None:
    referred(both)
    send(both, "servicerequest-request", "update", bars.referral("revoked"))
    _, again = send(both, "servicerequest-request", "update", bars.referral("revoked"))
    assert (again.status, again.codes) == (409, ["REC_CONFLICT", "already-cancelled"])


def test_the_same_message_was_processed_already(both: Network) -> None:
    sent = referred(both)
    again = both.post(sent, SENDER, nhsd_target_identifier=bars.target())
    assert (again.status, again.codes[0], again.issues[0]["code"]) == (409, "REC_CONFLICT", "duplicate")
    assert len(both.tasks()) == 1


def test_another_party_cancels_nothing(both: Network) -> None:
    referred(both)
    _, answer = send(both, "servicerequest-request", "update", bars.referral("revoked"), OTHER)
    assert (answer.status, answer.codes) == (403, ["REC_FORBIDDEN", "not-the-placer"])
    assert both.task(NAME)["status"] == "requested"


def test_what_is_not_known_is_not_found_and_that_is_final(both: Network) -> None:
    _, answer = send(both, "servicerequest-request", "update", bars.referral("revoked"))
    assert (answer.status, answer.codes) == (404, ["REC_NOT_FOUND", "no-such-order"])
    referred(both)
    assert both.task(NAME)["status"] == "requested"


def test_any_of_its_names_will_do(both: Network) -> None:
    referred(both)
    named = bars.referral("revoked", identifier=[{"system": "http://sender.example/referral", "value": "7"}])
    _, answer = send(both, "servicerequest-request", "update", named)
    assert (answer.status, both.task(NAME)["status"]) == (200, "cancelled"), answer.text


def test_an_id_that_is_no_uuid_is_its_senders_own(both: Network) -> None:
    for sender in (SENDER, OTHER):
        sent = bars.message("servicerequest-request", "new", bars.referral(own="1"), sender)
        sent["entry"][1]["fullUrl"] = sent["entry"][0]["resource"]["focus"][0]["reference"] = "ServiceRequest/1"
        sent["id"] = "1"
        answer = both.post(sent, sender, nhsd_target_identifier=bars.target())
        assert answer.status == 200, answer.text
    for sender in (OTHER, SENDER):
        sent = bars.message("servicerequest-request", "update", bars.referral("revoked", own="1"), sender)
        sent["entry"][1]["fullUrl"] = sent["entry"][0]["resource"]["focus"][0]["reference"] = "ServiceRequest/1"
        sent["id"] = "2"
        assert both.post(sent, sender).status == 200
    assert [task["status"] for task in both.tasks()] == ["cancelled", "cancelled", "completed", "completed"]


@pytest.mark.parametrize(("reason", "status"), [("new", "revoked"), ("new", "draft"), ("update", "draft")])
def test_a_pair_that_there_is_not_is_refused(both: Network, reason: str, status: str) -> None:
    _, answer = send(both, "servicerequest-request", reason, bars.referral(status))
    assert (answer.status, answer.codes) == (422, ["REC_UNPROCESSABLE_ENTITY"])
    assert "Invalid MessageHeader.reason and ServiceRequest.status combination" in answer.text
    assert not both.tasks()


def test_an_event_that_bars_has_not_is_refused_in_its_way_and_kept(both: Network) -> None:
    sent, answer = send(both, "admin-notify", "new", bars.referral())
    assert (answer.status, answer.codes) == (422, ["REC_UNPROCESSABLE_ENTITY"])
    assert "servicerequest-request" in answer.text
    assert both.post(sent, SENDER).status == 409


def test_a_header_that_names_nobody_is_refused(both: Network) -> None:
    sent = bars.message("servicerequest-request", "new", bars.referral())
    answer = both.post(sent, SENDER, nhsd_target_identifier="not base64")
    assert (answer.status, answer.codes) == (400, ["REC_BAD_REQUEST"])
    assert "NHSD-Target-Identifier" in answer.text


@pytest.mark.parametrize("endpoint", [f"{bars.DOS}|111111111", f"{bars.DOS}:111111111"])
def test_without_the_header_the_destination_names_the_receiver(both: Network, endpoint: str) -> None:
    sent = bars.message("servicerequest-request", "new", bars.referral(), destination=[{"endpoint": endpoint}])
    assert both.post(sent, SENDER).status == 200
    assert both.task(NAME)["owner"]["identifier"]["value"] == "111111111"


def test_the_receiver_is_told_in_the_words_of_bars(both: Network) -> None:
    referred(both)
    send(both, "servicerequest-request", "update", bars.referral(patientInstruction="Call back."))
    send(both, "servicerequest-request", "update", bars.referral("revoked"))
    told = both.told(RECEIVER)
    said = [(one.header["eventCoding"]["code"], one.header["reason"]["coding"][0]["code"]) for one in told]
    assert said == [("servicerequest-request", reason) for reason in ("new", "update", "update")]
    requests = [one.of_type("ServiceRequest")[0] for one in told]
    assert [one["status"] for one in requests] == ["active", "active", "revoked"]
    assert requests[1]["patientInstruction"] == "Call back."
    assert {one["id"] for one in requests} == {REFERRAL}
    assert all(one.header["focus"] == [{"reference": NAME}] for one in told)
    assert not any(one.of_type("Task") for one in told)


def test_the_result_comes_later_and_the_sender_is_told(both: Network) -> None:
    sent = referred(both)
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR"},
    }
    [told] = both.told(RECEIVER)
    response = {"identifier": (told.body or {})["id"], "code": "ok"}
    result = bars.message("servicerequest-response", "new", bars.referral(), RECEIVER, response=response)
    result["entry"].append({"fullUrl": "urn:uuid:b83d13e2-8c2e-422c-88ac-63b8e86a4413", "resource": encounter})
    result["entry"][0]["resource"]["focus"].append({"reference": result["entry"][-1]["fullUrl"]})
    assert both.post(result, RECEIVER).status == 200
    assert (both.task(NAME)["status"], both.closed(RECEIVER)) == ("completed", ["ok"])
    [told] = both.told(SENDER)
    assert told.header["eventCoding"]["code"] == "servicerequest-response"
    assert told.header["response"] == {"identifier": sent["id"], "code": "ok"}
    assert [one["status"] for one in told.of_type("ServiceRequest")] == ["completed"]
    assert told.of_type("Encounter")
    _, late = send(both, "servicerequest-request", "update", bars.referral("revoked"))
    assert (late.status, late.codes) == (409, ["REC_CONFLICT", "too-late-completed"])


@pytest.mark.parametrize(
    ("decided", "code", "status"), [("accepted", "ok", "revoked"), ("rejected", "fatal-error", "active")]
)
def test_a_receiver_that_is_at_work_decides(with_cow: Network, decided: str, code: str, status: str) -> None:
    referred(with_cow)
    moved(with_cow, "accepted", "in-progress")
    sent, answer = send(with_cow, "servicerequest-request", "update", bars.referral("revoked"))
    assert (answer.status, answer.codes) == (200, ["pending"])
    assert [one["status"] for one in answer.of_type("ServiceRequest")] == ["active"]
    request = with_cow.task(sent["id"])
    said = {"statusReason": {"text": "On the way."}} if decided == "rejected" else {}
    task = {
        **{name: request[name] for name in ("resourceType", "identifier", "code", "intent")},
        "status": decided,
        **said,
    }
    with_cow.post(Sender(COW_RECEIVER.endpoints[0]).write("order-update", task, system=COW), COW_RECEIVER)
    told = with_cow.told(SENDER)[-1]
    assert (told.header["response"]["identifier"], told.header["response"]["code"]) == (sent["id"], code)
    assert [one["status"] for one in told.of_type("ServiceRequest")] == [status]


def test_wales_answers_with_the_request_itself(network: Opening) -> None:
    sender = bars.dos("2222222222", "sender", dialect="nhs-wales", fulfilled_by="receiver")
    at = network(sender, RECEIVER)
    sent = bars.message("servicerequest-request", "new", bars.referral(), sender)
    answer = at.post(sent, sender)
    assert (answer.status, answer.body) == (200, sent)
    _, cancelled = send(at, "servicerequest-request", "update", bars.referral("entered-in-error"), sender)
    assert (cancelled.status, at.task(NAME)["status"]) == (200, "cancelled")
    assert at.task(NAME)["owner"]["identifier"]["value"] == "111111111"
    _, refused = send(at, "servicerequest-request", "update", bars.referral("active"), sender)
    assert (refused.status, refused.codes) == (422, ["REC_UNPROCESSABLE_ENTITY"])
