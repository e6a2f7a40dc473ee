"""The notifications of a topic-based subscription: which Tasks have changed, that it is well, and how it stands.

R4: http://hl7.org/fhir/uv/subscriptions-backport (1.1.0), a history Bundle that begins with Parameters; R4B: the same,
with a SubscriptionStatus; R5: https://hl7.org/fhir/R5/subscriptionstatus.html, a Bundle of a type of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.message import URIS, instant

_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription"
_NOTIFICATION, _STATUS = f"{_BACKPORT}-notification-r4", f"{_BACKPORT}-status-r4"

Kind = Literal["handshake", "heartbeat", "event-notification", "query-status", "query-event"]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription: its url, that of its topic, how much a notification has, and how it stands.

    `error` is why its status is `error`.
    """

    url: str
    topic: str
    content: Literal["empty", "id-only", "full-resource"]
    version: Version
    status: str = "active"
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A kept resource in a notification: its address, `Type/id` and version, and its content."""

    url: str
    reference: str
    version: int
    resource: Any


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a resource: its number in the subscription, and when it was."""

    number: str
    at: datetime
    focus: Entry


def notify(
    subscribed: Subscribed,
    numbers: Sequence[str],
    focus: Sequence[Entry],
    context: Sequence[Entry],
    now: datetime,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Resource:
    """A notification Bundle, in the subscription's version, in which each of `focus` is an event with one of `numbers`.

    `context` is what the resources in focus refer to, which is told when the content is `full-resource`. All resources
    are in the subscription's version too.
    """
    events = [Event(number, now, entry) for number, entry in zip(numbers, focus, strict=True)]
    return compose(subscribed, "event-notification", numbers[-1], events, context, now, new_id)


def compose(
    subscribed: Subscribed,
    kind: Kind,
    total: str,
    events: Sequence[Event],
    context: Sequence[Entry],
    now: datetime,
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Resource:
    """A notification Bundle of any kind; `total` is how many events there have been since the subscription began."""
    status_id = new_id()
    status = {
        "fullUrl": f"urn:uuid:{status_id}",
        "resource": status_of(status_id, subscribed, kind, total, [_event(one, subscribed, context) for one in events]),
        "request": {"method": "GET", "url": f"{subscribed.url}/$status"},
        "response": {"status": "200"},
    }
    focus = list({one.focus.url: one.focus for one in events}.values())
    told = {"empty": [], "id-only": focus, "full-resource": [*focus, *context]}[subscribed.content]
    return {
        "resourceType": "Bundle",
        "id": new_id(),
        **({"meta": {"profile": [_NOTIFICATION]}} if subscribed.version == "R4" else {}),
        "type": "subscription-notification" if subscribed.version == "R5" else "history",
        "timestamp": instant(now),
        "entry": [status, *(_entry(entry, subscribed) for entry in told)],
    }


def status_of(
    status_id: str, subscribed: Subscribed, kind: Kind, total: str, events: Sequence[Resource] = ()
) -> Resource:
    """How a subscription stands: Parameters in R4, a SubscriptionStatus in R4B and R5."""
    make = _parameters if subscribed.version == "R4" else _subscription_status
    return make(status_id, subscribed, kind, total, events)


def _entry(entry: Entry, subscribed: Subscribed) -> Resource:
    kind = entry.reference.partition("/")[0]
    is_new = entry.version == 1
    return {
        "fullUrl": entry.url,
        **({"resource": entry.resource} if subscribed.content == "full-resource" else {}),
        "request": {"method": "POST", "url": kind} if is_new else {"method": "PUT", "url": entry.reference},
        "response": {"status": "201" if is_new else "200", "etag": f'W/"{entry.version}"'},
    }


def _event(event: Event, subscribed: Subscribed, context: Sequence[Entry]) -> Resource:
    """An event as R4B and R5 have it; in an empty notification it names no resource."""
    made: Resource = {"eventNumber": event.number, "timestamp": instant(event.at)}
    if subscribed.content != "empty":
        made["focus"] = {"reference": event.focus.url}
    if subscribed.content == "full-resource" and context:
        made["additionalContext"] = [{"reference": other.url} for other in context]
    return made


def _subscription_status(
    status_id: str, subscribed: Subscribed, kind: Kind, total: str, events: Sequence[Resource]
) -> Resource:
    return {
        "resourceType": "SubscriptionStatus",
        "id": status_id,
        "status": subscribed.status,
        "type": kind,
        "eventsSinceSubscriptionStart": total,
        **({"notificationEvent": list(events)} if events else {}),
        "subscription": {"reference": subscribed.url},
        "topic": subscribed.topic,
        **({"error": [{"text": subscribed.error}]} if subscribed.error else {}),
    }


def _parameters(status_id: str, subscribed: Subscribed, kind: Kind, total: str, events: Sequence[Resource]) -> Resource:
    error = subscribed.error
    return {
        "resourceType": "Parameters",
        "id": status_id,
        "meta": {"profile": [_STATUS]},
        "parameter": [
            {"name": "subscription", "valueReference": _logical(subscribed)},
            {"name": "topic", "valueCanonical": subscribed.topic},
            {"name": "status", "valueCode": subscribed.status},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": total},
            *({"name": "notification-event", "part": _parts(event)} for event in events),
            *([{"name": "error", "valueCodeableConcept": {"text": error}}] if error else []),
        ],
    }


def _logical(subscribed: Subscribed) -> Resource:
    """A Subscription of R4 has no identifier, and the guide's notification names it by one: its url is that."""
    return {"reference": subscribed.url, "identifier": {"system": URIS, "value": subscribed.url}}


def _parts(event: Resource) -> list[Resource]:
    parts: list[Resource] = [
        {"name": "event-number", "valueString": event["eventNumber"]},
        {"name": "timestamp", "valueInstant": event["timestamp"]},
    ]
    if "focus" in event:
        parts.append({"name": "focus", "valueReference": event["focus"]})
    return parts + [
        {"name": "additional-context", "valueReference": other} for other in event.get("additionalContext", [])
    ]
