"""What the NHS Booking and Referral Standard says: its answers, and what it tells. docs/dialects/nhs-bars.md"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from gateway.errors import Issue
from gateway.fhir.dialects import composing, told
from gateway.fhir.dialects.matching import focused, text
from gateway.fhir.dialects.model import Answer, Answering, Composed, Telling
from gateway.fhir.dialects.pieces import absolute_url, outcome_in, said_again
from gateway.fhir.dialects.told import Told
from gateway.fhir.emptiness import without_empty
from gateway.fhir.json import Resource
from gateway.fhir.message import URIS, Message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.references import Entry, rewrite
from gateway.fhir.task.elements import dicts, is_cancellation, name_of, status_of
from gateway.fhir.task.outcomes import Outcome
from gateway.fhir.task.request_outcome import outcome_of_request

EVENTS = "https://fhir.nhs.uk/CodeSystem/message-events-bars"
REASONS = "https://fhir.nhs.uk/CodeSystem/message-reason-bars"
ERRORS = "https://fhir.nhs.uk/Codesystem/http-error-codes"
MESSAGES = "urn:x-nhs-bars:message"
"""The system of a Bundle.id, by which a sender knows what it has asked for."""
REQUESTS = ("ServiceRequest", "Appointment")
_CODES: Mapping[int, str] = {
    400: "REC_BAD_REQUEST",
    401: "REC_UNAUTHORIZED",
    403: "REC_FORBIDDEN",
    404: "REC_NOT_FOUND",
    409: "REC_CONFLICT",
    422: "REC_UNPROCESSABLE_ENTITY",
    429: "REC_TOO_MANY_REQUESTS",
    503: "REC_UNAVAILABLE",
}
_OPEN = (Outcome.PENDING, Outcome.ALREADY_PENDING)
_NOT_DONE = (Outcome.HELD, Outcome.REJECTED)
_DECIDED: Mapping[str, str] = {
    "accepted": "active",
    "in-progress": "active",
    "on-hold": "on-hold",
    "completed": "completed",
    "failed": "revoked",
    "rejected": "revoked",
    "cancelled": "revoked",
}
"""The status of a ServiceRequest in which its sender is told what its order is. An Appointment keeps its own."""
_ENDED = ("failed", "rejected", "cancelled")


# --- answering --------------------------------------------------------------------------------------------------------


def is_done(composed: Composed) -> bool:
    """Whether what was asked for has happened, or waits for the receiver (`is_open`)."""
    return composed.code == "ok" and outcome_in(composed.issues) not in _NOT_DONE


def answer(message: Message, composed: Composed, plainly: Answering) -> Answer:
    """A message about the referral or the booking; what was not done is an OperationOutcome with REC_ codes."""
    if not is_done(composed):
        refused = (
            composed if composed.code != "ok" else replace(composed, code="fatal-error", issues=_as_errors(composed))
        )
        given = plainly(message, refused)
        return Answer(given.status, _with_code(operation_outcome(refused.issues), given.status))
    given = plainly(message, composed)
    sent = composing.as_sent(message)
    found = [entry for entry in focused(sent) if entry.resource.get("resourceType") in REQUESTS]
    focus = [(absolute_url(sent, entry), _shown(without_empty(entry.resource), is_open(composed))) for entry in found]
    return Answer(given.status, said_again(given.resource, focus) if given.resource else None)


def is_open(composed: Composed) -> bool:
    return outcome_in(composed.issues) in _OPEN


def _as_errors(composed: Composed) -> list[Issue]:
    """A request that is only held is not done: its sender would take `ok` for that."""
    return [replace(issue, severity="error", code="not-found") if issue.outcome else issue for issue in composed.issues]


def _with_code(outcome: Resource, status: int) -> Resource:
    code = _CODES.get(status, "REC_SERVER_ERROR")
    coding = {"system": ERRORS, "code": code, "display": f"{status} - {code}"}
    issues = [
        issue
        | {"details": issue["details"] | {"coding": [coding, *issue["details"].get("coding", [])]}}
        | {"diagnostics": issue["details"]["text"]}
        for issue in outcome["issue"]
    ]
    return outcome | {"issue": issues}


def _shown(resource: Resource, is_pending: bool) -> Resource:
    """What was sent; a cancellation that waits for its answer has not made it anything else yet."""
    if not is_pending:
        return resource
    return resource | {"status": "active" if resource.get("resourceType") == "ServiceRequest" else "booked"}


# --- telling ----------------------------------------------------------------------------------------------------------


def tell(bundle: Resource, _plainly: Telling) -> Resource | None:
    """The receiver is told of requests, changes and cancellations, the sender of how its request goes on.

    What is told of has the id that it was sent with.
    """
    change = told.take_apart(bundle)
    asked = next((entry for entry in change.of_type("Task") if is_cancellation(entry.resource)), None)
    if asked is not None and change.order is None:
        change = replace(change, order=_order_of(change, asked))
    about = _about(change)
    if change.order is None or about is None:
        return None
    made = _to_receiver(change, asked, about) if change.to_fulfiller else _to_sender(change, asked, about)
    return _as_it_came(made, about) if made else None


def _order_of(change: Told, asked: Entry) -> Entry | None:
    found = change.resolve(asked.resource.get("focus"), asked)
    return found if found is not None and found.resource.get("resourceType") == "Task" else None


def _about(change: Told) -> Entry | None:
    return next(iter(change.requests(*REQUESTS)), None)


def _to_receiver(change: Told, asked: Entry | None, about: Entry) -> Resource | None:
    is_referral = about.resource["resourceType"] == "ServiceRequest"
    event = {"eventCoding": _coding(EVENTS, "servicerequest-request" if is_referral else "booking-request")}
    status = status_of(change.order.resource) if change.order else ""
    is_cancelled = status == "cancelled" or (
        asked is not None and status_of(asked.resource) in ("requested", "received")
    )
    if asked is not None and not is_cancelled:
        return None
    resource = about.resource
    if is_cancelled:
        resource = resource | {"status": "revoked" if is_referral else "cancelled"}
    reason = "new" if change.event == "new-order" and not is_cancelled else "update"
    said = {"coding": [_coding(REASONS, reason)]}
    return told.retold(change, event, [(told.url_of(about), resource)], reason=said)


def _to_sender(change: Told, asked: Entry | None, about: Entry) -> Resource | None:
    """The response that comes later: to the request, or to the cancellation that has now been decided."""
    is_referral = about.resource["resourceType"] == "ServiceRequest"
    event = {"eventCoding": _coding(EVENTS, "servicerequest-response" if is_referral else "booking-response")}
    order = change.order.resource if change.order else {}
    resource, code, others = about.resource, "ok", []
    quoted = _asked_by(order)
    if asked is not None:
        if status_of(asked.resource) not in ("accepted", "completed", "rejected"):
            return None
        outcome = outcome_of_request(asked.resource)
        quoted = next((name_of(one)[1] for one in dicts(asked.resource.get("identifier"))), quoted)
        if status_of(asked.resource) == "rejected":
            issue = Issue("business-rule", outcome.answer, outcome=outcome.coding)
            code, others = "fatal-error", [(f"urn:uuid:{change.bundle['id']}", operation_outcome([issue]))]
    status = status_of(order)
    if is_referral:
        resource = resource | {"status": _DECIDED.get(status, text(resource.get("status")) or "active")}
    elif status in _ENDED:
        resource = resource | {"status": "cancelled"}
    response: Resource = {"identifier": quoted or change.bundle["id"], "code": code}
    if others:
        response["details"] = {"reference": others[0][0]}
    said = {"coding": [_coding(REASONS, "update")]}
    focus = [(told.url_of(about), resource)]
    return told.retold(change, event, focus, others=others, reason=said, response=response)


def _asked_by(order: Resource) -> str | None:
    """The Bundle.id of the message that an order came in."""
    for given in dicts(order.get("input")):
        kind = given.get("type")
        codings = dicts(kind.get("coding")) if isinstance(kind, dict) else []
        if any(coding.get("system") == MESSAGES for coding in codings):
            return text(given.get("valueString")) or None
    return None


def _as_it_came(bundle: Resource, about: Entry) -> Resource:
    """The message with addresses made up for it, the referral or the booking under the uuid that it was sent with."""
    named = [name_of(one) for one in dicts(about.resource.get("identifier"))]
    own = next((value for system, value in named if system == URIS and value.startswith("urn:uuid:")), None)
    items = dicts(bundle["entry"])
    urls = {text(item.get("fullUrl")): _made_up(text(item.get("fullUrl"))) for item in items}
    if own:
        urls[told.url_of(about)] = own
    rewritten = partial(rewrite, new={**urls, **{"/".join(url.split("/")[-2:]): new for url, new in urls.items()}}.get)
    entries = [
        {"fullUrl": urls[text(item.get("fullUrl"))], "resource": _identified(rewritten(item["resource"]), own, about)}
        for item in items
    ]
    return bundle | {"entry": entries}


def _made_up(url: str) -> str:
    return url if url.startswith("urn:") else f"urn:uuid:{url.rsplit('/', 1)[-1]}"


def _identified(resource: Resource, own: str | None, about: Entry) -> Resource:
    is_it = resource.get("resourceType") == about.resource["resourceType"] and resource.get("id") == about.resource.get(
        "id"
    )
    return resource | {"id": own.removeprefix("urn:uuid:")} if own and is_it else resource


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code}
