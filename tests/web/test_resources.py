"""REST on what is kept: reads show every version, of messages as of REST; what is the gateway's own is not shown."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from gateway.fhir.search import PARAMETERS
from gateway.fhir.task.outcomes import Outcome
from gateway.store.database import upgrade
from gateway.store.schema import resource
from tests.orders import Order, focus_of, header_of
from tests.web.served import (
    BASE,
    HOSPITAL,
    JSON,
    PATCH,
    XML,
    Api,
    changed,
    issues_of,
    order,
    placed,
    served,
)

Resource = dict[str, Any]


@pytest.fixture
def api(database_url: str, redis_url: str) -> Iterator[Api]:
    with served(database_url, redis_url) as api:
        yield api


# --- read ---


def test_every_version_can_be_read(api: Api) -> None:
    task = placed(api)
    api.put(f"Task/{task['id']}", changed(task, "accepted"))

    first, second = (api.get(f"Task/{task['id']}/_history/{number}") for number in (1, 2))

    assert orjson.loads(first.data) == task
    assert orjson.loads(second.data)["status"] == "accepted"
    assert (first.headers["ETag"], second.headers["ETag"]) == ('W/"1"', 'W/"2"')


@pytest.mark.parametrize("address", ["Task/none", "Task/none/_history", "Task/none/_history/1", "Patient/none"])
def test_what_is_not_there_is_not_found(api: Api, address: str) -> None:
    answer = api.get(address)

    assert answer.status_code == 404
    assert issues_of(answer)[0]["code"] == "not-found"


@pytest.mark.parametrize("version", ["0", "2", "x", "9" * 30, "\u0661"])
def test_a_version_that_was_never_is_not_found(api: Api, version: str) -> None:
    assert api.get(f"Task/{placed(api)['id']}/_history/{version}").status_code == 404


def test_an_id_is_found_under_its_own_type_only(api: Api) -> None:
    assert api.get(f"Observation/{placed(api)['id']}").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_None_Match": 'W/"1"'}, 304),
        ({"If_None_Match": '"1"'}, 304),
        ({"If_None_Match": 'W/"7", W/"1"'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": 'W/"2"'}, 200),
        ({"If_Modified_Since": "Sat, 01 Jan 2050 00:00:00 GMT"}, 304),
        ({"If_Modified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"}, 200),
        ({"If_Modified_Since": "lately"}, 200),
    ],
)
def test_who_has_it_already_is_not_sent_it(api: Api, headers: dict[str, str], status: int) -> None:
    answer = api.get(f"Task/{placed(api)['id']}", **headers)

    assert answer.status_code == status
    assert answer.headers["ETag"] == 'W/"1"'
    assert bool(answer.data) == (status == 200)


def test_a_parameter_that_is_not_known_is_refused_where_that_is_asked_for(api: Api) -> None:
    address = f"Task/{placed(api)['id']}?_summary=true"

    assert api.get(address).status_code == 200
    strict = api.get(address, Prefer="handling=strict")
    assert strict.status_code == 400
    assert "_summary" in issues_of(strict)[0]["details"]["text"]


def test_the_history_is_read_page_by_page(api: Api) -> None:
    task = placed(api)
    for status in ("accepted", "in-progress", "completed"):
        api.put(f"Task/{task['id']}", changed(task, status))

    pages = [orjson.loads(api.get(f"Task/{task['id']}/_history?_count=3").data)]
    [following] = [link["url"] for link in pages[0]["link"] if link["relation"] == "next"]
    pages.append(orjson.loads(api.get(following.removeprefix(f"{BASE}/")).data))

    found = [entry["resource"]["status"] for page in pages for entry in page["entry"]]
    assert found == ["completed", "in-progress", "accepted", "requested"]
    assert [page["total"] for page in pages] == [4, 4]
    assert [link["relation"] for link in pages[1]["link"]] == ["self"]
    assert pages[1]["entry"][0]["request"] == {"method": "POST", "url": "Task"}


def test_the_history_since_a_time(api: Api) -> None:
    task = placed(api)

    assert orjson.loads(api.get(f"Task/{task['id']}/_history?_since=2000-01-01T00:00:00Z").data)["total"] == 1
    later = orjson.loads(api.get(f"Task/{task['id']}/_history?_since=2100-01-01T00:00:00%2B01:00").data)
    assert (later["total"], later.get("entry")) == (0, None)
    assert api.get(f"Task/{task['id']}/_history?_since=lately").status_code == 400


@pytest.mark.parametrize("count", ["0", "-1", "x", "9" * 40])
def test_a_count_is_a_number(api: Api, count: str) -> None:
    assert api.get(f"Task/{placed(api)['id']}/_history?_count={count}").status_code == 400


@pytest.mark.parametrize(("number", "reason"), [("4.3", "reasonCode"), ("5.0", "reason"), ("3.0", "reason")])
def test_it_is_read_in_other_versions_of_fhir(api: Api, number: str, reason: str) -> None:
    task = placed(api, reasonCode={"text": "Otitis"})

    for name in (JSON, XML):
        answer = api.get(f"Task/{task['id']}", Accept=f"{name}; fhirVersion={number}")
        assert answer.headers["Content-Type"].startswith(f"{name}; fhirVersion={number}")
        assert f"{reason}".encode() in answer.data
        assert api.get(f"Task/{task['id']}/_history", Accept=f"{name}; fhirVersion={number}").status_code == 200


# --- beside messages ---


def test_a_message_and_rest_are_about_one_order(api: Api) -> None:
    message = Order().new_order()
    kept = focus_of(api.send(message))
    sent = {**kept, "status": "accepted"}

    assert api.put(f"Task/{kept['id']}", sent, If_Match='W/"1"').status_code == 200
    message = Order(header_of(message)["id"]).new_order()
    assert orjson.loads(api.get(f"Task/{kept['id']}").data)["status"] == "accepted"


def test_the_gateways_own_names_are_no_senders(api: Api) -> None:
    for change in (
        {"source": {"endpoint": "urn:x-fhir-gateway:clock"}},
        {"sender": {"reference": "urn:x-fhir-gateway:self"}},
    ):
        message = copy.deepcopy(Order().new_order())
        header_of(message).update(change)
        answer = api.call("POST", "$process-message", message, party=None)
        assert answer.status_code == 422
        assert issues_of(answer)[0]["code"] == "forbidden"


def test_what_the_gateway_keeps_for_itself_is_not_served(api: Api, database_url: str) -> None:
    task = placed(api)
    for status in ("accepted", "in-progress"):
        api.put(f"Task/{task['id']}", changed(task, status))
    asked = {
        **order("C-1", intent="order", focus={"reference": f"Task/{task['id']}"}),
        "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]},
        "statusReason": {"text": "The patient has left."},
    }
    assert api.post("Task", asked, party=HOSPITAL).status_code == 201
    own = notes(database_url)

    assert own
    for resource_id in own:
        assert api.get(f"List/{resource_id}").status_code == 404
        assert api.get(f"List/{resource_id}/_history/1").status_code == 404
        assert api.get(f"Provenance/{resource_id}.1").status_code == 404
        knowing = {**order("K-1"), "focus": {"reference": f"List/{resource_id}"}}
        api.post("Task", knowing, party=HOSPITAL)
        assert '"List"' not in api.get("Task?identifier=K-1&_include=Task:focus").text
    assert not any(resource_id in api.get(f"AuditEvent?entity=Task/{task['id']}").text for resource_id in own)


def notes(database_url: str) -> list[str]:
    """The ids of the Lists that are kept."""
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = [*connection.execute(sa.select(resource.c.id).where(resource.c.type == "List")).scalars()]
    engine.dispose()
    return found


# --- what it says it can do ---

_METHODS = {
    "read": ("GET", "{0}/x"),
    "vread": ("GET", "{0}/x/_history/1"),
    "history-instance": ("GET", "{0}/x/_history"),
    "search-type": ("GET", "{0}"),
    "create": ("POST", "{0}"),
    "update": ("PUT", "{0}/x"),
    "patch": ("PATCH", "{0}/x"),
}


def test_it_does_what_it_says_and_nothing_else(sqlite_url: str, redis_url: str) -> None:
    """Each interaction of each type is answered 405 just if it is not declared (405 of a PUT is about the id)."""
    upgrade(sqlite_url)
    with served(sqlite_url, redis_url) as api:
        [rest] = orjson.loads(api.get("metadata").data)["rest"]
        declared = {one["type"]: {each["code"] for each in one["interaction"]} for one in rest["resource"]}
        for kind in ("Task", "ServiceRequest", "Observation", "List", "Provenance", "AuditEvent", "Bundle"):
            for code, (method, path) in _METHODS.items():
                media_type = PATCH if method == "PATCH" else JSON
                body = None if method == "GET" else {"resourceType": kind}
                answer = api.call(method, path.format(kind), body, media_type=media_type)
                is_done = answer.status_code != 405 or issues_of(answer)[0]["code"] == "not-found"
                assert is_done == (code in declared[kind]), f"{code} of {kind}: {answer.status_code}"


def test_the_search_parameters_are_those_of_the_table(sqlite_url: str, redis_url: str) -> None:
    upgrade(sqlite_url)
    with served(sqlite_url, redis_url) as api:
        [rest] = orjson.loads(api.get("metadata").data)["rest"]
        found = {one["type"]: one for one in rest["resource"]}
        for kind, parameters in PARAMETERS.items():
            named = {each["name"]: each["type"] for each in found[kind]["searchParam"]}
            assert named == {"_id": "token", "_lastUpdated": "date"} | {p.name: p.type for p in parameters.values()}
            for include in found[kind]["searchInclude"]:
                assert api.get(f"{kind}?_include={include}").status_code == 200, include
            for include in found[kind]["searchRevInclude"]:
                assert api.get(f"{kind}?_revinclude={include}").status_code == 200, include


def test_the_codes_of_its_own_are_published(sqlite_url: str, redis_url: str) -> None:
    with served(sqlite_url, redis_url) as api:
        system = orjson.loads(api.get("CodeSystem/cancellation-outcome").data)
        listed = orjson.loads(api.get(f"CodeSystem?url={system['url']}").data)

        assert {concept["code"] for concept in system["concept"]} == {str(outcome) for outcome in Outcome}
        assert [entry["resource"] for entry in listed["entry"]] == [system]
        assert orjson.loads(api.get("ValueSet").data)["total"] == orjson.loads(api.get("CodeSystem").data)["total"]
        assert api.get("CodeSystem/none").status_code == 404


@pytest.mark.parametrize("number", ["2147483648", "999999999999999999"])
def test_a_page_may_begin_beyond_all_versions(api: Api, number: str) -> None:
    task = placed(api)

    assert api.get(f"Task/{task['id']}/_history?_before={number}").status_code == 200
    assert api.get(f"Provenance?target=Task/{task['id']}&_before={number}").status_code == 200


def test_a_version_has_one_address(api: Api) -> None:
    task = placed(api)

    assert api.get(f"Task/{task['id']}/_history/01").status_code == 404
    assert api.get("AuditEvent/1").status_code == 200
    assert api.get("AuditEvent/01").status_code == 404


def test_an_address_with_two_slashes_is_none(api: Api) -> None:
    assert issues_of(api.get("Task//1"))[0]["code"] == "not-found"


@pytest.mark.parametrize(
    ("method", "address", "allowed"),
    [("GET", "Observation", {"POST"}), ("GET", "Bundle", set()), ("POST", "Provenance", {"GET", "HEAD"})],
)
def test_what_an_address_takes_is_said_truly(api: Api, method: str, address: str, allowed: set[str]) -> None:
    answer = api.call(method, address, {"resourceType": address} if method == "POST" else None)

    assert answer.status_code == 405
    assert set(filter(None, answer.headers["Allow"].split(", "))) - {"OPTIONS"} == allowed


@pytest.mark.parametrize("version", ["4.0", "4.3"])
def test_the_statement_is_of_types_that_there_are(api: Api, version: str) -> None:
    assert api.get("metadata", Accept=f"application/fhir+json; fhirVersion={version}").status_code == 200
