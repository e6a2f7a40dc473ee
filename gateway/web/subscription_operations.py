"""$status and $events of the subscriptions that a partner has created, and the topic that there is.

http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-status,
http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-subscription-events
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from flask import Blueprint, Response, abort, request

from gateway.errors import Issue
from gateway.fhir import json, subscription
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.notification import Entry, Event, Subscribed, compose, status_of
from gateway.fhir.subscription import Content, Wanted
from gateway.fhir.topic import TASK_UPDATES, subscription_topic, topic_url
from gateway.fhir.versions import from_r4
from gateway.store import subscriptions as kept
from gateway.store import versions
from gateway.store.database import Connection
from gateway.store.subscriptions import Row
from gateway.web import context
from gateway.web.conditions import Declined
from gateway.web.context import Context
from gateway.web.metadata import PUBLISHED
from gateway.web.negotiation import response_format
from gateway.web.polling import sent_parameters
from gateway.web.resources import nothing, refuse_unknown, with_query
from gateway.web.subscriptions import READ, subscriber, wanted, written

endpoints = Blueprint("subscription_operations", __name__, url_prefix="/fhir")

MOST_EVENTS = 100
"""Told at once."""
_STATUS, _EVENTS = (*READ, "id", "status"), (*READ, "eventsSinceNumber", "eventsUntilNumber", "content")
_LAST = 2**63 - 1
_TOPIC_VERSIONS: tuple[Version, ...] = ("R5", "R4B")


@endpoints.get("/Subscription/$status")
def statuses() -> Response:
    """How the caller's subscriptions stand: those with an `id` and a `status` of the ones named, if any are."""
    refuse_unknown(_STATUS)
    ids, wished = request.args.getlist("id"), request.args.getlist("status")
    here = context.get()
    partner = subscriber(here)
    with here.database.reading() as connection:
        rows = kept.find_all(connection, partner.name)
    found = [row for row in rows if (not ids or row.id in ids) and (not wished or row.status in wished)]
    return _statuses(
        here, found, "Subscription/$status", [*((("id", id_)) for id_ in ids), *(("status", s) for s in wished)]
    )


@endpoints.get("/Subscription/<id:subscription_id>/$status")
def status(subscription_id: str) -> Response:
    """How one of the caller's stands."""
    refuse_unknown(_STATUS)
    here = context.get()
    row = _find(here, subscription_id)
    address = f"Subscription/{subscription_id}"
    return _statuses(here, [row], f"{address}/$status") if row else nothing(address)


@endpoints.get("/Subscription/<id:subscription_id>/$events", endpoint="events")
@endpoints.post("/Subscription/<id:subscription_id>/$events", endpoint="events")
def events(subscription_id: str) -> Response:
    """What has happened, by numbers: at most 100 events from the first that is asked for."""
    here = context.get()
    row = _find(here, subscription_id)
    if row is None:
        return nothing(f"Subscription/{subscription_id}")
    refuse_unknown(_EVENTS)
    said = dict([*request.args.items(), *(sent_parameters(here) if request.method == "POST" else ())])
    since, until = _number(said, "eventsSinceNumber", 1), _number(said, "eventsUntilNumber", _LAST)
    answer, asked = wanted(None), _wanted(here, row)
    content = _content(said, asked)
    subscribed = replace(_subscribed(here, row, asked, answer.version or "R4"), content=content)
    with here.database.reading() as connection:
        found = kept.find_events(connection, row.id, since, until, MOST_EVENTS)
        total = kept.count_events(connection, [row.id])[row.id]
        told = [Event(str(one.number), one.at, _entry(here, connection, one, subscribed)) for one in found]
    bundle = compose(subscribed, "query-event", str(total), told, (), datetime.now(UTC))
    return written(200, bundle, answer)


@endpoints.get("/SubscriptionTopic")
def topics() -> Response:
    """The topic, if it has the `url` that is asked for."""
    refuse_unknown((*READ, "url"), is_search=True)
    here, url = context.get(), request.args.get("url")
    answer = response_format(request.headers.get("Accept"), request.args.get("_format"), None, _TOPIC_VERSIONS, "R5")
    base_url = here.ourselves.base_url
    topic = subscription_topic(base_url, PUBLISHED, answer.version or "R5")
    found = [topic] if url in (None, topic_url(base_url)) else []
    entries = [{"fullUrl": topic_url(base_url), "resource": one, "search": {"mode": "match"}} for one in found]
    said = [("url", url)] if url else []
    links = [{"relation": "self", "url": with_query(f"{base_url}/SubscriptionTopic", said)}]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": links}
    return written(200, bundle | ({"entry": entries} if entries else {}), answer)


@endpoints.get("/SubscriptionTopic/<id:topic_id>")
def topic(topic_id: str) -> Response:
    if topic_id != TASK_UPDATES:
        abort(404)
    answer = response_format(request.headers.get("Accept"), request.args.get("_format"), None, _TOPIC_VERSIONS, "R5")
    found = subscription_topic(context.get().ourselves.base_url, PUBLISHED, answer.version or "R5")
    return written(200, found, answer)


def _find(here: Context, subscription_id: str) -> Row | None:
    partner = subscriber(here)
    with here.database.reading() as connection:
        return kept.find(connection, subscription_id, partner.name)


def _statuses(here: Context, rows: Sequence[Row], address: str, said: list[tuple[str, str]] | None = None) -> Response:
    answer, base_url = wanted(None), here.ourselves.base_url
    with here.database.reading() as connection:
        counted = kept.count_events(connection, [row.id for row in rows])
    entries = []
    for row in rows:
        status_id = str(uuid.uuid4())
        subscribed = _subscribed(here, row, _wanted(here, row), answer.version or "R4")
        resource = status_of(status_id, subscribed, "query-status", str(counted[row.id]))
        entries.append({"fullUrl": f"urn:uuid:{status_id}", "resource": resource, "search": {"mode": "match"}})
    links = [{"relation": "self", "url": with_query(f"{base_url}/{address}", said or [])}]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(rows), "link": links}
    return written(200, bundle | ({"entry": entries} if entries else {}), answer)


def _wanted(here: Context, row: Row) -> Wanted:
    return subscription.read(json.parse_own(row.content), row.fhir_version, here.ourselves.base_url)


def _subscribed(here: Context, row: Row, asked: Wanted, version: Version) -> Subscribed:
    url = f"{here.ourselves.base_url}/Subscription/{row.id}"
    return Subscribed(url, asked.topic, asked.content, version, row.status, row.error)


def _entry(here: Context, connection: Connection, event: kept.Event, subscribed: Subscribed) -> Entry:
    resource = None
    if subscribed.content == "full-resource":
        then = versions.find(connection, "Task", event.resource_id, event.version)
        resource = from_r4(json.parse_own(then.content), subscribed.version)[0] if then else None
    url = here.ourselves.address("Task", event.resource_id, subscribed.version)
    return Entry(url, f"Task/{event.resource_id}", event.version, resource)


def _number(said: Mapping[str, str], name: str, default: int) -> int:
    given = said.get(name, str(default))
    if not given.isdecimal() or len(given) > len(str(_LAST)) or int(given) > _LAST:
        raise Declined(400, Issue("value", f"The parameter {name} is the number of an event, from 1."))
    return int(given)


def _content(said: Mapping[str, str], asked: Wanted) -> Content:
    given = said.get("content", asked.content)
    for content in get_args(Content):
        if given == content:
            found: Content = content
            return found
    raise Declined(400, Issue("value", f"The parameter content is one of {', '.join(get_args(Content))}."))
