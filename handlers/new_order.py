"""new-order: a placer asks for something to be done, and the gateway keeps the Task that both parties then share.

Needs a Task in focus with an identifier, in the status draft, requested or ready. Keeps it with its Requests, its
Patient and whatever else it refers to in the Bundle. Answers ok with the Task as kept. How to add a handler is
written in `handlers/__init__.py`.
"""

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.message import Resource
from gateway.fhir.references import unresolved_references
from gateway.fhir.task.checks import check_new
from gateway.fhir.task.deadlines import reflagged
from gateway.fhir.task.elements import focuses_of, identifiers_of, request_code, tasks_of_group
from gateway.fhir.task.lists import check_growth
from handlers.rules import companions, groups, held_requests, orders, parts, requests

_MOST_ABOUT = 100
"""So many orders others place about a Request; a message looks through no more than 500."""


@handles(
    Event("http://hl7.org/fhir/uv/cow/CodeSystem/temp", "new-order"),
    category="consequence",
    title="New order",
    focus=("Task",),
)
def new_order(message: Message, records: Records) -> Reply:
    """Places an order: one Task in focus, new to the gateway, with what it refers to in the Bundle.

    - The Task has an `identifier` (system and value) that later messages about the order repeat, and the status
      `draft`, `requested` or `ready`.
    - An order is placed by its placer: `requester` is the sender, or somebody who does not speak for itself here (a
      doctor of a hospital, the client of a coordinator), but no other partner.
    - The Task, its Requests, its Patient and whatever they refer to in the Bundle are kept, each found again by its
      business identifier. A Request that another party has created is referred to and not changed, with a warning
      when the message has it otherwise.
    - Several Requests go into one Task by `focus` and the extension for further focuses, or as a RequestGroup in
      focus; they share one `groupIdentifier`, else there is a warning.
    - A part of an order names that in `partOf`: an order that is known, whose fulfiller or placer the sender is.
    - Answered with `ok` and the Task as the gateway keeps it; with a warning for each reference that should mean an
      entry of the Bundle and does not, and for an `owner` that names nobody who could act on the order.
    - Refused when the Task is known already (`duplicate`, with its status and what to send instead), when it lacks an
      identifier, has a status that no new Task has, or is placed in the name of another partner (`forbidden`).
    - Several Tasks in focus are the lines of one order: they have one `groupIdentifier`, each is an order of its own
      from then on, and either all are kept or none is. Tasks without that are refused.
    """
    return groups.each(tasks_of_group(message), lambda entry: _place(entry, message, records))


def _place(entry: Entry, message: Message, records: Records) -> Reply:
    known = records.find(entry)
    issues = [
        *check_new(_begun(entry.resource, message, records), entry.path, records.policy.order, records.roles(entry)),
        *parts.check_wholes(entry, known, records),
        *check_growth({}, entry.resource, entry.path),
    ]
    if issues:
        raise Refused(*issues)
    if known is not None:
        raise Refused(_duplicate(entry, known, records))
    unnamed = _warn_of_nobody(entry, records)
    sent = _begun(records.localise(entry), message, records)
    task = reflagged(parts.grounded(sent, entry, records), None, records.policy, message.received_at)
    order = records.keep(entry, task)
    _check_others_requests(order, entry, records)
    referring = companions.keep_referring(entry, message, records)
    followed = orders.follow(None, order, message, records)
    held = held_requests.apply_held(order, message, records)
    changed = (records.get("Task", order.id), *referring, *followed.focus, *held.focus)
    warnings = [
        *unnamed,
        *requests.warn_of_copies(message, records),
        *requests.warn_of_focuses(order, entry, records),
        *unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None),
    ]
    focus = {kept.id: records.get(kept.resource_type, kept.id) for kept in changed}
    return Reply(tuple(focus.values()), (*followed.issues, *held.issues, *warnings))


def _begun(task: Resource, message: Message, records: Records) -> Resource:
    """The Task; that of another network is in the first status that the policy has for what was sent."""
    machine = records.policy.order
    sent = next((state for state in machine.states if state in machine.initial - machine.unsettled), "requested")
    is_unknown = task.get("status") == "requested" and "requested" not in machine.states
    return task | {"status": sent} if message.skips and is_unknown else task


def _warn_of_nobody(entry: Entry, records: Records) -> list[Issue]:
    """A warning when the order has an owner that nobody can be recognised as: nobody could act on it."""
    if not records.parties.names_nobody(entry, "owner"):
        return []
    text = (
        "Task.owner names nobody that the gateway can tell from others, so that nobody is told of the order or can act "
        "on it. Send an order-update with the business identifier (system and value) of the owner in "
        "Task.owner.identifier."
    )
    return [Issue("business-rule", text, f"{entry.path}.owner", "warning")]


def _check_others_requests(order: Kept, entry: Entry, records: Records) -> None:
    """Raises Refused for one order more about another party's Request that has very many: its own would suffer."""
    about = [request for reference in focuses_of(order.resource) if (request := requests.find(reference, records))]
    for request in about:
        if not records.parties.has_sent(request.sender) and len(requests.orders_about(request, records)) > _MOST_ABOUT:
            text = (
                f"There are {_MOST_ABOUT} orders about this {request.resource_type} of another party. Send a Request "
                "of your own with the order."
            )
            raise Refused(Issue("too-costly", text, f"{entry.path}.focus"))


def _duplicate(entry: Entry, known: Kept, records: Records) -> Issue:
    what = "An order" if request_code(known.resource) is None else "A request about an order"
    if not records.roles(known):
        text = "Another party's order has this identifier. Use a Task.identifier that was not used before."
        return Issue("duplicate", text, f"{entry.path}.identifier")
    machine, status = records.policy.order, records.policy.order.state_of(known.resource)
    if machine.is_final(status):
        instead = "For another order use a Task.identifier that was not used before."
    else:
        instead = (
            "To change it send an order-update, to cancel it a cancellation-request; for another order use a "
            "Task.identifier that was not used before."
        )
    names = " or ".join(identifiers_of(entry.resource))
    text = f"{what} with the identifier {names} is kept already, with the status {status}. {instead}"
    return Issue("duplicate", text, f"{entry.path}.identifier")
