"""What MedCom is told: the Communication or Encounter that an order is about, and by a Provenance what was done."""

from __future__ import annotations

from gateway.fhir.dialects import composing, told
from gateway.fhir.dialects.matching import names, text
from gateway.fhir.dialects.model import Telling
from gateway.fhir.dialects.pieces import uuid_of
from gateway.fhir.json import Resource
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, status_of

_TERMINOLOGY = "http://medcomfhir.dk/ig/terminology/CodeSystem"
EVENTS = f"{_TERMINOLOGY}/medcom-messaging-eventCodes"
ACTIVITIES = f"{_TERMINOLOGY}/medcom-messaging-activityCodes"
_USES = f"{_TERMINOLOGY}/medcom-messaging-destinationUse"
_USE = "http://medcomfhir.dk/ig/messaging/StructureDefinition/medcom-messaging-destinationUseExtension"
_CARE, _HOSPITAL = "care-communication-message", "hospital-notification-message"
_CATEGORY = f"{_TERMINOLOGY}/medcom-careCommunication-categoryCodes"


def tell(bundle: Resource, _plainly: Telling) -> Resource | None:
    """None for what MedCom has no message for: an order about anything else, or how a stay's order goes on."""
    change = told.take_apart(bundle)
    subject = next(iter(change.requests("Communication", "Encounter")), None)
    if change.order is None or subject is None:
        return None
    event = _CARE if subject.resource.get("resourceType") == "Communication" else _HOSPITAL
    if change.asked == "abort" and change.to_fulfiller:
        return _retold(change, event, subject, _taken_back(event, change.order), "removal")
    if event == _CARE and change.request is not None and not change.to_fulfiller:
        return _what_became(change, change.request, subject)
    if written := change.about_order("Communication", "partOf"):
        return _retold(change, _CARE, written[0], "reply-message", "revision", thread=subject)
    if not change.to_fulfiller:
        return None
    if status_of(change.order.resource) == "cancelled":
        return _retold(change, event, subject, _taken_back(event, change.order), "removal")
    if change.event == "new-order":
        return _retold(change, event, subject, _activity(change.order) or _begun(event), None)
    return _retold(change, event, subject, _activity(change.order) or "modified-message", "revision")


def primary(destination: Resource) -> Resource:
    """A destination that is the primary one; there are no copies of an acknowledgement."""
    extension = {"url": _USE, "valueCoding": {"system": _USES, "code": "primary"}}
    return {"extension": [extension], **{name: value for name, value in destination.items() if name != "extension"}}


def _begun(event: str) -> str:
    return "new-message" if event == _CARE else "admit-inpatient"


def _activity(order: Entry) -> str | None:
    """What was done last, which the order has as its business status."""
    found = [name for name in names(order.resource.get("businessStatus")) if name.startswith(f"{ACTIVITIES}|")]
    return found[0].rpartition("|")[2] if found else None


def _taken_back(event: str, order: Entry) -> str:
    if event == _CARE:
        return "retract-message"
    last = _activity(order) or _begun(event)
    return f"cancel-admit-{'emergency' if 'emergency' in last else 'inpatient'}"


def _what_became(change: told.Told, request: Entry, subject: Entry) -> Resource | None:
    """To who has retracted a communication: a reply in its thread that says whether it is."""
    status = status_of(request.resource)
    if status not in ("completed", "rejected"):
        return None
    reason = request.resource.get("statusReason")
    said = text(reason.get("text")) if isinstance(reason, dict) else ""
    done = "The message is retracted." if status == "completed" else "The message is not retracted: work goes on."
    own = uuid_of(change.bundle["id"], "reply")
    patient = change.resolve(subject.resource.get("subject"), subject)
    reply: Resource = {
        "resourceType": "Communication",
        "id": own,
        "identifier": subject.resource.get("identifier"),
        "status": "unknown",
        "category": subject.resource.get("category") or [{"coding": [{"system": _CATEGORY, "code": "other"}]}],
        "subject": {"reference": told.url_of(patient)} if patient else None,
        "payload": [{"contentString": f"{done} {said}".strip()}],
    }
    made = Entry("", f"urn:uuid:{own}", {name: value for name, value in reply.items() if value})
    return _retold(change, _CARE, made, "reply-message", "revision")


def _retold(
    change: told.Told, event: str, entry: Entry, activity: str, role: str | None, thread: Entry | None = None
) -> Resource:
    """The message with its Provenance. `thread` is whose identifier a reply has: it was kept under one of its own."""
    resource = {name: value for name, value in entry.resource.items() if name != "partOf"}
    if thread is not None and thread.resource.get("identifier"):
        resource |= {"identifier": thread.resource["identifier"]}
    if activity.startswith("cancel-") or activity == "retract-message":
        resource |= {"status": "entered-in-error"}
    destinations = [primary(one) for one in dicts(change.header.get("destination"))]
    provenance = _provenance(change, entry, activity, role)
    return told.retold(
        change,
        {"eventCoding": {"system": EVENTS, "code": event}},
        [(told.url_of(entry), resource)],
        without=("Task", "Provenance", *(("Communication",) if event == _CARE else ())),
        others=[(f"urn:uuid:{provenance['id']}", provenance)],
        destination=destinations,
    )


def _provenance(change: told.Told, entry: Entry, activity: str, role: str | None) -> Resource:
    now = text(change.bundle.get("timestamp"))
    header_id = text(change.header.get("id")) or change.bundle["id"]
    made: Resource = {
        "resourceType": "Provenance",
        "id": uuid_of(header_id, "provenance"),
        "target": [{"reference": f"urn:uuid:{header_id}"}],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": ACTIVITIES, "code": activity}]},
        "agent": [{"who": change.header.get("sender") or {"display": "The sender of the message"}}],
    }
    if role:
        made["entity"] = [{"role": role, "what": _what(entry)}]
    return made


def _what(entry: Entry) -> Resource:
    """What was there before, by its identifier: the receiver has it under an address of its own."""
    identifier = composing.identifier_of(entry.resource)
    return {"type": entry.resource.get("resourceType"), "identifier": identifier} if identifier else {"display": "It"}
