"""POST /fhir: a Bundle of type batch whose entries are messages: https://hl7.org/fhir/R4/http.html#transaction"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from flask import Blueprint, Response, request

from gateway.errors import Issue, NotAMessage, Refused
from gateway.fhir import formats, json
from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.json import Resource
from gateway.store.inbox import Progress
from gateway.web import context
from gateway.web.answers import outcome_response, wanted_answer
from gateway.web.authentication import bound_rate, largest_body
from gateway.web.body import read_body
from gateway.web.conditions import Declined
from gateway.web.context import Context
from gateway.web.custody import wait_for_all
from gateway.web.messaging import Asked, Exchange, acknowledged, answered, caller, take_message
from gateway.web.negotiation import Answer, request_format
from gateway.web.refusals import status_of

MOST_ENTRIES = 1000
_OPERATION = "$process-message"
_FROM_HEADERS = ("x-request-id",)
"""What tells one request from another says nothing of the messages in it."""

endpoints = Blueprint("batch", __name__, url_prefix="/fhir")


@endpoints.post("")
def batch() -> Response:
    """Takes each message for itself, in their order, and answers when all are answered, or their time is over."""
    here = context.get()
    media_type = request.headers.get("Content-Type") or ""
    name = request_format(request.headers.get("Content-Type"))
    answer = wanted_answer(VERSIONS)
    body = read_body(
        request.stream,
        request.content_length,
        request.headers.get("Content-Encoding"),
        largest_body(here),
    )
    bundle, version = formats.parse_told(body, name, formats.version_of(media_type))
    entries = _entries(bundle)
    said = request.headers.items()
    headers = {name.lower(): value for name, value in said if name.lower() not in _FROM_HEADERS}
    taken: list[Exchange | Refused] = []
    throttled: Declined | None = None
    for number, entry in enumerate(entries):
        if number and throttled is None:  # the first is counted with the request
            throttled = _find_throttled(here)
        taken.append(throttled or _take(here, number, entry, name, version, media_type, headers))
    exchanges = [one for one in taken if isinstance(one, Exchange)]
    progress = iter(wait_for_all(here, [(one.received, one.message, one.is_waited_for) for one in exchanges]))
    made = [_entry(here, one, next(progress) if isinstance(one, Exchange) else None, answer) for one in taken]
    told = {"resourceType": "Bundle", "type": "batch-response", "entry": made}
    content = formats.serialize(told, answer.format, answer.version or version)
    return Response(content, 200, content_type=answer.content_type)


def _entries(bundle: Resource) -> list[Any]:
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "batch":
        text = (
            f"This address takes a Bundle of type batch, each entry with a message. A message alone goes to "
            f"POST /fhir/{_OPERATION}."
        )
        raise NotAMessage(Issue("invalid", text, "Bundle.type"))
    entries = bundle.get("entry")
    if not isinstance(entries, list) or not entries:
        raise NotAMessage(Issue("required", "The batch has no entry. Put a message into each.", "Bundle.entry"))
    if len(entries) > MOST_ENTRIES:
        text = f"The batch has {len(entries)} entries; the gateway takes {MOST_ENTRIES}. Send it as several."
        raise NotAMessage(Issue("too-long", text, "Bundle.entry"))
    return entries


def _find_throttled(here: Context) -> Declined | None:
    """Why the caller may send no more for now; what follows is refused with it, so that nothing is overtaken."""
    try:
        bound_rate(here, caller())
    except Declined as declined:
        return declined
    return None


def _take(
    here: Context, number: int, entry: Any, name: str, version: Version, media_type: str, headers: dict[str, str]
) -> Exchange | Refused:
    """The message of an entry, taken into custody; or why not, which is no harm to the others."""
    try:
        resource, parameters = _read(entry, f"Bundle.entry[{number}]")
        body = formats.serialize(resource, name, version)
        return take_message(here, body, media_type, Asked.read(parameters), headers)
    except Refused as refused:
        return refused


def _read(entry: Any, place: str) -> tuple[Resource, dict[str, str]]:
    """The resource of an entry, and the parameters of its request. Raises NotAMessage."""
    match entry:
        case {"request": {"method": "POST", "url": str(url)}, "resource": dict(resource)}:
            path, _, query = url.partition("?")
        case _:
            text = f'An entry of the batch has a message as its resource, and the request "POST {_OPERATION}".'
            raise NotAMessage(Issue("structure", text, place))
    if path.rpartition("/")[2] != _OPERATION:
        text = f"A batch takes messages only: its requests are POST {_OPERATION}, not {path[:100]}."
        raise NotAMessage(Issue("not-supported", text, f"{place}.request.url"))
    return resource, dict(parse_qsl(query))


def _entry(here: Context, taken: Exchange | Refused, progress: Progress | None, answer: Answer) -> Resource:
    """An entry of the answer: the status, and the response message, or an OperationOutcome."""
    if isinstance(taken, Refused):
        response = outcome_response(status_of(taken), *taken.issues)
    elif progress is None:
        response = acknowledged(here, taken)
    else:
        response = answered(here, taken, progress)
    status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
    content = response.get_data()
    if not content:
        return {"response": {"status": status}}
    version = taken.message.version if isinstance(taken, Exchange) else None
    resource = formats.parse_told(content, answer.format, version)[0]
    shown = json.written(content) if answer.format == "json" else resource
    if resource["resourceType"] == "OperationOutcome":
        return {"response": {"status": status, "outcome": shown}}
    return {"resource": shown, "response": {"status": status}}
