"""The code systems of the gateway's own: valid, whole, and said in the documents too."""

from pathlib import Path

import pytest

from gateway.fhir.task.outcomes import MEANINGS, OUTCOME_SYSTEM, Outcome
from gateway.fhir.terminology import code_systems, value_sets
from tests.validity import assert_valid

MESSAGES = Path(__file__).parent.parent.parent / "docs" / "messages.md"


@pytest.mark.parametrize("name", sorted(code_systems()))
def test_each_is_a_valid_code_system_with_a_value_set_of_all_its_codes(name: str) -> None:
    system, values = code_systems()[name], value_sets()[name]
    assert_valid(system)
    assert_valid(values)
    assert values["compose"] == {"include": [{"system": system["url"]}]}
    assert system["valueSet"] == values["url"]
    assert system["count"] == len({concept["code"] for concept in system["concept"]})


def test_every_outcome_is_defined() -> None:
    system = code_systems()["cancellation-outcome"]
    assert system["url"] == OUTCOME_SYSTEM
    assert [concept["code"] for concept in system["concept"]] == [outcome.value for outcome in Outcome]
    assert all(concept["display"] and concept["definition"] for concept in system["concept"])
    assert MEANINGS.keys() == set(Outcome)


def test_every_outcome_is_in_the_documents() -> None:
    text = MESSAGES.read_text(encoding="utf-8")
    assert [outcome.value for outcome in Outcome if f"| `{outcome.value}` |" not in text] == []
