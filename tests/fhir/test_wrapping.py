"""A resource that came by REST as a message: the same one whenever it is read, in every version of FHIR."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from gateway.errors import NotAMessage
from gateway.fhir.received import read_received
from gateway.fhir.wrapping import NEW_ORDER, ORDER_UPDATE, Caller, Wrapping, own_words, wrapping_for
from tests.validity import assert_valid

BASE = "http://gateway.example/fhir"
CALLER = Caller("urn:demo:pharmacy", ("http://registry.example/ids", "PHARMACY-7"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TASK = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"versionId": "9", "lastUpdated": "2026-01-01T00:00:00Z", "profile": ["urn:x"]},
    "contained": [{"resourceType": "Task", "id": "in", "status": "draft", "intent": "order"}],
    "status": "accepted",
    "intent": "order",
    "focus": {"reference": "ServiceRequest/s1"},
    "partOf": [{"reference": "http://elsewhere.example/fhir/Task/1"}, {"reference": "#in"}],
}


def wrapping(event: Any = ORDER_UPDATE, request_id: str = "r-1", **given: Any) -> Wrapping:
    return wrapping_for(CALLER, request_id, event, base_url=BASE, endpoint=f"{BASE}/$process-message", **given)


def read(made: Wrapping, resource: Any = TASK, media_type: str = "application/fhir+json") -> Any:
    return read_received(orjson.dumps(resource), media_type, NOW, made.write())


def test_an_update_names_its_resource_by_our_address() -> None:
    message = read(wrapping(address="Task/t1", version_id="3"))

    [entry] = message.focus("Task")
    assert entry.full_url == f"{BASE}/Task/t1"
    assert entry.resource["meta"] == {"profile": ["urn:x"], "versionId": "3"}
    assert entry.resource["focus"] == {"reference": f"{BASE}/ServiceRequest/s1"}
    assert [each["reference"] for each in entry.resource["partOf"]] == ["http://elsewhere.example/fhir/Task/1", "#in"]
    assert message.replaces
    assert message.event == ORDER_UPDATE


def test_a_create_has_no_id_and_no_version() -> None:
    message = read(wrapping(NEW_ORDER))

    [entry] = message.focus("Task")
    assert str(entry.full_url).startswith("urn:uuid:")
    assert "id" not in entry.resource
    assert entry.resource["meta"] == {"profile": ["urn:x"]}
    assert not message.replaces


def test_the_sender_is_the_caller() -> None:
    message = read(wrapping())

    assert message.sender == CALLER.sender == "urn:demo:pharmacy http://registry.example/ids|PHARMACY-7"
    assert message.header["sender"] == {
        "identifier": {"system": "http://registry.example/ids", "value": "PHARMACY-7"},
    }


def test_the_same_request_is_the_same_message_and_no_other_is() -> None:
    assert wrapping() == wrapping()
    assert wrapping().bundle_id != wrapping(request_id="r-2").bundle_id
    other = wrapping_for(Caller("urn:demo:hospital"), "r-1", ORDER_UPDATE, base_url=BASE, endpoint=BASE)
    assert wrapping().bundle_id != other.bundle_id


def test_a_wrapping_is_read_as_it_was_written() -> None:
    made = wrapping(address="Task/t1", version_id="3", resource=TASK)

    assert Wrapping.read(made.write()) == made
    assert read(made, resource={"no": "resource"}).focus("Task")[0].resource["id"] == "t1"


@pytest.mark.parametrize("number", ["4.0", "4.3", "5.0", "3.0"])
def test_the_message_is_valid_in_each_version(number: str) -> None:
    message = read(wrapping(address="Task/t1"), media_type=f"application/fhir+json; fhirVersion={number}")

    assert message.focus("Task")[0].resource["focus"] == {"reference": f"{BASE}/ServiceRequest/s1"}
    assert_valid(message.sent, message.version)


def test_what_is_no_resource_is_refused() -> None:
    with pytest.raises(NotAMessage):
        read(wrapping(), resource=[TASK])


def test_faults_are_told_in_the_callers_words() -> None:
    issues = [
        {"details": {"text": "Bundle.entry[1].resource and x"}, "expression": ["Bundle.entry[1].resource.status"]},
        {"details": {"text": "y"}, "expression": ["Bundle.entry[0].resource.event"]},
        {"details": {"text": "z"}},
    ]

    told = own_words({"resourceType": "OperationOutcome", "issue": issues}, "Task")["issue"]

    assert told == [
        {"details": {"text": "Task and x"}, "expression": ["Task.status"]},
        {"details": {"text": "y"}},
        {"details": {"text": "z"}},
    ]
