"""The API of administrators: partners, keys and history, for those who may; and its description, which is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from werkzeug.test import TestResponse

from gateway.settings import Settings
from gateway.web import context
from gateway.web.application import create
from tests.partners.documents import KITCHEN_SINK

LAB = {"name": "Lab", "identifiers": ["urn:org|L"], "tell": "poll"}
PARTNERS = "/admin/partners"
TOKEN = "a-token-of-administrators"


@pytest.fixture
def make(sqlite_template: Path, tmp_path: Path, redis_url: str) -> Iterator[Any]:
    """Makes the application with settings, on a database without partners."""
    made: list[Flask] = []
    path = tmp_path / "gateway.db"
    path.write_bytes(sqlite_template.read_bytes())
    (tmp_path / "none").mkdir()

    def make_one(**settings: Any) -> FlaskClient:
        named = {"database_url": f"sqlite:///{path}", "redis_url": redis_url, "partners": (tmp_path / "none",)}
        made.append(create(Settings(**named | settings)))
        return made[-1].test_client()

    yield make_one
    for app in made:
        with app.app_context():
            context.get().database.close()


@pytest.fixture
def api(make: Any) -> FlaskClient:
    client: FlaskClient = make()
    return client


def said(answer: TestResponse) -> Any:
    return orjson.loads(answer.data)


def problem(answer: TestResponse, status: int) -> str:
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    told = said(answer)
    assert told["status"] == status
    assert told["title"]
    return str(told["detail"])


def test_a_partner_is_added_read_changed_and_removed(api: FlaskClient) -> None:
    added = api.post(PARTNERS, json=LAB)
    assert (added.status_code, added.headers["ETag"], said(added)) == (201, '"1"', LAB)
    one = f"{PARTNERS}/Lab"
    assert added.headers["Location"] == one
    read = api.get(one)
    assert (said(read), read.headers["ETag"]) == (LAB, '"1"')
    changed = api.patch(one, json={"delivery": {"timeout": 5}, "tell": "nothing"}, headers={"If-Match": '"1"'})
    assert said(changed) == LAB | {"delivery": {"timeout": 5}, "tell": "nothing"}
    replaced = api.put(one, json=LAB, headers={"If-Match": changed.headers["ETag"]})
    assert (said(replaced), replaced.headers["ETag"]) == (LAB, '"3"')
    [listed] = said(api.get(PARTNERS))["partners"]
    assert (listed["version"], listed["partner"]) == (3, LAB)
    assert api.delete(one, headers={"If-Match": "*"}).status_code == 204
    assert "There is no partner Lab" in problem(api.get(one), 404)
    changes = said(api.get(f"{one}/changes"))["changes"]
    assert [(change["what"], change["by"]) for change in changes] == [
        (what, "sandbox (API)") for what in ("removed", "changed", "changed", "added")
    ]
    assert (changes[0]["before"], changes[0]["after"]) == (LAB, None)
    assert said(api.get(f"{one}/changes?before={changes[1]['id']}"))["changes"] == changes[2:]
    assert said(api.get(f"{one}/changes?before={10**30}"))["changes"] == changes


def test_whoever_has_seen_an_older_version_changes_nothing(api: FlaskClient) -> None:
    api.post(PARTNERS, json=LAB)
    one = f"{PARTNERS}/Lab"
    assert "If-Match" in problem(api.put(one, json=LAB), 428)
    assert "If-Match" in problem(api.delete(one), 428)
    api.patch(one, json={"tell": "nothing"}, headers={"If-Match": '"1"'})
    assert "it has version 2, not 1" in problem(api.put(one, json=LAB, headers={"If-Match": '"1"'}), 412)
    for odd in ("yesterday", "9" * 5000, '"٣"'.encode().decode("latin-1")):
        problem(api.put(one, json=LAB, headers={"If-Match": odd}), 412)
    assert said(api.get(one))["tell"] == "nothing"


def test_a_partner_is_paused_resumed_and_blocked(api: FlaskClient) -> None:
    api.post(PARTNERS, json=LAB)
    states = [said(api.post(f"{PARTNERS}/Lab/{verb}")).get("state") for verb in ("pause", "resume", "block")]
    assert states == ["paused", None, "blocked"]


def test_every_fault_is_told_at_once(api: FlaskClient) -> None:
    answer = api.post(PARTNERS, json={"nam": "Lab", "identifiers": "L", "delivery": {"timeout": 0}})
    problem(answer, 422)
    assert len(said(answer)["errors"]) == 4
    api.post(PARTNERS, json=LAB)
    assert "already" in problem(api.post(PARTNERS, json=LAB), 422)
    problem(api.post(PARTNERS, json=[]), 422)
    problem(api.post(PARTNERS, data="{", content_type="application/json"), 400)
    problem(api.post(PARTNERS, data=orjson.dumps(LAB), content_type="text/plain"), 415)
    problem(api.post(PARTNERS, data=b" " * (1024 * 1024 + 1), content_type="application/json"), 413)
    problem(api.get("/admin/nothing"), 404)
    assert "GET" in api.put("/admin/partners", json={}).headers["Allow"]


def test_an_api_key_is_shown_once(api: FlaskClient) -> None:
    api.post(PARTNERS, json=LAB)
    keys = f"{PARTNERS}/Lab/keys"
    first = said(api.post(keys, json={"expiresAt": "2099-01-01T00:00:00Z"}))
    assert first["key"].startswith(first["hint"])
    second = said(api.post(f"{keys}/rotate", json={"graceHours": 0}))
    listed = api.get(keys)
    assert first["key"] not in listed.text
    assert {one["hint"]: one["expiresAt"] is None for one in said(listed)["keys"]} == {
        first["hint"]: False,
        second["hint"]: True,
    }
    assert api.delete(f"{keys}/{second['hint']}").status_code == 204
    problem(api.delete(f"{keys}/{second['hint']}"), 404)
    problem(api.post(f"{PARTNERS}/Nobody/keys", json={}), 404)
    problem(api.post(keys, json={"expiresAt": "soon"}), 422)
    problem(api.post(f"{keys}/rotate", json={"graceHours": -1}), 422)
    assert first["key"] not in api.get(f"{PARTNERS}/Lab/changes").text


def test_files_of_the_machine_are_out_of_reach_but_for_those_that_are_there_for_it(make: Any, tmp_path: Path) -> None:
    """Whoever may register partners could have any file sent to an address of his own."""
    secrets, outside = tmp_path / "secrets", tmp_path / "outside"
    secrets.mkdir()
    outside.write_text("not for you")
    (secrets / "link").symlink_to(outside)
    api = make(secrets=(secrets,))

    def naming(file: object) -> dict[str, Any]:
        return {"delivery": {"credentials": {"kind": "bearer", "secret_file": str(file)}}}

    assert api.post(PARTNERS, json=LAB | naming(secrets / "own")).status_code == 201
    one, anyway = f"{PARTNERS}/Lab", {"If-Match": "*"}
    for file in (outside, secrets / ".." / "outside", secrets / "link", "/etc/passwd", "etc/passwd", "~nobody-here/x"):
        told = problem(api.patch(one, json=naming(file), headers=anyway), 422)
        assert "secret_file" in told, told
        problem(api.put(one, json=LAB | naming(file), headers=anyway), 422)
        problem(api.post(PARTNERS, json=LAB | {"name": "Other", "identifiers": ["urn:org|O"]} | naming(file)), 422)
    with api.application.app_context():
        context.get().directory.change("Lab", naming(outside), "an operator, by command")
    kept = said(api.get(one))
    assert api.put(one, json=kept | {"state": "paused"}, headers=anyway).status_code == 200, "what was there may stay"


def test_a_name_that_no_database_could_have_is_nobodys(database_url: str, redis_url: str, make: Any) -> None:
    api = make(database_url=database_url, redis_url=redis_url)
    for name in (
        "%00",
        "a%00b",
        "%27%20OR%20%271%27%3D%271",
        "Robert%27);DROP TABLE partner;--",
        "%F0%9F%92%89",
        "%FF",
    ):
        problem(api.get(f"{PARTNERS}/{name}"), 404)
        problem(api.get(f"{PARTNERS}/{name}/keys"), 404)
        problem(api.get(f"{PARTNERS}/{name}/changes"), 404)
        problem(api.post(f"{PARTNERS}/{name}/keys", json={}), 404)
        problem(api.post(f"{PARTNERS}/{name}/block"), 404)
        problem(api.delete(f"{PARTNERS}/{name}/keys/{name}"), 404)
        problem(api.delete(f"{PARTNERS}/{name}", headers={"If-Match": "*"}), 404)
    quoted = LAB | {"name": "O'Brien\"; DROP TABLE partner; --"}
    assert api.post(PARTNERS, json=quoted).status_code == 201
    assert said(api.get(f"{PARTNERS}/O'Brien%22; DROP TABLE partner; --")) == quoted


def test_what_a_test_finds_is_answered_in_words(api: FlaskClient) -> None:
    api.post(PARTNERS, json=LAB)
    tested = said(api.post(f"{PARTNERS}/Lab/test"))
    assert tested["passed"] is True
    assert any("fetches what it is told by $poll" in finding["text"] for finding in tested["findings"])


def test_with_a_token_only_who_has_it_may(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    api = make(admin_token_file=str(file))
    own = {"Authorization": f"Bearer {TOKEN}"}
    problem(api.get(PARTNERS, headers=own), 503)
    file.write_text("short\n")
    problem(api.get(PARTNERS, headers={"Authorization": "Bearer short"}), 503)
    file.write_text(f"{TOKEN}\n")
    assert api.get(PARTNERS, headers=own).status_code == 200
    for wrong in ("", TOKEN, f"Basic {TOKEN}", "Bearer something else", "Bearer ", f"Bearer {TOKEN}x", "Bearer \xff"):
        answer = api.get(PARTNERS, headers={"Authorization": wrong})
        problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    answer = api.post(PARTNERS, json=LAB, headers=own)
    assert answer.status_code == 201
    [change] = said(api.get(f"{PARTNERS}/Lab/changes", headers=own))["changes"]
    assert change["by"] == "administrator (API)"


def test_each_administrator_may_have_a_token_of_their_own(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nAnna  Ek\tanna's-own-token-of-hers\n\nbo bo's-own-token-of-his\n")
    api = make(admin_token_file=str(file))
    added: TestResponse = api.post(PARTNERS, json=LAB, headers={"Authorization": f"Bearer {TOKEN}"})
    assert added.status_code == 201
    for verb, token in (("pause", "anna's-own-token-of-hers"), ("resume", "bo's-own-token-of-his")):
        assert api.post(f"{PARTNERS}/Lab/{verb}", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    for wrong in ("Anna Ek anna's-own-token-of-hers", "bo's-own-token-of-hi", "bo"):
        problem(api.get(PARTNERS, headers={"Authorization": f"Bearer {wrong}"}), 401)
    changes = said(api.get(f"{PARTNERS}/Lab/changes", headers={"Authorization": f"Bearer {TOKEN}"}))["changes"]
    assert [change["by"] for change in changes] == ["bo (API)", "Anna Ek (API)", "administrator (API)"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "line|no token"),
        (b"\n", "line 1"),
        (f"{TOKEN}\nanna short\n".encode(), "line 2"),
        (f"{TOKEN}\n{TOKEN}x\n".encode(), "line 2"),
        (f"{TOKEN}\nanna {TOKEN}\n".encode(), "line 2"),
        (f"anna {TOKEN}\nANNA {TOKEN}x\n".encode(), "line 2"),
        (f"{TOKEN}\nadministrator {TOKEN}x\n".encode(), "line 2"),
        (f"sandbox {TOKEN}\n".encode(), "line 1"),
        (f"{'a' * 101} {TOKEN}\n".encode(), "line 1"),
        (f"an\x07na {TOKEN}\n".encode(), "line 1"),
        (f"{TOKEN}\n".encode() + b"ann\xff " + f"{TOKEN}x\n".encode(), "line 2"),
        (f"{TOKEN}\n".encode() * 10_000, "more than"),
    ],
)
def test_a_file_of_tokens_with_a_fault_opens_nothing(make: Any, tmp_path: Path, content: bytes, line: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    answer = make(admin_token_file=str(file)).get(PARTNERS, headers={"Authorization": f"Bearer {TOKEN}"})
    told = problem(answer, 503)
    assert re.search(line, told)
    assert TOKEN not in told


def test_a_token_that_others_can_read_is_told_of(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    log = SimpleNamespace(warning=lambda event, **_: told.append(event))
    monkeypatch.setattr("gateway.web.administrators.log", log)
    file = tmp_path / "token"
    file.write_text(TOKEN)
    api, own = make(admin_token_file=str(file)), {"Authorization": f"Bearer {TOKEN}"}
    for mode, events in ((0o600, []), (0o644, ["the administrators' token can be read by every user of this machine"])):
        file.chmod(mode)
        assert [api.get(PARTNERS, headers=own).status_code for _ in range(2)] == [200, 200]
        assert told == events
    assert api.get(PARTNERS, headers=own, environ_base={"REMOTE_ADDR": "192.0.2.1"}).status_code == 200
    assert told[1:] == ["administered without TLS"]


def test_without_a_token_it_is_closed_but_in_a_sandbox(make: Any) -> None:
    assert "admin_token_file" in problem(make(authentication="required").get(PARTNERS), 403)


ELSEWHERE = (
    {"Host": "rebound.example"},
    {"Host": "127.0.0.1.rebound.example:8080"},
    {"Host": "[::1"},
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"X-Forwarded-For": "192.0.2.1"},
    {"Forwarded": "for=192.0.2.1"},
)


def test_in_a_sandbox_no_page_from_elsewhere_may(api: FlaskClient) -> None:
    for headers in ELSEWHERE:
        assert "programs of this machine" in problem(api.get(PARTNERS, headers=headers), 403), headers


def test_in_a_sandbox_programs_of_this_machine_may(api: FlaskClient) -> None:
    for host in ("localhost", "127.0.0.1:8080", "[::1]:8080"):
        assert api.get(PARTNERS, headers={"Host": host}).status_code == 200
    own = {"Host": "localhost:8080", "Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"}
    assert api.get(PARTNERS, headers=own).status_code == 200
    elsewhere = api.get(PARTNERS, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    problem(elsewhere, 403)


def test_the_description_is_openapi_and_has_every_route(api: FlaskClient) -> None:
    described = said(api.get("/admin/openapi.json"))
    validate(described)
    rules = {
        (method.lower(), rule.rule.replace("<", "{").replace(">", "}"), rule.endpoint.rpartition(".")[2])
        for rule in api.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("administration.")
    }
    told = {
        (method, path, operation["operationId"])
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    }
    assert told == rules


def test_its_schema_takes_what_the_gateway_takes(api: FlaskClient) -> None:
    schema = said(api.get("/admin/openapi.json"))["components"]["schemas"]["Partner"]
    validator = Draft202012Validator(schema)
    validator.validate(KITCHEN_SINK)
    validator.validate(LAB)
    assert not validator.is_valid(LAB | {"tell": "pol"})
    assert not validator.is_valid(LAB | {"nam": "x"})
    assert not validator.is_valid(LAB | {"delivery": {"credentials": {"password": "x"}}})
