"""Bidding: several Tasks of one Request, each with a potential fulfiller of its own, of whom one is to do the work.

`check_claim` is asked before an order changes, `settle` lets happen what follows. A bidding
is made of the Coordination Tasks of one placer that have the same Requests in focus and the same code, that are no part
of another Task, and that have different owners: a Task to collect a specimen and one to examine it are two orders. A
potential fulfiller bids by `accepted`, and declines by `rejected`. By the policy, the placer selects one of the bids
(the business status `selected`), or the first who accepts has the order. The others' Tasks are cancelled then, in the
same transaction, with the reason `not-selected`. A Task without an owner is one for whoever claims it first.

https://hl7.org/fhir/uv/cow, "Fulfiller determination" and "Workflow state overview"
"""

from typing import Any

from gateway import Issue, Kept, Message, Records, Reply
from gateway.fhir.message import Resource, instant
from gateway.fhir.policy.model import Role
from gateway.fhir.task.elements import CANCELLED, REQUESTS, dicts, focuses_of, request_code, status_of
from gateway.fhir.task.moving import moved
from handlers.rules import open_requests
from handlers.rules.open_requests import named

STATUS_REASONS = "urn:x-fhir-gateway:status-reason"
NOT_SELECTED = "not-selected"
_AT_WORK = ("in-progress", "on-hold")
_TAKEN = ("accepted", *_AT_WORK)
_CLAIMS = ("received", "accepted")
_CLAIMED = ("received", *_TAKEN)
_TAKERS = frozenset({Role.FULFILLER, Role.CANDIDATE})


def check_claim(kept: Kept, task: Resource, path: str, records: Records) -> list[Issue]:
    """What keeps a party from taking an order, bidding for it, beginning it, or selecting its fulfiller.

    `kept` is the order's Task, `task` what the message would make of it; `path` is its FHIRPath in the Bundle. Whether
    the sender has a part in the order at all, and may make the move, is for others to check.
    """
    if request_code(kept.resource) is not None:
        return []
    if issue := _check_broadcast(kept, task, path, records):
        return [issue]
    others = _others(kept, records) if records.roles(kept) else []
    if not others:
        return []
    if records.policy.bidding == "first-claim":
        issue = _check_first_claim(kept, task, path, others, records)
    elif _is_selected(task) and not _is_selected(kept.resource):
        issue = _check_selecting(kept, task, path, others, records)
    else:
        issue = _check_selection(kept, task, path, others, records)
    return [issue] if issue else []


def settle(before: Kept | None, order: Kept, message: Message, records: Records) -> Reply:
    """Cancels the other Tasks of a bidding that has just been decided; an empty Reply when it has not."""
    if before is None or request_code(order.resource) is not None or not _is_decided(before, order, records):
        return Reply()
    losers = _open(_others(order, records), records)
    machine, now, closed = records.policy.order, instant(message.received_at), list[Kept]()
    for loser in losers:
        lost = moved(loser.resource, CANCELLED, _not_selected(), now, machine)
        closed.append(records.update(loser, lost))
        closed += open_requests.close_by_end(loser, closed[-1], message, records).focus
    if not losers or Role.PLACER not in records.roles(order):
        return Reply()
    text = (
        f"The order {named(order)} has been given to its owner. Cancelled as not selected: "
        f"{', '.join(named(loser) for loser in losers)}."
    )
    return Reply(tuple(closed), (Issue("informational", text, severity="information"),))


def _is_decided(before: Kept, order: Kept, records: Records) -> bool:
    if records.policy.bidding == "selection":
        return _is_selected(order.resource) and not _is_selected(before.resource)
    return _is_claim(before.resource, order.resource)


def _check_broadcast(kept: Kept, task: Resource, path: str, records: Records) -> Issue | None:
    """What is wrong with how somebody answers an order that is, or was when it was placed, for whoever claims it."""
    roles, before, status = records.roles(kept), status_of(kept.resource), status_of(task)
    if not roles and before in _CLAIMED and status in _CLAIMS and not records.as_created(kept).get("owner"):
        return _taken(path)
    if Role.CANDIDATE in roles and status == "rejected" and before != status:
        text = (
            "The order is offered to all that may do it, and is there for the others: who does not want it need not "
            "answer. Only its owner rejects an order."
        )
        return Issue("forbidden", text, f"{path}.status")
    return None


def _check_first_claim(kept: Kept, task: Resource, path: str, others: list[Kept], records: Records) -> Issue | None:
    if not _may_take(kept, task, records):
        return None
    if _is_lost(kept.resource) and status_of(task) in _TAKEN:
        return _taken(path)
    is_taken = any(status_of(other.resource) in _TAKEN for other in others)
    return _taken(path) if is_taken and _is_claim(kept.resource, task) else None


def _check_selection(kept: Kept, task: Resource, path: str, others: list[Kept], records: Records) -> Issue | None:
    before, status = status_of(kept.resource), status_of(task)
    if not _may_take(kept, task, records):
        return None
    if _is_lost(kept.resource) and status in _TAKEN:
        text = "The placer has selected another fulfiller for this order, and this Task was cancelled. Nothing is left."
        return Issue("conflict", text, f"{path}.status")
    rivals = _open(others, records)
    if rivals and status in _AT_WORK and before not in _AT_WORK and not _is_selected(kept.resource):
        text = (
            "The order is offered to several, and its placer has not selected you: work begins when it has. Your "
            "bid stands. The placer selects by an order-update of this Task with the business status selected."
        )
        return Issue("business-rule", text, f"{path}.status")
    return None


def _check_selecting(kept: Kept, task: Resource, path: str, others: list[Kept], records: Records) -> Issue | None:
    place = f"{path}.businessStatus"
    if Role.PLACER not in records.roles(kept):
        text = "The order is offered to several, and only its placer selects one of them. Your bid stands as it is."
        return Issue("forbidden", text, place)
    if status_of(kept.resource) != "accepted" or status_of(task) != "accepted":
        text = (
            f"The Task is {status_of(kept.resource)}: its owner has not bid. Select a Task that is accepted, or wait "
            "until this one is."
        )
        return Issue("business-rule", text, place)
    for rival in _open(others, records):
        status = status_of(rival.resource)
        if _is_selected(rival.resource) or status in _AT_WORK:
            text = (
                f"The order {named(rival)} of the same Request is {status} and has been given to its owner. To select "
                "another, cancel that one first: by an order-update with the status cancelled, or by a cancellation "
                "request when work has begun."
            )
            return Issue("business-rule", text, place)
    return None


def _may_take(kept: Kept, task: Resource, records: Records) -> bool:
    """Whether it is for the sender to take an order, or to begin it: as its fulfiller, or because anybody may."""
    machine = records.policy.order
    return bool(records.roles(kept) & (_TAKERS | machine.who(machine.state_of(kept.resource), machine.state_of(task))))


def _others(kept: Kept, records: Records) -> list[Kept]:
    """The other Tasks of the bidding that a Task belongs to; empty when it belongs to none."""
    request, work = _request_of(kept.resource), _work_of(kept.resource)
    if request is None or "partOf" in kept.resource:
        return []
    return [
        other
        for other in records.find_by("Task", "focus", request)
        if other.id != kept.id
        and _work_of(other.resource) == work
        and "partOf" not in other.resource
        and request_code(other.resource) is None
        and _is_one_placer(kept, other, records)
        and not _is_one_owner(kept, other, records)
    ]


def _is_one_placer(one: Kept, other: Kept, records: Records) -> bool:
    requester, others = records.party(one, "requester"), records.party(other, "requester")
    return bool(requester & others) if requester and others else one.sender == other.sender


def _is_one_owner(one: Kept, other: Kept, records: Records) -> bool:
    """Whether two Tasks have the same owner, or both have none."""
    owner, others = records.party(one, "owner"), records.party(other, "owner")
    return bool(owner & others) if owner or others else one.resource.get("owner") == other.resource.get("owner")


def _open(tasks: list[Kept], records: Records) -> list[Kept]:
    machine = records.policy.order
    return [task for task in tasks if not machine.is_final(machine.state_of(task.resource))]


def _is_claim(before: Resource, task: Resource) -> bool:
    return status_of(task) in _TAKEN and status_of(before) not in _TAKEN


def _is_selected(task: Resource) -> bool:
    """Whether its businessStatus has the code `selected`, of whatever system."""
    return "selected" in _codes(task.get("businessStatus"))


def _is_lost(task: Resource) -> bool:
    return status_of(task) == CANCELLED and NOT_SELECTED in _codes(task.get("statusReason"), STATUS_REASONS)


def _work_of(task: Resource) -> tuple[frozenset[Any], frozenset[Any]]:
    """What a Task is to have done: all that it has in focus, and the codings of its code."""
    code = task.get("code")
    codings = dicts(code.get("coding")) if isinstance(code, dict) else []
    focuses = frozenset(str(focus.get("reference", focus.get("identifier"))) for focus in focuses_of(task))
    return focuses, frozenset((str(coding.get("system")), str(coding.get("code"))) for coding in codings)


def _codes(concept: Any, system: str | None = None) -> list[Any]:
    codings = dicts(concept.get("coding")) if isinstance(concept, dict) else []
    return [coding.get("code") for coding in codings if system is None or coding.get("system") == system]


def _request_of(task: Resource) -> str | None:
    """The Request in focus, as `Type/id`."""
    focus = task.get("focus")
    reference = focus.get("reference") if isinstance(focus, dict) else None
    is_request = isinstance(reference, str) and reference.partition("/")[0] in REQUESTS
    return reference if is_request else None


def _not_selected() -> Resource:
    return {"coding": [{"system": STATUS_REASONS, "code": NOT_SELECTED}], "text": "Another fulfiller has the order."}


def _taken(path: str) -> Issue:
    text = "The order is taken: another fulfiller has claimed it before. Nothing is left to do."
    return Issue("conflict", text, f"{path}.status")
