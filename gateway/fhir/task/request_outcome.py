"""What has become of a cancellation request, by its Task."""

from __future__ import annotations

from gateway.fhir.json import Resource
from gateway.fhir.task.deadlines import is_held
from gateway.fhir.task.elements import dicts, status_of
from gateway.fhir.task.outcomes import Outcome

_OPEN = ("requested", "received")


def outcome_of_request(task: Resource) -> Outcome:
    """What has become of it until now."""
    status = status_of(task)
    if status == "rejected":
        return Outcome.find_in(task.get("statusReason")) or Outcome.REJECTED
    if status == "completed":
        outputs = [Outcome.find_in(output.get("type")) for output in dicts(task.get("output"))]
        return next(filter(None, outputs), Outcome.CANCELLED)
    if is_held(task):
        return Outcome.HELD
    if status in _OPEN:
        return Outcome.PENDING
    return Outcome.ACCEPTED if status == "accepted" else Outcome.WITHDRAWN
