"""Orders that take the place of others: what becomes of those, and how one leads to the other.

A Request says which one it replaces (`replaces`; `priorRequest` in a DeviceRequest, `priorPrescription` in a
MedicationRequest). An order about it, once it is placed, ends the placer's orders about that
one: at once where work has not begun, or where their fulfiller has proposed it; work that has begun otherwise goes on.

https://hl7.org/fhir/uv/cow, "Fulfiller proposal for particular or alternative service"
"""

from gateway import Entry, Issue, Kept, Message, Records, Reply
from gateway.fhir.message import Resource, instant
from gateway.fhir.policy.model import Role
from gateway.fhir.task.elements import CANCELLED, REQUESTS, dicts, focuses_of, request_code, status_of
from gateway.fhir.task.merging import dated
from gateway.fhir.task.modification import (
    LINKS,
    ModificationOutcome,
    goes_on,
    replaced_references,
    revoked,
    with_references,
)
from gateway.fhir.task.moving import moved
from handlers.rules import open_requests, requests
from handlers.rules.open_requests import OPEN, carried_out, close_request, named

REPLACED = "replaced"
_STATUS_REASONS = "urn:x-fhir-gateway:status-reason"
_LONGEST_ROW = 100


def settle(before: Kept | None, order: Kept, message: Message, records: Records) -> Reply:
    """Ends what an order that has just been placed, or has left draft, takes the place of."""
    if not _is_placed_now(before, order, records):
        return Reply()
    focus: list[Kept] = []
    issues: list[Issue] = []
    for request in (requests.find(reference, records) for reference in focuses_of(order.resource)):
        for old in _replaced_by(request, order, records) if request is not None else ():
            replies = [_end(other, order, message, records) for other in _orders_of(old, order, records)]
            focus += [kept for reply in replies for kept in reply.focus]
            issues += [issue for reply in replies for issue in reply.issues]
            focus += _revoke(old, order, records)
    return Reply(tuple(focus), tuple(issues))


def name_successor(order: Kept, records: Records) -> list[Issue]:
    """What to say to whoever sends something about an order that another has replaced; empty when none has."""
    machine = records.policy.order
    if not machine.is_final(machine.state_of(order.resource)):
        return []
    successor = find_successor(order, records)
    if successor is None or not records.roles(successor) - {Role.CANDIDATE}:
        return []
    text = f"The order {named(order)} was replaced by {named(successor)}: send what you have to say about that one."
    return [Issue("informational", text, severity="information")]


def find_successor(order: Kept, records: Records) -> Kept | None:
    """The order that has taken a replaced order's place, at the end of the row; None when none has."""
    seen, found = {order.id}, order
    while len(seen) < _LONGEST_ROW and (following := _next(found, records)) and following.id not in seen:
        seen.add(following.id)
        found = following
    return None if found is order else found


def replaced_reason(order: Kept) -> Resource:
    """Why an order ends that another has replaced: a `statusReason`."""
    return {"coding": [{"system": _STATUS_REASONS, "code": REPLACED}], "text": f"Replaced by {named(order)}."}


def _is_placed_now(before: Kept | None, order: Kept, records: Records) -> bool:
    machine = records.policy.order
    is_unsettled = machine.state_of(order.resource) in machine.unsettled
    was_settled = before is not None and machine.state_of(before.resource) not in machine.unsettled
    has_ended = machine.is_final(machine.state_of(order.resource))
    return request_code(order.resource) is None and not (is_unsettled or was_settled or has_ended)


def _replaced_by(request: Kept, order: Kept, records: Records) -> list[Kept]:
    """What a Request says it replaces, as far as that is kept; said by an identifier, it becomes a reference."""
    found: dict[str, Kept] = {}
    known: list[tuple[Resource, Resource]] = []
    for said in replaced_references(request.resource):
        old = requests.find(said, records) or records.follow(_logical(said), Entry("", None, {}))
        if old is not None and old.id != request.id and old.resource_type in REQUESTS:
            found[old.id] = old
            known.append((said, said | {"reference": old.reference}))
    if request.sender == order.sender:
        records.update(request, with_references(request.resource, known))
    return list(found.values())


def _logical(reference: Resource) -> Resource:
    return {name: value for name, value in reference.items() if name != "reference"}


def _orders_of(old: Kept, order: Kept, records: Records) -> list[Kept]:
    """The orders about a replaced Request that have the placer of the new one, and have not ended."""
    machine = records.policy.order
    return [
        other
        for other in requests.orders_about(old, records)
        if other.id != order.id
        and not machine.is_final(machine.state_of(other.resource))
        and (other.sender == order.sender or Role.PLACER in records.roles(other))
    ]


def _end(other: Kept, order: Kept, message: Message, records: Records) -> Reply:
    machine, now = records.policy.order, instant(message.received_at)
    state, proposals = machine.state_of(other.resource), _proposals(other, records)
    is_agreed = bool(proposals) and CANCELLED in machine.on_request.get(state, ())
    if not is_agreed and not machine.who(state, CANCELLED) & {Role.PLACER, Role.CREATOR}:
        text = (
            f"The order {named(other)}, whose Request the new one replaces, is {state} and goes on: its fulfiller is "
            "to agree. Send a Task with the code replace, or a cancellation request."
        )
        return Reply(issues=(Issue("business-rule", text, severity="warning"),))
    completed = [_complete(proposal, order, now, records) for proposal in proposals]
    if proposals:
        close_request(other, "replace", records)
    ended = records.update(other, moved(other.resource, CANCELLED, replaced_reason(order), now, machine))
    closed = open_requests.close_by_end(other, ended, message, records)
    return Reply((ended, *completed, *closed.focus), closed.issues)


def _revoke(old: Kept, order: Kept, records: Records) -> list[Kept]:
    """The replaced Request as its creator would leave it, when that has placed the new order and no work goes on."""
    is_theirs = old.sender == order.sender or records.parties.has_sent(old.sender)
    if not is_theirs or not goes_on(old.resource) or _orders_of(old, order, records):
        return []
    return [records.update(old, revoked(old.resource))]


def _proposals(order: Kept, records: Records) -> list[Kept]:
    """What the fulfiller of an order has proposed in its stead, where that is not answered by no."""
    about = [order.reference, *(str(focus.get("reference")) for focus in focuses_of(order.resource))]
    found = [task for reference in about for task in records.find_by("Task", "focus", reference)]
    asked = {task.id: task for task in found if request_code(task.resource) == "replace"}
    return [
        task
        for task in asked.values()
        if status_of(task.resource) in (*OPEN, "accepted")
        and records.party(task, "requester") & records.party(order, "owner")
    ]


def _complete(proposal: Kept, order: Kept, now: str, records: Records) -> Kept:
    task = carried_out(proposal.resource, ModificationOutcome.ACCEPTED, order, now)
    return records.update(proposal, dated(task, now))


def _next(order: Kept, records: Records) -> Kept | None:
    """The order that has replaced one: by its Request, by an alternative to it, else by the request for it."""
    newer = [found for focus in focuses_of(order.resource) for found in _newer(focus, records)]
    outputs = [item.get("valueReference") for item in dicts(order.resource.get("output"))]
    newer += [found for output in dicts(outputs) if (found := requests.find(output, records))]
    placed = [task for request in newer for task in requests.orders_about(request, records) if task.id != order.id]
    return next(iter([*placed, *_asked_for(order, records)]), None)


def _newer(focus: Resource, records: Records) -> list[Kept]:
    """The Requests that say they replace one."""
    old = requests.find(focus, records)
    link = LINKS.get(old.resource_type) if old else None
    return records.find_by(old.resource_type, link.parameter, old.reference) if old and link else []


def _asked_for(order: Kept, records: Records) -> list[Kept]:
    found = []
    for request in records.find_by("Task", "focus", order.reference):
        is_done = request_code(request.resource) == "replace" and status_of(request.resource) == "completed"
        outputs = [item.get("valueReference") for item in dicts(request.resource.get("output"))] if is_done else []
        for output in dicts(outputs):
            kind, _, task_id = str(output.get("reference")).partition("/")
            if kind == "Task" and task_id != order.id:
                found.append(records.get(kind, task_id))
    return found
