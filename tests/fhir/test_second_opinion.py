"""What the models of fhir.resources say, as issues that refuse nothing."""

from typing import Any

import pytest

from gateway.fhir import json
from gateway.fhir.definitions import Version
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
