"""A partner as a document: the table of keys that files, the database, the command line and the API have in common.

A document is plain JSON, and has only what differs from the defaults, which are those of the model. Secrets are never
in it: credentials name files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, get_args

from gateway.fhir.definitions import VERSIONS
from gateway.fhir.keys import UnfitError
from gateway.partners import model, values
from gateway.partners.contradictions import find_contradictions
from gateway.partners.model import Authentication, Contact, Delivery, Limits, Partner, Subscription
from gateway.partners.values import Kind, list_of, number, words

Document = dict[str, Any]
_WEEK = 604_800
_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Key:
    """What a key is for, and what it may hold."""

    says: str
    kind: Kind
    required: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A key that holds keys, and what they make."""

    says: str
    make: Callable[..., Any]
    keys: Mapping[str, Key | Table]
    required: bool = False


def _credentials(**values: Any) -> Any:
    from gateway.transport import Credentials  # with it comes the HTTP client

    return Credentials(**values)


SUBSCRIPTION = Table(
    "the Subscription that its notifications answer, with tell = subscription",
    Subscription,
    {
        "reference": Key("its url, or its id on this gateway", values.REFERENCE, required=True),
        "topic": Key("the canonical url of its topic", values.URI, required=True),
        "content": Key("how much a notification has", words(*get_args(model.Content))),
    },
)
AUTHENTICATION = Table(
    "what it proves itself with; any of these will do",
    Authentication,
    {
        "client_id": Key("its name at the token endpoint", values.TEXT),
        "jwks_url": Key("where its public keys are", values.WEB_ADDRESS),
        "jwks": Key("its public keys themselves", values.JWKS),
        "certificates": Key("SHA-256 fingerprints of its client certificates", list_of(values.FINGERPRINT)),
        "subjects": Key("subjects of its client certificates, by RFC 4514", list_of(values.SUBJECT)),
        "issuer": Key("who issues its tokens elsewhere", values.WEB_ADDRESS),
        "subject": Key("what it is called there", values.TEXT),
        "scopes": Key("the most that it may do", list_of(values.SCOPE)),
        "mismatch": Key("what becomes of a message that names another partner as sender", words("refuse", "flag")),
    },
)
CREDENTIALS = Table(
    "what the gateway proves itself with to it; secrets are in files",
    _credentials,
    {
        "kind": Key("the way", words("none", "basic", "bearer", "header", "oauth")),
        "user": Key("of basic", values.TEXT),
        "header": Key("the header of kind header", values.HEADER),
        "secret_file": Key(
            "the file with the password, the token, the header's value, the private key or the client secret",
            values.PATH,
        ),
        "client_id": Key("of oauth", values.TEXT),
        "token_url": Key("of oauth: where access tokens are given", values.WEB_ADDRESS),
        "scope": Key("of oauth: what is asked for", values.TEXT),
        "certificate_file": Key("our client certificate, PEM", values.PATH),
        "key_file": Key("its private key, PEM", values.PATH),
        "authority_file": Key("the authorities that its certificate may be from, PEM", values.PATH),
    },
)
DELIVERY = Table(
    "how it is called",
    Delivery,
    {
        "reply_to": Key("where answers go that are delivered later, instead of its first endpoint", values.WEB_ADDRESS),
        "retry_schedule": Key("seconds after each failed attempt to the next", list_of(number(0, _WEEK))),
        "timeout": Key("seconds that a call may take", number(0.1, 600)),
        "at_once": Key("how many calls it takes side by side", number(1, 64, whole=True)),
        "networks": Key("private networks that it may be called in, without TLS too", list_of(values.NETWORK)),
        "credentials": CREDENTIALS,
    },
)
LIMITS = Table(
    "how much it may send",
    Limits,
    {
        "messages_per_minute": Key("messages in any minute", number(1, 1_000_000, whole=True)),
        "message_bytes": Key("bytes of one message, not above max_message_bytes", number(1024, 1024**3, whole=True)),
    },
)
CONTACT = Table(
    "whom the operator calls",
    Contact,
    {
        "name": Key("who", values.TEXT),
        "email": Key("by e-mail", values.EMAIL),
        "phone": Key("by telephone", values.TEXT),
    },
)
PARTNER = Table(
    "a partner",
    Partner,
    {
        "name": Key("what it is called; it never changes", values.NAME, required=True),
        "identifiers": Key("its business identifiers, each system|value", list_of(values.IDENTIFIER), required=True),
        "endpoints": Key("the MessageHeader.source.endpoint of its messages", list_of(values.ENDPOINT)),
        "tell": Key("how it is told of changes", words(*get_args(model.Tell))),
        "version": Key("the version of FHIR it is told in", words(*VERSIONS)),
        "format": Key("the format it is told in", words(*get_args(model.Format))),
        "accepts_cancellation": Key("whether it agrees to every cancellation of its orders at once", values.TRUTH),
        "state": Key("whether it may send, and is sent to", words(*get_args(model.State))),
        "role": Key("what it is where its messages do not say", words(*get_args(model.Role))),
        "fulfilled_by": Key("the partner that carries out its orders, where they do not say", values.NAME),
        "dialect": Key("the dialect it speaks", values.DIALECT),
        "reply": Key("whether its answers come later though it does not ask for that", words(*get_args(model.Reply))),
        "checking": Key("levels of rules for its messages", values.CHECKING),
        "subscription": SUBSCRIPTION,
        "authentication": AUTHENTICATION,
        "delivery": DELIVERY,
        "limits": LIMITS,
        "contact": CONTACT,
    },
)
"""Every key there is. The defaults are those of the model."""

TABLES: Mapping[str, Table] = {
    "": PARTNER,
    "subscription": SUBSCRIPTION,
    "authentication": AUTHENTICATION,
    "delivery": DELIVERY,
    "delivery.credentials": CREDENTIALS,
    "limits": LIMITS,
    "contact": CONTACT,
}
"""The tables by their place in a document."""


def read(said: Any, place: str, wrong: list[str]) -> Partner | None:
    """The partner that a document tells of; None when faults in it were added to `wrong`, each a sentence."""
    before = len(wrong)
    partner: Partner | None = _read(said, PARTNER, place, wrong)
    if partner is not None:
        wrong += (f"{place}: {sentence}" for sentence in find_contradictions(partner))
    return partner if len(wrong) == before else None


def write(partner: Partner) -> Document:
    """What differs from the defaults, in the order of the keys."""
    return _write(partner, PARTNER)


def merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """A document as a JSON merge patch changes it: https://www.rfc-editor.org/rfc/rfc7396"""
    made = dict(document)
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, Mapping):
            inner = made.get(key)
            made[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            made[key] = value
    return made


def compare(before: Mapping[str, Any], after: Mapping[str, Any], place: str = "") -> list[tuple[str, Any, Any]]:
    """Where documents differ: the path of a key, and what it is in each (None: not written)."""
    found = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += compare(old, new, f"{place}{name}.")
        elif old != new:
            found.append((f"{place}{name}", old, new))
    return found


def defaults(table: Table) -> Mapping[str, Any]:
    """What each key is when it is not written, as a document has it; None: nothing. A table has none of its own."""
    if table is CREDENTIALS:
        from gateway.transport import Credentials

        return _defaults_of(Credentials, table)
    return _defaults_of(table.make, table)


def _defaults_of(kind: Any, table: Table) -> Mapping[str, Any]:
    given = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    return {
        name: key.kind.write(given[name]) if given.get(name) not in (None, ()) else None
        for name, key in table.keys.items()
        if isinstance(key, Key) and not key.required
    }


def find_shared(found: Iterable[tuple[str, Partner]]) -> Iterator[str]:
    """What partners have in common that tells each from all others, or that they lack; each found at a place."""
    found = list(found)
    first: dict[tuple[str, str], str] = {}
    for place, partner in found:
        for what, name in dict.fromkeys(_own(partner)):
            other = first.setdefault((what, name), place)
            if other != place:
                yield f"{place}: the {what} {name} is that of {other} too. A partner is told from all others by it."
    names = {partner.name for _, partner in found}
    for place, partner in found:
        if partner.fulfilled_by is not None and partner.fulfilled_by not in names:
            near = get_close_matches(partner.fulfilled_by, names, n=1)
            instead = f"Did you mean {near[0]}?" if near else "Name one that is registered, or none."
            yield f"{place}: fulfilled_by is {partner.fulfilled_by}, which is no partner. {instead}"


def _own(partner: Partner) -> Iterator[tuple[str, str]]:
    """What no two partners may have, by what it is called."""
    proofs = partner.authentication
    yield "name", partner.name
    yield from (("identifier", one) for one in partner.identifiers)
    yield from (("endpoint", one) for one in partner.endpoints)
    yield from (("certificate", one) for one in proofs.certificates)
    yield from (("certificate's subject", one) for one in proofs.subjects)
    if proofs.client_id:
        yield "client_id", proofs.client_id
    if proofs.issuer:
        yield "issuer and subject", f"{proofs.issuer} {proofs.subject}"


def _read(said: Any, table: Table, place: str, wrong: list[str]) -> Any:
    before = len(wrong)
    if not isinstance(said, dict):
        wrong.append(f"{place} is no table. Write each key as: name = …")
        return None
    found: dict[str, Any] = {}
    for name, value in said.items():
        key = table.keys.get(name)
        if key is None:
            near = get_close_matches(str(name), table.keys, n=1, cutoff=0.6)
            instead = f"Did you mean {near[0]}?" if near else f"It has {', '.join(table.keys)}."
            wrong.append(f"{place}: {name} is no key of a partner. {instead}")
        elif isinstance(key, Table):
            found[name] = _read(value, key, f"{place}, {name}", wrong)
        else:
            _take(name, value, key, place, found, wrong)
    missing = [name for name, key in table.keys.items() if key.required and name not in said]
    wrong += [f"{place}: {name} is missing. Write it." for name in missing]
    return table.make(**found) if len(wrong) == before else None


def _take(name: str, value: Any, key: Key, place: str, found: dict[str, Any], wrong: list[str]) -> None:
    try:
        found[name] = key.kind.read(value)
    except UnfitError as says:
        shown = repr(value)
        is_said = f"is {shown}, but takes" if len(shown) <= _LONGEST_SHOWN else "takes"
        wrong.append(f"{place}: {name} {is_said} {says}{'' if str(says).endswith('?') else '.'}")


def _write(value: Any, table: Table) -> Document:
    given = {field.name: field.default for field in fields(value)}
    written: Document = {}
    for name, key in table.keys.items():
        held = getattr(value, name)
        if held != given[name]:
            written[name] = _write(held, key) if isinstance(key, Table) else key.kind.write(held)
    return written
