"""The judges of what the gateway sends judge: what is broken is refused by several, and nothing gets past them."""

from __future__ import annotations

import copy
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from flask import Flask

from gateway.errors import Issue
from gateway.fhir import xml
from gateway.fhir.json import Resource
from gateway.fhir.message import Ourselves, compose_reply
from gateway.fhir.outcome import operation_outcome
from tests import services, validity
from tests.conftest import ROOT
from tests.senders import Sender, read, task

JSON, XML = "application/fhir+json; charset=utf-8", "application/fhir+xml; charset=utf-8"
OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
OWN_CLIENT = re.compile(r"httpx\.(?:Async)?Client\(|httpx\.(?:get|post|put|request|stream)\(")

KEPT = task("1", id="t-1", authoredOn="2026-01-02T03:04:05Z", lastModified="2026-01-02T03:04:06Z")
REPLY = compose_reply(
    read(Sender().write("new-order", task("1"))),
    "ok",
    OURSELVES,
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    [KEPT],
    operation_outcome([Issue("not-found", "Nobody is known by this.", "Bundle.entry[1].resource.owner", "warning")]),
)

Change = Callable[[Resource, Resource, Resource, Resource], Any]
"""What is done to a reply: to the Bundle, its MessageHeader, the Task in focus, the OperationOutcome."""

# Every fault of structure is seen by two judges at least that know nothing of each other.
FAULTS: dict[str, Change] = {
    "an element that there is not": lambda b, h, t, o: t.update(colour="red"),
    "an element that there is not, further in": lambda b, h, t, o: h["source"].update(adress="http://a.example"),
    "a resource of no type that there is": lambda b, h, t, o: t.update(resourceType="Tusk"),
    "a required element is missing": lambda b, h, t, o: t.pop("intent"),
    "a required choice is missing": lambda b, h, t, o: h.pop("eventCoding"),
    "the outcome has no issue": lambda b, h, t, o: o.pop("issue"),
    "an issue has no code": lambda b, h, t, o: o["issue"][0].pop("code"),
    "the Bundle has no type": lambda b, h, t, o: b.pop("type"),
    "one where many are due": lambda b, h, t, o: t.update(identifier={"value": "1"}),
    "many where one is due": lambda b, h, t, o: t.update(status=["requested"]),
    "a string where an object is due": lambda b, h, t, o: t.update(owner="Practitioner/1"),
    "a number where a string is due": lambda b, h, t, o: t.update(description=5),
    "two of a choice": lambda b, h, t, o: h.update(eventUri="urn:e"),
    "a choice of a type that it has not": lambda b, h, t, o: h.update(eventString="e"),
    "no date": lambda b, h, t, o: t.update(authoredOn="yesterday"),
    "a time without offset": lambda b, h, t, o: t.update(authoredOn="2026-01-02T03:04:05"),
    "an instant that is a day": lambda b, h, t, o: b.update(timestamp="2026-01-02"),
    "a number below its least": lambda b, h, t, o: t.update(restriction={"repetitions": 0}),
    "a URI with a blank": lambda b, h, t, o: h["source"].update(endpoint="http://a b.example"),
    "null": lambda b, h, t, o: t.update(description=None),
    "an empty array": lambda b, h, t, o: t.update(note=[]),
    "an empty string": lambda b, h, t, o: t.update(description=""),
    "two entries of one fullUrl": lambda b, h, t, o: b["entry"][1].update(fullUrl=b["entry"][0]["fullUrl"]),
    "the header comes second": lambda b, h, t, o: b["entry"].reverse(),
    "a request in a message": lambda b, h, t, o: b["entry"][1].update(request={"method": "POST", "url": "Task"}),
    "a total in a message": lambda b, h, t, o: b.update(total=3),
    "an entry without a resource": lambda b, h, t, o: b["entry"][1].pop("resource"),
    "changed before it was written": lambda b, h, t, o: t.update(lastModified="2025-01-01T00:00:00Z"),
    "a period that ends before it starts": lambda b, h, t, o: t.update(
        executionPeriod={"start": "2026-02-01", "end": "2026-01-01"}
    ),
    "a reference to nothing contained": lambda b, h, t, o: t.update(owner={"reference": "#nobody"}),
    "contained and not referred to": lambda b, h, t, o: t.update(contained=[{"resourceType": "Patient", "id": "p"}]),
}

# The judges that there are besides ours know no codes, and nothing of what a reference may be to.
OUR_FAULTS: dict[str, Change] = {
    "a status that there is not": lambda b, h, t, o: t.update(status="perhaps"),
    "a response code that there is not": lambda b, h, t, o: h["response"].update(code="fine"),
    "an issue code that there is not": lambda b, h, t, o: o["issue"][0].update(code="odd"),
    "an owner that can be none": lambda b, h, t, o: t.update(owner={"reference": "Observation/1"}),
}


def broken(change: Change) -> bytes:
    reply = copy.deepcopy(REPLY)
    header, focus, outcome = (entry["resource"] for entry in reply["entry"])
    change(reply, header, focus, outcome)
    return orjson.dumps(reply)


@cache
def found_in(fault: str) -> dict[str, list[str]]:
    return validity.objections(broken(FAULTS[fault]))


BROKEN = broken(FAULTS["a required element is missing"])


def test_a_sound_reply_is_valid_to_all_in_either_format() -> None:
    assert validity.objections(orjson.dumps(REPLY)) == {}
    assert validity.objections(xml.serialize(REPLY)) == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_reply_is_refused_by_two_at_least(fault: str) -> None:
    assert len(found_in(fault)) >= 2, found_in(fault)
    assert "gateway.fhir.check" in found_in(fault)


@pytest.mark.parametrize("fault", OUR_FAULTS)
def test_codes_and_targets_are_looked_at_by_ours(fault: str) -> None:
    assert "gateway.fhir.check" in validity.objections(broken(OUR_FAULTS[fault]))


@pytest.mark.parametrize("judge", validity.JUDGES)
def test_each_judge_refuses_something_by_itself(judge: str) -> None:
    refused = [fault for fault in FAULTS if judge in found_in(fault)]
    assert len(refused) >= 8, refused


def test_xml_is_judged_as_it_is_written() -> None:
    sound = xml.serialize(REPLY)
    for wrong in (
        sound.replace(b"<intent", b"<intention", 1),
        sound.replace(b'xmlns="http://hl7.org/fhir"', b"", 1),
        sound + b"<",
        sound.replace(b"</Bundle>", b"&nbsp;</Bundle>"),
    ):
        assert wrong != sound
        assert validity.objections(wrong)


@pytest.mark.parametrize("version", ["R4", "R4B"])
def test_it_is_said_who_objects_to_what_and_why(version: Any) -> None:
    with pytest.raises(AssertionError, match=rf"^the reply is not valid {version}:\ngateway.fhir.check: ") as objected:
        validity.assert_valid(BROKEN, version, "the reply")
    told = str(objected.value)
    assert "fhirkit: error at Bundle.entry[1].resource.intent: required element missing" in told
    assert "fhir.resources: " in told
    assert told.endswith(BROKEN.decode())


@pytest.mark.parametrize("version", ["R5", "STU3"])
def test_another_version_is_judged_by_its_own_rules(version: Any) -> None:
    outcome = operation_outcome([Issue("invalid", "Wrong.")])
    validity.assert_valid(outcome, version)
    del outcome["issue"]
    with pytest.raises(AssertionError, match=r"fhir\.resources"):
        validity.assert_valid(outcome, version)


def test_what_was_valid_once_is_not_looked_at_again_and_what_was_not_is() -> None:
    reply = REPLY | {"id": "seen-before"}
    before = validity.judged["anew"]
    validity.assert_valid(reply)
    validity.assert_valid(orjson.dumps(reply))
    assert validity.judged["anew"] - before == 1
    for _ in range(2):
        with pytest.raises(AssertionError):
            validity.assert_valid(BROKEN)


# --- nothing gets past them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body"), [(JSON, BROKEN), (JSON, b""), ("text/html", b"<p>Sorry</p>"), (XML, b"<Bundle>")]
)
def test_an_answer_that_is_not_valid_is_an_error_where_it_comes(content_type: str, body: bytes) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body, headers={"Content-Type": content_type})

    app = Flask("wrong")
    app.add_url_rule("/fhir/x", view_func=lambda: app.response_class(body, content_type=content_type))

    with validity.client(transport=httpx.MockTransport(answer)) as client, pytest.raises(AssertionError):
        client.get("http://gateway.example/fhir/x")
    with pytest.raises(AssertionError):
        app.test_client().get("/fhir/x")


def test_an_answer_is_judged_by_the_version_that_it_says_it_has() -> None:
    body = orjson.dumps(operation_outcome([Issue("invalid", "Wrong.")]))
    with pytest.raises(AssertionError, match="is not valid R5"):
        validity.judge_answer("GET", "/fhir/x", 200, "application/fhir+json; fhirVersion=5.0", BROKEN)
    validity.judge_answer("GET", "/fhir/x", 404, "application/fhir+json; fhirVersion=3.0; charset=utf-8", body)


def test_what_is_no_fhir_is_not_judged() -> None:
    before = validity.judged["answer"]
    for method, path, status in (("GET", "/metrics", 200), ("POST", "/fhir/$process-message", 204), ("HEAD", "/", 404)):
        validity.judge_answer(method, path, status, "text/plain", b"")
    assert validity.judged["answer"] == before


def test_a_kept_reply_that_is_not_valid_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    with services.sqlite_database(tmp_path, sqlite_template) as url:
        keep = "INSERT INTO outbox (message_id, header_id, response_code, format, content, state, created_at)"
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute(f"{keep} VALUES (1, 'h', 'ok', 'json', ?, 'due', '2026-01-02')", (orjson.dumps(REPLY),))
        connection.commit()
        validity.assert_outbox_valid(url)
        connection.execute(f"{keep} VALUES (2, 'h-2', 'ok', 'json', ?, 'due', '2026-01-02')", (BROKEN,))
        connection.commit()
        connection.close()
        with pytest.raises(AssertionError, match="the reply h-2 in the outbox"):
            validity.assert_outbox_valid(url)


def test_a_database_without_replies_has_nothing_to_judge(tmp_path: Path) -> None:
    validity.assert_outbox_valid(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_no_test_talks_to_the_gateway_by_a_client_that_does_not_judge() -> None:
    own = [
        path.name
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path.name != "validity.py" and OWN_CLIENT.search(path.read_text())
    ]
    assert own == [], "take validity.client()"
