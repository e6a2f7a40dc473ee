"""Who asks and who is asked: the parties of a request about an order, or about a Request.

A placer asks the fulfiller about the order's Task; a fulfiller asks the placer about the Request. What the request does
not say of them is filled in from the order, so that it is found, told and answered by the same parties.
"""

from gateway import Entry, Issue, Kept, Records
from gateway.fhir.message import Resource
from gateway.fhir.policy.model import Role, Roles
from gateway.fhir.task.elements import dicts, name_of
from handlers.rules.requests import orders_about

_FULFILLS = {Role.FULFILLER, Role.CANDIDATE}


def asked_by_placer(task: Resource, order: Kept, records: Records) -> Resource:
    """A request of the order's placer to its fulfiller, with the parties that it leaves out."""
    return _with_parties(task, order, "requester", "owner", records)


def asked_by_fulfiller(task: Resource, order: Kept, records: Records) -> Resource:
    """A request of the order's fulfiller to its placer, with the parties that it leaves out."""
    return _with_parties(task, order, "owner", "requester", records)


def check_asked(entry: Entry, order: Kept, element: str, records: Records) -> list[Issue]:
    """What is wrong with whom a new request asks: only the other party of the order can be, its `element`."""
    asked, owner = records.party(order, element), records.party(entry, "owner")
    if not owner or not asked or owner & asked:
        return []
    text = (
        f"Task.owner of a request is the party that is asked, and that is the {element} of the order. Leave the "
        "element out, or name that party by its identifier."
    )
    return [Issue("forbidden", text, f"{entry.path}.owner")]


def roles_towards(request: Kept, target: Kept | None, records: Records) -> Roles:
    """What the sender is towards a request that is kept: its placer has asked, its fulfiller is asked.

    About an order its other party is asked, whoever that is now. About a Request who is named as asked, and who placed
    the order that the request comes of: a hospital answers for its doctor.
    """
    roles = records.roles(request) - {Role.CANDIDATE}
    if target is None:
        return roles
    if target.resource_type == "Task":
        is_asked = bool(_FULFILLS & records.roles(target))
        return roles - {Role.FULFILLER} | ({Role.FULFILLER} if is_asked else frozenset())
    return roles | ({Role.FULFILLER} if _has_placed(target, request, records) else frozenset())


def fulfilled_orders(request: Kept, records: Records) -> list[Kept]:
    """The Coordination Tasks of a Request that the sender fulfils, or may come to; those of its creator first."""
    orders = [order for order in orders_about(request, records) if _FULFILLS & records.roles(order)]
    return sorted(orders, key=lambda order: not records.parties.is_one_sender(order.sender, request.sender))


def _has_placed(target: Kept, request: Kept, records: Records) -> bool:
    """Whether the sender has created a Request, or placed an order about it with who asks for it to be cancelled."""
    if records.parties.has_sent(target.sender):
        return True
    asking = records.party(request, "requester")
    return any(
        Role.PLACER in records.roles(order) and bool(asking & records.party(order, "owner"))
        for order in orders_about(target, records)
    )


def _with_parties(task: Resource, order: Kept, asking: str, asked: str, records: Records) -> Resource:
    """Who names nobody is not passed on: a request to nobody has no answer, one without an owner has."""
    given = {
        "requester": _party(order.resource, asking),
        "owner": None if records.parties.names_nobody(order, asked) else _party(order.resource, asked),
    }
    return {name: value for name, value in given.items() if value and not task.get(name)} | {
        name: value for name, value in task.items() if value or name not in given
    }


def _party(order: Resource, element: str) -> Resource | None:
    """The Reference to a party of an order, as another resource can have it."""
    reference = order.get(element)
    if not isinstance(reference, dict):
        return None
    literal = reference.get("reference")
    if not isinstance(literal, str) or not literal.startswith("#"):
        return reference
    contained = next((item for item in dicts(order.get("contained")) if item.get("id") == literal[1:]), {})
    identifier = next((item for item in dicts(contained.get("identifier")) if name_of(item)[1]), None)
    return {"identifier": identifier} if identifier else None
