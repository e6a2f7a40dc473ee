"""Journeys of BSeR: referrals that go on by two statuses, cancelled by asking for it."""

import pytest

from gateway import terms
from gateway.partners import Partner, Partners
from gateway.settings import Settings
from gateway.terms import Terms
from tests.journeys.dialects import Answered, Network, Resource, bser
from tests.journeys.dialects.bser import COW_RECIPIENT, INITIATOR, RECIPIENT, message, task
from tests.journeys.dialects.conftest import Opening
from tests.journeys.dialects.cow import update

NUMBER = "R-1"


@pytest.fixture
def referred(network: Opening) -> Network:
    """A network in which a referral was made."""
    return refer(network(INITIATOR, RECIPIENT))


@pytest.fixture
def with_cow(network: Opening) -> Network:
    return refer(network(INITIATOR, COW_RECIPIENT))


def refer(network: Network) -> Network:
    answer = network.post(message(task("requested", "2.0")), INITIATOR)
    assert state(answer) == ("received", "2.0"), answer.text
    return network


def state(answer: Answered) -> tuple[str, str | None]:
    """The two statuses of the one Task in focus of a message."""
    assert answer.header["eventCoding"]["code"] == "I12"
    [shown] = answer.of_type("Task")
    assert len(answer.header["focus"]) == 1
    codings = shown.get("businessStatus", {}).get("coding", [{"code": None}])
    return shown["status"], codings[0]["code"]


def say(network: Network, sender: Partner, status: str, code: str | None = None) -> Answered:
    return network.post(message(task(status, code), sender), sender)


def code_of(answer: Answered) -> str:
    code: str = answer.header["response"]["code"]
    return code


def test_a_referral_goes_through_its_states_and_each_side_is_told(referred: Network) -> None:
    assert state(referred.told(RECIPIENT)[0]) == ("received", "2.0")
    steps = [("accepted", "3.0"), ("in-progress", "5.1.1"), ("in-progress", "5.1.4"), ("completed", "7.0")]
    for status, code in steps:
        assert state(say(referred, RECIPIENT, status, code)) == (status, code)
    assert [state(one) for one in referred.told(INITIATOR)] == steps
    assert len(referred.told(RECIPIENT)) == 1


def test_feedback_is_an_output_of_the_task(referred: Network) -> None:
    say(referred, RECIPIENT, "accepted", "3.0")
    report = {
        "resourceType": "DocumentReference",
        "identifier": [{"system": "http://program.example/document", "value": "D-1"}],
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "url": "http://program.example/d"}}],
    }
    feedback = {"type": {"text": "feedback"}, "valueReference": {"reference": bser._entry("10", {})["fullUrl"]}}
    sent = message(task("completed", "7.0", output=[feedback]), RECIPIENT, (report,))
    answer = referred.post(sent, RECIPIENT)
    assert state(answer) == ("completed", "7.0"), answer.text
    assert referred.told(INITIATOR)[-1].of_type("DocumentReference")[0]["identifier"] == report["identifier"]


def test_before_it_is_begun_it_is_cancelled_at_once(referred: Network) -> None:
    answer = say(referred, INITIATOR, "in-progress", "5.2")
    assert (code_of(answer), state(answer)) == ("ok", ("cancelled", "6.0"))
    assert state(referred.told(RECIPIENT)[-1]) == ("cancelled", "6.0")
    assert referred.task(NUMBER)["status"] == "cancelled"


def test_once_it_is_begun_the_recipient_confirms_it(referred: Network) -> None:
    for status, code in (("accepted", "3.0"), ("in-progress", "5.1.1")):
        say(referred, RECIPIENT, status, code)
    assert state(say(referred, INITIATOR, "in-progress", "5.2")) == ("in-progress", "5.2")
    assert state(referred.told(RECIPIENT)[-1]) == ("in-progress", "5.2")
    assert referred.task(NUMBER)["status"] == "in-progress"
    assert state(say(referred, RECIPIENT, "cancelled", "6.0")) == ("cancelled", "6.0")
    assert state(referred.told(INITIATOR)[-1]) == ("cancelled", "6.0")
    assert referred.task(NUMBER)["status"] == "cancelled"


def test_or_completes_it_all_the_same(referred: Network) -> None:
    for status, code in (("accepted", "3.0"), ("in-progress", "5.1.1")):
        say(referred, RECIPIENT, status, code)
    say(referred, INITIATOR, "in-progress", "5.2")
    assert state(say(referred, RECIPIENT, "completed", "7.0")) == ("completed", "7.0")
    assert state(referred.told(INITIATOR)[-1]) == ("completed", "7.0")
    requests = [one for one in referred.tasks() if one["status"] == "rejected"]
    assert requests[0]["statusReason"]["coding"][0]["code"] == "too-late-completed"


def test_what_is_completed_is_not_cancelled(referred: Network) -> None:
    for status, code in (("accepted", "3.0"), ("in-progress", "5.1.1"), ("completed", "7.0")):
        say(referred, RECIPIENT, status, code)
    answer = say(referred, INITIATOR, "in-progress", "5.2")
    assert (code_of(answer), answer.codes) == ("fatal-error", ["too-late-completed"])
    assert state(answer) == ("completed", "7.0")


def test_a_recipient_of_the_gateways_own_way_is_asked_and_its_refusal_is_told(with_cow: Network) -> None:
    named = with_cow.task(NUMBER)["identifier"]
    for status in ("accepted", "in-progress"):
        assert code_of(with_cow.post(update(named, status), COW_RECIPIENT)) == "ok"
    say(with_cow, INITIATOR, "in-progress", "5.2")
    asked = with_cow.told(COW_RECIPIENT)[-1]
    [request] = [one for one in asked.of_type("Task") if one["code"]["coding"][0]["code"] == "abort"]
    refusal = update(request["identifier"], "rejected", statusReason={"text": "They are on their way"})
    assert code_of(with_cow.post(refusal, COW_RECIPIENT)) == "ok"
    told = with_cow.told(INITIATOR)[-1]
    assert state(told) == ("in-progress", None)
    assert told.of_type("Task")[0]["statusReason"]["text"] == "They are on their way"


def test_the_recipient_cancels_nothing_that_nobody_asked_for(referred: Network) -> None:
    answer = say(referred, RECIPIENT, "cancelled", "6.0")
    assert (code_of(answer), answer.codes) == ("fatal-error", ["no-such-request"])
    assert referred.task(NUMBER)["status"] == "requested"


def test_a_message_sent_again_has_its_first_answer(referred: Network) -> None:
    sent = message(task("accepted", "3.0"), RECIPIENT)
    first = referred.post(sent, RECIPIENT)
    assert referred.post(sent, RECIPIENT) == first
    assert len(referred.told(INITIATOR)) == 1


@pytest.mark.parametrize(("status", "code"), [("requested", "7.0"), ("completed", "5.2"), ("ready", None)])
def test_what_is_no_state_of_a_referral_is_kept_and_refused(referred: Network, status: str, code: str | None) -> None:
    """The guide's own example says `requested` and 7.0 at once."""
    answer = say(referred, INITIATOR, status, code)
    assert code_of(answer) == "fatal-error"
    assert answer.header["eventCoding"]["code"] == "I12"
    assert "status" in answer.text


def test_what_is_another_event_is_refused(referred: Network) -> None:
    sent: Resource = message(task("accepted", "3.0"), RECIPIENT)
    sent["entry"][0]["resource"]["eventCoding"]["code"] = "I13"
    answer = referred.post(sent, RECIPIENT)
    assert (code_of(answer), answer.issues[0]["code"]) == ("fatal-error", "not-supported")


def test_by_the_policy_of_the_network_what_was_accepted_is_declined(network: Opening) -> None:
    policy = terms.load(Settings(policy="bser")).policy
    referred = refer(network(INITIATOR, RECIPIENT, terms=Terms(policy, Partners())))
    assert referred.task(NUMBER)["status"] == "received"
    for status, code in (("accepted", "3.0"), ("rejected", "4.0")):
        assert state(say(referred, RECIPIENT, status, code)) == (status, code)
    assert state(referred.told(INITIATOR)[-1]) == ("rejected", "4.0")


def test_a_bystander_answers_no_request_of_others(network: Opening) -> None:
    other = Partner("other", ("http://other.example|1",), ("http://other.example/fhir",), dialect="bser")
    referred = refer(network(INITIATOR, RECIPIENT, other))
    for status, code in (("accepted", "3.0"), ("in-progress", "5.1.1")):
        say(referred, RECIPIENT, status, code)
    say(referred, INITIATOR, "in-progress", "5.2")
    sent = message(task("cancelled", "6.0"), other)
    del sent["entry"][0]["resource"]["sender"]
    answer = referred.post(sent, other)
    assert (code_of(answer), answer.codes) == ("fatal-error", ["no-such-order"])
    assert referred.task(NUMBER)["status"] == "in-progress"
