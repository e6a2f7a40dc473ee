"""Faults of structure: how often an element is there, what it is called, which of a choice, what kind of value."""

import re
from dataclasses import replace
from typing import Any

from gateway.fhir.issues import step
from gateway.fhir.json import Number
from tests.fhir.check.mutants.fault import GONE, R4, Fault, expression, fault, given, lacks

_CARDINALITY = f"{R4}/conformance-rules.html#cardinality"
_JSON = f"{R4}/json.html"
_UNKNOWN = "unknown-element"
_LIKE_A_CHOICE = re.compile(r"\.(event|value)([A-Z]\w+)?$")
_A_PATIENT = {"resourceType": "Patient", "id": "p2", "gender": "male"}

_REQUIRED = [
    "Bundle.type",
    "Bundle.link[0].relation",
    "Bundle.link[0].url",
    "Bundle.signature.type",
    "Bundle.signature.when",
    "Bundle.signature.who",
    "MessageHeader.eventCoding",
    "MessageHeader.source",
    "MessageHeader.source.endpoint",
    "MessageHeader.destination[0].endpoint",
    "MessageHeader.response.identifier",
    "MessageHeader.response.code",
    "MessageHeader.text.status",
    "MessageHeader.text.div",
    "Task.status",
    "Task.intent",
    "Task.input[0].type",
    "Task.input[1].valueString",
    "Task.output[0].type",
    "Task.output[0].valueReference",
    "Task.note[1].text",
    "Task.extension[1].url",
    "Task.extension[0].extension[1].url",
    "ServiceRequest.status",
    "ServiceRequest.intent",
    "ServiceRequest.subject",
    "MedicationRequest.status",
    "MedicationRequest.intent",
    "MedicationRequest.subject",
    "MedicationRequest.substitution.allowedBoolean",
    "MedicationDispense.status",
    "MedicationDispense.medicationCodeableConcept",
    "MedicationDispense.performer[0].actor",
    "MedicationDispense.substitution.wasSubstituted",
    "Patient.communication[0].language",
    "Patient.link[0].other",
    "Patient.link[0].type",
    "Patient._birthDate.extension[0].url",
    "Practitioner.qualification[0].code",
    "PractitionerRole.notAvailable[0].description",
    "Observation.status",
    "Observation.code",
    "Observation.component[0].code",
    "Observation.component[1].valueSampledData.origin",
    "Observation.component[1].valueSampledData.period",
    "Observation.component[1].valueSampledData.dimensions",
    "DiagnosticReport.status",
    "DiagnosticReport.code",
    "DiagnosticReport.media[0].link",
    "Encounter.status",
    "Encounter.class",
    "Encounter.statusHistory[0].period",
    "Encounter.statusHistory[0].status",
    "Encounter.diagnosis[0].condition",
    "Encounter.location[0].location",
    "OperationOutcome.issue",
    "OperationOutcome.issue[0].severity",
    "OperationOutcome.issue[1].code",
    "Provenance.target",
    "Provenance.recorded",
    "Provenance.agent",
    "Provenance.agent[0].who",
    "Provenance.entity[0].what",
    "Provenance.entity[0].agent[0].who",
    "Coverage.status",
    "Coverage.beneficiary",
    "Coverage.payor",
    "Coverage.class[0].type",
    "Coverage.class[0].value",
    "Coverage.costToBeneficiary[0].valueMoney",
    "Appointment.status",
    "Appointment.participant",
    "Appointment.participant[1].status",
    "Communication.status",
    "Parameters.parameter[0].name",
    "Parameters.parameter[1].part[0].name",
    "Parameters.parameter[1].part[2].part[0].name",
    "Parameters.parameter[2].resource.code",
    "Task.contained[0].patient",
    "document.entry[0].resource.title",
    "transaction.entry[0].request.method",
    "transaction.entry[1].request.url",
    "transaction-response.entry[0].response.status",
    "transaction-response.entry[0].response.outcome.issue[0].severity",
]

_REPEATED: list[tuple[str, Any]] = [
    ("Bundle.type", ["message"]),
    ("MessageHeader.eventCoding", [{"code": "new-order"}]),
    ("MessageHeader.source", [{"endpoint": "https://a.test"}]),
    ("MessageHeader.destination[0].endpoint", ["https://a.test", "https://b.test"]),
    ("Task.status", ["requested", "accepted"]),
    ("Task.code", [{"text": "one"}, {"text": "two"}]),
    ("Task.owner", [{"display": "one"}]),
    ("Task.executionPeriod.start", ["2024-05-02"]),
    ("Task.reasonCode", [{"text": "one"}]),
    ("Patient.birthDate", ["1980-02-29"]),
    ("Patient.name[0].family", ["Amber", "Birch"]),
    ("Patient.deceasedBoolean", [False]),
    ("Observation.valueQuantity", [{"value": 1}]),
    ("Observation.valueQuantity.value", [1, 2]),
    ("Observation.referenceRange[0].low", [{"value": 1}]),
    ("ServiceRequest.occurrenceTiming.repeat", [{"count": 1}]),
    ("Parameters.parameter[1].part[1].resource", [_A_PATIENT]),
    ("@Group.resource", [_A_PATIENT]),
    ("Organization.name", ["Lakeside hospital"]),
    ("Appointment.minutesDuration", [15]),
    ("Coverage.payor[0].reference", ["https://fhir.lakeside.test/r4/Organization/o1"]),
]

_NOT_REPEATED: list[tuple[str, Any]] = [
    ("Bundle.entry", {"resource": _A_PATIENT}),
    ("Bundle.link", {"relation": "self", "url": "https://a.test"}),
    ("MessageHeader.focus", {"reference": "Task/t1"}),
    ("MessageHeader.destination", {"endpoint": "https://a.test"}),
    ("Task.identifier", {"value": "T-1001"}),
    ("Task.input", {"type": {"text": "dose"}, "valueInteger": 1}),
    ("Task.extension", {"url": "urn:a", "valueInteger": 1}),
    ("Task.code.coding", {"code": "fulfill"}),
    ("Patient.name", {"family": "Amber"}),
    ("Patient.name[1].given", "Addie"),
    ("Patient.address[0].line", "1 High Street"),
    ("PractitionerRole.availableTime[0].daysOfWeek", "mon"),
    ("Communication.instantiatesCanonical", "https://lakeside.test/PlanDefinition/calls"),
    ("Parameters.parameter[1].part", {"name": "score", "valueDecimal": 1}),
    ("OperationOutcome.issue", {"severity": "error", "code": "invalid"}),
    ("OperationOutcome.issue[0].expression", "Bundle"),
    ("Observation.component", {"code": {"text": "c"}}),
]


def _without_entries(mutant: Fault) -> Fault:
    """`mutant`, and what follows from it: a bundle without entries does not begin with a header."""
    if "Bundle.entry" not in mutant.edits:
        return mutant
    return replace(mutant, exactly=(*mutant.exactly, "Bundle"), also=(*mutant.also, "bdl-12"))


CARDINALITY: list[Fault] = [
    *(lacks(path) for path in _REQUIRED),
    fault(
        "MedicationRequest has no medication",
        "cardinality-min",
        "MedicationRequest.medication[x] 1..1",
        {"MedicationRequest.medicationReference": GONE, "MedicationRequest.contained": GONE},
        exactly=("MedicationRequest", "MedicationRequest.medicationReference", "MedicationRequest.medication"),
    ),
    *(
        given(path, value, "cardinality-max", _CARDINALITY, "is an array, and may be there once")
        for path, value in _REPEATED
    ),
    *(
        _without_entries(given(path, value, "type", f"{_JSON}#repeat", "may repeat, and is no array"))
        for path, value in _NOT_REPEATED
    ),
]

_MISSPELT: list[tuple[str, Any, str]] = [
    ("Bundle.totals", 1, "is no element of Bundle"),
    ("Bundle.Timestamp", "2024-05-02T08:30:00Z", "is not written as the element is: case matters"),
    ("Bundle.text", {"status": "generated"}, "is of a DomainResource, which a Bundle is not"),
    ("Bundle.contained", [_A_PATIENT], "is of a DomainResource, which a Bundle is not"),
    ("Bundle.extension", [{"url": "urn:a", "valueInteger": 1}], "is of a DomainResource, which a Bundle is not"),
    ("@Task.fullURL", "https://a.test/Task/t1", "is not written as the element is: case matters"),
    ("@Task.resources", _A_PATIENT, "is no element of an entry"),
    ("MessageHeader.event", {"code": "new-order"}, "is how R3 called eventCoding"),
    ("MessageHeader.timestamp", "2024-05-02T08:30:00Z", "was in R2, and is no longer"),
    ("MessageHeader.eventCanonical", "https://a.test/EventDefinition/1", "is in R5, and not yet here"),
    ("MessageHeader.eventCode", "new-order", "is no type of event[x]"),
    ("MessageHeader.source.endpointUrl", "https://a.test", "is no element of the source"),
    ("MessageHeader.eventCoding.name", "New order", "is no element of Coding"),
    ("MessageHeader.meta.security[0].label", "N", "is no element of Coding"),
    ("MessageHeader.text.html", "<p/>", "is no element of Narrative"),
    ("Task.staus", "requested", "is misspelt"),
    ("Task.state", "requested", "is no element of Task"),
    ("Task.requestedPerformer", [{"display": "R5"}], "is in R5, and not yet here"),
    ("Task.statusreason", {"text": "x"}, "is not written as the element is: case matters"),
    ("Task.extention", [{"url": "urn:a", "valueInteger": 1}], "is misspelt"),
    ("Task.modifierextension", [{"url": "urn:a", "valueInteger": 1}], "is not written as the element is: case matters"),
    ("Task.executionPeriod.begin", "2024-05-02", "is no element of Period"),
    ("Task.executionPeriod.modifierExtension", [{"url": "urn:a", "valueInteger": 1}], "is not for data types"),
    ("Task.input[0].name", "dose", "is no element of Task.input"),
    ("Task.input[0].valueQuantity.units", "mg", "is misspelt"),
    ("Task.owner.ref", "Organization/o1", "is no element of Reference"),
    ("Task.owner.resource", {"resourceType": "Organization"}, "is no element of Reference"),
    ("Task.contained[1].title", "Ward 5", "is no element of Organization"),
    ("Task.extension[1].valueText", "5.12", "is no type of value[x]"),
    ("Task.extension[1].modifierExtension", [{"url": "urn:a", "valueInteger": 1}], "is not for data types"),
    ("Task.extension[0].extension[0].uri", "level", "is no element of Extension"),
    ("Patient.birthdate", "1980-02-29", "is not written as the element is: case matters"),
    ("Patient.race", "x", "is no element of Patient"),
    ("Patient.name[0].familyName", "Amber", "is no element of HumanName"),
    ("Patient._name", [{"id": "a"}], "is the sibling of what is no primitive"),
    ("Patient._gendr", {"extension": [{"url": "urn:a", "valueInteger": 1}]}, "is the sibling of no element"),
    ("Patient._birthDate.value", "1980-02-29", "is no element of a primitive's sibling"),
    ("Patient._birthDate.extension[0].valueBirth", "x", "is no type of value[x]"),
    ("Patient.contact[0].phone", "1", "is no element of Patient.contact"),
    ("Patient.identifier[0].extra", {"a": [{"b": 1}]}, "is no element of Identifier"),
    ("Patient.name[0].resourceType", "HumanName", "is for resources alone"),
    ("Patient.fhir_comments", ["a comment"], "was how R2 wrote comments"),
    ("Patient.$schema", "https://a.test/schema", "is no element of Patient"),
    ("Practitioner.role", [{"text": "doctor"}], "is no element of Practitioner"),
    ("Organization.addresses", [{"city": "Lakeside"}], "is misspelt"),
    ("Observation.comment", "x", "was in R3, and is no longer"),
    ("Observation.referenceRange[0].normal", {"value": 1}, "is no element of the range"),
    ("Observation.component[0].referenceRange[0].lows", {"value": 1}, "is misspelt in what a content reference tells"),
    ("ServiceRequest.occurrenceTiming.repeat.times", 1, "is no element of Timing.repeat"),
    ("MedicationRequest.dosageInstruction[0].dose", {"value": 1}, "is no element of Dosage in R4"),
    (
        "MedicationRequest.dosageInstruction[0].doseAndRate[0].modifierExtension",
        [{"url": "urn:a", "valueInteger": 1}],
        "is not for elements of data types",
    ),
    ("Parameters.text", {"status": "generated"}, "is of a DomainResource, which Parameters is not"),
    ("Parameters.parameter[1].part[2].part[0].values", "x", "is misspelt three levels down"),
    ("Parameters.parameter[1].part[1].resource.sex", "male", "is no element of Patient"),
    ("OperationOutcome.issue[0].text", "x", "is no element of the issue"),
    ("transaction-response.entry[0].response.outcome.issue[0].message", "x", "is no element of the issue"),
    ("document.entry[0].resource.section[0].txt", "x", "is no element of the section"),
]


def _unknown(path: str, value: Any, why: str) -> Fault:
    """Seen at the name as it is written, or at what it is in."""
    parent, _, name = path.rpartition(".")
    rules = (_UNKNOWN, "choice") if _LIKE_A_CHOICE.search(path) else _UNKNOWN
    made = fault(f"{path} {why}", rules, f"{_JSON}#object", {path: value}, at=path, exactly=parent)
    return replace(made, exactly=(*made.exactly, f"{expression(parent)}.{step(name)}"))


UNKNOWN: list[Fault] = [_unknown(*misspelt) for misspelt in _MISSPELT]

_TWICE: list[tuple[str, str, str, Any]] = [
    ("MessageHeader", "event[x]", "eventUri", "urn:event:new-order"),
    ("Task.input[1]", "value[x]", "valueInteger", 1),
    ("Task.output[0]", "value[x]", "valueString", "x"),
    ("Task.extension[1]", "value[x]", "valueCode", "x"),
    ("Task.note[0]", "author[x]", "authorString", "x"),
    ("ServiceRequest", "occurrence[x]", "occurrenceDateTime", "2024-05-02"),
    ("ServiceRequest", "asNeeded[x]", "asNeededCodeableConcept", {"text": "x"}),
    ("ServiceRequest", "quantity[x]", "quantityRange", {"low": {"value": 1}}),
    ("MedicationRequest", "medication[x]", "medicationCodeableConcept", {"text": "x"}),
    ("MedicationRequest.dosageInstruction[0].doseAndRate[0]", "dose[x]", "doseQuantity", {"value": 1}),
    ("Patient", "deceased[x]", "deceasedDateTime", "2024-05-02"),
    ("Patient", "multipleBirth[x]", "multipleBirthBoolean", True),
    ("Observation", "value[x]", "valueString", "x"),
    ("Observation", "effective[x]", "effectiveDateTime", "2024-05-02"),
    ("Observation.component[0]", "value[x]", "valueBoolean", True),
    ("Coverage.costToBeneficiary[0]", "value[x]", "valueQuantity", {"value": 1}),
    ("Communication.payload[0]", "content[x]", "contentReference", {"display": "x"}),
    ("Parameters.parameter[0]", "value[x]", "valueString", "x"),
]

_NO_CHOICE: list[tuple[str, str, str, Any]] = [
    ("Observation", "valueQuantity", "valueDecimal", 1),
    ("Observation", "valueQuantity", "valueCoding", {"code": "x"}),
    ("Observation", "valueQuantity", "value", {"value": 1}),
    ("Observation", "effectivePeriod", "effectiveDate", "2024-05-02"),
    ("DiagnosticReport", "effectiveDateTime", "effectiveInstant", "2024-05-02T00:00:00Z"),
    ("Patient", "deceasedBoolean", "deceasedDate", "2024-05-02"),
    ("Patient", "multipleBirthInteger", "multipleBirthPositiveInt", 2),
    ("Task.extension[1]", "valueString", "valueSimpleQuantity", {"value": 1}),
    ("Task.extension[1]", "valueString", "valuestring", "x"),
    ("Task.extension[1]", "valueString", "valueNarrative", {"status": "empty"}),
    ("Task.extension[1]", "valueString", "valueTask", {"status": "draft"}),
    ("Task.extension[1]", "valueString", "valueXhtml", "<p/>"),
    ("Specimen.collection", "fastingStatusCodeableConcept", "fastingStatusBoolean", True),
    ("Specimen.container[0]", "additiveCodeableConcept", "additive", {"text": "EDTA"}),
]

CHOICES: list[Fault] = [
    *(
        fault(
            f"{parent}.{choice} is there twice, once as {name}",
            "choice",
            f"{R4}/formats.html#choice",
            {f"{parent}.{name}": value},
            at=tuple(f"{parent}.{word}" for word in (name, choice.removesuffix("[x]"))),
            exactly=parent,
        )
        for parent, choice, name, value in _TWICE
    ),
    *(
        fault(
            f"{parent}.{name} stands for {instead}, and is not among its types",
            (_UNKNOWN, "choice"),
            f"{R4}/formats.html#choice",
            {f"{parent}.{name}": value, f"{parent}.{instead}": GONE},
            at=f"{parent}.{name}",
            exactly=parent,
            also="ext-1",
        )
        for parent, instead, name, value in _NO_CHOICE
    ),
]

_KINDS: list[tuple[str, Any, str]] = [
    ("Bundle.entry", "x", "is a string, not a list of objects"),
    ("Bundle.entry[11]", "x", "is a string, not an object"),
    ("Bundle.entry[11]", [], "is a list within a list"),
    ("Bundle.type", 1, "is a number, not a string"),
    ("Bundle.timestamp", 20240502, "is a number, not a string"),
    ("@Group.resource", "Group/g1", "is a string, not a resource"),
    ("@Group.fullUrl", {"value": "urn:a"}, "is an object, not a string"),
    ("MessageHeader.source", "Lakeside", "is a string, not an object"),
    ("MessageHeader.eventCoding", "new-order", "is a string, not a Coding"),
    ("MessageHeader.eventCoding.userSelected", "false", "is a string, not a boolean"),
    ("MessageHeader.text", "<div>Lakeside</div>", "is a string, not a Narrative"),
    ("MessageHeader.text.div", {"p": "x"}, "is an object, not a string"),
    ("Task.status", {"code": "requested"}, "is an object, not a string"),
    ("Task.code", "fulfill", "is a string, not a CodeableConcept"),
    ("Task.code.coding[0]", "fulfill", "is a string, not a Coding"),
    ("Task.description", 5, "is a number, not a string"),
    ("Task.owner", "Organization/o1", "is a string, not a Reference"),
    ("Task.executionPeriod", "2024-05-02", "is a string, not a Period"),
    ("Task.restriction.repetitions", "1", "is a string, not a number"),
    ("Task.contained[+]", "ward", "is a string, not a resource"),
    ("Task.note[0].text", True, "is a boolean, not a string"),
    ("Task.extension[1]", "x", "is a string, not an Extension"),
    ("Task.meta", True, "is a boolean, not a Meta"),
    ("Patient.active", "true", "is a string, not a boolean"),
    ("Patient.active", 1, "is a number, not a boolean"),
    ("Patient.birthDate", 1980, "is a number, not a string"),
    ("Patient.name[0].given[0]", 1, "is a number, not a string"),
    ("Patient.name[0].given[0]", {"value": "Ada"}, "is an object, not a string"),
    ("Patient.name[0].given[0]", ["Ada"], "is a list within a list"),
    ("Patient.name[1]", "Addie Amber", "is a string, not a HumanName"),
    ("Patient._birthDate", "approximately", "is a string, not an object"),
    ("Patient.multipleBirthInteger", True, "is a boolean, not a number"),
    ("Patient.photo[0].size", "8", "is a string, not a number"),
    ("Observation.valueQuantity.value", "7.20", "is a string, not a number"),
    ("Observation.valueQuantity", Number("7.20"), "is a number, not a Quantity"),
    ("Parameters.parameter[1].part[1].resource", "Patient/p9", "is a string, not a resource"),
]

KINDS: list[Fault] = [
    _without_entries(given(path, value, ("type", "empty") if value == [] else "type", f"{_JSON}#primitive", why))
    for path, value, why in _KINDS
]

_TYPES: list[tuple[str, Any, str]] = [
    ("@Group.resource.resourceType", GONE, "is left out"),
    ("@Group.resource.resourceType", "Grouping", "is no type of R4"),
    ("@Group.resource.resourceType", "group", "is not written as the type is: case matters"),
    ("@Group.resource.resourceType", "Resource", "is Resource, and abstract"),
    ("@Group.resource.resourceType", "DomainResource", "is DomainResource, and abstract"),
    ("@Group.resource.resourceType", "HumanName", "is a data type"),
    ("@Group.resource.resourceType", "Group.member", "is a part of a resource"),
    ("@Group.resource.resourceType", "", "is empty"),
    ("@Group.resource.resourceType", 1, "is a number"),
    ("@Group.resource.resourceType", ["Group"], "is a list"),
    ("@Group.resource.resourceType", "Transport", "is a type of R5"),
    ("Task.contained[1].resourceType", GONE, "is left out"),
    ("Task.contained[1].resourceType", "Ward", "is no type of R4"),
    ("Parameters.parameter[2].resource.resourceType", GONE, "is left out"),
    ("Parameters.parameter[2].resource.resourceType", "Anything", "is no type of R4"),
    ("transaction-response.entry[0].response.outcome.resourceType", GONE, "is left out"),
    ("document.entry[1].resource.resourceType", "patient", "is not written as the type is: case matters"),
]

_REFERRING = {"Task.contained[1].resourceType": ("Task.restriction.recipient[1]",)}
"""What refers to a resource of no type may not."""

RESOURCE_TYPES: list[Fault] = [
    fault(
        f"{path} {why}",
        "resource-type",
        f"{R4}/json.html#resources",
        {path: value},
        exactly=(path, path.removesuffix(".resourceType"), *_REFERRING.get(path, ())),
        also=("full-url", "reference-target", "bdl-11"),
    )
    for path, value, why in _TYPES
]
