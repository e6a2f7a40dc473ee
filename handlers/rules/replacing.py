"""replace: another order in the stead of one; `handlers/modification_request.py` calls it.

The placer brings the new order's Task, with its new Request, in the input of its request; until that is accepted, the
new Task is a draft. The fulfiller proposes a new Request; when the placer has accepted, it places the order itself.
"""

from gateway import Entry, Issue, Kept, Refused, Reply
from gateway.fhir.message import Resource
from gateway.fhir.task.checks import check_new
from gateway.fhir.task.elements import CANCELLED, REQUESTS, dicts, focuses_of, identifiers_of, request_code
from gateway.fhir.task.merging import dated
from gateway.fhir.task.modification import LINKS, replaced_references
from gateway.fhir.task.moving import moved
from handlers.rules import held_requests, orders, parts, requests
from handlers.rules.modifying import Way, Wish, brought, find_brought_request
from handlers.rules.open_requests import named
from handlers.rules.succession import replaced_reason

_DRAFT, _REQUESTED = "draft", "requested"


def look_at_replacement(wish: Wish) -> bool:
    """At once when the placer asks and may cancel the order itself."""
    if not wish.is_placers:
        if find_brought_request(wish) is None:
            text = (
                "A replacement says what is to be done instead: put the proposed Request into the Bundle, and refer to "
                "it in Task.input (valueReference)."
            )
            raise wish.refused(text, "input", "required")
        return False
    new = _find_new_order(wish)
    if issues := _check_new_order(new, wish):
        raise Refused(*issues)
    _check_request(new, wish)
    if not wish.may_become(CANCELLED):
        raise wish.refused(f"The order is {wish.state}, from where it cannot be cancelled, nor replaced.")
    is_at_once = wish.may_make(CANCELLED)
    machine = wish.records.policy.order
    if not is_at_once and _REQUESTED not in machine.moves.get(_DRAFT, {}):
        text = (
            "The policy in force has no drafts that are requested later, so that a new order cannot wait for the "
            "answer. Have the order cancelled first (a Task with the code abort), and send a new-order then."
        )
        raise wish.refused(text)
    return is_at_once


def bring_order(wish: Wish, task: Resource, is_at_once: bool) -> Resource:
    """Keeps the new order; as a draft while it is not accepted."""
    if not wish.is_placers:
        return task
    new, records = _find_new_order(wish), wish.records
    content = parts.grounded(records.localise(new), new, records)
    records.keep(new, content if is_at_once else content | {"status": _DRAFT})
    return task


def replace_order(wish: Wish, request: Resource) -> Reply:
    """Cancels the order, and requests the new one; what a fulfiller has proposed is the placer's to place."""
    new = find_new_order(request, wish)
    if not wish.is_placers or new is None:
        return Reply((wish.order,))
    machine, records = wish.records.policy.order, wish.records
    if not wish.may_become(CANCELLED):
        raise wish.refused(f"The order is {wish.state}, from where it cannot be cancelled, nor replaced.", "status")
    if machine.is_final(machine.state_of(new.resource)):
        text = (
            f"The new order {named(new)} is {machine.named(machine.state_of(new.resource))}: nothing is left that "
            "could take the place of the old one, which goes on. Reject the request, or have it withdrawn."
        )
        raise wish.refused(text, "status")
    ended = records.update(wish.order, moved(wish.order.resource, CANCELLED, replaced_reason(new), wish.now, machine))
    before = new if machine.state_of(new.resource) in machine.unsettled else None
    if before is not None:
        placed = {name: value for name, value in new.resource.items() if name not in ("text", "_status")}
        new = records.update(new, dated(placed | {"status": _REQUESTED}, wish.now))
    replies = [
        orders.follow(wish.order, ended, wish.message, records),
        orders.follow(before, new, wish.message, records),
    ]
    focus = [kept for reply in replies for kept in reply.focus if kept.id not in (ended.id, new.id)]
    return Reply((ended, new, *focus), tuple(issue for reply in replies for issue in reply.issues))


def give_up(wish: Wish, request: Resource) -> Reply:
    """Cancels the draft of a replacement that is rejected or withdrawn."""
    new, machine = find_new_order(request, wish), wish.records.policy.order
    if new is None or machine.state_of(new.resource) != _DRAFT:
        return Reply()
    reason = {"text": "The replacement that this order was for was not agreed on."}
    ended = wish.records.update(new, moved(new.resource, CANCELLED, reason, wish.now, machine))
    return Reply((ended,))


def apply_held(wish: Wish, request: Resource) -> Reply:
    """Lets the cancellation requests that have come before the new order have their effect on it."""
    new = find_new_order(request, wish) if wish.code == "replace" and wish.is_placers else None
    return held_requests.apply_held(new, wish.message, wish.records) if new is not None else Reply()


def find_new_order(request: Resource, wish: Wish) -> Kept | None:
    """The new order that a request to replace one has brought."""
    for item in dicts(request.get("input")):
        reference = item.get("valueReference")
        kind, _, task_id = str(reference.get("reference") if isinstance(reference, dict) else "").partition("/")
        if kind == "Task" and task_id != wish.order.id:
            try:
                return wish.records.get(kind, task_id)
            except KeyError:
                continue
    return None


def _find_new_order(wish: Wish) -> Entry:
    new = brought(wish, "Task")
    if new is None:
        text = (
            "A replacement brings the new order: put its Task (status requested, an identifier of its own) and its "
            "Request, which says what it replaces, into the Bundle, and refer to the Task in Task.input "
            "(valueReference)."
        )
        raise wish.refused(text, "input", "required")
    return new


def _check_new_order(new: Entry, wish: Wish) -> list[Issue]:
    """What keeps the new order from being one, as `handlers/new_order.py` would say it."""
    records, known = wish.records, wish.records.find(new)
    if known is not None:
        names = " or ".join(identifiers_of(new.resource))
        text = f"An order with the identifier {names} is kept already. Give the new one an identifier of its own."
        return [Issue("duplicate", text, f"{new.path}.identifier")]
    issues = check_new(new.resource, new.path, records.policy.order, records.roles(new))
    if new.resource.get("status") == _DRAFT or request_code(new.resource) is not None:
        text = "What replaces an order is an order that is to be done: send its Task with the status requested."
        issues.append(Issue("business-rule", text, f"{new.path}.status"))
    return [*issues, *parts.check_wholes(new, None, records)]


def _check_request(new: Entry, wish: Wish) -> None:
    """Raises Refused when the new order is not about a new Request that says that it replaces the old one."""
    focus = new.resource.get("focus")
    literal = focus.get("reference") if isinstance(focus, dict) else None
    entry = wish.message.entries.resolve(literal, new) if isinstance(literal, str) else None
    kept = wish.records.follow(focus, new) if isinstance(focus, dict) else None
    request = entry.resource if entry is not None else kept.resource if kept is not None else {}
    if request.get("resourceType") not in REQUESTS:
        text = "The new order has no Request in focus that is in the Bundle, or known. Put the new Request there."
        raise Refused(Issue("required", text, f"{new.path}.focus"))
    olds = [old for one in focuses_of(wish.order.resource) if (old := requests.find(one, wish.records))]
    place = entry.path if entry is not None else f"{new.path}.focus"
    if kept is not None and kept.id in {old.id for old in olds}:
        text = (
            "The new order is about the Request of the old one. Give the new Request an identifier of its own; to "
            "change the Request itself, send a Task with the code change."
        )
        raise Refused(Issue("business-rule", text, place))
    link = LINKS.get(str(request["resourceType"]))
    if link is None or not any(old.resource_type == request["resourceType"] for old in olds):
        return
    source = entry or new
    meant = [wish.records.follow(reference, source) for reference in replaced_references(request)]
    if not any(one is not None and one.id in {old.id for old in olds} for one in meant):
        text = f"The new Request says in {link.element} which one it replaces: the order's Request."
        raise Refused(Issue("required", text, f"{place}.{link.element}"))


REPLACE = Way(look_at_replacement, bring_order, replace_order)
