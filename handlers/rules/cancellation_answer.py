"""What a message says of a cancellation request that is kept: an answer, a withdrawal, a repeat of the question.

An answer comes as a cancellation-request, or as an order-update. The party asked answers,
who asked withdraws. An answer is given once; what says again what is known is no error, and has no second effect.
"""

from dataclasses import replace
from functools import partial

from gateway import Entry, Issue, Kept, Message, Records, Refused, Reply
from gateway.fhir.message import Resource, instant
from gateway.fhir.policy.model import Role, Roles
from gateway.fhir.task.checks import check_immutable, check_move, check_times
from gateway.fhir.task.deadlines import is_held
from gateway.fhir.task.elements import is_cancellation, status_of
from gateway.fhir.task.merging import merged, replaced
from gateway.fhir.task.outcomes import Outcome, cancellation_of_order
from gateway.fhir.task.settled import check_left_out
from handlers.rules import cancelling, held_requests
from handlers.rules.asking import is_repeat, only_takes_note, reason_of
from handlers.rules.open_requests import OPEN, close_by_requests, close_request, named
from handlers.rules.references import same_resource
from handlers.rules.request_parties import roles_towards


def answer_request(entry: Entry, kept: Kept, message: Message, records: Records) -> Reply:
    """Applies what a message says of a cancellation request that is kept."""
    if not is_cancellation(kept.resource):
        text = (
            f"The identifier {named(kept)} is that of an order. Give the cancellation request an identifier of its "
            "own, and put the order's Task into its focus."
        )
        raise Refused(Issue("business-rule", text, f"{entry.path}.identifier"))
    target = _target(kept, entry, records)
    task = _as_sent(entry, kept, message, records)
    _check(entry, kept, task, target, message, records)
    before, status = status_of(kept.resource), status_of(entry.resource)
    if is_held(kept.resource) and before == status and (order := held_requests.find_order(kept, message, records)):
        return held_requests.apply(kept, order, message, records)
    if status in OPEN and before == status:
        return _noted(records.keep(entry, task), target, message, records)
    if is_repeat(before, status):
        return cancelling.answered(kept, target)
    if status not in OPEN and target is not None:
        close_request(target, "abort", records)
    if status == "accepted" and target is not None and target.resource_type == "Task":
        return _accept(entry, kept, task, target, message, records)
    return _noted(records.keep(entry, task), target, message, records)


def _noted(request: Kept, target: Kept | None, message: Message, records: Records) -> Reply:
    """The answer about a request, with which its Request may have come as it is now: revoked, say."""
    closed = close_by_requests(None, None, message, records)
    answer = cancelling.answered(records.current(request), records.current(target) if target else None)
    others = (kept for kept in closed.focus if kept.id != request.id)
    return Reply((*answer.focus, *others), answer.issues)


def _accept(entry: Entry, kept: Kept, task: Resource, order: Kept, message: Message, records: Records) -> Reply:
    outcome = cancellation_of_order(order.resource, records.policy.order)
    if outcome not in (Outcome.CANCELLED, Outcome.PENDING):
        raise Refused(Issue("business-rule", outcome.answer, f"{entry.path}.focus", outcome=outcome.coding))
    reason = reason_of(kept.resource)
    reply = cancelling.accept(order, task, reason, partial(records.keep, entry), message, records)
    request, changed, *others = reply.focus
    answer = cancelling.answered(request, changed)
    return Reply((*answer.focus, *others), (*answer.issues, *reply.issues))


def _as_sent(entry: Entry, kept: Kept, message: Message, records: Records) -> Resource:
    """The cancellation request as the message leaves it; what it is, and who asks whom, stays."""
    now, machine, sent = instant(message.received_at), records.policy.request, records.localise(entry)
    if message.replaces:
        task = replaced(kept.resource, sent, now, machine)
    else:
        task = merged(kept.resource, sent, now, machine, message.version)
    own = ("code", "requester", "owner", *(("statusReason",) if only_takes_note(entry) else ()))
    return {name: value for name, value in task.items() if name not in own} | {
        name: kept.resource[name] for name in own if name in kept.resource
    }


def _check(entry: Entry, kept: Kept, task: Resource, target: Kept | None, message: Message, records: Records) -> None:
    """Raises Refused with everything that the message may not do to the request, which it would leave as `task`."""
    roles = roles_towards(kept, target, records)
    if not roles & {Role.PLACER, Role.FULFILLER}:
        text = (
            f"You are no party of the cancellation request {named(kept)}: who asked withdraws it, who is asked answers "
            "it. Name yourself in MessageHeader.sender by your business identifier."
        )
        raise Refused(Issue("forbidden", text, entry.path, outcome=Outcome.NOT_THE_PLACER.coding))
    if target is None and Role.PLACER not in roles:
        text = (
            f"The order that the cancellation request {named(kept)} is about has not come: there is nothing to answer. "
            "When it comes, the request has its effect, or waits for an answer then."
        )
        raise Refused(Issue("business-rule", text, entry.path, outcome=cancelling.outcome_of(kept).coding))
    machine, sent = records.policy.request, entry.resource
    if target is None and held_requests.is_same_order(entry, kept, message):
        sent = sent | {"focus": kept.resource["focus"]}
    issues = [
        *_check_move(entry, kept, roles, records),
        *_check_owner(entry, kept, records),
        *check_immutable(kept.resource, sent, entry.path, same_resource(entry, records), machine),
        *(check_left_out(kept.resource, sent, entry.path, machine) if message.replaces else ()),
        *check_times(task, entry.path),
    ]
    if issues:
        raise Refused(*issues)


def _check_move(entry: Entry, kept: Kept, roles: Roles, records: Records) -> list[Issue]:
    before, status = status_of(kept.resource), status_of(entry.resource)
    if is_repeat(before, status):
        return []
    outcome = cancelling.outcome_of(kept).coding
    issues = check_move(before, status, entry.path, records.policy.request, roles, "cancellation request")
    return [replace(issue, outcome=outcome) for issue in issues]


def _check_owner(entry: Entry, kept: Kept, records: Records) -> list[Issue]:
    """Who is asked does not change: nobody answers its own question."""
    before, sent = records.party(kept, "owner"), records.party(entry, "owner")
    if not before or not sent or before & sent:
        return []
    text = "Task.owner of a cancellation request is the party that is asked, and does not change. Leave it out."
    return [Issue("business-rule", text, f"{entry.path}.owner")]


def _target(request: Kept, entry: Entry, records: Records) -> Kept | None:
    """What a cancellation request that is kept is about; None when its order has not come.

    Raises Refused when it was kept without that.
    """
    focus = request.resource.get("focus")
    focus = focus if isinstance(focus, dict) else {}
    if "identifier" in focus and "reference" not in focus:
        return None
    kind, _, resource_id = str(focus.get("reference")).partition("/")
    try:
        return records.get(kind, resource_id)
    except KeyError:
        text = (
            f"The cancellation request {named(request)} is kept with no order that it is about, so nothing can come "
            "of it. To cancel an order, send a cancellation request with an identifier that was not used before."
        )
        raise Refused(Issue("not-found", text, entry.path, outcome=Outcome.NO_SUCH_ORDER.coding)) from None
