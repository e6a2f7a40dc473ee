"""Messages of nphies, as small as they can be: a provider, a payer, a Claim."""

import uuid
from typing import Any

from gateway.partners import Partner

Resource = dict[str, Any]

TERMS = "http://nphies.sa/terminology/CodeSystem"
PROVIDERS, PAYERS = "http://nphies.sa/license/provider-license", "http://nphies.sa/license/payer-license"
PROVIDER = Partner("provider", (f"{PROVIDERS}|N-F-00003",), ("http://provider.example/N-F-00003",), dialect="nphies")
PAYER = Partner("payer", (f"{PAYERS}|N-I-00001",), ("http://payer.example/N-I-00001",), dialect="nphies")
COW_PAYER = Partner("payer", (f"{PAYERS}|N-I-00001",), ("http://payer.example/fhir",))
CLAIMS = "http://provider.example/claim"
_BASE = "http://provider.example"


def claim(number: str = "C-1", use: str = "claim", **said: Any) -> Resource:
    return {
        "resourceType": "Claim",
        "id": "1",
        "identifier": [{"system": CLAIMS, "value": number}],
        "status": "active",
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": "professional"}]},
        "use": use,
        "patient": {"reference": f"{_BASE}/Patient/3"},
        "created": "2026-01-02",
        "insurer": {"identifier": {"system": PAYERS, "value": "N-I-00001"}},
        "provider": {"identifier": {"system": PROVIDERS, "value": "N-F-00003"}},
        "priority": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/processpriority", "code": "normal"}]},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "Basic"}}],
        **said,
    }


def adjudicated(outcome: str, number: str = "C-1", **said: Any) -> Resource:
    """A payer's response."""
    return {
        "resourceType": "ClaimResponse",
        "id": "7",
        "identifier": [{"system": "http://payer.example/response", "value": f"{number}-{outcome}"}],
        "status": "active",
        "type": claim()["type"],
        "use": "claim",
        "patient": {"reference": f"{_BASE}/Patient/3"},
        "created": "2026-01-03",
        "insurer": {"identifier": {"system": PAYERS, "value": "N-I-00001"}},
        "request": {"type": "Claim", "identifier": {"system": CLAIMS, "value": number}},
        "outcome": outcome,
        **said,
    }


def task(code: str, number: str = "C-1", **said: Any) -> Resource:
    """A question about a Claim, which it names by identifier alone."""
    return {
        "resourceType": "Task",
        "id": "5",
        "identifier": [{"system": "http://provider.example/task", "value": f"{code}-{number}"}],
        "status": "requested",
        "intent": "order",
        "priority": "routine",
        "code": {"coding": [{"system": f"{TERMS}/task-code", "code": code}]},
        "focus": {"type": "Claim", "identifier": {"system": CLAIMS, "value": number}},
        **said,
    }


def cancel(number: str = "C-1", code: str = "cancel") -> Resource:
    reason = {"coding": [{"system": f"{TERMS}/task-reason-code", "code": "WI"}]}
    return message("cancel-request", task(code, number, reasonCode=reason))


def message(event: str, about: Resource, sender: Partner = PROVIDER, **header: Any) -> Resource:
    url = f"{_BASE}/{about['resourceType']}/{about['id']}"
    header_id = str(uuid.uuid4())
    other = (PAYERS, "N-I-00001") if sender.name == PROVIDER.name else (PROVIDERS, "N-F-00003")
    own = sender.identifiers[0].rpartition("|")
    said = {
        "resourceType": "MessageHeader",
        "id": header_id,
        "eventCoding": {"system": f"{TERMS}/ksa-message-events", "code": event},
        "destination": [
            {
                "endpoint": "http://nphies.sa/license",
                "receiver": {"type": "Organization", "identifier": {"system": other[0], "value": other[1]}},
            }
        ],
        "sender": {"type": "Organization", "identifier": {"system": own[0], "value": own[2]}},
        "source": {"endpoint": sender.endpoints[0]},
        "focus": [{"reference": url}],
        **header,
    }
    patient = {
        "resourceType": "Patient",
        "id": "3",
        "identifier": [{"system": "http://nphies.sa/identifier", "value": "9"}],
    }
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "type": "message",
        "timestamp": "2026-01-02T03:04:05Z",
        "entry": [
            {"fullUrl": f"urn:uuid:{header_id}", "resource": said},
            {"fullUrl": url, "resource": about},
            {"fullUrl": f"{_BASE}/Patient/3", "resource": patient},
        ],
    }
