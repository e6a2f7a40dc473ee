"""Provenance and AuditEvent: who made each version by which message, and what came of each attempt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.orders import Order, focus_of
from tests.web.served import BASE, HOSPITAL, XML, Api, changed, issues_of, observation, order, placed, served

Resource = dict[str, Any]


@pytest.fixture
def api(database_url: str, redis_url: str) -> Iterator[Api]:
    with served(database_url, redis_url) as api:
        yield api


def found(api: Api, address: str) -> list[Resource]:
    """The resources of a searchset."""
    bundle = orjson.loads(api.get(address).data)
    return [entry["resource"] for entry in bundle.get("entry", [])]


def identifier_of(reference: Resource) -> str:
    return "|".join(reference["identifier"].values())


# --- Provenance ---


def test_each_version_has_the_message_that_made_it(api: Api) -> None:
    message = Order().new_order()
    task = focus_of(api.send(message))
    api.put(f"Task/{task['id']}", changed(task, "accepted"))

    second, first = found(api, f"Provenance?target=Task/{task['id']}")

    assert [one["target"][0]["reference"] for one in (first, second)] == [
        f"Task/{task['id']}/_history/1",
        f"Task/{task['id']}/_history/2",
    ]
    assert first["entity"][0]["what"]["identifier"]["value"] == f"urn:uuid:{message['id']}"
    assert "PHARMACY-7" in identifier_of(second["agent"][0]["who"])
    assert [one["activity"]["coding"][0]["code"] for one in (first, second)] == ["CREATE", "UPDATE"]


def test_a_provenance_has_an_address(api: Api) -> None:
    task = placed(api)
    [listed] = found(api, f"Provenance?target={BASE}/Task/{task['id']}/_history/1")

    answer = api.get(f"Provenance/{listed['id']}")

    assert orjson.loads(answer.data) == listed
    assert api.get(f"Provenance/{listed['id']}", Accept=XML).status_code == 200
    assert api.get(f"Provenance/{listed['id']}", Accept="application/fhir+json; fhirVersion=5.0").status_code == 200


@pytest.mark.parametrize("address", ["Provenance/none", "Provenance/none.1", "Provenance/none.x", "AuditEvent/none"])
def test_what_never_was_has_no_trail(api: Api, address: str) -> None:
    assert api.get(address).status_code == 404


def test_there_is_no_provenance_of_a_version_that_is_not_there(api: Api) -> None:
    task = placed(api)

    assert api.get(f"Provenance/{task['id']}.2").status_code == 404
    assert found(api, f"Provenance?target=Task/{task['id']}/_history/2") == []


# --- AuditEvent ---


def test_each_change_and_each_refused_attempt_is_told(api: Api) -> None:
    task = placed(api)
    api.put(f"Task/{task['id']}", changed(task, "accepted"))
    api.put(f"Task/{task['id']}", changed(task, "completed"))
    api.put(f"Task/{task['id']}", changed(task, "in-progress"), If_Match='W/"1"')
    api.put(f"Task/{task['id']}", changed(task, "in-progress"), party=HOSPITAL)

    events = found(api, f"AuditEvent?entity=Task/{task['id']}")

    told = [(event["action"], event["outcome"], event.get("outcomeDesc")) for event in reversed(events)]
    assert told == [
        ("C", "0", None),
        ("U", "0", None),
        ("E", "4", "business-rule"),
        ("E", "4", "conflict"),
        ("E", "4", "forbidden"),
    ]
    for event in events:
        assert any(f"Task/{task['id']}" in entity["what"].get("reference", "") for entity in event["entity"])


def test_an_event_quotes_nothing_of_a_record(api: Api) -> None:
    secret = "Seven days of it"
    task = placed(api, description=secret)
    api.put(f"Task/{task['id']}", changed(task, "completed", description=secret))

    assert secret not in api.get(f"AuditEvent?entity=Task/{task['id']}").text


def test_an_attempt_at_one_order_is_no_event_of_another(api: Api) -> None:
    task, other = placed(api), placed(api, number="T-2")
    api.put(f"Task/{task['id']}", changed(task, "completed"))

    assert len(found(api, f"AuditEvent?entity=Task/{other['id']}")) == 1
    assert len(found(api, f"AuditEvent?entity=Task/{task['id']}")) == 2


def test_a_refused_message_is_an_event_of_its_order(api: Api) -> None:
    one = Order()
    task = focus_of(api.send(one.new_order()))
    api.send(one.new_order())

    refused, placed_ = found(api, f"AuditEvent?entity=Task/{task['id']}")

    assert (refused["outcome"], refused["outcomeDesc"]) == ("4", "duplicate")
    assert placed_["subtype"][0]["code"] == "new-order"


def test_what_is_no_task_has_events_too(api: Api) -> None:
    kept = orjson.loads(api.post("Observation", observation()).data)

    [event] = found(api, f"AuditEvent?entity=Observation/{kept['id']}")

    assert orjson.loads(api.get(f"AuditEvent/{event['id']}").data) == event


def test_events_come_page_by_page(api: Api) -> None:
    task = placed(api)
    for status in ("accepted", "in-progress", "completed"):
        api.put(f"Task/{task['id']}", changed(task, status))

    address, seen = f"AuditEvent?entity=Task/{task['id']}&_count=3", []
    while address:
        bundle = orjson.loads(api.get(address).data)
        seen += [entry["resource"]["action"] for entry in bundle["entry"]]
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        address = following[0].removeprefix(f"{BASE}/") if following else ""

    assert seen == ["U", "U", "U", "C"]


@pytest.mark.parametrize("address", ["AuditEvent", "AuditEvent?entity=x", "Provenance", "Provenance?target=Task/"])
def test_a_search_says_of_what(api: Api, address: str) -> None:
    answer = api.get(address)

    assert answer.status_code == 400
    assert "Task/[id]" in issues_of(answer)[0]["details"]["text"]


def test_an_unknown_order_has_no_events(api: Api) -> None:
    assert found(api, "AuditEvent?entity=Task/none") == []
    assert found(api, "Provenance?target=Task/none") == []


def test_the_trail_comes_with_a_search(api: Api) -> None:
    task = placed(api)

    kinds = [
        one["resourceType"]
        for one in found(api, f"Task?_id={task['id']}&_revinclude=Provenance:target&_revinclude=AuditEvent:entity")
    ]

    assert kinds == ["Task", "Provenance", "AuditEvent"]


def test_who_made_it_is_told_of_parties_that_are_not_registered(api: Api) -> None:
    party = "http://elsewhere.example/ids|X|1"
    task = orjson.loads(api.post("Task", order(requester={"display": "Ward 3"}), party=party).data)

    [made] = found(api, f"Provenance?target=Task/{task['id']}")

    assert identifier_of(made["agent"][0]["who"]) == party


@pytest.mark.parametrize("query", ["&outcome=4", "&entity=Task/other", "&_elements=id"])
def test_what_the_trail_is_not_searched_by_is_refused(api: Api, query: str) -> None:
    task = placed(api)

    strict = api.get(f"AuditEvent?entity=Task/{task['id']}{query}")

    assert strict.status_code == 400
    assert "entity" in issues_of(strict)[0]["details"]["text"]


def test_what_is_not_known_is_left_out_where_the_caller_wants_that(api: Api) -> None:
    task = placed(api)

    answer = api.get(f"AuditEvent?entity=Task/{task['id']}&outcome=4", Prefer="handling=lenient")

    assert answer.status_code == 200
    assert "outcome" not in orjson.loads(answer.data)["link"][0]["url"]


def test_the_trail_of_what_is_elsewhere_is_not_ours(api: Api) -> None:
    task = placed(api)

    assert api.get(f"AuditEvent?entity=http://elsewhere.example/fhir/Task/{task['id']}").status_code == 400


@pytest.mark.parametrize("version", ["3.0", "5.0"])
@pytest.mark.parametrize("address", ["AuditEvent/1", "AuditEvent?entity=Task/1", "Task?_revinclude=AuditEvent:entity"])
def test_an_audit_event_is_told_in_r4(api: Api, address: str, version: str) -> None:
    placed(api)

    assert api.get(address, Accept=f"application/fhir+json; fhirVersion={version}").status_code == 406
