"""What came of a write, as HTTP says it: the reply to its message, in the words of a RESTful API.

https://hl7.org/fhir/R4/http.html#create, https://hl7.org/fhir/R4/http.html#update,
https://hl7.org/fhir/R4/http.html#2.21.0.5.2
"""

from __future__ import annotations

from dataclasses import replace

from flask import Response, g, request

from gateway.errors import Issue
from gateway.fhir import formats
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.wrapping import own_words
from gateway.receiving import Received
from gateway.store import versions
from gateway.store.inbox import Progress
from gateway.web.answers import outcome_response
from gateway.web.conditions import etag, last_modified, read_if_match, read_return
from gateway.web.context import Context
from gateway.web.custody import failed, overdue
from gateway.web.negotiation import Answer

# The first issue code that a refusal has decides; any other is what the resource asks for.
_STATUS = {"conflict": 409, "duplicate": 409, "forbidden": 403, "multiple-matches": 409, "transient": 503}
_REFUSED = 422
_VERSION = ".meta.versionId"
"""Where a version that is not the current one is named."""


def written_response(
    here: Context, message: Message, received: Received, progress: Progress, answer: Answer
) -> Response:
    """The resource as it is kept now (201 when the message made it), or why nothing was changed."""
    if progress.content is None:
        return _unfinished(here, progress)
    if received.kind == "refused":
        return outcome_response(409, _used_before())
    reply, version = formats.parse_told(progress.content, progress.format or "json", None)
    entries = [(entry.get("fullUrl"), entry["resource"]) for entry in reply["entry"]]
    header = entries[0][1]
    resource_type = message.bundle["entry"][1]["resource"]["resourceType"]
    outcome = next((r for _, r in entries if r["resourceType"] == "OperationOutcome"), operation_outcome([]))
    outcome = own_words({name: value for name, value in outcome.items() if name != "id"}, resource_type)
    if header["response"]["code"] != "ok":
        if _is_stale(outcome) and not read_if_match(request.headers.get("If-Match")):
            return outcome_response(409, _overtaken())
        return _written(_status_of(outcome), outcome, version, answer)
    if "focus" not in header:
        return _written(200, outcome, version, answer)
    address = header["focus"][0]["reference"]
    resource = next(resource for url, resource in entries if url == address)
    return _kept(here, received, address, resource, outcome, version, answer)


def _used_before() -> Issue:
    text = (
        f"The X-Request-Id {g.request_id} was used before, for another request. That one stays as it was; send this "
        "one with an X-Request-Id of its own."
    )
    return Issue("duplicate", text)


def _overtaken() -> Issue:
    text = (
        "Another change came between: this patch was made of the version before it, and has had no effect. Send it "
        "again, with an X-Request-Id of its own."
    )
    return Issue("conflict", text)


def _kept(
    here: Context,
    received: Received,
    address: str,
    resource: Resource,
    outcome: Resource,
    version: Version,
    answer: Answer,
) -> Response:
    number = resource["meta"]["versionId"]
    status = 201 if number == "1" and _has_made(here, received, address) else 200
    wanted = read_return(request.headers.get("Prefer"))
    if wanted == "minimal":
        response = Response(status=status)
        del response.headers["Content-Type"]
    else:
        response = _written(status, outcome if wanted == "OperationOutcome" else resource, version, answer)
    response.headers["ETag"] = etag(resource)
    response.headers["Last-Modified"] = last_modified(resource)
    response.headers["Location"] = f"{address}/_history/{number}"
    return response


def _has_made(here: Context, received: Received, address: str) -> bool:
    """Whether the message made the first version of what is at an address."""
    kind, resource_id = address.split("/")[-2:]
    with here.database.reading() as connection:
        first = versions.find(connection, kind, resource_id, 1)
    return first is not None and first.message_id == received.message_id


def _status_of(outcome: Resource) -> int:
    if _is_stale(outcome):
        return 412
    return next((_STATUS[issue["code"]] for issue in _errors(outcome) if issue["code"] in _STATUS), _REFUSED)


def _is_stale(outcome: Resource) -> bool:
    """Whether what was to be changed is not the current version any more."""
    conflicts = [issue for issue in _errors(outcome) if issue["code"] == "conflict"]
    return any(place.endswith(_VERSION) for issue in conflicts for place in issue.get("expression", ()))


def _errors(outcome: Resource) -> list[Resource]:
    return [issue for issue in outcome["issue"] if issue["severity"] in ("fatal", "error")]


def _unfinished(here: Context, progress: Progress) -> Response:
    again = f" Send it with the header X-Request-Id: {g.request_id}, so that it is known again."
    if progress.state == "new":
        issue = overdue(here, progress)
        return outcome_response(504, replace(issue, text=issue.text + again))
    issue = failed(progress)
    response = outcome_response(500 if progress.state == "dead" else 503, replace(issue, text=issue.text + again))
    if progress.state != "dead":
        response.headers["Retry-After"] = "5"
    return response


def _written(status: int, resource: Resource, version: Version, answer: Answer) -> Response:
    content = formats.serialize(resource, answer.format, version)
    return Response(content, status, content_type=answer.content_type)
