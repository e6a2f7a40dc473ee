"""order-update: one of the parties tells how an order goes on, what came of it, or that it is cancelled.

Needs a Task in focus that is known by its identifier. Moves it by the state machine, replaces the elements that the
message has, keeps what it refers to. Answers ok with the Task as kept. How to add a handler is written in
`handlers/__init__.py`.
"""

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.message import Resource, instant
from gateway.fhir.references import unresolved_references
from gateway.fhir.task import (
    check_immutable,
    check_move,
    check_times,
    identifiers_of,
    is_cancellation,
    merged,
    only_task,
    status_of,
)
from handlers.cancellation_request import answer_request, close_by_end, same_resource


@handles(
    Event("http://hl7.org/fhir/uv/cow/CodeSystem/temp", "order-update"),
    category="consequence",
    title="Order update",
    focus=("Task",),
)
def order_update(message: Message, records: Records) -> Reply:
    """Changes an order: one Task in focus, known to the gateway by its `identifier`.

    - `status` is the one it has, or one that may follow it: draft → requested, ready; requested → received, accepted,
      rejected; received → accepted, rejected; accepted, ready → in-progress; in-progress → on-hold, completed, failed;
      on-hold → in-progress; each of draft, requested, received, accepted, ready → cancelled; any → entered-in-error.
      Once work has begun, an order is cancelled by a cancellation-request only.
    - The elements in the message replace those kept; what it leaves out stays, but for `statusReason`, which goes with
      its status, and a narrative that has become untrue. Identifiers are only added.
    - `intent`, `requester`, `for`, `basedOn`, `partOf` and `focus` do not change once the order has left draft.
    - What the Task refers to in the Bundle, its outputs above all, is kept too.
    - Answered with `ok` and the Task as the gateway keeps it; a message that changes nothing makes no new version.
    - Refused when there is no such order (`not-found`), for a move that the order cannot make (its status, the moves it
      can make and what to send instead are named), and for a change of what does not change.

    An update that ends an order ends a cancellation request that waits for its fulfiller, too: as rejected, too late.
    """
    entry = only_task(message)
    kept = records.find(entry)
    if kept is None:
        raise Refused(_unknown(entry))
    if is_cancellation(kept.resource):
        return answer_request(entry, kept, message, records)
    now = instant(message.received_at)
    task = merged(kept.resource, records.localise(entry), now, version=message.version)
    _check(entry, kept, task, records)
    order = records.keep(entry, task)
    ended = close_by_end(kept, order, records, now)
    warnings = unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None)
    return Reply((order, *ended.focus), (*ended.issues, *warnings))


def _check(entry: Entry, kept: Kept, task: Resource, records: Records) -> None:
    """Raises Refused with everything that the message may not do to the order, which it would leave as `task`."""
    issues = [
        *check_move(status_of(kept.resource), status_of(entry.resource), entry.path),
        *check_immutable(kept.resource, entry.resource, entry.path, same_resource(entry, records)),
        *check_times(task, entry.path),
    ]
    if issues:
        raise Refused(*issues)


def _unknown(entry: Entry) -> Issue:
    names = " or ".join(identifiers_of(entry.resource))
    if not names:
        text = "The Task has no identifier. Give it the Task.identifier that the order was sent with."
        return Issue("required", text, f"{entry.path}.identifier")
    text = (
        f"This gateway keeps no order with the identifier {names}. Check system and value against the new-order; "
        "if it was never sent, or was refused, send it first."
    )
    return Issue("not-found", text, f"{entry.path}.identifier")
