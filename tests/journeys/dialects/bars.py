"""Messages of the NHS Booking and Referral Standard, as small as they can be."""

import base64
import uuid
from typing import Any

import orjson

from gateway.partners import Partner

Resource = dict[str, Any]

DOS = "https://fhir.nhs.uk/Id/dos-service-id"
_SYSTEMS = "https://fhir.nhs.uk/CodeSystem/"


def dos(number: str, name: str, **said: Any) -> Partner:
    """A partner known by its service id."""
    return Partner(name, (f"{DOS}|{number}",), (f"https://{name}.nhs.example/fhir",), **said)


SENDER = dos("2222222222", "sender", dialect="nhs-bars")
RECEIVER = dos("111111111", "receiver", dialect="nhs-bars")
OTHER = dos("333333333", "other", dialect="nhs-bars")
COW_RECEIVER = dos("111111111", "receiver")

REFERRAL = "236bb75d-90ef-461f-b71e-fde7f899802c"
_PATIENT = "urn:uuid:9589fb37-87a2-48d8-968f-b371429208a8"


def target(number: str = "111111111") -> str:
    """The value of NHSD-Target-Identifier."""
    return base64.b64encode(orjson.dumps({"system": DOS, "value": number})).decode()


def referral(status: str = "active", own: str = REFERRAL, **said: Any) -> Resource:
    """A ServiceRequest, without an identifier."""
    subject = {"reference": _PATIENT}
    return {"resourceType": "ServiceRequest", "id": own, "status": status, "intent": "plan", "subject": subject, **said}


def booking(status: str = "booked", own: str = REFERRAL, **said: Any) -> Resource:
    """An Appointment, without an identifier."""
    participant = [{"actor": {"reference": _PATIENT}, "status": "accepted"}]
    times = {"start": "2026-10-12T12:30:30+00:00", "end": "2026-10-12T12:40:30+00:00"}
    return {"resourceType": "Appointment", "id": own, "status": status, "participant": participant, **times, **said}


def message(event: str, reason: str, about: Resource, sender: Partner = SENDER, **header: Any) -> Resource:
    """A message about a referral or a booking, whose fullUrl is its id."""
    url = f"urn:uuid:{about['id']}"
    patient = {"resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9"}]}
    said = {
        "resourceType": "MessageHeader",
        "eventCoding": {"system": f"{_SYSTEMS}message-events-bars", "code": event},
        "source": {"endpoint": sender.endpoints[0]},
        "reason": {"coding": [{"system": f"{_SYSTEMS}message-reason-bars", "code": reason}]},
        "focus": [{"reference": url}],
        **header,
    }
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "type": "message",
        "timestamp": "2026-01-02T03:04:05+00:00",
        "entry": [
            {"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": said},
            {"fullUrl": url, "resource": about},
            {"fullUrl": _PATIENT, "resource": patient},
        ],
    }
