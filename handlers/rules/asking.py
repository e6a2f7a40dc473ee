"""What makes a question about an order, or the answer to one, acceptable.

A request is a Task of its own: its requester asks, its owner is asked (`handlers/rules/request_parties.py`).
"""

from dataclasses import dataclass, replace
from typing import Any

from gateway import Entry, Issue, Kept, Message, Records
from gateway.fhir.message import Resource
from gateway.fhir.policy.model import Role, Roles
from gateway.fhir.task.checks import check_immutable, check_move, check_times
from gateway.fhir.task.elements import identifiers_of, status_of
from handlers.rules.references import same_resource
from handlers.rules.request_parties import check_asked

PARTIES = frozenset({Role.PLACER, Role.FULFILLER})
Coding = tuple[str, str]
"""(system, code), as `Issue.outcome` takes it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of request is called in a sentence, and the outcomes of the ways in which its Task can be wrong."""

    name: str
    no_such_request: Coding
    not_a_party: Coding


def check_question(entry: Entry, kind: Kind) -> list[Issue]:
    """What keeps a Task from being a new request."""
    task, status = entry.resource, status_of(entry.resource)
    issues = check_times(task, entry.path)
    if not identifiers_of(task):
        text = f"A {kind.name} needs an identifier of its own (system and value): its answer is found by it."
        issues.append(Issue("required", text, f"{entry.path}.identifier"))
    if status != "requested":
        text = (
            f"No {kind.name} is kept with the identifier {' or '.join(identifiers_of(task)) or '(none)'}, so its "
            f"status cannot become {status or '(none)'}. A new one has the status requested."
        )
        issues.append(Issue("not-found", text, f"{entry.path}.status", outcome=kind.no_such_request))
    if not isinstance(task.get("focus"), dict):
        text = f"A {kind.name} says in Task.focus what it is about: the order's Task, by reference or identifier."
        issues.append(Issue("required", text, f"{entry.path}.focus"))
    return issues


def check_parties(entry: Entry, order: Kept, kind: Kind, records: Records) -> list[Issue]:
    """What is wrong with who asks and who is asked: they are the two parties of the order, and either may ask."""
    roles = records.roles(order)
    if not roles & PARTIES:
        text = f"A {kind.name} comes from a party of the order: its placer or its owner. You are neither."
        return [Issue("forbidden", text, entry.path, outcome=kind.not_a_party)]
    issues = check_asked(entry, order, "owner" if Role.PLACER in roles else "requester", records)
    requester = records.party(entry, "requester")
    if requester and not requester & records.sender and not requester & records.party(order, _asking(order, records)):
        text = "Task.requester is another than you. Leave the element out, or name yourself there."
        issues.append(Issue("forbidden", text, f"{entry.path}.requester"))
    return [replace(issue, outcome=kind.not_a_party) for issue in issues]


def check_answer(entry: Entry, kept: Kept, task: Resource, order: Kept, kind: Kind, records: Records) -> list[Issue]:
    """What keeps a message from answering or withdrawing a request that is kept, which it would leave as `task`."""
    before, status = status_of(kept.resource), status_of(entry.resource)
    machine, roles = records.policy.request, roles_in(kept, order, records)
    if not roles:
        text = f"A {kind.name} is between the placer and the owner of an order, and you are neither."
        return [Issue("forbidden", text, entry.path, outcome=kind.not_a_party)]
    moves = [] if is_repeat(before, status) else check_move(before, status, entry.path, machine, roles, kind.name)
    return [
        *moves,
        *check_immutable(kept.resource, entry.resource, entry.path, same_resource(entry, records), machine),
        *check_times(task, entry.path),
    ]


def is_placers(request: Kept, order: Kept, records: Records) -> bool:
    """Whether a request was asked by the placer of an order, and not by who is its owner, or was when it asked."""
    asked_by, placer = records.party(request, "requester"), records.party(order, "requester")
    return bool(asked_by & placer) if asked_by and placer else request.sender == order.sender


def roles_in(request: Kept, order: Kept, records: Records) -> Roles:
    """What the sender is towards a request: its placer has asked; its fulfiller is the other party of the order now."""
    asked = Role.FULFILLER if is_placers(request, order, records) else Role.PLACER
    is_asked = asked in records.roles(order)
    return records.roles(request) & {Role.PLACER} | ({Role.FULFILLER} if is_asked else frozenset[Role]())


def is_repeat(before: str, status: str) -> bool:
    """Whether a message says no more than is known: the question again, or the same answer again."""
    return status in (before, "requested") or (before == "completed" and status == "accepted")


def only_takes_note(entry: Entry) -> bool:
    """Whether an answer says `received` and nothing of why: the reason that it was asked for stands."""
    return status_of(entry.resource) == "received" and "statusReason" not in entry.resource


def focus_in_words(entry: Entry, message: Message) -> str:
    """What the focus of a request names: identifiers if it has any, else its reference."""
    focus = entry.resource["focus"]
    literal = focus.get("reference")
    target = message.entries.resolve(literal, entry) if isinstance(literal, str) else None
    names = identifiers_of(target.resource) if target else []
    named = identifiers_of({"identifier": [focus.get("identifier")]})
    return " or ".join([*names, *named]) or _text(literal) or "(no reference and no identifier)"


def reason_of(task: Resource) -> Resource | None:
    """Why it is asked."""
    reason = task.get("statusReason") or task.get("reasonCode")
    return reason if isinstance(reason, dict) else None


def _asking(order: Kept, records: Records) -> str:
    """The element of the order that the sender is."""
    return "requester" if Role.PLACER in records.roles(order) else "owner"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
