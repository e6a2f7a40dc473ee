"""What is empty is left out, and nothing else is."""

import copy
from typing import Any

import pytest

from gateway.fhir.emptiness import without_empty
from gateway.fhir.json import Number

X = {"extension": [{"url": "urn:x", "valueString": "x"}]}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"a": "", "b": [], "c": {}, "d": "d"}, {"d": "d"}),
        ({"a": {"b": {"c": ""}}, "d": [{"e": []}]}, {}),
        ({"a": [{"b": ""}, {"b": "b"}, {}]}, {"a": [{"b": "b"}]}),
        ({"a": ["", "a", ""]}, {"a": ["a"]}),
        ({"a": False, "b": 0, "c": Number("0.00")}, {"a": False, "b": 0, "c": Number("0.00")}),
        ({"a": "", "_a": X}, {"_a": X}),
        ({"a": "a", "_a": {}}, {"a": "a"}),
        ({"a": ["a", ""], "_a": [None, X]}, {"a": ["a", None], "_a": [None, X]}),
        ({"a": ["a", "b"], "_a": [X, {}]}, {"a": ["a", "b"], "_a": [X, None]}),
        ({"a": ["", "b"], "_a": [{}, X]}, {"a": ["b"], "_a": [X]}),
        ({"a": ["a"], "_a": [{}]}, {"a": ["a"]}),
        ({"a": [""], "_a": [X]}, {"_a": [X]}),
        ({"_a": [None, X]}, {"_a": [None, X]}),
        ({"a": '"', "b": '""', "c": "[]{}"}, {"a": '"', "b": '""', "c": "[]{}"}),
    ],
)
def test_what_is_empty_is_left_out(resource: dict[str, Any], expected: dict[str, Any]) -> None:
    given = copy.deepcopy(resource)
    assert without_empty(given) == expected
    assert given == resource


def test_what_is_left_keeps_its_order() -> None:
    assert [*without_empty({"c": "1", "b": "", "a": ["1", None], "_a": [None, X]})] == ["c", "a", "_a"]
