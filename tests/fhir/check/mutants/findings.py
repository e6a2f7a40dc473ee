"""Sound resources, part three: what is found, what is said about it, and the whole message. Nobody is meant by them."""

from gateway.fhir.json import Number, Resource
from tests.fhir.check.mutants import orders, people
from tests.fhir.check.mutants.orders import SERVER, TERMINOLOGY, concept, local, quantity

PATIENT = {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"}

OBSERVATION: Resource = {
    "resourceType": "Observation",
    "id": "ob1",
    "identifier": [{"system": "https://lakeside.test/results", "value": "O-1"}],
    "basedOn": [{"reference": "ServiceRequest/s1"}],
    "partOf": [{"reference": "MedicationDispense/md1"}],
    "status": "final",
    "category": [concept(f"{TERMINOLOGY}/observation-category", "laboratory")],
    "code": concept("http://loinc.org", "718-7", "Hemoglobin [Mass/volume] in Blood"),
    "subject": PATIENT,
    "focus": [{"reference": "Specimen/sp1"}],
    "encounter": {"reference": "Encounter/e1"},
    "effectivePeriod": {"start": "2024-05-02T09:00:00Z", "end": "2024-05-02T09:05:00Z"},
    "issued": "2024-05-02T12:00:00.000Z",
    "performer": [{"reference": "Practitioner/d1"}],
    "valueQuantity": {**quantity("7.20", "g/dL"), "comparator": "<"},
    "interpretation": [concept(f"{TERMINOLOGY}/v3-ObservationInterpretation", "L")],
    "note": [{"text": "Measured twice"}],
    "bodySite": concept("http://snomed.info/sct", "308046002"),
    "method": {"text": "automatic"},
    "specimen": {"reference": "Specimen/sp1"},
    "device": {"display": "The counter"},
    "referenceRange": [
        {
            "low": quantity("7.5", "g/dL"),
            "high": quantity("10", "g/dL"),
            "type": concept(f"{TERMINOLOGY}/referencerange-meaning", "normal"),
            "appliesTo": [{"text": "women"}],
            "age": {"low": quantity("18", "a"), "high": quantity("99", "a")},
            "text": "7.5 to 10",
        }
    ],
    "component": [
        {
            "code": concept("http://loinc.org", "4544-3"),
            "valueRatio": {"numerator": quantity("1", "mL"), "denominator": quantity("128", "mL")},
            "interpretation": [concept(f"{TERMINOLOGY}/v3-ObservationInterpretation", "N")],
            "referenceRange": [{"text": "none"}],
        },
        {
            "code": local("trace"),
            "valueSampledData": {
                "origin": quantity("0", "mV"),
                "period": 10,
                "factor": Number("1.612"),
                "lowerLimit": -3300,
                "upperLimit": 3300,
                "dimensions": 1,
                "data": "2041 2043 E L U",
            },
        },
        {
            "code": local("missing"),
            "dataAbsentReason": concept(f"{TERMINOLOGY}/data-absent-reason", "unknown"),
        },
    ],
}

DIAGNOSTIC_REPORT: Resource = {
    "resourceType": "DiagnosticReport",
    "id": "dr1",
    "identifier": [{"system": "https://lakeside.test/reports", "value": "D-1"}],
    "basedOn": [{"reference": "ServiceRequest/s1"}],
    "status": "partial",
    "category": [concept(f"{TERMINOLOGY}/v2-0074", "HM")],
    "code": concept("http://loinc.org", "58410-2"),
    "subject": PATIENT,
    "encounter": {"reference": "Encounter/e1"},
    "effectiveDateTime": "2024-05-02T09:00:00.5Z",
    "issued": "2024-05-02T12:30:00-01:30",
    "performer": [{"reference": "Organization/o1"}],
    "resultsInterpreter": [{"reference": "PractitionerRole/r1"}],
    "specimen": [{"reference": "Specimen/sp1"}],
    "result": [{"reference": "Observation/ob1"}],
    "media": [{"comment": "A smear", "link": {"display": "The picture"}}],
    "conclusion": "Low",
    "conclusionCode": [{"text": "Anaemia"}],
    "presentedForm": [{"contentType": "text/plain; charset=utf-8", "data": "TG93Cg==", "title": "In short"}],
}

SPECIMEN: Resource = {
    "resourceType": "Specimen",
    "id": "sp1",
    "identifier": [{"system": "https://lakeside.test/specimens", "value": "X-1"}],
    "accessionIdentifier": {"value": "A-1"},
    "status": "available",
    "type": concept(f"{TERMINOLOGY}/v2-0487", "BLD"),
    "subject": PATIENT,
    "receivedTime": "2024-05-02T09:30:00Z",
    "request": [{"reference": "ServiceRequest/s1"}],
    "collection": {
        "collector": {"reference": "Practitioner/d1"},
        "collectedDateTime": "2024-05-02T09:00:00Z",
        "duration": quantity("2", "min"),
        "quantity": quantity("4.5", "mL"),
        "method": {"text": "venepuncture"},
        "bodySite": {"text": "left arm"},
        "fastingStatusCodeableConcept": concept(f"{TERMINOLOGY}/v2-0916", "F"),
    },
    "processing": [
        {"description": "spun", "procedure": {"text": "centrifugation"}, "timeDateTime": "2024-05-02T09:40:00Z"}
    ],
    "container": [
        {
            "identifier": [{"value": "tube 1"}],
            "description": "A tube",
            "type": {"text": "EDTA tube"},
            "capacity": quantity("5", "mL"),
            "specimenQuantity": quantity("4.5", "mL"),
            "additiveCodeableConcept": {"text": "EDTA"},
        }
    ],
    "condition": [concept(f"{TERMINOLOGY}/v2-0493", "COOL")],
    "note": [{"text": "Clear"}],
}

ENCOUNTER: Resource = {
    "resourceType": "Encounter",
    "id": "e1",
    "identifier": [{"system": "https://lakeside.test/visits", "value": "E-1"}],
    "status": "in-progress",
    "statusHistory": [
        {"status": "arrived", "period": {"start": "2024-05-01T10:00:00Z", "end": "2024-05-01T11:00:00Z"}}
    ],
    "class": {"system": f"{TERMINOLOGY}/v3-ActCode", "code": "IMP", "display": "inpatient encounter"},
    "classHistory": [
        {"class": {"system": f"{TERMINOLOGY}/v3-ActCode", "code": "EMER"}, "period": {"start": "2024-05-01"}}
    ],
    "type": [{"text": "A stay"}],
    "subject": PATIENT,
    "basedOn": [{"reference": "ServiceRequest/s1"}],
    "participant": [
        {
            "type": [concept(f"{TERMINOLOGY}/v3-ParticipationType", "ATND")],
            "period": {"start": "2024-05-01"},
            "individual": {"reference": "Practitioner/d1"},
        }
    ],
    "appointment": [{"reference": "Appointment/ap1"}],
    "period": {"start": "2024-05-01T10:00:00Z"},
    "length": quantity("3", "d"),
    "reasonReference": [{"reference": "Condition/k1"}],
    "diagnosis": [
        {
            "condition": {"reference": "Condition/k1"},
            "use": concept(f"{TERMINOLOGY}/diagnosis-role", "AD"),
            "rank": 1,
        }
    ],
    "hospitalization": {
        "preAdmissionIdentifier": {"value": "PA-1"},
        "origin": {"reference": "Location/l1"},
        "admitSource": concept(f"{TERMINOLOGY}/admit-source", "gp"),
        "dietPreference": [concept(f"{TERMINOLOGY}/diet", "vegetarian")],
    },
    "location": [{"location": {"reference": "Location/l1"}, "status": "active", "period": {"start": "2024-05-01"}}],
    "serviceProvider": {"reference": "Organization/o1"},
}

OPERATION_OUTCOME: Resource = {
    "resourceType": "OperationOutcome",
    "id": "oo1",
    "issue": [
        {
            "severity": "information",
            "code": "informational",
            "details": {"text": "All is well"},
            "diagnostics": "none",
            "expression": ["Bundle.entry[0].resource"],
        },
        {"severity": "warning", "code": "code-invalid", "details": concept("https://lakeside.test/answers", "w1")},
    ],
}

PROVENANCE: Resource = {
    "resourceType": "Provenance",
    "id": "v1",
    "target": [{"reference": "Task/t1"}],
    "occurredDateTime": "2024-05-02T08:00:00Z",
    "recorded": "2024-05-02T08:00:01Z",
    "policy": ["https://lakeside.test/policy"],
    "location": {"reference": "Location/l1"},
    "activity": concept(f"{TERMINOLOGY}/v3-DataOperation", "CREATE"),
    "agent": [
        {
            "type": concept(f"{TERMINOLOGY}/provenance-participant-type", "author"),
            "who": {"reference": "Practitioner/d1"},
            "onBehalfOf": {"reference": "Organization/o1"},
        }
    ],
    "entity": [
        {
            "role": "source",
            "what": {"reference": "ServiceRequest/s1"},
            "agent": [{"role": [local("scribe")], "who": {"reference": "PractitionerRole/r1"}}],
        }
    ],
    "signature": [
        {
            "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
            "when": "2024-05-02T08:00:02Z",
            "who": {"reference": "Practitioner/d1"},
            "targetFormat": "application/fhir+json",
            "sigFormat": "application/jose",
            "data": "aGk=",
        }
    ],
}

COMMUNICATION: Resource = {
    "resourceType": "Communication",
    "id": "cm1",
    "instantiatesCanonical": ["https://lakeside.test/PlanDefinition/calls|2"],
    "basedOn": [{"reference": "ServiceRequest/s1"}],
    "partOf": [{"reference": "Task/t1"}],
    "status": "completed",
    "category": [concept(f"{TERMINOLOGY}/communication-category", "notification")],
    "priority": "stat",
    "medium": [concept(f"{TERMINOLOGY}/v3-ParticipationMode", "WRITTEN")],
    "subject": PATIENT,
    "encounter": {"reference": "Encounter/e1"},
    "sent": "2024-05-02T08:00:00Z",
    "received": "2024-05-02",
    "recipient": [{"reference": "Organization/o1"}],
    "sender": {"reference": "Practitioner/d1"},
    "reasonReference": [{"reference": "Condition/k1"}],
    "payload": [
        {"contentString": "Please call"},
        {"contentReference": {"reference": "DiagnosticReport/dr1"}},
        {"contentAttachment": {"contentType": "text/plain", "data": "aGk="}},
    ],
    "note": [{"text": "None"}],
}

PARAMETERS: Resource = {
    "resourceType": "Parameters",
    "id": "pa1",
    "parameter": [
        {"name": "exact", "valueBoolean": True},
        {
            "name": "match",
            "part": [
                {"name": "score", "valueDecimal": Number("0.80")},
                {"name": "patient", "resource": {"resourceType": "Patient", "id": "p9", "gender": "male"}},
                {"name": "deeper", "part": [{"name": "word", "valueString": "down here"}]},
            ],
        },
        {"name": "resource", "resource": {"resourceType": "Basic", "id": "b9", "code": {"text": "anything"}}},
    ],
}

CONDITION: Resource = {
    "resourceType": "Condition",
    "id": "k1",
    "clinicalStatus": concept(f"{TERMINOLOGY}/condition-clinical", "resolved"),
    "verificationStatus": concept(f"{TERMINOLOGY}/condition-ver-status", "confirmed"),
    "category": [concept(f"{TERMINOLOGY}/condition-category", "encounter-diagnosis")],
    "code": {"text": "Anaemia"},
    "subject": PATIENT,
    "onsetAge": quantity("40", "a"),
    "abatementDateTime": "2024-05",
    "stage": [{"summary": {"text": "mild"}}],
    "evidence": [{"detail": [{"reference": "Observation/ob1"}]}],
}

ALLERGY_INTOLERANCE: Resource = {
    "resourceType": "AllergyIntolerance",
    "id": "a1",
    "clinicalStatus": concept(f"{TERMINOLOGY}/allergyintolerance-clinical", "active"),
    "verificationStatus": concept(f"{TERMINOLOGY}/allergyintolerance-verification", "confirmed"),
    "type": "allergy",
    "category": ["food", "environment"],
    "criticality": "low",
    "code": {"text": "Nuts"},
    "patient": PATIENT,
    "reaction": [{"manifestation": [{"text": "rash"}], "severity": "mild"}],
}

MEDICATION_ADMINISTRATION: Resource = {
    "resourceType": "MedicationAdministration",
    "id": "ma1",
    "status": "completed",
    "medicationCodeableConcept": {"text": "Paracetamol"},
    "subject": PATIENT,
    "effectiveDateTime": "2024-05-02T14:00:00Z",
    "dosage": {"text": "one", "dose": quantity("1", "{tbl}")},
}

CARE_PLAN: Resource = {
    "resourceType": "CarePlan",
    "id": "cp1",
    "status": "active",
    "intent": "plan",
    "subject": PATIENT,
    "activity": [{"detail": {"status": "scheduled", "description": "Walk"}}],
}

LIST: Resource = {
    "resourceType": "List",
    "id": "li1",
    "status": "current",
    "mode": "working",
    "entry": [{"date": "2024-05-02", "item": {"reference": "Condition/k1"}}],
}

COMPOSITION: Resource = {
    "resourceType": "Composition",
    "id": "co1",
    "status": "final",
    "type": concept("http://loinc.org", "34133-9"),
    "subject": {"reference": f"{SERVER}/Patient/p1"},
    "date": "2024-05-02",
    "author": [{"display": "A machine"}],
    "title": "A summary",
    "section": [{"title": "One", "entry": [{"display": "something"}]}],
}


def _nested(kind: str, **elements: object) -> Resource:
    return {"resourceType": "Bundle", "id": kind, "type": kind, **elements}


DOCUMENT = _nested(
    "document",
    identifier={"system": "https://lakeside.test/documents", "value": "1"},
    timestamp="2024-05-02T08:00:00Z",
    entry=[
        {"fullUrl": "urn:uuid:0c6fb7b4-4c6f-4a8e-8f8f-5b8f0a6a4d01", "resource": COMPOSITION},
        {"fullUrl": f"{SERVER}/Patient/p1", "resource": {"resourceType": "Patient", "id": "p1", "gender": "female"}},
    ],
)
SEARCHSET = _nested(
    "searchset",
    total=2,
    link=[{"relation": "self", "url": f"{SERVER}/Patient?gender=female"}],
    entry=[
        {
            "fullUrl": f"{SERVER}/Patient/p1",
            "resource": {"resourceType": "Patient", "id": "p1", "gender": "female"},
            "search": {"mode": "match", "score": Number("0.9")},
        }
    ],
)
TRANSACTION = _nested(
    "transaction",
    entry=[
        {
            "fullUrl": "urn:uuid:0c6fb7b4-4c6f-4a8e-8f8f-5b8f0a6a4d02",
            "resource": {"resourceType": "Patient", "gender": "female"},
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=1"},
        },
        {"request": {"method": "DELETE", "url": "Patient/p7", "ifModifiedSince": "2024-05-02T08:00:00Z"}},
    ],
)
TRANSACTION_RESPONSE = _nested(
    "transaction-response",
    entry=[
        {
            "response": {
                "status": "201 Created",
                "location": "Patient/p8/_history/1",
                "etag": 'W/"1"',
                "lastModified": "2024-05-02T08:00:00Z",
                "outcome": {
                    "resourceType": "OperationOutcome",
                    "issue": [{"severity": "warning", "code": "processing"}],
                },
            }
        }
    ],
)

RESOURCES: list[Resource] = [
    orders.MESSAGE_HEADER,
    orders.TASK,
    orders.SERVICE_REQUEST,
    orders.MEDICATION_REQUEST,
    orders.MEDICATION_DISPENSE,
    people.PATIENT,
    people.PRACTITIONER,
    people.PRACTITIONER_ROLE,
    people.ORGANIZATION,
    people.LOCATION,
    people.CARE_TEAM,
    people.GROUP,
    people.COVERAGE,
    people.APPOINTMENT,
    people.APPOINTMENT_RESPONSE,
    OBSERVATION,
    DIAGNOSTIC_REPORT,
    SPECIMEN,
    ENCOUNTER,
    OPERATION_OUTCOME,
    PROVENANCE,
    COMMUNICATION,
    PARAMETERS,
    CONDITION,
    ALLERGY_INTOLERANCE,
    MEDICATION_ADMINISTRATION,
    CARE_PLAN,
    LIST,
    DOCUMENT,
    SEARCHSET,
    TRANSACTION,
    TRANSACTION_RESPONSE,
]


def _full_url(resource: Resource) -> str:
    if resource is people.PATIENT:
        return PATIENT["reference"]
    return f"{SERVER}/{resource['resourceType']}/{resource['id']}"


MESSAGE: Resource = {
    "resourceType": "Bundle",
    "id": "b1",
    "meta": {"lastUpdated": "2024-05-02T08:30:00Z"},
    "language": "en",
    "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:5a4f8a52-7a0f-4f6d-a3f3-0b3a0c9d3e10"},
    "type": "message",
    "timestamp": "2024-05-02T08:30:00.125+02:00",
    "link": [{"relation": "self", "url": "https://lakeside.test/messages/1"}],
    "entry": [{"fullUrl": _full_url(resource), "resource": resource} for resource in RESOURCES],
    "signature": {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.5"}],
        "when": "2024-05-02T08:30:01Z",
        "who": {"reference": "Practitioner/d1"},
        "onBehalfOf": {"reference": "Organization/o1"},
        "data": "aGk=",
    },
}
