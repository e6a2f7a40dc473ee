"""An order's Task as the gateway itself moves it: because a request was accepted, or because its time has passed."""

from __future__ import annotations

from typing import Any

from gateway.fhir.policy.model import Machine
from gateway.fhir.task.elements import dicts
from gateway.fhir.task.merging import dated
from gateway.fhir.versions.merging import without

Resource = dict[str, Any]


def moved(task: Resource, status: str, reason: Resource | None, now: str, machine: Machine) -> Resource:
    """A Task with another status, for a reason (`statusReason`); in a pack that has business statuses, with that of it.

    `now` is an instant, of which `lastModified` is made.
    """
    old = without(task, "statusReason")
    result = {name: value for name, value in old.items() if name not in ("text", "_status")} | {"status": status}
    if machine.business_system is not None:
        result = _with_business_status(result, status, machine)
    return dated(result | ({"statusReason": reason} if reason else {}), now)


def _with_business_status(task: Resource, status: str, machine: Machine) -> Resource:
    system, code = machine.business_system, machine.business_status.get(status)
    if code is not None:
        return task | {"businessStatus": {"coding": [{"system": system, "code": code}]}}
    concept = task.get("businessStatus")
    codings = dicts(concept.get("coding")) if isinstance(concept, dict) else []
    return without(task, "businessStatus") if any(coding.get("system") == system for coding in codings) else task
