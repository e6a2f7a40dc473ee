"""The partners, found by what they prove themselves with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.authentication.certificates import Certificate, fingerprint_of, subject_of
from gateway.partners import Partner, Partners

T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """What two partners are registered with proves neither."""

    by_client: Mapping[str, Partner]
    by_issuer: Mapping[tuple[str, str], Partner]
    by_fingerprint: Mapping[str, Partner]
    by_subject: Mapping[str, Partner]

    def holder_of(self, certificate: Certificate) -> Partner | None:
        """The partner that a certificate is registered for, by its fingerprint or else by its subject."""
        found = self.by_fingerprint.get(certificate.fingerprint)
        return found or (self.by_subject.get(certificate.subject) if certificate.subject else None)


class Index(Generic[T]):
    """Something that is made of the partners, made again when they have changed."""

    def __init__(self, make: Callable[[Partners], T]) -> None:
        self._make = make
        self._made: tuple[Partners, T] | None = None

    def of(self, partners: Partners) -> T:
        made = self._made
        if made is None or made[0] is not partners:
            self._made = made = (partners, self._make(partners))
        return made[1]


def registered(partners: Partners) -> Registered:
    everybody = partners.partners
    return Registered(
        _only((one.authentication.client_id, one) for one in everybody if one.authentication.client_id),
        _only(((a.issuer, a.subject), one) for one in everybody if (a := one.authentication).issuer and a.subject),
        _only((fingerprint_of(text), one) for one in everybody for text in one.authentication.certificates),
        _only((name, one) for one in everybody for text in one.authentication.subjects if (name := _subject(text))),
    )


def _only(pairs: Iterable[tuple[T, Partner]]) -> dict[T, Partner]:
    found: dict[T, set[str]] = {}
    partners: dict[T, Partner] = {}
    for key, partner in pairs:
        found.setdefault(key, set()).add(partner.name)
        partners[key] = partner
    return {key: partner for key, partner in partners.items() if len(found[key]) == 1}


def _subject(text: str) -> str | None:
    try:
        return subject_of(text)
    except ValueError:
        return None
