"""Who has the baton of an order (`Task.owner`), who may pass it on, and to whom.

An order without an owner is claimed by whoever makes the first of its fulfiller's moves. Its owner passes it on until
it has ended, its placer until work has begun. Those who had it are kept as its performers, in their order, and can do
nothing more to it. Its status stays when its owner passes it on: they have agreed on it, and the new one can hand it
back. When the placer gives an order that was received or accepted to another, it is requested again: that one has not
accepted it, and may reject it.
"""

from gateway import Entry, Issue, Kept, Message, Records
from gateway.fhir.emptiness import without_empty
from gateway.fhir.message import Resource
from gateway.fhir.policy.model import Role
from gateway.fhir.task.elements import status_of
from gateway.fhir.task.performers import actor_of, performer, performers_of, with_performers
from gateway.fhir.versions.merging import without
from handlers.rules.references import same_resource

_BEGUN = ("in-progress", "on-hold")
_ANSWERED = ("received", "accepted")
_REQUESTED = "requested"


def check_claimed(entry: Entry, kept: Kept, task: Resource, records: Records) -> list[Issue]:
    """What keeps a party that is not the placer from changing an order without an owner before it has claimed it."""
    if records.roles(kept) != {Role.CANDIDATE} or _is_moved(kept, task, records):
        return []
    text = (
        "The order has no owner yet, and you are not its placer. Claim it first: send it with the status received or "
        "accepted, by which you become its owner."
    )
    return [Issue("forbidden", text, f"{entry.path}.owner")]


def with_owner(
    entry: Entry, kept: Kept, task: Resource, message: Message, records: Records
) -> tuple[Resource, list[Issue]]:
    """An order that a message leaves as `task`, with its owner as the message may set it; and what is to be said of it.

    An issue that is an error refuses the message.
    """
    if Role.CANDIDATE in records.roles(kept) and _is_moved(kept, task, records):
        return _claimed(entry, task, records)
    before, sent, after = (one.get("owner") for one in (kept.resource, without_empty(entry.resource), task))
    is_left = sent is None and not message.replaces
    if is_left or before == after or (before and sent and same_resource(entry, records)(before, sent)):
        plain = {name: value for name, value in task.items() if name != "owner"}
        return plain | ({"owner": before} if before else {}), []
    if records.party(kept, "owner") & records.party(entry, "owner"):
        return task, []
    if issues := _check_passing(entry, kept, task, records):
        return task, issues
    task = _with_former_owner(kept, task, records)
    return _requested_again(entry, kept, task, records) if before else (task, [])


def _claimed(entry: Entry, task: Resource, records: Records) -> tuple[Resource, list[Issue]]:
    path = f"{entry.path}.owner"
    if sent := without_empty(entry.resource).get("owner"):
        if records.names_of(sent, entry) & records.sender:
            return task, []
        text = "Who claims an order becomes its owner, and the message names another as Task.owner. Leave it out."
        return task, [Issue("forbidden", text, path)]
    if records.parties.sender_reference is None:
        text = (
            "The order has no owner, and who claims it becomes its owner; but the message does not say who you are. "
            "Put your business identifier (system and value) into MessageHeader.sender, or into Task.owner."
        )
        return task, [Issue("required", text, path)]
    return task | {"owner": records.parties.sender_reference}, []


def _is_moved(kept: Kept, task: Resource, records: Records) -> bool:
    machine = records.policy.order
    return machine.state_of(kept.resource) != machine.state_of(task)


def _check_passing(entry: Entry, kept: Kept, task: Resource, records: Records) -> list[Issue]:
    """What keeps the sender from making another party the owner of an order."""
    roles, machine = records.roles(kept), records.policy.order
    path, status = f"{entry.path}.owner", status_of(kept.resource)
    if machine.is_final(machine.state_of(kept.resource)) or machine.is_final(machine.state_of(task)):
        text = f"The order is {status_of(task)}: it has ended, and its owner does not change any more."
        return [Issue("business-rule", text, path)]
    if "owner" not in task and (status in _BEGUN or Role.PLACER not in roles):
        text = (
            f"The order is {status}, and it would have no owner any more: anybody could claim it. Name whom you pass "
            "it to as Task.owner, or reject the order while work has not begun."
        )
        return [Issue("forbidden", text, path)]
    if Role.FULFILLER not in roles and status in _BEGUN:
        text = (
            f"The order is {status}: work has begun, and only its owner passes it on to another. To take it back, send "
            "a cancellation request, and a new-order to the other party."
        )
        return [Issue("forbidden", text, path)]
    if "owner" in task and not records.party(entry, "owner"):
        text = (
            "The new owner cannot be told from others. Name it by its business identifier (system and value), in "
            "Task.owner.identifier or in the resource that Task.owner refers to."
        )
        return [Issue("required", text, path)]
    return []


def _with_former_owner(kept: Kept, task: Resource, records: Records) -> Resource:
    """The order with the owner it had among its performers, once."""
    former, names = kept.resource.get("owner"), records.party(kept, "owner")
    is_known = any(records.names_of(actor_of(one)) & names for one in performers_of(task))
    if not former or is_known:
        return task
    return with_performers(task, [*performers_of(task), performer(former)])


def _requested_again(entry: Entry, kept: Kept, task: Resource, records: Records) -> tuple[Resource, list[Issue]]:
    """An order that the placer gives to another owner, which has not accepted it."""
    status = status_of(task)
    if (
        Role.FULFILLER in records.roles(kept)
        or status not in _ANSWERED
        or status != status_of(kept.resource)
        or _REQUESTED not in records.policy.order.states
    ):
        return task, []
    task = without(task, "statusReason") | {"status": _REQUESTED}
    if task.get("businessStatus") == kept.resource.get("businessStatus"):
        task = without(task, "businessStatus")
    text = f"The order was {status}, which its new owner has not said: it is requested again."
    return task, [Issue("informational", text, f"{entry.path}.status", "information")]
