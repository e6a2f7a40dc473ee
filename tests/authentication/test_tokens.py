"""The token endpoint, as a client of SMART Backend Services sees it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.authentication.authenticator import REMEMBERED_SECONDS
from gateway.authentication.model import digest_of
from gateway.store import admission
from gateway.store.database import Database
from tests.authentication import ASSERTION_TYPE, TOKEN_URL, Gate, claims, elliptic, gate, gate_in, pharmacy, rsa


@pytest.mark.parametrize(("signer", "client"), [(elliptic, "pharmacy"), (rsa, "hospital")])
def test_a_client_gets_a_token_by_its_signature_and_is_let_in_by_it(shared: Gate, signer, client: str) -> None:  # type: ignore[no-untyped-def]
    answer = shared.token(signer().sign(claims(client)), scope="system/Task.rs openid")
    assert answer.status_code == 200
    said = answer.json
    assert (said["token_type"], said["expires_in"], said["scope"]) == ("bearer", 300, "system/Task.rs")
    assert shared.ask("GET", "Task", bearer=said["access_token"]).status_code == 200
    assert shared.ask("GET", "ServiceRequest", bearer=said["access_token"]).status_code == 403


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"client_assertion": None}, "invalid_request"),
        ({"client_assertion_type": "urn:other"}, "invalid_request"),
        ({"scope": None}, "invalid_request"),
        ({"scope": "user/*.read launch"}, "invalid_scope"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"client_id": "hospital"}, "invalid_client"),
    ],
)
def test_a_request_that_is_wrong_is_told_so(shared: Gate, changes: dict[str, str | None], error: str) -> None:
    answer = shared.token(elliptic().sign(claims()), **changes)
    assert answer.json["error"] == error
    assert answer.status_code == (401 if error == "invalid_client" else 400)
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


def test_a_parameter_is_there_once_and_in_a_form(shared: Gate) -> None:
    twice = f"grant_type=client_credentials&scope=a&scope=b&client_assertion_type={ASSERTION_TYPE}"
    client = shared.app.test_client()
    form = client.post("/auth/token", data=twice, content_type="application/x-www-form-urlencoded")
    as_json = client.post("/auth/token", json={"grant_type": "client_credentials"})
    assert [form.json["error"], as_json.json["error"]] == ["invalid_request"] * 2
    huge = client.post("/auth/token", data={"scope": "x" * 100_000})
    assert (huge.status_code, huge.json["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration"])
def test_the_configuration_says_where_and_how(shared: Gate, path: str) -> None:
    said = shared.get(path).json
    assert said["token_endpoint"] == TOKEN_URL
    assert said["grant_types_supported"] == ["client_credentials"]
    assert set(said["token_endpoint_auth_signing_alg_values_supported"]) == {"RS384", "ES384"}
    security = shared.get("/fhir/metadata").json["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert security["extension"][0]["extension"] == [{"url": "token", "valueUri": TOKEN_URL}]


def test_a_token_ends_with_its_time(shared: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    token = shared.token(elliptic().sign(claims())).json["access_token"]
    with shared.here.database.transaction() as connection:
        kept = admission.find_token(connection, digest_of(token))
        assert kept is not None
        admission.forget_expired(connection, kept.expires_at)
        assert admission.find_token(connection, digest_of(token)) == kept
    assert 0 < kept.expires_at.timestamp() - time.time() <= 300
    assert shared.ask("GET", "Task", bearer=token).status_code == 200
    with monkeypatch.context() as later:
        later.setattr(shared.here.authenticator, "_now", lambda: kept.expires_at)
        answer = shared.ask("GET", "Task", bearer=token)
    assert (answer.status_code, answer.json["issue"][0]["code"]) == (401, "expired")


def test_a_proof_is_remembered_for_no_longer_than_that_and_not_past_a_block(
    tmp_path: Path, sqlite_template: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gate_in(tmp_path, sqlite_template, redis_url, pharmacy()) as one:
        key, moment = one.key("Pharmacy"), time.monotonic()
        monkeypatch.setattr("gateway.authentication.authenticator.time.monotonic", lambda: moment)
        assert one.ask("GET", "Task", key=key).status_code == 200
        with one.here.database.transaction() as connection:
            assert admission.expire_keys(connection, "Pharmacy", one.here.authenticator._now()) == 1
        assert one.ask("GET", "Task", key=key).status_code == 200
        moment += REMEMBERED_SECONDS
        assert one.ask("GET", "Task", key=key).status_code == 401


def test_what_has_expired_is_forgotten_though_no_token_is_given(shared: Gate) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    with shared.here.database.transaction() as connection:
        assert admission.use_assertion(connection, b"old" * 5 + b"!", long_ago)
    for _ in range(100):
        assert shared.token(elliptic().sign(claims()), scope="admin").status_code == 400
    with shared.here.database.transaction() as connection:
        assert admission.use_assertion(connection, b"old" * 5 + b"!", long_ago), "it was there still"


def test_keys_and_assertions_on_both_databases(database: Database) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    with database.transaction() as connection:
        for number in range(3):
            admission.add_key(connection, bytes([number]) * 32, "Pharmacy", f"fgk_{number}", now, None)
        admission.add_key(connection, bytes(32 * [9]), "Hospital", "fgk_9", now, None)
        assert admission.expire_keys(connection, "Pharmacy", now + timedelta(hours=1), but=bytes([2]) * 32) == 2
        assert admission.expire_keys(connection, "Pharmacy", now + timedelta(hours=2), but=bytes([2]) * 32) == 0
        ends = [key.expires_at for key in admission.list_keys(connection, "Pharmacy")]
        assert ends == [now + timedelta(hours=1)] * 2 + [None]
        assert admission.use_assertion(connection, b"1" * 16, now)
        assert not admission.use_assertion(connection, b"1" * 16, now)
        token = admission.Token(b"t" * 32, "Pharmacy", frozenset({"system/*.r"}), now)
        admission.add_token(connection, token)
        assert admission.find_token(connection, token.digest) == token
        admission.forget_expired(connection, now + timedelta(seconds=1))
        assert admission.find_token(connection, token.digest) is None
        assert admission.use_assertion(connection, b"1" * 16, now)
        admission.add_token(connection, token)
        assert admission.expire_tokens(connection, "Pharmacy") == 1


def test_one_of_many_that_send_the_same_assertion_at_once_gets_a_token(database_url: str, redis_url: str) -> None:
    assertion = elliptic().sign(claims())
    with gate(database_url, redis_url, pharmacy()) as one, ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(lambda _: one.token(assertion).status_code, range(8)))
        assert statuses == [200] + [401] * 7
