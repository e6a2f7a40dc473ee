"""When something falls due by what a Task says: the end of its period, or of the time for which it is held.

https://hl7.org/fhir/R4/task-definitions.html#Task.restriction.period
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.fhir.message import instant
from gateway.fhir.policy.model import Policy
from gateway.fhir.task.elements import dicts, is_cancellation, request_code

Resource = dict[str, Any]

CLOCK = "urn:x-fhir-gateway:clock"
"""The source of the messages by which the gateway tells itself that a time has passed."""
DEADLINE = "urn:x-fhir-gateway:message-event", "deadline"
"""Their event: system and code."""
FLAG_SYSTEM = "urn:x-fhir-gateway:flag"
OVERDUE = "overdue"
_OPEN = ("requested", "received")


def deadline_of(task: Resource, policy: Policy, now: datetime) -> datetime | None:
    """The moment at which the gateway must look again at a Task that is written `now`; None when there is none.

    A cancellation request that has overtaken its order is looked at when it has been held for as long as the policy
    says; an order that has not ended when its period has, unless it is flagged for that already.
    """
    if is_held(task):
        return _later(now, policy.hold)
    if policy.expiry.action == "flag" and is_flagged(task):
        return None
    return due_by_period(task, policy)


def due_by_period(task: Resource, policy: Policy) -> datetime | None:
    """When the period of an order and the policy's grace are over; None for what has no period, or has ended."""
    machine = policy.order
    if request_code(task) is not None or machine.is_final(machine.state_of(task)):
        return None
    restriction = task.get("restriction")
    period = restriction.get("period") if isinstance(restriction, dict) else None
    end = end_of(period.get("end")) if isinstance(period, dict) else None
    return _later(end, policy.expiry.after) if end else None


def is_held(task: Resource) -> bool:
    """Whether a Task is a cancellation request that waits for its order: its focus says which, and leads nowhere."""
    focus = task.get("focus")
    waits = isinstance(focus, dict) and isinstance(focus.get("identifier"), dict) and "reference" not in focus
    return waits and is_cancellation(task) and task.get("status") in _OPEN


def is_flagged(task: Resource) -> bool:
    """Whether a Task is marked as overdue."""
    return any(_is_flag(tag) for tag in _tags(task))


def with_flag(task: Resource) -> Resource:
    """A Task marked as overdue, in `meta.tag`."""
    meta = task.get("meta") or {}
    return task | {"meta": meta | {"tag": [*_other_tags(task), {"system": FLAG_SYSTEM, "code": OVERDUE}]}}


def reflagged(task: Resource, kept: Resource | None, policy: Policy, now: datetime) -> Resource:
    """A Task as a party leaves it at `now`, marked as overdue if it was (`kept`) and is: nobody else marks it.

    It is no longer when it has ended, when its period goes on, or when it has none any more.
    """
    due = due_by_period(task, policy)
    if kept is not None and is_flagged(kept) and due is not None and due <= now:
        return task if is_flagged(task) else with_flag(task)
    if not is_flagged(task):
        return task
    meta = {name: value for name, value in task["meta"].items() if name != "tag"}
    others = _other_tags(task)
    return task | {"meta": meta | ({"tag": others} if others else {})}


def end_of(moment: Any) -> datetime | None:
    """The end of what a FHIR dateTime means: of its day, month or year (in UTC), where it has no time."""
    if not isinstance(moment, str):
        return None
    try:
        if "T" in moment:
            is_leap_second = moment[16:19] == ":60"
            exact = datetime.fromisoformat(f"{moment[:16]}:59{moment[19:]}" if is_leap_second else moment)
            return exact.astimezone(UTC) + timedelta(seconds=is_leap_second) if exact.tzinfo else None
        parts = [int(part) for part in moment.split("-")]
        year, month, day = (*parts, 1, 1)[:3]
        if len(parts) == 3:
            return datetime(year, month, day, tzinfo=UTC) + timedelta(days=1)
        following = (year + 1, 1) if len(parts) == 1 or month == 12 else (year, month + 1)
        return datetime(*following, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def deadline_message(task_id: str, version: int, base_url: str, endpoint: str, now: datetime) -> Resource:
    """The message by which the gateway (at `endpoint`) tells itself that a version of a Task has fallen due.

    Its ids are those of the version, so that it is the same message however often it is sent.
    """
    due = f"{base_url}/Task/{task_id}/_history/{version}"
    own_id, (system, code) = str(uuid.uuid5(uuid.NAMESPACE_URL, due)), DEADLINE
    header = {
        "resourceType": "MessageHeader",
        "id": own_id,
        "eventCoding": {"system": system, "code": code},
        "destination": [{"endpoint": endpoint}],
        "source": {"endpoint": CLOCK},
        "focus": [{"reference": due}],
    }
    return {
        "resourceType": "Bundle",
        "id": own_id,
        "type": "message",
        "timestamp": instant(now),
        "entry": [{"fullUrl": f"urn:uuid:{own_id}", "resource": header}],
    }


def _later(moment: datetime, time: timedelta) -> datetime | None:
    try:
        return moment + time
    except OverflowError:
        return None


def _tags(task: Resource) -> list[Resource]:
    meta = task.get("meta")
    return dicts(meta.get("tag")) if isinstance(meta, dict) else []


def _other_tags(task: Resource) -> list[Resource]:
    return [tag for tag in _tags(task) if not _is_flag(tag)]


def _is_flag(tag: Resource) -> bool:
    return tag.get("system") == FLAG_SYSTEM
