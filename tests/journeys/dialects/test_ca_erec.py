"""Journeys of CA:eReC: referrals, their progress and their revocation, answered by HTTP alone."""

import pytest

from gateway.partners import Partner
from tests.journeys.dialects import Answered, Network, Resource
from tests.journeys.dialects.conftest import Opening
from tests.journeys.dialects.cow import update
from tests.journeys.dialects.erec import CENTRE, CLINIC, COW_CENTRE, about_request, message, process, request

NUMBER = "REF-1"


@pytest.fixture
def referred(network: Opening) -> Network:
    """A network in which a referral was made."""
    return refer(network(CLINIC, CENTRE))


@pytest.fixture
def with_cow(network: Opening) -> Network:
    return refer(network(CLINIC, COW_CENTRE))


def refer(network: Network) -> Network:
    answer = network.post(message("add-service-request", request()), CLINIC)
    assert (answer.status, answer.body) == (200, None), answer.text
    return network


def say(network: Network, event: str, about: Resource, sender: Partner = CLINIC) -> Answered:
    return network.post(message(event, about, sender), sender)


def progress(network: Network, status: str, **said: object) -> Answered:
    return say(network, "notify-update-process-request", process(status, **said), CENTRE)


def revoke(network: Network) -> Answered:
    return say(network, "revoke-service-request", request(status="revoked"))


def events(network: Network, partner: Partner) -> list[str]:
    return [one.header["eventCoding"]["code"] for one in network.told(partner)]


def last_task(network: Network) -> Resource:
    """The Task that the requester was told of at last."""
    [task] = network.told(CLINIC)[-1].of_type("Task")
    return task


def test_a_referral_goes_to_its_performer_and_its_progress_back(referred: Network) -> None:
    assert events(referred, CENTRE) == ["add-service-request"]
    [told] = referred.told(CENTRE)
    assert told.of_type("ServiceRequest")[0]["identifier"][0]["value"] == NUMBER
    assert told.of_type("Task") == []
    for status in ("received", "accepted", "in-progress", "completed"):
        assert (progress(referred, status).status, referred.task(NUMBER)["status"]) == (200, status)
    assert events(referred, CLINIC) == ["notify-update-process-request"] * 4
    assert (last_task(referred)["status"], last_task(referred)["code"]["coding"][0]["code"]) == (
        "completed",
        "process-request",
    )


def test_a_performer_that_leaves_steps_out_has_made_them(referred: Network) -> None:
    assert progress(referred, "completed").status == 200
    assert referred.task(NUMBER)["status"] == "completed"


def test_the_requester_changes_its_referral(referred: Network) -> None:
    changed = request(code={"text": "MRI of both knees"})
    assert say(referred, "notify-update-service-request", changed).status == 200
    assert events(referred, CENTRE) == ["add-service-request", "notify-update-service-request"]
    assert referred.told(CENTRE)[-1].of_type("ServiceRequest")[0]["code"]["text"] == "MRI of both knees"


def test_before_it_is_begun_it_is_revoked_at_once(referred: Network) -> None:
    answer = revoke(referred)
    assert (answer.status, answer.body) == (200, None), answer.text
    assert referred.task(NUMBER)["status"] == "cancelled"
    assert events(referred, CENTRE)[-1] == "revoke-service-request"
    assert referred.told(CENTRE)[-1].of_type("ServiceRequest")[0]["status"] == "revoked"


@pytest.mark.parametrize("status", ["revoked", "entered-in-error"])
def test_an_update_that_revokes_it_is_a_revocation(referred: Network, status: str) -> None:
    assert say(referred, "notify-update-service-request", request(status=status)).status == 200
    assert referred.task(NUMBER)["status"] == "cancelled"


def test_once_it_is_begun_the_performer_confirms_it(referred: Network) -> None:
    progress(referred, "in-progress")
    assert (revoke(referred).status, referred.task(NUMBER)["status"]) == (202, "in-progress")
    assert events(referred, CENTRE)[-1] == "revoke-service-request"
    assert progress(referred, "cancelled").status == 200
    assert referred.task(NUMBER)["status"] == "cancelled"
    assert (events(referred, CLINIC)[-1], last_task(referred)["status"]) == (
        "notify-update-process-request",
        "cancelled",
    )


def test_what_is_completed_is_not_revoked(referred: Network) -> None:
    progress(referred, "completed")
    answer = revoke(referred)
    assert (answer.status, answer.codes) == (409, ["too-late-completed"])
    assert answer.body is not None
    assert answer.body["resourceType"] == "OperationOutcome"


def test_a_performer_of_the_gateways_own_way_refuses_and_the_requester_is_told_why(with_cow: Network) -> None:
    named = with_cow.task(NUMBER)["identifier"]
    for status in ("accepted", "in-progress"):
        with_cow.post(update(named, status, COW_CENTRE.endpoints[0]), COW_CENTRE)
    assert revoke(with_cow).status == 202
    [asked] = [
        one for one in with_cow.told(COW_CENTRE)[-1].of_type("Task") if one["code"]["coding"][0]["code"] == "abort"
    ]
    refusal = update(
        asked["identifier"], "rejected", COW_CENTRE.endpoints[0], statusReason={"text": "The patient is here"}
    )
    with_cow.post(refusal, COW_CENTRE)
    assert last_task(with_cow)["status"] == "in-progress"
    assert last_task(with_cow)["statusReason"]["text"] == "The patient is here"


def test_an_appointment_is_an_output_of_the_order(referred: Network) -> None:
    appointment = about_request(
        "Appointment",
        identifier=[{"system": "http://centre.example/appointment", "value": "A-1"}],
        status="proposed",
        participant=[{"actor": {"display": "MRI 2"}, "status": "accepted"}],
    )
    assert say(referred, "notify-add-appointment", appointment, CENTRE).status == 200
    told = referred.told(CLINIC)[-1]
    assert told.of_type("Appointment")[0]["identifier"] == appointment["identifier"]
    again = appointment | {"status": "cancelled"}
    assert say(referred, "notify-update-process-request", again, CENTRE).status == 200
    assert len(referred.task(NUMBER)["output"]) == 1


@pytest.mark.parametrize(
    ("sender", "receiver", "side"), [(CLINIC, CENTRE, "requester"), (CENTRE, CLINIC, "provider")], ids=["ask", "answer"]
)
def test_what_one_writes_the_other_is_sent(referred: Network, sender: Partner, receiver: Partner, side: str) -> None:
    written = about_request("Communication", status="completed", payload=[{"contentString": "Which knee?"}])
    assert say(referred, f"send-communication-from-{side}", written, sender).status == 200
    told = referred.told(receiver)[-1]
    assert told.header["eventCoding"]["code"] == f"send-communication-from-{side}"
    assert told.of_type("Communication")[0]["payload"] == written["payload"]


def test_a_correction_is_asked_for_and_changes_nothing_by_itself(referred: Network) -> None:
    corrected = request(code={"text": "MRI of the left knee"})
    answer = say(referred, "notify-data-correction", corrected, CENTRE)
    assert answer.status == 200, answer.text
    assert events(referred, CLINIC)[-1] == "notify-data-correction"
    told = referred.told(CLINIC)[-1].of_type("ServiceRequest")
    assert "MRI of the left knee" in [one["code"]["text"] for one in told]


def test_any_of_its_names_will_do(referred: Network) -> None:
    progress(referred, "in-progress")
    other = {"system": "http://elsewhere.example/referral", "value": "X-1"}
    both = request(status="revoked", identifier=[other, request()["identifier"][0]])
    assert say(referred, "revoke-service-request", both).status == 202
    [asked] = [task for task in referred.tasks() if task["code"]["coding"][0]["code"] == "abort"]
    assert asked["focus"]["reference"] == f"Task/{referred.task(NUMBER)['id']}"


def test_what_was_accepted_and_is_declined_has_failed(referred: Network) -> None:
    progress(referred, "accepted")
    assert progress(referred, "rejected").status == 200
    assert referred.task(NUMBER)["status"] == "failed"


def test_a_referral_is_not_forwarded(referred: Network) -> None:
    forwarded = message("notify-update-process-request", process("accepted"), CENTRE)
    second = request("REF-2", replaces=[{"reference": forwarded["entry"][2]["fullUrl"]}])
    forwarded["entry"].append({"fullUrl": "urn:uuid:5d1f0c7e-6a51-4c6c-9f5e-000000000009", "resource": second})
    answer = referred.post(forwarded, CENTRE)
    assert (answer.status, answer.issues[0]["code"]) == (422, "not-supported")
    assert referred.task(NUMBER)["status"] == "requested"
    del second["replaces"]
    assert referred.post(message("notify-update-process-request", process("accepted"), CENTRE), CENTRE).status == 200


def test_a_message_sent_again_has_its_first_answer(referred: Network) -> None:
    sent = message("revoke-service-request", request(status="revoked"))
    first = referred.post(sent, CLINIC)
    assert referred.post(sent, CLINIC) == first
    assert events(referred, CENTRE).count("revoke-service-request") == 1


@pytest.mark.parametrize(
    ("event", "about", "status"),
    [
        ("add-lunch", request(), 422),
        ("add-service-request", process("accepted"), 422),
        ("add-service-request", {"resourceType": "ServiceRequest"} | request(identifier=[{"use": "usual"}]), 400),
        ("revoke-service-request", request("REF-9", status="revoked"), 404),
        ("notify-update-service-request", request("REF-9"), 404),
    ],
)
def test_what_cannot_be_done_is_said_by_the_status(referred: Network, event: str, about: Resource, status: int) -> None:
    answer = say(referred, event, about)
    assert answer.status == status, answer.text
    assert (answer.body or {})["resourceType"] == "OperationOutcome"
