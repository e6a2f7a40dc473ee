"""new-order: a placer asks for something to be done, and the gateway keeps the Task that both parties then share.

Needs a Task in focus with an identifier, in the status draft, requested or ready. Keeps it with its Requests, its
Patient and whatever else it refers to in the Bundle. Answers ok with the Task as kept. How to add a handler is
written in `handlers/__init__.py`.
"""

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.references import unresolved_references
from gateway.fhir.task import COW, check_new, identifiers_of, is_cancellation, only_task, status_of


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
    - The Task, its Requests, its Patient and whatever they refer to in the Bundle are kept, each found again by its
      business identifier. A Request that another party has created is referred to and not changed.
    - Answered with `ok` and the Task as the gateway keeps it; with a warning for each reference that should mean an
      entry of the Bundle and does not.
    - Refused when the Task is known already (`duplicate`, with its status and what to send instead), when it lacks an
      identifier, or has a status that no new Task has.

    One order per message: two Tasks in focus are refused.
    """
    entry = only_task(message)
    if issues := check_new(entry.resource, entry.path):
        raise Refused(*issues)
    known = records.find(entry)
    if known is not None:
        raise Refused(_duplicate(entry, known))
    order = records.keep(entry)
    warnings = unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None)
    return Reply((order,), tuple(warnings))


def _duplicate(entry: Entry, known: Kept) -> Issue:
    what = "A cancellation request" if is_cancellation(known.resource) else "An order"
    status = status_of(known.resource)
    if COW.is_final(status):
        instead = "For another order use a Task.identifier that was not used before."
    else:
        instead = (
            "To change it send an order-update, to cancel it a cancellation-request; for another order use a "
            "Task.identifier that was not used before."
        )
    names = " or ".join(identifiers_of(entry.resource))
    text = f"{what} with the identifier {names} is kept already, with the status {status}. {instead}"
    return Issue("duplicate", text, f"{entry.path}.identifier")
