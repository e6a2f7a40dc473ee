"""Creates, updates and patches: each is a message of its caller, and goes the way of all messages.

https://hl7.org/fhir/R4/http.html#create, https://hl7.org/fhir/R4/http.html#update,
https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote_plus

from flask import Blueprint, Response, g, request
from werkzeug.http import parse_options_header

from gateway.authentication.claims import hold_to
from gateway.errors import Issue
from gateway.fhir import json
from gateway.fhir.definitions import VERSIONS
from gateway.fhir.identity import OWN_SENDER, identifier_key, key, own_address
from gateway.fhir.interactions import is_searched
from gateway.fhir.issues import printable
from gateway.fhir.message import Event, Message
from gateway.fhir.patching import MEDIA_TYPE, patched
from gateway.fhir.received import read_received
from gateway.fhir.references import references_in
from gateway.fhir.wrapping import NEW_ORDER, ORDER_UPDATE, RESOURCE_UPDATE, Caller, Wrapping, wrapping_for
from gateway.receiving import Submission
from gateway.store import inbox, resources, versions
from gateway.store.versions import Version
from gateway.web import context
from gateway.web.answers import outcome_response, wanted_answer
from gateway.web.authentication import largest_body, may_see
from gateway.web.body import read_body
from gateway.web.conditions import PARTY, Declined, check_conditions, read_caller, read_if_match
from gateway.web.context import Context
from gateway.web.custody import take, wait
from gateway.web.negotiation import UnsupportedMediaType, alike, request_format
from gateway.web.resources import kept_response
from gateway.web.written import written_response

endpoints = Blueprint("writing", __name__, url_prefix="/fhir")


@endpoints.post("/<type:resource_type>")
def create(resource_type: str) -> Response:
    """Keeps a new resource; with `If-None-Exist`, only where none has the identifier."""
    here, caller = _begin(resource_type)
    condition = request.headers.get("If-None-Exist")
    if condition is not None and (known := _find_known(here, resource_type, condition, caller)):
        response = kept_response(known)
        response.headers["Location"] = f"{here.ourselves.base_url}/{resource_type}/{known.id}/_history/{known.number}"
        return response
    return _send(here, caller, NEW_ORDER if resource_type == "Task" else RESOURCE_UPDATE, resource_type)


@endpoints.put("/<type:resource_type>/<id:resource_id>")
def update(resource_type: str, resource_id: str) -> Response:
    """Replaces what is kept; with `If-Match`, only while it is that version."""
    here, caller = _begin(resource_type)
    version_id = read_if_match(request.headers.get("If-Match"))
    current = _get_current(here, resource_type, resource_id)
    event = ORDER_UPDATE if resource_type == "Task" else RESOURCE_UPDATE
    return _send(here, caller, event, resource_type, current, version_id)


@endpoints.patch("/<type:resource_type>/<id:resource_id>")
def patch(resource_type: str, resource_id: str) -> Response:
    """Replaces the current version by what a JSON Patch makes of it, while it is the current one."""
    here, caller = _begin(resource_type, is_patch=True)
    version_id = read_if_match(request.headers.get("If-Match"))
    current = _get_current(here, resource_type, resource_id)
    event = ORDER_UPDATE if resource_type == "Task" else RESOURCE_UPDATE
    return _send_patch(here, caller, event, current, version_id)


@endpoints.delete("/<type:resource_type>/<id:resource_id>")
def delete(resource_type: str, resource_id: str) -> Response:
    """Nothing is deleted: what is wrong is marked so."""
    text = (
        f"Nothing is deleted: both parties rely on its history. If {resource_type}/{resource_id} is there by mistake, "
        "update it to the status entered-in-error; to cancel an order, update its Task to the status cancelled."
    )
    response = outcome_response(405, Issue("not-supported", text))
    response.headers["Allow"] = "GET, HEAD, OPTIONS, PATCH, PUT"
    return response


def written_types(here: Context) -> list[str]:
    """The types of resources that may be written: Tasks, and what the event for the others takes."""
    others = (kind for handler in here.registry if handler.event == RESOURCE_UPDATE for kind in handler.focus)
    return sorted({"Task", *others})


def _begin(resource_type: str, *, is_patch: bool = False) -> tuple[Context, Caller]:
    """What must be right before the body is read. Raises Declined, UnsupportedMediaType and NotAcceptable."""
    here = context.get()
    if resource_type not in written_types(here):
        text = f"A {resource_type} is not written here. Those that are: {', '.join(written_types(here))}."
        is_read = "resource_id" in (request.view_args or {}) or is_searched(resource_type)
        raise Declined(405, Issue("not-supported", text), allowed=("GET", "HEAD") if is_read else ())
    check_conditions(request.headers)
    _check_request_id(request.headers.get("X-Request-Id"))
    if is_patch:
        _check_patch_type(request.headers.get("Content-Type"))
    else:
        request_format(request.headers.get("Content-Type"))
    wanted_answer(VERSIONS)
    return here, read_caller(request.headers.get(PARTY), g.identity, here.terms.partners)


def _check_request_id(given: str | None) -> None:
    """Raises Declined (400) for one that the request would not be known by when it is sent again."""
    if given and given != g.request_id:
        text = "The X-Request-Id of a write has 1 to 128 visible characters of ASCII, without spaces. Send such a one."
        raise Declined(400, Issue("value", text))


def _check_patch_type(content_type: str | None) -> None:
    media_type, _ = parse_options_header(content_type)
    if media_type.lower() != MEDIA_TYPE:
        text = f"The gateway takes patches as {MEDIA_TYPE} (RFC 6902) only. Send one, or PUT the whole resource."
        raise UnsupportedMediaType(Issue("not-supported", text))


def _read_body(here: Context) -> bytes:
    coding, length = request.headers.get("Content-Encoding"), request.content_length
    return read_body(request.stream, length, coding, largest_body(here))


def _get_current(here: Context, resource_type: str, resource_id: str) -> Version:
    """What is to be changed. Raises Declined (405) where it is not kept: ids are the gateway's to give.

    It is so too for who may not see it.
    """
    with here.database.reading() as connection:
        found = versions.find(connection, resource_type, resource_id)
        may = may_see(here, connection, resource_type, resource_id)
    if found is None or not may:
        text = (
            f"The gateway keeps no {resource_type}/{resource_id}, and gives new resources ids of its own: create one "
            f"by POST /fhir/{resource_type}, or look for yours by its identifier."
        )
        raise Declined(405, Issue("not-found", text), allowed=("GET", "HEAD"))
    return found


def _find_known(here: Context, resource_type: str, condition: str, caller: Caller) -> Version | None:
    """What is kept under the identifier that a conditional create names. Raises Declined (400)."""
    name, is_, value = condition.partition("=")
    name, value = name.lstrip("?"), unquote_plus(value)
    if name != "identifier" or not is_ or "&" in condition:
        text = "The header If-None-Exist takes identifier=system|value, and nothing else."
        raise Declined(400, Issue("not-supported", text))
    system, bar, code = value.partition("|")
    identifier = {"system": system, "value": code} if bar else {"value": value}
    named = identifier_key(resource_type, identifier, caller.sender)
    if named is None:
        return None
    with here.database.reading() as connection:
        row = resources.find_by_keys(connection, [named]).get(named)
        if row and not may_see(here, connection, resource_type, row.id):
            return None
        return versions.find(connection, resource_type, row.id) if row else None


def _send(
    here: Context,
    caller: Caller,
    event: Event,
    resource_type: str,
    current: Version | None = None,
    version_id: str | None = None,
) -> Response:
    """Sends the resource in the body as a message, and answers with what comes of it."""
    wrapping = wrapping_for(
        caller,
        g.request_id,
        event,
        base_url=here.ourselves.base_url,
        endpoint=here.ourselves.endpoint,
        address=f"{current.type}/{current.id}" if current else None,
        version_id=version_id,
    )
    body, media_type = _read_body(here), request.headers["Content-Type"]
    return _exchange(here, body, media_type, wrapping, resource_type, current)


def _send_patch(here: Context, caller: Caller, event: Event, current: Version, version_id: str | None) -> Response:
    """Sends what the patch in the body makes of the current version, or what it made of it when it came before."""
    body = _read_body(here)
    wrapping = wrapping_for(
        caller,
        g.request_id,
        event,
        base_url=here.ourselves.base_url,
        endpoint=here.ourselves.endpoint,
        address=f"{current.type}/{current.id}",
        version_id=version_id or str(current.number),
    )
    with here.database.reading() as connection:
        found = inbox.find_wrapping(connection, key("bundle", caller.sender, wrapping.bundle_id), body)
    before = Wrapping.read(found) if found else None
    if before and before.full_url == wrapping.full_url and version_id in (None, before.version_id):
        return _exchange(here, body, MEDIA_TYPE, before, current.type, current)
    made = patched(json.parse_own(current.content), body, here.settings.max_message_bytes)
    return _exchange(here, body, MEDIA_TYPE, replace(wrapping, resource=made), current.type, current)


def _exchange(
    here: Context, body: bytes, media_type: str, wrapping: Wrapping, resource_type: str, current: Version | None
) -> Response:
    text = wrapping.write()
    message, _ = hold_to(read_received(body, media_type, datetime.now(UTC), text), g.identity, here.terms.partners)
    _check_resource(message, resource_type, current.id if current else None)
    _check_references(here, message, current)
    answer = wanted_answer(alike(message.version))
    received = take(here, message, Submission(body, media_type, answer.format, None, False, g.request_id, text))
    return written_response(here, message, received, wait(here, received, message), answer)


def _check_resource(message: Message, resource_type: str, resource_id: str | None) -> None:
    """Raises Declined (400) when the resource is not the one that the address says."""
    resource = message.bundle["entry"][1]["resource"]
    if resource["resourceType"] != resource_type:
        kind = printable(str(resource["resourceType"])[:64])
        text = f"The resource is a {kind}, and the address that of a {resource_type}. Send it to /fhir/{kind}."
        raise Declined(400, Issue("invalid", text, "resourceType"))
    if resource_id is not None and resource.get("id") != resource_id:
        text = f"The id in the resource is not the one in the address. Send it with the id {resource_id}."
        raise Declined(400, Issue("invalid", text, f"{resource_type}.id"))


def _check_references(here: Context, message: Message, current: Version | None) -> None:
    """Raises Declined (422) for references to what is not kept here, but for those that the current version has."""
    resource, base_url = message.bundle["entry"][1]["resource"], here.ourselves.base_url
    found = [(path, own_address(str(each.get("reference")), base_url)) for path, each in references_in(resource)]
    named = [(path, address) for path, address in found if address]
    before = current.content.decode() if current else ""
    with here.database.reading() as connection:
        rows = resources.find_by_ids(connection, sorted({resource_id for _, (_, resource_id) in named}))
    known = {(row.type, row.id) for row in rows if row.sender != OWN_SENDER}
    issues = [
        Issue("not-found", f"The gateway keeps no {kind}/{one}. Create it first.", f"{resource['resourceType']}.{path}")
        for path, (kind, one) in named
        if (kind, one) not in known and f"{kind}/{one}" not in before
    ]
    if issues:
        raise Declined(422, *issues)
