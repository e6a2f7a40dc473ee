"""Messages of CA:eReC, in the manner of Ontario: a bare uuid before the header, entries without ids."""

import uuid
from typing import Any

from gateway.partners import Partner

Resource = dict[str, Any]

EVENTS = "https://ehealthontario.ca/fhir/CodeSystem/message-event-code"
SITES = "http://ocean.example/site"
CLINIC = Partner("clinic", (f"{SITES}|1001",), ("http://clinic.example/svc/fhir/$process-messages",), dialect="ca-erec")
CENTRE = Partner("centre", (f"{SITES}|2002",), ("http://centre.example/svc/fhir/$process-messages",), dialect="ca-erec")
COW_CENTRE = Partner("centre", (f"{SITES}|2002",), ("http://centre.example/fhir",))
REFERRALS = "http://clinic.example/referral"
_REQUEST, _PATIENT, _TASK = (f"urn:uuid:5d1f0c7e-6a51-4c6c-9f5e-0000000000{end}" for end in ("01", "02", "03"))


def request(number: str = "REF-1", **said: Any) -> Resource:
    return {
        "resourceType": "ServiceRequest",
        "identifier": [{"system": REFERRALS, "value": number}],
        "status": "active",
        "intent": "order",
        "code": {"text": "MRI of the knee"},
        "subject": {"reference": _PATIENT},
        "authoredOn": "2026-01-02",
        **said,
    }


def process(status: str, **said: Any) -> Resource:
    """The performer's Task."""
    return {
        "resourceType": "Task",
        "identifier": [{"system": "http://centre.example/task", "value": "T-1"}],
        "status": status,
        "intent": "order",
        "code": {
            "coding": [{"system": "http://ehealthontario.ca/fhir/CodeSystem/task-code", "code": "process-request"}]
        },
        "focus": {"reference": _REQUEST},
        **said,
    }


def about_request(kind: str, **said: Any) -> Resource:
    return {"resourceType": kind, "basedOn": [{"reference": _REQUEST}], **said}


def message(event: str, about: Resource, sender: Partner = CLINIC, *, number: str = "REF-1", **header: Any) -> Resource:
    """A message about one resource; the ServiceRequest and its Patient come along."""
    focus = _REQUEST if about["resourceType"] == "ServiceRequest" else _TASK
    other = "2002" if sender is CLINIC else "1001"
    said = {
        "resourceType": "MessageHeader",
        "id": str(uuid.uuid4()),
        "meta": {
            "profile": [
                "http://ehealthontario.ca/fhir/StructureDefinition/ca-on-eReferral-profile-MessageHeader%7C1.0.1"
            ]
        },
        "eventCoding": {"system": EVENTS, "code": event},
        "destination": [
            {
                "endpoint": "http://gateway.example/fhir",
                "receiver": {"identifier": {"system": SITES, "value": other}},
            }
        ],
        "sender": {"identifier": {"system": SITES, "value": sender.identifiers[0].rpartition("|")[2]}},
        "source": {"endpoint": sender.endpoints[0]},
        "focus": [{"reference": focus}],
        **header,
    }
    patient = {"resourceType": "Patient", "identifier": [{"system": "http://ehealth.example/hcn", "value": "9"}]}
    entries = [{"fullUrl": focus, "resource": about}]
    if focus != _REQUEST:
        entries.append({"fullUrl": _REQUEST, "resource": request(number)})
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "type": "message",
        "timestamp": "2026-01-02T03:04:05Z",
        **({"total": 4} if sender is CLINIC else {}),
        "entry": [{"fullUrl": said["id"], "resource": said}, *entries, {"fullUrl": _PATIENT, "resource": patient}],
    }
