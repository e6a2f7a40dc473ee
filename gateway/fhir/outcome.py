"""The OperationOutcome that tells a sender of issues (https://hl7.org/fhir/R4/operationoutcome.html).

Line, column and rule are told in the extensions in which HL7's own validator and HAPI tell them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.errors import Issue
from gateway.fhir.json import FORBIDDEN, Resource

MAX_ISSUES = 200
LINE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-line"
COLUMN = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-col"
RULE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-message-id"
FILE = "http://hl7.org/fhir/StructureDefinition/operationoutcome-file"

_ALL_OK = Issue("informational", "All OK", severity="information")
_LEAST_SEVERE_LAST = ("fatal", "error", "warning", "information")


def operation_outcome(issues: Iterable[Issue], file: str | None = None) -> Resource:
    """An OperationOutcome with one issue for each of `issues`; with one that says so if there are none.

    Of more than MAX_ISSUES the most severe are told. `file` is the name of what has been looked at.
    """
    outcome: Resource = {"resourceType": "OperationOutcome"}
    if file is not None:
        outcome["extension"] = [{"url": FILE, "valueString": _writable(file)}]
    return outcome | {"issue": [_issue(issue) for issue in _bounded([*issues]) or [_ALL_OK]]}


def _bounded(issues: list[Issue]) -> list[Issue]:
    if len(issues) <= MAX_ISSUES:
        return issues
    told = sorted(issues, key=lambda issue: _LEAST_SEVERE_LAST.index(issue.severity))[:MAX_ISSUES]
    text = f"There are {len(issues) - MAX_ISSUES} more issues, none more severe. Correct these to see the others."
    return [*told, Issue("incomplete", text, severity="information")]


def _issue(issue: Issue) -> dict[str, Any]:
    details: dict[str, Any] = {"text": _writable(issue.text)}
    if issue.outcome:
        system, code = issue.outcome
        details = {"coding": [{"system": system, "code": code}], **details}
    extensions = [*_extensions(issue)]
    element: dict[str, Any] = {"extension": extensions} if extensions else {}
    element |= {"severity": issue.severity, "code": issue.code, "details": details}
    if expression := _writable(issue.expression or "").strip():
        element["expression"] = [expression]
    return element


def _extensions(issue: Issue) -> Iterable[dict[str, Any]]:
    if issue.line is not None:
        yield {"url": LINE, "valueInteger": issue.line}
    if issue.column is not None:
        yield {"url": COLUMN, "valueInteger": issue.column}
    if issue.rule is not None:
        yield {"url": RULE, "valueString": issue.rule}


def _writable(text: str) -> str:
    """`text`, which may quote a sender, with U+FFFD for every character that no XML can have in it."""
    return FORBIDDEN.sub("\ufffd", text)
