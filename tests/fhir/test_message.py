"""Reading a message's envelope, and composing the reply."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from gateway.errors import Issue, NotAMessage, Refused
from gateway.fhir.message import Event, Ourselves, compose_reply, content_hash
from gateway.fhir.outcome import operation_outcome
from tests.senders import Sender, read, task

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def header_of(bundle: dict[str, Any]) -> dict[str, Any]:
    header: dict[str, Any] = bundle["entry"][0]["resource"]
    return header


def without(bundle: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        header_of(bundle).pop(name, None)
    return bundle


def expressions(refused: Refused) -> list[str | None]:
    return [issue.expression for issue in refused.issues]


def test_the_envelope_says_who_sent_what() -> None:
    message = read(Sender("http://a.example").write("new-order", task("1"), header_id="h-1", bundle_id="b-1"))
    assert message.event == Event("http://hl7.org/fhir/uv/cow/CodeSystem/temp", "new-order")
    assert (message.bundle_id, message.header_id, message.quoted_id) == ("b-1", "h-1", "h-1")
    assert message.sender == "http://a.example"
    assert message.focus("Task")[0].resource["identifier"][0]["value"] == "1"


def test_an_event_may_be_a_uri() -> None:
    bundle = without(Sender().write("x", task("1"), eventUri="http://events.example/x"), "eventCoding")
    assert read(bundle).event == Event(None, "http://events.example/x")


def test_a_coding_without_a_system_is_not_the_uri_of_the_same_text() -> None:
    bundle = Sender().write("x", task("1"))
    del header_of(bundle)["eventCoding"]["system"]
    assert read(bundle).event == Event("", "x")


def test_two_organisations_behind_one_endpoint_are_two_senders() -> None:
    one, other = (
        read(Sender().write("x", task("1"), sender={"identifier": {"system": "urn:o", "value": value}}))
        for value in ("1", "2")
    )
    assert one.sender != other.sender


@pytest.mark.parametrize(
    ("full_url", "found"),
    [("urn:uuid:0f1c", "0f1c"), ("MessageHeader/0f1c", "0f1c"), ("http://a.example/MessageHeader/0f1c", "0f1c")],
)
def test_a_header_without_id_is_known_by_its_full_url(full_url: str, found: str) -> None:
    bundle = without(Sender().write("x", task("1")), "id")
    bundle["entry"][0]["fullUrl"] = full_url
    assert read(bundle).header_id == found


def test_all_that_is_wrong_with_an_envelope_is_said_at_once() -> None:
    bundle = without(Sender().write("x", task("1"), header_id="bad id"), "source", "eventCoding")
    bundle["id"] = "x" * 65
    with pytest.raises(NotAMessage) as refused:
        read(bundle)
    header = "Bundle.entry[0].resource"
    assert expressions(refused.value) == [f"{header}.event", "Bundle.id", f"{header}.id", f"{header}.source.endpoint"]


@pytest.mark.parametrize(
    ("bundle", "expression"),
    [
        ({"resourceType": "Patient"}, "Patient"),
        ({"resourceType": "Bundle", "type": "batch", "entry": []}, "Bundle.type"),
        ({"resourceType": "Bundle", "type": "message"}, "Bundle.entry[0].resource"),
        ({"resourceType": "Bundle", "type": "message", "entry": "x"}, "Bundle.entry[0].resource"),
        ({"resourceType": "Bundle", "type": "message", "entry": [{"resource": []}]}, "Bundle.entry[0].resource"),
        ({}, None),
        ({"resourceType": 7}, None),
    ],
)
def test_what_is_no_message_is_refused_with_the_place(bundle: dict[str, Any], expression: str | None) -> None:
    with pytest.raises(NotAMessage) as refused:
        read(bundle)
    assert expressions(refused.value)[0] == expression or len(refused.value.issues) > 1


def test_a_focus_must_be_in_the_bundle_and_of_the_right_type() -> None:
    bundle = Sender().write("x", {"resourceType": "Patient"})
    header_of(bundle)["focus"].append({"reference": "urn:uuid:not-there"})
    with pytest.raises(Refused) as refused:
        read(bundle).focus("Task")
    assert expressions(refused.value) == [f"Bundle.entry[0].resource.focus[{n}]" for n in (0, 1)]


def test_a_message_without_focus_says_so() -> None:
    with pytest.raises(Refused, match="no focus"):
        read(Sender().write("x")).focus("Task")


def test_the_hash_is_of_what_is_said_not_of_what_is_renewed() -> None:
    first = Sender().write("x", task("1"), header_id="h", bundle_id="b-1")
    again = first | {"id": "b-2", "timestamp": "2027-01-01T00:00:00Z", "meta": {"lastUpdated": "2027-01-01T00:00:00Z"}}
    changed = Sender().write("x", task("2"), header_id="h", bundle_id="b-1")
    assert content_hash(first) == content_hash(again)
    assert content_hash(first) != content_hash(changed)


def test_a_reply_quotes_the_request_and_exchanges_source_and_destination() -> None:
    request = read(
        Sender("http://a.example").write(
            "new-order",
            task("1"),
            header_id="h-1",
            sender={"identifier": {"system": "urn:o", "value": "A"}},
            destination=[
                {"endpoint": "http://other.example"},
                {"endpoint": OURSELVES.endpoint, "receiver": {"identifier": {"value": "G"}}},
            ],
        )
    )
    kept = task("1") | {"id": "t-1"}
    ids = iter(("header", "outcome", "bundle"))
    outcome = operation_outcome([Issue("informational", "fine", severity="information")])
    reply = compose_reply(request, "ok", OURSELVES, NOW, [kept], outcome, lambda: next(ids))

    header = header_of(reply)
    assert reply["id"] == "bundle"
    assert reply["timestamp"] == "2026-01-02T03:04:05.678Z"
    assert header["id"] == "header"
    assert header["eventCoding"] == request.header["eventCoding"]
    assert header["response"] == {"identifier": "h-1", "code": "ok", "details": {"reference": "urn:uuid:outcome"}}
    assert header["source"] == {"name": "gateway", "endpoint": OURSELVES.endpoint}
    assert header["sender"] == {"identifier": {"value": "G"}}
    receiver = {"identifier": {"system": "urn:o", "value": "A"}}
    assert header["destination"] == [{"endpoint": "http://a.example", "receiver": receiver}]
    assert header["focus"] == [{"reference": "http://gateway.example/fhir/Task/t-1"}]
    assert [entry["fullUrl"] for entry in reply["entry"]] == [
        "urn:uuid:header",
        "http://gateway.example/fhir/Task/t-1",
        "urn:uuid:outcome",
    ]
    Bundle.model_validate(reply)


def test_a_party_named_by_reference_is_answered_by_its_identifier() -> None:
    organisation = {"resourceType": "Organization", "_url": "urn:uuid:11", "identifier": [{"value": "H"}], "name": "H"}
    bundle = Sender().write("x", task("1"), others=(organisation,), sender={"reference": "urn:uuid:11"})
    header = header_of(compose_reply(read(bundle), "ok", OURSELVES, NOW))
    assert header["destination"][0]["receiver"] == {"type": "Organization", "identifier": {"value": "H"}}
