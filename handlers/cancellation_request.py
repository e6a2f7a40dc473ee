"""cancellation-request: a party asks for an order to be cancelled, and the other party answers.

Needs a Task with the code `abort` in focus, which has an identifier of its own and whose focus is the order's Task (or
its Request). Cancels at once when work has not begun, else keeps the question until it is answered; the answer is the
same Task with another status. Answers with the outcome, one of `gateway.fhir.task.Outcome`, in
`OperationOutcome.issue.details`. How to add a handler is written in `handlers/__init__.py`.

An order has at most one open cancellation request. Which it is stands in a List that the gateway keeps for the order
for itself, under a name that no message can use, so that neither Task has to change for it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.message import Resource, instant
from gateway.fhir.references import unresolved_references
from gateway.fhir.task import (
    CANCELLATION,
    COW,
    OUTCOME_SYSTEM,
    REQUESTS,
    Outcome,
    cancellation_of_request,
    cancellation_of_task,
    cancelled,
    check_immutable,
    check_move,
    check_times,
    dated,
    identifiers_of,
    is_cancellation,
    merged,
    only_task,
    status_of,
)

_OPEN_REQUESTS = "open-cancellation-request"
_OPEN = ("requested", "received")
_WHAT = "cancellation request"

_ANSWERS = {
    Outcome.CANCELLED: "The order is cancelled.",
    Outcome.PENDING: (
        "The other party decides: the cancellation request is kept and waits for its answer, and the order goes on as "
        "it is until then."
    ),
    Outcome.ACCEPTED: "The cancellation request is accepted: the order is cancelled.",
    Outcome.REJECTED: "The cancellation request is rejected: the order goes on as it is.",
    Outcome.WITHDRAWN: "The cancellation request is withdrawn: the order goes on as it is.",
    Outcome.TOO_LATE: "The order is completed: it is too late to cancel it. Agree with the other party what to do.",
    Outcome.ALREADY_CANCELLED: "The order was cancelled before. There is nothing left to do.",
    Outcome.ALREADY_ENDED: "The order had ended before: it was rejected, failed or entered in error.",
}


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

    To ask, send a Task with the code `abort`, an `identifier` of its own, the status `requested`, the order's Task in
    `focus` (by a reference into the Bundle, or by its identifier), and a `statusReason` or `reasonCode`:

    - Work has not begun (draft, requested, received, accepted, ready): the order is cancelled at once, with the reason
      given; the cancellation request is kept as `completed`. Outcome `cancelled`.
    - Work has begun (in-progress, on-hold): the cancellation request is kept as `requested`, and the order stays as it
      is until the fulfiller has answered. Outcome `pending`.
    - The focus is the Request instead (a fulfiller proposes it to the placer): kept as `requested`, outcome `pending`.
      When it is accepted, the placer revokes its Request itself.
    - Refused, each with an outcome of its own: `too-late-completed`, `already-cancelled`, `already-ended` (rejected,
      failed, entered in error), `already-pending` (another cancellation request of the order is open),
      `no-such-order`.

    To answer, send the same Task (by its identifier) with the status `accepted` (the order is cancelled, the
    cancellation request becomes `completed`, with the order in its output; outcome `accepted`), `rejected` with a
    `statusReason` (outcome `rejected`), or `received` (outcome `pending`). To withdraw an open one, send it with the
    status `cancelled` (outcome `withdrawn`). Outcome `no-such-request` when it is not known.

    A cancellation request that is sent again is answered by its outcome as it is now, and has no second effect. An
    order that ends while one is open (completed, for instance) ends it as `rejected`, with the outcome as its reason.

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


def answer_request(entry: Entry, kept: Kept, message: Message, records: Records) -> Reply:
    """Applies what a message says of a cancellation request that is kept: an answer, a withdrawal, a repeat."""
    if not is_cancellation(kept.resource):
        text = (
            f"The identifier {_names(kept)} is that of an order. Give the cancellation request an identifier of its "
            "own, and put the order's Task into its focus."
        )
        raise Refused(Issue("business-rule", text, f"{entry.path}.identifier"))
    now = instant(message.received_at)
    task = merged(kept.resource, records.localise(entry), now, version=message.version) | {
        "code": kept.resource["code"]
    }
    before, status = status_of(kept.resource), status_of(entry.resource)
    _check_answer(entry, kept, task, records)
    if status in _OPEN and before == status:
        return _state(records.keep(entry, task), entry, records)
    if _is_repeat(before, status):
        return _state(kept, entry, records)
    if status not in _OPEN:
        _close(_target(kept, entry, records), records)
    if status == "accepted":
        return _accept(entry, kept, task, records, now)
    return _state(records.keep(entry, task), entry, records)


def close_by_end(before: Kept, order: Kept, records: Records, now: str) -> Reply:
    """Rejects the open cancellation request of an order that has just ended; an empty Reply when there is none."""
    may_be_asked = COW.on_request.get(status_of(before.resource))
    if not may_be_asked or not COW.is_final(status_of(order.resource)):
        return Reply()
    request = _close(order, records)
    if request is None:
        return Reply()
    outcome = cancellation_of_task(status_of(order.resource))
    reason = {"coding": [_coding(outcome)], "text": _ANSWERS[outcome]}
    rejected = {name: value for name, value in request.resource.items() if name != "text"}
    closed = records.update(request, dated(rejected | {"status": "rejected", "statusReason": reason}, now))
    text = f"The cancellation request {_names(request)}, which was open, is rejected: {_ANSWERS[outcome]}"
    return Reply((closed,), (_information(outcome, text),))


def same_resource(entry: Entry, records: Records) -> Callable[[Resource, Resource], bool]:
    """Whether a Reference kept and one in `entry` mean the same resource: by where they lead, else by what they say."""

    def same(kept: Resource, sent: Resource) -> bool:
        target = records.follow(sent, entry)
        if target is not None and kept.get("reference") == target.reference:
            return True
        named = _name(kept.get("identifier"))
        if named and target is not None:
            return named in identifiers_of(target.resource)
        if named and named == _name(sent.get("identifier")):
            return True
        return target is None and "reference" in kept and kept["reference"] == sent.get("reference")

    return same


def _ask(entry: Entry, message: Message, records: Records) -> Reply:
    _check_new(entry)
    target = _check_target(entry, records.follow(entry.resource["focus"], entry), message)
    outcome = _check_state(target, entry)
    if other := _find_open(target, records):
        raise Refused(_already_pending(other, entry))
    now = instant(message.received_at)
    task = records.localise(entry)
    task["focus"] = task["focus"] | {"reference": target.reference}
    if outcome == Outcome.CANCELLED:
        order = records.update(target, cancelled(target.resource, _reason(task), now))
        request = records.keep(entry, _carried_out(task, outcome, order, now))
    else:
        request = records.keep(entry, task)
        _open(target, request, records)
    warnings = unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None)
    answer = _state(request, entry, records)
    return replace(answer, issues=(*answer.issues, *warnings))


def _accept(entry: Entry, kept: Kept, task: Resource, records: Records, now: str) -> Reply:
    target = _target(kept, entry, records)
    if target.resource_type != "Task":
        return _state(records.keep(entry, task), entry, records)
    _check_state(target, entry)
    order = records.update(target, cancelled(target.resource, _reason(kept.resource), now))
    return _state(records.keep(entry, _carried_out(task, Outcome.ACCEPTED, order, now)), entry, records)


def _check_new(entry: Entry) -> None:
    """Raises Refused when a Task cannot be a new cancellation request."""
    task, status = entry.resource, status_of(entry.resource)
    issues = check_times(task, entry.path)
    if not identifiers_of(task):
        text = "A cancellation request needs an identifier of its own (system and value): its answer is found by it."
        issues.append(Issue("required", text, f"{entry.path}.identifier"))
    if status != "requested":
        text = (
            f"No cancellation request is kept with the identifier {' or '.join(identifiers_of(task))}, so its status "
            f"cannot become {status}. A new one has the status requested."
        )
        issues.append(Issue("not-found", text, f"{entry.path}.status", outcome=Outcome.NO_SUCH_REQUEST.coding))
    if not isinstance(task.get("focus"), dict):
        text = "A cancellation request says in Task.focus what to cancel: the order's Task, by reference or identifier."
        issues.append(Issue("required", text, f"{entry.path}.focus"))
    if issues:
        raise Refused(*issues)


def _check_target(entry: Entry, target: Kept | None, message: Message) -> Kept:
    """What a cancellation request is about. Raises Refused when that is not kept, or cannot be cancelled."""
    if target is None:
        text = (
            f"There is no such order: this gateway keeps none as {_focus_in_words(entry, message)}. Nothing is "
            "cancelled. Check the identifier; if the order was sent and is not answered yet, send it again then."
        )
        outcome = Outcome.NO_SUCH_ORDER.coding
        raise Refused(Issue("not-found", text, f"{entry.path}.focus", outcome=outcome))
    if target.resource_type not in ("Task", *REQUESTS):
        text = f"A {target.resource_type} cannot be cancelled. Put the order's Task or its Request into the focus."
        raise Refused(Issue("business-rule", text, f"{entry.path}.focus"))
    if target.resource_type == "Task" and is_cancellation(target.resource):
        text = (
            "The focus is a cancellation request itself. To withdraw it, send it again with the status cancelled; to "
            "cancel an order, put the order's Task into the focus."
        )
        raise Refused(Issue("business-rule", text, f"{entry.path}.focus"))
    return target


def _check_state(target: Kept, entry: Entry) -> Outcome:
    """What asking comes to: CANCELLED or PENDING. Raises Refused when the order has ended."""
    status = status_of(target.resource)
    outcome = cancellation_of_task(status) if target.resource_type == "Task" else cancellation_of_request(status)
    if outcome not in (Outcome.CANCELLED, Outcome.PENDING):
        raise Refused(Issue("business-rule", _ANSWERS[outcome], f"{entry.path}.focus", outcome=outcome.coding))
    return outcome


def _check_answer(entry: Entry, kept: Kept, task: Resource, records: Records) -> None:
    before, status = status_of(kept.resource), status_of(entry.resource)
    issues = [] if _is_repeat(before, status) else check_move(before, status, entry.path, CANCELLATION, _WHAT)
    issues = [
        *(replace(issue, outcome=_outcome_of(kept).coding) for issue in issues),
        *check_immutable(kept.resource, entry.resource, entry.path, same_resource(entry, records)),
        *check_times(task, entry.path),
    ]
    if issues:
        raise Refused(*issues)


def _is_repeat(before: str, status: str) -> bool:
    """Whether a message says no more than is known: the question again, or the same answer again."""
    return status in (before, "requested") or (before == "completed" and status == "accepted")


def _outcome_of(request: Kept) -> Outcome:
    """What has become of a cancellation request until now."""
    task, status = request.resource, status_of(request.resource)
    if status == "rejected":
        return _our_outcome(task.get("statusReason")) or Outcome.REJECTED
    if status == "completed":
        outputs = [_our_outcome(output.get("type")) for output in task.get("output", [])]
        return next(filter(None, outputs), Outcome.CANCELLED)
    if status in _OPEN:
        return Outcome.PENDING
    return Outcome.ACCEPTED if status == "accepted" else Outcome.WITHDRAWN


def _our_outcome(concept: Any) -> Outcome | None:
    codings = concept.get("coding", []) if isinstance(concept, dict) else []
    codes = [coding.get("code") for coding in codings if coding.get("system") == OUTCOME_SYSTEM]
    return next((outcome for outcome in Outcome if outcome.value in codes), None)


def _state(request: Kept, entry: Entry, records: Records) -> Reply:
    """The answer to whoever asks about a cancellation request: the two Tasks as they are now, and the outcome."""
    outcome, target = _outcome_of(request), _target(request, entry, records)
    text = _ANSWERS[outcome]
    if target.resource_type != "Task" and outcome == Outcome.ACCEPTED:
        text = "The cancellation request is accepted: who placed the order revokes it."
    reason = request.resource.get("statusReason", {}).get("text")
    if outcome == Outcome.REJECTED and isinstance(reason, str):
        text = f"{text} The reason given: {reason}"
    return Reply((request, target), (_information(outcome, text),))


def _target(request: Kept, entry: Entry, records: Records) -> Kept:
    """What a cancellation request that is kept is about. Raises Refused when it was kept without that."""
    kind, _, resource_id = request.resource.get("focus", {}).get("reference", "").partition("/")
    try:
        return records.get(kind, resource_id)
    except KeyError:
        text = (
            f"The cancellation request {_names(request)} is kept with no order that it is about, so nothing can come "
            "of it. To cancel an order, send a cancellation request with an identifier that was not used before."
        )
        raise Refused(Issue("not-found", text, entry.path, outcome=Outcome.NO_SUCH_ORDER.coding)) from None


def _carried_out(task: Resource, outcome: Outcome, order: Kept, now: str) -> Resource:
    """A cancellation request that has had its effect: completed, the outcome and the order in its output."""
    done = {"type": {"coding": [_coding(outcome)]}, "valueReference": {"reference": order.reference}}
    kept = {name: value for name, value in task.items() if name != "text"}
    return dated(kept | {"status": "completed", "output": [*task.get("output", []), done]}, now)


def _focus_in_words(entry: Entry, message: Message) -> str:
    """What the focus of a cancellation request names: the order's identifiers if it has any, else its reference."""
    focus = entry.resource["focus"]
    literal = focus.get("reference")
    target = message.entries.resolve(literal, entry) if literal else None
    names = identifiers_of(target.resource) if target else []
    return " or ".join(names) or _name(focus.get("identifier")) or literal or "(no reference and no identifier)"


def _reason(task: Resource) -> Resource | None:
    reason: Resource | None = task.get("statusReason") or task.get("reasonCode")
    return reason


def _coding(outcome: Outcome) -> Resource:
    return {"system": OUTCOME_SYSTEM, "code": outcome.value}


def _information(outcome: Outcome, text: str) -> Issue:
    return Issue("informational", text, severity="information", outcome=outcome.coding)


def _already_pending(other: Kept, entry: Entry) -> Issue:
    text = (
        f"Another cancellation request of this order, {_names(other)}, is open. Wait for its answer, or withdraw it by "
        "sending it again with the status cancelled."
    )
    return Issue("business-rule", text, f"{entry.path}.focus", outcome=Outcome.ALREADY_PENDING.coding)


def _find_open(target: Kept, records: Records) -> Kept | None:
    """The open cancellation request of an order."""
    listed = records.find_own("List", _name_of_list(target))
    items = listed.resource.get("entry", []) if listed else []
    return records.get("Task", items[0]["item"]["reference"].partition("/")[2]) if items else None


def _open(target: Kept, request: Kept, records: Records) -> None:
    """Writes down that a cancellation request of an order is open."""
    content: Resource = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "title": f"Open cancellation request of {target.reference}",
        "entry": [{"item": {"reference": request.reference}}],
    }
    records.keep_own(_name_of_list(target), content)


def _close(target: Kept, records: Records) -> Kept | None:
    """The cancellation request that was open, which it is no longer."""
    request = _find_open(target, records)
    listed = records.find_own("List", _name_of_list(target))
    if listed is not None:
        records.update(listed, {name: value for name, value in listed.resource.items() if name != "entry"})
    return request


def _name_of_list(target: Kept) -> str:
    return f"{_OPEN_REQUESTS}|{target.reference}"


def _names(kept: Kept) -> str:
    return " or ".join(identifiers_of(kept.resource)) or kept.reference


def _name(identifier: Any) -> str:
    return next(iter(identifiers_of({"identifier": [identifier]})), "")
