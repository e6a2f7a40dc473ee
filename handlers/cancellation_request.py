"""cancellation-request: a party asks for an order to be cancelled, and the other party answers.

Needs a Task with the code `abort` in focus, which has an identifier of its own and whose focus is the order's Task (or
its Request). Cancels at once when work has not begun, else keeps the question until it is answered; the answer is the
same Task with another status: see `handlers/rules/cancellation_answer.py`. Answers with the outcome, one of
`gateway.fhir.task.outcomes.Outcome`, in `OperationOutcome.issue.details`. How to add a handler is written in
`handlers/__init__.py`.
"""

from dataclasses import replace
from functools import partial

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.message import Resource
from gateway.fhir.policy.model import Role
from gateway.fhir.references import unresolved_references
from gateway.fhir.task.elements import (
    REQUESTS,
    focuses_of,
    identifiers_of,
    is_cancellation,
    only_task,
    request_code,
    status_of,
)
from gateway.fhir.task.outcomes import Outcome, cancellation_of_order, cancellation_of_request
from handlers.rules import asking, cancelling, held_requests, succession
from handlers.rules.cancellation_answer import answer_request
from handlers.rules.open_requests import find_open, named, open_request
from handlers.rules.request_parties import asked_by_fulfiller, asked_by_placer, check_asked, fulfilled_orders
from handlers.rules.requests import find, find_by_group, focus_on, orders_about

_ANSWERS = ("received", "accepted", "rejected")
_KIND = asking.Kind("cancellation request", Outcome.NO_SUCH_REQUEST.coding, Outcome.NOT_THE_PLACER.coding)


def _asks_for_cancellation(message: Message) -> bool:
    try:
        return any(is_cancellation(entry.resource) for entry in message.focus("Task"))
    except Refused:
        return False


@handles(
    Event("urn:x-fhir-gateway:message-event", "cancellation-request"),
    category="consequence",
    title="Cancellation request",
    focus=("Task",),
    recognises=_asks_for_cancellation,
)
def cancellation_request(message: Message, records: Records) -> Reply:
    """Asks for an order to be cancelled, answers that question, or withdraws it.

    A message is taken for this event, whatever its event is, when the Task in its focus has the code `abort` of
    `http://hl7.org/fhir/CodeSystem/task-code`.

    To ask, the order's placer sends a Task with the code `abort`, an `identifier` of its own, the status `requested`,
    the order's Task in `focus` (by a reference into the Bundle, or by its identifier), and a `statusReason` or
    `reasonCode`. A `requester` or `owner` that is left out is filled in from the order:

    - Work has not begun (draft, requested, received, accepted, ready): the order is cancelled at once, with the reason
      given; the cancellation request is kept as `completed`. Outcome `cancelled`.
    - Work has begun (in-progress, on-hold): the cancellation request is kept as `requested`, and the order stays as it
      is until the fulfiller has answered. Outcome `pending`. A fulfiller that is registered so accepts at once.
    - The order is not known yet: the cancellation request is held for it for a time (`hold` of the policy). Outcome
      `held`. When the order comes, the request has its effect at once; when it does not, the request is rejected, with
      the outcome `no-such-order` as its reason.
    - Refused, each with an outcome of its own: `too-late-completed`, `already-cancelled`, `already-ended` (rejected,
      failed, entered in error), `expired`, `already-pending` (another cancellation request of the order is open),
      `not-the-placer` (who asks has not placed the order), `no-such-order` (no identifier to wait for, or no waiting).

    A fulfiller that cannot do the order rejects or fails it, by an order-update. To ask for the Request itself to be
    cancelled it sends a cancellation request with the intent `proposal` and the Request in `focus`: kept as
    `requested`, outcome `pending`. Its placer accepts it and revokes its own Request, in the same Bundle if it likes.

    To answer, the party asked sends the same Task (by its identifier) with the status `accepted` (the cancellation
    request becomes `completed`, with the order in its output, which is cancelled, or what else the policy makes of it;
    outcome `accepted`), `rejected` with a `statusReason` (outcome `rejected`), or `received` (outcome `pending`); a
    Task without an identifier answers the open one about the order in `focus`. To withdraw an open one, who asked sends
    it with the status `cancelled`, or `entered-in-error` (outcome `withdrawn`). Outcome `no-such-request` when it is
    not known.

    A cancellation request that is sent again is answered by its outcome as it is now, and has no second effect. An
    order that ends while one is open (completed, for instance) ends it as `rejected`, with the outcome as its reason;
    one that is cancelled otherwise, or whose time has passed (`expired`), too.

    Each answer has the cancellation request and the order in focus, and the outcome as a code of
    `urn:x-fhir-gateway:cancellation-outcome` in `OperationOutcome.issue.details`, in refusals too.
    """
    entry = only_task(message)
    kept = records.find(entry)
    if kept is not None:
        return answer_request(entry, kept, message, records)
    if not is_cancellation(entry.resource):
        text = (
            "A cancellation request is a Task with the code abort (http://hl7.org/fhir/CodeSystem/task-code). To "
            "cancel an order before work has begun, an order-update with its Task in the status cancelled does too."
        )
        raise Refused(Issue("business-rule", text, f"{entry.path}.code"))
    return _ask(entry, message, records)


def _answer_open(entry: Entry, message: Message, records: Records) -> Reply:
    """An answer that names the order alone: it is that to the request about it that is open."""
    focus = entry.resource.get("focus")
    order = records.follow(focus, entry) if isinstance(focus, dict) else None
    order = order if order and records.roles(order) else None
    request = find_open(order, "abort", records) if order else None
    if order is not None and request is None and _is_done(entry, order):
        return Reply((order,))
    if order is None or request is None:
        outcome = Outcome.NO_SUCH_REQUEST if order else Outcome.NO_SUCH_ORDER
        text = (
            "No cancellation request of this order is open that could be answered."
            if order
            else "There is no such order, and no request to cancel it. Check the identifier in Task.focus."
        )
        raise Refused(Issue("not-found", text, f"{entry.path}.focus", outcome=outcome.coding))
    said = entry.resource | {"identifier": request.resource.get("identifier"), "focus": request.resource.get("focus")}
    return answer_request(Entry(entry.path, None, said), request, message, records)


def _is_done(entry: Entry, order: Kept) -> bool:
    """Whether an answer accepts what has been done: the order was cancelled at once."""
    return status_of(entry.resource) == "accepted" and status_of(order.resource) == "cancelled"


def _ask(entry: Entry, message: Message, records: Records) -> Reply:
    if not identifiers_of(entry.resource) and status_of(entry.resource) in _ANSWERS:
        return _answer_open(entry, message, records)
    if issues := asking.check_question(entry, _KIND):
        raise Refused(*issues)
    target = records.follow(entry.resource["focus"], entry) or _find_by_group(entry, records)
    if target is None:
        reply = _hold(entry, message, records)
    elif target.resource_type == "Task":
        reply = _ask_fulfiller(entry, target, message, records)
    else:
        reply = _ask_placer(entry, target, records)
    warnings = unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None)
    return replace(reply, issues=(*reply.issues, *warnings))


def _find_by_group(entry: Entry, records: Records) -> Kept | None:
    """The order with the group identifier that the focus names; for its fulfiller the Request that it is about."""
    order = find_by_group(entry, records)
    if order is None or Role.PLACER in records.roles(order):
        return order
    return next((request for focus in focuses_of(order.resource) if (request := find(focus, records))), order)


def _hold(entry: Entry, message: Message, records: Records) -> Reply:
    request = held_requests.hold(entry, message, records)
    if request is None:
        text = (
            f"There is no such order: this gateway keeps none as {asking.focus_in_words(entry, message)}. Nothing is "
            "cancelled. Check the identifier; if the order was sent and is not answered yet, send it again then."
        )
        outcome = Outcome.NO_SUCH_ORDER.coding
        raise Refused(Issue("not-found", text, f"{entry.path}.focus", outcome=outcome))
    return cancelling.answered(request, None)


def _ask_fulfiller(entry: Entry, order: Kept, message: Message, records: Records) -> Reply:
    """The placer's request, about the order."""
    if code := request_code(order.resource):
        _refuse_request(entry, code)
    if Role.PLACER not in records.roles(order):
        raise Refused(_not_the_placer(entry, order, records))
    if issues := check_asked(entry, order, "owner", records):
        raise Refused(*issues)
    _check_open(entry, order, cancellation_of_order(order.resource, records.policy.order), records)
    task = asked_by_placer(_about(entry, order, records), order, records)
    reply = cancelling.ask(order, task, partial(records.keep, entry), message, records)
    request, changed, *others = reply.focus
    answer = cancelling.answered(request, changed)
    return Reply((*answer.focus, *others), (*answer.issues, *reply.issues))


def _ask_placer(entry: Entry, request: Kept, records: Records) -> Reply:
    """The fulfiller's proposal, about the Request."""
    if request.resource_type not in REQUESTS:
        text = f"A {request.resource_type} cannot be cancelled. Put the order's Task or its Request into the focus."
        raise Refused(Issue("business-rule", text, f"{entry.path}.focus"))
    orders = fulfilled_orders(request, records)
    if not orders:
        raise Refused(_not_its_fulfiller(entry, request, records))
    if all(check_asked(entry, order, "requester", records) for order in orders):
        raise Refused(*check_asked(entry, orders[0], "requester", records))
    _check_open(entry, request, cancellation_of_request(status_of(request.resource)), records)
    proposal = records.keep(entry, asked_by_fulfiller(_about(entry, request, records), orders[0], records))
    open_request(request, proposal, "abort", records)
    return cancelling.answered(proposal, request)


def _about(entry: Entry, target: Kept, records: Records) -> Resource:
    task = records.localise(entry)
    task["focus"] = focus_on(target, task["focus"])
    return task


def _refuse_request(entry: Entry, code: str) -> None:
    what = "a cancellation request" if code == "abort" else f"a request ({code})"
    text = (
        f"The focus is {what} itself. To withdraw it, send it again with the status cancelled; to cancel an order, put "
        "the order's Task into the focus."
    )
    raise Refused(Issue("business-rule", text, f"{entry.path}.focus"))


def _check_open(entry: Entry, target: Kept, outcome: Outcome, records: Records) -> None:
    """Raises Refused when what is to be cancelled has ended, or another request for that is open."""
    path = f"{entry.path}.focus"
    if outcome not in (Outcome.CANCELLED, Outcome.PENDING):
        issue = Issue("business-rule", outcome.answer, path, outcome=outcome.coding)
        raise Refused(issue, *succession.name_successor(target, records))
    if other := find_open(target, "abort", records):
        text = (
            f"Another cancellation request of this order, {named(other)}, is open. Wait for its answer, or withdraw it "
            "by sending it again with the status cancelled."
        )
        raise Refused(Issue("business-rule", text, path, outcome=Outcome.ALREADY_PENDING.coding))


def _not_the_placer(entry: Entry, order: Kept, records: Records) -> Issue:
    if Role.FULFILLER in records.roles(order):
        text = (
            "You are the fulfiller of this order, and so do not ask for its cancellation: send an order-update with "
            "the status rejected, or failed once work has begun, and a statusReason. To ask the placer to cancel the "
            "Request, send a cancellation request with the intent proposal and the Request in focus."
        )
    else:
        text = (
            "Only the placer of an order (its Task.requester) asks for its cancellation, and you are not known as it. "
            "Name yourself in MessageHeader.sender by your business identifier."
        )
    return Issue("forbidden", text, f"{entry.path}.focus", outcome=Outcome.NOT_THE_PLACER.coding)


def _not_its_fulfiller(entry: Entry, request: Kept, records: Records) -> Issue:
    is_placer = any(Role.PLACER in records.roles(order) for order in orders_about(request, records))
    if is_placer or records.parties.has_sent(request.sender):
        text = (
            f"The {request.resource_type} is yours to revoke. To have the order cancelled, send a cancellation request "
            "with the order's Task in focus."
        )
        return Issue("business-rule", text, f"{entry.path}.focus")
    text = (
        f"Who carries out an order of this {request.resource_type} proposes to cancel it, and you are not known as one "
        "who does. Name yourself in MessageHeader.sender by your business identifier."
    )
    return Issue("forbidden", text, f"{entry.path}.focus", outcome=Outcome.NOT_THE_PLACER.coding)
