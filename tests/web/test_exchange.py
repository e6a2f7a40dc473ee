"""A message's way in and out, for partners: who sends it, how it is read, where and when it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import orjson
import pytest
import redis

from gateway.jobs import DELIVERIES
from gateway.partners import Partner
from gateway.partners.model import Authentication
from gateway.store import schema
from tests.senders import Sender, new_id, task
from tests.web.exchanges import (
    HOSPITAL,
    LABORATORY,
    TERSE,
    TERSE_SYSTEM,
    Exchanges,
    accepted,
    exchanging,
    issues_of,
    order,
    response_of,
    speaks,
)

Start = Callable[..., Exchanges]
TERSE_HOSPITAL = replace(HOSPITAL, dialect=TERSE, fulfilled_by=LABORATORY.name)


@pytest.fixture
def start(database_url: str, redis_url: str) -> Iterator[Start]:
    with ExitStack() as started:

        def begin(*partners: Partner) -> Exchanges:
            return started.enter_context(exchanging(database_url, redis_url, partners))

        yield begin


# --- who sends ---


def test_who_has_proved_to_be_a_partner_is_that_one_whatever_the_message_says(start: Start) -> None:
    gateway = start(HOSPITAL, LABORATORY)
    gateway.prove(HOSPITAL)
    sent = Sender("http://a-ward.example").write("new-order", order()["entry"][1]["resource"])
    assert response_of(gateway.send(sent))["code"] == "ok"
    assert gateway.rows(schema.message, "partner", "sender") == [("Hospital", HOSPITAL.sender)]
    assert [row[0] for row in gateway.rows(schema.resource, "sender") if row[0] == HOSPITAL.sender]


def test_who_says_that_it_is_another_partner_is_refused_and_kept(start: Start) -> None:
    gateway = start(HOSPITAL, LABORATORY)
    gateway.prove(LABORATORY)
    answer = gateway.send(order())
    assert (answer.status_code, response_of(answer)["code"]) == (200, "fatal-error")
    assert [issue["code"] for issue in issues_of(answer)] == ["forbidden"]
    assert gateway.rows(schema.message, "partner", "state") == [("Laboratory", "done")]


def test_or_is_warned_where_that_is_agreed(start: Start) -> None:
    flagged = replace(HOSPITAL, authentication=Authentication(mismatch="flag"))
    gateway = start(flagged, LABORATORY)
    gateway.prove(flagged)
    sent = order()
    sent["entry"][0]["resource"]["source"]["endpoint"] = LABORATORY.endpoints[0]
    answer = gateway.send(sent)
    assert response_of(answer)["code"] == "ok"
    assert any("Laboratory" in issue["details"]["text"] for issue in issues_of(answer))


def test_in_a_sandbox_who_is_blocked_is_known_by_what_its_message_says(start: Start) -> None:
    gateway = start(replace(HOSPITAL, state="blocked"))
    answer = gateway.send(order())
    assert (answer.status_code, issues_of(answer)[0]["code"]) == (403, "forbidden")
    assert gateway.rows(schema.message, "id") == []


def test_who_has_proved_who_it_is_need_not_say_it_again(start: Start) -> None:
    gateway = start(HOSPITAL, LABORATORY)
    sent = order()
    del sent["entry"][0]["resource"]["source"]
    assert gateway.send(sent).status_code == 422
    gateway.prove(HOSPITAL)
    answer = gateway.send(sent)
    assert (answer.status_code, issues_of(answer)[0]["expression"]) == (200, ["Bundle.entry[0].resource.source"])
    assert gateway.rows(schema.message, "partner", "sender") == [("Hospital", HOSPITAL.sender)]


# --- dialects ---


def test_a_refusal_of_what_is_no_response_in_its_dialect_is_told(start: Start) -> None:
    """In EPS a dispense-notification has a `response`, and is none."""
    gateway = start(replace(LABORATORY, dialect="nhs-eps"), HOSPITAL)
    quoted = {"identifier": new_id(), "code": "ok"}
    for event in ("dispense-notification", "unheard-of"):
        sent = Sender(LABORATORY.endpoints[0]).write(event, response=quoted)
        answers = [gateway.send(sent) for _ in range(2)]
        assert [one.status_code for one in answers] == [400, 400], event
        assert answers[0].data == answers[1].data
        assert orjson.loads(answers[0].data)["resourceType"] == "OperationOutcome"
    release = Sender(LABORATORY.endpoints[0]).write("prescription-order", response=quoted)
    assert gateway.send(release).status_code == 202
    assert gateway.rows(schema.message, "state") == [("done",)] * 3


def test_a_response_to_what_was_sent_to_another_is_refused_however_custody_is_acknowledged(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch, acknowledged=204)
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    gateway.send(order(system=TERSE_SYSTEM))
    [(header_id,)] = gateway.outbox("header_id", kind="message")
    quoted = {"identifier": header_id, "code": "ok"}
    forged = Sender(HOSPITAL.endpoints[0]).write("receipt", system=TERSE_SYSTEM, response=quoted)
    assert gateway.send(forged).status_code == 403
    assert gateway.outbox("state", kind="message") == [("due",)]
    sent = order("2", system=TERSE_SYSTEM, response=quoted)
    assert gateway.send(sent).status_code == 204, "a request that names another's is a request"
    assert gateway.outbox("closed_code", kind="message") == [(None,), (None,)]


def test_a_message_is_read_and_answered_in_the_dialect_of_its_partner(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch)
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    sent = order(system=TERSE_SYSTEM)
    first, again = gateway.send(sent), gateway.send(sent)
    assert [(one.status_code, one.data) for one in (first, again)] == [(204, b"")] * 2
    assert gateway.outbox("http_status", "content", "response_code", kind="reply") == [(204, b"", "ok")]
    [(event, manner)] = gateway.rows(schema.message, "event_code", "manner")
    assert (event, orjson.loads(manner)) == ("new-order", {"dialect": TERSE, "sender": "urn:o|H", "owner": "urn:o|L"})


def test_what_the_dialect_does_not_know_is_kept_and_refused_in_its_way(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch)
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    sent = order(event="unheard-of")
    answers = [gateway.send(sent) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {400}
    assert answers[0].data == answers[1].data
    assert issues_of(answers[0])[0]["details"]["text"] == "No unheard-of to urn:o|L."
    assert gateway.rows(schema.message, "state") == [("done",)]
    in_xml = gateway.send(sent, Accept="application/fhir+xml")
    assert (in_xml.status_code, b"<OperationOutcome xmlns" in in_xml.data) == (400, True)


def test_what_is_checked_is_what_was_sent(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    speaks(monkeypatch)
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    sent = order(system=TERSE_SYSTEM)
    sent["entry"][1]["resource"]["intention"] = "order"
    answer = gateway.send(sent)
    assert (answer.status_code, issues_of(answer)[0]["expression"]) == (400, ["Bundle.entry[1].resource.intention"])


def test_a_repeat_is_known_by_what_the_dialect_says(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    later = {"timestamp": "2027-01-01T00:00:00Z"}
    for number, (identity, renewed) in enumerate(
        [
            ("header", {"id": "b-2", **later}),
            ("bundle-identifier", {"id": "b-3"}),
            ("request-id", {"id": "b-4"}),
            ("business", {"id": "b-5"}),
            ("bundle", later),
        ],
        1,
    ):
        speaks(monkeypatch, identity=identity)
        known = {"identifier": {"system": "urn:ids", "value": identity}}
        sent = order(identity, system=TERSE_SYSTEM) | known
        named = {"X_Request_Id": f"r-{number}"}
        assert [gateway.send(one, **named).status_code for one in (sent, sent | renewed)] == [204, 204]
        assert len(gateway.rows(schema.message, "id", state="done")) == number * 2 - 1
        header_id = sent["entry"][0]["resource"]["id"]
        changed = order(identity, system=TERSE_SYSTEM, header_id=header_id, bundle_id=sent["id"]) | known
        changed["entry"][1]["resource"]["priority"] = "stat"
        refused = gateway.send(changed, **named)
        assert (refused.status_code, issues_of(refused)[0]["code"]) == (400, "duplicate"), identity


def test_a_repeat_of_what_is_answered_is_refused_where_the_dialect_says_so(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch, duplicate="refuse")
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    sent = order(system=TERSE_SYSTEM)
    gateway.queue.is_working = False
    waiting = [gateway.send(sent).status_code for _ in range(2)]
    gateway.queue.is_working = True
    gateway.queue.drain()
    refused = [gateway.send(sent) for _ in range(2)]
    assert waiting == [503, 503]
    assert [(one.status_code, issues_of(one)[0]["code"]) for one in refused] == [(400, "duplicate")] * 2
    assert refused[0].data == refused[1].data


def test_a_reply_names_the_request_as_the_dialect_does(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    plain = new_id()
    for quoted in ("bundle", "bundle-identifier", "header"):
        speaks(monkeypatch, quoted=quoted)
        sent = order(quoted, system=TERSE_SYSTEM) | {"identifier": {"value": f"urn:uuid:{plain}"}}
        sent["entry"][1]["resource"]["basedOn"] = [{"reference": "urn:uuid:nowhere"}]  # something to warn of
        answer = gateway.send(sent)
        names = {"bundle": sent["id"], "bundle-identifier": plain, "header": sent["entry"][0]["resource"]["id"]}
        assert answer.status_code == 201, answer.data
        assert response_of(answer)["identifier"] == names[quoted]


# --- later ---


def test_an_answer_that_is_wanted_later_goes_to_the_partner(start: Start) -> None:
    gateway = start(HOSPITAL, LABORATORY)
    answer = gateway.send(order(), "?async=true&response-url=https://hospital.example/answers")
    assert answer.status_code == 202
    [told] = gateway.outbox("state", "recipient", "destination", kind="reply")
    assert told == ("due", "Hospital", "https://hospital.example/answers")


def test_nobody_else_is_called_because_a_message_says_so(start: Start) -> None:
    gateway = start(HOSPITAL, LABORATORY)
    answer = gateway.send(order(), "?async=true&response-url=https://laboratory.example/in")
    assert (answer.status_code, issues_of(answer)[0]["code"]) == (422, "forbidden")
    stranger = Sender("https://stranger.example/in").write("new-order", task("1"))
    answer = gateway.send(stranger, "?async=true")
    assert (answer.status_code, issues_of(answer)[0]["code"]) == (422, "forbidden")
    assert gateway.rows(schema.message, "id") == []


def test_a_partner_may_have_all_its_answers_later(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    speaks(monkeypatch, acknowledged=204)
    gateway = start(replace(TERSE_HOSPITAL, reply="later"), replace(LABORATORY, reply="later", tell="poll"))
    assert gateway.send(order(system=TERSE_SYSTEM, event="no-such-event")).status_code == 204
    assert gateway.send(accepted()).status_code == 202
    states = [("due", "Hospital", HOSPITAL.endpoints[0]), ("queued", "Laboratory", None)]
    assert gateway.outbox("state", "recipient", "destination", kind="reply") == states


def test_custody_may_be_acknowledged_by_a_message_too(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    speaks(monkeypatch, acknowledgements=2)
    gateway = start(TERSE_HOSPITAL, LABORATORY)
    answer = gateway.send(order(system=TERSE_SYSTEM, event="no-such-event"), "?async=true")
    assert (answer.status_code, response_of(answer)["code"]) == (202, "ok")
    assert gateway.outbox("state", "response_code", kind="reply") == [("due", "fatal-error")]


def test_the_refusal_of_what_clashes_is_sent_later_at_once(start: Start, redis_url: str) -> None:
    gateway = start(HOSPITAL, LABORATORY)
    sent = order()
    gateway.send(sent)
    sent["entry"][1]["resource"]["priority"] = "urgent"
    assert [gateway.send(sent, "?async=true").status_code for _ in range(2)] == [202, 202]
    assert gateway.outbox("state", "response_code", kind="reply")[1:] == [("due", "fatal-error")]
    assert redis.Redis.from_url(redis_url).llen(DELIVERIES) == 1


def test_an_answer_says_that_something_waits_where_the_dialect_has_a_tag_for_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch, queued_tag=("urn:tags", "more"))
    gateway = start(replace(TERSE_HOSPITAL, tell="poll"), LABORATORY)

    def tags_of_answer(number: str) -> list[Any]:
        sent = order(number, system=TERSE_SYSTEM)
        sent["entry"][1]["resource"]["basedOn"] = [{"reference": "urn:uuid:nowhere"}]  # something to warn of
        header = orjson.loads(gateway.send(sent).data)["entry"][0]["resource"]
        return header.get("meta", {}).get("tag", [])  # type: ignore[no-any-return]

    assert tags_of_answer("1") == []
    gateway.send(accepted())
    assert gateway.outbox("state", recipient="Hospital") == [("queued",)]
    assert tags_of_answer("2") == [{"system": "urn:tags", "code": "more"}]


# --- telling ---


def test_a_partner_is_told_in_its_dialect_of_what_that_has_words_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch)
    gateway = start(HOSPITAL, replace(LABORATORY, dialect=TERSE))
    gateway.send(order())
    assert gateway.outbox("id", kind="message") == []
    gateway.send(order(event="order-update", header_id="h-2"))
    sent = order(event="order-update")
    sent["entry"][1]["resource"]["priority"] = "urgent"
    gateway.send(sent)
    [(event, content, header_id)] = gateway.outbox("event_code", "content", "header_id", kind="message")
    header = orjson.loads(content)["entry"][0]["resource"]
    assert (event, header["eventCoding"]["system"], header["id"]) == ("news", TERSE_SYSTEM, header_id)
