"""The rules of a Task: its state machine as data, what may never change, and what a cancellation comes to.

https://hl7.org/fhir/R4/task.html, and the HL7 Clinical Order Workflows guide (hl7.fhir.uv.cow). Everything here is
pure: it looks at Tasks and says what is wrong with them, as issues; who may make a move is not decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from gateway.errors import Issue, Refused
from gateway.fhir.definitions import Version
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.message import Message
from gateway.fhir.references import Entry, references_in
from gateway.fhir.versions.merging import beside, overlaid, without

Resource = dict[str, Any]
Same = Callable[[Resource, Resource], bool]

# What authorises work, and so can be in focus of a Task: https://hl7.org/fhir/R4/request.html
REQUESTS = (
    "CommunicationRequest",
    "DeviceRequest",
    "MedicationRequest",
    "NutritionOrder",
    "RequestGroup",
    "ServiceRequest",
    "SupplyRequest",
    "VisionPrescription",
)
CANCELLED = "cancelled"
ENTERED_IN_ERROR = "entered-in-error"
OUTCOME_SYSTEM = "urn:x-fhir-gateway:cancellation-outcome"
_TASK_CODES = "http://hl7.org/fhir/CodeSystem/task-code"
_IMMUTABLE = ("intent", "requester", "for", "basedOn", "partOf", "focus")
_WIDEST_OFFSET = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class StateMachine:
    """The statuses a Task can have and the moves between them.

    `moves`: what may follow a status directly; `initial`: what a new Task may have; `on_request`: moves that only an
    accepted cancellation request makes; `unsettled`: statuses in which a Task's immutable elements may still change.
    """

    name: str
    moves: Mapping[str, frozenset[str]]
    initial: frozenset[str]
    on_request: Mapping[str, frozenset[str]]
    unsettled: frozenset[str]

    def allowed(self, status: str) -> list[str]:
        """The statuses that may follow, in the order of the machine."""
        following = self.moves.get(status, frozenset())
        return [other for other in self.moves if other in following]

    def is_final(self, status: str) -> bool:
        return self.moves.get(status, frozenset()) <= {ENTERED_IN_ERROR}

    def way(self, old: str, new: str) -> list[str]:
        """The shortest row of moves from one status to another, without the first; empty when there is none."""
        ways = deque([[old]])
        seen = {old, ENTERED_IN_ERROR}
        while ways:
            way = ways.popleft()
            for following in self.allowed(way[-1]):
                if following == new:
                    return [*way[1:], new]
                if following not in seen:
                    seen.add(following)
                    ways.append([*way, following])
        return []


def _with_errors(moves: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """Every Task can turn out to have been entered in error, and nothing follows that."""
    return {old: frozenset({*new, ENTERED_IN_ERROR}) for old, new in moves.items()} | {ENTERED_IN_ERROR: frozenset()}


COW = StateMachine(
    name="cow",
    moves=_with_errors(
        {
            "draft": {"requested", "ready", "cancelled"},
            "requested": {"received", "accepted", "rejected", "cancelled"},
            "received": {"accepted", "rejected", "cancelled"},
            "accepted": {"in-progress", "cancelled"},
            "ready": {"in-progress", "cancelled"},
            "in-progress": {"on-hold", "completed", "failed"},
            "on-hold": {"in-progress"},
            "rejected": set(),
            "cancelled": set(),
            "failed": set(),
            "completed": set(),
        }
    ),
    initial=frozenset({"draft", "requested", "ready"}),
    on_request={"in-progress": frozenset({"cancelled"}), "on-hold": frozenset({"cancelled"})},
    unsettled=frozenset({"draft"}),
)


CANCELLATION = StateMachine(
    name="cancellation-request",
    moves={
        "requested": frozenset({"received", "accepted", "rejected", CANCELLED, ENTERED_IN_ERROR}),
        "received": frozenset({"accepted", "rejected", CANCELLED, ENTERED_IN_ERROR}),
        **dict.fromkeys(("accepted", "completed", "rejected", CANCELLED, ENTERED_IN_ERROR), frozenset()),
    },
    initial=frozenset({"requested"}),
    on_request={},
    unsettled=frozenset(),
)


class Outcome(StrEnum):
    """What became of a cancellation: the codes of `urn:x-fhir-gateway:cancellation-outcome`."""

    CANCELLED = "cancelled"
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    TOO_LATE = "too-late-completed"
    ALREADY_CANCELLED = "already-cancelled"
    ALREADY_ENDED = "already-ended"
    ALREADY_PENDING = "already-pending"
    NO_SUCH_ORDER = "no-such-order"
    NO_SUCH_REQUEST = "no-such-request"

    @property
    def coding(self) -> tuple[str, str]:
        """(system, code), as `Issue.outcome` takes it."""
        return OUTCOME_SYSTEM, self.value


_ENDED = {
    "completed": Outcome.TOO_LATE,
    "cancelled": Outcome.ALREADY_CANCELLED,
    "rejected": Outcome.ALREADY_ENDED,
    "failed": Outcome.ALREADY_ENDED,
    "entered-in-error": Outcome.ALREADY_ENDED,
    # and what Requests are called when they have ended
    "revoked": Outcome.ALREADY_CANCELLED,
    "stopped": Outcome.ALREADY_ENDED,
}


def cancellation_of_task(status: str, machine: StateMachine = COW) -> Outcome:
    """What a new request to cancel a Task of this status comes to: CANCELLED, PENDING, or why it is too late."""
    if CANCELLED in machine.moves.get(status, ()):
        return Outcome.CANCELLED
    if CANCELLED in machine.on_request.get(status, ()):
        return Outcome.PENDING
    return _ENDED.get(status, Outcome.ALREADY_ENDED)


def cancellation_of_request(status: str) -> Outcome:
    """What a new proposal to cancel a Request of this status comes to: PENDING, or why it is too late."""
    return _ENDED.get(status, Outcome.PENDING)


def is_cancellation(task: Resource) -> bool:
    """Whether a Task asks for another to be cancelled: its code is `abort` of the task codes."""
    code = task.get("code")
    codings = code.get("coding") if isinstance(code, dict) else None
    return isinstance(codings, list) and any(
        isinstance(coding, dict) and coding.get("system") == _TASK_CODES and coding.get("code") == "abort"
        for coding in codings
    )


def status_of(task: Resource) -> str:
    """`Task.status`, or "" where it is missing or no string."""
    status = task.get("status")
    return status if isinstance(status, str) else ""


def only_task(message: Message) -> Entry:
    """The one Task that a message is about. Raises Refused: messages are kept in order for each Task by itself."""
    tasks = message.focus("Task")
    if len(tasks) > 1:
        text = f"The message has {len(tasks)} Tasks in focus. Send one message for each of them."
        raise Refused(Issue("not-supported", text, "Bundle.entry[0].resource.focus[1]"))
    return tasks[0]


def identifiers_of(resource: Resource) -> list[str]:
    """The business identifiers as "system|value" (or "value"), in their order; the gateway's own are none."""
    return ["|".join(filter(None, name)) for name in _names(resource) if not name[0].startswith(OWN_SYSTEMS)]


def check_new(task: Resource, path: str, machine: StateMachine = COW) -> list[Issue]:
    """What keeps a Task from being a new one. `path` is its FHIRPath in the Bundle."""
    issues = check_times(task, path)
    if not identifiers_of(task):
        text = (
            "Task.identifier is required: later messages about this order find it by its business identifier. Give "
            "the Task an identifier with a system and a value that you will repeat in each message about it."
        )
        issues.append(Issue("required", text, f"{path}.identifier"))
    status = status_of(task)
    if status not in machine.initial:
        text = (
            f"A new Task cannot have the status {status or '(none)'}. Send it with one of: "
            f"{_listed(machine, machine.initial)}; what happens to it afterwards comes in further messages."
        )
        issues.append(Issue("business-rule" if status in machine.moves else "value", text, f"{path}.status"))
    return issues


def check_move(old: str, new: str, path: str, machine: StateMachine = COW, what: str = "order") -> list[Issue]:
    """What is wrong with a Task going from status `old` to `new`; the same status again is no move.

    `what` the Task is, in the sentence for the sender.
    """
    if old == new or new in machine.moves.get(old, ()):
        return []
    text = (
        f"The {what} is {old} and cannot become {new or '(no status)'}. From {old} it can go to: "
        f"{_listed(machine, machine.moves.get(old, ()))}. {_what_now(old, new, machine)}"
    )
    return [Issue("business-rule" if new in COW.moves else "value", text, f"{path}.status")]


def check_immutable(kept: Resource, sent: Resource, path: str, same: Same, machine: StateMachine = COW) -> list[Issue]:
    """What a message changes of a Task that must not change. What it does not mention does not change.

    `same` says whether two References (the kept one, the sent one) mean the same resource.
    """
    if status_of(kept) in machine.unsettled:
        return []
    issues = _check_identifiers(kept, sent, path)
    for name in _IMMUTABLE:
        if name in sent and not _is_unchanged(kept.get(name), sent[name], same):
            text = (
                f"Task.{name} cannot change any more: the gateway keeps {_shown(kept.get(name))}, the message has "
                f"{_shown(sent[name])}. Leave the element out or send it as it was; for another order send a new-order "
                "with a new Task.identifier."
            )
            issues.append(Issue("business-rule", text, f"{path}.{name}"))
    return issues


def check_times(task: Resource, path: str) -> list[Issue]:
    """inv-1: lastModified is not before authoredOn, as far as their precision tells."""
    authored, modified = _span(task.get("authoredOn")), _span(task.get("lastModified"))
    if authored is None or modified is None or modified[1] >= authored[0]:
        return []
    text = (
        f"Task.lastModified ({task['lastModified']}) is before Task.authoredOn ({task['authoredOn']}), which FHIR "
        "forbids (inv-1). Correct one of them."
    )
    return [Issue("invariant", text, f"{path}.lastModified")]


def merged(kept: Resource, sent: Resource, now: str, machine: StateMachine = COW, version: Version = "R4") -> Resource:
    """A kept Task as a message leaves it: what the message, sent in `version`, has replaces, what it has not stays.

    Except: `statusReason` goes when its status changes, `text` when anything does; identifiers are only added; the
    immutable elements stay as first written; `lastModified` becomes `now` (an instant) unless the message dates it.
    """
    new = {name: value for name, value in sent.items() if name not in ("resourceType", "id", "meta", "contained")}
    gone = beside(sent, version)
    if status_of(kept) not in machine.unsettled:
        new = {name: value for name, value in new.items() if name not in _IMMUTABLE or name not in kept}
        gone -= {*_IMMUTABLE}
    is_moved = "status" in new and status_of(new) != status_of(kept)
    old = without(kept, "statusReason") if is_moved and "statusReason" not in new.keys() | gone else kept
    result = overlaid(old, new, gone, sent, version)
    if "identifier" in kept:
        known = set(_names(kept))
        added = [i for i in _dicts(sent.get("identifier")) if _name(i) not in known]
        result["identifier"] = [*_dicts(kept["identifier"]), *added]
    if "meta" in sent:
        theirs = {name: value for name, value in sent["meta"].items() if name not in ("versionId", "lastUpdated")}
        result["meta"] = {**kept.get("meta", {}), **theirs}
    _merge_contained(result, kept, sent)
    if result == kept:
        return kept
    if "text" not in new:
        result.pop("text", None)
    return result if "lastModified" in new else dated(result, now)


def dated(task: Resource, now: str) -> Resource:
    """A Task with `lastModified` now; not before its `authoredOn`, should its author's clock be ahead of ours."""
    result = {name: value for name, value in task.items() if name != "_lastModified"} | {"lastModified": now}
    return {**result, "lastModified": task["authoredOn"]} if check_times(result, "") else result


def cancelled(task: Resource, reason: Resource | None, now: str) -> Resource:
    """A Task as it is once cancelled, with the reason of the cancellation as its `statusReason`."""
    result = {name: value for name, value in without(task, "statusReason").items() if name not in ("text", "_status")}
    return dated({**result, "status": CANCELLED, **({"statusReason": reason} if reason else {})}, now)


def _what_now(old: str, new: str, machine: StateMachine) -> str:
    if new in machine.on_request.get(old, ()):
        return (
            "Work has begun, so the fulfiller decides: send a cancellation request, which is a Task of its own with "
            "the code abort, the status requested and this order's Task in focus."
        )
    if machine.is_final(old):
        return f"The status {old} is final: for anything further send a new Task, with an identifier of its own."
    if way := machine.way(old, new):
        return f"To get to {new}, send one update after the other: {', then '.join(way)}."
    return "Send one of these, or leave the status as it is and change other elements."


def _listed(machine: StateMachine, statuses: Any) -> str:
    return ", ".join(status for status in machine.moves if status in statuses) or "nothing"


def _check_identifiers(kept: Resource, sent: Resource, path: str) -> list[Issue]:
    """Identifiers that the message leaves out stay; one that has another value in the same system was changed."""
    known, named = _names(kept), set(_names(sent))
    new_in = {system: value for system, value in _names(sent) if (system, value) not in known}
    return [
        Issue(
            "business-rule",
            f"The identifier {system}|{value} of the order cannot be replaced by {new_in[system]}. Send the known "
            "identifier too; others may be added to it.",
            f"{path}.identifier",
        )
        for system, value in known
        if (system, value) not in named and system in new_in
    ]


def _is_unchanged(kept: Any, sent: Any, same: Same) -> bool:
    if kept == sent:
        return True
    if isinstance(kept, dict) and isinstance(sent, dict):
        return same(kept, sent)
    if not isinstance(kept, list) or not isinstance(sent, list) or len(kept) != len(sent):
        return False
    pairs = [[_is_unchanged(old, new, same) for old in kept] for new in sent]
    return all(map(any, pairs)) and all(map(any, zip(*pairs, strict=True)))


def _merge_contained(result: Resource, kept: Resource, sent: Resource) -> None:
    """The message's contained resources, and those of the kept ones that an element still refers to."""
    new = _dicts(sent.get("contained"))
    result.pop("contained", None)
    wanted = {reference.get("reference") for _, reference in references_in(result)}
    replaced = {resource.get("id") for resource in new}
    old = [r for r in _dicts(kept.get("contained")) if r.get("id") not in replaced and f"#{r.get('id')}" in wanted]
    if old or new:
        result["contained"] = [*old, *new]


def _names(resource: Resource) -> list[tuple[str, str]]:
    return [_name(identifier) for identifier in _dicts(resource.get("identifier")) if _name(identifier)[1]]


def _name(identifier: Resource) -> tuple[str, str]:
    system, value = identifier.get("system"), identifier.get("value")
    return system if isinstance(system, str) else "", value if isinstance(value, str) else ""


def _dicts(value: Any) -> list[Resource]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _shown(value: Any) -> str:
    """A value in a sentence: a code, or what a Reference says, or both of several."""
    if isinstance(value, list):
        return " and ".join(_shown(item) for item in value) or "nothing"
    if isinstance(value, dict):
        identifier = value.get("identifier")
        system, name = _name(identifier) if isinstance(identifier, dict) else ("", "")
        return str(
            value.get("reference") or "|".join(filter(None, (system, name))) or value.get("display") or "(empty)"
        )
    return "nothing" if value is None else str(value)


def _span(value: Any) -> tuple[datetime, datetime] | None:
    """The earliest and the latest moment that a FHIR dateTime can mean; None when it is none."""
    if not isinstance(value, str):
        return None
    try:
        if "T" in value:
            moment = datetime.fromisoformat(value)
            return (moment, moment) if moment.tzinfo else None
        year, month, day = (int(part) for part in (value + "-01-01")[:10].split("-"))
        first = datetime(year, month, day, tzinfo=UTC)
        length = {4: 366, 7: 31}.get(len(value), 1)
        return first - _WIDEST_OFFSET, first + timedelta(days=length) + _WIDEST_OFFSET
    except (ValueError, OverflowError):
        return None
