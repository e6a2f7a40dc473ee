"""The open requests about an order: of each kind (to cancel it, change it, suspend it …) there is at most one.

Which request is open stands in a List that the gateway keeps for the order for itself, one for each kind, under a name
that no message can use, so that neither Task has to change for it.
"""

from gateway import Issue, Kept, Message, Records, Reply
from gateway.fhir.message import Resource, instant
from gateway.fhir.task.elements import CANCELLED, REQUEST_CODES, REQUESTS, dicts, identifiers_of, status_of
from gateway.fhir.task.merging import dated
from gateway.fhir.task.modification import ModificationOutcome, has_ended
from gateway.fhir.task.outcomes import Outcome, cancellation_of_order, cancellation_of_request

OPEN = ("requested", "received")
WORDS = {
    "abort": "cancellation",
    "change": "change",
    "replace": "replacement",
    "suspend": "suspension",
    "resume": "resumption",
}
"""What a request of each code of `Task.code` asks for."""


def names_of_lists(target: Kept) -> list[str]:
    """The Lists in which stands what is open about an order, or about a Request."""
    codes = REQUEST_CODES if target.resource_type == "Task" else ("abort",)
    return [_name_of_list(target, code) for code in codes]


def find_open(target: Kept, code: str, records: Records) -> Kept | None:
    """The open request of a kind about an order (or about a Request)."""
    listed = records.find_own("List", _name_of_list(target, code))
    items = listed.resource.get("entry", []) if listed else []
    return records.get("Task", items[0]["item"]["reference"].partition("/")[2]) if items else None


def open_request(target: Kept, request: Kept, code: str, records: Records) -> None:
    """Writes down that a request is open, about what must not end meanwhile."""
    records.rely_on(target)
    content: Resource = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "title": f"Open {WORDS[code]} request of {target.reference}",
        "entry": [{"item": {"reference": request.reference}}],
    }
    records.keep_own(_name_of_list(target, code), content)


def close_request(target: Kept, code: str, records: Records) -> Kept | None:
    """The request that was open, which it is no longer."""
    request = find_open(target, code, records)
    listed = records.find_own("List", _name_of_list(target, code))
    if listed is not None:
        records.update(listed, {name: value for name, value in listed.resource.items() if name != "entry"})
    return request


def close_by_end(before: Kept | None, order: Kept, message: Message, records: Records) -> Reply:
    """Closes the open requests about an order that has just ended; an empty Reply when there is none."""
    machine = records.policy.order
    if before is None or machine.is_final(machine.state_of(before.resource)):
        return Reply()
    if not machine.is_final(machine.state_of(order.resource)):
        return Reply()
    now = instant(message.received_at)
    closed = [
        _close(request, code, order, records, now)
        for code in REQUEST_CODES
        if (request := close_request(order, code, records))
    ]
    return Reply(tuple(kept for kept, _ in closed), tuple(issue for _, issue in closed))


def close_by_requests(_before: Kept | None, _order: Kept | None, message: Message, records: Records) -> Reply:
    """Closes the open proposals to cancel a Request that its creator has ended, without an answer or beside one.

    They have come to what they ask for; but one about a Request that was completed is too late.
    """
    now, closed = instant(message.received_at), []
    for before, after in records.changes:
        is_request = after.resource_type in REQUESTS and before is not None
        if is_request and has_ended(after.resource) and (request := close_request(after, "abort", records)):
            closed.append(_close_proposal(request, after, records, now))
    return Reply(tuple(kept for kept, _ in closed), tuple(issue for _, issue in closed))


def carried_out(task: Resource, outcome: Outcome | ModificationOutcome, order: Kept, now: str) -> Resource:
    """A request that has had its effect: completed, the outcome and the order in its output."""
    done = {"type": {"coding": outcome.concept["coding"]}, "valueReference": {"reference": order.reference}}
    kept = {name: value for name, value in task.items() if name not in ("text", "_status")}
    return dated(kept | {"status": "completed", "output": [*dicts(task.get("output")), done]}, now)


def rejected(task: Resource, reason: Resource, now: str) -> Resource:
    """A request that the gateway rejects for a reason (`statusReason`) of its own."""
    kept = {name: value for name, value in task.items() if name not in ("text", "_status")}
    return dated(kept | {"status": "rejected", "statusReason": reason}, now)


def named(kept: Kept) -> str:
    """What a kept resource is called in a sentence: its business identifiers, else where it is kept."""
    return " or ".join(identifiers_of(kept.resource)) or kept.reference


def _close(request: Kept, code: str, order: Kept, records: Records, now: str) -> tuple[Kept, Issue]:
    """The request as the end of its order leaves it: a cancellation has come to what it asked for, or is too late."""
    status = status_of(order.resource)
    if code != "abort":
        reason = ModificationOutcome.ALREADY_ENDED.concept | {"text": f"The order has ended: it is {status}."}
        coding, task = ModificationOutcome.ALREADY_ENDED.coding, rejected(request.resource, reason, now)
        return _closed(request, task, code, f"rejected: {reason['text']}", coding, records)
    outcome = cancellation_of_order(order.resource, records.policy.order)
    if status == CANCELLED:
        outcome = outcome if outcome == Outcome.EXPIRED else Outcome.CANCELLED
        task, words = carried_out(request.resource, outcome, order, now), f"completed: {outcome.answer}"
    else:
        task, words = rejected(request.resource, outcome.concept, now), f"rejected: {outcome.answer}"
    return _closed(request, task, code, words, outcome.coding, records)


def _close_proposal(proposal: Kept, request: Kept, records: Records, now: str) -> tuple[Kept, Issue]:
    status = status_of(request.resource)
    outcome = cancellation_of_request(status)
    if outcome == Outcome.TOO_LATE:
        reason = outcome.concept | {"text": f"The {request.resource_type} is {status}: it is too late to cancel it."}
        task, words = rejected(proposal.resource, reason, now), f"rejected: {reason['text']}"
    else:
        outcome = Outcome.ACCEPTED
        task = carried_out(proposal.resource, outcome, request, now)
        words = f"completed: The {request.resource_type} is {status}."
    return _closed(proposal, task, "abort", words, outcome.coding, records)


def _closed(
    request: Kept, task: Resource, code: str, words: str, coding: tuple[str, str], records: Records
) -> tuple[Kept, Issue]:
    text = f"The {WORDS[code]} request {named(request)}, which was open, is {words}"
    return records.update(request, task), Issue("informational", text, severity="information", outcome=coding)


def _name_of_list(target: Kept, code: str) -> str:
    return f"open-{WORDS[code]}-request|{target.reference}"
