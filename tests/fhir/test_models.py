"""What a resource may hold, and what a primitive looks like, is what R4 says."""

import datetime
from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir import definitions, json
from gateway.fhir.check import check_structure
from gateway.fhir.models import NOT_IN_R4B, elements, find_resource_model


def issues_of(name: str, value: Any) -> list[Issue]:
    extension = {"url": "urn:x", name: value}
    return check_structure({"resourceType": "Basic", "code": {"text": "c"}, "extension": [extension]})


SOUND = {
    "valueBase64Binary": ["QQ==", "QUI=", "QUJD", " QU\nJD\r\n", "QUJD QUI=\n"],
    "valueBoolean": [True, False],
    "valueCanonical": ["http://x.example/y|1#z"],
    "valueCode": ["a", "a b", "é"],
    "valueDate": ["0001", "2024-12", "2024-02-29", "2000-02-29", "9999-12-31"],
    "valueDateTime": ["2024", "2024-01", "2024-01-31", "2024-01-31T23:59:60Z", "2024-01-31T00:00:00.1234567890+14:00"],
    "valueDecimal": [0, -1, 10**400, json.Number("1.00"), json.Number("1e-7"), json.Number("-1E+400")],
    "valueId": ["a", "A.-9", "x" * 64],
    "valueInstant": ["2024-01-31T23:59:59Z", "2024-01-31T23:59:59.715-05:00"],
    "valueInteger": [0, -(2**31), 2**31 - 1],
    "valueMarkdown": ["*a*\n"],
    "valueOid": ["urn:oid:1.2.3", "urn:oid:2.16.840"],
    "valuePositiveInt": [1],
    "valueString": ["a", " ", "\u00e9\U0001f600"],
    "valueTime": ["00:00:00", "23:59:60", "12:00:00.5"],
    "valueUnsignedInt": [0],
    "valueUri": ["urn:x", "#a", "relative/path"],
    "valueUrl": ["http://x.example", "mllp://x", "mailto:a@b.c"],
    "valueUuid": ["urn:uuid:c757873d-ec9a-1326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520"],
}
UNSOUND = {
    "valueBase64Binary": ["", "Q", "QQ=", "Q===", "QUJD=", "QQ==QQ==", "Q-_=", "QUJ\u00e9", 1],
    "valueBoolean": ["true", 1, 0, None, [True]],
    "valueCanonical": ["", "a b"],
    "valueCode": ["", " a", "a ", "a  b", "a\n\nb"],
    "valueDate": [
        "24",
        "2024-13",
        "2023-02-29",
        "1900-02-29",
        "2024-04-31",
        "2024-01-01T00:00:00Z",
        "2024-1-1",
        "0000",
    ],
    "valueDateTime": ["2024-01-31T23:59Z", "2024-01-31T23:59:59", "2024-01-31T24:00:00Z", "2024-01-31 10:00:00Z", 2024],
    "valueDecimal": ["1.0", True, None, {}],
    "valueId": ["", "a_b", "x" * 65, "a\n", "é", 1],
    "valueInstant": ["2024", "2024-01-31", "2024-01-31T23:59:59"],
    "valueInteger": [2**31, -(2**31) - 1, json.Number("1.0"), "1", True, 10**5000],
    "valueOid": ["1.2.3", "urn:oid:3.1", "urn:oid:1.02"],
    "valuePositiveInt": [0, -1],
    "valueString": ["", 1, [], {}],
    "valueTime": ["10:00", "24:00:00", "10:00:00Z"],
    "valueUnsignedInt": [-1, 2**31],
    "valueUri": ["", " ", "a\tb"],
    "valueUuid": ["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:1"],
}


@pytest.mark.parametrize("name", SOUND)
def test_a_primitive_as_r4_has_it_passes(name: str) -> None:
    for value in SOUND[name]:
        assert issues_of(name, value) == []


@pytest.mark.parametrize("name", UNSOUND)
def test_a_primitive_as_r4_does_not_have_it_is_refused(name: str) -> None:
    for value in UNSOUND[name]:
        (issue,) = issues_of(name, value)

        assert issue.expression == "Basic.extension[0].value"


def test_a_date_passes_if_the_calendar_has_it() -> None:
    years = (1, 1900, 1999, 2000, 2004, 2100, 2400)
    dates = [f"{year:04}-{month:02}-{day:02}" for year in years for month in range(14) for day in range(33)]

    for date in dates:
        try:
            expected = bool(datetime.date.fromisoformat(date))
        except ValueError:
            expected = False
        assert (issues_of("valueDateTime", date) == []) is expected, date


TYPES = ["Bundle", "MessageHeader", "OperationOutcome", "Parameters", "Task", "Patient", "Practitioner", "Organization"]
TYPES += ["ServiceRequest", "MedicationRequest", "MedicationDispense", "DiagnosticReport", "Observation", "Provenance"]


@pytest.mark.parametrize("resource_type", TYPES)
def test_the_elements_are_those_of_the_specification(resource_type: str) -> None:
    seen = set()
    waiting: list[tuple[str, Any]] = [(resource_type, find_resource_model(resource_type))]
    while waiting:
        name, model = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        of_r4, known = definitions.get_type(name), elements(model)
        r4_fields = {**of_r4.fields, **of_r4.attributes}
        assert {*r4_fields, *of_r4.siblings} <= known.keys(), name
        for field in r4_fields.values():
            element = known[field.name]
            assert (element.path, element.many) == (field.element, field.many), (name, field.name)
            if field.kind == "complex":
                waiting.append((field.type, element.model))


def test_every_type_that_cannot_be_checked_is_one_of_r4() -> None:
    assert all(definitions.is_resource(resource_type) for resource_type in NOT_IN_R4B)
