"""Sound resources, part two: people, organisations and places. Nobody is meant by them."""

from gateway.fhir.json import Resource
from tests.fhir.check.mutants.orders import SERVER, TERMINOLOGY, concept, local

PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "p1",
    "extension": [{"url": "https://lakeside.test/StructureDefinition/colour", "valueCode": "green"}],
    "identifier": [
        {
            "use": "usual",
            "type": concept(f"{TERMINOLOGY}/v2-0203", "MR"),
            "system": "urn:oid:2.999.1.2",
            "value": "P-0001",
        },
        {"use": "secondary", "system": "https://lakeside.test/cards", "value": "C-9"},
    ],
    "active": True,
    "name": [
        {
            "use": "official",
            "text": "Dr Ada Amber",
            "family": "Amber",
            "given": ["Ada", "B."],
            "_given": [None, {"extension": [{"url": "https://lakeside.test/initial", "valueBoolean": True}]}],
            "prefix": ["Dr"],
            "suffix": ["MA"],
            "period": {"start": "1980"},
        },
        {"use": "nickname", "given": ["Addie"]},
    ],
    "telecom": [
        {"system": "phone", "value": "0000 1234", "use": "home", "rank": 1, "period": {"start": "2020", "end": "2030"}},
        {"system": "url", "value": "https://amber.test"},
    ],
    "gender": "female",
    "birthDate": "1980-02-29",
    "_birthDate": {
        "id": "bd",
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                "valueDateTime": "1980-02-29T14:35:45-05:00",
            }
        ],
    },
    "deceasedBoolean": False,
    "address": [
        {
            "use": "home",
            "type": "both",
            "text": "1 High Street, Lakeside",
            "line": ["1 High Street", "Second floor"],
            "city": "Lakeside",
            "district": "Lake",
            "state": "LK",
            "postalCode": "00001",
            "country": "XZ",
            "period": {"start": "2001-01-01"},
        }
    ],
    "maritalStatus": concept(f"{TERMINOLOGY}/v3-MaritalStatus", "M"),
    "multipleBirthInteger": 2,
    "photo": [
        {
            "contentType": "image/png",
            "language": "en",
            "data": "iVBORw0KGgo=",
            "size": 8,
            "hash": "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
            "title": "A face",
            "creation": "2024-01-01T00:00:00Z",
        },
        {"contentType": "image/png", "url": "https://lakeside.test/faces/1.png"},
    ],
    "contact": [
        {
            "relationship": [concept(f"{TERMINOLOGY}/v2-0131", "N")],
            "name": {"family": "Amber", "given": ["Bo"]},
            "telecom": [{"system": "sms", "value": "0000 5678", "use": "mobile"}],
            "address": {"use": "work", "city": "Hillside"},
            "gender": "other",
            "organization": {"reference": f"{SERVER}/Organization/o1"},
            "period": {"start": "2010"},
        }
    ],
    "communication": [{"language": concept("urn:ietf:bcp:47", "en-GB"), "preferred": True}],
    "generalPractitioner": [{"reference": f"{SERVER}/Practitioner/d1"}],
    "managingOrganization": {"reference": f"{SERVER}/Organization/o1"},
    "link": [{"other": {"display": "An older record", "type": "Patient"}, "type": "seealso"}],
}

PRACTITIONER: Resource = {
    "resourceType": "Practitioner",
    "id": "d1",
    "identifier": [{"use": "official", "system": "https://lakeside.test/staff", "value": "D-1"}],
    "active": True,
    "name": [{"use": "usual", "family": "Birch", "given": ["Cleo"], "prefix": ["Dr"]}],
    "telecom": [{"system": "pager", "value": "55", "use": "work"}],
    "address": [{"use": "temp", "type": "postal", "line": ["PO Box 7"]}],
    "gender": "unknown",
    "birthDate": "1975-06",
    "photo": [{"contentType": "image/jpeg", "url": "https://lakeside.test/faces/2.jpg"}],
    "qualification": [
        {
            "identifier": [{"system": "https://lakeside.test/diplomas", "value": "77"}],
            "code": concept(f"{TERMINOLOGY}/v2-0360", "MD"),
            "period": {"start": "2000-07-01"},
            "issuer": {"display": "A university"},
        }
    ],
    "communication": [concept("urn:ietf:bcp:47", "de")],
}

PRACTITIONER_ROLE: Resource = {
    "resourceType": "PractitionerRole",
    "id": "r1",
    "identifier": [{"system": "https://lakeside.test/roles", "value": "R-1"}],
    "active": True,
    "period": {"start": "2020-01-01", "end": "2029-12-31"},
    "practitioner": {"reference": "Practitioner/d1", "type": "Practitioner"},
    "organization": {"reference": "Organization/o1"},
    "code": [concept(f"{TERMINOLOGY}/practitioner-role", "doctor")],
    "specialty": [concept("http://snomed.info/sct", "394802001")],
    "location": [{"reference": "Location/l1"}],
    "healthcareService": [{"display": "Haematology"}],
    "telecom": [{"system": "fax", "value": "0000 99", "use": "old"}],
    "availableTime": [
        {"daysOfWeek": ["mon", "tue"], "availableStartTime": "08:00:00", "availableEndTime": "16:30:00"},
        {"daysOfWeek": ["sun"], "allDay": True},
    ],
    "notAvailable": [{"description": "Holidays", "during": {"start": "2024-08-01", "end": "2024-08-20"}}],
    "availabilityExceptions": "Public holidays",
    "endpoint": [{"display": "Secure mail"}],
}

ORGANIZATION: Resource = {
    "resourceType": "Organization",
    "id": "o1",
    "text": {
        "status": "additional",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml"><table><tr><td>Lakeside</td></tr></table></div>',
    },
    "identifier": [{"use": "official", "system": "https://lakeside.test/organizations", "value": "1"}],
    "active": True,
    "type": [concept(f"{TERMINOLOGY}/organization-type", "prov")],
    "name": "Lakeside hospital",
    "alias": ["Lakeside", "The Lake"],
    "telecom": [{"system": "phone", "value": "0000 1", "use": "work"}],
    "address": [{"use": "billing", "type": "physical", "line": ["2 High Street"], "city": "Lakeside"}],
    "partOf": {"identifier": {"system": "https://lakeside.test/organizations", "value": "0"}},
    "contact": [
        {
            "purpose": concept(f"{TERMINOLOGY}/contactentity-type", "ADMIN"),
            "name": {"text": "The office"},
            "telecom": [{"system": "email", "value": "office@lakeside.test"}],
            "address": {"text": "Room 1"},
        }
    ],
    "endpoint": [{"display": "Secure mail"}],
}

LOCATION: Resource = {
    "resourceType": "Location",
    "id": "l1",
    "status": "active",
    "operationalStatus": {"system": f"{TERMINOLOGY}/v2-0116", "code": "O"},
    "name": "Ward 5",
    "mode": "instance",
    "type": [concept(f"{TERMINOLOGY}/v3-RoleCode", "HOSP")],
    "position": {"longitude": 7, "latitude": -46, "altitude": 400},
    "managingOrganization": {"reference": "Organization/o1"},
    "hoursOfOperation": [{"daysOfWeek": ["mon"], "openingTime": "08:00:00", "closingTime": "18:00:00"}],
}

CARE_TEAM: Resource = {
    "resourceType": "CareTeam",
    "id": "ct1",
    "status": "active",
    "participant": [{"member": {"reference": "Practitioner/d1"}, "onBehalfOf": {"reference": "Organization/o1"}}],
}

GROUP: Resource = {
    "resourceType": "Group",
    "id": "g1",
    "type": "person",
    "actual": True,
    "member": [{"entity": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"}}],
}

COVERAGE: Resource = {
    "resourceType": "Coverage",
    "id": "c1",
    "identifier": [{"system": "https://lakeside.test/policies", "value": "V-1"}],
    "status": "active",
    "type": concept(f"{TERMINOLOGY}/v3-ActCode", "EHCPOL"),
    "policyHolder": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"},
    "subscriber": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"},
    "subscriberId": "S-1",
    "beneficiary": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"},
    "dependent": "0",
    "relationship": concept(f"{TERMINOLOGY}/subscriber-relationship", "self"),
    "period": {"start": "2024-01-01", "end": "2024-12-31"},
    "payor": [{"reference": f"{SERVER}/Organization/o1"}],
    "class": [{"type": concept(f"{TERMINOLOGY}/coverage-class", "plan"), "value": "B37FC", "name": "Full"}],
    "order": 1,
    "network": "5",
    "costToBeneficiary": [
        {
            "type": concept(f"{TERMINOLOGY}/coverage-copay-type", "gpvisit"),
            "valueMoney": {"value": 20, "currency": "EUR"},
            "exception": [
                {
                    "type": concept(f"{TERMINOLOGY}/ex-coverage-financial-exception", "retired"),
                    "period": {"start": "2024"},
                }
            ],
        }
    ],
    "subrogation": False,
    "contract": [{"display": "The contract"}],
}

APPOINTMENT: Resource = {
    "resourceType": "Appointment",
    "id": "ap1",
    "status": "booked",
    "serviceCategory": [local("laboratory")],
    "appointmentType": concept(f"{TERMINOLOGY}/v2-0276", "ROUTINE"),
    "reasonReference": [{"reference": "Condition/k1"}],
    "priority": 0,
    "description": "Blood is drawn",
    "supportingInformation": [{"reference": "DiagnosticReport/dr1"}],
    "start": "2024-05-03T08:00:00+02:00",
    "end": "2024-05-03T08:15:00+02:00",
    "minutesDuration": 15,
    "slot": [{"display": "The first of the day"}],
    "created": "2024-05-02",
    "comment": "Please ring",
    "patientInstruction": "Come early",
    "basedOn": [{"reference": "ServiceRequest/s1"}],
    "participant": [
        {
            "type": [concept(f"{TERMINOLOGY}/v3-ParticipationType", "ATND")],
            "actor": {"reference": "Practitioner/d1"},
            "required": "required",
            "status": "accepted",
            "period": {"start": "2024-05-03T08:00:00+02:00", "end": "2024-05-03T08:15:00+02:00"},
        },
        {"actor": {"reference": "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11"}, "status": "tentative"},
    ],
    "requestedPeriod": [{"start": "2024-05-03", "end": "2024-05-04"}],
}

APPOINTMENT_RESPONSE: Resource = {
    "resourceType": "AppointmentResponse",
    "id": "ar1",
    "appointment": {"reference": "Appointment/ap1"},
    "actor": {"reference": "Practitioner/d1"},
    "participantStatus": "accepted",
}
