"""A gateway that believes nobody, the partners it knows, and what these (and forgers) prove themselves with."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from werkzeug.test import TestResponse

from gateway.authentication.model import KEY_PREFIX, digest_of, hint_of, new_secret
from gateway.fhir.policy import loading
from gateway.partners import Partner, Partners
from gateway.partners.model import Authentication, Limits
from gateway.settings import Settings
from gateway.store import admission
from gateway.terms import Terms
from gateway.transport import Answer, Target
from gateway.web import context
from gateway.web.application import create
from gateway.web.context import Context
from tests import services
from tests.web.served import BASE, JSON, ORGANIZATIONS, AtOnce

TOKEN_URL = "http://gateway.example/auth/token"
ISSUER, AUDIENCE = "https://id.example", "http://gateway.example/fhir"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Signer:
    """Somebody with a key pair."""

    key: Any
    kid: str
    algorithm: str

    @property
    def public(self) -> dict[str, Any]:
        said = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        return self.key.as_dict(private=False) | said  # type: ignore[no-any-return]

    @property
    def jwks(self) -> str:
        return orjson.dumps({"keys": [self.public]}).decode()

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A header of None is left out."""
        said = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **header}
        named = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(named, claims, self.key, algorithms=[named["alg"]])


@cache
def elliptic(kid: str = "pharmacy-1", curve: str = "P-384", algorithm: str = "ES384") -> Signer:
    return Signer(ECKey.generate_key(curve), kid, algorithm)


@cache
def rsa(kid: str = "hospital-1", algorithm: str = "RS384") -> Signer:
    return Signer(RSAKey.generate_key(2048), kid, algorithm)


def partner(name: str, value: str, endpoint: str, **named: Any) -> Partner:
    return Partner(name, (f"{ORGANIZATIONS}|{value}",), (endpoint,), tell="nothing", **named)


def hospital(**named: Any) -> Partner:
    known = {"authentication": Authentication(client_id="hospital", jwks=rsa().jwks)}
    return partner("Hospital", "HOSPITAL-1", "urn:demo:hospital", **(known | named))


def pharmacy(**named: Any) -> Partner:
    proof = Authentication(client_id="pharmacy", jwks=elliptic().jwks, issuer=ISSUER, subject="pharmacy-app")
    return partner("Pharmacy", "PHARMACY-7", "urn:demo:pharmacy", **({"authentication": proof} | named))


def laboratory(**named: Any) -> Partner:
    return partner("Laboratory", "LABORATORY-3", "urn:demo:laboratory", **named)


def claims(client_id: str = "pharmacy", **changes: Any) -> dict[str, Any]:
    """Those of a client assertion that is as it should be; a change to None leaves one out."""
    now = int(time.time())
    said = {
        "iss": client_id,
        "sub": client_id,
        "aud": TOKEN_URL,
        "exp": now + 240,
        "jti": str(uuid.uuid4()),
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


class Publisher:
    """In the place of the network: what is published at each url, and how often it was asked for."""

    def __init__(self, **published: str) -> None:
        self.published = published
        self.asked: list[Target] = []

    def get(self, target: Target, _headers: Any = None) -> Answer:
        self.asked.append(target)
        body = self.published.get(target.url)
        if body is None:
            return Answer("unreachable", None, None, None, b"", "nobody answers", 0.0)
        return Answer("delivered", 200, None, "application/json", body.encode(), "", 0.0)


class Gate:
    """A gateway to which callers prove themselves."""

    def __init__(self, app: Flask, here: Context) -> None:
        self.app = app
        self.here = here
        self._client = app.test_client()

    def key(self, name: str, **named: Any) -> str:
        """A new API key of a partner."""
        secret, now = new_secret(KEY_PREFIX), self.here.authenticator._now()
        with self.here.database.transaction() as connection:
            admission.add_key(connection, digest_of(secret), name, hint_of(secret), now, named.get("expires_at"))
        return secret

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """A header is written with underscores; `key` is an API key, `bearer` a token."""
        named = {name.replace("_", "-"): value for name, value in headers.items() if name not in ("key", "bearer")}
        if "key" in headers:
            named["X-API-Key"] = headers["key"]
        if "bearer" in headers:
            named["Authorization"] = f"Bearer {headers['bearer']}"
        if body is not None:
            named.setdefault("Content-Type", JSON)
            body = body if isinstance(body, bytes) else orjson.dumps(body)
        return self._client.open(f"/fhir/{path}", method=method, data=body, headers=named)

    def token(self, assertion: str, **changes: str | None) -> TestResponse:
        said = {
            "grant_type": "client_credentials",
            "scope": "system/*.cruds",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
            **changes,
        }
        form = {name: value for name, value in said.items() if value is not None}
        return self._client.post("/auth/token", data=form)

    def get(self, path: str) -> TestResponse:
        """A path from the root, without any proof."""
        return self._client.get(path)


@contextmanager
def gate(database_url: str, redis_url: str, *partners: Partner, **settings: Any) -> Iterator[Gate]:
    """A gateway at BASE, on a database that has its schema; proof is required unless the settings say otherwise."""
    named = {"authentication": "required", "reply_timeout": 5, **settings}
    app = create(Settings(database_url=database_url, redis_url=redis_url, base_url=BASE, **named))
    with app.app_context():
        here = context.get()
    nobody = partner("Nobody's scopes", "NOBODY", "urn:demo:nobody", authentication=Authentication(scopes=()))
    frugal = partner("Frugal", "FRUGAL", "urn:demo:frugal", limits=Limits(message_bytes=1024))
    known = partners or (hospital(), pharmacy(), laboratory(), nobody, frugal)
    standing = Terms(loading.load("cow", ()), Partners(known))
    here = replace(here, standing=standing)
    here = replace(here, courier=AtOnce(here))  # type: ignore[arg-type]
    context.put(app.extensions, here)
    yield Gate(app, here)
    here.database.close()


@contextmanager
def gate_in(directory: Path, template: Path, redis_url: str, *partners: Partner, **settings: Any) -> Iterator[Gate]:
    """The same on an SQLite database of its own in a directory."""
    with services.sqlite_database(directory, template) as url, gate(url, redis_url, *partners, **settings) as one:
        yield one
