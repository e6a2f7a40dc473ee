"""The public keys that others sign with: JWK Sets, given or published at a url, and which key of them may be used.

https://www.rfc-editor.org/rfc/rfc7517
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gateway.errors import Refused
from gateway.fhir import json
from gateway.transport import Target, Transport

Key = RSAKey | ECKey
log = structlog.get_logger()

FRESH_SECONDS = 300.0
"""For which published keys are used without asking again."""
AGAIN_SECONDS = 30.0
"""Between two fetches of one url, whatever keys are asked for, and whether the last came to anything."""
STALE_SECONDS = 3600.0
"""For which keys are used on while the url does not answer."""
LARGEST_SET = 256 * 1024
_FETCH_SECONDS = 5.0
_MOST_KEYS = 100
_LEAST_RSA_BITS = 2048
_CURVES = {"ES256": "P-256", "ES384": "P-384"}
_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}

JWK = Mapping[str, Any]
Clock = Callable[[], float]


def read_set(text: bytes | str) -> tuple[JWK, ...]:
    """The keys in a JWK Set as they are written. Raises ValueError with a sentence where it is none."""
    try:
        said = json.parse_any(text.encode() if isinstance(text, str) else text)
    except Refused:
        raise ValueError("This is no JSON.") from None
    keys = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('A JWK Set is written { "keys": [ … ] }.')
    return tuple(keys[:_MOST_KEYS])


def usable(jwk: JWK, algorithm: str) -> Key | None:
    """The key, if signatures by an algorithm may be checked with it; None for any other.

    A set in which a private key is published proves nothing any more; a key for another use or algorithm is none.
    """
    kind = "RSA" if algorithm.startswith("RS") else "EC"
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("kty") != kind or jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return None
    if "d" in jwk or not isinstance(operations, list) or "verify" not in operations:
        return None
    return _import(kind, tuple(str(jwk.get(name, "")) for name in _PUBLIC[kind]), _CURVES.get(algorithm))


@lru_cache(256)
def _import(kind: str, values: tuple[str, ...], curve: str | None) -> Key | None:
    public: dict[str, str | list[str]] = dict(zip(_PUBLIC[kind], values, strict=True))
    try:
        if kind == "EC":
            return ECKey.import_key(public) if public["crv"] == curve else None
        if len(values[1]) * 6 < _LEAST_RSA_BITS:
            return None
        rsa = RSAKey.import_key(public)
        return rsa if rsa.public_key.key_size >= _LEAST_RSA_BITS else None
    except (JoseError, ValueError, TypeError):
        return None


def find(keys: Sequence[JWK], kid: str, algorithm: str) -> list[Key]:
    """The keys of this id that may be used: https://hl7.org/fhir/smart-app-launch/backend-services.html"""
    named = (usable(jwk, algorithm) for jwk in keys if jwk.get("kid") == kid)
    return [key for key in named if key is not None]


@dataclass(slots=True)
class _Published:
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: tuple[JWK, ...] = ()
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")


class PublishedKeys:
    """The keys at urls, one process's: fetched when they are wanted, not more often than AGAIN_SECONDS allows."""

    def __init__(self, transport: Transport, clock: Clock = time.monotonic) -> None:
        self._transport = transport
        self._clock = clock
        self._lock = threading.Lock()
        self._by_url: dict[str, _Published] = {}

    def find(self, url: str, kid: str, algorithm: str, *, networks: tuple[str, ...], loopback: bool) -> list[Key]:
        """The keys of this id at a url; `networks` and `loopback` are those of a Target.

        Nobody waits for a fetch but who makes it, and whoever comes during the very first: else all threads would, as
        often as somebody names a key that there is not and the url is slow.
        """
        with self._lock:
            published = self._by_url.setdefault(url, _Published())
        target = Target(url, timeout=_FETCH_SECONDS, networks=networks, loopback=loopback)
        is_first = published.tried_at == float("-inf")
        if published.lock.acquire(blocking=is_first):
            try:
                is_fresh = self._clock() - published.fetched_at < FRESH_SECONDS
                is_enough = is_fresh and find(published.keys, kid, algorithm)
                if not is_enough and self._clock() - published.tried_at >= AGAIN_SECONDS:
                    self._fetch(published, target)
            finally:
                published.lock.release()
        if self._clock() - published.fetched_at >= STALE_SECONDS:
            return []
        return find(published.keys, kid, algorithm)

    def _fetch(self, published: _Published, target: Target) -> None:
        published.tried_at = self._clock()
        answer = self._transport.get(target, {"Accept": "application/jwk-set+json, application/json"})
        try:
            if answer.outcome != "delivered" or len(answer.body) > LARGEST_SET:
                raise ValueError(answer.detail if answer.outcome != "delivered" else "It is too large.")
            published.keys = read_set(answer.body)
        except ValueError as error:
            log.warning("keys not fetched", url=target.url.partition("?")[0], cause=str(error))
            return
        published.fetched_at = self._clock()
