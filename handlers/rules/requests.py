"""The Requests that orders are about: what authorises the work.

Only who created a Request changes it (the guide: "A Request resource SHALL only ever be directly modified by the party
which instantiated that resource"); what another party would have changed comes as a Task that asks for it.
"""

from collections.abc import Callable
from typing import Any

from gateway import Entry, Issue, Kept, Message, Records, Refused
from gateway.fhir.message import Resource
from gateway.fhir.policy.model import Role
from gateway.fhir.task.elements import REQUESTS, focuses_of, identifiers_of, name_of, request_code, status_of
from gateway.fhir.task.modification import has_ended
from handlers.rules.references import same_resource

_PARTIES = frozenset({Role.PLACER, Role.FULFILLER})
_UNSAID = ("id", "meta", "text", "contained", "extension")


def warn_of_copies(message: Message, records: Records) -> list[Issue]:
    """A warning for each Request of another party that a message has otherwise than it is kept: it stays as it is."""
    issues = []
    for entry in message.entries:
        if entry.resource.get("resourceType") not in REQUESTS:
            continue
        kept = records.find(entry)
        if kept is None or records.parties.has_sent(kept.sender) or not _differs(kept.resource, entry, records):
            continue
        text = (
            f"The {kept.resource_type} {_named(kept)} is another party's, and only that changes it: it stays as it is "
            "kept. To have it changed, send a modification request: a Task with the code change or replace, the "
            "status requested and the order's Task in focus."
        )
        issues.append(Issue("business-rule", text, entry.path, "warning"))
    return issues


def warn_of_focuses(order: Kept, entry: Entry, records: Records) -> list[Issue]:
    """What is to be said of the Requests that an order is about, as they are now."""
    found = [request for reference in focuses_of(order.resource) if (request := find(reference, records))]
    ended = [issue for request in found for issue in warn_of_ended(request, [order], entry.path, records)]
    return [*_warn_of_groups(order, found, entry), *ended]


def warn_of_ended(request: Kept, orders: list[Kept], path: str, records: Records) -> list[Issue]:
    """A warning when a Request is over and orders about it are not: these are cancelled by their own Task."""
    machine = records.policy.order
    still_open = [order for order in orders if not machine.is_final(machine.state_of(order.resource))]
    if not has_ended(request.resource) or not still_open:
        return []
    names = " and ".join(_named(order) for order in still_open)
    text = (
        f"The {request.resource_type} is {status_of(request.resource)}, and the order {names} goes on. Its placer ends "
        "that, too, by its Task with the status cancelled, or by a cancellation request once work has begun."
    )
    return [Issue("business-rule", text, f"{path}.status", "warning")]


def find(reference: Resource, records: Records) -> Kept | None:
    """The Request that a Reference of a kept Task means."""
    kind, _, resource_id = str(reference.get("reference")).partition("/")
    if kind not in REQUESTS:
        return None
    try:
        return records.get(kind, resource_id)
    except KeyError:
        return None


def orders_about(request: Kept, records: Records) -> list[Kept]:
    """The Coordination Tasks that have a Request in focus."""
    found = records.find_by("Task", "focus", request.reference)
    return [task for task in found if request_code(task.resource) is None]


def find_by_group(entry: Entry, records: Records) -> Kept | None:
    """The sender's order whose group identifier a request has as the identifier in its focus; None when none has it.

    That is the one that has not ended, where others have. Raises Refused (multiple-matches) when it can be several.
    """
    focus = entry.resource.get("focus")
    identifier = focus.get("identifier") if isinstance(focus, dict) else None
    system, value = name_of(identifier) if isinstance(identifier, dict) else ("", "")
    if not system or not value:
        return None
    found = records.find_by("Task", "group-identifier", f"{system}|{value}")
    own = [task for task in found if request_code(task.resource) is None and records.roles(task) & _PARTIES]
    machine = records.policy.order
    still_open = [task for task in own if not machine.is_final(machine.state_of(task.resource))]
    meant = still_open or own
    if len(meant) < 2:
        return next(iter(meant), None)
    text = (
        f"{len(meant)} orders have the group identifier {system}|{value}: {' and '.join(map(_named, meant))}. Put the "
        "Task of one of them into the focus, and send a request for each."
    )
    raise Refused(Issue("multiple-matches", text, f"{entry.path}.focus.identifier"))


def focus_on(target: Kept, focus: Resource) -> Resource:
    """The focus of a request about what is kept; an identifier stays, also where it is that of a group."""
    said = {name: value for name, value in focus.items() if name != "type"}
    kind = {"type": focus["type"]} if focus.get("type") == target.resource_type else {}
    return said | kind | {"reference": target.reference}


def _warn_of_groups(order: Kept, about: list[Kept], entry: Entry) -> list[Issue]:
    """A warning when an order and the Requests that it is about do not have one group identifier in common."""
    groups = {group for kept in (order, *about) if (group := _group(kept.resource))}
    if len(groups) < 2:
        return []
    named = " and ".join(sorted("|".join(filter(None, group)) for group in groups))
    text = (
        f"The order and the Requests that it is about name different groups: {named}. Give those that belong together "
        "one groupIdentifier (requisition in a ServiceRequest)."
    )
    return [Issue("business-rule", text, f"{entry.path}.groupIdentifier", "warning")]


def _named(kept: Kept) -> str:
    return next(iter(identifiers_of(kept.resource)), kept.reference)


def _group(resource: Resource) -> tuple[str, str] | None:
    identifier = resource.get("groupIdentifier", resource.get("requisition"))
    name = name_of(identifier) if isinstance(identifier, dict) else ("", "")
    return name if name[1] else None


def _differs(kept: Resource, entry: Entry, records: Records) -> bool:
    """Whether a copy says other things than what is kept, beyond leaving some out."""
    same = same_resource(entry, records)
    said = {name: value for name, value in entry.resource.items() if name not in _UNSAID}
    return any(not _agree(kept.get(name), value, same) for name, value in said.items())


def _agree(kept: Any, copy: Any, same: Callable[[Resource, Resource], bool]) -> bool:
    if kept == copy:
        return True
    if isinstance(kept, list) and isinstance(copy, list):
        return len(kept) == len(copy) and all(_agree(*pair, same) for pair in zip(kept, copy, strict=True))
    if not isinstance(kept, dict) or not isinstance(copy, dict):
        return False
    if ("reference" in kept or "identifier" in kept) and same(kept, copy):
        return True
    return all(_agree(kept.get(name), value, same) for name, value in copy.items() if name != "display")
