"""Cancellation requests that have overtaken their order: held until it comes, or until its time is over.

A held request is a Task with the status requested, whose focus names the order by an identifier. It stands in a List
that the gateway keeps for itself, under that identifier, until it is looked for.
"""

from functools import partial

from gateway import Entry, Issue, Kept, Message, Records, Refused, Reply
from gateway.fhir.identity import identifier_key
from gateway.fhir.message import Resource, instant
from gateway.fhir.policy.model import Role
from gateway.fhir.task.deadlines import is_held
from gateway.fhir.task.elements import dicts, identifiers_of, names_of, request_code
from gateway.fhir.task.outcomes import Outcome, cancellation_of_order
from handlers.rules import cancelling
from handlers.rules.open_requests import find_open, named, rejected
from handlers.rules.request_parties import asked_by_placer

_HELD = "held-cancellation-request"
_MOST = 10
"""How many requests are held for one order: each sender has one."""


def hold(entry: Entry, message: Message, records: Records) -> Kept | None:
    """Keeps a cancellation request whose order is not known; None when there is nothing to wait for.

    There is not where the policy does not wait, or the sender's network has no word for it: what it was told is not
    known has no effect later. Raises Refused when one of the same sender is held for the same order.
    """
    name = _order_name(entry, message)
    key = _key(name, message)
    if name is None or key is None or not (message.holds and records.policy.hold):
        return None
    others = _held(key, records)
    for other in others:
        if other.sender == message.sender:
            raise Refused(_already_held(other, entry))
    if len(others) >= _MOST:
        return None
    task = records.localise(entry)
    task["focus"] = {"type": "Task", "identifier": name}
    request = records.keep(entry, task)
    _write(key, [*others, request], records)
    return request


def apply_held(order: Kept, message: Message, records: Records) -> Reply:
    """Lets the cancellation requests that have come before a new order have their effect on it.

    The answer has what has changed, the order too; it is empty when none was held.
    """
    focus: dict[str, Kept] = {}
    issues: list[Issue] = []
    keys = (_key(name, message) for name in dicts(order.resource.get("identifier")))
    for key in dict.fromkeys(key for key in keys if key):
        requests = _held(key, records)
        for request in requests:
            applied = apply(request, records.get("Task", order.id), message, records)
            focus |= {kept.id: kept for kept in applied.focus}
            issues += applied.issues
        if requests:
            _write(key, [], records)
    return Reply(tuple(focus.values()), tuple(issues))


def names_of_lists(message: Message) -> list[str]:
    """The Lists in which requests may be held for the orders that a message has, or names."""
    tasks = [entry.resource for entry in message.entries if entry.resource.get("resourceType") == "Task"]
    named = [name for task in tasks for name in dicts(task.get("identifier"))]
    named += [
        name for task in tasks for focus in dicts([task.get("focus")]) for name in dicts([focus.get("identifier")])
    ]
    return [_name_of_list(key) for name in named if (key := _key(name, message))]


def is_same_order(entry: Entry, request: Kept, message: Message) -> bool:
    """Whether a message names the order for which a request is held, or was."""
    if not isinstance(entry.resource.get("focus"), dict):
        return False
    name = _order_name(entry, message)
    return name is not None and names_of({"identifier": [name]}) == names_of(
        {"identifier": [request.resource["focus"]["identifier"]]}
    )


def find_order(request: Kept, message: Message, records: Records) -> Kept | None:
    """The order for which a request is held, should it have come without being seen to.

    Two messages about one order may be processed at the same time where it has several identifiers, of which they name
    different ones: see `gateway.store.inbox.join_lane`.
    """
    order = records.follow(request.resource["focus"], next(iter(message.entries)))
    return order if order is not None and request_code(order.resource) is None else None


def apply(request: Kept, order: Kept, message: Message, records: Records) -> Reply:
    """Lets a held request have its effect on its order; one that is not its placer's, or is too late, is rejected."""
    now = instant(message.received_at)
    task = asked_by_placer(_without_another(request, order, records), order, records)
    task["focus"] = {"reference": order.reference} | task["focus"]
    if not _is_placers(request, order, records):
        records.update(request, rejected(request.resource, Outcome.NOT_THE_PLACER.concept, now))
        return Reply()
    outcome = cancellation_of_order(order.resource, records.policy.order)
    if outcome not in (Outcome.CANCELLED, Outcome.PENDING) or find_open(order, "abort", records):
        outcome = Outcome.ALREADY_PENDING if outcome == Outcome.PENDING else outcome
        return Reply((records.update(request, rejected(task, outcome.concept, now)),))
    reply = cancelling.ask(order, task, partial(records.update, request), message, records)
    outcome = cancelling.outcome_of(reply.focus[0])
    text = f"The cancellation request {named(request)}, which has overtaken the order, has its effect: {outcome.answer}"
    return Reply(reply.focus, (Issue("informational", text, severity="information", outcome=outcome.coding),))


def _without_another(request: Kept, order: Kept, records: Records) -> Resource:
    """A held request without its owner, if that is not the order's: only that one can be asked."""
    is_same = records.party(request, "owner") & records.party(order, "owner")
    return {name: value for name, value in request.resource.items() if name != "owner" or is_same}


def _is_placers(request: Kept, order: Kept, records: Records) -> bool:
    """Whether who has asked is the placer of the new order: its requester, or the sender that has placed it."""
    is_sender = Role.PLACER in records.roles(order) and records.parties.has_sent(request.sender)
    return is_sender or records.parties.is_party(request.sender, order, "requester")


def _order_name(entry: Entry, message: Message) -> Resource | None:
    """The identifier of the order's Task that a cancellation request names, where it names one."""
    focus = entry.resource["focus"]
    literal = focus.get("reference")
    copy = message.entries.resolve(literal, entry) if isinstance(literal, str) else None
    if copy is not None and copy.resource.get("resourceType") != "Task":
        return None
    if focus.get("type", "Task") != "Task":
        return None
    candidates = [*(dicts(copy.resource.get("identifier")) if copy else []), *dicts([focus.get("identifier")])]
    return next((item for item in candidates if identifiers_of({"identifier": [item]})), None)


def _held(key: str, records: Records) -> list[Kept]:
    """The requests that wait for the order that is known by a key."""
    listed = records.find_own("List", _name_of_list(key))
    items = listed.resource.get("entry", []) if listed else []
    found = [records.get("Task", item["item"]["reference"].partition("/")[2]) for item in items]
    return [request for request in found if is_held(request.resource)]


def _write(key: str, requests: list[Kept], records: Records) -> None:
    content: Resource = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "title": "Cancellation requests that wait for their order",
    }
    if requests:
        content["entry"] = [{"item": {"reference": request.reference}} for request in requests]
    records.keep_own(_name_of_list(key), content)


def _name_of_list(key: str) -> str:
    return f"{_HELD}|{key}"


def _key(name: Resource | None, message: Message) -> str | None:
    """What an order is known by; an identifier without a system is its sender's own."""
    digest = identifier_key("Task", name, message.sender)
    return digest.hex() if digest else None


def _already_held(other: Kept, entry: Entry) -> Issue:
    text = (
        f"Another cancellation request of this order, {named(other)}, waits for the order to come. To send this one "
        "instead, withdraw that one by sending it again with the status cancelled."
    )
    return Issue("business-rule", text, f"{entry.path}.focus", outcome=Outcome.ALREADY_PENDING.coding)
