"""Who is not a partner, or not that one, and tries: each attack by itself, as it comes over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from werkzeug.test import TestResponse

from gateway.authentication.authenticator import Authenticator
from gateway.authentication.keys import PublishedKeys
from gateway.partners.model import Authentication, Limits
from gateway.settings import Settings
from tests import services
from tests.authentication import (
    AUDIENCE,
    ISSUER,
    Gate,
    Publisher,
    Signer,
    claims,
    elliptic,
    gate,
    gate_in,
    hospital,
    laboratory,
    pharmacy,
    rsa,
)
from tests.web.served import JSON, issues_of, order

INVALID_CLIENT = {"error": "invalid_client", "error_description": "The client assertion does not prove who sends it."}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: str) -> Iterator[Gate]:
    with (
        services.sqlite_database(tmp_path_factory.mktemp("gate"), sqlite_template) as url,
        gate(url, redis_server) as one,
    ):
        yield one


def encoded(value: Any) -> str:
    data = value if isinstance(value, bytes) else orjson.dumps(value)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], said: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token as no library would make it."""
    signed = f"{encoded(header)}.{encoded(said)}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def with_public_key_as_secret(secret: bytes) -> str:
    header = {"alg": "HS384", "kid": "pharmacy-1", "typ": "JWT"}
    return by_hand(header, claims(), lambda signed: hmac.new(secret, signed, hashlib.sha384).digest())


def with_other_claims() -> str:
    """The signature of one assertion under what another says."""
    header, _, signature = elliptic().sign(claims()).split(".")
    return f"{header}.{encoded(claims(jti='other'))}.{signature}"


def stranger() -> Signer:
    return elliptic("stranger", "P-384")


def posing() -> Signer:
    """A stranger's key under the pharmacy's kid."""
    return replace(stranger(), kid="pharmacy-1")


NOW = time.time()
FORGED: dict[str, Callable[[], str]] = {
    "signature of another key under the partner's kid": lambda: posing().sign(claims()),
    "another partner's key and kid": lambda: rsa().sign(claims()),
    "claims changed after signing": with_other_claims,
    "signature left out": lambda: elliptic().sign(claims()).rpartition(".")[0] + ".",
    "algorithm none": lambda: by_hand({"alg": "none", "kid": "pharmacy-1"}, claims(), lambda _: b""),
    "algorithm NonE": lambda: by_hand({"alg": "NonE", "kid": "pharmacy-1"}, claims(), lambda _: b""),
    "public key (PEM) as the secret of HS384": lambda: with_public_key_as_secret(elliptic().key.as_pem(private=False)),
    "public key (JWK) as the secret of HS384": lambda: with_public_key_as_secret(elliptic().jwks.encode()),
    "ES256 with a key on P-256": lambda: elliptic("pharmacy-1", "P-256", "ES256").sign(claims()),
    "kid that nobody has": lambda: elliptic().sign(claims(), kid="pharmacy-2"),
    "kid that leads elsewhere": lambda: elliptic().sign(claims(), kid="../../../../dev/null"),
    "no kid": lambda: elliptic().sign(claims(), kid=None),
    "jku to the stranger's keys": lambda: stranger().sign(claims(), jku="https://stranger.example/jwks"),
    "jwk in the header": lambda: stranger().sign(claims(), jwk=stranger().public, kid="pharmacy-1"),
    "x5u in the header": lambda: elliptic().sign(claims(), x5u="https://stranger.example/certificate"),
    "crit that is not known": lambda: by_hand(
        {"alg": "ES384", "kid": "pharmacy-1", "crit": ["x"], "x": 1}, claims(), lambda _: b"0" * 96
    ),
    "expired": lambda: elliptic().sign(claims(exp=NOW - 3600)),
    "expires too far ahead": lambda: elliptic().sign(claims(exp=NOW + 3600)),
    "never expires": lambda: elliptic().sign(claims(exp=None)),
    "expires at no number": lambda: elliptic().sign(claims(exp="tomorrow")),
    "not yet valid": lambda: elliptic().sign(claims(nbf=NOW + 3600)),
    "issued in the future": lambda: elliptic().sign(claims(iat=NOW + 3600)),
    "for another audience": lambda: elliptic().sign(claims(aud="https://other.example/auth/token")),
    "for no audience": lambda: elliptic().sign(claims(aud=None)),
    "of another issuer than subject": lambda: elliptic().sign(claims(sub="hospital")),
    "of another client than the key's": lambda: elliptic().sign(claims("hospital")),
    "of a client that nobody is": lambda: elliptic().sign(claims("nobody")),
    "without jti": lambda: elliptic().sign(claims(jti=None)),
    "expires at NaN": lambda: elliptic().sign(claims(exp=float("nan"))),
    "expires at infinity": lambda: elliptic().sign(claims(exp=float("inf"))),
    "expires beyond all numbers": lambda: elliptic().sign(claims(exp=10**400)),
    "issuer that is a list": lambda: elliptic().sign(claims(iss=["pharmacy"])),
    "claims said twice": lambda: by_hand(
        {"alg": "ES384", "kid": "pharmacy-1"}, b'{"iss":"pharmacy","iss":"hospital"}', lambda _: b"0" * 96
    ),
    "larger than any assertion": lambda: elliptic().sign(claims(note="x" * 20_000)),
    "kid that is a list": lambda: by_hand({"alg": "ES384", "kid": ["pharmacy-1"]}, claims(), lambda _: b"0" * 96),
    "kid of control characters": lambda: elliptic().sign(claims(), kid="pharmacy-1\x00"),
    "jti that is no text": lambda: elliptic().sign(claims(jti=7)),
    "no token at all": lambda: "Let me in",
    "five parts, as if encrypted": lambda: "a.b.c.d.e",
}


@pytest.mark.parametrize("attack", FORGED)
def test_a_forged_assertion_gets_no_token_and_always_the_same_answer(shared: Gate, attack: str) -> None:
    answer = shared.token(FORGED[attack]())
    assert (answer.status_code, answer.json) == (401, INVALID_CLIENT)
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_assertion_is_used_once(shared: Gate) -> None:
    assertion = elliptic().sign(claims())
    assert shared.token(assertion).status_code == 200
    assert (again := shared.token(assertion)).status_code == 401
    assert again.json == INVALID_CLIENT


def test_the_same_jti_of_two_clients_is_two(shared: Gate) -> None:
    assert shared.token(elliptic().sign(claims(jti="one"))).status_code == 200
    assert shared.token(rsa().sign(claims("hospital", jti="one"))).status_code == 200


def test_a_jku_that_is_registered_is_no_attack(sqlite_url_with_schema: str, redis_url: str) -> None:
    url = "https://pharmacy.example/jwks"
    known = pharmacy(authentication=Authentication(client_id="pharmacy", jwks_url=url))
    with gate(sqlite_url_with_schema, redis_url, known) as one:
        one.here = publishing(one, Publisher(**{url: elliptic().jwks}))
        assert one.token(elliptic().sign(claims(), jku=url)).status_code == 200
        assert one.token(elliptic().sign(claims(), jku=f"{url}/other")).status_code == 401


# --- tokens of an external issuer -------------------------------------------------------------------------------------


def issued(signer: Signer | None = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
    said = {
        "iss": ISSUER,
        "sub": "pharmacy-app",
        "aud": AUDIENCE,
        "exp": time.time() + 60,
        "scope": "system/*.cruds",
        **changes,
    }
    named = {name: value for name, value in said.items() if value is not None}
    return (signer or rsa("issuer-1", "RS256")).sign(named, **(header or {}))


def publishing(one: Gate, publisher: Publisher) -> Any:
    """The gateway with this for its network."""
    from gateway.web import context

    here = one.here
    made = Authenticator(
        here.settings,
        here.database,
        publisher,
        published=PublishedKeys(publisher),  # type: ignore[arg-type]
    )
    here = replace(here, authenticator=made)
    context.put(one.app.extensions, here)
    return here


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: str) -> Iterator[Gate]:
    """A gateway that takes the tokens of another issuer."""
    issuers = {ISSUER: {"audience": AUDIENCE, "jwks_url": f"{ISSUER}/jwks"}}
    directory = tmp_path_factory.mktemp("trusting")
    with gate_in(directory, sqlite_template, redis_server, token_issuers=issuers) as one:
        one.here = publishing(one, Publisher(**{f"{ISSUER}/jwks": rsa("issuer-1", "RS256").jwks}))
        yield one


def test_a_token_of_an_issuer_that_is_trusted_proves_its_subject(trusting: Gate) -> None:
    assert trusting.ask("GET", "Task", bearer=issued()).status_code == 200


FOREIGN: dict[str, Callable[[], str]] = {
    "signed by a stranger": lambda: issued(replace(rsa("stranger"), kid="issuer-1", algorithm="RS256")),
    "of another issuer": lambda: issued(iss="https://other.example"),
    "of no issuer": lambda: issued(iss=None),
    "of an issuer that is no text": lambda: issued(iss=[ISSUER]),
    "of a subject that nobody is": lambda: issued(sub="stranger"),
    "without a subject": lambda: issued(sub=None),
    "for another audience": lambda: issued(aud="https://other.example/fhir"),
    "without an audience": lambda: issued(aud=None),
    "not yet valid": lambda: issued(nbf=time.time() + 3600),
    "that never expires": lambda: issued(exp=None),
    "with a kid that is not published": lambda: issued(header={"kid": "issuer-2"}),
    "with a jku": lambda: issued(replace(rsa("stranger"), algorithm="RS256"), {"jku": "https://stranger.example/jwks"}),
    "algorithm none": lambda: by_hand({"alg": "none", "kid": "issuer-1"}, {"iss": ISSUER}, lambda _: b""),
    "HS256 with the public key": lambda: by_hand(
        {"alg": "HS256", "kid": "issuer-1"},
        {"iss": ISSUER, "sub": "pharmacy-app", "aud": AUDIENCE, "exp": 2**40},
        lambda signed: hmac.new(rsa("issuer-1", "RS256").key.as_pem(private=False), signed, "sha256").digest(),
    ),
}


@pytest.mark.parametrize("attack", FOREIGN)
def test_a_foreign_token_that_is_forged_is_answered_as_any_other(trusting: Gate, attack: str) -> None:
    answer = trusting.ask("GET", "Task", bearer=FOREIGN[attack]())
    assert (answer.status_code, issues_of(answer)[0]["code"]) == (401, "login")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_foreign_token_that_has_expired_is_told_so(trusting: Gate) -> None:
    answer = trusting.ask("GET", "Task", bearer=issued(exp=time.time() - 3600))
    assert (answer.status_code, issues_of(answer)[0]["code"]) == (401, "expired")


# --- what a caller brings ---------------------------------------------------------------------------------------------


def test_nothing_is_told_without_proof_but_how_to_prove_oneself(shared: Gate) -> None:
    for method, path in (("GET", "Task"), ("GET", "Task/1"), ("POST", "$process-message"), ("GET", "nothing/here")):
        answer = shared.ask(method, path, {} if method == "POST" else None, X_Party="urn:demo:pharmacy")
        assert (answer.status_code, issues_of(answer)[0]["code"]) == (401, "login"), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for path in ("metadata", ".well-known/smart-configuration"):
        assert shared.ask("GET", path).status_code == 200


_WITHOUT_SCOPE = ("metadata.", "tokens.", "validate.", "subscription_operations.topic", "writing.delete")
"""Endpoints that tell nothing of anybody, and change nothing."""


def test_no_endpoint_is_forgotten(shared: Gate) -> None:
    """Each under /fhir asks for a proof, and for a scope if there is something of a partner's behind it."""
    client, key = shared.app.test_client(), shared.key("Nobody's scopes")
    rules = [rule for rule in shared.app.url_map.iter_rules() if rule.rule.startswith("/fhir")]
    assert len(rules) > 20
    for rule in rules:
        named = {name: "Task" if "type" in name else "1" for name in rule.arguments}
        path = rule.build(named)[1]  # type: ignore[index]
        for method in rule.methods or ():
            is_open = rule.endpoint in ("metadata.metadata", "tokens.smart_configuration")
            bare = client.open(path, method=method)
            assert (bare.status_code == 401) is (not is_open), (method, path)
            if not is_open and not rule.endpoint.startswith(_WITHOUT_SCOPE):
                answer = client.open(path, method=method, headers={"X-API-Key": key})
                assert answer.status_code == 403, (method, path)


def wording(answer: TestResponse) -> tuple[int, str, str]:
    [issue] = issues_of(answer)
    return answer.status_code, answer.headers["WWW-Authenticate"], issue["details"]["text"].partition("under")[0]


def test_proofs_that_are_wrong_in_different_ways_cannot_be_told_apart(shared: Gate) -> None:
    key, other = shared.key("Pharmacy"), shared.key("Hospital")
    answers = {
        wording(shared.ask("GET", "Task", key="fgk_nobody")),
        wording(shared.ask("GET", "Task", key=f"{key}x")),
        wording(shared.ask("GET", "Task", key="")),
        wording(shared.ask("GET", "Task", bearer="fgt_nobody")),
        wording(shared.ask("GET", "Task", bearer="no.such.token")),
        wording(shared.ask("GET", "Task", Authorization="Basic cGhhcm1hY3k6c2VjcmV0")),
        wording(shared.ask("GET", "Task", key=key, bearer=other)),
        wording(shared.ask("GET", "Task", key=shared.key("No longer registered"))),
    }
    assert len(answers) == 1


def test_a_key_that_has_expired_is_refused(shared: Gate) -> None:
    key = shared.key("Pharmacy", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    answer = shared.ask("GET", "Task", key=key)
    assert (answer.status_code, issues_of(answer)[0]["code"]) == (401, "expired")


def test_a_certificate_in_a_header_is_refused_from_anybody_but_the_proxy(
    sqlite_url_with_schema: str, redis_url: str
) -> None:
    settings = {"proxy_networks": ("10.9.0.0/16",), "proxy_certificate_header": "X-Client-Cert"}
    with gate(sqlite_url_with_schema, redis_url, **settings) as one:
        answer = one.ask("GET", "Task", X_Client_Cert="-----BEGIN%20CERTIFICATE-----", key=one.key("Pharmacy"))
        assert answer.status_code == 401


def test_a_partner_that_is_blocked_is_refused_whatever_it_proves(sqlite_url_with_schema: str, redis_url: str) -> None:
    with gate(sqlite_url_with_schema, redis_url, pharmacy(state="blocked"), hospital()) as one:
        answer = one.ask("POST", "$process-message", {}, key=one.key("Pharmacy"))
        assert (answer.status_code, issues_of(answer)[0]["code"]) == (403, "forbidden")
        assert one.token(elliptic().sign(claims())).status_code == 401


# --- what is another's ------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite_url_with_schema(tmp_path: Path, sqlite_template: Path) -> Iterator[str]:
    with services.sqlite_database(tmp_path, sqlite_template) as url:
        yield url


def test_another_partners_task_is_neither_read_nor_found_nor_changed(database_url: str, redis_url: str) -> None:
    with gate(database_url, redis_url) as one:
        placer, fulfiller, other = one.key("Hospital"), one.key("Pharmacy"), one.key("Laboratory")
        made = one.ask("POST", "Task", order(), key=placer)
        assert made.status_code == 201, made.text
        task = made.json
        path = f"Task/{task['id']}"
        for key, total in ((placer, 1), (fulfiller, 1), (other, 0)):
            assert one.ask("GET", "Task?_total=accurate", key=key).json["total"] == total
            trail = one.ask("GET", f"Provenance?target={path}", key=key).json
            assert len(trail.get("entry", [])) == total
            events = one.ask("GET", f"AuditEvent?entity={path}", key=key).json
            assert len(events.get("entry", [])) == total
        reads = (path, f"{path}/_history", f"{path}/_history/1", f"Provenance/{task['id']}.1", "AuditEvent/1")
        assert [one.ask("GET", each, key=other).status_code for each in reads] == [404] * 5
        assert [one.ask("GET", each, key=fulfiller).status_code for each in reads[:3]] == [200] * 3
        nothing = one.ask("PUT", "Task/nothing", {**task, "id": "nothing"}, key=other)
        changed = {**task, "status": "accepted"}
        patch = [{"op": "test", "path": "/status", "value": "requested"}]
        answers = [
            one.ask("PUT", path, changed, key=other),
            one.ask("PATCH", path, patch, key=other, Content_Type="application/json-patch+json"),
        ]
        assert {answer.status_code for answer in answers} == {nothing.status_code}
        assert one.ask("PUT", path, changed, key=fulfiller, X_Party="urn:demo:hospital").status_code == 403
        assert one.ask("PUT", path, changed, key=fulfiller).status_code == 200


def test_a_message_from_another_partners_endpoint_is_refused_by_who_has_proved_to_be_somebody(
    sqlite_url_with_schema: str, redis_url: str
) -> None:
    body = Path("conf/demo/new-order.json").read_bytes()
    with gate(sqlite_url_with_schema, redis_url) as one:
        own = one.ask("POST", "$process-message", body, key=one.key("Hospital"))
        assert own.json["entry"][0]["resource"]["response"]["code"] == "ok", own.text
        foreign = body.replace(b'"id": "', b'"id": "2-')
        reply = one.ask("POST", "$process-message", foreign, key=one.key("Laboratory")).json
        assert reply["entry"][0]["resource"]["response"]["code"] == "fatal-error"
        assert "forbidden" in {issue["code"] for issue in reply["entry"][-1]["resource"]["issue"]}


def test_what_a_scope_does_not_grant_is_refused(sqlite_url_with_schema: str, redis_url: str) -> None:
    proof = Authentication(scopes=("system/Task.rs", "system/Bundle.r"))
    with gate(sqlite_url_with_schema, redis_url, pharmacy(authentication=proof), hospital()) as one:
        key = one.key("Pharmacy")
        assert one.ask("GET", "Task", key=key).status_code == 200
        for method, path in (("POST", "$process-message"), ("POST", "Task"), ("GET", "ServiceRequest")):
            answer = one.ask(method, path, order() if method == "POST" else None, key=key)
            assert (answer.status_code, issues_of(answer)[0]["code"]) == (403, "forbidden"), path
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


# --- too much ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redis", ["there", "away"])
def test_a_partner_sends_so_many_messages_a_minute(sqlite_url_with_schema: str, redis_url: str, redis: str) -> None:
    url = redis_url if redis == "there" else "redis://127.0.0.1:1/0"
    limited = pharmacy(limits=Limits(messages_per_minute=2))
    with gate(sqlite_url_with_schema, url, limited, hospital()) as one:
        key = one.key("Pharmacy")
        statuses = [one.ask("POST", "$process-message", {}, key=key).status_code for _ in range(3)]
        assert statuses[:2] == [422, 422] or statuses[:2] == [400, 400]
        answer = one.ask("POST", "$process-message", {}, key=key)
        assert (statuses[2], answer.status_code, issues_of(answer)[0]["code"]) == (429, 429, "throttled")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert one.ask("GET", "Task", key=key).status_code == 200
        assert one.ask("POST", "$process-message", {}, key=one.key("Hospital")).status_code != 429


def test_a_partner_sends_so_many_bytes(sqlite_url_with_schema: str, redis_url: str) -> None:
    with gate(sqlite_url_with_schema, redis_url, pharmacy(limits=Limits(message_bytes=100)), laboratory()) as one:
        answer = one.ask("POST", "$process-message", b"{" + b" " * 200 + b"}", key=one.key("Pharmacy"))
        assert (answer.status_code, issues_of(answer)[0]["code"]) == (413, "too-long")
        assert one.ask("POST", "$process-message", b"{" + b" " * 200, key=one.key("Laboratory")).status_code == 400


@pytest.mark.parametrize("path", ["$process-message", "$validate", "Task", "Task/_search", "$poll"])
def test_who_does_not_say_how_much_it_sends_sends_no_more(shared: Gate, path: str) -> None:
    """Chunked: nobody knows the length before it has come."""
    media_type = "application/x-www-form-urlencoded" if path == "Task/_search" else JSON
    answer = shared.app.test_client().post(
        f"/fhir/{path}",
        input_stream=BytesIO(b"_id=" + b"a" * 5000),
        headers={"X-API-Key": shared.key("Frugal"), "Content-Type": media_type, "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 413, answer.text


def test_what_no_text_can_hold_is_no_fault(database_url: str, redis_url: str) -> None:
    with gate(database_url, redis_url, pharmacy(), hospital()) as one:
        key = one.key("Pharmacy")
        named = {"resourceType": "Parameters", "parameter": [{"name": "id", "valueString": "a\x00b"}]}
        answers = [
            one.ask("GET", "$poll?include=a%00b", key=key),
            one.ask("POST", "$acknowledge", named, key=key),
            one.ask("GET", "Task?_id=a%00b", key=key),
            one.ask("GET", "Task?identifier=a%00b%7Cc%00", key=key),
            one.ask("GET", "Subscription?_id=a%00b&status=%00&url=%00", key=key),
            one.ask("GET", "Subscription/$status?id=%00", key=key),
            one.ask("GET", "Provenance?target=Task/%00", key=key),
            one.ask("POST", "Task", order(), key=key, If_None_Exist="identifier=a%00|b%00"),
            one.ask("GET", "Task", key="fgk_\x00"[:4] + "%00"),
            one.ask("GET", "Task", bearer="fgt_'; DROP TABLE api_key; --"),
            one.token(elliptic().sign(claims(jti="a\x00b"))),
            one.token(elliptic().sign(claims()), client_id="a\x00b"),
            one.token(elliptic().sign(claims()), scope="system/Task.r\x00"),
        ]
        assert [(n, answer.text) for n, answer in enumerate(answers) if answer.status_code >= 500] == []


@pytest.fixture
def told_anew(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    """What is logged from now on: a logger keeps to what was set up when it was first used."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("gateway.") and hasattr(module, "log"):
            monkeypatch.setattr(module, "log", structlog.get_logger())
    return capsys


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_the_log_the_database_or_an_answer(
    tmp_path: Path, sqlite_template: Path, redis_url: str, told_anew: pytest.CaptureFixture[str]
) -> None:
    with services.sqlite_database(tmp_path, sqlite_template) as url, gate(url, redis_url) as one:
        key, assertion = one.key("Pharmacy"), elliptic().sign(claims())
        token = one.token(assertion).json["access_token"]
        wrong = [f"{key}x", f"{token}x"]
        answers = [one.ask("GET", "Task", key=each) for each in wrong] + [one.ask("GET", "Task", bearer=wrong[1])]
        body = Path("conf/demo/new-order.json").read_bytes()
        answers += [
            one.ask("POST", "$process-message", body, key=key),
            one.ask("POST", "$process-message", body, bearer=token),
            one.token(assertion),
        ]
        told = told_anew.readouterr().err
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
        assert b"Pharmacy" in kept
        assert "not proven" in told
        for secret in (key, token, *wrong, assertion, assertion.rpartition(".")[2]):
            assert secret not in told
            assert secret.encode() not in kept
            assert not any(secret in answer.text for answer in answers)


def test_a_sandbox_says_so(sqlite_url_with_schema: str, redis_url: str, told_anew: pytest.CaptureFixture[str]) -> None:
    with gate(sqlite_url_with_schema, redis_url, authentication="") as one:
        assert one.here.settings.is_sandbox
        answer = one.ask("GET", "metadata")
        assert answer.headers["X-Gateway-Mode"] == "sandbox"
        assert answer.json["implementation"]["description"].startswith("SANDBOX")
        assert one.ask("GET", "Task").status_code == 200
        assert one.ask("GET", "Task", key="fgk_wrong").status_code == 401
        hosts = ("localhost:8080", "127.0.0.1:8080", "[::1]", "gateway.example", "rebound.example", "[::1", "10.1.2.3")
        assert [one.ask("GET", "Task", Host=host).status_code for host in hosts] == [200] * 4 + [403] * 3
    lines = [orjson.loads(line) for line in told_anew.readouterr().err.splitlines() if line.startswith("{")]
    assert lines
    assert {line["mode"] for line in lines} == {"sandbox"}
    assert Settings(host="0.0.0.0").authentication == "required"
