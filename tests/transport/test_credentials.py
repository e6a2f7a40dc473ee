"""What we prove ourselves with: it gets to the partner, and nowhere else."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jwk, jwt

from gateway.transport import Answer, Credentials, Transport
from tests.transport.receivers import Receiver, Reply, Request, ok, receiver

SECRET = "s3cret-Ä"
JSON = "application/fhir+json"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


def posted(transport: Transport, server: Receiver, credentials: Credentials) -> Answer:
    return transport.post(server.target(credentials=credentials), b"{}", JSON)


@pytest.mark.parametrize(
    ("credentials", "header", "value"),
    [
        (
            {"kind": "basic", "user": "gateway"},
            "authorization",
            f"Basic {base64.b64encode(f'gateway:{SECRET}'.encode()).decode()}",
        ),
        ({"kind": "bearer"}, "authorization", f"Bearer {SECRET}"),
        ({"kind": "header", "header": "X-API-Key"}, "x-api-key", SECRET),
    ],
)
def test_a_secret_is_sent_and_shown_nowhere(
    transport: Transport, secret_file: Path, credentials: dict[str, Any], header: str, value: str
) -> None:
    held = Credentials(**credentials, secret_file=secret_file)
    with receiver(lambda request: (401, {}, SECRET.encode())) as server:
        answer = posted(transport, server, held)
    assert [request.headers[header] for request in server.requests] == [value]
    assert answer.outcome == "refused"
    assert SECRET not in answer.detail
    assert SECRET not in repr(held)


def test_a_secret_that_changes_is_read_again(transport: Transport, secret_file: Path) -> None:
    credentials = Credentials("bearer", secret_file=secret_file)
    with receiver() as server:
        for secret in ("one", "two"):
            secret_file.write_text(secret)
            assert posted(transport, server, credentials).outcome == "delivered"
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer one", "Bearer two"]


def test_a_connection_is_for_one_set_of_credentials(transport: Transport, secret_file: Path) -> None:
    both = Credentials("bearer", secret_file=secret_file), Credentials()
    with receiver() as server:
        for credentials in both * 2:
            assert posted(transport, server, credentials).outcome == "delivered"
    connections = [request.connection for request in server.requests]
    assert connections == connections[:2] * 2
    assert len({*connections}) == 2


def test_no_credentials_send_none(transport: Transport) -> None:
    with receiver() as server:
        assert posted(transport, server, Credentials()).outcome == "delivered"
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("credentials", "content", "told"),
    [
        ({"kind": "bearer"}, None, "no secret can be read from"),
        ({"kind": "bearer"}, b" \n", "no secret can be read from"),
        ({"kind": "bearer"}, b"\xff\xfe", "no secret can be read from"),
        ({"kind": "bearer"}, b"two\nlines", "none that HTTP allows"),
        ({"kind": "header", "header": "X Key"}, b"secret", "none that HTTP allows"),
        ({"kind": "header"}, b"secret", "no `header`"),
        ({"kind": "basic"}, b"secret", "no `user`"),
        ({"kind": "basic", "user": "a:b"}, b"secret", "with a colon"),
        ({"kind": "oauth", "client_id": "gateway"}, b"secret", "no `token_url`"),
        ({"kind": "bearer", "secret_file": None}, b"secret", "no `secret_file`"),
    ],
)
def test_credentials_that_cannot_be_used_are_told_and_nothing_is_sent(
    transport: Transport, secret_file: Path, credentials: dict[str, Any], content: bytes | None, told: str
) -> None:
    secret_file.unlink()
    if content is not None:
        secret_file.write_bytes(content)
    with receiver() as server:
        answer = posted(transport, server, Credentials(**{"secret_file": secret_file} | credentials))
        assert server.requests == []
    assert (answer.outcome, answer.status) == ("failed", None)
    assert told in answer.detail
    assert "two" not in answer.detail


# --- access tokens ---------------------------------------------------------------------------------------------------


class Partner:
    """A receiver with a token endpoint: gives out `tokens`, one after the other, and accepts those in `accepted`."""

    def __init__(self, *tokens: str, accepted: tuple[str, ...] = (), said: Mapping[str, Any] | None = None) -> None:
        self.tokens = [*tokens]
        self.accepted = accepted or tokens
        self.said = {"token_type": "Bearer", "expires_in": 300} | (said or {})
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            self.asked.append(request)
            return 200, {}, json.dumps({"access_token": self.tokens.pop(0)} | self.said).encode()
        token = request.headers["authorization"].removeprefix("Bearer ")
        return ok(request) if token in self.accepted else (401, {}, b"")

    @property
    def forms(self) -> list[dict[str, str]]:
        return [{name: values[0] for name, values in parse_qs(r.body.decode()).items()} for r in self.asked]


def oauth(server: Receiver, secret_file: Path, **more: Any) -> Credentials:
    token_url = server.target("/token").url
    return Credentials("oauth", secret_file=secret_file, client_id="gateway", token_url=token_url, **more)


@pytest.fixture(scope="module")
def keys() -> Mapping[str, jwk.RSAKey | jwk.ECKey]:
    return {
        "RS384": jwk.RSAKey.generate_key(2048, {"kid": "ours"}, private=True),
        "ES384": jwk.ECKey.generate_key("P-384", {"kid": "ours"}, private=True),
    }


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
@pytest.mark.parametrize("form", ["jwk", "pem"])
def test_a_token_is_asked_for_with_a_signed_assertion(
    transport: Transport,
    secret_file: Path,
    keys: Mapping[str, jwk.RSAKey | jwk.ECKey],
    algorithm: str,
    form: str,
) -> None:
    key = keys[algorithm]
    pem, dictionary = key.as_pem(private=True), key.as_dict(private=True)
    secret_file.write_bytes(pem if form == "pem" else json.dumps(dictionary).encode())
    partner = Partner("t1")
    with receiver(partner) as server:
        credentials = oauth(server, secret_file, scope="system/*.cruds")
        assert posted(transport, server, credentials).outcome == "delivered"
    [asked] = partner.forms
    assert asked["grant_type"] == "client_credentials"
    assert asked["scope"] == "system/*.cruds"
    assert asked["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    token = jwt.decode(asked["client_assertion"], key, algorithms=[algorithm])
    assert token.header == {"typ": "JWT", "alg": algorithm, "kid": "ours" if form == "jwk" else key.thumbprint()}
    assert (token.claims["iss"], token.claims["sub"]) == ("gateway", "gateway")
    assert token.claims["aud"] == credentials.token_url
    assert time.time() < token.claims["exp"] <= time.time() + 300
    assert len(token.claims["jti"]) > 16


def test_a_token_is_asked_for_with_a_client_secret(transport: Transport, secret_file: Path) -> None:
    secret_file.write_text("a:b c")
    partner = Partner("t1")
    with receiver(partner) as server:
        assert posted(transport, server, oauth(server, secret_file)).outcome == "delivered"
    assert partner.forms == [{"grant_type": "client_credentials"}]
    given = base64.b64decode(partner.asked[0].headers["authorization"].removeprefix("Basic ")).decode()
    assert given == "gateway:a%3Ab+c"


def test_a_token_is_used_until_it_expires(transport: Transport, secret_file: Path) -> None:
    partner = Partner("t1", "t2")
    with receiver(partner) as server, ThreadPoolExecutor(4) as threads:
        credentials = oauth(server, secret_file)
        answers = [*threads.map(lambda _: posted(transport, server, credentials), range(8))]
    assert {answer.outcome for answer in answers} == {"delivered"}
    assert len(partner.asked) == 1


def test_a_token_that_expired_is_renewed(transport: Transport, secret_file: Path) -> None:
    partner = Partner("t1", "t2", said={"expires_in": 0.000001})
    with receiver(partner) as server:
        for _ in range(2):
            assert posted(transport, server, oauth(server, secret_file)).outcome == "delivered"
    assert len(partner.asked) == 2


def test_a_token_that_is_refused_is_renewed_once(transport: Transport, secret_file: Path) -> None:
    partner = Partner("t1", "t2", "t3", "t4", accepted=("t2",))
    with receiver(partner) as server:
        credentials = oauth(server, secret_file)
        assert posted(transport, server, credentials).outcome == "delivered"
        assert len(partner.asked) == 2
        partner.accepted = ()
        answer = posted(transport, server, credentials)
    assert (answer.outcome, answer.status) == ("refused", 401)
    assert len(partner.asked) == 3


@pytest.mark.parametrize(
    ("reply", "outcome", "told"),
    [
        ((400, {}, b'{"error": "invalid_client"}'), "failed", "the token endpoint answered 400 with invalid_client."),
        ((400, {}, b'{"error": "Secret <s3cret>"}'), "failed", "the token endpoint answered 400."),
        ((401, {}, b"[]"), "failed", "the token endpoint answered 401."),
        ((302, {"Location": "/elsewhere"}, b""), "failed", "the token endpoint answered 302."),
        ((500, {}, b"s3cret"), "failed", "the token endpoint answered 500."),
        ((503, {"Retry-After": "7"}, b""), "busy", "the token endpoint answered 503."),
        ((200, {}, b"s3cret"), "failed", "has no bearer token."),
        ((200, {}, b'{"access_token": "a\\r\\nX: s3cret"}'), "failed", "has no bearer token."),
        ((200, {}, b'{"access_token": "a", "token_type": "mac"}'), "failed", "has no bearer token."),
        ((200, {}, b'{"access_token": "a", "expires_in": "soon"}'), "failed", "has no bearer token."),
        ((200, {}, b'{"access_token": 7}'), "failed", "has no bearer token."),
        ((200, {}, b"[" * 100_000), "failed", "has no bearer token."),
    ],
)
def test_who_gets_no_token_does_not_call(
    transport: Transport, secret_file: Path, reply: Reply, outcome: str, told: str
) -> None:
    with receiver(lambda request: reply) as server:
        answer = posted(transport, server, oauth(server, secret_file))
        assert [request.path for request in server.requests] == ["/token"]
    assert (answer.outcome, answer.status) == (outcome, None)
    assert answer.retry_after == (7 if outcome == "busy" else None)
    assert answer.detail.endswith(told)
    assert "s3cret" not in answer.detail


def test_a_token_endpoint_is_called_where_the_partner_may_be_only(transport: Transport, secret_file: Path) -> None:
    with receiver() as server:
        credentials = Credentials(
            "oauth", secret_file=secret_file, client_id="gateway", token_url="https://10.0.0.1/token"
        )
        answer = posted(transport, server, credentials)
        assert server.requests == []
    assert answer.outcome == "forbidden"
    assert "no access token, 10.0.0.1 is not called" in answer.detail


@pytest.mark.parametrize(
    "secret",
    [
        jwk.ECKey.generate_key("P-256", private=True).as_pem(private=True),
        jwk.ECKey.generate_key("P-384", private=True).as_pem(private=False),
        json.dumps(jwk.ECKey.generate_key("P-384", private=True).as_dict(private=False)).encode(),
        b'{"kty": "oct", "k": "c2VjcmV0"}',
        b'{"kty": "EC", "crv": "P-384", "x": 7, "y": [], "d": null}',
        b"{",
        b"-----BEGIN PRIVATE KEY-----",
    ],
)
def test_a_key_that_cannot_sign_is_told(transport: Transport, secret_file: Path, secret: bytes) -> None:
    secret_file.write_bytes(secret)
    with receiver() as server:
        answer = posted(transport, server, oauth(server, secret_file))
        assert server.requests == []
    assert answer.outcome == "failed"
    assert f"{secret_file} has no private key that is RSA, or EC on the curve P-384" in answer.detail
