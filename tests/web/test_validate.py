"""POST /fhir/$validate: every issue, in the format of the caller, and nothing kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from gateway.fhir import json, xml
from gateway.fhir.outcome import COLUMN, LINE, RULE
from gateway.fhir.policy import loading
from gateway.partners import Partners
from gateway.settings import Settings
from gateway.terms import Terms
from gateway.web import context
from gateway.web.application import create
from tests.orders import Order

JSON, XML = "application/fhir+json", "application/fhir+xml"
WRONG = b'{"resourceType": "Patient",\n "gender": 1}'


@pytest.fixture
def client(tmp_path: Path, redis_url: str) -> Iterator[FlaskClient]:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/none/gateway.db", redis_url=redis_url, max_message_bytes=100_000
    )
    app = create(settings)
    with app.app_context():
        known = Terms(loading.load("cow", ()), Partners())
        context.put(app.extensions, replace(context.get(), standing=known))
    yield app.test_client()
    assert not (tmp_path / "none").exists(), "nothing is kept"


def post(client: FlaskClient, body: bytes, content_type: str | None = JSON, path: str = "$validate") -> TestResponse:
    return client.post(f"/fhir/{path}", data=body, headers={"Content-Type": content_type} if content_type else {})


def outcome_of(answer: TestResponse) -> dict[str, Any]:
    resource = xml.parse(answer.data) if answer.mimetype == XML else json.parse(answer.data)
    OperationOutcome.model_validate(resource)
    return resource


def test_a_sound_message_is_all_ok(client: FlaskClient) -> None:
    answer = post(client, orjson.dumps(Order().new_order()))

    assert answer.status_code == 200
    assert {issue["severity"] for issue in outcome_of(answer)["issue"]} <= {"information", "warning"}


def test_a_sound_resource_is_all_ok(client: FlaskClient) -> None:
    [issue] = outcome_of(post(client, b'{"resourceType": "Parameters"}'))["issue"]

    assert (issue["severity"], issue["details"]["text"]) == ("information", "All OK")


def test_an_issue_says_where_it_is_and_which_rule_is_broken(client: FlaskClient) -> None:
    answer = post(client, WRONG)
    [issue] = [issue for issue in outcome_of(answer)["issue"] if issue["severity"] == "error"]

    said = {
        extension["url"]: extension.get("valueString", extension.get("valueInteger"))
        for extension in issue["extension"]
    }
    assert answer.status_code == 200
    assert issue["expression"] == ["Patient.gender"]
    assert said == {LINE: 2, COLUMN: 12, RULE: "type"}


def test_xml_is_answered_in_xml(client: FlaskClient) -> None:
    body = xml.serialize({"resourceType": "Patient", "birthDate": "1980-13"})

    answer = post(client, body, XML)

    assert answer.mimetype == XML
    assert "error" in {issue["severity"] for issue in outcome_of(answer)["issue"]}


def test_the_type_in_the_path_is_the_type_that_is_wanted(client: FlaskClient) -> None:
    assert "error" in {issue["severity"] for issue in outcome_of(post(client, WRONG, path="Task/$validate"))["issue"]}
    assert post(client, b'{"resourceType": "Task"}', path="Nonsense/$validate").status_code == 404


@pytest.mark.parametrize(
    ("body", "content_type", "path", "status"),
    [
        (b"{", JSON, "$validate", 400),
        (b"", JSON, "$validate", 400),
        (b"<Patient", XML, "$validate", 400),
        (b" " * 100_001, JSON, "$validate", 413),
        (WRONG, None, "$validate", 415),
        (WRONG, "text/plain", "$validate", 415),
        (WRONG, JSON, "$validate?_format=html", 406),
        (WRONG, JSON, "$validate?mode=delete", 422),
        (WRONG, JSON, "$validate?profile=http://example.org/none", 422),
    ],
)
def test_what_cannot_be_checked_is_refused(
    client: FlaskClient, body: bytes, content_type: str | None, path: str, status: int
) -> None:
    answer = post(client, body, content_type, path)

    assert answer.status_code == status
    assert outcome_of(answer)["issue"][0]["severity"] in ("error", "fatal")


@pytest.mark.parametrize("body", [b"[]", b"{}"])
def test_json_that_is_no_resource_is_checked_as_far_as_that_goes(client: FlaskClient, body: bytes) -> None:
    answer = post(client, body)

    assert answer.status_code == 200
    assert outcome_of(answer)["issue"][0]["severity"] == "fatal"


def test_the_capability_statement_tells_of_it(client: FlaskClient) -> None:
    [rest] = json.parse(client.get("/fhir/metadata").data)["rest"]

    assert {operation["name"] for operation in rest["operation"]} == {"process-message", "validate"}


@pytest.mark.parametrize("declared", ["3.0", "4.0", "4.3", "5.0"])
def test_the_answer_can_be_in_the_version_of_the_request(client: FlaskClient, declared: str) -> None:
    versioned = f"{JSON}; fhirVersion={declared}"
    headers = {"Content-Type": versioned, "Accept": versioned}

    answer = client.post("/fhir/$validate", data=b'{"resourceType": "Patient", "gender": 1}', headers=headers)

    assert answer.status_code == 200
    assert answer.content_type.startswith(versioned)


@pytest.mark.parametrize(
    ("type_name", "version", "status"),
    [
        ("RequestOrchestration", "; fhirVersion=5.0", 200),
        ("RequestOrchestration", "", 200),
        ("ProcedureRequest", "; fhirVersion=3.0", 200),
        ("ProcedureRequest", "; fhirVersion=5.0", 404),
        ("Nothing", "", 404),
    ],
)
def test_the_types_are_those_of_the_version(client: FlaskClient, type_name: str, version: str, status: int) -> None:
    body = orjson.dumps({"resourceType": type_name})

    assert post(client, body, JSON + version, f"{type_name}/$validate").status_code == status
