"""The subscriptions that a partner creates itself: created, read, replaced, ended and searched, each by its owner only.

https://hl7.org/fhir/R5/subscription.html, http://hl7.org/fhir/uv/subscriptions-backport
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from gateway.errors import Issue, Refused
from gateway.fhir import formats, json, subscription
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.message import instant
from gateway.fhir.subscription import SPOKEN
from gateway.partners import Partner
from gateway.store import subscriptions as kept
from gateway.store.subscriptions import Row
from gateway.subscriptions import OutdatedError, Subscriptions
from gateway.web import context
from gateway.web.body import read_body
from gateway.web.conditions import PARTY, Declined, check_conditions, etag, last_modified, read_caller, read_if_match
from gateway.web.context import Context
from gateway.web.messaging import caller
from gateway.web.negotiation import Answer, UnsupportedMediaType, request_format, response_format
from gateway.web.resources import nothing, refuse_unknown, with_query

endpoints = Blueprint("subscriptions", __name__, url_prefix="/fhir")

MOST_BYTES = 64 * 1024
READ = ("_format", "_pretty")
_SEARCH = (*READ, "_id", "status", "url")
_OF_R5 = re.compile(rb'"channelType"|<channelType[\s>]')
"""What only R5 has: its Subscriptions are told by that, where no fhirVersion tells them."""


@endpoints.post("/Subscription")
def create() -> Response:
    """Keeps a subscription of the caller's, and sends its handshake."""
    here = context.get()
    partner = subscriber(here)
    check_conditions(request.headers)
    resource, version, answer = _read(here, partner)
    row = _subscriptions(here).create(partner, resource, version, datetime.now(UTC))
    response = _response(here, row, answer, 201)
    response.headers["Location"] = f"{here.ourselves.base_url}/Subscription/{row.id}"
    return response


@endpoints.get("/Subscription/<id:subscription_id>")
def read(subscription_id: str) -> Response:
    here = context.get()
    refuse_unknown(READ)
    partner, answer = subscriber(here), wanted(None)
    row = _subscriptions(here).find(partner, subscription_id)
    return _response(here, row, answer) if row else nothing(f"Subscription/{subscription_id}")


@endpoints.put("/Subscription/<id:subscription_id>")
def update(subscription_id: str) -> Response:
    """Begins anew with what is sent; or ends, by the status off."""
    here = context.get()
    partner = subscriber(here)
    check_conditions(request.headers)
    resource, version, answer = _read(here, partner)
    if resource.get("id") != subscription_id:
        text = f"The id in the resource is not the one in the address. Send it with the id {subscription_id}."
        raise Declined(400, Issue("invalid", text, "Subscription.id"))

    def change(row: Row) -> Row:
        return _subscriptions(here).replace(partner, row, resource, version, datetime.now(UTC))

    row = _change(here, partner, subscription_id, change)
    return _response(here, row, answer) if row else nothing(f"Subscription/{subscription_id}")


@endpoints.delete("/Subscription/<id:subscription_id>")
def delete(subscription_id: str) -> Response:
    """Ends it: its status is off."""
    here = context.get()
    partner, end = subscriber(here), _subscriptions(here).turn_off
    row = _change(here, partner, subscription_id, lambda row: end(row, datetime.now(UTC)))
    return Response(status=204) if row else nothing(f"Subscription/{subscription_id}")


@endpoints.get("/Subscription")
def search() -> Response:
    """The caller's own: by `status`, `url` (of the endpoint) and `_id`."""
    here = context.get()
    refuse_unknown(_SEARCH, is_search=True)
    partner, answer = subscriber(here), wanted(None)
    with here.database.reading() as connection:
        rows = kept.find_all(connection, partner.name)
    statuses, ids, urls = (_listed(name) for name in ("status", "_id", "url"))
    found = [
        row
        for row in rows
        if (not statuses or row.status in {one.rpartition("|")[2] for one in statuses})
        and (not ids or row.id in ids)
        and (not urls or _endpoint(here, row) in urls)
    ]
    base_url = here.ourselves.base_url
    said = [(name, value) for name, value in request.args.items(multi=True) if name in _SEARCH and name not in READ]
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": with_query(f"{base_url}/Subscription", said)}],
    }
    entries = [
        {
            "fullUrl": f"{base_url}/Subscription/{row.id}",
            "resource": _resource(here, row, answer.version or "R4"),
            "search": {"mode": "match"},
        }
        for row in found
    ]
    return written(200, bundle | ({"entry": entries} if entries else {}), answer)


# --- what the operations share ---------------------------------------------------------------------------------------


def subscriber(here: Context) -> Partner:
    """The partner that calls. Raises Declined: as `read_caller`, and 403 for who is not registered, or is blocked."""
    identity, partners = caller(), here.terms.partners
    said = read_caller(request.headers.get(PARTY), identity, partners)
    partner = identity.partner or partners.find([said.endpoint, "|".join(said.identifier or ())])
    if partner is None:
        text = "Only registered partners have subscriptions: speak to the gateway's operator, to be one."
        raise Declined(403, Issue("forbidden", text))
    if partner.state == "blocked":
        raise Declined(403, Issue("forbidden", f"{partner.name} is blocked here, by the gateway's operator."))
    return partner


def wanted(version: Version | None) -> Answer:
    """How the caller wants its answer: in the version that it asks for, for want of one in this, or in R4."""
    sent = request_format(request.headers["Content-Type"]) if "Content-Type" in request.headers else None
    return response_format(request.headers.get("Accept"), request.args.get("_format"), sent, SPOKEN, version)


def written(status: int, resource: Resource, answer: Answer) -> Response:
    """What is in the answer's version already."""
    content = formats.serialize(resource, answer.format, answer.version or "R4")
    return Response(content, status, content_type=answer.content_type)


# --- inside ----------------------------------------------------------------------------------------------------------


def _subscriptions(here: Context) -> Subscriptions:
    return Subscriptions(here.database, here.ourselves.base_url, loopback=here.settings.is_sandbox)


def _read(here: Context, partner: Partner) -> tuple[Resource, Version, Answer]:
    """The sound Subscription in the body, its version, and how to answer. Raises Refused with all that is wrong."""
    media_type = request.headers.get("Content-Type", "")
    name, declared = request_format(media_type or None), formats.version_of(media_type)
    most = min(MOST_BYTES, here.settings.max_message_bytes)
    body = read_body(request.stream, request.content_length, request.headers.get("Content-Encoding"), most)
    resource, version = formats.parse_told(body, name, declared or ("R5" if _OF_R5.search(body) else None))
    if version not in SPOKEN:
        raise UnsupportedMediaType(Issue("not-supported", "Subscriptions are of fhirVersion 4.0, 4.3 or 5.0."))
    if resource.get("resourceType") != "Subscription":
        raise Declined(400, Issue("invalid", "The resource is no Subscription. Send one.", "resourceType"))
    answer = wanted(version)
    levels = here.checking.levels_for(None, partner)
    issues = here.checking.check(resource, version, levels, None, None)
    if any(issue.severity in ("fatal", "error") for issue in issues):
        raise Refused(*issues)
    return resource, version, answer


def _change(here: Context, partner: Partner, subscription_id: str, change: Callable[[Row], Row]) -> Row | None:
    """Raises Declined (412, 409) where the caller, or this, is about a version that is not the current one."""
    row = _subscriptions(here).find(partner, subscription_id)
    if row is None:
        return None
    version_id = read_if_match(request.headers.get("If-Match"))
    if version_id not in (None, str(row.version)):
        text = f"This is about version {version_id}, and version {row.version} is the current one. Read that first."
        raise Declined(412, Issue("conflict", text))
    try:
        return change(row)
    except OutdatedError:
        text = "The subscription has changed meanwhile. Send it again."
        raise Declined(412 if version_id else 409, Issue("conflict", text)) from None


def _response(here: Context, row: Row, answer: Answer, status: int = 200) -> Response:
    resource = _resource(here, row, answer.version or "R4")
    response = written(status, resource, answer)
    response.headers.update({"ETag": etag(resource), "Last-Modified": last_modified(resource)})
    return response


def _resource(here: Context, row: Row, version: Version) -> Resource:
    """A Subscription as it stands."""
    resource = json.parse_own(row.content)
    resource["meta"] |= {"versionId": str(row.version), "lastUpdated": instant(row.updated_at)}
    resource["status"] = row.status
    asked = subscription.read(resource, row.fhir_version, here.ourselves.base_url)
    made = subscription.write(resource, asked, row.fhir_version, version)
    made = {name: value for name, value in made.items() if name != "error"}
    return made | ({"error": row.error} if row.error and version != "R5" else {})


def _endpoint(here: Context, row: Row) -> str | None:
    return subscription.read(json.parse_own(row.content), row.fhir_version, here.ourselves.base_url).endpoint


def _listed(name: str) -> Sequence[str]:
    return [one for value in request.args.getlist(name) for one in value.split(",") if one]
