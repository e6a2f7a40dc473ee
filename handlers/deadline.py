"""deadline: the gateway tells itself that a time has passed: of an order's period, or of a request that is held.

Comes from the sweep (`gateway/sweeping.py`) and from nobody else, with the version of the Task that fell due as the
reference in focus. What it does is kept like the effect of any other message. How to add a handler is written in
`handlers/__init__.py`.
"""

from gateway import Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.message import Resource, instant
from gateway.fhir.task.deadlines import CLOCK, DEADLINE, due_by_period, is_flagged, is_held, with_flag
from gateway.fhir.task.merging import dated
from gateway.fhir.task.moving import moved
from gateway.fhir.task.outcomes import Outcome
from handlers.rules import held_requests, orders
from handlers.rules.open_requests import named, rejected


@handles(Event(*DEADLINE), category="consequence", title="Deadline", focus=("Task",))
def deadline(message: Message, records: Records) -> Reply:
    """Applies what falls due by the clock. The gateway sends it to itself; it is refused from anybody else.

    - A cancellation request that was held for an order which has not come is rejected, with the outcome
      `no-such-order` as its reason.
    - An order that has not ended when its `restriction.period` has is marked with the tag `overdue` of
      `urn:x-fhir-gateway:flag` in `meta.tag`, once; the mark goes when the placer sets a later period, and when the
      order ends. By a policy that says so it is ended instead, with the outcome `expired` as its reason, and so are the
      open requests about it.
    - A Task that has changed since it fell due stays as it is: its time is reckoned anew.
    """
    if message.source_endpoint != CLOCK:
        text = "This event is the gateway's own: what falls due by the clock it tells itself. Nothing was changed."
        raise Refused(Issue("forbidden", text, "Bundle.entry[0].resource.event"))
    task, version = _find_due(message, records)
    if task is None or str(task.version) != version:
        return Reply()
    if is_held(task.resource):
        return _give_up(task, message, records)
    due = due_by_period(task.resource, records.policy)
    if due is None or due > message.received_at:
        return Reply()
    if records.policy.expiry.action == "expire":
        return _expire(task, message, records)
    return Reply() if is_flagged(task.resource) else _flag(task, message, records)


def _find_due(message: Message, records: Records) -> tuple[Kept | None, str]:
    """The Task that fell due, as it is now, and the version in which it did."""
    header = next(iter(message.entries))
    focus: list[Resource] = message.header.get("focus", [])
    reference = next((item.get("reference") for item in focus), "")
    return records.follow({"reference": reference}, header), str(reference).rpartition("/_history/")[2]


def _give_up(request: Kept, message: Message, records: Records) -> Reply:
    if order := held_requests.find_order(request, message, records):
        return held_requests.apply(request, order, message, records)
    text = "No such order has come in the time for which the cancellation request was held."
    reason = Outcome.NO_SUCH_ORDER.concept | {"text": text}
    return Reply((records.update(request, rejected(request.resource, reason, instant(message.received_at))),))


def _flag(order: Kept, message: Message, records: Records) -> Reply:
    task = dated(with_flag(order.resource), instant(message.received_at))
    return Reply(
        (records.update(order, task),), (_told(f"The order {named(order)} is overdue: its period has ended."),)
    )


def _expire(order: Kept, message: Message, records: Records) -> Reply:
    machine, status = records.policy.order, records.policy.expiry.status
    reason = Outcome.EXPIRED.concept | {"text": "The period in which the order was to be carried out has ended."}
    after = records.update(order, moved(order.resource, status, reason, instant(message.received_at), machine))
    followed = orders.follow(order, after, message, records)
    told = _told(f"The order {named(order)} has expired, and is {status}.")
    return Reply((records.get("Task", order.id), *followed.focus), (told, *followed.issues))


def _told(text: str) -> Issue:
    return Issue("informational", text, severity="information", outcome=Outcome.EXPIRED.coding)
