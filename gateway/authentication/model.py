"""What a request has proved of its sender, and what it is when it has not."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

from gateway.partners import Partner

Proof = Literal["none", "token", "certificate", "api-key", "administrator"]

KEY_PREFIX, TOKEN_PREFIX = "fgk_", "fgt_"
"""How our API keys and access tokens begin, so that they are told from others', and found where they were left."""
_HINT = 8


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, by which proof, and what it may do (scopes of SMART: `system/Task.cruds`, …).

    `partner` is None in the sandbox, where who proves nothing is admitted as whom its message says that it is; and for
    an administrator, who is no partner.
    """

    partner: Partner | None
    proof: Proof
    scopes: frozenset[str]


class NotProven(Exception):  # noqa: N818 - what a caller has to be told, not a fault of ours
    """A proof that proves nothing. `cause` is for the log: no secret is in it.

    `expired` and `missing` are all that the caller is told of it: anything else would tell a forger how far it came.
    """

    def __init__(self, cause: str, *, expired: bool = False, missing: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.expired = expired
        self.missing = missing


def new_secret(prefix: str) -> str:
    """A secret of 256 random bits, to be shown once and kept as its digest."""
    return f"{prefix}{secrets.token_urlsafe(32)}"


def digest_of(secret: str) -> bytes:
    """By which a secret is found; SHA-256 is enough for what is random throughout, and cannot be guessed."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def hint_of(secret: str) -> str:
    """How a secret begins, to tell it from others."""
    return secret[:_HINT]
