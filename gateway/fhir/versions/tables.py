"""What the versions have in other places and under other names than R4 has, beyond what their definitions tell.

https://hl7.org/fhir/R5/task.html and so on, each under "R4 Diff"; https://hl7.org/fhir/R4/diff.html for STU3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.fhir.definitions import Version
from gateway.fhir.versions.steps import (
    Step,
    coded,
    either,
    gathered,
    identified,
    mapped,
    received_by,
    recoded,
    sorted_by_type,
    split,
    unwrapped,
)

_CONDITION = "http://terminology.hl7.org/CodeSystem/condition"
_ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance"

RESOURCES: Mapping[tuple[Version, Version], Mapping[str, str]] = {
    ("R5", "R4"): {"RequestOrchestration": "RequestGroup", "DeviceUsage": "DeviceUseStatement"},
    ("R4", "R5"): {"RequestGroup": "RequestOrchestration", "DeviceUseStatement": "DeviceUsage"},
    ("STU3", "R4"): {"ProcedureRequest": "ServiceRequest", "ReferralRequest": "ServiceRequest"},
    ("R4", "STU3"): {"ServiceRequest": "ProcedureRequest"},
}
"""The resource types that another version has under another name."""

MODIFIERS = frozenset(
    (
        *("CommunicationRequest.intent", "Consent.decision", "DeviceRequest.doNotPerform", "Task.doNotPerform"),
        *("CarePlan.activity.detail.prohibited", "Communication.notDone", "FamilyMemberHistory.notDone"),
        *("Immunization.notGiven", "MedicationAdministration.notGiven", "MedicationStatement.taken", "Patient.animal"),
        *("Procedure.notDone", "AdverseEvent.actuality", "ActivityDefinition.doNotPerform", "Media.status"),
        *("CarePlan.activity.detail.doNotPerform", "CommunicationRequest.doNotPerform", "ImagingStudy.status"),
        *("Immunization.isSubpotent", "MedicationRequest.doNotPerform", "NutritionOrder.intent", "Consent.scope"),
    )
)
"""The elements that change what the others say: they are carried as modifier extensions."""

RENAMES: Mapping[Version, Mapping[str, Mapping[str, str]]] = {
    "R5": {
        "MessageHeader": {"eventCanonical": "eventUri"},
        "MessageHeader.source": {"endpointUrl": "endpoint"},
        "MessageHeader.destination": {"endpointUrl": "endpoint"},
        "Task": {"requestedPerformer": "performerType"},
        "MedicationRequest.dispenseRequest": {"dispenser": "performer"},
        "MedicationDispense": {"encounter": "context"},
        "MedicationStatement": {"encounter": "context"},
        "MedicationAdministration": {
            "encounter": "context",
            "occurenceDateTime": "effectiveDateTime",
            "occurencePeriod": "effectivePeriod",
        },
        "Medication": {"marketingAuthorizationHolder": "manufacturer", "doseForm": "form"},
        "Medication.ingredient": {"strengthRatio": "strength"},
        "DeviceRequest": {"replaces": "priorRequest"},
        "NutritionOrder": {"subject": "patient"},
        "NutritionOrder.enteralFormula": {"routeOfAdministration": "routeofAdministration"},
        "CommunicationRequest": {"informationProvider": "sender"},
        "DiagnosticReport": {"study": "imagingStudy"},
        "Specimen.processing": {"method": "procedure"},
        "Encounter": {"actualPeriod": "period", "admission": "hospitalization"},
        "Encounter.location": {"form": "physicalType"},
        "Encounter.participant": {"actor": "individual"},
        "Location": {"form": "physicalType"},
        "Appointment": {"cancellationReason": "cancelationReason"},
        "Procedure": {
            **{f"occurrence{kind}": f"performed{kind}" for kind in ("DateTime", "Period", "String", "Age", "Range")}
        },
    },
    "STU3": {
        "MessageHeader": {"event": "eventCoding"},
        "MedicationRequest.substitution": {"allowed": "allowedBoolean"},
        "MedicationAdministration": {"prescription": "request", "reasonNotGiven": "statusReason"},
        "MedicationDispense": {
            "notDoneReasonCodeableConcept": "statusReasonCodeableConcept",
            "notDoneReasonReference": "statusReasonReference",
        },
        "ReferralRequest": {
            "groupIdentifier": "requisition",
            "type": "category",
            "serviceRequested": "code",
            "recipient": "performer",
            "specialty": "performerType",
        },
        "DiagnosticReport": {"image": "media", "codedDiagnosis": "conclusionCode"},
        "Encounter": {"incomingReferral": "basedOn"},
        "Encounter.diagnosis": {"role": "use"},
        "Appointment": {"incomingReferral": "basedOn", "indication": "reasonReference"},
        "DocumentReference": {"class": "category", "indexed": "date"},
        "Provenance": {"period": "occurredPeriod"},
        "Provenance.agent": {"whoReference": "who", "onBehalfOfReference": "onBehalfOf"},
        "Provenance.entity": {"whatReference": "what"},
        "Condition": {"assertedDate": "recordedDate"},
        "AllergyIntolerance": {"assertedDate": "recordedDate"},
        "Binary": {"content": "data"},
        "Device": {"udi": "udiCarrier"},
        "Signature": {
            "whoReference": "who",
            "onBehalfOfReference": "onBehalfOf",
            "contentType": "sigFormat",
            "blob": "data",
        },
    },
}
"""The fields of a type that R4 has under the second name."""

_REQUEST_STATUS = {"suspended": "on-hold", "cancelled": "revoked"}
_REQUESTER = unwrapped("requester", "agent")

STEPS: Mapping[Version, Mapping[str, Sequence[Step]]] = {
    "R5": {
        "MessageHeader.response": [identified()],
        "MedicationRequest": [either("reported", "informationSource", "reportedBoolean", "reportedReference")],
        "MedicationDispense": [
            split(
                "notPerformedReason",
                "statusReasonCodeableConcept",
                "statusReasonReference",
                choice=True,
            )
        ],
        "Dosage": [either("asNeeded", "asNeededFor", "asNeededBoolean", "asNeededCodeableConcept")],
        "DeviceRequest": [split("performer", "performerType", "performer")],
        "ServiceRequest": [unwrapped("patientInstruction", "instructionMarkdown", many_here=True)],
        "Encounter": [
            recoded(
                "status",
                {"completed": "finished", "discharged": "finished", "on-hold": "onleave", "discontinued": "cancelled"},
                {"finished": "completed", "onleave": "on-hold", "arrived": "in-progress", "triaged": "in-progress"},
            )
        ],
        "Practitioner": [unwrapped("communication", "language", many_here=True, many_there=True)],
        "Coverage": [
            unwrapped("paymentBy", "party", "payor", many_here=True, many_there=True),
            unwrapped("subscriberId", "value", many_here=True),
        ],
        "Coverage.class": [unwrapped("value", "value")],
        "Appointment.participant": [mapped("required", {True: "required", False: "optional"})],
        "DocumentReference": [
            gathered(
                {name: name for name in ("facilityType", "practiceSetting", "period")} | {"context": "related"},
                "context",
            )
        ],
        "DocumentReference.content": [unwrapped("profile", "valueCoding", "format", many_here=True)],
        "Group": [mapped("membership", {"definitional": False, "enumerated": True}, "actual")],
    },
    "STU3": {
        "MessageHeader": [received_by()],
        "Task": [_REQUESTER],
        "MedicationRequest": [_REQUESTER],
        "DeviceRequest": [_REQUESTER, recoded("status", _REQUEST_STATUS)],
        "CommunicationRequest": [_REQUESTER, recoded("status", _REQUEST_STATUS)],
        "ProcedureRequest": [_REQUESTER, recoded("status", _REQUEST_STATUS)],
        "ReferralRequest": [_REQUESTER, recoded("status", _REQUEST_STATUS)],
        "DiagnosticReport": [unwrapped("performer", "actor", many_here=True, many_there=True)],
        "Observation": [
            sorted_by_type("related", {"has-member": "hasMember", "derived-from": "derivedFrom"}),
            gathered({"comment": "text"}, "note", many=True),
        ],
        "Dosage": [
            gathered(
                {
                    **{name: name for name in ("doseRange", "doseQuantity", "rateRatio", "rateRange", "rateQuantity")},
                },
                "doseAndRate",
                many=True,
            )
        ],
        "DocumentReference.context": [unwrapped("related", "ref", many_here=True, many_there=True)],
        "Condition": [
            coded("clinicalStatus", f"{_CONDITION}-clinical"),
            coded("verificationStatus", f"{_CONDITION}-ver-status"),
        ],
        "AllergyIntolerance": [
            coded("clinicalStatus", f"{_ALLERGY}-clinical"),
            coded("verificationStatus", f"{_ALLERGY}-verification"),
        ],
        "OperationOutcome.issue": [recoded("code", {}, {"multiple-matches": "duplicate", "deleted": "not-found"})],
    },
}
"""What is in another shape than R4 has it in; each step goes from the other version to R4."""
