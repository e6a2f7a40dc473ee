"""Batches of messages: each is taken for itself, in order, and answered for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.fhir import xml
from gateway.partners.model import Limits
from gateway.store import schema
from tests.senders import Sender, new_id
from tests.web.exchanges import HOSPITAL, LABORATORY, Exchanges, Resource, accepted, exchanging, issues_of, order


@pytest.fixture
def gateway(database_url: str, redis_url: str) -> Iterator[Exchanges]:
    with exchanging(database_url, redis_url, (HOSPITAL, LABORATORY)) as started:
        yield started


def batch(*messages: Any, url: str = "$process-message") -> Resource:
    entries = [{"resource": message, "request": {"method": "POST", "url": url}} for message in messages]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


def codes(told: Resource) -> list[tuple[str, str | None]]:
    """The status, and the response code or the code of the first issue, of each entry."""
    found = []
    for entry in told["entry"]:
        outcome = entry["response"].get("outcome")
        code = outcome["issue"][0]["code"] if outcome else None
        if "resource" in entry:
            code = entry["resource"]["entry"][0]["resource"]["response"]["code"]
        found.append((entry["response"]["status"], code))
    return found


def test_each_message_takes_effect_in_order_and_has_its_own_answer(gateway: Exchanges) -> None:
    sent = batch(order(), accepted(), order(event="unheard-of"))
    first, again = gateway.post("", sent), gateway.post("", sent)
    told = orjson.loads(first.data)
    assert (first.status_code, told["type"]) == (200, "batch-response")
    assert codes(told) == [("200 OK", "ok"), ("200 OK", "ok"), ("200 OK", "fatal-error")]
    assert told["entry"][1]["resource"]["entry"][1]["resource"]["status"] == "accepted"
    assert first.data == again.data
    assert len(gateway.rows(schema.message, "id")) == 3


def test_a_bad_entry_does_no_harm_to_the_others(gateway: Exchanges) -> None:
    sent = batch(order("1"), {"resourceType": "Patient"}, order("2"))
    sent["entry"] += [
        {"request": {"method": "POST", "url": "$process-message"}},
        {"resource": order("3"), "request": {"method": "PUT", "url": "$process-message"}},
        {"resource": order("4"), "request": {"method": "POST", "url": "Task"}},
        {"resource": order("5"), "request": {"method": "POST", "url": "$process-message?async=perhaps"}},
        {"resource": order("6"), "request": {"method": "POST", "url": "http://a.example/fhir/$process-message"}},
        "nothing",
    ]
    told = orjson.loads(gateway.post("", sent).data)
    unfit = "422 Unprocessable Entity"
    assert [status for status, _ in codes(told)] == ["200 OK", unfit, "200 OK", *[unfit] * 4, "200 OK", unfit]
    assert len(gateway.rows(schema.message, "id")) == 3


def test_an_entry_may_be_a_response_or_be_answered_later(gateway: Exchanges) -> None:
    response = Sender(LABORATORY.endpoints[0]).write("new-order", response={"identifier": new_id(), "code": "ok"})
    sent = batch(response, order(), url="$process-message?async=true")
    told = orjson.loads(gateway.post("", sent).data)
    assert codes(told) == [("202 Accepted", "informational")] * 2
    assert gateway.outbox("state", "recipient", kind="reply") == [("due", "Hospital")]


def test_what_is_not_processed_in_time_is_to_be_sent_again(gateway: Exchanges) -> None:
    gateway.queue.is_working = False
    sent = batch(order("1"), order("2"))
    assert codes(orjson.loads(gateway.post("", sent).data)) == [("504 Gateway Timeout", "timeout")] * 2
    gateway.queue.is_working = True
    gateway.queue.drain()
    assert codes(orjson.loads(gateway.post("", sent).data)) == [("200 OK", "ok")] * 2


def test_a_batch_may_be_in_xml(gateway: Exchanges) -> None:
    kind = "application/fhir+xml"
    answer = gateway.client.post(
        "/fhir", data=xml.serialize(batch(order(), order("2"))), headers={"Content-Type": kind}
    )
    told = xml.parse(answer.data)
    assert codes(told) == [("200 OK", "ok")] * 2
    assert gateway.rows(schema.message, "media_type") == [(kind,)] * 2


def test_what_is_sent_beyond_the_rate_is_refused_one_by_one(gateway: Exchanges) -> None:
    gateway.prove(replace(HOSPITAL, limits=Limits(messages_per_minute=3)))
    sent = batch(*(order(str(number)) for number in range(5)))
    told = codes(orjson.loads(gateway.post("", sent).data))
    assert told == [("200 OK", "ok")] * 3 + [("429 Too Many Requests", "throttled")] * 2
    assert gateway.post("$process-message", order("6")).status_code == 429


def test_who_is_blocked_does_no_harm_to_others_and_what_comes_twice_takes_effect_once(gateway: Exchanges) -> None:
    twice = order()
    gateway.standing(replace(LABORATORY, state="blocked"), HOSPITAL)
    sent = batch(twice, accepted(), twice, batch(order("2")))
    told = codes(orjson.loads(gateway.post("", sent).data))
    forbidden, unfit = ("403 Forbidden", "forbidden"), ("422 Unprocessable Entity", "value")
    assert told == [("200 OK", "ok"), forbidden, ("200 OK", "ok"), unfit]
    assert len(gateway.rows(schema.message, "id")) == 1


def test_what_is_no_batch_of_messages_is_refused(gateway: Exchanges) -> None:
    for body in (
        order(),
        {"resourceType": "Patient"},
        {"resourceType": "Bundle", "type": "transaction"},
        {"resourceType": "Bundle", "type": "batch"},
        {"resourceType": "Bundle", "type": "batch", "entry": {}},
        batch(*["nothing"] * 1001),
    ):
        answer = gateway.post("", body)
        assert (answer.status_code, len(issues_of(answer))) == (422, 1)
