"""The endpoints: who may call them, what they refuse, $status, $events and the topic."""

from __future__ import annotations

import orjson
import pytest

from tests.subscriptions.subscribing import R5, TOPIC, Notification, World, r4, r5
from tests.web.served import BASE, HOSPITAL, JSON, PATCH, XML, changed, issues_of, placed

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_subscription_is_its_owners_only(world: World) -> None:
    subscription_id = world.create(r4(world.receiver.url))["id"]
    address = f"Subscription/{subscription_id}"
    for path in (address, f"{address}/$status", f"{address}/$events"):
        assert world.get(path).status_code == 200
        assert world.get(path, party=HOSPITAL).status_code == 404
    resource = r4("http://127.0.0.1:1/hospital", id=subscription_id)
    assert world.api.put(address, resource, party=HOSPITAL).status_code == 404
    assert world.api.call("DELETE", address, party=HOSPITAL).status_code == 404
    for path in ("Subscription", "Subscription/$status"):
        own, others = (orjson.loads(world.get(path, **who).data) for who in ({}, {"party": HOSPITAL}))
        assert (own["total"], others["total"]) == (1, 0)


def test_only_registered_partners_subscribe(world: World) -> None:
    stranger = world.api.post("Subscription", r4(world.receiver.url), party="urn:org|stranger")
    assert (stranger.status_code, "registered" in stranger.text) == (403, True)
    assert world.api.call("POST", "Subscription", r4(world.receiver.url), party=None).status_code == 401


def test_the_gateway_calls_no_address_that_is_not_the_subscribers(world: World) -> None:
    for endpoint in ("https://elsewhere.example/in", "http://169.254.169.254/in", "ftp://127.0.0.1/in", "urn:x:y"):
        answer = world.api.post("Subscription", r4(endpoint))
        assert answer.status_code == 422, endpoint
        [issue] = issues_of(answer)
        assert (issue["code"], issue["expression"]) == ("forbidden", ["Subscription.channel.endpoint"])
    [issue] = issues_of(world.api.post("Subscription", r5("https://elsewhere.example/in"), media_type=R5))
    assert issue["expression"] == ["Subscription.endpoint"]
    assert world.outbox("id") == []


def test_what_is_wrong_is_said_at_its_place(world: World) -> None:
    url = world.receiver.url
    refused = {
        "Subscription.criteria": r4(url) | {"criteria": "http://elsewhere.example/topic"},
        "Subscription.status": r4(url, status="off"),
        "Subscription.end": r4(url, end="9999-12-31T23:59:59-14:00"),
        "Subscription.channel.endpoint": r4(url) | {"channel": {**r4(url)["channel"], "endpoint": 7}},
        "Subscription.reason": {name: value for name, value in r4(url).items() if name != "reason"},
    }
    for place, resource in refused.items():
        answer = world.api.post("Subscription", resource)
        assert answer.status_code == 422
        assert place in [issue["expression"][0] for issue in issues_of(answer)], place
    past = world.api.post("Subscription", r4(url, end="2020-01-01T00:00:00Z"))
    assert (past.status_code, "The end is past." in past.text) == (422, True)
    assert world.api.post("Subscription", {"resourceType": "Task"}).status_code == 400
    assert world.api.post("Subscription", r4(url), media_type=f"{JSON}; fhirVersion=3.0").status_code == 415
    too_large = r4(url, reason="x" * 70_000)
    assert world.api.post("Subscription", too_large).status_code == 413
    created = world.create(r4(url))
    assert world.api.put(f"Subscription/{created['id']}", r4(url, id="other")).status_code == 400
    assert world.api.call("PATCH", f"Subscription/{created['id']}", [], media_type=PATCH).status_code == 405


def test_a_search_finds_by_status_and_endpoint(world: World) -> None:
    first, second = world.create(r4(world.receiver.url)), world.create(r4(f"{world.receiver.url}/2"))
    assert world.api.call("DELETE", f"Subscription/{first['id']}").status_code == 204

    def found(query: str) -> list[str]:
        bundle = orjson.loads(world.get(f"Subscription{query}").data)
        return [entry["resource"]["id"] for entry in bundle.get("entry", ())]

    assert found("?status=off") == [first["id"]]
    assert sorted(found("?status=off,requested")) == sorted([first["id"], second["id"]])
    assert found(f"?url={world.receiver.url}/2") == [second["id"]]
    assert found(f"?_id={first['id']}&status=requested") == []
    assert world.get("Subscription?criteria=x").status_code == 400


def test_a_subscription_is_read_in_each_version_and_format(world: World) -> None:
    created = world.create(r5(world.receiver.url))
    assert "topic" in created
    address = f"Subscription/{created['id']}"
    assert orjson.loads(world.get(address).data)["criteria"] == TOPIC
    assert orjson.loads(world.get(address, Accept=R5).data)["topic"] == TOPIC
    assert b"<criteria" in world.get(address, Accept=XML).data
    assert world.get(address).headers["ETag"] == 'W/"1"'
    assert world.get(address, Accept=f"{JSON}; fhirVersion=3.0").status_code == 406


def test_status_is_told_of_several_by_id_and_status(world: World) -> None:
    first, second = world.create(r4(world.receiver.url)), world.create(r4(world.receiver.url))
    assert world.api.call("DELETE", f"Subscription/{first['id']}").status_code == 204

    def total(query: str) -> int:
        return int(orjson.loads(world.get(f"Subscription/$status{query}").data)["total"])

    assert [total(""), total("?status=off"), total("?status=off&status=requested"), total("?id=none")] == [2, 1, 2, 0]
    assert total(f"?id={first['id']}&id={second['id']}") == 2
    for version in ("4.3", "5.0"):
        answer = world.get(f"Subscription/$status?id={second['id']}", Accept=f"{JSON}; fhirVersion={version}")
        assert orjson.loads(answer.data)["entry"][0]["resource"]["resourceType"] == "SubscriptionStatus"


def test_events_are_asked_for_by_number_and_told_as_they_were(world: World) -> None:
    subscription_id = world.activate(r4(world.receiver.url))
    task = placed(world.api)
    for status in ("cancelled",):
        assert world.api.put(f"Task/{task['id']}", changed(task, status), party=HOSPITAL).status_code == 200
    placed(world.api, number="2")
    assert world.events(subscription_id).numbers == [1, 2, 3]
    assert world.events(subscription_id, "?eventsSinceNumber=2").numbers == [2, 3]
    told = world.events(subscription_id, "?eventsSinceNumber=1&eventsUntilNumber=1&content=full-resource")
    assert (told.numbers, told.total) == ([1], 3)
    assert told.bundle["entry"][1]["resource"]["status"] == "requested"
    assert world.events(subscription_id, "?content=empty").shown == []
    assert world.get(f"Subscription/{subscription_id}/$events?eventsSinceNumber=x").status_code == 400
    assert world.get(f"Subscription/{subscription_id}/$events?content=all").status_code == 400
    asked = {"resourceType": "Parameters", "parameter": [{"name": "eventsSinceNumber", "valueString": "3"}]}
    posted = world.api.post(f"Subscription/{subscription_id}/$events", asked)
    assert Notification(posted.data).numbers == [3]
    in_r5 = world.get(f"Subscription/{subscription_id}/$events?content=full-resource", Accept=R5)
    assert (Notification(in_r5.data).version, in_r5.status_code) == ("R5", 200)


def test_the_topic_is_published(world: World) -> None:
    topic = orjson.loads(world.api.get("SubscriptionTopic/task-updates").data)
    assert topic["url"] == TOPIC
    found = orjson.loads(world.api.get(f"SubscriptionTopic?url={TOPIC}").data)
    assert [entry["fullUrl"] for entry in found["entry"]] == [TOPIC]
    assert world.api.get("SubscriptionTopic/other").status_code == 404
    statement = orjson.loads(world.api.get("metadata").data)
    [said] = [one for one in statement["rest"][0]["resource"] if one["type"] == "Subscription"]
    assert said["extension"][0]["valueCanonical"] == TOPIC
    assert BASE in TOPIC
