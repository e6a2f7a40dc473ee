"""Sound resources, part one: a message header, what is ordered, and what is done about it. Nobody is meant by them."""

from gateway.fhir.json import Number, Resource

SERVER = "https://fhir.lakeside.test/r4"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
UCUM = "http://unitsofmeasure.org"


def concept(system: str, code: str, display: str | None = None) -> Resource:
    """A CodeableConcept with one coding."""
    coding = {"system": system, "code": code, "display": display}
    return {"coding": [{name: item for name, item in coding.items() if item}], "text": f"What is called {code}"}


def quantity(lexeme: str, unit: str) -> Resource:
    """A Quantity in UCUM's `unit`."""
    return {"value": Number(lexeme) if "." in lexeme else int(lexeme), "unit": unit, "system": UCUM, "code": unit}


def local(code: str) -> Resource:
    """A CodeableConcept of a system that nobody but the sender knows."""
    return concept("https://lakeside.test/codes", code)


MESSAGE_HEADER: Resource = {
    "resourceType": "MessageHeader",
    "id": "h1",
    "meta": {
        "lastUpdated": "2024-05-02T08:30:00.125+02:00",
        "versionId": "7",
        "source": "urn:lakeside:interface#4711",
        "profile": ["https://lakeside.test/StructureDefinition/header|1.0.0"],
        "security": [{"system": f"{TERMINOLOGY}/v3-Confidentiality", "code": "N"}],
        "tag": [{"system": "https://lakeside.test/tags", "code": "drill"}],
    },
    "implicitRules": "https://lakeside.test/rules",
    "language": "en-GB",
    "text": {
        "status": "generated",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p class="a">An <b>order</b> for a blood count</p></div>',
    },
    "eventCoding": {
        "system": "https://lakeside.test/events",
        "version": "1",
        "code": "new-order",
        "display": "New order",
        "userSelected": False,
    },
    "destination": [
        {
            "name": "Hillside laboratory",
            "endpoint": "https://hillside.test/fhir/$process-message",
            "receiver": {"reference": "Organization/o1"},
        }
    ],
    "sender": {"reference": "Organization/o1", "display": "Lakeside hospital"},
    "enterer": {"reference": "PractitionerRole/r1"},
    "author": {"reference": "Practitioner/d1"},
    "source": {
        "name": "Lakeside",
        "software": "Orders",
        "version": "3.1",
        "contact": {"system": "email", "value": "interfaces@lakeside.test", "use": "work", "rank": 1},
        "endpoint": "https://fhir.lakeside.test/r4/$process-message",
    },
    "responsible": {"reference": "Practitioner/d1"},
    "reason": concept(f"{TERMINOLOGY}/message-reasons-encounter", "admit"),
    "response": {"identifier": "b0a1-77", "code": "ok", "details": {"reference": "OperationOutcome/oo1"}},
    "focus": [{"reference": "Task/t1"}],
    "definition": "https://lakeside.test/MessageDefinition/new-order|1.0",
}

TASK: Resource = {
    "resourceType": "Task",
    "id": "t1",
    "contained": [
        {
            "resourceType": "RelatedPerson",
            "id": "sister",
            "patient": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"},
            "name": [{"family": "Amber", "given": ["Ida"]}],
        },
        {"resourceType": "Organization", "id": "ward", "name": "Ward 5"},
    ],
    "extension": [
        {
            "url": "https://lakeside.test/StructureDefinition/urgency",
            "extension": [
                {"url": "level", "valueInteger": 3},
                {"url": "until", "valueDateTime": "2024-05-03T00:00:00Z"},
            ],
        },
        {"url": "https://lakeside.test/StructureDefinition/room", "valueString": "5.12"},
    ],
    "modifierExtension": [{"url": "https://lakeside.test/StructureDefinition/drill", "valueBoolean": True}],
    "identifier": [
        {
            "use": "official",
            "type": concept(f"{TERMINOLOGY}/v2-0203", "PLAC"),
            "system": "https://lakeside.test/tasks",
            "value": "T-1001",
            "period": {"start": "2024-05-01", "end": "2024-12-31"},
            "assigner": {"reference": "Organization/o1"},
        }
    ],
    "instantiatesCanonical": "https://lakeside.test/ActivityDefinition/blood-count",
    "instantiatesUri": "https://lakeside.test/protocols/7",
    "basedOn": [{"reference": "ServiceRequest/s1"}],
    "groupIdentifier": {"system": "https://lakeside.test/groups", "value": "G-1"},
    "status": "requested",
    "statusReason": {"text": "Not yet seen"},
    "businessStatus": {"text": "Sent"},
    "intent": "order",
    "priority": "urgent",
    "code": concept("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
    "description": "Please fulfil",
    "focus": {"reference": "ServiceRequest/s1", "type": "ServiceRequest"},
    "for": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11", "type": "Patient"},
    "encounter": {"reference": "Encounter/e1"},
    "executionPeriod": {"start": "2024-05-02T09:00:00Z", "end": "2024-05-02T10:00:00Z"},
    "authoredOn": "2024-05-02T08:00:00+02:00",
    "lastModified": "2024-05-02T06:30:00Z",
    "requester": {"reference": "PractitionerRole/r1"},
    "performerType": [local("laboratory")],
    "owner": {"reference": "Organization/o1"},
    "location": {"reference": "Location/l1"},
    "reasonCode": {"text": "Routine"},
    "insurance": [{"reference": "Coverage/c1"}],
    "note": [
        {"authorReference": {"reference": "Practitioner/d1"}, "time": "2024-05-02T08:01:00Z", "text": "**Soon**"},
        {"authorString": "The ward", "text": "Call before you come"},
    ],
    "relevantHistory": [{"reference": "Provenance/v1"}],
    "restriction": {
        "repetitions": 1,
        "period": {"end": "2024-06"},
        "recipient": [{"reference": "#sister"}, {"reference": "#ward"}],
    },
    "input": [
        {"type": {"text": "dose"}, "valueQuantity": quantity("0.5", "mg")},
        {"type": {"text": "words"}, "valueString": "as it was"},
    ],
    "output": [{"type": {"text": "result"}, "valueReference": {"reference": "DiagnosticReport/dr1"}}],
}

SERVICE_REQUEST: Resource = {
    "resourceType": "ServiceRequest",
    "id": "s1",
    "identifier": [{"system": "https://lakeside.test/orders", "value": "S-1001"}],
    "requisition": {"value": "R-1"},
    "status": "active",
    "intent": "order",
    "category": [concept("http://snomed.info/sct", "108252007")],
    "priority": "routine",
    "doNotPerform": False,
    "code": concept("http://loinc.org", "58410-2"),
    "orderDetail": [local("in-the-morning")],
    "quantityQuantity": quantity("1", "1"),
    "subject": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"},
    "encounter": {"reference": "Encounter/e1"},
    "occurrenceTiming": {
        "event": ["2024-05-02", "2024-05-03"],
        "repeat": {
            "boundsPeriod": {"start": "2024-05-02", "end": "2024-05-09"},
            "count": 3,
            "countMax": 5,
            "duration": 5,
            "durationMax": Number("7.5"),
            "durationUnit": "min",
            "frequency": 1,
            "frequencyMax": 2,
            "period": 1,
            "periodMax": 2,
            "periodUnit": "d",
            "dayOfWeek": ["mon", "fri"],
            "when": ["ACM"],
            "offset": 30,
        },
        "code": concept(f"{TERMINOLOGY}/v3-GTSAbbreviation", "QD"),
    },
    "asNeededBoolean": True,
    "authoredOn": "2024-05-02T08:00:00+02:00",
    "requester": {"reference": "PractitionerRole/r1"},
    "performerType": local("laboratory"),
    "performer": [{"reference": "Organization/o1"}],
    "locationCode": [local("bedside")],
    "locationReference": [{"reference": "Location/l1"}],
    "reasonCode": [{"text": "Fatigue"}],
    "reasonReference": [{"reference": "Condition/k1"}],
    "insurance": [{"reference": "Coverage/c1"}],
    "supportingInfo": [{"reference": "AllergyIntolerance/a1"}],
    "specimen": [{"reference": "Specimen/sp1"}],
    "bodySite": [concept("http://snomed.info/sct", "368208006")],
    "note": [{"text": "None"}],
    "patientInstruction": "Do not eat before",
    "relevantHistory": [{"reference": "Provenance/v1"}],
}

MEDICATION_REQUEST: Resource = {
    "resourceType": "MedicationRequest",
    "id": "mr1",
    "identifier": [{"system": "https://lakeside.test/prescriptions", "value": "P-1"}],
    "status": "active",
    "statusReason": {"text": "none"},
    "intent": "order",
    "category": [concept(f"{TERMINOLOGY}/medicationrequest-category", "inpatient")],
    "priority": "asap",
    "doNotPerform": False,
    "reportedBoolean": False,
    "medicationReference": {"reference": "#drug"},
    "contained": [{"resourceType": "Medication", "id": "drug", "code": {"text": "Paracetamol 500 mg tablets"}}],
    "subject": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"},
    "encounter": {"reference": "Encounter/e1"},
    "supportingInformation": [{"reference": "Observation/ob1"}],
    "authoredOn": "2024-05-02",
    "requester": {"reference": "Practitioner/d1"},
    "performer": {"reference": "Practitioner/d1"},
    "recorder": {"reference": "PractitionerRole/r1"},
    "reasonReference": [{"reference": "Condition/k1"}],
    "instantiatesUri": ["https://lakeside.test/protocols/8", "urn:protocol:9"],
    "basedOn": [{"reference": "ServiceRequest/s1"}],
    "insurance": [{"reference": "Coverage/c1"}],
    "note": [{"text": "With water"}],
    "dosageInstruction": [
        {
            "sequence": 1,
            "text": "One or two tablets, three times a day",
            "additionalInstruction": [concept("http://snomed.info/sct", "311504000")],
            "patientInstruction": "With food",
            "timing": {
                "repeat": {"frequency": 3, "period": 1, "periodUnit": "d", "timeOfDay": ["08:00:00", "20:00:00"]}
            },
            "asNeededCodeableConcept": {"text": "pain"},
            "site": {"text": "mouth"},
            "route": concept("http://snomed.info/sct", "26643006"),
            "method": {"text": "swallow"},
            "doseAndRate": [
                {
                    "type": concept(f"{TERMINOLOGY}/dose-rate-type", "ordered"),
                    "doseRange": {"low": quantity("1", "{tbl}"), "high": quantity("2", "{tbl}")},
                    "rateRatio": {"numerator": quantity("1", "{tbl}"), "denominator": quantity("8", "h")},
                }
            ],
            "maxDosePerPeriod": {"numerator": quantity("6", "{tbl}"), "denominator": quantity("1", "d")},
            "maxDosePerAdministration": quantity("2", "{tbl}"),
            "maxDosePerLifetime": quantity("1000", "{tbl}"),
        }
    ],
    "dispenseRequest": {
        "initialFill": {"quantity": quantity("20", "{tbl}"), "duration": quantity("5", "d")},
        "dispenseInterval": quantity("7", "d"),
        "validityPeriod": {"start": "2024-05", "end": "2024-11"},
        "numberOfRepeatsAllowed": 0,
        "quantity": quantity("40", "{tbl}"),
        "expectedSupplyDuration": quantity("10", "d"),
        "performer": {"reference": "Organization/o1"},
    },
    "substitution": {"allowedBoolean": True, "reason": {"text": "price"}},
}

MEDICATION_DISPENSE: Resource = {
    "resourceType": "MedicationDispense",
    "id": "md1",
    "status": "completed",
    "statusReasonCodeableConcept": {"text": "none"},
    "category": concept(f"{TERMINOLOGY}/medicationdispense-category", "inpatient"),
    "medicationCodeableConcept": {"text": "Paracetamol 500 mg tablets"},
    "subject": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"},
    "context": {"reference": "Encounter/e1"},
    "performer": [
        {
            "function": concept(f"{TERMINOLOGY}/medicationdispense-performer-function", "packager"),
            "actor": {"reference": "Practitioner/d1"},
        }
    ],
    "location": {"reference": "Location/l1"},
    "authorizingPrescription": [{"reference": "MedicationRequest/mr1"}],
    "type": concept(f"{TERMINOLOGY}/v3-ActCode", "FF"),
    "quantity": quantity("20", "{tbl}"),
    "daysSupply": quantity("5", "d"),
    "whenPrepared": "2024-05-02T11:00:00Z",
    "whenHandedOver": "2024-05-02T13:05:00+02:00",
    "destination": {"reference": "Location/l1"},
    "receiver": [{"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"}],
    "note": [{"text": "In a box"}],
    "dosageInstruction": [{"text": "As told", "doseAndRate": [{"doseQuantity": quantity("1", "{tbl}")}]}],
    "substitution": {
        "wasSubstituted": True,
        "type": concept(f"{TERMINOLOGY}/v3-substanceAdminSubstitution", "G"),
        "reason": [{"text": "price"}],
        "responsibleParty": [{"reference": "Practitioner/d1"}],
    },
    "eventHistory": [{"reference": "Provenance/v1"}],
}
