"""Faults of nothing: null, the empty string, list and object, elements that hold nothing but an id."""

from typing import Any

from tests.fhir.check.mutants.fault import GONE, R4, Fault, fault, given

_NULL = f"{R4}/json.html#null"
_PRIMITIVE = f"{R4}/json.html#primitive"
_EXTENSION = {"extension": [{"url": "https://lakeside.test/why", "valueCode": "unknown"}]}

_NULLS: list[str] = [
    "Bundle.timestamp",
    "Bundle.link",
    "Bundle.entry[11]",
    "MessageHeader.reason",
    "MessageHeader.focus[0]",
    "MessageHeader.source.software",
    "Task.description",
    "Task.executionPeriod",
    "Task.executionPeriod.end",
    "Task.note",
    "Task.note[1]",
    "Task.extension[1]",
    "Task.restriction.recipient[+]",
    "Task.input[0].valueQuantity.unit",
    "Patient.gender",
    "Patient._birthDate",
    "Patient._birthDate.extension",
    "Patient._gender",
    "Patient.name[0].given",
    "Patient.name[0]._given",
    "Patient.name[0].prefix",
    "Patient.name[0].prefix[0]",
    "Patient.address[0].line[1]",
    "Patient.active",
    "Observation.component[2]",
    "Observation.valueQuantity.value",
    "Parameters.parameter[1].part[0]",
]

NULLS: list[Fault] = [
    *(given(path, None, ("null", "type") if path.endswith("given") else "null", _NULL, "is null") for path in _NULLS),
    fault(
        "A resource is null",
        "null",
        _NULL,
        {"@Group.resource": None},
        at="@Group.resource",
        exactly="@Group",
        also="bdl-5",
    ),
    fault(
        "A value is null",
        "null",
        _NULL,
        {"Parameters.parameter[0].valueBoolean": None},
        at="Parameters.parameter[0].valueBoolean",
        exactly="Parameters.parameter[0]",
        also="inv-1",
    ),
    fault(
        "A name is null in both of its arrays",
        ("null", "ele-1", "empty"),
        _PRIMITIVE,
        {"Patient.name[0].given": ["Ada", None, "C."], "Patient.name[0]._given": [_EXTENSION, None, _EXTENSION]},
    ),
    fault(
        "A name is null, and its sibling ends before it",
        ("null", "ele-1", "empty"),
        _PRIMITIVE,
        {"Patient.name[0].given": ["Ada", None], "Patient.name[0]._given": [_EXTENSION]},
    ),
    fault(
        "All names are null and there is no sibling",
        ("null", "ele-1", "empty"),
        _PRIMITIVE,
        {"Patient.name[1].given": [None, None]},
    ),
    fault(
        "A sibling has extensions for more names than there are",
        ("null", "type", "cardinality-max", "ele-1"),
        _PRIMITIVE,
        {"Patient.name[0]._given": [None, None, _EXTENSION]},
        at=("Patient.name[0].given",),
        severity="warning",
    ),
    fault(
        "A sibling ends before the names do",
        ("null", "type", "cardinality-min", "ele-1"),
        _PRIMITIVE,
        {"Patient.name[0]._given": [_EXTENSION]},
        at=("Patient.name[0].given",),
        severity="warning",
    ),
    given("Patient.name[0]._given", {"extension": []}, "type", _PRIMITIVE, "is no list, beside a list"),
    given(
        "Patient.name[0]._family", [_EXTENSION], ("cardinality-max", "type"), _PRIMITIVE, "is a list, beside one value"
    ),
    given("Patient.name[0]._given[1]", "B", "type", _PRIMITIVE, "is no object"),
]

_EMPTY: list[tuple[str, Any]] = [
    ("Bundle.link", []),
    ("Bundle.identifier.value", ""),
    ("MessageHeader.destination", []),
    ("MessageHeader.focus", []),
    ("MessageHeader.language", ""),
    ("MessageHeader.reason", {}),
    ("MessageHeader.source.software", ""),
    ("MessageHeader.meta", {}),
    ("MessageHeader.meta.tag", []),
    ("Task.contained[0].name[0].family", ""),
    ("Task.description", ""),
    ("Task.code", {}),
    ("Task.code.coding", []),
    ("Task.code.coding[0]", {}),
    ("Task.code.text", ""),
    ("Task.executionPeriod", {}),
    ("Task.extension", []),
    ("Task.extension[1].extension", []),
    ("Task.extension[1].valueString", ""),
    ("Task.input", []),
    ("Task.input[1].valueString", ""),
    ("Task.note", []),
    ("Task.owner", {}),
    ("Task.owner.reference", ""),
    ("Task.restriction.period", {}),
    ("Task.groupIdentifier.value", ""),
    ("Patient.birthDate", ""),
    ("Patient._gender", {}),
    ("Patient._birthDate.extension", []),
    ("Patient.gender", ""),
    ("Patient.id", ""),
    ("Patient.name", []),
    ("Patient.name[1]", {}),
    ("Patient.name[1].given", []),
    ("Patient.name[1].given[0]", ""),
    ("Patient.name[0]._given", []),
    ("Patient.name[0]._given[1]", {}),
    ("Patient.photo[1].url", ""),
    ("Observation.issued", ""),
    ("Observation.valueQuantity", {}),
    ("Observation.valueQuantity.system", ""),
    ("PractitionerRole.availableTime[0].daysOfWeek", []),
    ("PractitionerRole.availableTime[0].availableStartTime", ""),
    ("Parameters.parameter[1].part[2].part[0].name", ""),
]

_EMPTY_STRING = ("empty", "ele-1", "format", "binding-required", "cardinality-min")
"""What may be said of it: that it is nothing is as good as that a required element is not there."""

_BLANK: list[str] = ["Task.description", "Task.note[1].text", "Patient.name[0].family", "Organization.name"]

EMPTY: list[Fault] = [
    *(
        given(path, value, _rules, f"{R4}/json.html#object", f"is empty: {value!r}")
        for path, value in _EMPTY
        for _rules in [_EMPTY_STRING if value == "" else ("empty", "ele-1")]
    ),
    *(
        fault(
            f"{path} is white space and nothing else",
            ("empty", "format"),
            f"{R4}/datatypes.html#string",
            {path: " \n\t"},
            severity="warning",
        )
        for path in _BLANK
    ),
    fault(
        "A parameter has no parts in its list of parts",
        "empty",
        f"{R4}/json.html#object",
        {"Parameters.parameter[1].part": []},
        exactly="Parameters.parameter[1]",
        also="inv-1",
        at="Parameters.parameter[1].part",
    ),
]

_ID_ONLY = [
    "MessageHeader.meta",
    "MessageHeader.reason",
    "Task.code.coding[0]",
    "Task.executionPeriod",
    "Task.owner",
    "Organization.contact[0]",
    "Encounter.hospitalization",
    "Patient.name[1]",
    "Patient.address[+]",
    "Observation.valueQuantity",
    "Specimen.collection",
    "ServiceRequest.occurrenceTiming.repeat",
]

ID_ONLY: list[Fault] = [
    *(fault(f"{path} has an id and nothing else", "ele-1", "ele-1", {path: {"id": "a"}}) for path in _ID_ONLY),
    fault(
        "A primitive has an id, and neither value nor extension",
        "ele-1",
        "ele-1",
        {"Patient.gender": GONE, "Patient._gender": {"id": "a"}},
        at="Patient.gender",
    ),
    fault(
        "An item in a list of primitives has an id, and neither value nor extension",
        "ele-1",
        "ele-1",
        {"Patient.name[0].given[1]": None, "Patient.name[0]._given[1]": {"id": "a"}},
    ),
]
