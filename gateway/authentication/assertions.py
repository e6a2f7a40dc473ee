"""JSON Web Tokens that others sign: client assertions of partners, and access tokens of an external issuer.

https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html, https://www.rfc-editor.org/rfc/rfc7523,
https://www.rfc-editor.org/rfc/rfc8725
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry

from gateway.authentication.keys import Key
from gateway.authentication.model import NotProven
from gateway.errors import Refused
from gateway.fhir import json
from gateway.fhir.identity import key

CLIENT_ALGORITHMS = ("RS384", "ES384")
ISSUER_ALGORITHMS = ("RS256", "RS384", "ES256", "ES384")
LONGEST_SECONDS = 300
LEEWAY_SECONDS = 30
"""That others' clocks may be wrong by."""
LONGEST_JTI = 512
_FOREIGN_KEYS = ("jku", "jwk", "x5u", "x5c")
"""Headers by which a token would bring its own keys."""

FindKeys = Callable[[str, str], Sequence[Key]]
"""The keys of a kid that an algorithm may be used with."""


class _Registry(JWSRegistry):
    max_header_length = 4096
    max_payload_length = 16 * 1024


_REGISTRY: Mapping[tuple[str, ...], JWSRegistry] = {
    algorithms: _Registry(algorithms=list(algorithms), strict_check_header=False)
    for algorithms in (CLIENT_ALGORITHMS, ISSUER_ALGORITHMS)
}


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a client assertion says, once it is proved; its `digest` must not have been used before."""

    client_id: str
    digest: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says before its signature is checked: to find out by whose keys that is to be done."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def peek(token: str) -> Unverified:
    """Raises NotProven for what is no signed JWT."""
    try:
        found = jws.extract_compact(token.encode(errors="replace"), registry=_REGISTRY[ISSUER_ALGORITHMS])
        claims = json.parse_any(found.payload or b"")
    except (JoseError, Refused, ValueError, TypeError) as error:
        raise NotProven(f"the token cannot be read: {type(error).__name__}") from None
    if not isinstance(claims, dict):
        raise NotProven("the token's claims are no object")
    return Unverified(found.headers(), claims)


def verify_assertion(
    token: str, client_id: str, token_url: str, jwks_url: str | None, find_keys: FindKeys, now: datetime
) -> Assertion:
    """The assertion of a client, signed with one of its own keys, for us, and for now. Raises NotProven."""
    header = peek(token).header
    named = [name for name in _FOREIGN_KEYS if name in header]
    if named and not (named == ["jku"] and header["jku"] == jwks_url):
        raise NotProven(f"the assertion brings its own keys ({', '.join(named)})")
    claims = _verified(token, header, CLIENT_ALGORITHMS, find_keys)
    registry = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": client_id},
        sub={"essential": True, "value": client_id},
        aud={"essential": True, "value": token_url},
        exp={"essential": True},
        jti={"essential": True},
    )
    _check(registry, claims)
    jti, expires = claims["jti"], claims["exp"]
    if expires > now.timestamp() + LONGEST_SECONDS + LEEWAY_SECONDS:
        raise NotProven("the assertion expires too far ahead")
    if len(jti) > LONGEST_JTI:
        raise NotProven("the assertion's jti is too long")
    until = datetime.fromtimestamp(int(expires), UTC) + timedelta(seconds=LEEWAY_SECONDS + 60)
    return Assertion(client_id, key("assertion", client_id, jti), until)


def verify_token(token: str, issuer: str, audience: str, find_keys: FindKeys, now: datetime) -> Mapping[str, Any]:
    """The claims of an access token that an issuer has signed for us, and for now. Raises NotProven."""
    claims = _verified(token, peek(token).header, ISSUER_ALGORITHMS, find_keys)
    registry = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer},
        sub={"essential": True},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
    )
    _check(registry, claims)
    return claims


def _verified(
    token: str, header: Mapping[str, Any], algorithms: tuple[str, ...], find_keys: FindKeys
) -> Mapping[str, Any]:
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in algorithms:
        raise NotProven("the token's algorithm is none of those that are taken")
    if not isinstance(kid, str) or not kid:
        raise NotProven("the token names no key (kid)")
    keys = find_keys(kid, algorithm)
    if not keys:
        raise NotProven("the token's key (kid) is not among its signer's, or not for this algorithm")
    for one in keys:
        try:
            return jwt.decode(token, one, registry=_REGISTRY[algorithms]).claims
        except (JoseError, ValueError, TypeError):
            continue
    raise NotProven("the token's signature is not by the key that it names")


def _check(registry: jwt.JWTClaimsRegistry, claims: Mapping[str, Any]) -> None:
    try:
        registry.validate(dict(claims))
    except ExpiredTokenError:
        raise NotProven("the token has expired", expired=True) from None
    except JoseError as error:
        raise NotProven(f"the token's claims: {error.error}: {getattr(error, 'claim', '')}") from None
