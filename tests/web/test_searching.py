"""GET /fhir/Task and POST /fhir/Task/_search: what matches, what comes with it, page by page, in JSON and XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from gateway.fhir import xml
from tests.orders import Order, focus_of
from tests.web.served import (
    BASE,
    PHARMACY,
    XML,
    Api,
    changed,
    issues_of,
    observation,
    placed,
    served,
)

Resource = dict[str, Any]
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def api(database_url: str, redis_url: str) -> Iterator[Api]:
    with served(database_url, redis_url) as api:
        yield api


def searched(api: Api, query: str) -> Resource:
    answer = api.get(query)
    assert answer.status_code == 200, answer.text
    bundle: Resource = orjson.loads(answer.data)
    return bundle


def shown(bundle: Resource) -> list[tuple[str, str]]:
    """The search mode and the type of each entry."""
    return [(entry["search"]["mode"], entry["resource"]["resourceType"]) for entry in bundle.get("entry", [])]


def ids(bundle: Resource) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", []) if entry["search"]["mode"] == "match"]


def link(bundle: Resource, relation: str) -> str | None:
    return next((link["url"] for link in bundle["link"] if link["relation"] == relation), None)


def numbered(api: Api, count: int) -> list[str]:
    """The ids of so many new orders, the last first."""
    return [placed(api, number=f"T-{number}")["id"] for number in range(count)][::-1]


def test_a_fulfiller_finds_what_waits_for_it(api: Api) -> None:
    waiting, taken = placed(api), placed(api, number="T-2")
    api.put(f"Task/{taken['id']}", changed(taken, "accepted"))

    bundle = searched(api, f"Task?owner:identifier={PHARMACY}&status=requested")

    assert bundle["type"] == "searchset"
    assert ids(bundle) == [waiting["id"]]
    [entry] = bundle["entry"]
    assert entry["fullUrl"] == f"{BASE}/Task/{waiting['id']}"
    assert entry["resource"] == waiting


def test_an_order_is_found_by_its_identifier(api: Api) -> None:
    task = placed(api)

    assert ids(searched(api, "Task?identifier=http://hospital.example/orders|T-1")) == [task["id"]]
    assert ids(searched(api, "Task?identifier=http://hospital.example/orders|T-9")) == []


def test_a_search_may_be_sent_as_a_form(api: Api) -> None:
    task = placed(api)
    form = b"identifier=http%3A%2F%2Fhospital.example%2Forders%7CT-1"

    answer = api.call("POST", "Task/_search?_count=5", form, party=None, media_type=FORM)

    bundle = orjson.loads(answer.data)
    assert ids(bundle) == [task["id"]]
    assert ids(searched(api, str(link(bundle, "self")).removeprefix(f"{BASE}/"))) == [task["id"]]
    assert api.call("POST", "Task/_search", b"{}", party=None).status_code == 415


def test_pages_are_linked_and_leave_nothing_out(api: Api) -> None:
    placed_ids = numbered(api, 5)

    address: str | None = f"{BASE}/Task?status=requested&_count=2&_total=accurate"
    pages = []
    while address:
        pages.append(searched(api, address.removeprefix(f"{BASE}/")))
        address = link(pages[-1], "next")

    assert [one for page in pages for one in ids(page)] == placed_ids
    assert {page["total"] for page in pages} == {5}
    assert all("status=requested" in str(link(page, "self")) for page in pages)


@pytest.mark.parametrize("only", ["_summary=count", "_count=0"])
def test_the_matches_may_only_be_counted(api: Api, only: str) -> None:
    numbered(api, 3)

    bundle = searched(api, f"Task?status=requested&{only}")

    assert (bundle["total"], bundle.get("entry")) == (3, None)
    assert link(bundle, "self") == f"{BASE}/Task?status=requested&{only}"
    assert link(bundle, "next") is None


def test_the_order_is_that_of_the_last_change_where_it_is_asked_for(api: Api) -> None:
    first, second = placed(api), placed(api, number="T-2")
    api.put(f"Task/{first['id']}", changed(first, "accepted"))

    assert ids(searched(api, "Task?_sort=-_lastUpdated")) == [first["id"], second["id"]]
    assert ids(searched(api, "Task?_sort=_lastUpdated")) == [second["id"], first["id"]]


def test_what_a_task_is_about_comes_with_it(api: Api) -> None:
    api.send(Order().new_order())

    bundle = searched(api, "Task?_include=Task:focus&_include=Task:patient")

    assert shown(bundle)[0] == ("match", "Task")
    assert sorted(shown(bundle)[1:]) == [("include", "MedicationRequest"), ("include", "Patient")]


def test_the_tasks_of_a_request_come_with_it(api: Api) -> None:
    task = focus_of(api.send(Order().new_order()))
    request = task["focus"]["reference"].removeprefix(f"{BASE}/")

    bundle = searched(api, f"MedicationRequest?_id={request.partition('/')[2]}&_revinclude=Task:focus")

    assert shown(bundle) == [("match", "MedicationRequest"), ("include", "Task")]


def test_outputs_come_with_their_task(api: Api) -> None:
    result = orjson.loads(api.post("Observation", observation()).data)
    task = placed(api)
    output = [{"type": {"text": "result"}, "valueReference": {"reference": f"Observation/{result['id']}"}}]
    for status in ("accepted", "in-progress"):
        api.put(f"Task/{task['id']}", changed(task, status, output=output))

    bundle = searched(api, f"Task?_id={task['id']}&_include=Task:output")

    assert shown(bundle) == [("match", "Task"), ("include", "Observation")]


def test_parts_come_with_the_whole(api: Api) -> None:
    whole = placed(api)
    placed(api, number="T-2", partOf=[{"reference": f"Task/{whole['id']}"}])

    bundle = searched(api, f"Task?_id={whole['id']}&_revinclude=Task:part-of")

    assert shown(bundle) == [("match", "Task"), ("include", "Task")]


def test_what_is_not_known_is_refused_or_left_out_as_asked(api: Api) -> None:
    placed(api)

    refused = api.get("Task?colour=red")
    lenient = api.get("Task?colour=red&status=requested", Prefer="handling=lenient")

    assert refused.status_code == 400
    assert "colour" in issues_of(refused)[0]["details"]["text"]
    assert [mode for mode, _ in shown(orjson.loads(lenient.data))] == ["match", "outcome"]
    assert "colour" not in str(link(orjson.loads(lenient.data), "self"))


@pytest.mark.parametrize(
    "query", ["_count=-1", "_sort=status", "_include=Task", "_cursor=x", "_lastUpdated=x", "owner="]
)
def test_a_query_that_cannot_be_carried_out_is_refused(api: Api, query: str) -> None:
    assert api.get(f"Task?{query}").status_code == 400


def test_not_every_type_is_searched(api: Api) -> None:
    answer = api.get("List?title=Open")

    assert answer.status_code == 405
    assert "ServiceRequest" in issues_of(answer)[0]["details"]["text"]


def test_in_xml_and_in_r5(api: Api) -> None:
    task = placed(api)

    in_xml = api.get("Task?status=requested", Accept=XML)
    in_r5 = api.get("Task?status=requested", Accept=f"{XML}; fhirVersion=5.0")

    assert xml.parse(in_xml.data)["entry"][0]["resource"] == task
    assert xml.parse(in_r5.data, "R5")["entry"][0]["resource"]["id"] == task["id"]


@pytest.mark.parametrize("odd", ["%00", "%ed%a0%80", "a_b", "x" * 100])
def test_what_is_no_id_finds_nothing(api: Api, odd: str) -> None:
    task = placed(api)

    assert ids(searched(api, f"Task?_id={odd}")) == []
    assert ids(searched(api, f"Task?_id={odd},{task['id']}")) == [task["id"]]


@pytest.mark.parametrize("asked", ["Provenance:target", "AuditEvent:entity", "Task:part-of"])
def test_what_comes_with_a_page_is_bounded_and_that_is_said(
    api: Api, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr("gateway.web.searching.MOST_BESIDE", 3)
    whole = placed(api, number="W")
    for number in range(5):
        placed(api, number=f"P-{number}", partOf=[{"reference": f"Task/{whole['id']}"}])

    bundle = searched(api, f"Task?_count=6&_revinclude={asked}&_total=accurate")

    modes = [mode for mode, _ in shown(bundle)]
    assert modes.count("match") == 6
    assert modes.count("include") <= 3
    if asked != "Task:part-of":
        assert modes[-1] == "outcome"


def test_what_the_matches_refer_to_is_bounded_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.web.searching.MOST_BESIDE", 2)
    results = [orjson.loads(api.post("Observation", observation(f"O-{n}")).data)["id"] for n in range(4)]
    task = placed(api)
    output = [{"type": {"text": "result"}, "valueReference": {"reference": f"Observation/{one}"}} for one in results]
    api.put(f"Task/{task['id']}", changed(task, "accepted"))
    api.put(f"Task/{task['id']}", changed(task, "in-progress", output=output))

    bundle = searched(api, "Task?_include=Task:output")

    assert [mode for mode, _ in shown(bundle)] == ["match", "include", "include", "outcome"]
    assert "_include" in bundle["entry"][-1]["resource"]["issue"][0]["details"]["text"]
