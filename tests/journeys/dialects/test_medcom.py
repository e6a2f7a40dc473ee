"""Journeys of MedCom: threads of communications and stays in hospital, each message acknowledged by one."""

import uuid
from pathlib import Path

import pytest

from gateway.fhir import formats
from gateway.partners import Partner
from tests.journeys.dialects import Answered, Network, Resource
from tests.journeys.dialects.conftest import Opening
from tests.journeys.dialects.cow import update
from tests.journeys.dialects.medcom import (
    COW_RECEIVER,
    RECEIVER,
    SENDER,
    THREAD,
    communication,
    encounter,
    id_of,
    message,
)

STAY = "LPR-1"


@pytest.fixture
def medcom(network: Opening) -> Network:
    return network(SENDER, RECEIVER)


@pytest.fixture
def with_cow(network: Opening) -> Network:
    return network(SENDER, COW_RECEIVER)


def say(network: Network, sent: Resource, sender: Partner = SENDER) -> Answered:
    """The acknowledgement, which is one whatever it says."""
    answer = network.post(sent, sender)
    assert answer.status == 200
    assert answer.header["eventCoding"]["code"] == "acknowledgement-message", answer.text
    assert answer.header["response"]["identifier"] == id_of(sent)
    assert answer.header["id"] != id_of(sent)
    return answer


def code_of(answer: Answered) -> str:
    code: str = answer.header["response"]["code"]
    return code


def told(network: Network, partner: Partner = RECEIVER) -> list[tuple[str, str]]:
    """The event and the activity of what a partner was told."""
    return [
        (one.header["eventCoding"]["code"].removesuffix("-message"), activity_of(one)) for one in network.told(partner)
    ]


def activity_of(answer: Answered) -> str:
    [provenance] = answer.of_type("Provenance")
    code: str = provenance["activity"]["coding"][0]["code"]
    return code


def texts(answer: Answered) -> list[str]:
    return [one["payload"][0]["contentString"] for one in answer.of_type("Communication")]


def test_a_thread_is_written_answered_and_changed(medcom: Network) -> None:
    first = message("new-message", communication())
    assert code_of(say(medcom, first)) == "ok"
    reply = message("reply-message", communication("It hurts"), RECEIVER, before=first)
    assert code_of(say(medcom, reply, RECEIVER)) == "ok"
    changed = message("modified-message", communication("Please examine both hips"), before=first)
    assert code_of(say(medcom, changed)) == "ok"
    assert told(medcom) == [("care-communication", "new-message"), ("care-communication", "modified-message")]
    assert told(medcom, SENDER) == [("care-communication", "reply-message")]
    assert texts(medcom.told(RECEIVER)[-1]) == ["Please examine both hips"]
    [back] = medcom.told(SENDER)
    assert texts(back) == ["It hurts"]
    assert back.of_type("Communication")[0]["identifier"][0]["value"] == THREAD
    assert [task["status"] for task in medcom.tasks()] == ["requested"]


def test_a_reply_is_changed_by_who_wrote_it(medcom: Network) -> None:
    first = message("new-message", communication())
    reply = message("reply-message", communication("It hurts"), RECEIVER, before=first)
    changed = message("modified-message", communication("It hurt"), RECEIVER, before=reply)
    retracted = message("retract-message", communication("It hurt"), RECEIVER, before=changed, role="removal")
    say(medcom, first)
    for sent in (reply, changed, retracted):
        assert code_of(say(medcom, sent, RECEIVER)) == "ok"
    assert [texts(one) for one in medcom.told(SENDER)] == [["It hurts"], ["It hurt"], ["It hurt"]]
    assert medcom.told(SENDER)[-1].of_type("Communication")[0]["status"] == "entered-in-error"
    assert medcom.task(THREAD)["status"] == "requested"


def test_before_work_has_begun_a_thread_is_retracted_at_once(medcom: Network) -> None:
    first = message("new-message", communication())
    say(medcom, first)
    retracted = message("retract-message", communication(), before=first, role="removal")
    answer = say(medcom, retracted)
    assert (code_of(answer), answer.codes) == ("ok", ["cancelled"])
    assert medcom.task(THREAD)["status"] == "cancelled"
    assert told(medcom)[-1] == ("care-communication", "retract-message")


def test_once_it_has_begun_the_receiver_is_asked_and_the_outcome_is_a_reply(with_cow: Network) -> None:
    first = message("new-message", communication())
    say(with_cow, first)
    named = with_cow.task(THREAD)["identifier"]
    for status in ("accepted", "in-progress"):
        with_cow.post(update(named, status, COW_RECEIVER.endpoints[0]), COW_RECEIVER)
    retracted = message("retract-message", communication(), before=first, role="removal")
    answer = say(with_cow, retracted)
    assert (code_of(answer), answer.codes) == ("ok", ["pending"])
    assert with_cow.task(THREAD)["status"] == "in-progress"
    [asked] = [one for one in with_cow.told(COW_RECEIVER)[-1].of_type("Task") if "abort" in str(one["code"])]
    refused = update(
        asked["identifier"], "rejected", COW_RECEIVER.endpoints[0], statusReason={"text": "It is being done"}
    )
    with_cow.post(refused, COW_RECEIVER)
    assert told(with_cow, SENDER) == [("care-communication", "reply-message")]
    assert "It is being done" in texts(with_cow.told(SENDER)[0])[0]


def test_what_is_completed_is_not_retracted(with_cow: Network) -> None:
    first = message("new-message", communication())
    say(with_cow, first)
    named = with_cow.task(THREAD)["identifier"]
    for status in ("accepted", "in-progress", "completed"):
        with_cow.post(update(named, status, COW_RECEIVER.endpoints[0]), COW_RECEIVER)
    answer = say(with_cow, message("retract-message", communication(), before=first, role="removal"))
    assert (code_of(answer), answer.codes) == ("fatal-error", ["too-late-completed"])
    [outcome] = answer.of_type("OperationOutcome")
    assert answer.header["response"]["details"] == {"reference": f"urn:uuid:{outcome['id']}"}


def test_a_stay_goes_through_its_activities_and_is_taken_back(medcom: Network) -> None:
    sent = message("admit-inpatient", encounter())
    say(medcom, sent)
    steps = [
        ("start-leave-inpatient", "onleave"),
        ("cancel-start-leave-inpatient", "entered-in-error"),
        ("revise-admit-inpatient", "in-progress"),
    ]
    for activity, status in steps:
        sent = message(activity, encounter(status), before=sent)
        assert code_of(say(medcom, sent)) == "ok"
        assert medcom.task(STAY)["businessStatus"]["coding"][0]["code"] == activity
    taken_back = message("cancel-admit-inpatient", encounter("entered-in-error"), before=sent, role="removal")
    assert say(medcom, taken_back).codes == ["cancelled"]
    activities = ["admit-inpatient", *(activity for activity, _ in steps), "cancel-admit-inpatient"]
    assert told(medcom) == [("hospital-notification", activity) for activity in activities]
    assert medcom.task(STAY)["status"] == "cancelled"


def test_an_admission_after_an_emergency_goes_on_with_its_stay(medcom: Network) -> None:
    first = message("admit-emergency", encounter())
    say(medcom, first)
    assert code_of(say(medcom, message("admit-inpatient", encounter(), before=first))) == "ok"
    assert len(medcom.tasks()) == 1


def test_a_duplicate_has_the_same_answer_and_is_shown_to_nobody(medcom: Network) -> None:
    first = message("new-message", communication())
    answer = say(medcom, first)
    assert say(medcom, first) == answer
    resent = first | {"id": str(uuid.uuid4()), "timestamp": "2026-01-02T03:34:05Z"}
    assert say(medcom, resent).header["response"] == answer.header["response"]
    assert len(told(medcom)) == 1


def test_an_acknowledgement_is_not_acknowledged(medcom: Network) -> None:
    say(medcom, message("new-message", communication()))
    sent = medcom.told(RECEIVER)[0]
    acknowledgement = message("acknowledgement", communication(), RECEIVER)
    header = acknowledgement["entry"][0]["resource"]
    header["eventCoding"]["code"] = "acknowledgement-message"
    header["response"] = {"identifier": sent.header["id"], "code": "ok"}
    assert medcom.post(acknowledgement, RECEIVER).body is None
    assert medcom.closed(RECEIVER) == ["ok"]


@pytest.mark.parametrize(
    ("activity", "about"),
    [
        ("sing-message", communication()),
        ("new-message", encounter()),
        ("reply-message", communication(identifier=[])),
    ],
)
def test_what_is_no_message_of_medcom_is_kept_and_refused_by_an_acknowledgement(
    medcom: Network, activity: str, about: Resource
) -> None:
    answer = say(medcom, message(activity, {name: value for name, value in about.items() if value != []}))
    assert code_of(answer) == "fatal-error"
    assert answer.issues


def test_copies_go_to_others_and_the_order_to_the_primary_receiver(medcom: Network) -> None:
    say(medcom, message("new-message", communication(), copies=("359001000016000",)))
    assert medcom.task(THREAD)["owner"]["identifier"]["value"] == "328051000016008"


@pytest.mark.parametrize(
    "name",
    [
        "medcom-dk-carecommunication/care-communication-message-request-80e88f0a.xml",
        "medcom-dk-carecommunication/care-communication-message-request-9f4392b1.xml",
        "medcom-dk-carecommunication/care-communication-message-request-b045f52d.xml",
        "medcom-dk-hospitalnotification/hospital-notification-message-request-a1e5005c.xml",
    ],
)
def test_what_medcom_has_published_is_taken_and_taken_back(medcom: Network, corpus: Path, name: str) -> None:
    published = formats.parse((corpus / name).read_bytes(), "xml")
    answer = say(medcom, published)
    assert code_of(answer) == "ok", answer.text
    [task] = medcom.tasks()
    assert task["requester"]["identifier"]["value"] == SENDER.identifiers[0].rpartition("|")[2]
    back = formats.parse((corpus / name).read_bytes(), "xml")
    header = back["entry"][0]["resource"]
    header["id"], back["id"] = str(uuid.uuid4()), str(uuid.uuid4())
    back["entry"][0]["fullUrl"] = f"MessageHeader/{header['id']}"
    [done] = [item["resource"] for item in back["entry"] if item["resource"]["resourceType"] == "Provenance"]
    is_stay = "hospital" in name
    done["activity"]["coding"][0]["code"] = "cancel-admit-inpatient" if is_stay else "retract-message"
    done["target"] = [{"reference": f"MessageHeader/{header['id']}"}]
    done["entity"] = [{"role": "removal", "what": {"reference": f"MessageHeader/{id_of(published)}"}}]
    assert say(medcom, back).codes == ["cancelled"]
    assert {one["status"] for one in medcom.tasks()} == {"cancelled", "completed"}
