"""What a partner asks for in a topic-based Subscription that it creates itself: read, and written in another version.

R4 and R4B: the profile of http://hl7.org/fhir/uv/subscriptions-backport (1.1.0); R5: Subscription has it all,
https://hl7.org/fhir/R5/subscription.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, quote

from gateway.errors import Issue, Refused
from gateway.fhir import formats
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.search import Group, parse
from gateway.fhir.topic import FILTERS

Content = Literal["empty", "id-only", "full-resource"]
Format = Literal["json", "xml"]

SPOKEN: tuple[Version, ...] = ("R4", "R4B", "R5")
"""The versions of Subscriptions, and of their notifications."""
LEAST_HEARTBEAT = 10
"""Seconds."""
_CONTENTS = ("empty", "id-only", "full-resource")
_MEDIA_TYPES = ("application/fhir+json", "application/fhir+xml")
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport"
PROFILE = f"{_BACKPORT}-subscription"
_FILTER, _CONTENT = f"{_BACKPORT}-filter-criteria", f"{_BACKPORT}-payload-content"
_HEARTBEAT, _TIMEOUT = f"{_BACKPORT}-heartbeat-period", f"{_BACKPORT}-timeout"
_MAX_COUNT, _CHANNEL_TYPE = f"{_BACKPORT}-max-count", f"{_BACKPORT}-channel-type"
_CHANNELS = "http://terminology.hl7.org/CodeSystem/subscription-channel-type"
_TASK = "http://hl7.org/fhir/StructureDefinition/Task"
_IN_BOTH = ("id", "meta", "implicitRules", "language", "contact", "end", "reason")
_WHERE = {"R5": "Subscription.filterBy", "R4": "Subscription.criteria.extension"}

Say = Callable[[str, str, str], None]
"""Notes an issue: its code, its text, and the element."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscription is to bring: its notifications' `version` and `format`, how much they have, and where to.

    `filters` are search parameters and their values, and `groups` what these mean; all must hold. `heartbeat` and
    `timeout` are seconds.
    """

    topic: str
    endpoint: str | None
    version: Version
    format: Format
    content: Content
    filters: tuple[tuple[str, str], ...] = ()
    groups: tuple[Group, ...] = ()
    heartbeat: int | None = None
    timeout: int | None = None
    max_count: int | None = None
    ends_at: datetime | None = None


def read(resource: Resource, version: Version, base_url: str) -> Wanted:
    """What a Subscription that is sound asks for; our addresses are below `base_url`. Raises Refused, all at once."""
    issues: list[Issue] = []

    def say(code: str, text: str, element: str) -> None:
        issues.append(Issue(code, text, f"Subscription.{element}" if element else "Subscription"))

    said = _read_r5(resource, say) if version == "R5" else _read_r4(resource, say)
    groups = _groups(said["filters"], base_url, _WHERE["R5" if version == "R5" else "R4"], issues)
    media_type, place = said["media_type"], "contentType" if version == "R5" else "channel.payload"
    told_in = formats.version_of(media_type) if formats.declared_number(media_type) else version
    if media_type.partition(";")[0].strip() not in _MEDIA_TYPES or told_in not in SPOKEN:
        text = "Notifications are application/fhir+json or application/fhir+xml, of fhirVersion 4.0, 4.3 or 5.0."
        say("not-supported", text, place)
    if issues:
        raise Refused(*issues)
    return Wanted(
        topic=said["topic"],
        endpoint=said["endpoint"],
        version=cast(Version, told_in),
        format="xml" if "xml" in media_type else "json",
        content=said["content"],
        filters=said["filters"],
        groups=groups,
        heartbeat=said["heartbeat"],
        timeout=said["timeout"],
        max_count=said["max_count"],
        ends_at=said["ends_at"],
    )


def write(resource: Resource, wanted: Wanted, version: Version, asked: Version) -> Resource:
    """A Subscription, sent in one version, as another has it."""
    if (version == "R5") == (asked == "R5"):
        return resource
    common = {name: resource[name] for name in (*_IN_BOTH, "status") if name in resource}
    made = _as_r5(wanted) if asked == "R5" else _as_r4(wanted)
    return {"resourceType": "Subscription"} | made | common


def media_type_of(wanted: Wanted) -> str:
    return f"application/fhir+{wanted.format}"


# --- R4 and R4B ------------------------------------------------------------------------------------------------------


def _read_r4(resource: Resource, say: Say) -> dict[str, Any]:
    channel = _dict(resource.get("channel"))
    if "header" in channel:
        text = (
            "The gateway sends no headers that a Subscription names: they would hand out credentials. How it proves "
            "itself to you is registered with its operator. Leave channel.header out."
        )
        say("not-supported", text, "channel.header")
    custom = [*_extensions(channel.get("_type"), _CHANNEL_TYPE)]
    if channel.get("type") != "rest-hook" or custom:
        say("not-supported", "The one channel there is is rest-hook.", "channel.type")
    content = next(_extensions(channel.get("_payload"), _CONTENT), {}).get("valueCode")
    if content not in _CONTENTS:
        text = f"How much a notification has is missing: the extension {_CONTENT} says {', '.join(_CONTENTS)}."
        say("required", text, "channel.payload.extension")
    numbers = {
        name: next(_extensions(channel, url), {}).get(f"value{kind}")
        for name, url, kind in (
            ("heartbeat", _HEARTBEAT, "UnsignedInt"),
            ("timeout", _TIMEOUT, "UnsignedInt"),
            ("max_count", _MAX_COUNT, "PositiveInt"),
        )
    }
    filters: list[tuple[str, str]] = []
    for extension in _extensions(resource.get("_criteria"), _FILTER):
        filters += _criteria(str(extension.get("valueString") or ""), say)
    return {
        "topic": str(resource.get("criteria") or ""),
        "filters": tuple(filters),
        "endpoint": channel.get("endpoint"),
        "media_type": str(channel.get("payload") or ""),
        "content": content,
        "ends_at": _end(resource, say),
        **_numbers(numbers, say, "channel.extension"),
    }


def _criteria(text: str, say: Say) -> list[tuple[str, str]]:
    """`Task?status=requested&owner=…`; a filter without a type means Tasks too."""
    kind, mark, query = text.rpartition("?")
    if kind not in ("", "Task") or (not mark and "=" not in text):
        say("not-supported", f"{text[:100]!r}: filters are of Tasks, as Task?status=requested.", "criteria.extension")
        return []
    return parse_qsl(query, keep_blank_values=True)


def _as_r4(wanted: Wanted) -> Resource:
    filters = "&".join(f"{name}={quote(value, safe='/:|,')}" for name, value in wanted.filters)
    criteria = {"_criteria": {"extension": [{"url": _FILTER, "valueString": f"Task?{filters}"}]}} if filters else {}
    numbers = (
        (_HEARTBEAT, "valueUnsignedInt", wanted.heartbeat),
        (_TIMEOUT, "valueUnsignedInt", wanted.timeout),
        (_MAX_COUNT, "valuePositiveInt", wanted.max_count),
    )
    extensions = [{"url": url, name: value} for url, name, value in numbers if value is not None]
    return {
        "reason": "A subscription of FHIR R5",
        "criteria": wanted.topic,
        **criteria,
        "channel": {
            **({"extension": extensions} if extensions else {}),
            "type": "rest-hook",
            **({"endpoint": wanted.endpoint} if wanted.endpoint else {}),
            "payload": media_type_of(wanted),
            "_payload": {"extension": [{"url": _CONTENT, "valueCode": wanted.content}]},
        },
    }


# --- R5 --------------------------------------------------------------------------------------------------------------


def _read_r5(resource: Resource, say: Say) -> dict[str, Any]:
    if "parameter" in resource:
        text = (
            "The gateway sends no headers that a Subscription names: they would hand out credentials. How it proves "
            "itself to you is registered with its operator. Leave parameter out."
        )
        say("not-supported", text, "parameter")
    if _dict(resource.get("channelType")).get("code") != "rest-hook":
        say("not-supported", "The one channel there is is rest-hook.", "channelType")
    filters: list[tuple[str, str]] = []
    for number, one in enumerate(resource.get("filterBy") or ()):
        kind, parameter, modifier = one.get("resourceType"), str(one.get("filterParameter")), one.get("modifier")
        if kind not in (None, "Task", _TASK) or one.get("comparator") not in (None, "eq"):
            text = "Filters are of Tasks, and compare by eq."
            say("not-supported", text, f"filterBy[{number}]")
        filters.append((f"{parameter}:{modifier}" if modifier else parameter, str(one.get("value"))))
    numbers = {
        "heartbeat": resource.get("heartbeatPeriod"),
        "timeout": resource.get("timeout"),
        "max_count": resource.get("maxCount"),
    }
    return {
        "topic": str(resource.get("topic") or ""),
        "filters": tuple(filters),
        "endpoint": resource.get("endpoint"),
        "media_type": str(resource.get("contentType") or _MEDIA_TYPES[0]),
        "content": resource.get("content") or "empty",
        "ends_at": _end(resource, say),
        **_numbers(numbers, say, ""),
    }


def _as_r5(wanted: Wanted) -> Resource:
    filters = []
    for name, value in wanted.filters:
        parameter, _, modifier = name.partition(":")
        one = {"resourceType": _TASK, "filterParameter": parameter}
        filters.append(one | ({"modifier": modifier} if modifier else {}) | {"value": value})
    optional = {
        "filterBy": filters or None,
        "endpoint": wanted.endpoint,
        "heartbeatPeriod": wanted.heartbeat,
        "timeout": wanted.timeout,
        "maxCount": wanted.max_count,
    }
    return {
        "topic": wanted.topic,
        "channelType": {"system": _CHANNELS, "code": "rest-hook"},
        **{name: value for name, value in optional.items() if value is not None},
        "contentType": media_type_of(wanted),
        "content": wanted.content,
    }


# --- both ------------------------------------------------------------------------------------------------------------


def _groups(filters: tuple[tuple[str, str], ...], base_url: str, where: str, issues: list[Issue]) -> tuple[Group, ...]:
    unknown = [name for name, _ in filters if name.partition(":")[0] not in FILTERS]
    if unknown:
        text = f"There is no filter {unknown[0][:60]}. Those that the topic has: {', '.join(FILTERS)}."
        issues.append(Issue("not-supported", text, where))
        return ()
    try:
        return parse("Task", filters, base_url).groups
    except Refused as refused:
        issues += [Issue(issue.code, issue.text, where) for issue in refused.issues]
        return ()


def _numbers(given: Mapping[str, Any], say: Say, element: str) -> dict[str, int | None]:
    """Whole numbers as the check has found them to be; 0 is as if nothing were said."""
    found: dict[str, int | None] = {
        name: int(value) if isinstance(value, int | float) and value else None for name, value in given.items()
    }
    heartbeat = found["heartbeat"]
    if heartbeat is not None and heartbeat < LEAST_HEARTBEAT:
        text = f"A heartbeat every {heartbeat} seconds is too often. Ask for {LEAST_HEARTBEAT} seconds or more."
        say("too-costly", text, element or "heartbeatPeriod")
    return found


def _end(resource: Resource, say: Say) -> datetime | None:
    end = resource.get("end")
    if end is None:
        return None
    try:
        return datetime.fromisoformat(str(end)).astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC it may be in the year 10000
        say("value", "This is no instant of the calendar.", "end")
        return None


def _extensions(element: Any, url: str) -> Iterator[dict[str, Any]]:
    for extension in _dict(element).get("extension") or ():
        if isinstance(extension, dict) and extension.get("url") == url:
            yield extension


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
