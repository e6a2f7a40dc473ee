"""What nphies is told: a payer of the Claim and its cancellation, a provider of what the payer has answered."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.fhir.dialects import composing, told
from gateway.fhir.dialects.matching import names, text
from gateway.fhir.dialects.model import Telling
from gateway.fhir.dialects.nphies_terms import MESSAGE_IDS, REASONS, TASK_CODES, event, reason_in, task_output
from gateway.fhir.dialects.pieces import message_in
from gateway.fhir.json import Resource
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, status_of

_REQUESTS: Mapping[str, str] = {
    "claim": "claim-request",
    "preauthorization": "priorauth-request",
    "predetermination": "priorauth-request",
}
"""The event by Claim.use."""
_ELIGIBILITY = "CoverageEligibilityRequest"
_RESPONSES = ("ClaimResponse", "CoverageEligibilityResponse")
_OUTCOMES: Mapping[str, str] = {"completed": "complete", "rejected": "error", "failed": "error"}
_NO_OTHER_REASON = "WI"
"""Wrong information: the reason of a cancellation whose own is none of nphies's."""


def tell(bundle: Resource, _plainly: Telling) -> Resource | None:
    """None for what nphies has no message for: an order about anything but a Claim, or that has only been received."""
    change = told.take_apart(bundle)
    claim = next(iter(change.requests("Claim", _ELIGIBILITY)), None)
    if change.order is None or claim is None:
        return None
    if change.request is not None:
        return _cancel(change, change.request, claim)
    if written := [*change.about_order("Communication", "about"), *change.about_order("CommunicationRequest", "about")]:
        return _written(change, written[0], claim)
    if change.to_fulfiller and status_of(change.order.resource) == "cancelled":
        plain = {"authoredOn": text(change.bundle.get("timestamp")), "statusReason": _reason(change.order.resource)}
        return told.retold(change, event("cancel-request"), [(told.url_of(change.order), _question(plain, claim))])
    if change.to_fulfiller:
        return _placed(change, claim) if change.event == "new-order" else None
    return _adjudicated(change, change.order, claim)


def _placed(change: told.Told, claim: Entry) -> Resource:
    return told.retold(change, event(_asked_by(claim)), [(told.url_of(claim), claim.resource)])


def _asked_by(claim: Entry) -> str:
    if claim.resource.get("resourceType") == _ELIGIBILITY:
        return "eligibility-request"
    return _REQUESTS.get(text(claim.resource.get("use")), "claim-request")


def _adjudicated(change: told.Told, order: Entry, claim: Entry) -> Resource | None:
    """The payer's response; of a payer that speaks otherwise one that is made of the order."""
    found = [entry for kind in _RESPONSES for entry in change.outputs(kind)]
    code = _asked_by(claim).replace("-request", "-response")
    if found:
        return _answered(change, order, code, told.url_of(found[-1]), found[-1].resource)
    outcome = _OUTCOMES.get(status_of(order.resource))
    if outcome is None:
        return None
    made = _response(order, claim, outcome, text(change.bundle.get("timestamp")))
    return _answered(change, order, code, f"urn:uuid:{change.bundle['id']}-response", made)


def _response(order: Entry, claim: Entry, outcome: str, created: str) -> Resource:
    resource, reason = claim.resource, order.resource.get("statusReason")
    is_inquiry = resource.get("resourceType") == _ELIGIBILITY
    kept = ("purpose", "patient", "insurer") if is_inquiry else ("type", "use", "patient", "insurer")
    disposition = text(reason.get("text")) if isinstance(reason, dict) else ""
    return {
        "resourceType": "CoverageEligibilityResponse" if is_inquiry else "ClaimResponse",
        "status": "active",
        **{name: resource[name] for name in kept if name in resource},
        "created": created,
        "request": {"reference": told.url_of(claim)},
        "outcome": outcome,
        **({"disposition": disposition} if disposition else {}),
    }


def _answered(change: told.Told, task: Entry, code: str, url: str, resource: Resource) -> Resource:
    """A response: of the message that the Task has come of, if it is known by that."""
    asked = message_in(task.resource, MESSAGE_IDS)
    response: Resource = {"response": {"identifier": asked, "code": "ok"}} if asked else {}
    return told.retold(change, event(code), [(url, resource)], **response)


def _cancel(change: told.Told, request: Entry, claim: Entry) -> Resource | None:
    """The question to the payer, or what became of it to the provider."""
    task, status = request.resource, status_of(request.resource)
    is_cancelled = change.order is not None and status_of(change.order.resource) == "cancelled"
    if change.to_fulfiller and (change.asked == "abort" or is_cancelled):
        return told.retold(change, event("cancel-request"), [(told.url_of(request), _question(task, claim))])
    if status not in ("completed", "rejected") or change.to_fulfiller or "abort" not in names(task.get("code")):
        return None
    said: Resource = {"status": "completed" if status == "completed" else "failed"}
    reason = task.get("statusReason")
    if status == "rejected" and isinstance(reason, dict):
        said |= {"output": [task_output("error", {"valueCodeableConcept": reason})]}
    answered = _question(task, claim) | said
    return _answered(change, request, "cancel-response", told.url_of(request), answered)


def _reason(order: Resource) -> Resource | None:
    reason = order.get("statusReason")
    return reason if isinstance(reason, dict) else None


def _question(task: Resource, claim: Entry) -> Resource:
    """A cancellation request as nphies has it: about the Claim, by its identifier."""
    own = [one for one in names(task.get("code")) if one.startswith(f"{TASK_CODES}|")]
    code = own[0].rpartition("|")[2] if own else "cancel"
    kept: Resource = {
        name: task[name] for name in ("id", "identifier", "authoredOn", "requester", "owner") if name in task
    }
    given = [one for one in dicts(task.get("input")) if "nullify" in names(one.get("type"))]
    reason = reason_in(task.get("statusReason")) or reason_in(task.get("reasonCode"))
    return {
        "resourceType": "Task",
        **kept,
        "status": "requested",
        "intent": "order",
        "priority": "routine",
        "code": {"coding": [{"system": TASK_CODES, "code": code}]},
        "focus": {"type": claim.resource["resourceType"], "identifier": composing.identifier_of(claim.resource)},
        "reasonCode": reason or {"coding": [{"system": REASONS, "code": _NO_OTHER_REASON}]},
        **({"input": given} if given else {}),
    }


def _written(change: told.Told, entry: Entry, claim: Entry) -> Resource:
    is_question = entry.resource.get("resourceType") == "CommunicationRequest"
    about = [{"type": claim.resource["resourceType"], "identifier": composing.identifier_of(claim.resource)}]
    code = "communication-request" if is_question else "communication"
    return told.retold(change, event(code), [(told.url_of(entry), entry.resource | {"about": about})])
