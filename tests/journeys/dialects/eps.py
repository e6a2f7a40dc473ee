"""Messages of the NHS Electronic Prescription Service, as small as they can be."""

import copy
import uuid
from typing import Any

from gateway.partners import Partner

Resource = dict[str, Any]

ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
ORDERS = "https://fhir.nhs.uk/Id/prescription-order-number"
ITEMS = "https://fhir.nhs.uk/Id/prescription-order-item-number"
RFC = "https://tools.ietf.org/html/rfc4122"


def ods(code: str, name: str, **said: Any) -> Partner:
    """A partner known by its ODS code."""
    endpoint = f"https://directory.spineservices.nhs.uk/STU3/Organization/{code}"
    return Partner(name, (f"{ODS}|{code}",), (endpoint,), **said)


SURGERY = ods("A83008", "surgery", dialect="nhs-eps")
OTHER_SURGERY = ods("A99968", "other-surgery", dialect="nhs-eps")
PHARMACY = ods("VNE51", "pharmacy", dialect="nhs-eps")
COW_PHARMACY = Partner("pharmacy", (f"{ODS}|VNE51",), ("http://pharmacy.example/fhir",))

NUMBER = "24F5DA-A83008-7EFE6Z"
FIRST, SECOND = "5cb17f5a-11ac-4e18-825f-6470467238b3", "a54219b8-f741-4c47-b662-e4f8dfa49ab6"
_PATIENT = "urn:uuid:78d3c2eb-009e-4ec8-a358-b042954aa9b2"


def line(item: str, number: str = NUMBER, nominated: str | None = "VNE51", **said: Any) -> Resource:
    """A MedicationRequest."""
    dispense = {"performer": {"identifier": {"system": ODS, "value": nominated}}} if nominated else {}
    return {
        "resourceType": "MedicationRequest",
        "identifier": [{"system": ITEMS, "value": item}],
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "324252006"}]},
        "subject": {"reference": _PATIENT},
        "groupIdentifier": {"system": ORDERS, "value": number},
        **({"dispenseRequest": dispense} if dispense else {}),
        **said,
    }


def message(event: str, code: str, resources: list[Resource], reason: str | None = None, **header: Any) -> Resource:
    """A message about resources, from the party with this ODS code; its header has no id."""
    patient = {"resourceType": "Patient", "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9"}]}
    urls = [f"urn:uuid:{uuid.uuid4()}" for _ in resources]
    said = {
        "resourceType": "MessageHeader",
        "eventCoding": {"system": "https://fhir.nhs.uk/CodeSystem/message-event", "code": event},
        "sender": {"identifier": {"system": ODS, "value": code}},
        "source": {"endpoint": f"https://directory.spineservices.nhs.uk/STU3/Organization/{code}"},
        "focus": [{"reference": _PATIENT}, *({"reference": url} for url in urls)],
        **header,
    }
    if reason:
        system = "https://fhir.nhs.uk/CodeSystem/message-reason-prescription"
        said["reason"] = {"coding": [{"system": system, "code": reason}]}
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "identifier": {"system": RFC, "value": str(uuid.uuid4())},
        "type": "message",
        "entry": [
            {"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": said},
            *({"fullUrl": url, "resource": one} for url, one in zip(urls, resources, strict=True)),
            {"fullUrl": _PATIENT, "resource": patient},
        ],
    }


def prescription(
    *items: str, sender: str = "A83008", number: str = NUMBER, nominated: str | None = "VNE51"
) -> Resource:
    return message("prescription-order", sender, [line(item, number, nominated) for item in items or (FIRST, SECOND)])


def cancellation(item: str = FIRST, sender: str = "A83008", number: str = NUMBER, **said: Any) -> Resource:
    reason = {"coding": [{"system": "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-reason", "code": "0002"}]}
    cancelled = line(item, number, **({"status": "cancelled", "statusReason": reason} | said))
    return message("prescription-order-update", sender, [cancelled], "cancel")


def notification(dispensed: dict[str, str], sender: str = "VNE51", business: str = "0003") -> Resource:
    """What was dispensed: for each line, the code of MedicationDispense.type."""
    status = {"system": "https://fhir.nhs.uk/CodeSystem/EPS-task-business-status", "code": business}
    url = "https://fhir.nhs.uk/StructureDefinition/Extension-EPS-TaskBusinessStatus"
    types = "https://fhir.nhs.uk/CodeSystem/medicationdispense-type"
    resources = [
        {
            "resourceType": "MedicationDispense",
            "contained": [line(item) | {"id": "m1"}],
            "extension": [{"url": url, "valueCoding": status}],
            "identifier": [{"system": "https://fhir.nhs.uk/Id/prescription-dispense-item-number", "value": item}],
            "status": "completed",
            "medicationCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "324252006"}]},
            "authorizingPrescription": [{"reference": "#m1"}],
            **({"type": {"coding": [{"system": types, "code": kind}]}} if kind else {}),
        }
        for item, kind in dispensed.items()
    ]
    response = {"identifier": "999f9999-9999-9999-9ff9-f9fff9999999", "code": "ok"}
    return message("dispense-notification", sender, resources, "notification", response=response)


def decision(told: Resource, code: str, sender: str = "VNE51") -> Resource:
    """A dispenser's answer to a cancellation that it was told of, in the form of a prescription-order-response."""
    [request] = [one["resource"] for one in told["entry"] if one["resource"]["resourceType"] == "MedicationRequest"]
    history = {
        "url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionStatusHistory",
        "extension": [
            {
                "url": "status",
                "valueCoding": {
                    "system": "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-history",
                    "code": code,
                },
            }
        ],
    }
    answered = copy.deepcopy(request) | {"extension": [history], "subject": {"reference": _PATIENT}}
    answered.pop("requester", None)
    response = {"identifier": told["identifier"]["value"], "code": "ok"}
    return message("prescription-order-response", sender, [answered], response=response)


def returned() -> Resource:
    """The Task by which a dispenser gives lines back."""
    return {
        "resourceType": "Task",
        "status": "rejected",
        "intent": "order",
        "statusReason": {"coding": [{"code": "1"}]},
    }
