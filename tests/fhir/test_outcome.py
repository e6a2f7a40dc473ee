"""The OperationOutcome says what the issues say, where FHIR has it."""

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway.errors import Issue
from gateway.fhir import json, xml
from gateway.fhir.check import check
from gateway.fhir.outcome import COLUMN, FILE, LINE, MAX_ISSUES, RULE, operation_outcome

FULL = Issue("business-rule", "Too late.", "Bundle.entry[1].resource.status", "fatal", ("urn:s", "too-late"))


def test_an_issue_is_told_with_its_place_and_its_outcome() -> None:
    outcome = operation_outcome([FULL])

    assert outcome == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "fatal",
                "code": "business-rule",
                "details": {"coding": [{"system": "urn:s", "code": "too-late"}], "text": "Too late."},
                "expression": ["Bundle.entry[1].resource.status"],
            }
        ],
    }


def test_an_issue_without_place_and_outcome_is_told_without() -> None:
    outcome = operation_outcome([Issue("invalid", "Wrong.")])

    assert outcome["issue"] == [{"severity": "error", "code": "invalid", "details": {"text": "Wrong."}}]


def test_line_column_and_rule_are_told_as_the_validator_of_hl7_tells_them() -> None:
    (said,) = operation_outcome([Issue("invariant", "Wrong.", rule="bdl-7", line=12, column=5)])["issue"]

    assert said["extension"] == [
        {"url": LINE, "valueInteger": 12},
        {"url": COLUMN, "valueInteger": 5},
        {"url": RULE, "valueString": "bdl-7"},
    ]
    assert [*said] == ["extension", "severity", "code", "details"]


def test_the_file_that_has_been_looked_at_is_named() -> None:
    outcome = operation_outcome([], "a/order\x1b.json")

    assert outcome["extension"] == [{"url": FILE, "valueString": "a/order\ufffd.json"}]
    OperationOutcome.model_validate(outcome)


def test_of_very_many_issues_the_most_severe_are_told() -> None:
    minor = [Issue("invalid", "Minor.", severity="information")] * MAX_ISSUES

    told = operation_outcome([*minor, Issue("invalid", "Wrong."), Issue("invalid", "Odd.", severity="warning")])

    assert [issue["details"]["text"] for issue in told["issue"][:3]] == ["Wrong.", "Odd.", "Minor."]
    assert told["issue"][-1]["details"]["text"].startswith("There are 2 more issues, none more severe.")
    assert len(told["issue"]) == MAX_ISSUES + 1


def test_issues_keep_their_order_and_may_come_one_by_one() -> None:
    outcome = operation_outcome(Issue("invalid", text) for text in ("a", "b"))

    assert [issue["details"]["text"] for issue in outcome["issue"]] == ["a", "b"]


def test_no_issue_is_said_to_be_all_ok() -> None:
    (issue,) = operation_outcome([])["issue"]

    assert (issue["severity"], issue["code"], issue["details"]["text"]) == ("information", "informational", "All OK")


def test_what_is_said_is_valid_fhir() -> None:
    for outcome in (
        operation_outcome([]),
        operation_outcome([FULL, Issue("invalid", "Wrong.", rule="bdl-7", line=1, column=2)]),
    ):
        OperationOutcome.model_validate(outcome)
        assert [issue for issue in check(outcome) if issue.severity != "information"] == []


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_a_character_that_cannot_be_written_is_shown_as_one_that_is_unknown(character: str) -> None:
    issue = Issue("value", f"Not {character}.", f"Bundle.`{character}`")

    outcome = operation_outcome([issue])

    (said,) = outcome["issue"]
    assert (said["details"]["text"], said["expression"]) == ("Not \ufffd.", ["Bundle.`\ufffd`"])
    assert xml.parse(xml.serialize(outcome)) == json.parse(json.serialize(outcome)) == outcome


def test_what_can_be_written_is_left_as_it_is() -> None:
    (issue,) = operation_outcome([Issue("value", "A\ttab,\na line, \u00e9 and \U0001f600.")])["issue"]

    assert issue["details"]["text"] == "A\ttab,\na line, \u00e9 and \U0001f600."


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_a_place_that_is_blank_is_left_out(blank: str) -> None:
    (issue,) = operation_outcome([Issue("value", "Wrong.", blank)])["issue"]

    assert "expression" not in issue
