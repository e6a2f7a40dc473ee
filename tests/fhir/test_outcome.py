"""The OperationOutcome says what the issues say, where FHIR has it."""

from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway.errors import Issue
from gateway.fhir.check import check_structure
from gateway.fhir.outcome import operation_outcome

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


def test_issues_keep_their_order_and_may_come_one_by_one() -> None:
    outcome = operation_outcome(Issue("invalid", text) for text in ("a", "b"))

    assert [issue["details"]["text"] for issue in outcome["issue"]] == ["a", "b"]


def test_no_issue_is_said_to_be_all_ok() -> None:
    (issue,) = operation_outcome([])["issue"]

    assert (issue["severity"], issue["code"], issue["details"]["text"]) == ("information", "informational", "All OK")


def test_what_is_said_is_valid_fhir() -> None:
    for outcome in (operation_outcome([]), operation_outcome([FULL, Issue("invalid", "Wrong.")])):
        OperationOutcome.model_validate(outcome)
        assert check_structure(outcome) == []
