"""The messages of a day as they are sent: small Bundles, by what `tests.day` says of each."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta

import orjson

from gateway.fhir import xml
from tests.day import FHIR_XML, Said, What, parties
from tests.orders import Resource, organization

START = datetime(2026, 3, 2, tzinfo=UTC)
"""When the day begins; every moment that a sender writes is within its 24 hours."""
ORDER = "http://hospital.example/identifier/order"

_HOSPITAL = "http://hospital.example/identifier"
_COW = "http://hl7.org/fhir/uv/cow/CodeSystem/temp"
_OWN = "urn:x-fhir-gateway:message-event"
_TASK_CODES = "http://hl7.org/fhir/CodeSystem/task-code"
_EVENTS: dict[What, tuple[str, str]] = {
    "order": (_COW, "new-order"),
    "update": (_COW, "order-update"),
    "cancellation": (_OWN, "cancellation-request"),
    "change": (_OWN, "modification-request"),
    "notice": (_OWN, "notice"),
    "unheard-of": ("http://hospital.example/events", "stock-taking"),
}
_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_AMOXICILLIN = {
    "coding": [{"system": _RXNORM, "code": "308191", "display": "amoxicillin 500 MG Oral Capsule"}],
    "text": "Amoxicillin 500 mg capsules",
}
_NEEDS_REASON = ("rejected", "failed", "on-hold", "cancelled")


def body(said: Said) -> bytes:
    """The bytes of a message, the same each time."""
    message = bundle(said)
    if said.media_type == FHIR_XML:
        return xml.serialize(message)
    return orjson.dumps(message, option=orjson.OPT_INDENT_2)


def bundle(said: Said) -> Resource:
    header_id = _id(said, "header")
    focus = [] if said.what == "notice" else _FOCUSES[said.what](said)
    system, code = _EVENTS[said.what]
    header: Resource = {
        "resourceType": "MessageHeader",
        "id": header_id,
        "eventCoding": {"system": system, "code": code},
        "sender": organization(said.sender),
        "source": {
            "name": said.sender,
            "software": "Example Ward Orders",
            "version": "4.2",
            "endpoint": endpoint(said.sender),
        },
    }
    if focus:
        header["focus"] = [{"reference": focus[0]["fullUrl"]}]
    elif said.text:
        header["reason"] = {"text": said.text}
    return {
        "resourceType": "Bundle",
        "id": bundle_id(said),
        "type": "message",
        "timestamp": _moment(said),
        "entry": [{"fullUrl": f"urn:uuid:{header_id}", "resource": header}, *focus],
    }


def header_id(said: Said) -> str:
    return _id(said, "header")


def bundle_id(said: Said) -> str:
    return _id(said, "resent bundle" if said.how == "resent" else "bundle")


def endpoint(sender: str) -> str:
    """The endpoint from which a party of the day sends."""
    return f"urn:day:{sender.lower()}"


def order_number(task: int) -> str:
    """The value of the identifier of an order's Task, in the system ORDER."""
    return f"ORD-{task:06}"


def _order(said: Said) -> list[Resource]:
    request, patient = _id(said, "request"), _id(said, "patient")
    placer, fulfiller, _ = parties(said.line)
    task = {
        "groupIdentifier": {"system": f"{_HOSPITAL}/requisition", "value": f"REQ-{said.line:06}"},
        "priority": "routine",
        "code": _code("fulfill"),
        "description": said.text or "Dispense amoxicillin 500 mg capsules, 21",
        "focus": {"reference": f"urn:uuid:{request}"},
        "for": {"reference": f"urn:uuid:{patient}"},
        "authoredOn": _moment(said),
        "requester": organization(placer),
        "owner": organization(fulfiller),
    }
    return [
        _entry(_id(said, "task"), _task(said) | task),
        _entry(request, _request(said) | {"subject": {"reference": f"urn:uuid:{patient}"}}),
        _entry(patient, _patient(said)),
    ]


def _update(said: Said) -> list[Resource]:
    task = _task(said)
    if said.text:
        task["note"] = [{"authorString": said.sender, "time": _moment(said), "text": said.text}]
    else:
        task["businessStatus"] = {"text": f"Now {said.status}, as the counter says"}
    if said.status in _NEEDS_REASON:
        task["statusReason"] = {"text": f"It is {said.status} for a reason that was given"}
    if said.status != "completed" or said.text:
        return [_entry(_id(said, "task"), task)]
    dispense = _id(said, "dispense")
    output = {"type": {"text": "Dispense"}, "valueReference": {"reference": f"urn:uuid:{dispense}"}}
    return [_entry(_id(said, "task"), task | {"output": [output]}), _entry(dispense, _dispense(said))]


def _cancellation(said: Said) -> list[Resource]:
    return [_entry(_id(said, "task"), _asked(said, "abort", "cancellation", "CXL"))]


def _change(said: Said) -> list[Resource]:
    task = _asked(said, "change", "modification", "MOD")
    if said.is_answer:
        return [_entry(_id(said, "task"), task)]
    request = _id(said, "request")
    wanted = {"type": {"text": "The changed request"}, "valueReference": {"reference": f"urn:uuid:{request}"}}
    patient = {"type": "Patient", "identifier": _patient(said)["identifier"][0]}
    changed = _request(said) | {"subject": patient, "dosageInstruction": [{"text": "One capsule four times daily"}]}
    return [_entry(_id(said, "task"), task | {"input": [wanted]}), _entry(request, changed)]


def _asked(said: Said, code: str, kind: str, prefix: str) -> Resource:
    """The Task of a request about an order, or of the answer to it."""
    placer, fulfiller, _ = parties(said.line)
    task: Resource = _task(said) | {
        "identifier": [{"system": f"{_HOSPITAL}/{kind}", "value": f"{prefix}-{said.line:06}"}],
        "code": _code(code),
        "focus": {"type": "Task", "identifier": {"system": ORDER, "value": order_number(said.line)}},
    }
    if not said.is_answer:
        reason = {"text": said.text or "The patient is allergic to penicillin"}
        parts = {"requester": organization(placer), "owner": organization(fulfiller)}
        return task | {"authoredOn": _moment(said), "reasonCode": reason, **parts}
    if said.status == "rejected" or said.text:
        task["statusReason"] = {"text": said.text or "It has been handed over already"}
    return task


_FOCUSES = {
    "order": _order,
    "update": _update,
    "unheard-of": _update,
    "cancellation": _cancellation,
    "change": _change,
}


def _task(said: Said) -> Resource:
    return {
        "resourceType": "Task",
        "identifier": [{"use": "official", "system": ORDER, "value": order_number(said.line)}],
        "status": said.status,
        "intent": "order",
        "lastModified": _moment(said),
    }


def _request(said: Said) -> Resource:
    return {
        "resourceType": "MedicationRequest",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Amoxicillin 500 mg capsules: one capsule three times '
            "daily for 7 days (21 capsules)</p></div>",
        },
        "identifier": [{"system": f"{_HOSPITAL}/prescription", "value": f"RX-{said.line:06}"}],
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "medicationCodeableConcept": _AMOXICILLIN,
        "authoredOn": "2026-03-02",
        "requester": organization(parties(said.line)[0]),
        "reasonCode": [
            {"coding": [{"system": "http://snomed.info/sct", "code": "65363002", "display": "Otitis media"}]}
        ],
        "dosageInstruction": [{"sequence": 1, "text": "One capsule three times daily for 7 days"}],
        "dispenseRequest": {"numberOfRepeatsAllowed": 0, "quantity": {"value": 21, "unit": "capsule"}},
        "substitution": {"allowedBoolean": True},
    }


def _patient(said: Said) -> Resource:
    """Two orders of a hospital are for the same patient."""
    hospital = parties(said.line)[0]
    return {
        "resourceType": "Patient",
        "identifier": [{"system": f"{_HOSPITAL}/patient", "value": f"{hospital}-{said.line // 10:06}"}],
        "active": True,
        "name": [{"use": "official", "family": "Example", "given": ["Erika", "Test"]}],
        "gender": "female",
        "birthDate": "1974-12-25",
    }


def _dispense(said: Said) -> Resource:
    prescription = {"system": f"{_HOSPITAL}/prescription", "value": f"RX-{said.line:06}"}
    return {
        "resourceType": "MedicationDispense",
        "identifier": [{"system": "http://pharmacy.example/identifier/dispense", "value": f"DSP-{said.line:06}"}],
        "status": "completed",
        "medicationCodeableConcept": _AMOXICILLIN,
        "subject": {"type": "Patient", "identifier": _patient(said)["identifier"][0]},
        "authorizingPrescription": [{"type": "MedicationRequest", "identifier": prescription}],
        "quantity": {"value": 21, "unit": "capsule"},
        "whenHandedOver": _moment(said),
    }


def _code(code: str) -> Resource:
    return {"coding": [{"system": _TASK_CODES, "code": code}]}


def _entry(resource_id: str, resource: Resource) -> Resource:
    return {"fullUrl": f"urn:uuid:{resource_id}", "resource": resource}


def _moment(said: Said) -> str:
    return (START + timedelta(days=said.at)).isoformat(timespec="milliseconds")


def _id(said: Said, what: str) -> str:
    """A UUID that a message has for something in it; one that is said again has the same."""
    digest = hashlib.md5(f"{what} {said.line} {said.place}".encode(), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest, version=4))
