"""Reading a message's envelope, and composing the reply."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Issue, NotAMessage, Refused, Unreadable
from gateway.fhir import json, xml
from gateway.fhir.message import Event, Ourselves, compose_reply, content_hash, is_uri
from gateway.fhir.outcome import operation_outcome
from tests.senders import Sender, read, task
from tests.validity import assert_valid

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


def header_of(bundle: dict[str, Any]) -> dict[str, Any]:
    header: dict[str, Any] = bundle["entry"][0]["resource"]
    return header


def without(bundle: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        header_of(bundle).pop(name, None)
    return bundle


def put(bundle: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Sets an element of the header, if what contains it is still there."""
    *way, last = path
    inner: Any = header_of(bundle)
    for step in way:
        members = dict(enumerate(inner)) if isinstance(inner, list) else inner
        inner = members.get(step) if isinstance(members, dict) else None
    if isinstance(inner, dict):
        inner[last] = value
    return bundle


def organisation(url: str, *identifiers: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Organization", "_url": url, "name": "H"} | (
        {"identifier": [*identifiers]} if identifiers else {}
    )


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
    [
        ("urn:uuid:0f1c", "0f1c"),
        ("MessageHeader/0f1c", "0f1c"),
        ("http://a.example/MessageHeader/0f1c", "0f1c"),
        ("http://a.example/MessageHeader/0f1c/_history/2", "0f1c"),
        ("0B9F2C3E-4d5a-6789-abcd-ef0123456789", "0B9F2C3E-4d5a-6789-abcd-ef0123456789"),
        ("http://a.example", None),
        ("http://a.example/fhir", None),
        ("http://a.example/Bundle/0f1c", None),
        ("http://a.example/MessageHeader", None),
        ("urn:oid:1.2.3", None),
        ("MessageHeader/no id", None),
    ],
)
def test_a_header_without_id_is_known_by_its_full_url(full_url: str, found: str | None) -> None:
    bundle = without(Sender().write("x", task("1")), "id")
    bundle["entry"][0]["fullUrl"] = full_url
    assert read(bundle).header_id == found


def test_a_sender_named_by_a_reference_is_known_by_the_identifier_of_what_it_refers_to() -> None:
    senders = {
        read(
            Sender("http://a.example").write(
                "x",
                task("1"),
                others=(organisation(url, {"system": "urn:o", "value": "H"}, {"value": url}),),
                sender={"reference": url},
            )
        ).sender
        for url in ("urn:uuid:11", "urn:uuid:22", "http://a.example/Organization/1")
    }
    assert senders == {"http://a.example urn:o|H"}


@pytest.mark.parametrize(
    ("reference", "known_by"),
    [
        ("urn:uuid:11", ""),
        ("URN:UUID:0b9f2c3e-4d5a-6789-abcd-ef0123456789", ""),
        ("0b9f2c3e-4d5a-6789-abcd-ef0123456789", ""),
        ("http://a.example/Organization/1", " http://a.example/Organization/1"),
        ("http://a.example/Organization/1/_history/3", " http://a.example/Organization/1"),
        ("Organization/1", " Organization/1"),
    ],
)
@pytest.mark.parametrize("is_inside", [True, False])
def test_a_reference_made_for_one_message_tells_nothing_of_the_sender(
    reference: str, known_by: str, is_inside: bool
) -> None:
    others = (organisation(reference),) if is_inside else ()
    bundle = Sender("http://a.example").write("x", task("1"), others=others, sender={"reference": reference})
    assert read(bundle).sender == f"http://a.example{known_by}"


def test_who_is_named_by_such_a_reference_only_is_not_named() -> None:
    bundle = Sender().write("x", task("1"), source={"name": "A"}, sender={"reference": "urn:uuid:11"})
    with pytest.raises(NotAMessage, match="who sent it"):
        read(bundle)


UNFIT_FOR_A_DATABASE = [
    ("eventCoding", "system"),
    ("eventCoding", "code"),
    ("eventUri",),
    ("id",),
    ("source", "endpoint"),
    ("sender", "identifier", "system"),
    ("sender", "identifier", "value"),
    ("sender", "reference"),
]


@pytest.mark.parametrize("character", ["\x00", "\x01", "\ud800", "\uffff"])
@pytest.mark.parametrize("path", UNFIT_FOR_A_DATABASE, ids=".".join)
def test_what_is_kept_of_a_header_has_no_character_that_a_database_cannot_hold(
    path: tuple[str, ...], character: str
) -> None:
    sender = {"identifier": {"system": "urn:o", "value": "A"}} if "identifier" in path else {}
    bundle = put(Sender().write("x", task("1"), sender=sender), path, f"urn:a{character}b")
    if path == ("eventUri",):
        without(bundle, "eventCoding")
    with pytest.raises(NotAMessage):
        read(bundle)


@pytest.mark.parametrize("escape", [rb"\u0000", rb"\ud800"])
@pytest.mark.parametrize("path", [*UNFIT_FOR_A_DATABASE, ("source", "name")], ids=".".join)
def test_no_such_character_comes_through_json(path: tuple[str, ...], escape: bytes) -> None:
    sender = {"identifier": {"system": "urn:o", "value": "A"}} if "identifier" in path else {}
    bundle = put(Sender().write("x", task("1"), sender=sender), path, "a?b")
    with pytest.raises(Unreadable):
        json.parse(orjson.dumps(bundle).replace(b"a?b", b"a" + escape + b"b"))


@pytest.mark.parametrize("text", ["", " ", "http://a b", "urn:a\x00", "urn:\x7f", "urn:\x85", "urn:\ufffe", "x" * 2049])
def test_a_uri_has_no_white_space_and_no_control_characters(text: str) -> None:
    assert not is_uri(text)


@pytest.mark.parametrize(
    "text", ["http://a.example/x?y=1#z", "urn:oid:1.2", "x", "http://a.example/\u00e9", "x" * 2048]
)
def test_any_other_text_may_be_a_uri(text: str) -> None:
    assert is_uri(text)


@pytest.mark.parametrize("response", [None, [], "ok", True])
def test_a_response_that_is_no_object_is_refused(response: Any) -> None:
    with pytest.raises(NotAMessage) as refused:
        read(Sender().write("x", task("1"), response=response))
    assert expressions(refused.value) == ["Bundle.entry[0].resource.response"]


def test_a_message_with_a_response_is_a_response() -> None:
    assert read(Sender().write("x", response={"identifier": "1", "code": "ok"})).is_response
    assert not read(Sender().write("x")).is_response


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


def test_an_event_uri_that_is_null_is_none() -> None:
    header = header_of(compose_reply(read(Sender().write("x", task("1"), eventUri=None)), "ok", OURSELVES, NOW))
    assert "eventUri" not in header
    assert header["eventCoding"]["code"] == "x"


PARTY = {"reference": "urn:uuid:11", "type": "Organization", "identifier": {"system": "urn:o", "value": "A"}}
DESTINATION = {"name": "G", "endpoint": OURSELVES.endpoint, "receiver": PARTY}
HEADER: dict[str, Any] = {
    "eventCoding": {"system": "urn:e", "version": "1", "code": "x", "display": "X"},
    "source": {"name": "A", "endpoint": "http://a.example"},
    "sender": PARTY,
    "destination": DESTINATION,
}
PARTY_PATHS = (("reference",), ("type",), ("identifier",), ("identifier", "system"), ("identifier", "value"))
PATHS: list[tuple[str | int, ...]] = [
    ("id",),
    ("meta",),
    ("focus",),
    ("focus", 0, "reference"),
    ("response",),
    ("eventUri",),
    ("eventCoding",),
    *[("eventCoding", name) for name in ("system", "version", "code", "display")],
    *[("source",), ("source", "name"), ("source", "endpoint")],
    *[("sender",), *[("sender", *path) for path in PARTY_PATHS]],
    *[("destination",), *[("destination", 0, name) for name in DESTINATION]],
    *[("destination", 0, "receiver", *path) for path in PARTY_PATHS],
]
TEXTS = st.text(max_size=5) | st.sampled_from(("urn:x", " ", "\x00", "urn:x\x01", "\uffff", "a\xa0b", "\ufffe", "a b"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(("system", "value", "code", "endpoint", "identifier", "x")), inner, max_size=3
        )
    ),
    max_leaves=4,
)


@given(st.lists(st.tuples(st.sampled_from(PATHS), VALUES), max_size=3), VALUES, st.booleans())
def test_whatever_a_header_has_in_it_the_reply_is_valid(
    changes: list[tuple[tuple[str | int, ...], Any]], identifier: Any, is_by_reference: bool
) -> None:
    # given
    header: dict[str, Any] = copy.deepcopy(HEADER | {"destination": [DESTINATION]})
    named = organisation("urn:uuid:11") | {"identifier": [identifier]}
    bundle = Sender().write("x", task("1"), others=(named,), **header)
    if is_by_reference:
        bundle = put(bundle, ("sender",), {"reference": "urn:uuid:11"})
    for path, value in changes:
        put(bundle, path, value)

    # when
    try:
        message = read(bundle)
    except NotAMessage:
        return
    reply = compose_reply(message, "ok", OURSELVES, NOW)

    # then
    assert_valid(reply)
    assert_valid(xml.serialize(reply))
    assert json.parse(json.serialize(reply)) == reply
    assert json.canonical(xml.parse(xml.serialize(reply))) == json.canonical(reply)
