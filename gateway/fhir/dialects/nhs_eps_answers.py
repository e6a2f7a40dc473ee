"""What the NHS Electronic Prescription Service says: its answers, and what it tells. docs/dialects/nhs-eps.md

The outcome of a cancellation is a code of medicationrequest-status-history, with its own status of HTTP; the
`response.code` of the message that has it is always `ok`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import Issue
from gateway.fhir.dialects import composing, told
from gateway.fhir.dialects.matching import names, text
from gateway.fhir.dialects.model import Answer, Answering, Composed, Telling
from gateway.fhir.dialects.pieces import absolute_url, outcome_in
from gateway.fhir.dialects.told import Told
from gateway.fhir.emptiness import without_empty
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, is_cancellation, name_of, status_of
from gateway.fhir.task.outcomes import Outcome
from gateway.fhir.task.request_outcome import outcome_of_request

MESSAGE_EVENTS = "https://fhir.nhs.uk/CodeSystem/message-event"
MESSAGE_IDS = "https://tools.ietf.org/html/rfc4122"
HISTORY = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-history"
ISSUE_CODES = "https://fhir.nhs.uk/CodeSystem/EPS-IssueCode"
_HISTORY_URL = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionStatusHistory"
_MESSAGE_ID_URL = "https://fhir.nhs.uk/StructureDefinition/Extension-MessageHeader-messageId"
_EVENTS = ("prescription-order", "prescription-order-update", "dispense-notification", "prescription-order-response")
_CANCEL = {
    "coding": [
        {"system": "https://fhir.nhs.uk/CodeSystem/message-reason-prescription", "code": "cancel", "display": "Cancel"}
    ]
}


@dataclass(frozen=True, slots=True)
class Word:
    """A code for what became of a cancellation; the status of the MedicationRequest that has it.

    `issue` is the code of the OperationOutcome that has it in the place of a message.
    """

    display: str
    status: str = "unknown"
    http: int = 400
    issue: str | None = None


R_CODES: Mapping[str, Word] = {
    "R-0001": Word("Prescription/item was cancelled", "cancelled", 200),
    "R-0002": Word("Prescription/item was not cancelled. With dispenser. Marked for cancellation", "active"),
    "R-0003": Word("Prescription/item was not cancelled. With dispenser active. Marked for cancellation", "active"),
    "R-0004": Word("Prescription/item was not cancelled. Prescription has been dispensed", "completed"),
    "R-0005": Word("Prescription/item was not cancelled. Prescription had expired", "stopped"),
    "R-0006": Word("Prescription/item had already been cancelled", "cancelled"),
    "R-0007": Word("Prescription/item cancellation requested by another prescriber", "unknown"),
    "R-0008": Word("Prescription/item not found", issue="not-found"),
    "R-0009": Word("Cancellation functionality disabled in Spine", issue="not-supported"),
    "R-0010": Word("Prescription/item was not cancelled. Prescription has been not dispensed", "stopped"),
    "R-5000": Word("Unable to process message. Information missing or invalid", "active", issue="processing"),
    "R-5888": Word("Invalid message", issue="invalid"),
}
_OUTCOMES: Mapping[Outcome, str] = {
    Outcome.CANCELLED: "R-0001",
    Outcome.ACCEPTED: "R-0001",
    Outcome.PENDING: "R-0003",
    Outcome.ALREADY_PENDING: "R-0003",
    Outcome.TOO_LATE: "R-0004",
    Outcome.EXPIRED: "R-0005",
    Outcome.ALREADY_CANCELLED: "R-0006",
    Outcome.NOT_THE_PLACER: "R-0007",
    Outcome.NO_SUCH_ORDER: "R-0008",
    Outcome.HELD: "R-0008",
    Outcome.ALREADY_ENDED: "R-0010",
    Outcome.WITHDRAWN: "R-5000",
    Outcome.NO_SUCH_REQUEST: "R-5000",
}
_IDS = ("Bundle.identifier", "Bundle.id")
"""Where a duplicate is one of a message, and not of a prescription."""
_INVALID = ("required", "value", "structure", "invalid", "invariant", "code-invalid", "business-rule")
_FINAL = ("R-0004", "R-0005", "R-0010")
"""The words with which a dispenser refuses that say what the line is."""


# --- answering --------------------------------------------------------------------------------------------------------


def answer(message: Message, composed: Composed, plainly: Answering) -> Answer:
    """A cancellation is answered by its code; anything else by an OperationOutcome."""
    sent = composing.as_sent(message)
    if sent.event.code == "prescription-order-update" and composed.code != "transient-error":
        return _outcome_of_cancellation(sent, composed)
    return plainly(message, replace(composed, issues=[_worded(issue, sent) for issue in composed.issues]))


def _worded(issue: Issue, sent: Message) -> Issue:
    """An issue of ours with the code that EPS has for it, and as it says it."""
    if issue.severity not in ("fatal", "error"):
        return issue
    if issue.code == "duplicate" and sent.event.code == "prescription-order" and issue.expression not in _IDS:
        said = f"Duplicate prescription ID exists. {issue.text}"
        return replace(issue, text=said, outcome=(ISSUE_CODES, "DUPLICATE_PRESCRIPTION_ID"))
    if issue.code == "not-supported" and sent.event.code not in _EVENTS:
        said = f"MessageHeader.eventCoding.code must be one of: {', '.join(_EVENTS)}. {issue.text}"
        return replace(issue, code="value", text=said)
    return issue


def _outcome_of_cancellation(sent: Message, composed: Composed) -> Answer:
    code = _code_of(composed)
    word = R_CODES[code]
    request = next((entry for entry in sent.entries if entry.resource.get("resourceType") == "MedicationRequest"), None)
    if word.issue is not None or request is None:
        return Answer(word.http, _as_outcome(code, composed.issues))
    return Answer(word.http, _response(sent, composed, request, code))


def _code_of(composed: Composed) -> str:
    """What a cancellation came to; where it is marked, by how far the dispenser is."""
    outcome = outcome_in(composed.issues)
    if outcome is None:
        error = next((issue for issue in composed.issues if issue.severity in ("fatal", "error")), None)
        if error is not None and error.code == "not-supported":
            return "R-0009"
        return "R-5888" if error is not None and error.code in _INVALID else "R-5000"
    tasks = [one for one in composed.focus if one.get("resourceType") == "Task"]
    asked, order = [next((one for one in tasks if is_cancellation(one) == kind), {}) for kind in (True, False)]
    return _word_for(outcome, asked, order)


def _word_for(outcome: Outcome, asked: Resource, order: Resource) -> str:
    """The code for what a cancellation came to; of its Task and its order, {} where they are not known.

    A refusal has the dispenser's own word, where that is final: R-0003 would say that the line is still marked. It is
    where the policy leaves an order whose cancellation was accepted to its dispenser; R-0002, if that is not at work.
    """
    if outcome == Outcome.REJECTED:
        said = names(asked.get("statusReason"))
        return next((final for final in _FINAL if f"{HISTORY}|{final}" in said), "R-5000")
    status = status_of(order)
    goes_on = outcome == Outcome.ACCEPTED and status in ("accepted", "ready", "in-progress", "on-hold")
    code = "R-0003" if goes_on else _OUTCOMES[outcome]
    waits = status == "on-hold" or "0002" in names(order.get("businessStatus"))
    return "R-0002" if code == "R-0003" and waits else code


def _as_outcome(code: str, issues: Sequence[Issue]) -> Resource:
    """An OperationOutcome with the code first, and what the gateway says of it."""
    word = R_CODES[code]
    said = " ".join(dict.fromkeys(issue.text for issue in issues)) or word.display
    place = next((issue.expression for issue in issues if issue.expression), None)
    outcome = operation_outcome([Issue(word.issue or "processing", said, place)])
    coding = {"system": HISTORY, "code": code, "display": word.display}
    outcome["issue"][0]["details"] = {"coding": [coding], "text": outcome["issue"][0]["details"]["text"]}
    return outcome


def _response(sent: Message, composed: Composed, request: Entry, code: str) -> Resource:
    """The prescription-order-response: the line as it was sent, and what became of it."""
    reply, url = composed.reply, absolute_url(sent, request)
    line = _with_history(without_empty(request.resource), code, reply["timestamp"])
    first = dicts(reply["entry"])[0]
    quoted = text(first["resource"]["response"].get("identifier")).lower()
    again = [entry for entry in sent.entries if entry.resource.get("resourceType") in _SAID_AGAIN]
    others = [{"fullUrl": absolute_url(sent, one), "resource": without_empty(one.resource)} for one in again]
    patients = [one for one in again if one.resource["resourceType"] == "Patient"]
    focus = [*(absolute_url(sent, one) for one in patients), url]
    header = _response_header(first["resource"], reply["id"], quoted) | {"focus": [{"reference": one} for one in focus]}
    entries = [{"fullUrl": url, "resource": line}, *others]
    identifier = {"system": MESSAGE_IDS, "value": reply["id"]}
    return reply | {"identifier": identifier, "entry": [first | {"resource": header}, *entries]}


_SAID_AGAIN = ("Patient", "PractitionerRole", "Practitioner", "Organization", "HealthcareService", "Location")


def _response_header(header: Resource, message_id: str, quoted: str) -> Resource:
    """The header of a prescription-order-response, which has the identity of its message in an extension."""
    plain = {name: value for name, value in header.items() if name not in ("eventCoding", "eventUri", "reason")}
    identifier = {"system": MESSAGE_IDS, "value": message_id}
    event = {"eventCoding": {"system": MESSAGE_EVENTS, "code": "prescription-order-response"}}
    return composing.inserted(
        plain
        | {
            "extension": [{"url": _MESSAGE_ID_URL, "valueIdentifier": identifier}],
            "response": {"identifier": quoted, "code": "ok"},
        },
        event,
    )


def _with_history(request: Resource, code: str, when: str) -> Resource:
    """A MedicationRequest that says what became of its cancellation, and in its status too."""
    word = R_CODES[code]
    history = {
        "url": _HISTORY_URL,
        "extension": [
            {"url": "status", "valueCoding": {"system": HISTORY, "code": code, "display": word.display}},
            {"url": "statusDate", "valueDateTime": when},
        ],
    }
    others = [one for one in dicts(request.get("extension")) if one.get("url") != _HISTORY_URL]
    return request | {"extension": [*others, history], "status": word.status}


# --- telling ----------------------------------------------------------------------------------------------------------


def tell(bundle: Resource, _plainly: Telling) -> Resource | None:
    """A prescriber is told what became of a cancellation that was marked, a dispenser of what it is to do, or not.

    Of all else EPS has no message.
    """
    change = told.take_apart(bundle)
    asked = [entry for entry in change.of_type("Task") if is_cancellation(entry.resource)]
    if not change.to_fulfiller:
        ended = [entry for entry in asked if status_of(entry.resource) in ("completed", "rejected", "accepted")]
        return _told_outcome(change, ended[0]) if ended else None
    still = [entry for entry in asked if status_of(entry.resource) in ("requested", "received", "completed")]
    if still:
        return _told_cancellation(change, _order_of(change, still[0]), still[0].resource)
    if change.order is not None and status_of(change.order.resource) == "cancelled":
        return _told_cancellation(change, change.order, change.order.resource)
    return _told_prescription(change) if change.event == "new-order" else None


def _told_outcome(change: Told, asked: Entry) -> Resource:
    """The prescription-order-response that comes once a dispenser has decided."""
    order, outcome = _order_of(change, asked), outcome_of_request(asked.resource)
    code = _word_for(outcome, asked.resource, order.resource if order else {})
    message_id, when = change.bundle["id"], change.bundle["timestamp"]
    focus = [(url, _with_history(request, code, when)) for url, request in _requests_of(change, order)]
    header = _response_header(change.header, message_id, _own_name(asked.resource).lower())
    others = []
    if not focus or code == "R-5000":
        others = [
            (f"urn:uuid:{message_id}", _as_outcome(code, [Issue("informational", _said(asked.resource, outcome))]))
        ]
        header["response"] |= {"details": {"reference": others[0][0]}}
    bundle = told.retold(replace(change, header=header), _event("prescription-order-response"), focus, others=others)
    return bundle | {"identifier": {"system": MESSAGE_IDS, "value": message_id}}


def _said(asked: Resource, outcome: Outcome) -> str:
    """What became of a cancellation, with the reason that the dispenser has given."""
    reason = asked.get("statusReason")
    given = text(reason.get("text")) if isinstance(reason, dict) and outcome == Outcome.REJECTED else ""
    return f"{outcome.answer} The reason given: {given}" if given else outcome.answer


def _told_cancellation(change: Told, order: Entry | None, said: Resource) -> Resource | None:
    reason = said.get("statusReason") or said.get("reasonCode")
    cancelled = {"status": "cancelled"} | ({"statusReason": reason} if isinstance(reason, dict) else {})
    focus = [(url, request | cancelled) for url, request in _requests_of(change, order)]
    if not focus:
        return None
    bundle = told.retold(change, _event("prescription-order-update"), focus, reason=_CANCEL)
    return bundle | {"identifier": {"system": MESSAGE_IDS, "value": change.bundle["id"]}}


def _told_prescription(change: Told) -> Resource | None:
    orders = [entry for entry in change.of_type("Task") if not is_cancellation(entry.resource)]
    lines = {url: request for order in orders for url, request in _requests_of(change, order)}
    patients = [(told.url_of(entry), entry.resource) for entry in change.of_type("Patient")]
    if not lines:
        return None
    bundle = told.retold(change, _event("prescription-order"), [*patients, *lines.items()])
    return bundle | {"identifier": {"system": MESSAGE_IDS, "value": change.bundle["id"]}}


def _order_of(change: Told, asked: Entry) -> Entry | None:
    found = change.resolve(asked.resource.get("focus"), asked)
    return found if found is not None and found.resource.get("resourceType") == "Task" else change.order


def _requests_of(change: Told, order: Entry | None) -> list[tuple[str, Resource]]:
    found = replace(change, order=order).requests("MedicationRequest") if order else []
    return [(told.url_of(entry), entry.resource) for entry in found]


def _own_name(task: Resource) -> str:
    """What a prescriber knows its cancellation by: the identifier of the message that it was sent in."""
    said = dicts(task.get("identifier"))
    own = [name_of(one)[1] for one in said if one.get("system") in (MESSAGE_IDS, None)]
    return next(filter(None, own), "") or str(task.get("id", ""))


def _event(code: str) -> dict[str, Any]:
    return {"eventCoding": {"system": MESSAGE_EVENTS, "code": code}}
