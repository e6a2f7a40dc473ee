"""How nphies is answered: a response of the business, with HTTP 200; else an OperationOutcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.errors import Issue
from gateway.fhir.dialects import composing
from gateway.fhir.dialects.matching import focused, text
from gateway.fhir.dialects.model import Answer, Answering, Composed
from gateway.fhir.dialects.nphies_terms import error_of, event, tag, task_output
from gateway.fhir.dialects.pieces import outcome_in, sound
from gateway.fhir.json import Resource
from gateway.fhir.message import Message, logical
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, request_code, status_of
from gateway.fhir.task.outcomes import Outcome

_UNFINISHED = (Outcome.PENDING, Outcome.HELD)
_STATUSES: Mapping[str, str] = {
    "completed": "complete",
    "rejected": "error",
    "failed": "error",
    "cancelled": "cancelled",
    "entered-in-error": "entered-in-error",
    "in-progress": "partial",
}
"""What a status-response says of an order's status; of the others that it is queued."""
_MORE = ("urn:x-fhir-gateway:flag", "queued-messages")
_NO_ERROR = ("information", "warning")


def answer(message: Message, composed: Composed, plainly: Answering) -> Answer:
    """The answer of the hub, as which nphies is told it by a tag; the payer's own comes later, to be polled."""
    if message.refusal or _is_unknown_party(composed):
        status = 403 if not message.refusal else 400
        return Answer(status, operation_outcome(composed.issues))
    given = plainly(message, composed)
    if given.resource is None or composed.code == "transient-error":
        return given
    sent = composing.as_sent(message)
    entry = next(iter(focused(sent)), None)
    make = _ANSWERS.get(sent.event.code)
    if make is not None and entry is not None:
        made = make(given.resource, sent, entry, composed)
        return Answer(200, made) if made else Answer(400, operation_outcome(composed.issues))
    return Answer(200, given.resource if composed.code == "ok" else _error_notice(given.resource))


def _is_unknown_party(composed: Composed) -> bool:
    """Whether nobody is known as the sender that the message names: that is refused before anything is looked at."""
    said = [issue for issue in composed.issues if issue.code == "forbidden" and issue.outcome is None]
    return composed.code == "fatal-error" and any((issue.expression or "").endswith(".sender") for issue in said)


def _adjudicated(reply: Resource, sent: Message, entry: Entry, composed: Composed) -> Resource | None:
    """To a Claim: that it is queued for the payer, or what is wrong with it; None where no response can say so."""
    claim = entry.resource
    repeated = ("purpose",) if claim.get("resourceType") == "CoverageEligibilityRequest" else ("type", "use")
    of_claim = sound(claim, repeated)
    if len(of_claim) < len(repeated):
        return None
    is_queued = composed.code == "ok"
    name = composing.identifier_of(claim)
    kind = str(claim.get("resourceType"))
    request = {"type": kind, "identifier": name} if name else {"type": kind, "display": "The request"}
    said: Resource = {
        "status": "active",
        **of_claim,
        "patient": _party(sent, claim.get("patient"), "Patient"),
        "created": text(composed.reply.get("timestamp")),
        "insurer": _party(sent, claim.get("insurer"), "Organization"),
        "request": request,
        "outcome": "queued" if is_queued else "error",
    }
    if not is_queued:
        errors = [issue for issue in composed.issues if issue.severity not in _NO_ERROR]
        said["error"] = [{"code": error_of(issue)} for issue in errors]
    return _business(reply, sent, f"{kind}Response".replace("RequestResponse", "Response"), said, is_queued=is_queued)


def _cancelled(reply: Resource, sent: Message, entry: Entry, composed: Composed) -> Resource:
    """To a cancel-request: a Task that is completed, or failed; one in progress while the payer has not answered."""
    outcome = outcome_in(composed.issues)
    if outcome in _UNFINISHED:
        return _task(reply, sent, entry, "in-progress", (), is_queued=True)
    if composed.code == "ok" and outcome not in (Outcome.REJECTED, Outcome.WITHDRAWN):
        return _task(reply, sent, entry, "completed", ())
    wrong = [issue for issue in composed.issues if issue.severity not in _NO_ERROR or issue.outcome]
    return _task(reply, sent, entry, "failed", [_error(issue) for issue in wrong])


def _status_said(reply: Resource, sent: Message, entry: Entry, composed: Composed) -> Resource:
    """To a status-check: how the order is."""
    order = next((one for one in composed.focus if one.get("resourceType") == "Task" and not request_code(one)), None)
    if composed.code != "ok" or order is None:
        return _task(reply, sent, entry, "failed", [_error(issue) for issue in composed.issues])
    output = task_output("status", {"valueCode": _STATUSES.get(status_of(order), "queued")})
    return _task(reply, sent, entry, "completed", [output])


def _polled(reply: Resource, sent: Message, entry: Entry, composed: Composed) -> Resource:
    """To a poll: the Bundles that waited, as they are."""
    if composed.code != "ok":
        return _task(reply, sent, entry, "failed", [_error(issue) for issue in composed.issues])
    bundles = [(f"urn:uuid:{one.get('id')}", one) for one in composed.focus if one.get("resourceType") == "Bundle"]
    output = [task_output("response", {"valueReference": {"reference": url}}) for url, _ in bundles]
    is_more = any(issue.outcome == _MORE for issue in composed.issues)
    made = _task(reply, sent, entry, "completed", output, is_queued=is_more)
    return made | {"entry": [*made["entry"], *({"fullUrl": url, "resource": one} for url, one in bundles)]}


def _error(issue: Issue) -> Resource:
    return task_output("error", {"valueCodeableConcept": error_of(issue)})


def _task(
    reply: Resource, sent: Message, entry: Entry, status: str, output: Sequence[Resource], *, is_queued: bool = False
) -> Resource:
    """An answer with the Task that was sent, as it has become."""
    said = sound(entry.resource, ("identifier", "intent", "priority", "code", "focus", "reasonCode", "authoredOn"))
    task = {"status": status, "intent": "order", **said, **({"output": list(output)} if output else {})}
    return _business(reply, sent, "Task", task, is_queued=is_queued, is_failed=status == "failed")


def _business(
    reply: Resource,
    sent: Message,
    kind: str,
    said: Resource,
    *,
    is_queued: bool = False,
    is_failed: bool = False,
) -> Resource:
    """A response about one resource, made by the hub; with the tag that says: come and poll."""
    first = dicts(reply["entry"])[0]
    header = first["resource"]
    response = {"identifier": header["response"]["identifier"], "code": "fatal-error" if is_failed else "ok"}
    tags = [tag("nphies-generated"), *([tag("queued-messages")] if is_queued else [])]
    url = composing.made_up(sent, "answer", kind)
    plain = {name: value for name, value in header.items() if name not in ("focus", "response", "meta")}
    made = {"resourceType": kind, "id": url.removeprefix("urn:uuid:"), **said}
    leading = {"resourceType": plain.pop("resourceType"), "id": plain.pop("id"), "meta": {"tag": tags}}
    told = leading | plain | {"response": response, "focus": [{"reference": url}]}
    return reply | {"entry": [first | {"resource": told}, {"fullUrl": url, "resource": made}]}


def _error_notice(reply: Resource) -> Resource:
    """To a payer's response that cannot be taken: the OperationOutcome in focus."""
    first, *others = dicts(reply["entry"])
    header = {name: value for name, value in first["resource"].items() if name not in ("eventCoding", "eventUri")}
    outcomes = [
        {"reference": item["fullUrl"]} for item in others if item["resource"]["resourceType"] == "OperationOutcome"
    ]
    noticed = composing.inserted(header, event("error-notice")) | ({"focus": outcomes} if outcomes else {})
    return reply | {"entry": [first | {"resource": noticed}, *others]}


def _party(sent: Message, reference: object, kind: str) -> Resource:
    party = logical(sent, reference)
    return party if party and party.get("type", kind) == kind else {"display": f"The {kind} of the request"}


_ANSWERS: Mapping[str, Callable[[Resource, Message, Entry, Composed], Resource | None]] = {
    "claim-request": _adjudicated,
    "priorauth-request": _adjudicated,
    "authorization-request": _adjudicated,
    "eligibility-request": _adjudicated,
    "cancel-request": _cancelled,
    "status-check": _status_said,
    "poll-request": _polled,
}
