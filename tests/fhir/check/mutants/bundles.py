"""Faults of bundles, of what is contained, and of references: what they point to, and whether it is there."""

from typing import Any

from tests.fhir.check.mutants.fault import GONE, R4, Fault, fault
from tests.fhir.check.mutants.findings import PATIENT as THE_PATIENT
from tests.fhir.check.mutants.orders import SERVER
from tests.fhir.check.mutants.primitives import as_input

_PATIENT = {"resourceType": "Patient", "id": "p9", "gender": "male"}
_FULL_URL = f"{R4}/bundle.html#bundle-unique"
_CONTAINED = f"{R4}/references.html#contained"
_TARGET = f"{R4}/references.html#Reference"
_RESOLVE = f"{R4}/bundle.html#references"
_HOME = THE_PATIENT["reference"]
_UNKNOWN_UUID = "urn:uuid:00000000-0000-4000-8000-000000000000"


def _of_bundle(name: str, rule: str, edits: dict[str, Any], bundle: str, place: str | None = None) -> Fault:
    return fault(name, rule, rule, edits, at=(place,) if place else (), exactly=bundle)


def _full_url(name: str, value: Any, *, rules: tuple[str, ...] = ("full-url",), spec: str = _FULL_URL) -> Fault:
    return fault(name, rules, spec, {"@Group.fullUrl": value}, at="@Group.fullUrl", exactly="@Group")


BUNDLES: list[Fault] = [
    _of_bundle("A message has a total", "bdl-1", {"Bundle.total": 3}, "Bundle", "Bundle.total"),
    _of_bundle("A document has a total", "bdl-1", {"document.total": 2}, "document", "document.total"),
    _of_bundle("An entry of a message has a search", "bdl-2", {"@Task.search": {"mode": "match"}}, "Bundle", "@Task"),
    _of_bundle(
        "An entry of a transaction has a search",
        "bdl-2",
        {"transaction.entry[0].search": {"mode": "include"}},
        "transaction",
        "transaction.entry[0]",
    ),
    _of_bundle(
        "An entry of a message has a request",
        "bdl-3",
        {"@Task.request": {"method": "PUT", "url": "Task/t1"}},
        "Bundle",
        "@Task",
    ),
    _of_bundle(
        "An entry of a transaction has no request",
        "bdl-3",
        {"transaction.entry[0].request": GONE},
        "transaction",
        "transaction.entry[0]",
    ),
    _of_bundle(
        "An entry of a message has a response", "bdl-4", {"@Task.response": {"status": "200"}}, "Bundle", "@Task"
    ),
    _of_bundle(
        "An entry of a transaction's response has no response",
        "bdl-4",
        {"transaction-response.entry[+]": {"fullUrl": f"{SERVER}/Patient/p9", "resource": _PATIENT}},
        "transaction-response",
        "transaction-response.entry[1]",
    ),
    fault("An entry has a fullUrl and nothing else", "bdl-5", "bdl-5", {"@Group.resource": GONE}, at="@Group"),
    fault(
        "An entry has a link and nothing else",
        "bdl-5",
        "bdl-5",
        {"Bundle.entry[+]": {"link": [{"relation": "self", "url": "urn:a"}]}},
        also="full-url",
    ),
    _of_bundle(
        "Two entries have the same fullUrl",
        "bdl-7",
        {
            "Bundle.entry[+]": {
                "fullUrl": f"{SERVER}/CareTeam/ct1",
                "resource": {"resourceType": "CareTeam", "id": "ct1"},
            }
        },
        "Bundle",
        "Bundle.entry",
    ),
    _of_bundle(
        "Two entries have the same fullUrl, a urn:uuid",
        "bdl-7",
        {"Bundle.entry[+]": {"fullUrl": _HOME, "resource": {"resourceType": "Patient", "gender": "male"}}},
        "Bundle",
        "Bundle.entry",
    ),
    _of_bundle(
        "Two entries have the same fullUrl and the same version",
        "bdl-7",
        {
            "CareTeam.meta": {"versionId": "1"},
            "Bundle.entry[+]": {
                "fullUrl": f"{SERVER}/CareTeam/ct1",
                "resource": {"resourceType": "CareTeam", "id": "ct1", "meta": {"versionId": "1"}},
            },
        },
        "Bundle",
        "Bundle.entry",
    ),
    _of_bundle(
        "Two entries of a searchset have the same fullUrl",
        "bdl-7",
        {"searchset.entry[+]": {"fullUrl": f"{SERVER}/Patient/p1", "resource": {**_PATIENT, "id": "p1"}}},
        "searchset",
        "searchset.entry",
    ),
    _full_url(
        "A fullUrl names a version",
        f"{SERVER}/Group/g1/_history/1",
        rules=("bdl-8", "full-url"),
        spec="bdl-8",
    ),
    _full_url(
        "A fullUrl names a version, and a urn",
        f"{_UNKNOWN_UUID}/_history/1",
        rules=("bdl-8", "full-url", "format"),
        spec="bdl-8",
    ),
    *(
        _of_bundle(name, rule, {f"document.{path}": GONE}, "document", f"document.{path}")
        for name, rule, path in [
            ("A document has no identifier", "bdl-9", "identifier"),
            ("The identifier of a document has no system", "bdl-9", "identifier.system"),
            ("The identifier of a document has no value", "bdl-9", "identifier.value"),
            ("A document has no date", "bdl-10", "timestamp"),
            ("A document begins with something else", "bdl-11", "entry[0]"),
        ]
    ),
    _of_bundle(
        "A message begins with something else", "bdl-12", {"Bundle.entry[0]": GONE}, "Bundle", "Bundle.entry[0]"
    ),
    fault(
        "The header of a message comes second",
        "bdl-12",
        "bdl-12",
        {
            "Bundle.entry[0]": {"fullUrl": f"{SERVER}/Patient/p9", "resource": _PATIENT},
            "Bundle.entry[+]": {
                "fullUrl": f"{SERVER}/MessageHeader/h1",
                "resource": {
                    "resourceType": "MessageHeader",
                    "id": "h1",
                    "eventUri": "urn:e",
                    "source": {"endpoint": "urn:s"},
                },
            },
        },
        at="Bundle.entry[0]",
        exactly="Bundle",
    ),
    _of_bundle("A message has no entries", "bdl-12", {"Bundle.entry": GONE}, "Bundle", "Bundle.entry"),
    _full_url("A fullUrl is relative", "Group/g1"),
    _full_url("A fullUrl is a path", "/r4/Group/g1"),
    _full_url("A fullUrl is an id", "g1"),
    _full_url("A fullUrl is a fragment", "#g1"),
    _full_url("A fullUrl has another id than the resource", f"{SERVER}/Group/g2"),
    _full_url("A fullUrl has another type than the resource", f"{SERVER}/CareTeam/g1"),
    _full_url("A fullUrl has the id in another case", f"{SERVER}/Group/G1"),
    _full_url("A fullUrl is a urn:uuid that is no UUID", "urn:uuid:g1", rules=("full-url", "format")),
    _full_url("A fullUrl is a urn:oid that is no OID", "urn:oid:g1", rules=("full-url", "format")),
    fault(
        "An entry of a message has no fullUrl",
        ("full-url", "cardinality-min"),
        _FULL_URL,
        {"@Group.fullUrl": GONE},
        at="@Group",
        severity="warning",
    ),
    fault(
        "A fullUrl in a bundle within the message has another id than the resource",
        "full-url",
        _FULL_URL,
        {"searchset.entry[0].fullUrl": f"{SERVER}/Patient/p2"},
        at="searchset.entry[0].fullUrl",
        exactly="searchset.entry[0]",
    ),
]


def _inner(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Organization", "id": "inner", "name": "Within", **elements}


CONTAINED: list[Fault] = [
    fault(
        "A contained resource contains another",
        ("dom-2", "unknown-element"),
        "dom-2",
        {
            "Task.contained[1].contained": [
                {
                    "resourceType": "Provenance",
                    "id": "inner",
                    "target": [{"reference": "#"}],
                    "recorded": "2024-05-02T08:00:00Z",
                    "agent": [{"who": {"display": "Somebody"}}],
                }
            ]
        },
        at="Task.contained[1]",
        exactly="Task",
        also=("dom-3", "ref-1"),
    ),
    fault(
        "Nothing refers to a contained resource",
        "dom-3",
        "dom-3",
        {"Task.contained[+]": _inner()},
        exactly="Task",
        at="Task.contained[2]",
    ),
    fault(
        "What referred to a contained resource is gone",
        "dom-3",
        "dom-3",
        {"Task.restriction.recipient[1]": GONE},
        exactly="Task",
        at="Task.contained[1]",
    ),
    *(
        fault(
            f"A contained resource has a meta.{name}",
            rule,
            rule,
            {"Task.contained[1].meta": {name: value}},
            exactly="Task",
            at="Task.contained[1]",
        )
        for name, value, rule in [
            ("versionId", "1", "dom-4"),
            ("lastUpdated", "2024-05-02T08:00:00Z", "dom-4"),
            ("security", [{"code": "N"}], "dom-5"),
        ]
    ),
    fault(
        "A contained resource has no id",
        ("dom-3", "cardinality-min"),
        _CONTAINED,
        {"Task.contained[+]": {"resourceType": "Organization", "name": "Nameless"}},
        exactly="Task",
        at="Task.contained[2]",
    ),
    fault(
        "A contained resource's own rules count too",
        "org-1",
        "org-1",
        {"Task.contained[1].name": GONE},
        at="Task.contained[1]",
    ),
    fault(
        "An element that is required in a contained resource is left out",
        "cardinality-min",
        "Procedure.subject 1..1",
        {
            "Task.contained[+]": {"resourceType": "Procedure", "id": "cut", "status": "completed"},
            "Task.reasonReference": {"reference": "#cut"},
        },
        at="Task.contained[2]",
    ),
    *(
        fault(
            f"{path} refers to {reference!r}, which is not contained",
            "ref-1",
            "ref-1",
            {path: {"reference": reference}},
        )
        for path, reference in [
            ("Task.owner", "#nobody"),
            ("Task.contained[0].patient", "#nobody"),
            ("MessageHeader.focus[0]", "#t1"),
            ("MessageHeader.sender", "#ward"),
            ("MedicationRequest.requester", "#Drug"),
            ("Coverage.payor[0]", "#ward"),
            ("Observation.subject", "#p1"),
            ("Parameters.parameter[1].part[1].resource.managingOrganization", "#ward"),
        ]
    ),
]

_WRONG_TARGETS: list[tuple[str, dict[str, Any], str]] = [
    ("Task.owner", {"reference": "Observation/ob1"}, "an Observation, relatively"),
    ("Task.owner", {"reference": f"{SERVER}/Observation/ob1"}, "an Observation, absolutely"),
    ("Task.owner", {"reference": "https://elsewhere.test/fhir/Observation/9"}, "an Observation somewhere else"),
    ("Task.owner", {"reference": f"{SERVER}/Observation/ob1/_history/3"}, "a version of an Observation"),
    ("Task.owner", {"type": "Observation", "display": "x"}, "what it says is an Observation"),
    ("Task.encounter", {"reference": _HOME}, "a Patient, by urn:uuid"),
    ("Task.encounter", {"reference": "#ward"}, "a contained Organization"),
    ("Task.location", {"type": "Organization", "identifier": {"value": "1"}}, "an Organization, by identifier"),
    ("Task.partOf[+]", {"reference": "ServiceRequest/s1"}, "a ServiceRequest"),
    ("Task.relevantHistory[0]", {"reference": "AuditEvent/7"}, "an AuditEvent that is not there"),
    ("Task.insurance[0]", {"reference": "Claim/7"}, "a Claim that is not there"),
    ("Task.restriction.recipient[+]", {"reference": "Location/l1"}, "a Location"),
    ("Task.note[0].authorReference", {"reference": "Location/l1"}, "a Location"),
    ("Task.identifier[0].assigner", {"reference": "Practitioner/d1"}, "a Practitioner"),
    ("MessageHeader.sender", {"reference": _HOME}, "a Patient, by urn:uuid"),
    ("MessageHeader.response.details", {"reference": "Task/t1"}, "a Task"),
    ("MessageHeader.author", {"reference": "Organization/o1"}, "an Organization"),
    ("ServiceRequest.subject", {"reference": "Practitioner/d1"}, "a Practitioner"),
    ("ServiceRequest.requester", {"reference": "#somebody"}, "a contained CareTeam"),
    ("ServiceRequest.reasonReference[0]", {"reference": "Encounter/e1"}, "an Encounter"),
    ("ServiceRequest.specimen[0]", {"reference": "Observation/ob1"}, "an Observation"),
    ("MedicationRequest.medicationReference", {"reference": "#maker"}, "a contained Organization"),
    ("MedicationRequest.subject", {"reference": "Organization/o1"}, "an Organization"),
    ("MedicationDispense.authorizingPrescription[0]", {"reference": "ServiceRequest/s1"}, "a ServiceRequest"),
    ("Patient.managingOrganization", {"reference": f"{SERVER}/Practitioner/d1"}, "a Practitioner"),
    ("Patient.link[0].other", {"reference": f"{SERVER}/Organization/o1"}, "an Organization"),
    ("PractitionerRole.practitioner", {"reference": "PractitionerRole/r1"}, "a role"),
    ("Organization.partOf", {"reference": "Location/l1"}, "a Location"),
    ("Observation.subject", {"reference": "Practitioner/d1"}, "a Practitioner"),
    ("Observation.hasMember[+]", {"reference": "DiagnosticReport/dr1"}, "a DiagnosticReport"),
    ("DiagnosticReport.result[0]", {"reference": _HOME}, "a Patient, by urn:uuid"),
    ("Specimen.request[0]", {"reference": "Task/t1"}, "a Task"),
    ("Encounter.location[0].location", {"reference": "Organization/o1"}, "an Organization"),
    ("Provenance.agent[0].who", {"reference": "Task/t1"}, "a Task"),
    ("Provenance.signature[0].who", {"reference": "CareTeam/ct1"}, "a CareTeam"),
    ("Coverage.beneficiary", {"reference": "Group/g1"}, "a Group"),
    ("Appointment.participant[0].actor", {"reference": "Organization/o1"}, "an Organization"),
    ("Communication.encounter", {"reference": "Condition/k1"}, "a Condition"),
    ("Bundle.signature.who", {"reference": "Location/l1"}, "a Location"),
]
_HOLDING: dict[str, dict[str, Any]] = {
    "#somebody": {"ServiceRequest.contained": [{"resourceType": "CareTeam", "id": "somebody"}]},
    "#maker": {
        "MedicationRequest.contained[+]": {"resourceType": "Organization", "id": "maker", "name": "x"},
        "MedicationRequest.supportingInformation[+]": {"reference": "#drug"},
    },
}

TARGETS: list[Fault] = [
    *(
        fault(
            f"{path} refers to {what}",
            "reference-target",
            f"{path.rpartition('[')[0] if path.endswith('[+]') else path}, type",
            {path: reference, **_HOLDING.get(reference.get("reference", ""), {})},
        )
        for path, reference, what in _WRONG_TARGETS
    ),
    *(
        fault(
            f"{path}.type is not the type of what it refers to",
            "reference-target",
            f"{_TARGET}, Reference.type",
            {f"{path}.type": kind},
            at=path,
        )
        for path, kind in [
            ("Task.for", "Group"),
            ("Task.focus", "Task"),
            ("PractitionerRole.organization", "Practitioner"),
            ("Provenance.agent[0].who", "Organization"),
            ("Coverage.payor[0]", "Patient"),
            ("Task.restriction.recipient[0]", "Patient"),
        ]
    ),
    fault(
        "A UsageContext refers to a Patient",
        "reference-target",
        "UsageContext.value[x], type",
        as_input("valueUsageContext", {"code": {"code": "focus"}, "valueReference": {"reference": _HOME}}),
    ),
]

_OF_OTHERS = {"Patient/p1", "Organization/o1"}
"""There is a resource of that type and id, and its fullUrl is another than the reference comes to."""

UNRESOLVED: list[Fault] = [
    fault(
        f"{path} refers to {reference}, which no entry has",
        ("reference-unresolved", "reference-by-id") if reference in _OF_OTHERS else "reference-unresolved",
        _RESOLVE,
        {path: {"reference": reference}},
        severity="warning",
    )
    for path, reference in [
        ("MessageHeader.focus[0]", _UNKNOWN_UUID),
        ("MessageHeader.sender", _UNKNOWN_UUID),
        ("Task.for", _UNKNOWN_UUID),
        ("Task.owner", "Organization/nowhere"),
        ("Task.output[0].valueReference", _UNKNOWN_UUID),
        ("Task.contained[0].patient", _UNKNOWN_UUID),
        ("ServiceRequest.subject", "Patient/p1"),
        ("Patient.managingOrganization", "Organization/o1"),
        ("DiagnosticReport.result[0]", "Observation/OB1"),
        ("Bundle.signature.who", _UNKNOWN_UUID),
        ("document.entry[0].resource.author[0]", _UNKNOWN_UUID),
        ("Encounter.subject", "urn:oid:2.999.7"),
    ]
]
