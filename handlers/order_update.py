"""order-update: one of the parties tells how an order goes on, what came of it, or that it is cancelled.

Needs a Task in focus that is known by its identifier. Moves it by the policy in force, replaces the elements that the
message has, keeps what it refers to. Answers ok with the Task as kept. How to add a handler is written in
`handlers/__init__.py`.
"""

from gateway import Entry, Event, Issue, Kept, Message, Records, Refused, Reply, handles
from gateway.fhir.emptiness import without_empty
from gateway.fhir.message import Resource, instant
from gateway.fhir.policy.model import Machine, Role, Roles
from gateway.fhir.references import unresolved_references
from gateway.fhir.task.checks import check_fields, check_immutable, check_maker, check_move, check_times
from gateway.fhir.task.contained import same_contained, set_apart, with_contained
from gateway.fhir.task.deadlines import reflagged
from gateway.fhir.task.elements import dicts, identifiers_of, is_cancellation, request_code, tasks_of_group
from gateway.fhir.task.lists import check_growth
from gateway.fhir.task.merging import merged, replaced
from gateway.fhir.task.settled import check_ended, check_focuses, check_left_out, check_new_identifiers
from handlers.modification_request import answer_modification
from handlers.rules import bids, companions, groups, orders, owners, parts, requests, succession
from handlers.rules.cancellation_answer import answer_request
from handlers.rules.references import same_resource


@handles(
    Event("http://hl7.org/fhir/uv/cow/CodeSystem/temp", "order-update"),
    category="consequence",
    title="Order update",
    focus=("Task",),
)
def order_update(message: Message, records: Records) -> Reply:
    """Changes an order: one Task in focus, known to the gateway by its `identifier`.

    - `status` is the one it has, or one that may follow it and that the sender may bring about, by the policy in
      force. By the default one: the fulfiller goes from requested to received, accepted, rejected; from accepted or
      ready to in-progress; from there to on-hold and back, completed, failed. The placer sends a draft on (requested,
      ready), and cancels before work has begun; once it has, by a cancellation-request only. Who created the Task
      enters it in error.
    - The elements in the message replace those kept; what it leaves out stays, but for `statusReason`, which goes with
      its status, and a narrative that has become untrue. Identifiers and notes are only added. Inputs and outputs are
      added, too: one with the same type that refers to the same resource amends the one kept, and a value is the
      latest of its type.
    - Each element is changed by whom the policy names: `input` (the answer to a question), `priority`, `restriction`
      by the placer; `output` and `executionPeriod` by the fulfiller; `note`, `businessStatus` (awaiting-information,
      say) by both.
    - An order without `owner` belongs to whoever receives or accepts it first: that one becomes its owner. The owner
      hands it over by naming another one, until it has ended, and its status stays; the placer may give it to another
      until work has begun, and one that was received or accepted is requested again then. Earlier owners stay among
      its performers.
    - `intent`, `requester`, `for`, `basedOn`, `partOf` and all focuses do not change once the order has left draft.
    - What the Task refers to in the Bundle, its outputs above all, is kept too, and what refers to it (a
      Communication that is part of it). Outputs of a part (`partOf`) become outputs of the whole. A Request is changed
      by who created it; the copy of another is not taken, with a warning. A Specimen that came with the order is
      changed by the order's owner, too.
    - In an order that has ended notes may still be added, and outputs and a businessStatus where it is completed.
    - Answered with `ok` and the Task as the gateway keeps it; a message that changes nothing makes no new version.
    - Refused when there is no such order (`not-found`), when the sender is no party of it or may not do this
      (`forbidden`, with who may), when it goes by another version than the current one (`conflict`), for a move that
      the order cannot make (its status, the moves it can make and what to send instead are named), and for a change of
      what does not change.

    An update that ends an order ends the requests about it that wait for an answer, too: as rejected, too late. Several
    Tasks in focus are the lines of one order: they have one `groupIdentifier`, and all are changed or none is.
    """
    return groups.each(tasks_of_group(message), lambda entry: _update(entry, message, records))


def _update(entry: Entry, message: Message, records: Records) -> Reply:
    kept = records.find(entry)
    if kept is None:
        raise Refused(_unknown(entry))
    if request_code(kept.resource) is not None:
        return _answer(entry, kept, message, records)
    return _keep(_worded(entry, kept, message, records), kept, message, records)


def _worded(entry: Entry, kept: Kept, message: Message, records: Records) -> Entry:
    """The Task; what is declined in a network that has one word for that, and was begun, has failed."""
    machine, roles = records.policy.order, records.roles(kept)
    state = machine.state_of(kept.resource)
    if not message.skips or entry.resource.get("status") != "rejected" or machine.way(state, "rejected", roles):
        return entry
    has_failed = state != "rejected" and machine.way(state, "failed", roles)
    return Entry(entry.path, entry.full_url, entry.resource | {"status": "failed"}) if has_failed else entry


def _answer(entry: Entry, kept: Kept, message: Message, records: Records) -> Reply:
    """What is said of a request about an order comes in an order-update, too."""
    answer = answer_request if is_cancellation(kept.resource) else answer_modification
    return answer(entry, kept, message, records)


def _keep(entry: Entry, kept: Kept, message: Message, records: Records) -> Reply:
    """Keeps the order as the message leaves it, what comes with it, and what follows from it."""
    task, noticed = _change(entry, kept, message, records)
    companions.keep_specimens(kept, message, records)
    order = records.keep(entry, task)
    referring = companions.keep_referring(entry, message, records)
    followed = orders.follow(kept, order, message, records)
    warnings = [
        *noticed,
        *requests.warn_of_copies(message, records),
        *requests.warn_of_focuses(order, entry, records),
        *unresolved_references(message.entries, lambda ref, source: records.follow(ref, source) is not None),
    ]
    return Reply((order, *referring, *followed.focus), (*followed.issues, *warnings))


def _change(entry: Entry, kept: Kept, message: Message, records: Records) -> tuple[Resource, list[Issue]]:
    """The Task as the message leaves it, and what its sender is to know of that. Raises Refused with every fault."""
    machine, now = records.policy.order, instant(message.received_at)
    sent = parts.grounded(without_empty(records.localise(entry)), entry, records)
    old = parts.grounded(kept.resource, entry, records)
    task = replaced(old, sent, now, machine) if message.replaces else merged(old, sent, now, machine, message.version)
    task = reflagged(task, kept.resource, records.policy, message.received_at)
    if issues := bids.check_claim(kept, task, entry.path, records) or _check_role(entry, kept, task, records):
        raise Refused(*issues)
    issues = _check(entry, kept, old, task, message, records)
    task, passing = owners.with_owner(entry, kept, task, message, records)
    issues += [issue for issue in passing if issue.severity == "error"]
    if issues:
        raise Refused(*issues, *succession.name_successor(kept, records))
    task = with_contained(task, dicts(old.get("contained")), dicts(task.get("contained")))
    return kept.resource if task == old else task, passing


def _check_role(entry: Entry, kept: Kept, task: Resource, records: Records) -> list[Issue]:
    """What keeps the sender from changing the order at all; with that, nothing else is said of it."""
    machine, roles = records.policy.order, records.roles(kept)
    if roles:
        return owners.check_claimed(entry, kept, task, records)
    return [
        *check_move(machine.state_of(kept.resource), machine.state_of(task), entry.path, machine, roles),
        *check_fields(kept.resource, task, entry.path, machine, roles),
    ]


def _check(entry: Entry, kept: Kept, old: Resource, task: Resource, message: Message, records: Records) -> list[Issue]:
    """Everything that the message may not do to the order, which is `old` and would be left as `task`."""
    machine, roles = records.policy.order, records.roles(kept)
    path, is_same = entry.path, same_resource(entry, records)
    inside = {name: value for name, value in records.localise(entry).items() if name == "contained"}
    sent = set_apart(without_empty(entry.resource | inside), old)

    def same(one: Resource, other: Resource) -> bool:
        return is_same(one, other) or same_contained(old, one, sent, other)

    return [
        *_check_way(machine.state_of(old), machine.state_of(task), path, message, machine, roles),
        *check_fields(old, task, path, machine, roles),
        *check_immutable(old, sent, path, same, machine, roles),
        *check_focuses(old, sent, path, same, machine, roles),
        *check_new_identifiers(old, sent, path, roles),
        *(check_left_out(old, sent, path, machine, roles) if message.replaces else ()),
        *(_check_draft(entry, kept, records) if machine.state_of(old) in machine.unsettled else ()),
        *check_ended(old, task, path, machine),
        *check_growth(old, task, path),
        *check_times(task, path),
    ]


def _check_way(old: str, new: str, path: str, message: Message, machine: Machine, roles: Roles) -> list[Issue]:
    """What is wrong with the move; none, where the sender could make the moves in between that its network has not."""
    if message.skips and machine.way(old, new, roles):
        return []
    return check_move(old, new, path, machine, roles)


def _check_draft(entry: Entry, kept: Kept, records: Records) -> list[Issue]:
    """What else a message may not make of a draft: a part of what it is none of, an order in another's name."""
    issues, machine = parts.check_wholes(entry, kept, records), records.policy.order
    named = records.party(entry, "requester")
    if named and not named & records.party(kept, "requester"):
        towards = records.roles(entry) | (records.roles(kept) - {Role.PLACER, Role.CREATOR})
        issues += check_maker(entry.path, machine, towards)
    return issues


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
