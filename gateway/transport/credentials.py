"""What we prove ourselves with towards a partner: the headers of a call, and the access tokens for them."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus, urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from gateway.transport.calls import Answer, Credentials, NoAnswerError, Outcome, Target, seconds_left

FORM = "application/x-www-form-urlencoded"
_JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LARGEST_SECRET = 64 * 1024
_ASSERTION_SECONDS = 240  # at most 300: SMART Backend Services
_TOKEN_SECONDS = 300.0  # of a token that does not say; RFC 6749 lets the server leave it out
_LONGEST_TOKEN_SECONDS = 86_400.0
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_NO_KEY = (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError)
_ERROR = re.compile(r"[a-z_]{1,64}")

Send = Callable[[Target, bytes, Mapping[str, str], float], Answer]
"""Posts a body to a target, with these headers and no credentials' own, until a moment; may raise NoAnswerError."""


@dataclass(slots=True)
class _Held:
    """The access token for some credentials; who changes it holds the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str | None = None
    good_until: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.token is not None and time.monotonic() < self.good_until


class Proofs:
    """The headers that credentials make; keeps access tokens until shortly before they expire. For many threads."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._held: dict[Credentials, _Held] = {}

    def headers(self, target: Target, deadline: float) -> dict[str, str]:
        """Raises NoAnswerError: failed, if the credentials cannot be used; else what came of asking for a token."""
        credentials = target.credentials
        match credentials.kind:
            case "none":
                return {}
            case "basic":
                if credentials.user is None or ":" in credentials.user:  # RFC 7617, 2
                    raise NoAnswerError("failed", "the credentials have no `user`, or one with a colon")
                return {"Authorization": _basic(credentials.user, read_secret(credentials))}
            case "bearer":
                return {"Authorization": f"Bearer {read_secret(credentials)}"}
            case "header":
                if not credentials.header:
                    raise NoAnswerError("failed", "the credentials have no `header`")
                return {credentials.header: read_secret(credentials)}
            case "oauth":
                return {"Authorization": f"Bearer {self._token(target, deadline)}"}

    def drop(self, credentials: Credentials, refused: Mapping[str, str]) -> None:
        """Forgets the access token that made these headers, which was refused."""
        held = self._find(credentials)
        with held.lock:
            if refused.get("Authorization") == f"Bearer {held.token}":
                held.token = None

    def _token(self, target: Target, deadline: float) -> str:
        held = self._find(target.credentials)
        with _locked(held.lock, deadline):
            if not held.is_good:
                held.token, seconds = self._ask(target, deadline)
                held.good_until = time.monotonic() + seconds - min(30.0, seconds / 5)
            assert held.token is not None
            return held.token

    def _find(self, credentials: Credentials) -> _Held:
        with self._lock:
            return self._held.setdefault(credentials, _Held())

    def _ask(self, target: Target, deadline: float) -> tuple[str, float]:
        """A new access token and the seconds it is good for: RFC 6749, 4.4."""
        credentials = target.credentials
        if not credentials.token_url or not credentials.client_id:
            raise NoAnswerError("failed", "the credentials have no `token_url` or no `client_id`")
        form = {"grant_type": "client_credentials"} | ({"scope": credentials.scope} if credentials.scope else {})
        headers = {"Content-Type": FORM, "Accept": "application/json"}
        secret = read_secret(credentials)
        if secret.startswith(("{", "-----BEGIN")):
            form |= {"client_assertion_type": _JWT_BEARER, "client_assertion": _assertion(credentials, secret)}
        else:
            headers["Authorization"] = _basic(quote_plus(credentials.client_id), quote_plus(secret))
        asked = Target(credentials.token_url, target.timeout, target.networks, target.loopback, credentials)
        try:
            answer = self._send(asked, urlencode(form).encode(), headers, deadline)
        except NoAnswerError as error:
            raise NoAnswerError(error.outcome, f"no access token, {error}") from None
        if answer.outcome != "delivered":
            outcome: Outcome = "busy" if answer.outcome == "busy" else "failed"
            said = f"no access token, the token endpoint answered {answer.status}{_error_in(answer.body)}"
            raise NoAnswerError(outcome, said, retry_after=answer.retry_after)
        return _read_token(answer.body)


def read_secret(credentials: Credentials) -> str:
    """What the file has, without white space around it. Raises NoAnswerError, failed."""
    if credentials.secret_file is None:
        raise NoAnswerError("failed", "the credentials have no `secret_file`")
    try:
        with credentials.secret_file.open("rb") as file:
            secret = file.read(_LARGEST_SECRET).decode().strip()
    except (OSError, ValueError):
        secret = ""
    if not secret:
        raise NoAnswerError("failed", f"no secret can be read from {credentials.secret_file}")
    return secret


@contextmanager
def _locked(lock: threading.Lock, deadline: float) -> Iterator[None]:
    if not lock.acquire(timeout=seconds_left(deadline)):
        raise TimeoutError
    try:
        yield
    finally:
        lock.release()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _assertion(credentials: Credentials, secret: str) -> str:
    """A JWT that proves who asks, signed with our private key.

    https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#authenticating-to-the-token-endpoint
    """
    key, algorithm = _signing_key(credentials.secret_file, secret)
    header = {"alg": algorithm, "kid": key.kid or key.thumbprint()}
    claims: jwt.Claims = {
        "iss": credentials.client_id,
        "sub": credentials.client_id,
        "aud": credentials.token_url,
        "exp": int(time.time()) + _ASSERTION_SECONDS,
        "jti": secrets.token_urlsafe(24),
    }
    return jwt.encode(header, claims, key, algorithms=[algorithm])


def _signing_key(file: Path | None, secret: str) -> tuple[jwk.RSAKey | jwk.ECKey, str]:
    with suppress(*_NO_KEY):
        key = jwk.RSAKey.import_key(json.loads(secret) if secret.startswith("{") else secret)
        if key.is_private:
            return key, "RS384"
    with suppress(*_NO_KEY):
        elliptic = jwk.ECKey.import_key(json.loads(secret) if secret.startswith("{") else secret)
        if elliptic.is_private and elliptic.curve_name == "P-384":
            return elliptic, "ES384"
    raise NoAnswerError("failed", f"{file} has no private key that is RSA, or EC on the curve P-384")


def _read_token(body: bytes) -> tuple[str, float]:
    """RFC 6749, 5.1."""
    try:
        said = json.loads(body)
        token, kind = said["access_token"], said.get("token_type", "bearer")
        seconds = float(said.get("expires_in", _TOKEN_SECONDS))
        if _TOKEN.fullmatch(token) and kind.lower() == "bearer" and seconds > 0:
            return token, min(seconds, _LONGEST_TOKEN_SECONDS)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    raise NoAnswerError("failed", "no access token, what the token endpoint answered has no bearer token")


def _error_in(body: bytes) -> str:
    """The code that an OAuth error has: RFC 6749, 5.2."""
    try:
        code = json.loads(body)["error"]
        return f" with {code}" if _ERROR.fullmatch(code) else ""
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
