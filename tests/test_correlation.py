"""Responses: each finds what it answers by any of its identities, and closes it once; only who was asked may."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from gateway.correlation import SEND_AGAIN, correlate
from gateway.correlation import take_answer as take
from gateway.fhir.message import Ourselves
from gateway.fhir.versions import from_r4
from gateway.partners import Partner, Partners
from gateway.store import schema
from gateway.store.database import Database
from tests.senders import Sender, new_id, read
from tests.web.exchanges import (
    HOSPITAL,
    LABORATORY,
    TERSE,
    TERSE_SYSTEM,
    Exchanges,
    Resource,
    accepted,
    exchanging,
    issues_of,
    order,
    response_of,
    speaks,
)

OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
NOW = datetime.now(UTC)


@pytest.fixture
def gateway(database_url: str, redis_url: str) -> Iterator[Exchanges]:
    """A gateway that has told the laboratory of an order of the hospital's."""
    with exchanging(database_url, redis_url, (HOSPITAL, LABORATORY)) as started:
        started.send(order())
        yield started


def told(gateway: Exchanges, *columns: str) -> tuple[Any, ...]:
    """What the laboratory was told, as it is kept."""
    [row] = gateway.outbox(*columns, kind="message")
    return row  # type: ignore[no-any-return]


def response(quoted: str, code: str = "ok", *, endpoint: str = LABORATORY.endpoints[0], **said: Any) -> Resource:
    return Sender(endpoint).write("new-order", response={"identifier": quoted, "code": code, **said})


def closed(gateway: Exchanges) -> tuple[Any, ...]:
    return told(gateway, "state", "closed_code")


def test_a_response_closes_what_it_names_by_either_id_however_written(gateway: Exchanges) -> None:
    for number, (identity, written) in enumerate(
        [
            ("header_id", "{}"),
            ("bundle_id", " {} "),
            ("bundle_id", "urn:uuid:{}"),
            ("header_id", "URN:UUID:{} in capitals"),
        ],
        2,
    ):
        gateway.send(order(str(number)))
        entry_id, known_as = gateway.outbox("id", identity, kind="message")[-1]
        quoted = written.removesuffix(" in capitals").format(known_as)
        quoted = quoted.upper() if written.endswith("capitals") else quoted
        assert gateway.send(response(quoted)).status_code == 202
        message_id = gateway.rows(schema.message, "id", sender=LABORATORY.endpoints[0])[-1][0]
        [row] = gateway.outbox("state", "closed_code", "closed_by", id=entry_id)
        assert row == ("delivered", "ok", message_id), written


def test_a_response_of_r5_names_it_by_the_identifier_of_its_bundle(gateway: Exchanges) -> None:
    [bundle_id] = told(gateway, "bundle_id")
    sent = response("x") | {"identifier": {"system": "urn:ids", "value": new_id()}}
    identifier = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{bundle_id}"}
    made, _ = from_r4(sent, "R5")
    made["entry"][0]["resource"]["response"]["identifier"] = identifier
    assert gateway.send(made).status_code == 202
    assert closed(gateway) == ("delivered", "ok")


def test_the_first_response_counts_and_the_second_is_kept(gateway: Exchanges) -> None:
    [header_id] = told(gateway, "header_id")
    first, second = response(header_id, "fatal-error"), response(header_id)
    assert [gateway.send(one).status_code for one in (first, first, second)] == [202, 202, 202]
    assert closed(gateway) == ("delivered", "fatal-error")
    assert len(gateway.rows(schema.message, "id", sender=LABORATORY.endpoints[0])) == 2


def test_a_response_of_who_was_not_asked_closes_nothing_and_is_flagged(gateway: Exchanges) -> None:
    [header_id] = told(gateway, "header_id")
    for endpoint in (HOSPITAL.endpoints[0], "http://stranger.example"):
        forged = response(header_id, endpoint=endpoint)
        answers = [gateway.send(forged) for _ in range(2)]
        assert [(one.status_code, issues_of(one)[0]["code"]) for one in answers] == [(403, "forbidden")] * 2
    gateway.prove(HOSPITAL)
    assert gateway.send(response(header_id, endpoint="urn:anything")).status_code == 403
    assert closed(gateway) == ("due", None)
    flagged = gateway.rows(schema.message, "error", event_code="new-order", state="done")
    assert [error is not None for (error,) in flagged] == [False, True, True, True]


def test_a_response_to_nothing_that_was_sent_is_kept(gateway: Exchanges) -> None:
    [header_id] = gateway.outbox("header_id", kind="reply")[0]
    for quoted in (new_id(), "", header_id):
        answer = gateway.send(response(quoted))
        assert answer.status_code == 202
        assert "answers no message" in answer.text
    assert closed(gateway) == ("due", None)


def test_what_is_answered_by_a_transient_error_is_sent_again_a_while_later(gateway: Exchanges) -> None:
    [header_id] = told(gateway, "header_id")
    wait = response(header_id, "transient-error")
    before = datetime.now(UTC)
    gateway.send(wait)
    first = told(gateway, "state", "closed_code", "closed_at", "due_at")
    gateway.send(wait)
    assert first == told(gateway, "state", "closed_code", "closed_at", "due_at")
    assert first[:3] == ("due", "transient-error", None)
    assert (first[3] - before).total_seconds() >= SEND_AGAIN[0]
    gateway.send(response(header_id))
    assert closed(gateway) == ("delivered", "ok")


def test_what_is_polled_is_not_called_for_a_transient_error_but_waits_again(gateway: Exchanges) -> None:
    entry_id, header_id = told(gateway, "id", "header_id")
    gateway.change(schema.outbox, entry_id, state="queued")
    gateway.send(response(header_id, "transient-error"))
    assert closed(gateway) == ("queued", "transient-error")
    gateway.change(schema.outbox, entry_id, state="delivered", delivered_at=NOW)
    gateway.send(response(header_id, "transient-error"))
    assert told(gateway, "state", "closed_code", "delivered_at") == ("queued", "transient-error", None)


def test_a_response_to_what_is_dead_shows_that_it_arrived(gateway: Exchanges) -> None:
    gateway.send(order("2"))
    for number, (code, state) in enumerate([("transient-error", "dead"), ("fatal-error", "delivered")]):
        entry_id, header_id = gateway.outbox("id", "header_id", kind="message")[number]
        gateway.change(schema.outbox, entry_id, state="dead", attempts=9, due_at=None)
        gateway.send(response(header_id, code))
        assert gateway.outbox("state", "closed_code", id=entry_id) == [(state, code)]


def test_a_response_that_is_not_its_senders_by_what_it_says_closes_nothing(gateway: Exchanges) -> None:
    [header_id] = told(gateway, "header_id")
    gateway.prove(LABORATORY)
    answers = [gateway.send(response(header_id, endpoint=HOSPITAL.endpoints[0])) for _ in range(2)]
    assert [(one.status_code, issues_of(one)[0]["code"]) for one in answers] == [(403, "forbidden")] * 2
    assert closed(gateway) == ("due", None)
    assert "Hospital" in gateway.rows(schema.message, "error", partner="Laboratory")[0][0]
    gateway.send(response(header_id))
    assert closed(gateway) == ("delivered", "ok")


# --- on the connection of the delivery ---


@dataclass(frozen=True)
class Answer:
    status: int | None
    media_type: str | None
    body: bytes


@pytest.fixture
def database(gateway: Exchanges) -> Iterator[Database]:
    database = Database(gateway.url)
    yield database
    database.close()


def take_answer(database: Database, entry_id: int, came: Answer, *partners: Partner) -> str | None:
    known = Partners(partners or (HOSPITAL, LABORATORY))
    return take(database, OURSELVES, known, entry_id, came, NOW)


def answer(bundle: Resource, status: int = 200) -> Answer:
    return Answer(status, "application/fhir+json; fhirVersion=4.0", orjson.dumps(bundle))


def test_a_response_on_the_same_connection_is_kept_and_closes_too(gateway: Exchanges, database: Database) -> None:
    entry_id, header_id = told(gateway, "id", "header_id")
    came = answer(response(header_id, "fatal-error"))
    taken = [take_answer(database, entry_id, came) for _ in range(2)]
    assert taken == ["fatal-error", "fatal-error"]
    assert closed(gateway) == ("delivered", "fatal-error")
    assert gateway.rows(schema.message, "body", "state", partner="Laboratory") == [(came.body, "done")]


def test_a_response_may_name_more_than_a_database_can_be_asked_for(gateway: Exchanges, database: Database) -> None:
    [header_id] = told(gateway, "header_id")
    names = [{"url": "urn:x", "valueIdentifier": {"value": f"B-{number}"}} for number in range(35_000)]
    assert correlate(database, read(response(header_id, extension=names)), 1, "Laboratory") == "closed"


def test_it_takes_nobody_elses_identity(gateway: Exchanges, database: Database) -> None:
    entry_id, header_id = told(gateway, "id", "header_id")
    sent = order("2")
    forged = response(header_id, endpoint=HOSPITAL.endpoints[0]) | {"id": sent["id"]}
    take_answer(database, entry_id, answer(forged))
    assert response_of(gateway.send(sent))["code"] == "ok"


def test_a_transient_error_there_takes_the_entry_from_who_delivers_it(gateway: Exchanges, database: Database) -> None:
    entry_id, header_id = told(gateway, "id", "header_id")
    take_answer(database, entry_id, answer(response(header_id, "transient-error")))
    assert told(gateway, "state", "claimed_by", "closed_code") == ("due", None, "transient-error")


def test_anything_else_is_passed_over(gateway: Exchanges, database: Database) -> None:
    entry_id, header_id = told(gateway, "id", "header_id")
    reply_id = gateway.outbox("id", kind="reply")[0][0]
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}]}
    for entry, came in [
        (entry_id, Answer(200, None, b"")),
        (entry_id, Answer(200, "text/html", b"<html>")),
        (entry_id, Answer(200, "application/fhir+json", b"\xff{")),
        (entry_id, Answer(None, None, b"")),
        (entry_id, answer(outcome)),
        (entry_id, answer(order())),
        (entry_id, answer(response(new_id()))),
        (entry_id, answer(response(header_id), status=500)),
        (reply_id, answer(response(header_id))),
        (10_000, answer(response(header_id))),
    ]:
        assert take_answer(database, entry, came) is None
    assert closed(gateway) == ("due", None)
    assert len(gateway.rows(schema.message, "id")) == 1


def test_it_is_read_in_the_dialect_of_who_was_called(
    gateway: Exchanges, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a response need not say what it answers, and one that says so may be more than that."""
    speaks(monkeypatch)
    terse = replace(LABORATORY, dialect=TERSE)
    gateway.send(order("2"))
    (first, _), (second, header_id) = gateway.outbox("id", "header_id", kind="message")
    sent = Sender("").write("receipt", system=TERSE_SYSTEM)
    del sent["entry"][0]["resource"]["source"]
    assert take_answer(database, first, answer(sent), terse) == "ok"
    assert gateway.outbox("state", "closed_code", id=first) == [("delivered", "ok")]
    more = accepted("2", system=TERSE_SYSTEM, response={"identifier": header_id, "code": "ok"})
    assert take_answer(database, second, answer(more), terse) == "ok"
    assert gateway.outbox("state", "closed_code", id=second) == [("delivered", "ok")]
    assert gateway.rows(schema.message, "state", "event_code", partner="Laboratory") == [
        ("done", "receipt"),
        ("new", "order-update"),
    ]


def test_of_two_responses_at_once_one_counts(gateway: Exchanges, database: Database) -> None:
    entry_id, header_id = told(gateway, "id", "header_id")
    sent = [response(header_id, code) for code in ("ok", "fatal-error")]
    with ThreadPoolExecutor() as at_once:
        codes = list(at_once.map(lambda one: take_answer(database, entry_id, answer(one)), sent))
    assert codes == ["ok", "fatal-error"]
    [(code, closed_by)] = gateway.outbox("closed_code", "closed_by", id=entry_id)
    kept = gateway.rows(schema.message, "id", "body", partner="Laboratory")
    assert [orjson.loads(body) for each, body in kept if each == closed_by] == [sent[codes.index(code)]]
