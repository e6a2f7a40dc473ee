"""What a key of a partner may hold, in both directions, and as JSON Schema tells it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from gateway import settings_values
from gateway.fhir import dialects, keys
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.keys import UnfitError
from gateway.fhir.message import is_uri

if TYPE_CHECKING:
    from gateway.fhir.check.levels import Level

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_MOST = 100
_LONGEST = 2048
_LONGEST_NAME = 200
_LONGEST_JWKS = 64 * 1024
_RESERVED = {"host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent"}


def _plain(value: Any) -> Any:
    """A value of the model as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` turns what is written into the model's own, or raises UnfitError; `write` turns it back."""

    read: Callable[[Any], Any]
    schema: Mapping[str, Any]
    write: Callable[[Any], Any] = _plain


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > _LONGEST:
        raise UnfitError("a text that is not empty, on one line")
    return value.strip()


def _name(value: Any) -> str:
    try:
        name = _text(value)
    except UnfitError:
        name = "/"
    if "/" in name or len(name) > _LONGEST_NAME:
        raise UnfitError(f"a text that is not empty, on one line, of {_LONGEST_NAME} characters at most and without /")
    return name


def _uri(value: Any) -> str:
    if not isinstance(value, str) or not is_uri(value) or ":" not in value or value.startswith(OWN_SYSTEMS):
        raise UnfitError(f"a url or a urn without white space, none that begins with {OWN_SYSTEMS}")
    return value


def _identifier(value: Any) -> str:
    system, _, code = value.partition("|") if isinstance(value, str) else ("", "", "")
    try:
        return f"{_uri(system)}|{_text(code)}"
    except UnfitError:
        raise UnfitError("a business identifier as system|value, the system a url or a urn") from None


def _endpoint(value: Any) -> str:
    if "|" in (url := _uri(value)):
        raise UnfitError("a url or a urn without | in it")
    return url


def _reference(value: Any) -> str:
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    try:
        return _uri(value)
    except UnfitError:
        raise UnfitError("the url of a Subscription, or its id on this gateway") from None


def _web_address(value: Any) -> str:
    if not isinstance(value, str) or not is_uri(value) or not value.startswith(("https://", "http://")):
        raise UnfitError("an address that begins with https://")
    return value


def _fingerprint(value: Any) -> str:
    plain = value.replace(":", "").lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise UnfitError("the SHA-256 fingerprint of a certificate: 64 hexadecimal digits, with colons or without")
    return plain


def _subject(value: Any) -> str:
    from cryptography import x509

    try:
        return x509.Name.from_rfc4514_string(_text(value)).rfc4514_string()
    except ValueError:
        raise UnfitError(
            "the subject of a certificate by RFC 4514, like CN=gateway.example,O=Hospital; attributes that are not "
            "CN, O, OU, C, L, ST, STREET, DC or UID by their OID"
        ) from None


def _header(value: Any) -> str:
    is_name = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", value)
    if not is_name or value.lower() in _RESERVED:
        raise UnfitError("the name of a header, none that every request has")
    return str(value)


def _jwks(value: Any) -> str:
    """A JWK Set as a table, or as JSON text. What is private is no business of ours."""
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    says = "a JWK Set as a table or as JSON: { keys = [ … ] }, each key public, RSA or EC"
    try:
        said = orjson.loads(value) if isinstance(value, str) else value
        found = KeySet.import_key_set(said).keys
        is_fit = bool(found) and all(key.key_type in ("RSA", "EC") and not key.is_private for key in found)
        text = orjson.dumps(said).decode()
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise UnfitError(says) from None
    if not is_fit or len(text) > _LONGEST_JWKS:
        raise UnfitError(says)
    return text


def _checking(value: Any) -> tuple[tuple[str, Level], ...]:
    says = 'a table of rule and level, like { "dom-6" = "ignore" }'
    if not isinstance(value, dict):
        raise UnfitError(says)
    if value:
        from gateway.fhir.check.levels import find_fault  # the rules are read only where they are named

        if fault := find_fault(value):
            raise UnfitError(f"{says}; {fault}")
    return tuple(sorted(value.items()))


def _dialect(value: Any) -> str:
    return keys.one_of(*dialects.names())(value)


def _is_number(value: Any, whole: bool) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


def number(least: float, most: float, *, whole: bool = False) -> Kind:
    says = f"a {'whole ' if whole else ''}number from {least:g} to {most:.15g}"

    def read(value: Any) -> float:
        if not _is_number(value, whole) or not least <= value <= most:
            raise UnfitError(says)
        return int(value) if whole else float(value)

    return Kind(read, {"type": "integer" if whole else "number", "minimum": least, "maximum": most})


def words(*allowed: str) -> Kind:
    return Kind(keys.one_of(*allowed), {"type": "string", "enum": list(allowed)})


def list_of(kind: Kind) -> Kind:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not 0 < len(value) <= _MOST:
            raise UnfitError(f"a list that is not empty, of {_MOST} at most")
        try:
            found = [kind.read(item) for item in value]
        except UnfitError as wrong:
            raise UnfitError(f"a list, each {wrong}") from None
        return tuple(found) if found and isinstance(found[0], float) else tuple(dict.fromkeys(found))

    return Kind(read, {"type": "array", "items": kind.schema, "minItems": 1, "maxItems": _MOST})


_STRING = {"type": "string", "minLength": 1}
_ADDRESS = {"type": "string", "format": "uri"}

TEXT = Kind(_text, _STRING)
NAME = Kind(_name, {**_STRING, "maxLength": _LONGEST_NAME, "pattern": "^[^/]+$"})
URI = Kind(_uri, _ADDRESS)
IDENTIFIER = Kind(_identifier, {**_STRING, "pattern": r"^[^|]+\|.+$"})
ENDPOINT = Kind(_endpoint, _ADDRESS)
REFERENCE = Kind(_reference, _STRING)
WEB_ADDRESS = Kind(_web_address, _ADDRESS)
FINGERPRINT = Kind(_fingerprint, {"type": "string", "pattern": "^([0-9A-Fa-f]{2}:?){32}$"})
SUBJECT = Kind(_subject, _STRING)
NETWORK = Kind(settings_values.network, _STRING)
HEADER = Kind(_header, _STRING)
PATH = Kind(lambda value: settings_values.path(_text(value)), _STRING)
SCOPE = Kind(
    keys.matching(
        r"system/(\*|[A-Z][A-Za-z]+)\.((?=[cruds])c?r?u?d?s?|read|write|\*)", "a scope of SMART, like system/Task.cruds"
    ),
    {"type": "string", "pattern": r"^system/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?|read|write|\*)$"},
)
EMAIL = Kind(
    keys.matching(r"[^@\s]{1,64}@[^@\s]{1,255}", "an address of e-mail"), {"type": "string", "format": "email"}
)
TRUTH = Kind(keys.truth, {"type": "boolean"})
JWKS = Kind(_jwks, {"type": ["object", "string"], "description": "A JWK Set, or its JSON text."}, orjson.loads)
CHECKING = Kind(_checking, {"type": "object", "additionalProperties": {"type": "string"}}, dict)
DIALECT = Kind(_dialect, {"type": "string"})
