"""Whatever a sender sends, a dialect reads it, answers it and says the same of it again: nothing is raised."""

import copy
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import Issue, NotAMessage
from gateway.fhir import dialects, json
from gateway.fhir.dialects import Composed, Manner
from gateway.fhir.message import Message, Ourselves, compose_reply, read_message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.task.elements import is_cancellation
from gateway.fhir.task.outcomes import Outcome
from tests.journeys.dialects import bars, bser, eps, erec, medcom, nphies

Resource = dict[str, Any]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
_REFERRALS = [
    bars.message("servicerequest-request", "new", bars.referral()),
    bars.message("servicerequest-request", "update", bars.referral("revoked")),
]
_FIRST = medcom.message("new-message", medcom.communication())
MESSAGES = {
    "nhs-eps": [
        eps.prescription(),
        eps.cancellation(),
        eps.notification({eps.FIRST: "0003", eps.SECOND: "0001"}),
        eps.decision(eps.cancellation(), "R-0001"),
        eps.message("dispense-notification", "VNE51", [eps.returned(), eps.line(eps.FIRST)]),
    ],
    "nhs-bars": [
        *_REFERRALS,
        bars.message("booking-request", "new", bars.booking()),
        bars.message("booking-request", "update", bars.booking("cancelled")),
        bars.message("servicerequest-response", "new", bars.referral("completed"), bars.RECEIVER),
    ],
    "nhs-wales": _REFERRALS,
    "bser": [
        bser.message(bser.task(status, code))
        for status, code in (("requested", "2.0"), ("in-progress", "5.2"), ("cancelled", "6.0"), ("completed", "7.0"))
    ],
    "ca-erec": [
        erec.message("add-service-request", erec.request()),
        erec.message("revoke-service-request", erec.request(status="revoked")),
        erec.message("notify-update-process-request", erec.process("cancelled")),
        erec.message("notify-update-process-request", erec.process("accepted")),
        erec.message("notify-data-correction", erec.request()),
        erec.message("notify-add-appointment", erec.about_request("Appointment", status="booked")),
        erec.message("send-communication", erec.about_request("Communication", status="completed")),
    ],
    "nphies": [
        nphies.message("claim-request", nphies.claim()),
        nphies.message("claim-response", nphies.adjudicated("complete")),
        nphies.cancel(),
        nphies.message("cancel-response", nphies.task("cancel", status="failed")),
        nphies.message("status-check", nphies.task("status")),
    ],
    "medcom": [
        _FIRST,
        medcom.message("reply-message", medcom.communication(), before=_FIRST),
        medcom.message("modified-message", medcom.communication(), before=_FIRST),
        medcom.message("retract-message", medcom.communication(), before=_FIRST),
        medcom.message("admit-inpatient", medcom.encounter()),
        medcom.message("cancel-admit-inpatient", medcom.encounter()),
    ],
}
ODD: list[Any] = [
    None,
    "",
    " ",
    "x",
    "urn:uuid:",
    7,
    True,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": 1},
    {"coding": "x"},
    "\x00",
]
OUTCOMES = [None, *Outcome]


def mutated(message: Resource, chance: random.Random) -> Resource:
    """The message with some of its values, anywhere, replaced by others of any kind, left out or doubled."""
    changed = copy.deepcopy(message)
    for _ in range(chance.randint(1, 4)):
        places = list(_places(changed["entry"]))
        inside, key = chance.choice(places)
        match chance.randint(0, 3):
            case 0:
                del inside[key]
            case 1:
                other, at = chance.choice(places)
                inside[key] = copy.deepcopy(other[at]) if at in other or isinstance(other, list) else None
            case _:
                inside[key] = copy.deepcopy(chance.choice(ODD))
    return changed


def _places(value: Any) -> Any:
    """Each place of a value in what is around it."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


def written(resource: Resource | None) -> bytes:
    return json.serialize(resource) if resource is not None else b""


def composed(message: Message, number: int) -> Composed:
    """What the gateway would answer: this and that in turn, with what the message itself has in focus."""
    outcome = OUTCOMES[number % len(OUTCOMES)]
    issues = [*message.refusal, Issue("business-rule", "No.", "Bundle", outcome=outcome.coding if outcome else None)]
    code = "fatal-error" if message.refusal or number % 2 else "ok"
    tasks = [one.resource | {"id": "1"} for one in message.entries if one.resource.get("resourceType") == "Task"]
    ids = iter(f"00000000-0000-4000-8000-00000000000{number}" for number in range(10))
    reply = compose_reply(message, code, OURSELVES, NOW, tasks, operation_outcome(issues), lambda: next(ids))
    return Composed(reply, code, issues, tasks)


@pytest.mark.parametrize("name", MESSAGES)
def test_whatever_comes_is_understood_and_answered_in_one_way_alone(name: str) -> None:
    dialect, chance = dialects.get(name), random.Random(name)
    manner = Manner(name, sender="http://parties.example|1", owner="http://parties.example|2")
    read = 0
    for number in range(120):
        bundle = mutated(chance.choice(MESSAGES[name]), chance)
        try:
            message = read_message(bundle, NOW)
        except NotAMessage:
            continue
        read += 1
        understood = dialect.understand(message, manner)
        assert understood.sent == bundle
        again = dialect.understand(read_message(copy.deepcopy(bundle), NOW), manner)
        assert written(again.bundle) == written(understood.bundle)
        assert again.refusal == understood.refusal
        if not understood.is_response:
            given = composed(understood, number)
            answer = dialect.answer(understood, given)
            assert written(dialect.answer(again, given).resource) == written(answer.resource)
        dialect.tell(understood.bundle | {"id": "1", "timestamp": "2026-01-02T03:04:05Z"})
    assert read > 60


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_sound_is_translated(name: str) -> None:
    manner = Manner(name)
    for bundle in MESSAGES[name]:
        understood = dialects.get(name).understand(read_message(bundle, NOW), manner)
        assert understood.refusal == ()
        assert understood.event.system in (
            "http://hl7.org/fhir/uv/cow/CodeSystem/temp",
            "urn:x-fhir-gateway:message-event",
        )
        assert {entry.resource["resourceType"] for entry in understood.focus()} == {"Task"}


CANCELLATIONS = {
    "nhs-eps": [eps.cancellation()],
    "nhs-bars": [
        bars.message("servicerequest-request", "update", bars.referral("entered-in-error")),
        bars.message("booking-request", "update", bars.booking("cancelled")),
    ],
    "nhs-wales": [_REFERRALS[1]],
    "nphies": [nphies.cancel(), nphies.cancel(code="nullify")],
    "medcom": [
        medcom.message("retract-message", medcom.communication(), before=_FIRST),
        medcom.message("cancel-admit-emergency", medcom.encounter()),
    ],
    "ca-erec": [
        erec.message("revoke-service-request", erec.request(status="revoked")),
        erec.message("update-service-request", erec.request(status="entered-in-error")),
    ],
    "bser": [bser.message(bser.task("in-progress", code)) for code in ("5.2", "5.4")],
}


@pytest.mark.parametrize("name", CANCELLATIONS)
def test_every_shape_of_cancellation_is_the_one_cancellation_request(name: str) -> None:
    for bundle in CANCELLATIONS[name]:
        understood = dialects.get(name).understand(read_message(bundle, NOW), Manner(name))
        assert understood.event.code == "cancellation-request"
        [entry] = understood.focus("Task")
        assert is_cancellation(entry.resource)
        assert entry.resource["status"] == "requested"
        assert not understood.holds


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_of_one_network_is_none_of_another(name: str) -> None:
    alike = {"nhs-bars", "nhs-wales"}
    for other in MESSAGES.keys() - ({name} | (alike if name in alike else set())):
        for bundle in MESSAGES[other]:
            [issue] = dialects.get(name).understand(read_message(bundle, NOW), Manner(name)).refusal
            assert (issue.code, issue.expression) == ("not-supported", "Bundle.entry[0].resource.event")
