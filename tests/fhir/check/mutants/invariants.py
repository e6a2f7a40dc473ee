"""Faults against the invariants of data types and of resources: https://hl7.org/fhir/R4/conformance-rules.html#constraints."""

from typing import Any

from gateway.fhir.json import Number
from tests.fhir.check.mutants.fault import GONE, Fault, fault
from tests.fhir.check.mutants.orders import TERMINOLOGY, UCUM, concept, quantity
from tests.fhir.check.mutants.primitives import as_input

_REPEAT = "ServiceRequest.occurrenceTiming.repeat"
_IN_ERROR = concept(f"{TERMINOLOGY}/allergyintolerance-verification", "entered-in-error")
_A_RANGE_OF = "MedicationRequest.dosageInstruction[0].doseAndRate[0]"


def _breaks(key: str, name: str, edits: dict[str, Any], at: str | None = None, *also: str) -> Fault:
    return fault(name, key, key, edits, at=at, also=also)


def _of_type(key: str, name: str, element: str, value: Any, *also: str) -> Fault:
    return _breaks(key, name, as_input(element, value), None, *also)


_PERIODS: list[tuple[str, Any, str]] = [
    ("Task.executionPeriod", {"start": "2024-05-02T10:00:00Z", "end": "2024-05-02T09:59:59Z"}, "by a second"),
    (
        "Task.executionPeriod",
        {"start": "2024-05-02T10:00:00.002Z", "end": "2024-05-02T10:00:00.001Z"},
        "by a millisecond",
    ),
    ("Task.executionPeriod", {"start": "2024-05-02T10:00:00Z", "end": "2024-05-02T11:00:00+02:00"}, "across zones"),
    ("Task.executionPeriod", {"start": "2024-05-02T23:30:00-05:00", "end": "2024-05-03T01:00:00Z"}, "across midnight"),
    ("Task.executionPeriod", {"start": "2024-05-03", "end": "2024-05-02"}, "by a day"),
    ("Task.executionPeriod", {"start": "2024-06", "end": "2024-05"}, "by a month"),
    ("Task.executionPeriod", {"start": "2024", "end": "2023"}, "by a year"),
    ("Task.executionPeriod", {"start": "2024", "end": "2023-12-31"}, "a year after a day"),
    ("Task.executionPeriod", {"start": "2024-05-03T12:00:00Z", "end": "2024-04"}, "an instant after a month"),
    ("Task.identifier[0].period", {"start": "2024-05-03", "end": "2024-05-02"}, "in an identifier"),
    ("Task.restriction.period", {"start": "2024-07", "end": "2024-06"}, "in a restriction"),
    ("Patient.name[0].period", {"start": "1980", "end": "1979"}, "in a name"),
    ("Patient.telecom[0].period.end", "2019", "in a contact point"),
    ("Patient.address[0].period.end", "2000-12-31", "in an address"),
    ("PractitionerRole.period.end", "2019-12-31", "in a role"),
    ("PractitionerRole.notAvailable[0].during.end", "2024-07-31", "in what is not available"),
    ("ServiceRequest.occurrenceTiming.repeat.boundsPeriod.end", "2024-05-01", "in the bounds of a timing"),
    ("MedicationRequest.dispenseRequest.validityPeriod.end", "2024-04", "in a prescription"),
    ("Encounter.statusHistory[0].period.end", "2024-05-01T09:00:00Z", "in the history"),
    ("Coverage.period.end", "2023-12-31", "in a coverage"),
    ("Appointment.requestedPeriod[0].end", "2024-05-02", "in an appointment"),
    ("Observation.effectivePeriod.end", "2024-05-02T08:00:00Z", "in an observation"),
]

PERIODS: list[Fault] = [
    fault(
        f"{path} makes a period end before it starts: {why}",
        "per-1",
        "per-1",
        {path: value},
        at=path.removesuffix(".end"),
    )
    for path, value, why in _PERIODS
]

DATA_TYPES: list[Fault] = [
    _breaks(
        "ext-1",
        "An extension has a value and extensions",
        {"Task.extension[1].extension": [{"url": "a", "valueInteger": 1}]},
        "Task.extension[1]",
    ),
    _breaks(
        "ext-1",
        "An extension has neither value nor extensions",
        {"Task.extension[1].valueString": GONE},
        "Task.extension[1]",
    ),
    _breaks(
        "ext-1",
        "An extension within another has nothing",
        {"Task.extension[0].extension[0].valueInteger": GONE},
        "Task.extension[0].extension[0]",
    ),
    _breaks(
        "ext-1",
        "An extension of a primitive has nothing",
        {"Patient._birthDate.extension[0].valueDateTime": GONE},
        "Patient.birthDate.extension[0]",
    ),
    _breaks(
        "ext-1",
        "A modifying extension has nothing",
        {"Task.modifierExtension[0].valueBoolean": GONE},
        "Task.modifierExtension[0]",
    ),
    _breaks(
        "ext-1",
        "An extension of a primitive in a list has both",
        {"Patient.name[0]._given[1].extension[0].extension": [{"url": "a", "valueInteger": 1}]},
        "Patient.name[0].given[1].extension[0]",
    ),
    _breaks(
        "ext-1",
        "An extension of a data type has nothing",
        {"Patient.name[1].extension": [{"url": "urn:a"}]},
        "Patient.name[1].extension[0]",
    ),
    _breaks("qty-3", "A code has no system", {"Observation.valueQuantity.system": GONE}, "Observation.valueQuantity"),
    _breaks(
        "qty-3",
        "A code in a range has no system",
        {"Observation.referenceRange[0].low.system": GONE},
        "Observation.referenceRange[0].low",
    ),
    _breaks(
        "qty-3",
        "A code in a ratio has no system",
        {"Observation.component[0].valueRatio.numerator.system": GONE},
        "Observation.component[0].valueRatio.numerator",
    ),
    _breaks(
        "qty-3",
        "A code in a dose has no system",
        {"MedicationDispense.dosageInstruction[0].doseAndRate[0].doseQuantity.system": GONE},
        "MedicationDispense.dosageInstruction[0].doseAndRate[0].doseQuantity",
    ),
    _breaks(
        "sqty-1",
        "A simple quantity has a comparator",
        {"Observation.referenceRange[0].low.comparator": "<"},
        "Observation.referenceRange[0].low",
    ),
    _breaks("cpt-2", "A contact has a value of no system", {"Patient.telecom[0].system": GONE}, "Patient.telecom[0]"),
    _breaks(
        "cpt-2",
        "A contact's contact has a value of no system",
        {"Patient.contact[0].telecom[0].system": GONE},
        "Patient.contact[0].telecom[0]",
    ),
    _breaks(
        "cpt-2",
        "The contact of a source has no system",
        {"MessageHeader.source.contact.system": GONE},
        "MessageHeader.source.contact",
    ),
    _breaks(
        "cpt-2",
        "The contact of an organisation has no system",
        {"Organization.contact[0].telecom[0].system": GONE},
        "Organization.contact[0].telecom[0]",
    ),
    _breaks("att-1", "A picture has data of no type", {"Patient.photo[0].contentType": GONE}, "Patient.photo[0]"),
    _breaks(
        "att-1",
        "A form has data of no type",
        {"DiagnosticReport.presentedForm[0].contentType": GONE},
        "DiagnosticReport.presentedForm[0]",
    ),
    _breaks(
        "att-1",
        "A payload has data of no type",
        {"Communication.payload[2].contentAttachment.contentType": GONE},
        "Communication.payload[2].contentAttachment",
    ),
    _breaks(
        "rat-1",
        "A ratio has no denominator",
        {"Observation.component[0].valueRatio.denominator": GONE},
        "Observation.component[0].valueRatio",
    ),
    _breaks(
        "rat-1",
        "A ratio has no numerator",
        {"Observation.component[0].valueRatio.numerator": GONE},
        "Observation.component[0].valueRatio",
    ),
    _breaks(
        "rat-1",
        "A ratio in a dosage has no denominator",
        {"MedicationRequest.dosageInstruction[0].maxDosePerPeriod.denominator": GONE},
        "MedicationRequest.dosageInstruction[0].maxDosePerPeriod",
    ),
    _breaks(
        "rng-2", "A range begins above its end", {f"{_A_RANGE_OF}.doseRange.low.value": 3}, f"{_A_RANGE_OF}.doseRange"
    ),
    _breaks(
        "rng-2",
        "A range of ages begins above its end",
        {"Observation.referenceRange[0].age.high.value": 17},
        "Observation.referenceRange[0].age",
    ),
    _breaks(
        "rng-2",
        "A range begins a hundredth above its end",
        {f"{_A_RANGE_OF}.doseRange.low.value": Number("2.01"), f"{_A_RANGE_OF}.doseRange.high.value": Number("2.0")},
        f"{_A_RANGE_OF}.doseRange",
    ),
    _breaks(
        "rng-2",
        "A range of tens begins above its end",
        {f"{_A_RANGE_OF}.doseRange.low.value": 10, f"{_A_RANGE_OF}.doseRange.high.value": 9},
        f"{_A_RANGE_OF}.doseRange",
    ),
    _of_type("age-1", "An age has no unit", "valueAge", {"value": 40}),
    _of_type("age-1", "An age is negative", "valueAge", quantity("-1", "a")),
    _of_type("age-1", "An age is nought", "valueAge", quantity("0", "a")),
    _of_type(
        "age-1", "An age is in a unit of another system", "valueAge", {"value": 1, "system": "urn:u", "code": "a"}
    ),
    _breaks("age-1", "The age at onset has no unit", {"Condition.onsetAge": {"value": 40, "unit": "years"}}),
    _of_type("drt-1", "A duration has a code and no value", "valueDuration", {"system": UCUM, "code": "d"}),
    _of_type(
        "drt-1",
        "A duration is in a unit of another system",
        "valueDuration",
        {"value": 1, "system": "urn:u", "code": "d"},
    ),
    _of_type("drt-1", "A duration's code has no system", "valueDuration", {"value": 1, "code": "d"}, "qty-3"),
    _breaks(
        "drt-1",
        "The length of a stay is in a unit of another system",
        {"Encounter.length.system": "urn:u"},
        "Encounter.length",
    ),
    _of_type("cnt-3", "A count has no code", "valueCount", {"value": 3}),
    _of_type("cnt-3", "A count counts something else", "valueCount", quantity("3", "mg")),
    _of_type("cnt-3", "A count has a fraction", "valueCount", quantity("3.5", "1")),
    _of_type(
        "cnt-3", "A count is in a unit of another system", "valueCount", {"value": 3, "system": "urn:u", "code": "1"}
    ),
    _of_type("dis-1", "A distance has no code", "valueDistance", {"value": 3}),
    _of_type(
        "dis-1",
        "A distance is in a unit of another system",
        "valueDistance",
        {"value": 3, "system": "urn:u", "code": "m"},
    ),
    _of_type("exp-1", "An expression is none", "valueExpression", {"language": "text/fhirpath", "name": "a"}),
    _of_type(
        "trd-1",
        "A trigger has a time and data",
        "valueTriggerDefinition",
        {"type": "data-added", "timingDate": "2024-05-02", "data": [{"type": "Task"}]},
    ),
    _of_type(
        "trd-2",
        "A trigger has a condition and no data",
        "valueTriggerDefinition",
        {"type": "named-event", "name": "a", "condition": {"language": "text/cql", "expression": "true"}},
    ),
    _of_type("trd-3", "A named trigger has no name", "valueTriggerDefinition", {"type": "named-event"}),
    _of_type("trd-3", "A periodic trigger has no time", "valueTriggerDefinition", {"type": "periodic", "name": "a"}),
    _of_type("trd-3", "A data trigger has no data", "valueTriggerDefinition", {"type": "data-changed"}),
    _of_type(
        "drq-1",
        "A filter of codes has no path",
        "valueDataRequirement",
        {"type": "Task", "codeFilter": [{"code": [{"code": "a"}]}]},
    ),
    _of_type(
        "drq-1",
        "A filter of codes has a path and a search parameter",
        "valueDataRequirement",
        {"type": "Task", "codeFilter": [{"path": "code", "searchParam": "code"}]},
    ),
    _of_type(
        "drq-2",
        "A filter of dates has no path",
        "valueDataRequirement",
        {"type": "Task", "dateFilter": [{"valueDateTime": "2024"}]},
    ),
]

TIMINGS: list[Fault] = [
    _breaks("tim-1", "A duration has no unit", {f"{_REPEAT}.durationUnit": GONE}, _REPEAT),
    _breaks("tim-2", "A period has no unit", {f"{_REPEAT}.periodUnit": GONE}, _REPEAT),
    _breaks("tim-4", "A duration is negative", {f"{_REPEAT}.duration": -5}, _REPEAT),
    _breaks("tim-4", "A duration is a little below nought", {f"{_REPEAT}.duration": Number("-0.001")}, _REPEAT),
    _breaks("tim-5", "A period is negative", {f"{_REPEAT}.period": -1}, _REPEAT),
    _breaks("tim-6", "The most of a period has no period", {f"{_REPEAT}.period": GONE}, _REPEAT),
    _breaks("tim-7", "The most of a duration has no duration", {f"{_REPEAT}.duration": GONE}, _REPEAT),
    _breaks("tim-8", "The most of a count has no count", {f"{_REPEAT}.count": GONE}, _REPEAT),
    _breaks("tim-9", "An offset has no when", {f"{_REPEAT}.when": GONE}, _REPEAT),
    *(
        _breaks("tim-9", f"An offset is of the meal itself, {meal}", {f"{_REPEAT}.when": [meal]}, _REPEAT)
        for meal in ("C", "CM", "CD", "CV")
    ),
    _breaks("tim-10", "A time of day comes with a when", {f"{_REPEAT}.timeOfDay": ["08:00:00"]}, _REPEAT),
    _breaks(
        "tim-2",
        "A period in a dosage has no unit",
        {"MedicationRequest.dosageInstruction[0].timing.repeat.periodUnit": GONE},
        "MedicationRequest.dosageInstruction[0].timing.repeat",
    ),
]

RESOURCES: list[Fault] = [
    _breaks("inv-1", "A task is changed before it is written", {"Task.lastModified": "2024-05-02T05:59:59Z"}, "Task"),
    _breaks(
        "inv-1",
        "A task is changed the day before it is written",
        {"Task.lastModified": "2024-05-01", "Task.authoredOn": "2024-05-02"},
        "Task",
    ),
    _breaks(
        "inv-1",
        "A task is changed the year before it is written",
        {"Task.lastModified": "2023", "Task.authoredOn": "2024-05-02T08:00:00Z"},
        "Task",
    ),
    _breaks(
        "inv-1", "A parameter has nothing", {"Parameters.parameter[0].valueBoolean": GONE}, "Parameters.parameter[0]"
    ),
    _breaks(
        "inv-1",
        "A parameter has a value and parts",
        {"Parameters.parameter[0].part": [{"name": "a", "valueInteger": 1}]},
        "Parameters.parameter[0]",
    ),
    _breaks(
        "inv-1",
        "A parameter has a value and a resource",
        {"Parameters.parameter[2].valueString": "x"},
        "Parameters.parameter[2]",
    ),
    _breaks(
        "inv-1",
        "A parameter has a resource and parts",
        {"Parameters.parameter[2].part": [{"name": "a", "valueInteger": 1}]},
        "Parameters.parameter[2]",
    ),
    _breaks(
        "inv-1",
        "A part within a part has nothing",
        {"Parameters.parameter[1].part[2].part[0].valueString": GONE},
        "Parameters.parameter[1].part[2].part[0]",
    ),
    _breaks("prr-1", "There are details of an order without a code", {"ServiceRequest.code": GONE}, "ServiceRequest"),
    _breaks(
        "mdd-1",
        "Something is handed over before it is prepared",
        {"MedicationDispense.whenHandedOver": "2024-05-02T12:59:00+02:00"},
        "MedicationDispense",
    ),
    _breaks(
        "mdd-1",
        "Something is handed over the day before it is prepared",
        {"MedicationDispense.whenPrepared": "2024-05-02", "MedicationDispense.whenHandedOver": "2024-05-01"},
        "MedicationDispense",
    ),
    _breaks("pat-1", "A contact has a gender and nothing to reach it by", {"Patient.contact[+]": {"gender": "male"}}),
    _breaks(
        "pat-1",
        "A contact has a period and nothing to reach it by",
        {"Patient.contact[0]": {"period": {"start": "2010"}, "relationship": [{"text": "friend"}]}},
    ),
    _breaks(
        "org-1",
        "An organisation has neither name nor identifier",
        {"Organization.name": GONE, "Organization.identifier": GONE},
        "Organization",
    ),
    _breaks(
        "org-2",
        "An organisation's address is its home",
        {"Organization.address[0].use": "home"},
        "Organization.address",
    ),
    _breaks(
        "org-2",
        "An organisation's second address is its home",
        {"Organization.address[+]": {"use": "home", "city": "Hillside"}},
        "Organization.address",
    ),
    _breaks(
        "org-3",
        "An organisation's telephone is at its home",
        {"Organization.telecom[0].use": "home"},
        "Organization.telecom",
    ),
    _breaks("obs-3", "A range has a type alone", {"Observation.referenceRange[0]": {"type": {"text": "normal"}}}),
    _breaks(
        "obs-3",
        "A component's range has an age alone",
        {"Observation.component[0].referenceRange[0]": {"age": {"low": quantity("18", "a")}}},
    ),
    _breaks(
        "obs-6",
        "A value is there, and a reason why not",
        {"Observation.dataAbsentReason": concept(f"{TERMINOLOGY}/data-absent-reason", "unknown")},
        "Observation",
    ),
    _breaks(
        "obs-7",
        "A component has the code of the whole",
        {"Observation.component[0].code": concept("http://loinc.org", "718-7", "Hemoglobin [Mass/volume] in Blood")},
        "Observation",
    ),
    _breaks("app-1", "A participant is nobody", {"Appointment.participant[+]": {"status": "accepted"}}),
    _breaks(
        "app-1",
        "A participant is required, and nobody",
        {"Appointment.participant[1]": {"required": "required", "status": "accepted"}},
    ),
    _breaks(
        "app-2",
        "A proposal starts, and does not end",
        {"Appointment.end": GONE, "Appointment.status": "proposed"},
        "Appointment",
    ),
    _breaks(
        "app-2",
        "A cancelled one ends, and does not start",
        {"Appointment.start": GONE, "Appointment.status": "cancelled"},
        "Appointment",
    ),
    *(
        _breaks(
            "app-3",
            f"An appointment that is {status} has no time",
            {"Appointment.start": GONE, "Appointment.end": GONE, "Appointment.status": status},
            "Appointment",
        )
        for status in ("booked", "arrived", "pending", "noshow", "checked-in")
    ),
    _breaks(
        "app-4",
        "An appointment is booked, and has a reason why it was cancelled",
        {"Appointment.cancelationReason": concept(f"{TERMINOLOGY}/appointment-cancellation-reason", "pat")},
        "Appointment",
    ),
    _breaks("con-1", "A stage says nothing of itself", {"Condition.stage[0]": {"type": {"text": "clinical"}}}),
    _breaks(
        "con-2", "Evidence is none", {"Condition.evidence[0]": {"extension": [{"url": "urn:a", "valueCode": "b"}]}}
    ),
    _breaks(
        "con-4",
        "A condition is over, and active",
        {"Condition.clinicalStatus": concept(f"{TERMINOLOGY}/condition-clinical", "active")},
        "Condition",
    ),
    _breaks(
        "con-5",
        "A condition was an error, and has a status",
        {"Condition.verificationStatus": concept(f"{TERMINOLOGY}/condition-ver-status", "entered-in-error")},
        "Condition",
    ),
    _breaks("ait-1", "An allergy has no status", {"AllergyIntolerance.clinicalStatus": GONE}, "AllergyIntolerance"),
    _breaks(
        "ait-2",
        "An allergy was an error, and has a status",
        {"AllergyIntolerance.verificationStatus": _IN_ERROR},
        "AllergyIntolerance",
    ),
    _breaks(
        "mad-1",
        "A dosage has neither dose nor rate",
        {"MedicationAdministration.dosage.dose": GONE},
        "MedicationAdministration.dosage",
    ),
    _breaks(
        "ctm-1",
        "An organisation acts for an organisation",
        {"CareTeam.participant[0].member": {"reference": "Organization/o1"}},
        "CareTeam.participant[0]",
    ),
    _breaks("grp-1", "A group that is none has members", {"Group.actual": False}, "Group"),
    _breaks("apr-1", "A response is nobody's", {"AppointmentResponse.actor": GONE}, "AppointmentResponse"),
    _breaks(
        "cpl-3",
        "An activity has details and a reference",
        {"CarePlan.activity[0].reference": {"reference": "Task/t1"}},
        "CarePlan.activity[0]",
    ),
    _breaks("lst-1", "A list that has entries says why it is empty", {"List.emptyReason": {"text": "x"}}, "List"),
    _breaks("lst-2", "An entry of a working list is deleted", {"List.entry[0].deleted": True}, "List"),
    _breaks("lst-3", "An entry of a snapshot has a date", {"List.mode": "snapshot"}, "List"),
    _breaks(
        "cmp-1",
        "A section has a title alone",
        {"document.entry[0].resource.section[0].entry": GONE},
        "document.entry[0].resource.section[0]",
    ),
    _breaks(
        "cmp-2",
        "A section that has entries says why it is empty",
        {"document.entry[0].resource.section[0].emptyReason": {"text": "x"}},
        "document.entry[0].resource.section[0]",
    ),
]
