"""What the gateway says when it cannot do what a sender asked: issues, and the refusals that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One `OperationOutcome.issue`, written for the developer of the partner who caused it.

    `code` is from http://hl7.org/fhir/issue-type; `text` says what is wrong and what to do; `expression` is the
    FHIRPath of the place; `outcome` is a (system, code) pair that a program can act on; `rule` is the rule of the
    checker that is broken; `line` and `column` say where in what was sent, from 1, where that is known.
    """

    code: str
    text: str
    expression: str | None = None
    severity: Severity = "error"
    outcome: tuple[str, str] | None = None
    rule: str | None = None
    line: int | None = None
    column: int | None = None


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault of ours
    """The sender's message is not accepted as it is; carries every issue found."""

    def __init__(self, *issues: Issue) -> None:
        super().__init__("; ".join(issue.text for issue in issues))
        self.issues = issues


class Unreadable(Refused):
    """The bytes are not well-formed JSON or XML, or are so in a way FHIR forbids."""


class NotAMessage(Refused):
    """The bytes can be read, but are no FHIR resource, no message, or have no usable header."""


class TooLarge(Refused):
    """The body, as sent or as inflated, is larger than the gateway accepts."""


class Conflict(Exception):  # noqa: N818 - nobody's error: another transaction came first
    """Two transactions wanted to change the same; this one was undone and may be tried again."""


class DatabaseUnavailable(Exception):  # noqa: N818 - a state of the world
    """The database cannot be reached, or is not able to work: whatever was under way did not happen."""


class TookTooLong(BaseException):
    """What was to be done within a time was not."""
