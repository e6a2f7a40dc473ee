"""What callers prove themselves with: API keys, access tokens, assertions that were used; none but as digests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from gateway.store.schema import access_token, api_key, used_assertion
from gateway.store.statements import Statement, insert


@dataclass(frozen=True, slots=True)
class Key:
    """An API key: `digest` is the SHA-256 of it, `hint` how it begins; `expires_at` None: it does not."""

    digest: bytes
    partner: str
    hint: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Token:
    """An access token that the gateway gave."""

    digest: bytes
    partner: str
    scopes: frozenset[str]
    expires_at: datetime


_KEY = (api_key.c.digest, api_key.c.partner, api_key.c.hint, api_key.c.created_at, api_key.c.expires_at)


# --- API keys ---------------------------------------------------------------------------------------------------------


def add_key(
    connection: sa.Connection,
    digest: bytes,
    partner: str,
    hint: str,
    created_at: datetime,
    expires_at: datetime | None,
) -> None:
    values = {"digest": digest, "partner": partner, "hint": hint, "created_at": created_at, "expires_at": expires_at}
    connection.execute(sa.insert(api_key).values(values))


def find_key(connection: sa.Connection, digest: bytes) -> Key | None:
    """The key with a digest, expired or not."""
    row = connection.execute(sa.select(*_KEY).where(api_key.c.digest == digest)).one_or_none()
    return Key(*row) if row else None


def list_keys(connection: sa.Connection, partner: str) -> list[Key]:
    """All keys of a partner, expired ones too, the oldest first."""
    found = sa.select(*_KEY).where(api_key.c.partner == partner).order_by(api_key.c.created_at, api_key.c.hint)
    return [Key(*row) for row in connection.execute(found)]


def expire_keys(connection: sa.Connection, partner: str, at: datetime, but: bytes | None = None) -> int:
    """Has the keys of a partner expire at a time if they would not before, all `but` one; how many those are."""
    changed = sa.update(api_key).where(
        api_key.c.partner == partner, sa.or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > at)
    )
    if but is not None:
        changed = changed.where(api_key.c.digest != but)
    return connection.execute(changed.values(expires_at=at)).rowcount


def expire_key(connection: sa.Connection, partner: str, hint: str, at: datetime) -> int:
    """As `expire_keys`, for those of a partner that begin with `hint`."""
    mine = (api_key.c.partner == partner, api_key.c.hint == hint)
    valid = sa.or_(api_key.c.expires_at.is_(None), api_key.c.expires_at > at)
    return connection.execute(sa.update(api_key).where(*mine, valid).values(expires_at=at)).rowcount


# --- access tokens ----------------------------------------------------------------------------------------------------


def add_token(connection: sa.Connection, token: Token) -> None:
    connection.execute(
        sa.insert(access_token).values(
            digest=token.digest,
            partner=token.partner,
            scopes=" ".join(sorted(token.scopes)),
            expires_at=token.expires_at,
        )
    )


def find_token(connection: sa.Connection, digest: bytes) -> Token | None:
    """The token with a digest, expired or not."""
    columns = (access_token.c.digest, access_token.c.partner, access_token.c.scopes, access_token.c.expires_at)
    row = connection.execute(sa.select(*columns).where(access_token.c.digest == digest)).one_or_none()
    return Token(row[0], row[1], frozenset(row[2].split()), row[3]) if row else None


def expire_tokens(connection: sa.Connection, partner: str) -> int:
    """Takes back the tokens that a partner has; how many those were."""
    return connection.execute(sa.delete(access_token).where(access_token.c.partner == partner)).rowcount


# --- assertions -------------------------------------------------------------------------------------------------------

_USE = Statement(
    lambda name: (
        insert(used_assertion, name)
        .values(digest=sa.bindparam("digest"), expires_at=sa.bindparam("expires_at"))
        .on_conflict_do_nothing()
        .returning(used_assertion.c.digest)
    )
)


def use_assertion(connection: sa.Connection, digest: bytes, expires_at: datetime) -> bool:
    """Whether an assertion was not used before; from now on it was."""
    return bool(_USE.run(connection, {"digest": digest, "expires_at": expires_at}))


def forget_expired(connection: sa.Connection, now: datetime) -> None:
    """Removes the tokens that have expired, and the assertions that would be refused as expired by now."""
    for table in (access_token, used_assertion):
        connection.execute(sa.delete(table).where(table.c.expires_at < now))
