"""What is odd and yet sound in the build of resources and bundles: nothing may be refused of it."""

from gateway.fhir.json import Resource
from tests.fhir.check.mutants.fault import GONE
from tests.fhir.check.mutants.findings import PATIENT as THE_PATIENT
from tests.fhir.check.mutants.orders import SERVER, TERMINOLOGY, concept
from tests.fhir.check.mutants.sound import INSTANT, WHY, Sound

_A_PATIENT: Resource = {"resourceType": "Patient", "gender": "male"}
_HOME = THE_PATIENT["reference"]

_BUNDLES: dict[str, Resource] = {
    "collection": {"entry": [{"fullUrl": f"{SERVER}/Patient/p5", "resource": {**_A_PATIENT, "id": "p5"}}]},
    "batch": {"entry": [{"request": {"method": "GET", "url": "Patient?name=a"}}]},
    "batch-response": {"entry": [{"response": {"status": "404"}}]},
    "history": {
        "total": 2,
        "entry": [
            {
                "fullUrl": f"{SERVER}/Patient/p5",
                "resource": {**_A_PATIENT, "id": "p5", "meta": {"versionId": "1"}},
                "request": {"method": "PUT", "url": "Patient/p5"},
                "response": {"status": "200"},
            },
            {
                "fullUrl": f"{SERVER}/Patient/p5",
                "request": {"method": "DELETE", "url": "Patient/p5"},
                "response": {"status": "204"},
            },
        ],
    },
    "message": {
        "entry": [
            {
                "fullUrl": f"{SERVER}/MessageHeader/h5",
                "resource": {
                    "resourceType": "MessageHeader",
                    "id": "h5",
                    "eventUri": "urn:e",
                    "source": {"endpoint": "urn:s"},
                },
            }
        ]
    },
}

RESOURCES: list[Sound] = [
    Sound("A required status may be absent for a reason", {"Task.status": GONE, "Task._status": WHY}),
    Sound(
        "A required string may be absent for a reason",
        {"PractitionerRole.notAvailable[0].description": GONE, "PractitionerRole.notAvailable[0]._description": WHY},
    ),
    Sound(
        "A required choice may be absent for a reason",
        {"Task.input[1].valueString": GONE, "Task.input[1]._valueString": WHY},
    ),
    Sound("A status may have an extension", {"Task._status": WHY}),
    Sound("A status may have an id", {"Task._status": {"id": "a"}}),
    Sound("An element may have an id of odd letters", {"Task.code.id": "a/b#c_d"}),
    Sound("An element may have a long id", {"Task.code.id": "a" * 100}),
    Sound(
        "A list may begin with what is absent",
        {"Patient.name[0].given": [None, "B."], "Patient.name[0]._given": [WHY, None]},
    ),
    Sound(
        "A list may hold nothing but what is absent",
        {"Patient.name[1].given": [None], "Patient.name[1]._given": [WHY]},
    ),
    Sound(
        "A list may be its extensions alone",
        {"Patient.name[1].given": GONE, "Patient.name[1]._given": [WHY], "Patient.name[1].text": "Addie"},
    ),
    Sound(
        "A list of codes may have an extension in it", {"PractitionerRole.availableTime[0]._daysOfWeek": [None, WHY]}
    ),
    Sound(
        "An extension may be repeated",
        {"Task.extension[+]": {"url": "https://lakeside.test/StructureDefinition/room", "valueString": "5.13"}},
    ),
    Sound(
        "An extension may be nested three deep",
        {
            "Task.extension[1]": {
                "url": "urn:a",
                "extension": [{"url": "b", "extension": [{"url": "c", "valueCode": "d"}]}],
            }
        },
    ),
    Sound("An extension may have an id", {"Task.extension[1].id": "a"}),
    Sound(
        "An extension's value may be absent for a reason",
        {"Task.extension[1].valueString": GONE, "Task.extension[1]._valueString": WHY},
    ),
    Sound(
        "An extension may refer to a contained resource",
        {
            "Task.extension[+]": {"url": "urn:a", "valueReference": {"reference": "#ward"}},
            "Task.restriction.recipient[1]": GONE,
        },
    ),
    Sound(
        "A part may have a modifying extension",
        {"Task.input[0].modifierExtension": [{"url": "urn:a", "valueBoolean": False}]},
    ),
    Sound(
        "A timing may have a modifying extension",
        {"ServiceRequest.occurrenceTiming.modifierExtension": [{"url": "urn:a", "valueBoolean": False}]},
    ),
    Sound(
        "A data type may have an extension alone",
        {"Task.executionPeriod": {"extension": [{"url": "urn:a", "valueCode": "b"}]}},
    ),
    Sound("A reference may be an extension alone", {"Task.owner": {**WHY}}),
    Sound(
        "A contained resource may refer to its container",
        {
            "Task.contained[+]": {
                "resourceType": "Provenance",
                "id": "own",
                "target": [{"reference": "#"}],
                "recorded": INSTANT,
                "agent": [{"who": {"display": "a"}}],
            }
        },
    ),
    Sound(
        "A contained resource may refer to another",
        {
            "Task.contained[+]": {
                "resourceType": "PractitionerRole",
                "id": "role",
                "organization": {"reference": "#ward"},
            },
            "Task.restriction.recipient[1]": {"reference": "#role"},
        },
    ),
    Sound(
        "A contained resource may have a long id",
        {"Task.contained[1].id": "w" * 64, "Task.restriction.recipient[1].reference": "#" + "w" * 64},
    ),
    Sound(
        "A contained resource may have a profile and a tag",
        {
            "Task.contained[1].meta": {
                "profile": ["https://lakeside.test/StructureDefinition/ward"],
                "tag": [{"code": "a"}],
            }
        },
    ),
    Sound("A contained resource may be referred to twice", {"Task.requester": {"reference": "#ward"}}),
    Sound(
        "A reference may be absolute, and elsewhere",
        {"Task.owner": {"reference": "https://elsewhere.test/fhir/Organization/9"}},
    ),
    Sound("A reference may be to a version", {"Task.owner": {"reference": f"{SERVER}/Organization/o1/_history/3"}}),
    Sound("A reference may be relative to a version", {"Task.owner": {"reference": "Organization/o1/_history/3"}}),
    Sound(
        "A reference may be to a thing that is no resource",
        {"Task.focus": {"reference": "https://elsewhere.test/a.pdf"}},
    ),
    Sound("A reference may be an identifier", {"Task.owner": {"identifier": {"value": "1"}}}),
    Sound(
        "A reference may be an identifier and a type", {"Task.owner": {"type": "Device", "identifier": {"value": "1"}}}
    ),
    Sound("A reference may be to any of several types", {"Task.owner": {"reference": _HOME}}),
    Sound(
        "A reference may be to anything",
        {"Task.focus": {"reference": "Location/l1"}, "Task.reasonReference": {"reference": _HOME}},
    ),
    Sound(
        "A reference may be absolute within the message", {"Task.encounter": {"reference": f"{SERVER}/Encounter/e1"}}
    ),
    Sound("A resource may have a urn:oid", {"@Group.fullUrl": "urn:oid:2.999.5"}),
    Sound(
        "A resource may have a urn:uuid and another id",
        {"@Group.fullUrl": "urn:uuid:7f9d7a0e-8a4c-4a52-9a40-0d3c5a8c3f10"},
    ),
    Sound(
        "A resource may have no id",
        {"Group.id": GONE, "@Group.fullUrl": "urn:uuid:7f9d7a0e-8a4c-4a52-9a40-0d3c5a8c3f10"},
    ),
    Sound("A resource may be on another server", {"@Group.fullUrl": "http://[2001:db8::7]:8080/fhir/R4/Group/g1"}),
    Sound("A resource's id may be long", {"Group.id": "g" * 64, "@Group.fullUrl": f"{SERVER}/Group/{'g' * 64}"}),
    Sound(
        "Two versions of a resource may come together",
        {
            "CareTeam.meta": {"versionId": "1"},
            "Bundle.entry[+]": {
                "fullUrl": f"{SERVER}/CareTeam/ct1",
                "resource": {"resourceType": "CareTeam", "id": "ct1", "meta": {"versionId": "2"}},
            },
        },
    ),
    Sound(
        "An entry may have a link and an extension",
        {
            "@Group.link": [{"relation": "alternate", "url": "urn:a"}],
            "@Group.extension": [{"url": "urn:a", "valueCode": "b"}],
        },
    ),
    Sound("An event may be a URI", {"MessageHeader.eventCoding": GONE, "MessageHeader.eventUri": "urn:event:1"}),
    Sound("A message need not be signed", {"Bundle.signature": GONE, "Bundle.link": GONE, "Bundle.identifier": GONE}),
    Sound("A header need not have a focus", {"MessageHeader.focus": GONE, "MessageHeader.response": GONE}),
    Sound("Parameters may have no parameter", {"Parameters.parameter": GONE}),
    Sound("A parameter may have any name", {"Parameters.parameter[0].name": "a name of any kind, ü"}),
    Sound("An organisation may have a name alone", {"Organization.identifier": GONE}),
    Sound("An organisation may have an identifier alone", {"Organization.name": GONE}),
    Sound(
        "The contact of an organisation may be at home",
        {"Organization.contact[0].telecom[0].use": "home", "Organization.contact[0].address.use": "home"},
    ),
    Sound("A contact may be an organisation", {"Patient.contact[0]": {"organization": {"display": "a"}}}),
    Sound("A contact may be an address", {"Patient.contact[0]": {"address": {"city": "a"}}}),
    Sound(
        "A participant may be a type",
        {"Appointment.participant[1]": {"type": [{"text": "a"}], "status": "needs-action"}},
    ),
    *(
        Sound(
            f"An appointment that is {status} may have no time",
            {"Appointment.start": GONE, "Appointment.end": GONE, "Appointment.status": status},
        )
        for status in ("proposed", "cancelled", "waitlist")
    ),
    Sound(
        "A cancelled appointment has a reason",
        {"Appointment.status": "cancelled", "Appointment.cancelationReason": {"text": "rain"}},
    ),
    *(
        Sound(
            f"An observation may have as value{kind} {value}",
            {"Observation.valueQuantity": GONE, f"Observation.value{kind}": value},
        )
        for kind, value in [
            ("Boolean", False),
            ("Integer", 0),
            ("String", "a"),
            ("Time", "08:00:00"),
            ("DateTime", "2024"),
            ("Period", {"start": "2024"}),
            ("Range", {"low": {"value": 1}}),
            ("CodeableConcept", {"text": "a"}),
        ]
    ),
    Sound("An observation may have no value", {"Observation.valueQuantity": GONE}),
    Sound(
        "An observation may lack its value for a reason",
        {"Observation.valueQuantity": GONE, "Observation.dataAbsentReason": {"text": "spilt"}},
    ),
    Sound(
        "A component may have the code of a whole that has no value",
        {"Observation.valueQuantity": GONE, "Observation.component[0].code": concept("http://loinc.org", "718-7")},
    ),
    Sound(
        "A component may have the same code of another system",
        {"Observation.component[0].code": concept("https://lakeside.test/codes", "718-7")},
    ),
    Sound(
        "A medication may be a concept",
        {
            "MedicationRequest.medicationReference": GONE,
            "MedicationRequest.contained": GONE,
            "MedicationRequest.medicationCodeableConcept": {"text": "a"},
        },
    ),
    Sound(
        "A status may have a code of another system beside its own",
        {
            "Condition.clinicalStatus": {
                "coding": [
                    {"system": "https://lakeside.test/codes", "code": "over"},
                    {"system": f"{TERMINOLOGY}/condition-clinical", "code": "inactive"},
                ]
            }
        },
    ),
    Sound("An encounter may be of a class of one's own", {"Encounter.class": {"system": "urn:a", "code": "b"}}),
    Sound("An encounter may be of a class without a code", {"Encounter.class": {"display": "stay"}}),
    Sound("A marital status may be in words", {"Patient.maritalStatus": {"text": "it is complicated"}}),
    Sound(
        "An allergy that was an error has no status",
        {
            "AllergyIntolerance.clinicalStatus": GONE,
            "AllergyIntolerance.verificationStatus": concept(
                f"{TERMINOLOGY}/allergyintolerance-verification", "entered-in-error"
            ),
        },
    ),
    Sound(
        "A care team's practitioner may be elsewhere",
        {"CareTeam.participant[0].member": {"reference": "https://elsewhere.test/fhir/Practitioner/9"}},
    ),
    Sound(
        "A binary may be sent",
        {
            "Bundle.entry[+]": {
                "fullUrl": f"{SERVER}/Binary/b1",
                "resource": {
                    "resourceType": "Binary",
                    "id": "b1",
                    "contentType": "application/pdf",
                    "data": "JVBERg==",
                },
            }
        },
    ),
    *(
        Sound(
            f"A message may carry a bundle of type {kind}",
            {
                "Bundle.entry[+]": {
                    "fullUrl": f"{SERVER}/Bundle/{kind}",
                    "resource": {"resourceType": "Bundle", "id": kind, "type": kind, **more},
                }
            },
        )
        for kind, more in _BUNDLES.items()
    ),
]
