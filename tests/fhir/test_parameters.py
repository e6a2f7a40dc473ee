"""A message may come inside a Parameters."""

from typing import Any

import pytest

from gateway.errors import NotAMessage
from gateway.fhir.parameters import unwrap

BUNDLE = {"resourceType": "Bundle", "type": "message"}


def parameters(*parameter: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [*parameter]}


def test_a_bundle_is_left_as_it_is() -> None:
    assert unwrap(BUNDLE) is BUNDLE


def test_any_other_resource_is_left_as_it_is() -> None:
    assert unwrap({"resourceType": "Patient", "parameter": []}) == {"resourceType": "Patient", "parameter": []}


def test_the_content_of_a_parameters_is_taken_out() -> None:
    assert unwrap(parameters({"name": "content", "resource": BUNDLE})) == BUNDLE


def test_a_parameters_inside_a_parameters_is_not_taken_out_twice() -> None:
    inner = parameters({"name": "content", "resource": BUNDLE})

    assert unwrap(parameters({"name": "content", "resource": inner})) == inner


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": None},
        {"resourceType": "Parameters", "parameter": {"name": "content", "resource": BUNDLE}},
        parameters(),
        parameters("content"),
        parameters({"name": "content"}),
        parameters({"name": "content", "resource": None}),
        parameters({"name": "content", "resource": "Bundle"}),
        parameters({"name": "content", "resource": {}}),
        parameters({"name": "content", "resource": {"resourceType": 1}}),
        parameters({"name": "message", "resource": BUNDLE}),
        parameters({"resource": BUNDLE}),
        parameters({"name": "content", "resource": BUNDLE}, {"name": "async", "valueBoolean": True}),
        parameters({"name": "content", "resource": BUNDLE}, {"name": "content", "resource": BUNDLE}),
    ],
)
def test_any_other_parameters_is_refused_with_what_to_send(resource: dict[str, Any]) -> None:
    with pytest.raises(NotAMessage, match="one parameter, with the name content") as refused:
        unwrap(resource)

    assert refused.value.issues[0].expression == "Parameters.parameter"
