"""Faults in the lexical form of primitives: each type, at several places, with several forms that it does not have."""

from typing import Any

from gateway.fhir.json import Number
from tests.fhir.check.mutants.fault import GONE, R4, Fault, fault
from tests.fhir.check.mutants.orders import SERVER

_DATATYPES = f"{R4}/datatypes.html"

_NO_DATES = [
    ("2024-02-30", "February has no 30th day"),
    ("2023-02-29", "2023 is no leap year"),
    ("1900-02-29", "1900 is no leap year"),
    ("2024-04-31", "April has no 31st day"),
    ("2024-13-01", "there is no 13th month"),
    ("2024-00", "there is no month nought"),
    ("2024-05-00", "there is no day nought"),
    ("2024-5-2", "month and day have two digits"),
    ("24-05-02", "the year has four digits"),
    ("20240502", "there are hyphens"),
    ("2024/05/02", "there are hyphens"),
    ("02.05.2024", "the year comes first"),
    ("0000-01-01", "there is no year nought"),
    ("+2024-05-02", "the year has no sign"),
    ("2024-05-02 ", "nothing follows"),
    ("2024-05-02\n", "nothing follows, not even a line's end"),
    ("٢٠٢٤-05-02", "the digits are those of ASCII"),
    ("today", "words are no dates"),
]
_NO_TIMES_OF_DAY = [
    ("24:00:00", "the day ends before 24:00"),
    ("12:60:00", "an hour has 60 minutes"),
    ("12:00:61", "a minute has 60 seconds, at times 61"),
    ("12:00", "seconds are required"),
    ("1:00:00", "the hour has two digits"),
    ("12:00:00.", "a fraction has digits"),
    ("12:00:00,5", "a fraction follows a point"),
    ("12-00-00", "there are colons"),
]
_NO_ZONED = [
    ("2024-05-02T10:00:00", "a time has its zone"),
    ("2024-05-02T10:00Z", "seconds are required"),
    ("2024-05-02T10Z", "minutes and seconds are required"),
    ("2024-05-02T24:00:00Z", "the day ends before 24:00"),
    ("2024-05-02T10:60:00Z", "an hour has 60 minutes"),
    ("2024-02-30T10:00:00Z", "February has no 30th day"),
    ("2024-05-02 10:00:00Z", "a T is between date and time"),
    ("2024-05-02t10:00:00Z", "the T is a capital"),
    ("2024-05-02T10:00:00z", "the Z is a capital"),
    ("2024-05-02T10:00:00+0200", "the zone has a colon"),
    ("2024-05-02T10:00:00+02", "the zone has minutes"),
    ("2024-05-02T10:00:00+14:30", "no zone is beyond 14 hours"),
    ("2024-05-02T10:00:00+02:60", "the zone's minutes are below 60"),
    ("2024-05-02T10:00:00.Z", "a fraction has digits"),
    ("2024-05-02T10:00:00Europe/Paris", "a zone is an offset"),
]

_FORMS: dict[str, list[tuple[Any, str]]] = {
    "date": [*_NO_DATES, ("2024-05-02T10:00:00Z", "a date has no time"), ("2024-05-02Z", "a date has no zone")],
    "dateTime": [*_NO_DATES, *_NO_ZONED, ("2024-05T10:00:00Z", "a time needs a day")],
    "instant": [
        *_NO_ZONED,
        ("2024-05-02", "an instant is exact to the second"),
        ("2024", "an instant is exact to the second"),
        ("2024-13-02T10:00:00Z", "there is no 13th month"),
        ("2024-05-02T10:00:61Z", "a minute has 60 seconds, at times 61"),
    ],
    "time": [*_NO_TIMES_OF_DAY, ("12:00:00Z", "a time of day has no zone"), ("noon", "words are no times")],
    "integer": [
        (2147483648, "it has 32 bits"),
        (-2147483649, "it has 32 bits"),
        (Number("1.5"), "it has no fraction"),
        (Number("1.0"), "it has no fraction, not even nought"),
        (Number("1e2"), "it has no exponent"),
    ],
    "unsignedInt": [(-1, "it has no sign"), (2147483648, "it has 31 bits"), (Number("0.5"), "it has no fraction")],
    "positiveInt": [
        (0, "nought is not positive"),
        (-1, "it has no sign"),
        (2147483648, "it has 31 bits"),
        (Number("1.0"), "it has no fraction"),
    ],
    "string": [("a" * (1024 * 1024 + 1), "it has at most 1 MB")],
    "markdown": [("a" * (1024 * 1024 + 1), "it has at most 1 MB")],
    "code": [
        (" a", "no space is before it"),
        ("a ", "no space is after it"),
        ("a  b", "one space is between its words"),
        ("a\tb", "only spaces are within it"),
        ("a\nb", "only spaces are within it"),
        ("a\n", "no line's end is after it"),
        (" ", "it has at least one character"),
    ],
    "id": [
        ("a" * 65, "it has at most 64 characters"),
        ("a_b", "it has no underscore"),
        ("a b", "it has no space"),
        ("a/b", "it has no slash"),
        ("ä", "its letters are those of ASCII"),
        ("a:b", "it has no colon"),
        ("a\n", "no line's end is after it"),
    ],
    "uri": [
        ("https://a.test/b c", "it has no space"),
        (" https://a.test", "no space is before it"),
        ("a\tb", "it has no tab"),
    ],
    "url": [("https://a.test/b c", "it has no space"), ("https://a.test\n", "no line's end is after it")],
    "canonical": [("https://a.test/b c|1", "it has no space"), ("https://a.test/b |1", "it has no space")],
    "uuid": [
        ("53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11", "it begins with urn:uuid:"),
        ("urn:uuid:53B10C4B-6A8E-4B57-9D0F-3F1C6E2B8A11", "its letters are small"),
        ("urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a1", "a digit is missing"),
        ("urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a111", "a digit is too much"),
        ("urn:uuid:53b10c4b6a8e4b579d0f3f1c6e2b8a11", "there are hyphens"),
        ("urn:uuid:{53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11}", "there are no braces"),
        ("urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a1g", "g is no digit"),
        ("urn:oid:2.999", "it is another kind of URN"),
    ],
    "oid": [
        ("2.999.1", "it begins with urn:oid:"),
        ("urn:oid:3.1", "no root is above 2"),
        ("urn:oid:1.02.3", "an arc has no leading nought"),
        ("urn:oid:1.2.", "no point is last"),
        ("urn:oid:1..2", "an arc has digits"),
        ("urn:oid:1", "it has at least two arcs"),
        ("urn:oid:1.a", "an arc has digits only"),
        ("urn:uuid:53b10c4b-6a8e-4b57-9d0f-3f1c6e2b8a11", "it is another kind of URN"),
    ],
    "base64Binary": [
        ("YQ", "it is padded"),
        ("YWI", "it is padded"),
        ("Y===", "one letter is no byte"),
        ("YQ==YQ==", "padding is at its end alone"),
        ("YW*j", "an asterisk is not of its alphabet"),
        ("-_-_", "its alphabet is not that of URLs"),
        ("Ü===", "its letters are those of ASCII"),
    ],
}

_KINDS: dict[str, list[tuple[Any, str]]] = {
    "boolean": [
        ("true", "it is no string"),
        ("TRUE", "it is no string"),
        (0, "it is no number"),
        ({"value": True}, "it is no object"),
    ],
    "integer": [("1", "it is no string"), (True, "it is no boolean")],
    "decimal": [
        ("1.0", "it is no string"),
        ("NaN", "it is no word"),
        ("Infinity", "it is no word"),
        ("01.5", "it is no string, and has no leading nought"),
        (True, "it is no boolean"),
        ({"value": 1}, "it is no object"),
    ],
    "positiveInt": [("1", "it is no string")],
    "unsignedInt": [("0", "it is no string")],
    "string": [(1, "it is no number"), (False, "it is no boolean")],
    "code": [(1, "it is no number")],
    "id": [(1, "it is no number")],
    "uri": [(1, "it is no number")],
    "url": [({"href": "x"}, "it is no object")],
    "canonical": [(False, "it is no boolean")],
    "uuid": [(1, "it is no number")],
    "oid": [(Number("1.2"), "it is no number")],
    "markdown": [({"text": "x"}, "it is no object")],
    "base64Binary": [(1, "it is no number")],
    "date": [(2024, "it is no number")],
    "dateTime": [(2024, "it is no number")],
    "instant": [(1714600000, "it is no number")],
    "time": [(12, "it is no number")],
}

_ELSEWHERE: list[tuple[str, Any, str, str]] = [
    ("Bundle.id", "b" * 65, "id", "it has at most 64 characters"),
    ("Bundle.timestamp", "2024-05-02", "instant", "an instant is exact to the second"),
    ("Bundle.timestamp", "2024-05-02T08:30:00", "instant", "an instant has its zone"),
    ("Bundle.implicitRules", "our rules", "uri", "it has no space"),
    ("Bundle.meta.lastUpdated", "2024-05-02", "instant", "an instant is exact to the second"),
    ("Bundle.link[0].url", "https://a.test/b c", "uri", "it has no space"),
    ("MessageHeader.meta.versionId", "1/2", "id", "it has no slash"),
    ("MessageHeader.meta.profile[0]", "our profile", "canonical", "it has no space"),
    ("MessageHeader.source.endpoint", "https://a.test/b c", "url", "it has no space"),
    ("MessageHeader.response.identifier", "b0a1/77", "id", "it has no slash"),
    ("MessageHeader.eventCoding.code", "new  order", "code", "one space is between its words"),
    ("MessageHeader.eventCoding.system", "our events", "uri", "it has no space"),
    ("MessageHeader.source.contact.rank", 0, "positiveInt", "nought is not positive"),
    ("Task.authoredOn", "2024-05-02T08:00", "dateTime", "seconds and zone are required"),
    ("Task.executionPeriod.start", "2024-02-30", "dateTime", "February has no 30th day"),
    ("Task.note[0].time", "2024-05-02T08:01:00", "dateTime", "a time has its zone"),
    ("Task.restriction.repetitions", 0, "positiveInt", "nought is not positive"),
    ("Task.instantiatesCanonical", "https://a.test/b c", "canonical", "it has no space"),
    ("Task.identifier[0].system", "our tasks", "uri", "it has no space"),
    ("Task.extension[0].extension[1].valueDateTime", "2024-05-02T24:00:00Z", "dateTime", "the day ends before 24:00"),
    ("Task.extension[1].url", "https://a.test/b c", "uri", "it has no space"),
    ("Patient.birthDate", "1980-02-30", "date", "February has no 30th day"),
    ("Patient.birthDate", "1980-02-29T00:00:00Z", "date", "a date has no time"),
    ("Patient._birthDate.extension[0].valueDateTime", "14:35", "dateTime", "a date comes first"),
    ("Patient.multipleBirthInteger", Number("2.5"), "integer", "it has no fraction"),
    ("Patient.photo[0].data", "iVBORw0KGgo", "base64Binary", "it is padded"),
    ("Patient.photo[0].size", -8, "unsignedInt", "it has no sign"),
    ("Patient.telecom[0].rank", Number("1.5"), "positiveInt", "it has no fraction"),
    (
        "PractitionerRole.availableTime[0].availableStartTime",
        "8:00",
        "time",
        "the hour has two digits, seconds are required",
    ),
    ("PractitionerRole.availableTime[0].availableEndTime", "24:00:00", "time", "the day ends before 24:00"),
    ("ServiceRequest.occurrenceTiming.event[1]", "2024-05-32", "dateTime", "May has no 32nd day"),
    ("ServiceRequest.occurrenceTiming.repeat.count", 0, "positiveInt", "nought is not positive"),
    ("MedicationRequest.instantiatesUri[1]", "urn: protocol", "uri", "it has no space"),
    ("MedicationRequest.dosageInstruction[0].sequence", Number("1.5"), "integer", "it has no fraction"),
    ("MedicationRequest.dosageInstruction[0].timing.repeat.timeOfDay[1]", "20:00", "time", "seconds are required"),
    ("MedicationRequest.dispenseRequest.numberOfRepeatsAllowed", -1, "unsignedInt", "it has no sign"),
    ("Observation.issued", "2024-05-02T12:00:00", "instant", "an instant has its zone"),
    ("Observation.valueQuantity.system", "the system", "uri", "it has no space"),
    ("Observation.component[1].valueSampledData.dimensions", 0, "positiveInt", "nought is not positive"),
    ("Encounter.diagnosis[0].rank", 0, "positiveInt", "nought is not positive"),
    ("Provenance.recorded", "2024-05-02", "instant", "an instant is exact to the second"),
    ("Provenance.policy[0]", "our policy", "uri", "it has no space"),
    ("Provenance.signature[0].data", "aGk", "base64Binary", "it is padded"),
    ("Coverage.order", 0, "positiveInt", "nought is not positive"),
    ("Appointment.start", "2024-05-03T08:00+02:00", "instant", "seconds are required"),
    ("Appointment.priority", -1, "unsignedInt", "it has no sign"),
    ("Parameters.parameter[1].part[1].resource.id", "p 9", "id", "it has no space"),
    ("searchset.total", -1, "unsignedInt", "it has no sign"),
    ("transaction.entry[1].request.ifModifiedSince", "2024-05-02", "instant", "an instant is exact to the second"),
]


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _shown(value: Any) -> str:
    text = value.lexeme if isinstance(value, Number) else repr(value)
    return text if len(text) < 60 else f"{text[:20]}… ({len(value)} characters)"


def as_input(element: str, value: Any) -> dict[str, Any]:
    """The edits by which the first input of the Task has this value."""
    edits = {f"Task.input[0].{element}": value}
    return edits if element == "valueQuantity" else {**edits, "Task.input[0].valueQuantity": GONE}


def _in_an_input(kind: str, value: Any, why: str, rules: tuple[str, ...]) -> Fault:
    name = f"{_shown(value)} is no {kind}: {why}"
    return fault(name, rules, f"{_DATATYPES}#{kind}", as_input(f"value{_capital(kind)}", value))


def _rules(kind: str, value: Any) -> tuple[str, ...]:
    is_word = kind in {"code", "id"} and not str(value).strip()
    if isinstance(value, Number):
        return ("format", "type")
    return ("format", "empty") if is_word else ("format",)


FORMATS: list[Fault] = [
    *(_in_an_input(kind, value, why, _rules(kind, value)) for kind, forms in _FORMS.items() for value, why in forms),
    *(
        fault(
            f"{path} is {_shown(value)}: {why}",
            _rules(kind, value),
            f"{_DATATYPES}#{kind}",
            {path: value},
        )
        for path, value, kind, why in _ELSEWHERE
    ),
    fault(
        "@Group.fullUrl has a space",
        "format",
        f"{_DATATYPES}#uri",
        {"@Group.fullUrl": "urn:uuid:53b10c4b 6a8e-4b57-9d0f-3f1c6e2b8a19"},
        also="full-url",
    ),
    *(
        fault(
            f"Group.id is {word!r}: {why}",
            "format",
            f"{_DATATYPES}#id",
            {"Group.id": word, "@Group.fullUrl": f"{SERVER}/Group/{word}"},
        )
        for word, why in [
            ("h_1", "it has no underscore"),
            ("g.1!", "it has no exclamation mark"),
            ("c" * 65, "it has at most 64 characters"),
        ]
    ),
    fault(
        "The id of a contained resource has an underscore",
        "format",
        f"{_DATATYPES}#id",
        {"Task.contained[1].id": "ward_5", "Task.restriction.recipient[1].reference": "#ward_5"},
    ),
    fault(
        "A string has a control character",
        "format",
        f"{_DATATYPES}#string",
        {"Task.description": "a\u0007b"},
        severity="warning",
    ),
    fault("The id of an element has a space", "format", f"{R4}/element.html#id", {"Task.code.id": "a b"}),
]

KINDS: list[Fault] = [
    _in_an_input(kind, value, why, ("type",)) for kind, forms in _KINDS.items() for value, why in forms
]
