"""What an export says beside a message: where it came from, how it was read, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import orjson

from gateway.errors import Refused
from gateway.fhir import json
from gateway.fhir.issues import shown

MARK = "fhirGatewayExport"
"""The member that each thing in an export begins with, and the version of its form."""
VERSION = 1
_LONGEST = 64 * 1024
_FIRST, _LAST = 1900, 9998
_DIGEST = re.compile(r"[0-9a-f]{64}")


class UnfitAbout(Exception):  # noqa: N818 - a finding
    """What stands beside a message cannot be read; the text goes after the name of the file."""


@dataclass(frozen=True, slots=True)
class About:
    """The names are those of the inbox. `id` is that of the exporting gateway; `response_code` is its reply's."""

    id: int
    received_at: datetime
    media_type: str
    sender: str
    event: str
    partner: str | None
    manner: str | None
    wrapping: str | None
    reply_format: str
    reply_to: str | None
    recipient: str | None
    later: bool
    request_id: str
    state: str
    response_code: str | None
    error: str | None = None


def written(about: About, digest: str, **body: str) -> bytes:
    """What is kept of it, as JSON; `digest` is the SHA-256 of the message's bytes, in hexadecimal."""
    said = {name: getattr(about, name) for name in _READERS}
    said["received_at"] = about.received_at.astimezone(UTC)
    return orjson.dumps({MARK: VERSION, "sha256": digest, "about": said, **body})


def parse(data: bytes) -> dict[str, Any] | None:
    """What is written so, not looked at yet; None for anything else."""
    if b'"%b"' % MARK.encode() not in data:
        return None
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and MARK in value else None


def read(said: Mapping[str, Any]) -> tuple[About, str]:
    """What is said of a message, and the digest of its bytes. Raises UnfitAbout. What it does not know, it leaves."""
    if said[MARK] != VERSION:
        raise UnfitAbout(
            f"is of version {shown(str(said[MARK]))} of the form of exports; this gateway reads {VERSION}."
        )
    digest, about = said.get("sha256"), said.get("about")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise UnfitAbout("has no sha256 of 64 hexadecimal digits. Export again.")
    if not isinstance(about, dict):
        raise UnfitAbout("has no object `about`. Export again.")
    return About(**{name: _field(name, about.get(name), takes) for name, takes in _READERS.items()}), digest


class _UnfitError(Exception):
    pass


def _field(name: str, value: Any, takes: Callable[[Any], Any]) -> Any:
    try:
        return takes(value)
    except _UnfitError as error:
        raise UnfitAbout(f"has an `about.{name}` that is not {error}. Export again.") from None


def _number(value: Any) -> int:
    if type(value) is not int or not 0 < value < 2**63:
        raise _UnfitError("a whole number above 0")
    return value


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise _UnfitError("a moment with a time zone")
        moment = moment.astimezone(UTC)
        if not _FIRST <= moment.year <= _LAST:
            raise _UnfitError(f"a moment of the years {_FIRST} to {_LAST}")
        return moment
    except (TypeError, ValueError, OverflowError):
        raise _UnfitError("a moment, as 2026-01-02T03:04:05Z") from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or json.FORBIDDEN.search(value):
        raise _UnfitError(f"a text of at most {_LONGEST} characters, without control characters")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _UnfitError("true or false")
    return value


def _one_of(*values: str) -> Callable[[Any], str]:
    def take(value: Any) -> str:
        if value not in values:
            raise _UnfitError(f"one of {', '.join(values)}")
        return str(value)

    return take


def _optional(take: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: None if value is None else take(value)


def _manner(value: Any) -> str:
    said = _object(value)
    headers = said.get("headers", {})
    texts = [said.get("dialect"), said.get("sender", ""), said.get("owner", "")]
    texts += headers.values() if isinstance(headers, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise _UnfitError("how a message is read, as a gateway writes it")
    return str(value)


def _wrapping(value: Any) -> str:
    match _object(value):
        case {
            "bundleId": str(),
            "baseUrl": str(),
            "header": {"id": str(), "focus": [{"reference": str()}, *_], **_header},
            **more,
        } if isinstance(more.get("versionId", ""), str) and isinstance(more.get("resource", {}), dict):
            return str(value)
    raise _UnfitError("what was put around a resource, as a gateway writes it")


def _object(value: Any) -> dict[str, Any]:
    """What a text says in JSON. It is held to all that FHIR asks of JSON: it becomes part of a message."""
    try:
        said = json.parse_any(value.encode()) if isinstance(value, str) else None
    except (Refused, UnicodeEncodeError):
        said = None
    if not isinstance(said, dict):
        raise _UnfitError("an object of JSON, as a text")
    return said


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "id": _number,
    "received_at": _moment,
    "media_type": _text,
    "sender": _text,
    "event": _text,
    "partner": _optional(_text),
    "manner": _optional(_manner),
    "wrapping": _optional(_wrapping),
    "reply_format": _one_of("json", "xml"),
    "reply_to": _optional(_text),
    "recipient": _optional(_text),
    "later": _truth,
    "request_id": _text,
    "state": _one_of("new", "failed", "done", "dead"),
    "response_code": _optional(_text),
    "error": _optional(_text),
}
assert [*_READERS] == [field.name for field in fields(About)]
