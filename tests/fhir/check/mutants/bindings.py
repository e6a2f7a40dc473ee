"""Faults of codes: what a required binding does not know, by its word, by its case, by its system."""

from typing import Any

from tests.fhir.check.mutants.fault import GONE, R4, Fault, fault
from tests.fhir.check.mutants.orders import TERMINOLOGY, concept
from tests.fhir.check.mutants.primitives import as_input

_REQUIRED = f"{R4}/terminologies.html#required"

_CODES: list[tuple[str, str, str]] = [
    ("Bundle.type", "Message", "bundle-type"),
    ("Bundle.type", "bundle", "bundle-type"),
    ("MessageHeader.text.status", "Generated", "narrative-status"),
    ("MessageHeader.source.contact.system", "Email", "contact-point-system"),
    ("MessageHeader.source.contact.system", "mail", "contact-point-system"),
    ("MessageHeader.source.contact.use", "business", "contact-point-use"),
    ("MessageHeader.response.code", "OK", "response-code"),
    ("MessageHeader.response.code", "error", "response-code"),
    ("Task.status", "Requested", "task-status"),
    ("Task.status", "final", "task-status"),
    ("Task.status", "canceled", "task-status"),
    ("Task.status", "active", "task-status"),
    ("Task.intent", "Order", "task-intent"),
    ("Task.intent", "directive", "task-intent"),
    ("Task.intent", "request", "task-intent"),
    ("Task.priority", "high", "request-priority"),
    ("Task.priority", "STAT", "request-priority"),
    ("Task.identifier[0].use", "primary", "identifier-use"),
    ("Task.identifier[0].use", "Official", "identifier-use"),
    ("ServiceRequest.status", "requested", "request-status"),
    ("ServiceRequest.status", "cancelled", "request-status"),
    ("ServiceRequest.intent", "Order", "request-intent"),
    ("ServiceRequest.priority", "normal", "request-priority"),
    ("ServiceRequest.occurrenceTiming.repeat.durationUnit", "minutes", "units-of-time"),
    ("ServiceRequest.occurrenceTiming.repeat.periodUnit", "day", "units-of-time"),
    ("ServiceRequest.occurrenceTiming.repeat.periodUnit", "D", "units-of-time"),
    ("ServiceRequest.occurrenceTiming.repeat.dayOfWeek[0]", "Monday", "days-of-week"),
    ("ServiceRequest.occurrenceTiming.repeat.when[0]", "noon", "event-timing"),
    ("MedicationRequest.status", "suspended", "medicationrequest-status"),
    ("MedicationRequest.intent", "directive", "medicationrequest-intent"),
    ("MedicationRequest.priority", "now", "request-priority"),
    ("MedicationRequest.dosageInstruction[0].timing.repeat.periodUnit", "days", "units-of-time"),
    ("MedicationDispense.status", "dispensed", "medicationdispense-status"),
    ("Patient.gender", "Female", "administrative-gender"),
    ("Patient.gender", "F", "administrative-gender"),
    ("Patient.gender", "m", "administrative-gender"),
    ("Patient.contact[0].gender", "diverse", "administrative-gender"),
    ("Patient.name[0].use", "legal", "name-use"),
    ("Patient.telecom[0].system", "telephone", "contact-point-system"),
    ("Patient.telecom[0].use", "Home", "contact-point-use"),
    ("Patient.telecom[0].use", "billing", "contact-point-use"),
    ("Patient.address[0].use", "mobile", "address-use"),
    ("Patient.address[0].type", "Both", "address-type"),
    ("Patient.link[0].type", "see-also", "link-type"),
    ("Practitioner.gender", "none", "administrative-gender"),
    ("PractitionerRole.availableTime[0].daysOfWeek[1]", "Tue", "days-of-week"),
    ("PractitionerRole.availableTime[1].daysOfWeek[0]", "sunday", "days-of-week"),
    ("Location.status", "open", "location-status"),
    ("Location.mode", "type", "location-mode"),
    ("Coverage.status", "inactive", "fm-status"),
    ("Coverage.costToBeneficiary[0].valueMoney.currency", "eur", "currencies"),
    ("Coverage.costToBeneficiary[0].valueMoney.currency", "XQQ", "currencies"),
    ("Appointment.status", "confirmed", "appointmentstatus"),
    ("Appointment.participant[0].required", "yes", "participantrequired"),
    ("Appointment.participant[1].status", "maybe", "participationstatus"),
    ("Observation.status", "completed", "observation-status"),
    ("Observation.status", "Final", "observation-status"),
    ("Observation.valueQuantity.comparator", "≤", "quantity-comparator"),
    ("Observation.valueQuantity.comparator", "=", "quantity-comparator"),
    ("DiagnosticReport.status", "complete", "diagnostic-report-status"),
    ("Specimen.status", "received", "specimen-status"),
    ("Encounter.status", "inprogress", "encounter-status"),
    ("Encounter.statusHistory[0].status", "active", "encounter-status"),
    ("Encounter.location[0].status", "present", "encounter-location-status"),
    ("OperationOutcome.issue[0].severity", "info", "issue-severity"),
    ("OperationOutcome.issue[0].severity", "Error", "issue-severity"),
    ("OperationOutcome.issue[0].code", "failure", "issue-type"),
    ("OperationOutcome.issue[1].code", "Invalid", "issue-type"),
    ("Provenance.entity[0].role", "origin", "provenance-entity-role"),
    ("Communication.status", "sent", "event-status"),
    ("Communication.priority", "low", "request-priority"),
    ("AllergyIntolerance.type", "Allergy", "allergy-intolerance-type"),
    ("AllergyIntolerance.category[1]", "pollen", "allergy-intolerance-category"),
    ("AllergyIntolerance.criticality", "medium", "allergy-intolerance-criticality"),
    ("AllergyIntolerance.reaction[0].severity", "serious", "reaction-event-severity"),
    ("AppointmentResponse.participantStatus", "yes", "participationstatus"),
    ("Parameters.parameter[1].part[1].resource.gender", "M", "administrative-gender"),
    ("Task.contained[0].name[0].use", "called", "name-use"),
    ("document.entry[0].resource.status", "Final", "composition-status"),
    ("searchset.entry[0].search.mode", "matched", "search-entry-mode"),
    ("transaction.entry[0].request.method", "post", "http-verb"),
    ("transaction-response.entry[0].response.outcome.issue[0].code", "processed", "issue-type"),
]

_CONCEPTS: list[tuple[str, Any, str]] = [
    ("Condition.clinicalStatus", concept(f"{TERMINOLOGY}/condition-clinical", "done"), "a code that is not in it"),
    ("Condition.clinicalStatus", concept("https://lakeside.test/codes", "active"), "a code of another system"),
    ("Condition.verificationStatus", concept(f"{TERMINOLOGY}/condition-clinical", "active"), "a code of another set"),
    (
        "AllergyIntolerance.verificationStatus",
        concept(f"{TERMINOLOGY}/condition-ver-status", "confirmed"),
        "a code of another system",
    ),
    (
        "AllergyIntolerance.clinicalStatus",
        concept("http://hl7.org/fhir/allergyintolerance-clinical", "active"),
        "the system as it was called before",
    ),
    (
        "AllergyIntolerance.verificationStatus",
        {"coding": [{"code": "confirmed"}]},
        "a code of no system",
    ),
    ("AllergyIntolerance.verificationStatus", {"text": "confirmed"}, "words in the place of a code"),
]

_DATA_TYPES: list[tuple[str, Any, str]] = [
    ("valueDataRequirement", {"type": "Patients"}, "all-types"),
    ("valueDataRequirement", {"type": "Patient", "sort": [{"path": "a", "direction": "up"}]}, "sort-direction"),
    ("valueParameterDefinition", {"use": "input", "type": "string"}, "operation-parameter-use"),
    ("valueRelatedArtifact", {"type": "book"}, "related-artifact-type"),
    ("valueTriggerDefinition", {"type": "event", "name": "a"}, "trigger-type"),
    ("valueContributor", {"type": "writer", "name": "Ada"}, "contributor-type"),
    ("valueMoney", {"value": 1, "currency": "Euro"}, "currencies"),
    ("valueAttachment", {"contentType": "pdf", "title": "x"}, "mimetypes"),
]


def _alone(path: str, value: Any) -> dict[str, Any]:
    edits = {path: value}
    return {**edits, "Condition.abatementDateTime": GONE} if path == "Condition.clinicalStatus" else edits


BINDINGS: list[Fault] = [
    *(
        fault(
            f"{path} is {code!r}, which {name} has not",
            "binding-required",
            f"{_REQUIRED}, http://hl7.org/fhir/ValueSet/{name}",
            {path: code},
            also="bdl-3" if path == "Bundle.type" else (),
        )
        for path, code, name in _CODES
    ),
    *(fault(f"{path} has {why}", "binding-required", _REQUIRED, _alone(path, value)) for path, value, why in _CONCEPTS),
    *(
        fault(
            f"A {element.removeprefix('value')} has a code that {name} has not",
            ("binding-required", "format") if name == "mimetypes" else "binding-required",
            f"{_REQUIRED}, http://hl7.org/fhir/ValueSet/{name}",
            as_input(element, value),
        )
        for element, value, name in _DATA_TYPES
    ),
    fault(
        "A status is left out, and an extension does not say why",
        "cardinality-min",
        "Task.status 1..1",
        {"Task.status": GONE, "Task._status": {}},
        at="Task.status",
        exactly="Task",
        also=("ele-1", "empty"),
    ),
]
