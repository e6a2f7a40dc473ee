"""Creates, updates and patches by REST go by the rules of messages, and are answered as REST has it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from gateway.fhir import xml
from gateway.store.schema import message
from tests.web.served import (
    BASE,
    HOSPITAL,
    JSON,
    PATCH,
    PHARMACY,
    XML,
    Api,
    changed,
    issues_of,
    observation,
    order,
    placed,
    served,
)

Resource = dict[str, Any]
PHARMACYS_NAMES = (PHARMACY, "urn:demo:pharmacy")


@pytest.fixture
def api(database_url: str, redis_url: str) -> Iterator[Api]:
    with served(database_url, redis_url) as api:
        yield api


# --- create ---


def test_a_created_order_is_answered_as_it_is_kept(api: Api) -> None:
    answer = api.post("Task", order(), party=HOSPITAL)
    task = orjson.loads(answer.data)

    assert answer.status_code == 201
    assert answer.headers["Location"] == f"{BASE}/Task/{task['id']}/_history/1"
    assert answer.headers["ETag"] == 'W/"1"'
    assert task["meta"]["versionId"] == "1"
    assert datetime.strptime(answer.headers["Last-Modified"], "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert orjson.loads(api.get(f"Task/{task['id']}").data) == task


def test_the_server_gives_the_id_and_the_version(api: Api) -> None:
    sent = order(id="mine", meta={"versionId": "7", "lastUpdated": "2020-01-01T00:00:00Z", "source": "urn:mine"})

    task = orjson.loads(api.post("Task", sent, party=HOSPITAL).data)

    assert task["id"] != "mine"
    assert task["meta"]["versionId"] == "1"
    assert task["meta"]["source"] == "urn:mine"
    assert not task["meta"]["lastUpdated"].startswith("2020")


def test_an_identifier_that_is_known_is_a_conflict(api: Api) -> None:
    placed(api)

    answer = api.post("Task", order(), party=HOSPITAL)

    assert answer.status_code == 409
    assert [(issue["code"], issue["expression"]) for issue in issues_of(answer)] == [("duplicate", ["Task.identifier"])]


def test_a_conditional_create_finds_what_is_there(api: Api) -> None:
    condition = "identifier=http://hospital.example/orders|T-1"
    first = api.post("Task", order(), party=HOSPITAL, If_None_Exist=condition)
    again = api.post("Task", order(note=[{"text": "once more"}]), party=HOSPITAL, If_None_Exist=condition)

    assert (first.status_code, again.status_code) == (201, 200)
    assert orjson.loads(again.data) == orjson.loads(first.data)
    assert again.headers["ETag"] == 'W/"1"'
    assert again.headers["Location"] == first.headers["Location"]


def test_an_identifier_that_is_known_is_a_conflict_for_what_is_no_task_too(api: Api) -> None:
    kept = orjson.loads(api.post("Observation", observation()).data)

    answers = [api.post("Observation", observation(status="final"), party=party) for party in (PHARMACY, HOSPITAL)]

    assert [answer.status_code for answer in answers] == [409, 409]
    [issue] = issues_of(answers[0])
    assert (issue["code"], issue["expression"]) == ("duplicate", ["Observation.identifier"])
    assert f"Observation/{kept['id']}" in issue["details"]["text"]
    assert orjson.loads(api.get(f"Observation/{kept['id']}").data) == kept


@pytest.mark.parametrize("condition", ["status=requested", "identifier=a|b&status=draft", "identifier"])
def test_a_condition_that_is_no_identifier_is_refused(api: Api, condition: str) -> None:
    answer = api.post("Task", order(), party=HOSPITAL, If_None_Exist=condition)

    assert answer.status_code == 400
    assert "identifier=system|value" in issues_of(answer)[0]["details"]["text"]


def test_faults_are_told_at_the_callers_own_places(api: Api) -> None:
    answer = api.post("Task", order(status="asked", priority="soon"), party=HOSPITAL)

    assert answer.status_code == 422
    assert [issue["expression"] for issue in issues_of(answer)] == [["Task.status"], ["Task.priority"]]
    assert "Bundle" not in answer.text


def test_a_resource_goes_to_the_address_of_its_type(api: Api) -> None:
    answer = api.post("Observation", order(), party=HOSPITAL)

    assert answer.status_code == 400
    assert "/fhir/Task" in issues_of(answer)[0]["details"]["text"]


def test_relative_references_are_the_gateways(api: Api) -> None:
    request = {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": {"display": "Anna"}}
    kept = orjson.loads(api.post("ServiceRequest", request, party=HOSPITAL).data)

    task = placed(api, focus={"reference": f"ServiceRequest/{kept['id']}"})

    assert task["focus"] == {"reference": f"ServiceRequest/{kept['id']}"}


def test_a_reference_to_what_is_not_kept_is_refused(api: Api) -> None:
    answer = api.post("Task", order(focus={"reference": "ServiceRequest/none"}), party=HOSPITAL)

    assert answer.status_code == 422
    assert issues_of(answer)[0]["expression"] == ["Task.focus"]
    assert "ServiceRequest/none" in issues_of(answer)[0]["details"]["text"]


def test_the_body_is_kept_byte_for_byte(api: Api, database_url: str) -> None:
    body = orjson.dumps(order(), option=orjson.OPT_INDENT_2)
    task = orjson.loads(api.post("Task", body, party=HOSPITAL).data)
    change = b'[ {"op": "replace", "path": "/status", "value": "accepted"} ]'
    api.call("PATCH", f"Task/{task['id']}", change, media_type=PATCH)

    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        kept = connection.execute(sa.select(message.c.body, message.c.media_type).order_by(message.c.id)).all()
    engine.dispose()
    assert [tuple(row) for row in kept] == [(body, JSON), (change, PATCH)]


def test_what_is_not_well_formed_is_refused_at_once(api: Api) -> None:
    answer = api.post("Task", b'{"resourceType": "Task"', party=HOSPITAL)

    assert answer.status_code == 400
    assert issues_of(answer)[0]["severity"] == "fatal"


# --- who calls ---


def test_a_write_says_who_writes(api: Api) -> None:
    answer = api.post("Task", order(), party=None)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "X-Party"
    assert issues_of(answer)[0]["code"] == "login"


@pytest.mark.parametrize(
    ("party", "status"),
    [
        ("urn:x-fhir-gateway:self", 403),
        ("urn:x-fhir-gateway:a|b", 403),
        ("not a uri", 400),
        ("a b|c", 400),
        ("|c", 400),
    ],
)
def test_not_every_name_is_taken(api: Api, party: str, status: int) -> None:
    assert api.post("Task", order(), party=party).status_code == status


def test_a_party_is_known_by_its_endpoint_too(api: Api) -> None:
    task = placed(api)

    answer = api.put(f"Task/{task['id']}", changed(task, "accepted"), party="urn:demo:pharmacy")

    assert answer.status_code == 200


def test_a_partner_is_one_party_under_all_its_names(api: Api) -> None:
    bare = {name: value for name, value in observation().items() if name != "identifier"}

    first, again = (api.post("Observation", bare, party=name, X_Request_Id="r-1") for name in PHARMACYS_NAMES)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data


def test_a_name_may_have_any_letters(api: Api) -> None:
    sent = order(requester={"identifier": {"system": "http://clinic.example/ids", "value": "Süd"}})

    task = orjson.loads(api.post("Task", sent, party="http://clinic.example/ids|Süd".encode().decode("latin-1")).data)

    made = orjson.loads(api.get(f"Provenance?target=Task/{task['id']}").data)["entry"][0]["resource"]
    assert made["agent"][0]["who"]["identifier"]["value"] == "Süd"


def test_who_is_no_party_of_an_order_does_not_move_it(api: Api) -> None:
    task = placed(api)

    answer = api.put(f"Task/{task['id']}", changed(task, "accepted"), party="http://elsewhere.example/ids|X")

    assert answer.status_code == 403
    assert {issue["code"] for issue in issues_of(answer)} == {"forbidden"}


# --- update ---


def test_an_update_makes_the_next_version(api: Api) -> None:
    task = placed(api)

    answer = api.put(f"Task/{task['id']}", changed(task, "accepted"), If_Match='W/"1"')

    assert answer.status_code == 200
    assert answer.headers["ETag"] == 'W/"2"'
    assert orjson.loads(answer.data)["status"] == "accepted"


def test_a_stale_update_is_refused_with_both_versions(api: Api) -> None:
    task = placed(api)
    api.put(f"Task/{task['id']}", changed(task, "accepted"))

    answer = api.put(f"Task/{task['id']}", changed(task, "rejected"), If_Match='W/"1"')

    assert answer.status_code == 412
    text = issues_of(answer)[0]["details"]["text"]
    assert "version 1" in text
    assert "version 2" in text


def test_the_version_in_the_body_alone_is_not_looked_at(api: Api) -> None:
    task = placed(api)
    api.put(f"Task/{task['id']}", changed(task, "accepted"))

    answer = api.put(f"Task/{task['id']}", changed(task, "in-progress"))

    assert answer.status_code == 200
    assert orjson.loads(answer.data)["meta"]["versionId"] == "3"


def test_an_update_replaces_what_it_leaves_out(api: Api) -> None:
    task = placed(api, description="Seven days of it")
    api.put(f"Task/{task['id']}", changed(task, "accepted", businessStatus={"text": "in preparation"}))

    answer = api.put(f"Task/{task['id']}", changed(task, "accepted"))

    assert "businessStatus" not in orjson.loads(answer.data)


def test_what_must_not_go_is_not_left_out(api: Api) -> None:
    task = placed(api)
    without = {name: value for name, value in changed(task, "accepted").items() if name != "requester"}

    answer = api.put(f"Task/{task['id']}", without)

    assert answer.status_code == 422
    assert ["Task.requester"] in [issue["expression"] for issue in issues_of(answer)]


def test_the_same_again_makes_no_version(api: Api) -> None:
    task = placed(api)

    answer = api.put(f"Task/{task['id']}", task)

    assert (answer.status_code, answer.headers["ETag"]) == (200, 'W/"1"')


def test_the_ids_are_the_gateways_to_give(api: Api) -> None:
    answer = api.put("Task/mine", {**order(), "id": "mine"})

    assert answer.status_code == 405
    assert "POST /fhir/Task" in issues_of(answer)[0]["details"]["text"]


@pytest.mark.parametrize("resource_id", ["other", None])
def test_the_id_in_the_body_is_the_one_in_the_address(api: Api, resource_id: str | None) -> None:
    task = placed(api)

    answer = api.put(f"Task/{task['id']}", {**task, "id": resource_id} if resource_id else order())

    assert answer.status_code == 400
    assert issues_of(answer)[0]["expression"] == ["Task.id"]


def test_the_identifiers_of_another_order_are_refused(api: Api) -> None:
    task, other = placed(api), placed(api, number="T-2")

    answer = api.put(f"Task/{task['id']}", changed(task, "accepted", identifier=other["identifier"]))

    assert answer.status_code == 409
    assert orjson.loads(api.get(f"Task/{other['id']}").data) == other


def test_an_if_match_that_names_no_version_is_refused(api: Api) -> None:
    task = placed(api)

    assert api.put(f"Task/{task['id']}", task, If_Match='"1", "2"').status_code == 400


@pytest.mark.parametrize(
    "condition", [{"If_None_Match": "*"}, {"If_Unmodified_Since": "Mon, 01 Jan 2024 00:00:00 GMT"}]
)
def test_a_condition_that_is_not_looked_at_is_refused(api: Api, condition: dict[str, str]) -> None:
    task = placed(api)

    answer = api.put(f"Task/{task['id']}", changed(task, "accepted"), **condition)

    assert answer.status_code == 400
    assert "If-Match" in issues_of(answer)[0]["details"]["text"]
    assert orjson.loads(api.get(f"Task/{task['id']}").data) == task


def test_a_move_that_is_not_possible_says_what_is(api: Api) -> None:
    task = placed(api)

    answer = api.put(f"Task/{task['id']}", changed(task, "completed"))

    assert answer.status_code == 422
    [issue] = issues_of(answer)
    assert issue["expression"] == ["Task.status"]
    assert "accepted" in issue["details"]["text"]


def test_nothing_is_deleted(api: Api) -> None:
    task = placed(api)

    answer = api.call("DELETE", f"Task/{task['id']}")

    assert answer.status_code == 405
    assert "PUT" in answer.headers["Allow"]
    assert "entered-in-error" in issues_of(answer)[0]["details"]["text"]


# --- patch ---


def patch(api: Api, task: Resource, *operations: Resource, **headers: str) -> Any:
    return api.call("PATCH", f"Task/{task['id']}", list(operations), media_type=PATCH, **headers)


def replace_status(status: str) -> Resource:
    return {"op": "replace", "path": "/status", "value": status}


def test_a_patch_changes_what_it_names(api: Api) -> None:
    task = placed(api, description="Seven days of it")

    answer = patch(api, task, replace_status("accepted"))

    assert answer.status_code == 200
    patched = orjson.loads(answer.data)
    assert (patched["status"], patched["description"]) == ("accepted", "Seven days of it")
    assert patched["meta"]["versionId"] == "2"


def test_a_patch_is_kept_to_the_rules(api: Api) -> None:
    answer = patch(api, placed(api), replace_status("completed"))

    assert answer.status_code == 422
    assert issues_of(answer)[0]["expression"] == ["Task.status"]


def test_a_stale_patch_is_refused(api: Api) -> None:
    task = placed(api)
    patch(api, task, replace_status("accepted"))

    assert patch(api, task, replace_status("in-progress"), If_Match='W/"1"').status_code == 412


def test_a_patch_sent_again_is_done_once(api: Api) -> None:
    task = placed(api)
    add = {"op": "add", "path": "/note", "value": [{"text": "Called the ward."}]}
    append = {"op": "add", "path": "/note/-", "value": {"text": "Once."}}
    patch(api, task, add)

    first = patch(api, task, append, X_Request_Id="patch-1")
    again = patch(api, task, append, X_Request_Id="patch-1")

    assert first.status_code == 200
    assert again.data == first.data
    assert len(orjson.loads(api.get(f"Task/{task['id']}").data)["note"]) == 2


def test_a_patch_that_cannot_be_carried_out_is_refused(api: Api) -> None:
    answer = patch(api, placed(api), {"op": "remove", "path": "/nothing/here"})

    assert answer.status_code == 422
    assert "Operation 1 of the patch" in issues_of(answer)[0]["details"]["text"]


def test_a_patch_of_another_kind_is_told_which_is_taken(api: Api) -> None:
    task = placed(api)

    answer = api.call("PATCH", f"Task/{task['id']}", {"resourceType": "Parameters"}, media_type=JSON)

    assert answer.status_code == 415
    assert PATCH in issues_of(answer)[0]["details"]["text"]


# --- repeats, and what is answered ---


def test_the_same_request_again_is_answered_the_same(api: Api) -> None:
    first = api.post("Task", order(), party=HOSPITAL, X_Request_Id="r-1")
    again = api.post("Task", order(), party=HOSPITAL, X_Request_Id="r-1")

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.data == first.data


def test_a_request_id_is_used_for_one_request(api: Api) -> None:
    api.post("Task", order(), party=HOSPITAL, X_Request_Id="r-1")

    answer = api.post("Task", order("T-2"), party=HOSPITAL, X_Request_Id="r-1")

    assert answer.status_code == 409
    assert "X-Request-Id" in issues_of(answer)[0]["details"]["text"]


@pytest.mark.parametrize("request_id", ["r" * 129, "two words"])
def test_a_request_id_that_cannot_be_kept_is_refused(api: Api, request_id: str) -> None:
    answer = api.post("Observation", observation(), X_Request_Id=request_id)

    assert answer.status_code == 400
    assert "X-Request-Id" in issues_of(answer)[0]["details"]["text"]


def test_a_request_id_is_used_for_one_address(api: Api) -> None:
    task, other = placed(api), placed(api, number="T-2")
    patch(api, task, replace_status("accepted"), X_Request_Id="r-1")

    answers = [
        patch(api, other, replace_status("accepted"), X_Request_Id="r-1"),
        patch(api, task, replace_status("accepted"), X_Request_Id="r-1", If_Match='W/"7"'),
    ]

    assert [answer.status_code for answer in answers] == [409, 409]
    assert orjson.loads(api.get(f"Task/{other['id']}").data) == other


def test_a_request_id_is_its_callers_own(api: Api) -> None:
    task = orjson.loads(api.post("Task", order(), party=HOSPITAL, X_Request_Id="r-1").data)

    assert api.put(f"Task/{task['id']}", changed(task, "accepted"), X_Request_Id="r-1").status_code == 200


def test_the_answer_may_be_minimal(api: Api) -> None:
    answer = api.post("Task", order(), party=HOSPITAL, Prefer="return=minimal")

    assert (answer.status_code, answer.data) == (201, b"")
    assert answer.headers["Location"].endswith("/_history/1")


def test_the_answer_may_be_what_was_noticed(api: Api) -> None:
    answer = api.post("Task", order(), party=HOSPITAL, Prefer="return=OperationOutcome")

    assert answer.status_code == 201
    assert issues_of(answer)[0]["severity"] == "information"


def test_what_takes_too_long_is_told_and_answered_later(api: Api) -> None:
    api.queue.is_working = False
    late = api.post("Task", order(), party=HOSPITAL, X_Request_Id="r-1")
    api.queue.is_working = True
    api.post("Task", order("T-2"), party=HOSPITAL)
    api.queue.drain()
    again = api.post("Task", order(), party=HOSPITAL, X_Request_Id="r-1")

    assert late.status_code == 504
    assert "X-Request-Id: r-1" in issues_of(late)[0]["details"]["text"]
    assert again.status_code == 201


# --- what is no Task ---


def test_what_is_no_task_is_created_and_changed_by_its_creator(api: Api) -> None:
    created = api.post("Observation", observation())
    kept = orjson.loads(created.data)
    final = api.put(f"Observation/{kept['id']}", {**kept, "status": "final"}, If_Match='W/"1"')
    stale = api.put(f"Observation/{kept['id']}", {**kept, "status": "amended"}, If_Match='W/"1"')
    others = api.put(f"Observation/{kept['id']}", {**kept, "status": "amended"}, party=HOSPITAL)

    assert (created.status_code, final.status_code) == (201, 200)
    assert (stale.status_code, others.status_code) == (412, 403)
    assert orjson.loads(api.get(f"Observation/{kept['id']}").data)["status"] == "final"


def test_what_has_no_identifier_is_changed_at_its_address(api: Api) -> None:
    bare = {name: value for name, value in observation().items() if name != "identifier"}
    first, second = (orjson.loads(api.post("Observation", bare).data) for _ in range(2))

    answer = api.put(f"Observation/{first['id']}", {**first, "status": "final"})

    assert first["id"] != second["id"]
    assert (answer.status_code, orjson.loads(answer.data)["id"]) == (200, first["id"])


@pytest.mark.parametrize("kind", ["Bundle", "List", "Provenance", "MessageHeader", "Account"])
def test_not_every_type_is_written(api: Api, kind: str) -> None:
    answer = api.post(kind, {"resourceType": kind})

    assert answer.status_code == 405
    assert "ServiceRequest" in issues_of(answer)[0]["details"]["text"]


@pytest.mark.parametrize("address", ["Nothing", "Nothing/1", "task/1", "Task/a_b"])
def test_what_is_no_address_is_not_found(api: Api, address: str) -> None:
    assert api.get(address).status_code == 404


# --- other formats and versions ---


def test_all_of_it_in_xml(api: Api) -> None:
    created = api.call("POST", "Task", xml.serialize(order()), party=HOSPITAL, media_type=XML)
    task = xml.parse(created.data)
    updated = api.call("PUT", f"Task/{task['id']}", xml.serialize(changed(task, "accepted")), media_type=XML)
    refused = api.call("PUT", f"Task/{task['id']}", xml.serialize(changed(task, "draft")), media_type=XML)

    assert (created.status_code, updated.status_code, refused.status_code) == (201, 200, 422)
    assert xml.parse(api.get(f"Task/{task['id']}", Accept=XML).data)["status"] == "accepted"
    assert xml.parse(refused.data)["issue"][0]["expression"] == ["Task.status"]


def test_an_order_in_r5_is_checked_and_answered_in_r5(api: Api) -> None:
    r5 = f"{JSON}; fhirVersion=5.0"
    sent = order(requestedPerformer=[{"concept": {"text": "pharmacist"}}])

    created = api.call("POST", "Task", sent, party=HOSPITAL, media_type=r5)
    wrong = api.call("POST", "Task", order("T-2", reasonCode={"text": "R4's"}), party=HOSPITAL, media_type=r5)

    assert created.status_code == 201, created.text
    assert orjson.loads(created.data)["requestedPerformer"] == sent["requestedPerformer"]
    assert (wrong.status_code, issues_of(wrong)[0]["expression"]) == (422, ["Task.reasonCode"])
