"""What a cancellation request of an order's placer does to the order."""

from collections.abc import Callable

from gateway import Issue, Kept, Message, Records, Reply
from gateway.fhir.message import Resource, instant
from gateway.fhir.task.elements import CANCELLED, status_of
from gateway.fhir.task.moving import moved
from gateway.fhir.task.outcomes import Outcome, cancellation_of_request, cancellation_of_task
from gateway.fhir.task.request_outcome import outcome_of_request
from handlers.rules import orders
from handlers.rules.asking import reason_of
from handlers.rules.open_requests import carried_out, open_request

Keep = Callable[[Resource], Kept]
"""Keeps a cancellation request as it has become."""


def ask(order: Kept, task: Resource, keep: Keep, message: Message, records: Records) -> Reply:
    """Lets a new request have its effect on an order that has not ended: at once, or it is open until it is answered.

    The answer has the request first, then the order, then what else has changed.
    """
    machine, now = records.policy.order, instant(message.received_at)
    if cancellation_of_task(machine.state_of(order.resource), machine) == Outcome.CANCELLED:
        ended = records.update(order, moved(order.resource, CANCELLED, reason_of(task), now, machine))
        request = keep(carried_out(task, Outcome.CANCELLED, ended, now))
        return _joined(request, order, ended, message, records)
    owner = records.parties.partner(order, "owner")
    if owner is not None and owner.accepts_cancellation:
        return accept(order, task, reason_of(task), keep, message, records)
    request = keep(task)
    open_request(order, request, "abort", records)
    return Reply((request, order))


def accept(
    order: Kept, task: Resource, reason: Resource | None, keep: Keep, message: Message, records: Records
) -> Reply:
    """Lets a request that is accepted have the effect that the policy gives it; the answer is as that of `ask`.

    `reason` is what it was asked for, which becomes the order's. The request stays as accepted where the policy leaves
    the order to its fulfiller.
    """
    effect, machine, now = records.policy.accepted, records.policy.order, instant(message.received_at)
    if effect == "left":
        return Reply((keep(task | {"status": "accepted"}), order))
    after = records.update(order, moved(order.resource, effect, reason, now, machine))
    request = keep(carried_out(task, Outcome.ACCEPTED, after, now))
    return _joined(request, order, after, message, records)


def outcome_of(request: Kept) -> Outcome:
    """What has become of a cancellation request until now."""
    return outcome_of_request(request.resource)


def answered(request: Kept, target: Kept | None) -> Reply:
    """What is told to whoever asks about a cancellation request: how it and its target are now, and the outcome."""
    outcome = outcome_of(request)
    text = outcome.answer
    if outcome == Outcome.ACCEPTED and target is not None:
        text = f"{text} {_effect(target)}"
    reason = request.resource.get("statusReason")
    said = reason.get("text") if isinstance(reason, dict) else None
    if isinstance(said, str) and outcome in (Outcome.REJECTED, Outcome.NO_SUCH_ORDER):
        text = f"{text} The reason given: {said}"
    issue = Issue("informational", text, severity="information", outcome=outcome.coding)
    return Reply((request, target) if target is not None else (request,), (issue,))


def _effect(target: Kept) -> str:
    status = status_of(target.resource)
    if target.resource_type == "Task":
        return f"The order is {status}."
    if cancellation_of_request(status) == Outcome.PENDING:
        return f"The {target.resource_type} is {status} still: who placed the order revokes it."
    return f"The {target.resource_type} is {status}."


def _joined(request: Kept, before: Kept, order: Kept, message: Message, records: Records) -> Reply:
    followed = orders.follow(before, order, message, records)
    others = (kept for kept in followed.focus if kept.id not in (request.id, order.id))
    return Reply((request, records.get("Task", order.id), *others), followed.issues)
