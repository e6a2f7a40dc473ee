"""Messages of BSeR, as small as they can be: a Task in focus, whatever is meant."""

import uuid
from typing import Any

from gateway.fhir.dialects.bser import BUSINESS_STATUSES
from gateway.partners import Partner

Resource = dict[str, Any]

NPI = "http://hl7.org/fhir/sid/us-npi"
INITIATOR = Partner("clinic", (f"{NPI}|1111111111",), ("http://clinic.example/fhir",), dialect="bser")
RECIPIENT = Partner("program", (f"{NPI}|2222222222",), ("http://program.example/fhir",), dialect="bser")
COW_RECIPIENT = Partner("program", (f"{NPI}|2222222222",), ("http://program.example/fhir",))
_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
PLACER = "http://clinic.example/referral"


def task(status: str, code: str | None = None, number: str = "R-1", **said: Any) -> Resource:
    """The referral's Task, which its parties send to each other again and again."""
    business = {"businessStatus": {"coding": [{"system": BUSINESS_STATUSES, "code": code}]}} if code else {}
    placer = {"type": {"coding": [{"system": _TYPES, "code": "PLAC"}]}, "system": PLACER, "value": number}
    return {
        "resourceType": "Task",
        "identifier": [placer],
        "status": status,
        **business,
        "intent": "order",
        "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
        "focus": {"reference": "urn:uuid:0c4f9e1c-1e5e-4b11-a1ab-9c7b6f2f8f01"},
        "for": {"reference": "urn:uuid:0c4f9e1c-1e5e-4b11-a1ab-9c7b6f2f8f02"},
        "authoredOn": "2026-01-02",
        "requester": {"reference": "urn:uuid:0c4f9e1c-1e5e-4b11-a1ab-9c7b6f2f8f03"},
        "owner": {"reference": "urn:uuid:0c4f9e1c-1e5e-4b11-a1ab-9c7b6f2f8f04"},
        **said,
    }


def message(about: Resource, sender: Partner = INITIATOR, others: tuple[Resource, ...] = ()) -> Resource:
    """A message about a Task, from one party to the other; each is a PractitionerRole in the Bundle."""
    roles = [_role("03", "1111111111"), _role("04", "2222222222")]
    sent = 0 if sender is INITIATOR else 1
    header_id = str(uuid.uuid4())
    header = {
        "resourceType": "MessageHeader",
        "id": header_id,
        "eventCoding": {"system": "http://terminology.hl7.org/CodeSystem/v2-0003", "code": "I12"},
        "destination": [
            {"endpoint": "http://gateway.example/fhir", "receiver": {"reference": roles[1 - sent]["fullUrl"]}}
        ],
        "sender": {"reference": roles[sent]["fullUrl"]},
        "source": {"endpoint": sender.endpoints[0]},
        "focus": [{"reference": "Task/T1"}],
    }
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "type": "message",
        "timestamp": "2026-01-02T03:04:05Z",
        "entry": [
            {"fullUrl": f"http://example.org/fhir/MessageHeader/{header_id}", "resource": header},
            {"fullUrl": "http://example.org/fhir/Task/T1", "resource": {**about, "id": "T1"}},
            _entry("01", _request(about["identifier"][0]["value"])),
            _entry(
                "02", {"resourceType": "Patient", "identifier": [{"system": "http://clinic.example/p", "value": "9"}]}
            ),
            *roles,
            *(_entry(f"1{number}", resource) for number, resource in enumerate(others)),
        ],
    }


def _entry(end: str, resource: Resource) -> Resource:
    return {"fullUrl": f"urn:uuid:0c4f9e1c-1e5e-4b11-a1ab-9c7b6f2f8f{end}", "resource": resource}


def _request(number: str) -> Resource:
    return {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": "http://clinic.example/request", "value": number}],
        "status": "active",
        "intent": "order",
        "code": {"text": "Diabetes prevention programme"},
        "subject": {"reference": "urn:uuid:0c4f9e1c-1e5e-4b11-a1ab-9c7b6f2f8f02"},
    }


def _role(end: str, npi: str) -> Resource:
    organization = {"identifier": {"system": NPI, "value": npi}}
    return _entry(
        end,
        {"resourceType": "PractitionerRole", "identifier": [organization["identifier"]], "organization": organization},
    )
