"""A dialect of data alone: its messages are understood by rules, answered in its form, and told by its events."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir import dialects
from gateway.fhir.dialects import Composed, Dialect, Manner
from gateway.fhir.dialects.matching import fits
from gateway.fhir.dialects.model import Rule
from gateway.fhir.message import Message, Ourselves, compose_reply, read_message
from tests.conftest import ROOT
from tests.senders import Sender

Resource = dict[str, Any]

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LABS = "http://labs.example"
MANNER = Manner("labs", {}, "http://registry.example|LAB-1", "http://registry.example|LAB-2")
REQUEST = {
    "resourceType": "ServiceRequest",
    "identifier": [{"system": f"{LABS}/order", "value": "1"}],
    "status": "active",
    "intent": "order",
    "subject": {"reference": "urn:uuid:0b0b0b0b-0000-4000-8000-000000000000"},
}


@pytest.fixture
def labs(tmp_path: Path) -> Iterator[Dialect]:
    """The example of docs/dialects.md."""
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "dialects.md").read_text(), re.DOTALL)
    (tmp_path / "labs.toml").write_text(example)
    dialects.use([tmp_path])
    yield dialects.get("labs")
    dialects.use()


def message(reason: Any, *focus: Resource, event: str = "message") -> Message:
    said = {"coding": [{"code": reason}]} if isinstance(reason, str) else reason
    return read_message(Sender().write(event, *focus, system=f"{LABS}/events", reason=said), NOW)


def tasks(understood: Message) -> list[Resource]:
    return [entry.resource for entry in understood.focus("Task")]


def test_an_order_is_a_task_about_what_was_in_focus(labs: Dialect) -> None:
    sent = message("order", REQUEST)
    understood = labs.understand(sent, MANNER)
    assert understood.event.code == "new-order"
    assert understood.sent is sent.bundle
    [task] = tasks(understood)
    assert task["identifier"] == REQUEST["identifier"]
    assert (task["status"], task["intent"]) == ("requested", "order")
    assert task["requester"]["identifier"]["value"] == "LAB-1"
    assert task["owner"]["identifier"]["value"] == "LAB-2"
    about = understood.entries.resolve(task["focus"]["reference"], next(iter(understood.entries)))
    assert about is not None
    assert about.resource == REQUEST


def test_the_same_message_is_understood_as_the_same(labs: Dialect) -> None:
    bundle = message("withdraw", REQUEST | {"status": "revoked"}).bundle
    one, other = (labs.understand(read_message(bundle, NOW), MANNER) for _ in range(2))
    assert one.bundle == other.bundle


def test_a_withdrawal_is_a_cancellation_request(labs: Dialect) -> None:
    understood = labs.understand(message("withdraw", REQUEST), MANNER)
    [task] = tasks(understood)
    assert understood.event.code == "cancellation-request"
    assert task["code"]["coding"][0]["code"] == "abort"
    assert task["focus"] == {"type": "Task", "identifier": REQUEST["identifier"][0]}
    assert task["identifier"][0]["value"].startswith("urn:uuid:")
    assert "ServiceRequest" not in {entry.resource["resourceType"] for entry in understood.entries}


def test_an_update_has_the_status_of_its_rule(labs: Dialect) -> None:
    understood = labs.understand(message("done", REQUEST), MANNER)
    assert [(task["status"], task["identifier"]) for task in tasks(understood)] == [
        ("completed", REQUEST["identifier"])
    ]


def test_what_is_kept_has_no_effect(labs: Dialect) -> None:
    understood = labs.understand(message("x", REQUEST, event="ping"), MANNER)
    assert understood.event.code == "notice"
    assert not understood.refusal


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (message("order", REQUEST, event="surprise"), "not-supported", f"There are {LABS}/events|message, "),
        (message("other", REQUEST), "not-supported", "reason withdraw, focus ServiceRequest"),
        (message("order", REQUEST | {"identifier": []}), "required", f"no identifier of the system {LABS}/order"),
        (message("done"), "required", "it has no focus"),
    ],
    ids=["event", "reason", "identifier", "focus"],
)
def test_what_it_has_no_rule_for_is_refused(labs: Dialect, sent: Message, code: str, said: str) -> None:
    understood = labs.understand(sent, MANNER)
    [issue] = understood.refusal
    assert issue.code == code
    assert said in issue.text
    assert understood.bundle is sent.bundle


@pytest.mark.parametrize("odd", [None, 1, "x", [], [None, 1], {}, {"coding": 1}, {"coding": [None, {"code": {}}]}])
def test_anything_may_be_anything(labs: Dialect, odd: Any) -> None:
    bundle = message(odd, REQUEST | {"identifier": odd, "status": odd, "subject": odd}).bundle
    for name in dialects.names():
        understood = dialects.get(name).understand(read_message(bundle, NOW), MANNER)
        assert understood.sent is bundle
    for event in ("prescription-order", "prescription-order-update", "dispense-notification", "servicerequest-request"):
        for kind in ("MedicationRequest", "MedicationDispense", "ServiceRequest", "Appointment", "Task"):
            about = {"resourceType": kind, "status": "active", "code": odd, "groupIdentifier": odd, "contained": odd}
            about |= {"extension": odd, "authorizingPrescription": odd, "dispenseRequest": odd, "type": odd}
            sent = message("new", about, event=event)
            for name in ("nhs-eps", "nhs-bars", "nhs-wales"):
                understood = dialects.get(name).understand(sent, replace(MANNER, dialect=name))
                assert understood.refusal or understood.event.code != event


def composed(sent: Message, code: Any, *issues: Issue) -> Composed:
    return Composed(compose_reply(sent, code, OURSELVES, NOW), code, issues, ())


def test_it_is_answered_in_its_form_and_with_its_status(labs: Dialect) -> None:
    sent = labs.understand(message("order", REQUEST), MANNER)
    done = labs.answer(sent, composed(sent, "ok"))
    assert (done.status, done.resource) == (202, None)
    for issue, status in (
        (Issue("duplicate", "It is there."), 409),
        (Issue("forbidden", "No.", outcome=("urn:x", "not-the-placer")), 403),
        (Issue("invalid", "No."), 400),
    ):
        refused = labs.answer(sent, composed(sent, "fatal-error", issue))
        assert refused.status == status
        assert refused.resource is not None
        assert refused.resource["issue"][0]["code"] == issue.code


def test_a_message_that_answers_has_the_event_of_the_network(labs: Dialect) -> None:
    replies = replace(labs.pack.replies, form="message")
    rules = tuple(replace(rule, answer=f"{LABS}/events|reply") for rule in labs.pack.rules)
    for pack, code in (
        (replace(labs.pack, replies=replies), "message"),
        (replace(labs.pack, replies=replies, rules=rules), "reply"),
    ):
        sent = labs.understand(message("order", REQUEST), MANNER)
        answer = dialects.loading.speak(pack).answer(sent, composed(sent, "ok")).resource
        assert answer is not None
        assert answer["entry"][0]["resource"]["eventCoding"] == {"system": f"{LABS}/events", "code": code}


def test_what_the_network_has_a_word_for_is_told(labs: Dialect) -> None:
    told = labs.tell(Sender().write("new-order", REQUEST))
    assert told is not None
    assert told["entry"][0]["resource"]["eventCoding"] == {"system": f"{LABS}/events", "code": "message"}
    assert labs.tell(Sender().write("order-update", REQUEST)) is None


def test_the_gateways_own_takes_and_tells_everything_as_it_is() -> None:
    sent, cow = message("order", REQUEST), dialects.COW
    reply = composed(sent, "ok")
    assert cow.understand(sent, Manner("cow")) is sent
    assert cow.answer(sent, reply).resource is reply.reply
    assert cow.tell(sent.bundle) is sent.bundle


TASK = {
    "resourceType": "Task",
    "status": "in-progress ",
    "code": {"coding": [{"system": "http://n.example", "code": "cancel"}]},
    "businessStatus": {"coding": [{"system": "http://b.example", "code": "5.2"}]},
}
PROVENANCE = {"resourceType": "Provenance", "activity": {"coding": [{"code": "retract-message"}]}}


@pytest.mark.parametrize(
    ("conditions", "is_fit"),
    [
        ({"event": (f"{LABS}/events|message",)}, True),
        ({"event": ("message",)}, True),
        ({"event": ("*/events|message",)}, True),
        ({"event": (f"{LABS}/*",)}, True),
        ({"event": ("messages",)}, False),
        ({"reason": ("order",)}, True),
        ({"reason": ("http://n.example|order",)}, False),
        ({"focus": ("Task",), "status": ("in-progress",)}, True),
        ({"focus": ("ServiceRequest",), "status": ("in-progress",)}, False),
        ({"code": ("http://n.example|cancel",), "business_status": ("5.2",)}, True),
        ({"business_status": ("http://b.example|5.1",)}, False),
        ({"activity": ("retract-message",)}, True),
        ({"activity": ("new-message",)}, False),
        ({"response": False}, True),
        ({"response": True}, False),
    ],
)
def test_a_rule_fits_where_all_its_conditions_do(conditions: Any, is_fit: bool) -> None:
    bundle = Sender().write(
        "message", TASK, REQUEST, system=f"{LABS}/events", reason={"coding": [{"code": "order"}]}, others=(PROVENANCE,)
    )
    rule = Rule("keep", "as-it-is", **conditions)
    assert fits(read_message(bundle, NOW), rule) == is_fit


def test_an_activity_is_that_of_the_provenance_of_this_message() -> None:
    bundle = Sender().write("message", TASK, others=(PROVENANCE,))
    header = bundle["entry"][0]["fullUrl"]
    earlier = PROVENANCE | {"target": [{"reference": "urn:uuid:1"}], "activity": {"coding": [{"code": "new-message"}]}}
    bundle["entry"][-1]["resource"] = PROVENANCE | {"target": [{"reference": header}]}
    bundle["entry"].insert(1, {"fullUrl": "urn:uuid:2", "resource": earlier})
    found = read_message(bundle, NOW)
    assert fits(found, Rule("keep", "as-it-is", activity=("retract-message",)))
    assert not fits(found, Rule("keep", "as-it-is", activity=("new-message",)))
