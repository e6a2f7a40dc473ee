"""The OperationOutcome that tells a sender of issues (https://hl7.org/fhir/R4/operationoutcome.html)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.errors import Issue
from gateway.fhir.json import FORBIDDEN, Resource

_ALL_OK = Issue("informational", "All OK", severity="information")


def operation_outcome(issues: Iterable[Issue]) -> Resource:
    """An OperationOutcome with one issue for each of `issues`; with one that says so if there are none."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in [*issues] or [_ALL_OK]]}


def _issue(issue: Issue) -> dict[str, Any]:
    details: dict[str, Any] = {"text": _writable(issue.text)}
    if issue.outcome:
        system, code = issue.outcome
        details = {"coding": [{"system": system, "code": code}], **details}
    element: dict[str, Any] = {"severity": issue.severity, "code": issue.code, "details": details}
    if expression := _writable(issue.expression or "").strip():
        element["expression"] = [expression]
    return element


def _writable(text: str) -> str:
    """`text`, which may quote a sender, with U+FFFD for every character that no XML can have in it."""
    return FORBIDDEN.sub("\ufffd", text)
