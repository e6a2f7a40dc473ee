"""What a cancellation has come to, in the words of NHS EPS: code, status of HTTP and status of the line for each."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir import dialects
from gateway.fhir.dialects import Answer, Composed, Manner
from gateway.fhir.dialects.nhs_eps_answers import HISTORY, R_CODES
from gateway.fhir.message import Message, Ourselves, compose_reply, read_message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.task.elements import TASK_CODES
from gateway.fhir.task.outcomes import Outcome
from tests.journeys.dialects import Answered, eps

NOW = datetime(2026, 1, 2, tzinfo=UTC)
OURSELVES = Ourselves("gateway", "http://gateway.example/fhir/$process-message", "http://gateway.example/fhir")
EPS = dialects.get("nhs-eps")
OUTCOMES = {
    Outcome.CANCELLED: ("R-0001", 200, "cancelled"),
    Outcome.ACCEPTED: ("R-0001", 200, "cancelled"),
    Outcome.PENDING: ("R-0003", 400, "active"),
    Outcome.ALREADY_PENDING: ("R-0003", 400, "active"),
    Outcome.TOO_LATE: ("R-0004", 400, "completed"),
    Outcome.EXPIRED: ("R-0005", 400, "stopped"),
    Outcome.ALREADY_CANCELLED: ("R-0006", 400, "cancelled"),
    Outcome.NOT_THE_PLACER: ("R-0007", 400, "unknown"),
    Outcome.ALREADY_ENDED: ("R-0010", 400, "stopped"),
    Outcome.NO_SUCH_ORDER: ("R-0008", 400, "not-found"),
    Outcome.HELD: ("R-0008", 400, "not-found"),
    Outcome.REJECTED: ("R-5000", 400, "processing"),
    Outcome.WITHDRAWN: ("R-5000", 400, "processing"),
    Outcome.NO_SUCH_REQUEST: ("R-5000", 400, "processing"),
}
"""The code, the status of HTTP, and that of the MedicationRequest, or the code of the OperationOutcome's issue."""
REFUSALS = {
    "not-supported": "R-0009",
    "required": "R-5888",
    "structure": "R-5888",
    "business-rule": "R-5888",
    "duplicate": "R-5000",
    "forbidden": "R-5000",
    "exception": "R-5000",
}


def asked() -> Message:
    return EPS.understand(read_message(eps.cancellation(), NOW), Manner("nhs-eps", sender=f"{eps.ODS}|A83008"))


def answered(issue: Issue, *focus: dict[str, Any], code: Any = "fatal-error") -> Answer:
    message = asked()
    reply = compose_reply(message, code, OURSELVES, NOW, (), operation_outcome([issue]))
    return EPS.answer(message, Composed(reply, code, [issue], focus))


def word(answer: Answer) -> tuple[str, int, str]:
    said = Answered(answer.status, answer.resource)
    if said.of_type("OperationOutcome"):
        [coding] = said.issues[0]["details"]["coding"]
        assert coding["system"] == HISTORY
        return coding["code"], said.status, said.issues[0]["code"]
    [line] = said.of_type("MedicationRequest")
    [history] = [one for one in line["extension"] if one["url"].endswith("PrescriptionStatusHistory")]
    assert said.header["response"]["code"] == "ok"
    return history["extension"][0]["valueCoding"]["code"], said.status, line["status"]


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_has_its_code(outcome: Outcome) -> None:
    assert word(answered(Issue("business-rule", outcome.answer, outcome=outcome.coding))) == OUTCOMES[outcome]


@pytest.mark.parametrize(("code", "said"), REFUSALS.items())
def test_what_is_refused_for_another_reason_has_one_too(code: str, said: str) -> None:
    assert word(answered(Issue(code, "No."))) == (said, 400, R_CODES[said].issue)


def test_every_code_of_eps_is_said() -> None:
    assert {code for code, _, _ in OUTCOMES.values()} | {*REFUSALS.values(), "R-0002"} == {*R_CODES}


ABORT = {"coding": [{"system": TASK_CODES, "code": "abort"}]}


@pytest.mark.parametrize(
    ("outcome", "order", "reason", "code"),
    [
        (Outcome.PENDING, {"status": "on-hold"}, {}, "R-0002"),
        (
            Outcome.PENDING,
            {"status": "in-progress", "businessStatus": {"coding": [{"code": "0002"}]}},
            {},
            "R-0002",
        ),
        (Outcome.ACCEPTED, {"status": "in-progress"}, {}, "R-0003"),
        (Outcome.ACCEPTED, {"status": "failed"}, {}, "R-0001"),
        (Outcome.REJECTED, {"status": "in-progress"}, {"coding": [{"system": HISTORY, "code": "R-0004"}]}, "R-0004"),
        (Outcome.REJECTED, {"status": "in-progress"}, {"coding": [{"system": HISTORY, "code": "R-0003"}]}, "R-5000"),
    ],
)
def test_the_code_is_by_how_the_line_is_and_by_what_the_dispenser_says(
    outcome: Outcome, order: dict[str, Any], reason: dict[str, Any], code: str
) -> None:
    request = {"resourceType": "Task", "code": ABORT, "status": "requested", "statusReason": reason}
    issue = Issue("informational", outcome.answer, severity="information", outcome=outcome.coding)
    assert word(answered(issue, request, {"resourceType": "Task", **order}, code="ok"))[0] == code
