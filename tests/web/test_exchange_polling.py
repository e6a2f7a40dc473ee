"""What waits for partners that are not called: fetched in order, again until it is acknowledged, by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
from werkzeug.test import TestResponse

from gateway.fhir import xml
from gateway.partners import Subscription
from tests.web.exchanges import HOSPITAL, LABORATORY, Exchanges, Resource, accepted, exchanging, issues_of, order

POLLS = replace(LABORATORY, tell="poll")
SUBSCRIBED = replace(HOSPITAL, tell="poll", subscription=Subscription("urn:s", "urn:topic"))
AS_LABORATORY = {"X_Party": LABORATORY.identifiers[0]}
AS_HOSPITAL = {"X_Party": HOSPITAL.identifiers[0]}


@pytest.fixture
def gateway(database_url: str, redis_url: str) -> Iterator[Exchanges]:
    with exchanging(database_url, redis_url, (SUBSCRIBED, POLLS)) as started:
        yield started


def ids_of(answer: TestResponse) -> list[str]:
    """The ids of the Bundles that were fetched."""
    assert answer.status_code == 200, answer.text
    bundle: Resource = orjson.loads(answer.data)
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def acknowledgement(*ids: str) -> Resource:
    return {"resourceType": "Parameters", "parameter": [{"name": "id", "valueString": each} for each in ids]}


def test_what_waits_comes_in_order_and_again_until_it_is_acknowledged(gateway: Exchanges) -> None:
    assert ids_of(gateway.get("$poll", **AS_LABORATORY)) == []
    for number in ("1", "2", "3"):
        gateway.send(order(number))
    queued = gateway.outbox("bundle_id", "header_id", "content", recipient="Laboratory", state="queued")
    ids = [bundle_id for bundle_id, _, _ in queued]
    first = gateway.get("$poll?count=2", **AS_LABORATORY)
    assert queued[0][2] in first.data
    assert ids_of(first) == ids[:2] == ids_of(gateway.get("$poll?count=2", **AS_LABORATORY))
    assert orjson.loads(first.data)["meta"]["tag"][0]["code"] == "queued-messages"
    acknowledged = acknowledgement(f"urn:uuid:{ids[0].upper()}", queued[1][1])
    taken = gateway.post("$acknowledge", acknowledged, **AS_LABORATORY)
    assert issues_of(taken)[0]["details"]["text"] == "2 of what waited for Laboratory is delivered."
    last = gateway.get("$poll", **AS_LABORATORY)
    assert (ids_of(last), "meta" in orjson.loads(last.data)) == (ids[2:], False)
    assert "never did" in gateway.post("$acknowledge", acknowledgement(ids[0]), **AS_LABORATORY).text


def test_only_the_events_that_are_asked_for_are_fetched(gateway: Exchanges) -> None:
    gateway.send(order())
    gateway.send(order(event="order-update"))
    sent = order(event="order-update")
    sent["entry"][1]["resource"]["priority"] = "urgent"
    gateway.send(sent)
    first, second = gateway.outbox("bundle_id", "event_code", recipient="Laboratory", state="queued")
    assert [first[1], second[1]] == ["new-order", "order-update"]
    assert ids_of(gateway.get("$poll?include=order-update", **AS_LABORATORY)) == [second[0]]
    assert ids_of(gateway.get("$poll?exclude=order-update,other", **AS_LABORATORY)) == [first[0]]
    named = {"resourceType": "Parameters", "parameter": [{"name": "include", "valueCode": "new-order"}]}
    assert ids_of(gateway.post("$poll", named, **AS_LABORATORY)) == [first[0]]


def test_notifications_and_later_answers_wait_too(gateway: Exchanges) -> None:
    gateway.send(order(), "?async=true")
    gateway.send(accepted())
    fetched = orjson.loads(gateway.get("$poll", **AS_HOSPITAL).data)
    kinds = [entry["resource"]["entry"][0]["resource"]["resourceType"] for entry in fetched["entry"]]
    assert kinds == ["MessageHeader", "Parameters"]
    notified = gateway.get("$poll?include=subscription-notification", **AS_HOSPITAL)
    assert ids_of(notified) == [fetched["entry"][1]["resource"]["id"]]


def test_it_may_be_fetched_in_xml(gateway: Exchanges) -> None:
    gateway.send(order())
    fetched = xml.parse(gateway.get("$poll", Accept="application/fhir+xml", **AS_LABORATORY).data)
    [(content,)] = gateway.outbox("content", recipient="Laboratory", state="queued")
    assert fetched["entry"][0]["resource"] == orjson.loads(content)


def test_nobody_fetches_or_acknowledges_what_is_anothers(gateway: Exchanges) -> None:
    gateway.send(order())
    [(bundle_id,)] = gateway.outbox("bundle_id", recipient="Laboratory", state="queued")
    gateway.prove(SUBSCRIBED)
    assert ids_of(gateway.get("$poll")) == []
    assert gateway.get("$poll", **AS_LABORATORY).status_code == 403
    assert gateway.post("$acknowledge", acknowledgement(bundle_id)).text.count("0 of what waited") == 1
    gateway.prove(None)
    assert gateway.get("$poll").status_code == 401
    assert gateway.get("$poll", X_Party="urn:o|nobody").status_code == 403
    gateway.standing(replace(POLLS, state="blocked"))
    assert gateway.get("$poll", **AS_LABORATORY).status_code == 403
    assert gateway.outbox("state", bundle_id=bundle_id) == [("queued",)]


def test_what_cannot_be_asked_for_is_refused_in_words(gateway: Exchanges) -> None:
    for query in (
        "count=0",
        "count=101",
        "count=many",
        "count=1&count=2",
        "include=a&exclude=b",
        "since=2020",
        "include=%00",
        "count=²",
    ):
        answer = gateway.get(f"$poll?{query}", **AS_LABORATORY)
        assert (answer.status_code, len(issues_of(answer))) == (422, 1), query


def test_what_acknowledges_nothing_is_refused_in_words(gateway: Exchanges) -> None:
    for body in (
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": "id"},
        {"resourceType": "Parameters", "parameter": [{"name": "id"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "id", "valueString": {"a": 1}}]},
        {"resourceType": "Bundle"},
        acknowledgement(*map(str, range(1001))),
    ):
        assert gateway.post("$acknowledge", body, **AS_LABORATORY).status_code == 422
