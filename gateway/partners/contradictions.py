"""What of one partner does not go together, and the addresses of it that may not be called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.partners.model import Authentication, Partner

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "basic": ("user", "secret_file"),
    "bearer": ("secret_file",),
    "header": ("header", "secret_file"),
    "oauth": ("client_id", "token_url", "secret_file"),
}
_MAY_HAVE: Mapping[str, tuple[str, ...]] = {"oauth": ("scope",)}
_WEB = ("http://", "https://")
FILES = ("secret_file", "certificate_file", "key_file", "authority_file")
_OF_A_KIND = ("user", "header", "secret_file", "client_id", "token_url", "scope")


def find_contradictions(partner: Partner) -> Iterator[str]:
    """Each as sentences: what, and what to write."""
    yield from _of_telling(partner)
    yield from _of_proofs(partner.authentication)
    yield from _of_credentials(partner)
    if partner.fulfilled_by == partner.name:
        yield "fulfilled_by is itself. Name another partner, or none."


def find_forbidden(partner: Partner, *, loopback: bool) -> Iterator[str]:
    """The addresses of a partner that may not be called, as they are written; `loopback`: this machine may."""
    from gateway.transport import check_address

    for key, address in addresses(partner).items():
        wrong = check_address(address, partner.delivery.networks, loopback)
        if wrong is not None:
            yield f"{key} is {address}, which may not be called. {wrong}"


def find_outside(said: Any, before: Mapping[str, Any], directories: Sequence[Path]) -> Iterator[str]:
    """The files that the credentials in a document name, and did not `before`, and that are in none of the directories.

    `said` is as somebody has sent it: whatever else is wrong with it is for others to say.
    """
    named, known = _credentials(said), _credentials(before)
    allowed = [directory.resolve() for directory in directories]
    for key in FILES:
        file = named.get(key)
        if not isinstance(file, str) or file == known.get(key):
            continue
        if not any(_resolved(file).is_relative_to(directory) for directory in allowed):
            there = ", ".join(map(str, directories))
            yield f"delivery.credentials.{key} is {file!r}, which is not in {there}: the setting secrets. Put it there."


def _credentials(said: Any) -> Mapping[str, Any]:
    for key in ("delivery", "credentials"):
        said = said.get(key) if isinstance(said, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def _resolved(file: str) -> Path:
    """Where it leads, links followed; an odd name leads nowhere."""
    try:
        return Path(file).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return Path("/")


def addresses(partner: Partner) -> Mapping[str, str]:
    """What is called of a partner, by the key that says so. An endpoint that is no web address is a mere name."""
    credentials = partner.delivery.credentials
    named = {
        "endpoints": destination(partner),
        "delivery.reply_to": partner.delivery.reply_to,
        "delivery.credentials.token_url": credentials.token_url if credentials else None,
        "authentication.jwks_url": partner.authentication.jwks_url,
    }
    return {key: address for key, address in named.items() if address}


def destination(partner: Partner) -> str | None:
    """Where what it is told of is sent, if it can be called there."""
    first = next(iter(partner.endpoints), "")
    is_sent = partner.tell in ("message", "subscription") and first.startswith(_WEB)
    return first if is_sent else None


def _of_telling(partner: Partner) -> Iterator[str]:
    if partner.tell in ("message", "subscription") and not partner.endpoints:
        instead = 'Write them, or tell = "poll" or "nothing".'
        yield f"tell is {partner.tell}, but it has no endpoints to send to. {instead}"
    if partner.tell == "subscription" and partner.subscription is None:
        yield "it is told by subscription. Write [partner.subscription] with its reference and topic."
    if partner.tell not in ("subscription", "poll") and partner.subscription is not None:
        yield f'it has a subscription, but tell is {partner.tell}. Write tell = "subscription", or neither.'
    callable_at = [url for url in (partner.delivery.reply_to, *partner.endpoints) if url and url.startswith(_WEB)]
    if partner.reply == "later" and partner.tell != "poll" and not callable_at:
        yield 'reply is later, but it has no address to answer at. Write an endpoint (https://…), or tell = "poll".'
    if partner.tell == "subscription" and partner.version == "STU3":
        yield "STU3 has no topic-based subscriptions. Write another version, or another tell."


def _of_proofs(proofs: Authentication) -> Iterator[str]:
    if proofs.jwks and proofs.jwks_url:
        yield "authentication has both jwks and jwks_url. Write one of them."
    if (proofs.jwks or proofs.jwks_url) and not proofs.client_id:
        yield "authentication has keys, but no client_id that they are for. Write it."
    if proofs.client_id and not (proofs.jwks or proofs.jwks_url):
        yield "authentication has a client_id, but no keys to prove it with. Write jwks_url or jwks."
    if (proofs.issuer is None) != (proofs.subject is None):
        yield "authentication has one of issuer and subject. Write both: together they name it."


def _of_credentials(partner: Partner) -> Iterator[str]:
    credentials = partner.delivery.credentials
    if credentials is None:
        return
    place, kind = "delivery.credentials:", credentials.kind
    needed = _NEEDS[kind]
    for key in _OF_A_KIND:
        has = getattr(credentials, key) is not None
        if key in needed and not has:
            yield f"{place} kind {kind} needs {key}. Write it."
        if has and key not in (*needed, *_MAY_HAVE.get(kind, ())):
            yield f"{place} {key} is not for kind {kind}. Take it out, or write the kind that it is for."
    if credentials.key_file is not None and credentials.certificate_file is None:
        yield f"{place} key_file has no certificate_file that it is for. Write it."
