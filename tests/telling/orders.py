"""What partners are told of: an order of the hospital's, by itself and with all it refers to."""

from __future__ import annotations

from typing import Any

from gateway.fhir.references import Resource
from tests.senders import task
from tests.telling.parties import FROM_HOSPITAL, HOSPITAL, PHARMACY, named

PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:p", "value": "1"}], "gender": "female"}
REQUEST = {
    "resourceType": "ServiceRequest",
    "identifier": [{"system": "urn:r", "value": "1"}],
    "status": "active",
    "intent": "order",
    "code": {"text": "Potassium"},
    "subject": {"reference": "urn:uuid:3"},
    "requester": {"reference": "urn:uuid:4"},
}
DOCTOR = {"resourceType": "Practitioner", "identifier": [{"system": "urn:d", "value": "1"}]}


def order(number: str = "1", status: str = "requested", **elements: Any) -> Resource:
    """The Task of an order of the hospital, which the pharmacy has."""
    code = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]}
    given = {"requester": named(HOSPITAL), "owner": named(PHARMACY), "code": code} | elements
    return task(number, status, **{name: value for name, value in given.items() if value is not None})


def whole_order(number: str = "1", **header: Any) -> Resource:
    """A new order with its Request, whose Patient and doctor are others' entries."""
    about = {"focus": {"reference": "urn:uuid:2"}, "for": {"reference": "urn:uuid:3"}}
    others = (REQUEST | {"_url": "urn:uuid:2"}, PATIENT | {"_url": "urn:uuid:3"}, DOCTOR | {"_url": "urn:uuid:4"})
    return FROM_HOSPITAL.write("x", order(number, **about), others=others, **header)
