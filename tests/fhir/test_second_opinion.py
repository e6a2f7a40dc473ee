"""What the models of fhir.resources say, as issues that refuse nothing."""

from time import perf_counter
from typing import Any

import pytest

from gateway.fhir import json
from gateway.fhir.definitions import Version
from gateway.fhir.issues import step
from gateway.fhir.json import Number
from gateway.fhir.second_opinion import second_opinion

TASK = json.parse(
    b'{"resourceType": "Task", "status": "draft", "intent": "order",'
    b'"input": [{"type": {"text": "a"}, "valueDecimal": 1.00}]}'
)


@pytest.mark.parametrize("version", ["STU3", "R4", "R4B", "R5"])
def test_what_is_sound_is_not_objected_to(version: Version) -> None:
    assert second_opinion(TASK, version) == []


def test_an_objection_says_where() -> None:
    bundle = {"resourceType": "Bundle", "type": "message", "entry": [{"resource": {**TASK, "priority": 1}}]}

    (issue,) = second_opinion(bundle)

    assert (issue.severity, issue.rule) == ("information", "second-opinion")
    assert issue.expression == "Bundle.entry[0].resource.priority"
    assert "fhir.resources" in issue.text


def test_an_objection_is_where_the_checker_would_have_it() -> None:
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "valueInteger": "b"}
    patient = {"resourceType": "Patient", "_birthDate": {"id": [1]}, "contained": [{**observation, "id": "1"}]}

    assert {issue.expression for issue in second_opinion(patient)} == {
        "Patient.birthDate.id",
        "Patient.contained[0].value",
    }


@pytest.mark.parametrize("name", ["a.b", "a`b\\", "a b", "a\u202eb", "é", "\U0001f600", "a'\"b"])
def test_the_place_of_an_odd_name_is_fhirpath_and_neither_it_nor_the_text_can_turn_a_line_around(name: str) -> None:
    (issue,) = second_opinion({"resourceType": "Patient", "name": [{name: name}]})

    assert issue.expression == f"Patient.name[0].{step(name)}"
    assert f"{issue.expression}{issue.text}".isprintable()


def test_what_the_models_stumble_over_is_an_objection() -> None:
    value = {"code": {"text": "a"}, "valueQuantity": {"value": Number(f"1e{'9' * 20}")}}

    (issue,) = second_opinion({"resourceType": "Observation", "status": "final", **value})

    assert (issue.expression, "fails on it with" in issue.text) == ("Observation", True)


def test_what_the_models_quote_is_short_and_on_one_line() -> None:
    entry = {"resource": {"resourceType": "\u202e" + "x" * 10_000}}

    for issue in second_opinion({"resourceType": "Bundle", "type": "collection", "entry": [entry]}):
        assert issue.text.isprintable()
        assert len(issue.text) < 1000


@pytest.mark.parametrize(
    "lexeme",
    ["1e20000000", "-1E-20000000", "1e+20000000", "9" * 400_000, "0." + "1" * 400_000],
    ids=lambda text: text[:12],
)
def test_a_number_is_not_written_out(lexeme: str) -> None:
    items = [{"linkId": str(number), "type": "string", "maxLength": Number(lexeme)} for number in range(20)]
    value = {"code": {"text": "a"}, "valueQuantity": {"value": Number(lexeme)}}
    started = perf_counter()

    objections = second_opinion({"resourceType": "Questionnaire", "status": "draft", "item": items})
    none = second_opinion({"resourceType": "Observation", "status": "final", **value})

    assert [issue.expression for issue in objections] == [f"Questionnaire.item[{n}].maxLength" for n in range(20)]
    assert none == []
    assert perf_counter() - started < 30


def test_the_models_are_those_of_the_version() -> None:
    requested = {**TASK, "requestedPerformer": [{"reference": {"reference": "Practitioner/1"}}]}

    assert second_opinion(requested, "R5") == []
    assert second_opinion(requested, "R4") != []


@pytest.mark.parametrize(
    "odd",
    [
        {"resourceType": "MedicinalProduct", "name": []},
        {"resourceType": "Nothing"},
        {"resourceType": None},
        {},
        {"resourceType": "Bundle", "type": "message", "entry": [{"resource": {"resourceType": []}}]},
        {"resourceType": "Bundle", "type": "message", "entry": [None, 1, {"resource": "x"}]},
        {"resourceType": "Patient", "contained": [{"resourceType": "Patient", "contained": [{}]}]},
    ],
)
def test_nothing_is_raised(odd: dict[str, Any]) -> None:
    second_opinion(odd)
