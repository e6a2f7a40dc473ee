"""What a call is made of: whom to, what we prove ourselves with, and what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["delivered", "refused", "busy", "failed", "unreachable", "forbidden"]
"""`delivered`: 2xx. `refused`: a 4xx that gets no better by itself, all but 408, 425 and 429. `busy`: 429, or 503 with
Retry-After. `failed`: any other answer, one that is no HTTP or too large, and a redirect; also when our own credentials
cannot be used. `unreachable`: no answer, or none that is whole, within the time. `forbidden`: never called, because its
address may not be."""

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer's body."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What we prove ourselves with. Secrets are in files, read for each call; here are only their names.

    `user` is for `basic`; `header`, a header's name, for `header`. `secret_file` has the password, the bearer token or
    the header's value; for `oauth` the private key (a JWK or PEM: RSA, or EC on P-384) or the client secret.
    `client_id`, `token_url` and `scope` are for `oauth`. `certificate_file` and `key_file`, PEM, are our side of mutual
    TLS, with any kind; `authority_file` has the authorities that the other side's certificate may be from, instead of
    the system's.
    """

    kind: Literal["none", "basic", "bearer", "header", "oauth"] = "none"
    user: str | None = None
    header: str | None = None
    secret_file: Path | None = None
    client_id: str | None = None
    token_url: str | None = None
    scope: str | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    authority_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call.

    `timeout` is in seconds, for the whole exchange. `networks` are the CIDRs that may be called though they are
    private, or without TLS; `loopback` says whether this machine may be.
    """

    url: str
    timeout: float = 30.0
    networks: tuple[str, ...] = ()
    loopback: bool = False
    credentials: Credentials = Credentials()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    `retry_after` and `seconds` are in seconds; `media_type` is the Content-Type as it came; `body` has at most
    LARGEST_ANSWER bytes. `detail` is a sentence for the operator, with nothing of a body, a secret or a query in it.
    """

    outcome: Outcome
    status: int | None
    retry_after: float | None
    media_type: str | None
    body: bytes
    detail: str
    seconds: float


class NoAnswerError(Exception):
    """There is no answer: what came of the call instead, and what happened, as the end of a sentence."""

    def __init__(self, outcome: Outcome, what: str, *, status: int | None = None, retry_after: float | None = None):
        super().__init__(what)
        self.outcome = outcome
        self.status = status
        self.retry_after = retry_after


def seconds_left(deadline: float) -> float:
    """Until a moment of `time.monotonic()`. Raises TimeoutError when it has come."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
