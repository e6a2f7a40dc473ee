"""What is odd and yet sound by the letter of R4, in its values: nothing may be refused of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fhir.json import Number, Resource
from tests.fhir.check.mutants.fault import GONE, edited
from tests.fhir.check.mutants.findings import PATIENT as THE_PATIENT
from tests.fhir.check.mutants.orders import UCUM, quantity
from tests.fhir.check.mutants.primitives import as_input


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound message made odd; `edits` as in `Fault`."""

    name: str
    edits: Mapping[str, Any]

    def message(self) -> Resource:
        """The odd message; what is not odd of it is everybody's, and not to be changed."""
        return edited(self.edits)


def words(text: str) -> list[str]:
    """The codes in `text`."""
    return text.split()


WHY = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
_HOME = THE_PATIENT["reference"]
_REPEAT = "ServiceRequest.occurrenceTiming.repeat"
_RANGE = "MedicationRequest.dosageInstruction[0].doseAndRate[0].doseRange"
INSTANT = "2024-05-02T08:30:00Z"

_PRIMITIVES: dict[str, list[Any]] = {
    "Boolean": [True, False],
    "Integer": [0, -2147483648, 2147483647],
    "UnsignedInt": [0, 2147483647],
    "PositiveInt": [1, 2147483647],
    "Decimal": [
        0,
        -1,
        Number("-0.5"),
        Number("0.00"),
        Number("-0.0"),
        Number("1.0"),
        Number("1e2"),
        Number("1E+2"),
        Number("6.02e-23"),
        Number("3.14159265358979323"),
        100000000000000000,
    ],
    "String": ["a", " a ", "a\nb\r\n\tc", "<b>&amp;</b>", "日本語 🩸 é", "a" * 1048576, "\u200f\u05d0", '"\\/'],
    "Markdown": ["# A\n\n* b\n* c\n", "| a | b |\n|---|---|", "    indented"],
    "Code": ["a b", "a b c d", "ä", "-", "1.2", "a/b|c", "Z"],
    "Id": ["a", "0", "-", ".", "A-b.C", "a" * 64],
    "Uri": [
        "urn:oid:2.999.1",
        "urn:isbn:0451450523",
        "mailto:office@lakeside.test",
        "tel:+1-816-555-1212",
        "data:text/plain;base64,aGk=",
        "ldap://[2001:db8::7]/c=GB?objectClass?one",
        "Patient/1",
        "#fragment",
        "../a",
        "https://user@lakeside.test:8443/a;b=c/%20?d=e&f#g",
        "https://lakeside.test/ü",
    ],
    "Url": ["mllp://10.0.0.1:2575", "ftp://lakeside.test/a", "mailto:office@lakeside.test", "https://lakeside.test"],
    "Canonical": [
        "https://lakeside.test/ValueSet/a",
        "https://lakeside.test/ValueSet/a|1.0",
        "https://lakeside.test/ValueSet/a|2024-05-02#b",
        "urn:oid:2.999.3",
        "urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11",
    ],
    "Uuid": ["urn:uuid:00000000-0000-0000-0000-000000000000", "urn:uuid:ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "Oid": ["urn:oid:0.0", "urn:oid:1.0.8571.2", "urn:oid:2.999.123456789012345678901234567890"],
    "Base64Binary": ["aGk=", "YWJj", "YQ==", "YWJj\nZGVm", " YWJj ", "+/+/"],
    "Date": ["2024", "2024-05", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "1066"],
    "DateTime": [
        "2024",
        "2024-05",
        "2024-05-02",
        "2024-05-02T00:00:00Z",
        "2024-05-02T23:59:59.999999999Z",
        "2024-05-02T10:00:00.1+14:00",
        "2024-05-02T10:00:00-12:00",
        "2024-05-02T10:00:00+00:00",
        "2024-05-02T10:00:00-00:00",
        "2024-05-02T10:00:00+05:45",
        "2016-12-31T23:59:60Z",
        "2024-05-02T10:00:00.12345678901234567890Z",
    ],
    "Instant": ["2016-12-31T23:59:60Z", "2024-02-29T00:00:00.000000001+13:59", "0001-01-01T00:00:00Z"],
    "Time": ["00:00:00", "23:59:60", "23:59:59.999999999", "12:00:00.0"],
}

_COMPLEX: dict[str, Any] = {
    "Address": {"text": "Somewhere"},
    "Age": quantity("0.5", "a"),
    "Annotation": {"authorReference": {"reference": "Organization/o1"}, "text": "a"},
    "Attachment": {"title": "nothing but a title"},
    "CodeableConcept": {"text": "nothing but words"},
    "Coding": {"display": "nothing but words"},
    "ContactPoint": {"use": "mobile"},
    "Count": quantity("3", "1"),
    "Distance": quantity("3.5", "m"),
    "Duration": quantity("-3", "h"),
    "HumanName": {"period": {"end": "2000"}},
    "Identifier": {"assigner": {"display": "Somebody"}},
    "Money": {"value": Number("-0.50")},
    "Period": {"end": "2024"},
    "Quantity": {"unit": "a little"},
    "Range": {"high": {"value": 1}},
    "Ratio": {"extension": [{"url": "urn:a", "valueString": "unknown"}]},
    "Reference": {"display": "Somebody"},
    "SampledData": {"origin": {"value": 0}, "period": Number("0.1"), "dimensions": 2},
    "Signature": {"type": [{"code": "a"}], "when": INSTANT, "who": {"reference": _HOME}},
    "Timing": {"code": {"text": "twice"}},
    "ContactDetail": {"telecom": [{"system": "other", "value": "a"}]},
    "Contributor": {"type": "author", "name": "Ada"},
    "DataRequirement": {"type": "Observation", "codeFilter": [{"path": "code", "code": [{"code": "a"}]}], "limit": 1},
    "Expression": {"language": "text/fhirpath", "expression": "true"},
    "ParameterDefinition": {"use": "in", "type": "Any", "min": 0, "max": "*"},
    "RelatedArtifact": {"type": "documentation", "url": "https://lakeside.test/a.pdf"},
    "TriggerDefinition": {"type": "named-event", "name": "a"},
    "UsageContext": {"code": {"code": "a"}, "valueRange": {"low": quantity("1", "a")}},
    "Dosage": {"modifierExtension": [{"url": "urn:a", "valueBoolean": True}], "asNeededBoolean": True},
    "Meta": {"tag": [{"code": "a"}]},
}

_DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
_DIVS = {
    "a table": "<table border='1'><caption>a</caption><thead><tr><th colspan=\"2\">b</th></tr></thead></table>",
    "links and anchors": '<p><a name="a">b</a> <a href="#a">c</a> <a href="https://lakeside.test">d</a></p>',
    "an image alone": '<img src="data:image/png;base64,iVBORw0KGgo=" alt=""/>',
    "styles and languages": '<p style="color: red" class="a b" lang="de" xml:lang="de" dir="rtl" id="i">b</p>',
    "lists and headings": "<h1>a</h1><ol><li>b<ul><li>c</li></ul></li></ol><dl><dt>d</dt><dd>e</dd></dl><hr/><br/>",
    "signs that are escaped": "a &lt;script&gt; b &amp; c &#160; &#xA0; &quot;",
    "a comment beside words": "a<!-- b -->c",
    "words in many hands": "<b>a</b><i>b</i><sub>c</sub><sup>d</sup><tt>e</tt><code>f</code><pre>g\n h</pre><q>i</q>",
    "one letter": "a",
    "what means nothing in XML": "onclick=alert(1) javascript:",
}

_VALUE_SETS: dict[str, list[str]] = {
    "Task.status": [
        "draft",
        "requested",
        "received",
        "accepted",
        "rejected",
        "ready",
        "cancelled",
        "in-progress",
        "on-hold",
        "failed",
        "completed",
        "entered-in-error",
    ],
    "Task.intent": [
        "unknown",
        "proposal",
        "plan",
        "order",
        "original-order",
        "reflex-order",
        "filler-order",
        "instance-order",
        "option",
    ],
    "Task.priority": ["routine", "urgent", "asap", "stat"],
    "ServiceRequest.status": words("draft active on-hold revoked completed entered-in-error unknown"),
    "ServiceRequest.intent": ["directive"],
    "MedicationRequest.status": [
        "on-hold",
        "cancelled",
        "completed",
        "entered-in-error",
        "stopped",
        "draft",
        "unknown",
    ],
    "Observation.status": [
        "registered",
        "preliminary",
        "amended",
        "corrected",
        "cancelled",
        "entered-in-error",
        "unknown",
    ],
    "Observation.valueQuantity.comparator": ["<=", ">=", ">"],
    "DiagnosticReport.status": ["registered", "appended", "unknown"],
    "Encounter.status": [
        "planned",
        "arrived",
        "triaged",
        "onleave",
        "finished",
        "cancelled",
        "entered-in-error",
        "unknown",
    ],
    "Communication.status": [
        "preparation",
        "in-progress",
        "not-done",
        "on-hold",
        "stopped",
        "entered-in-error",
        "unknown",
    ],
    "Patient.gender": ["male", "other", "unknown"],
    f"{_REPEAT}.periodUnit": ["s", "min", "h", "wk", "mo", "a"],
    "Coverage.costToBeneficiary[0].valueMoney.currency": ["CHF", "USD", "JPY", "XAF"],
    "transaction.entry[1].request.method": ["GET", "HEAD", "PUT", "PATCH"],
    "MessageHeader.response.code": ["transient-error", "fatal-error"],
    "MessageHeader.text.status": ["extensions", "additional"],
    "Patient.photo[0].contentType": ["image/svg+xml", "application/fhir+json; fhirVersion=4.0", "text/plain"],
    "MessageHeader.language": ["de", "de-CH", "zh-Hant-TW", "sr-Latn"],
}
_ISSUE_TYPES = [
    "invalid",
    "structure",
    "required",
    "value",
    "invariant",
    "security",
    "login",
    "unknown",
    "expired",
    "forbidden",
    "suppressed",
    "processing",
    "not-supported",
    "duplicate",
    "multiple-matches",
    "not-found",
    "deleted",
    "too-long",
    "code-invalid",
    "extension",
    "too-costly",
    "business-rule",
    "conflict",
    "transient",
    "lock-error",
    "no-store",
    "exception",
    "timeout",
    "incomplete",
    "throttled",
    "informational",
]
_WHENS = [
    "MORN",
    "MORN.early",
    "MORN.late",
    "NOON",
    "AFT",
    "AFT.early",
    "AFT.late",
    "EVE",
    "EVE.early",
    "EVE.late",
    "NIGHT",
    "PHS",
    "HS",
    "WAKE",
    "C",
    "CM",
    "CD",
    "CV",
    "AC",
    "ACM",
    "ACD",
    "ACV",
    "PC",
    "PCM",
    "PCD",
    "PCV",
]

_PERIODS = {
    "ends on the day on which it starts": {"start": "2012-02-03T10:00:00Z", "end": "2012-02-03"},
    "ends in the year in which it starts": {"start": "2024-05-02T10:00:00Z", "end": "2024"},
    "ends in the month of its first day": {"start": "2024-05-31", "end": "2024-05"},
    "is an instant": {"start": INSTANT, "end": INSTANT},
    "ends earlier by the clock on the wall": {"start": "2024-05-02T12:00:00+02:00", "end": "2024-05-02T10:30:00Z"},
    "starts tomorrow and ends today, somewhere": {"start": "2024-05-03T01:00:00+10:00", "end": "2024-05-02T16:00:00Z"},
    "has only an end": {"end": "2024"},
    "starts nobody knows when": {"_start": WHY, "end": "2024"},
    "has more digits at its end": {"start": "2024-05-02T10:00:00.1Z", "end": "2024-05-02T10:00:00.10Z"},
}

VALUES: list[Sound] = [
    *(
        Sound(f"A {kind} may be {str(value)[:40]!r} ({number})", as_input(f"value{kind}", value))
        for kind, values in _PRIMITIVES.items()
        for number, value in enumerate(values)
    ),
    *(Sound(f"A {kind} may be {value}", as_input(f"value{kind}", value)) for kind, value in _COMPLEX.items()),
    *(Sound(f"{path} may be {code!r}", {path: code}) for path, codes in _VALUE_SETS.items() for code in codes),
    *(Sound(f"A period {why}", {"Task.executionPeriod": value}) for why, value in _PERIODS.items()),
    *(
        Sound(f"A narrative may have {what}", {"MessageHeader.text.div": _DIV.format(div)})
        for what, div in _DIVS.items()
    ),
    Sound(
        "An issue may have each type",
        {"OperationOutcome.issue": [{"severity": "fatal", "code": code} for code in _ISSUE_TYPES]},
    ),
    Sound("A timing may have each when", {f"{_REPEAT}.when": _WHENS, f"{_REPEAT}.offset": GONE}),
    Sound("A timing may have each day", {f"{_REPEAT}.dayOfWeek": words("mon tue wed thu fri sat sun")}),
    Sound(
        "A contact may be of each system and use",
        {
            "Patient.telecom": [
                *({"system": code, "value": "a"} for code in words("phone fax email pager url sms other")),
                *({"use": code} for code in ["home", "work", "temp", "old", "mobile"]),
            ]
        },
    ),
    Sound(
        "A name may be of each use",
        {
            "Patient.name": [
                {"use": code, "text": "a"} for code in words("usual official temp nickname anonymous old maiden")
            ]
        },
    ),
    Sound(
        "An identifier may be of each use",
        {"Patient.identifier": [{"use": code} for code in words("usual official temp secondary old")]},
    ),
    Sound(
        "An address may be of each use",
        {"Patient.address": [{"use": code} for code in ["home", "work", "temp", "old", "billing"]]},
    ),
    Sound("A deceased patient has a date", {"Patient.deceasedBoolean": GONE, "Patient.deceasedDateTime": "2024"}),
    Sound("A birth date may be a year", {"Patient.birthDate": "1980"}),
    Sound("A timestamp may be in a leap second", {"Bundle.timestamp": "2016-12-31T23:59:60Z"}),
    Sound("A task may be changed as it is written", {"Task.lastModified": "2024-05-02T06:00:00Z"}),
    Sound("A task may be changed, and nobody knows when written", {"Task.authoredOn": GONE}),
    Sound("A range may begin where it ends", {f"{_RANGE}.low.value": Number("2.0")}),
    Sound(
        "A range may be of two units", {f"{_RANGE}.low": quantity("1", "kg"), f"{_RANGE}.high": quantity("1500", "g")}
    ),
    Sound("A range may be of negative numbers", {f"{_RANGE}.low.value": -2, f"{_RANGE}.high.value": -1}),
    Sound("A range may go from nine to ten", {f"{_RANGE}.low.value": 9, f"{_RANGE}.high.value": 10}),
    Sound("A ratio may have a comparator", {"Observation.component[0].valueRatio.numerator.comparator": "<"}),
    Sound("A quantity may have a unit without a code", {"Observation.valueQuantity": {"value": 7, "unit": "g/dL"}}),
    Sound("A quantity may have a system without a code", {"Observation.valueQuantity": {"value": 7, "system": UCUM}}),
    Sound("A duration may be nought", {f"{_REPEAT}.duration": 0, f"{_REPEAT}.period": 0}),
    Sound("A timing may be at times of day", {_REPEAT: {"timeOfDay": ["08:00:00"], "dayOfWeek": ["mon"]}}),
    Sound("A timing may be bound by a duration", {_REPEAT: {"boundsDuration": quantity("5", "d"), "count": 1}}),
    Sound("A timing may be bound by a range", {_REPEAT: {"boundsRange": {"low": quantity("5", "d")}}}),
]
