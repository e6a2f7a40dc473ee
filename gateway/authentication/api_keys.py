"""API keys: made here, shown once, kept as digests; each step audited as a change of the partner that they are for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.authentication.model import KEY_PREFIX, digest_of, hint_of, new_secret
from gateway.partners.directory import UnknownPartnerError
from gateway.store import admission
from gateway.store import partners as kept
from gateway.store.admission import Key
from gateway.store.database import Connection, Database
from gateway.store.partners import Change


class UnknownKeyError(Exception):
    """No key that is valid begins like this; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new key: the only time that it is seen whole."""

    key: str = field(repr=False)
    hint: str
    expires_at: datetime | None


def make(database: Database, partner: str, by: str, expires_at: datetime | None = None) -> Made:
    """Raises UnknownPartnerError."""
    with database.transaction() as connection:
        made = _make(connection, partner, expires_at)
        _record(connection, partner, by, f"key {made.hint} made")
    return made


def rotate(database: Database, partner: str, by: str, old_until: datetime, expires_at: datetime | None = None) -> Made:
    """A new key; those that there were are good until `old_until`, if not less. Raises UnknownPartnerError."""
    with database.transaction() as connection:
        made = _make(connection, partner, expires_at)
        admission.expire_keys(connection, partner, old_until, but=digest_of(made.key))
        _record(connection, partner, by, f"keys rotated, {made.hint} made")
    return made


def revoke(database: Database, partner: str, by: str, hint: str) -> None:
    """From now on the key that begins like this is good for nothing. Raises UnknownPartnerError, UnknownKeyError."""
    with database.transaction() as connection:
        kept.lock(connection)
        if not admission.expire_key(connection, partner, hint, datetime.now(UTC)):
            raise UnknownKeyError(
                f"{partner} has no valid key that begins with {hint}. Take a beginning as it is listed."
            )
        _record(connection, partner, by, f"key {hint} revoked")


def list_all(database: Database, partner: str) -> list[Key]:
    """All keys that a partner has had, the oldest first."""
    with database.reading() as connection:
        return admission.list_keys(connection, partner)


def has_valid(database: Database, partner: str) -> bool:
    """Whether a partner has a key that has not ended."""
    now = datetime.now(UTC)
    return any(key.expires_at is None or key.expires_at > now for key in list_all(database, partner))


def _make(connection: Connection, partner: str, expires_at: datetime | None) -> Made:
    kept.lock(connection)
    if kept.find(connection, partner) is None:
        raise UnknownPartnerError(f"There is no partner {partner}. `fhir-gateway partners list` has all there are.")
    key = new_secret(KEY_PREFIX)
    made = Made(key, hint_of(key), expires_at)
    admission.add_key(connection, digest_of(key), partner, made.hint, datetime.now(UTC), expires_at)
    return made


def _record(connection: Connection, partner: str, by: str, what: str) -> None:
    """The document is the same before and after it."""
    row = kept.find(connection, partner)
    document = row.document if row is not None else None
    kept.record(connection, Change(partner, datetime.now(UTC), by, what, document, document))
