"""What the translations of all dialects are made of: the message as the gateway's own, and the Tasks that it is about.

Everything here is the same each time it is made of the same message.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import Issue, Refused
from gateway.fhir.dialects.matching import focused, text
from gateway.fhir.dialects.model import Manner, Rule, Translate
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.json import Resource
from gateway.fhir.message import URIS, Event, Message, is_uri, logical, read_message, same_event
from gateway.fhir.references import Entries, Entry
from gateway.fhir.task.elements import FOCUS_EXTENSIONS, REQUESTS, TASK_CODES, dicts, name_of
from gateway.fhir.versions import to_r4

COW_EVENTS = "http://hl7.org/fhir/uv/cow/CodeSystem/temp"
OWN_EVENTS = f"{OWN_SYSTEMS}message-event"
EVENTS: Mapping[str, Event] = {
    "new-order": Event(COW_EVENTS, "new-order"),
    "order-update": Event(COW_EVENTS, "order-update"),
    "cancellation-request": Event(OWN_EVENTS, "cancellation-request"),
    "modification-request": Event(OWN_EVENTS, "modification-request"),
    "resource-update": Event(OWN_EVENTS, "resource-update"),
    "poll": Event(OWN_EVENTS, "poll"),
    "keep": Event(OWN_EVENTS, "notice"),
}
"""What a rule's `means` can be, but for `response`, and the event that it is here."""
_SPACE = uuid.UUID("6f7f4c0e-60a5-4b0c-9d3b-6f0c1b6f8a11")
_HEADER = "Bundle.entry[0].resource"
_MOST_LONG = 2048

Identifier = dict[str, Any]


# --- the message ------------------------------------------------------------------------------------------------------


def as_sent(message: Message) -> Message:
    """The message as it was before it was translated, in R4."""
    if message.sent is message.bundle:
        return message
    return read_message(to_r4(message.sent, message.version)[0], message.received_at, message.sender)


def translated(
    message: Message,
    manner: Manner,
    means: str,
    tasks: Sequence[Resource] = (),
    without: Sequence[Entry] = (),
    names: Sequence[Identifier] = (),
) -> Message:
    """The message as one of ours, about `tasks`, which come first among its entries; about what it is, without any.

    `means` is one of EVENTS. The entries `without` are left out; the others stay as they are. `names` is what the order
    is known by that the tasks are requests about: any of them will do.
    """
    if len(names) > 1:
        url = made_up(message, "order")
        tasks = [task | {"focus": task["focus"] | {"reference": url}} for task in tasks]
        named = [{"fullUrl": url, "resource": {"resourceType": "Task", "identifier": [plain(name) for name in names]}}]
    else:
        named = []
    left_out = {entry.path for entry in without}
    urls = [made_up(message, "task", str(number)) for number in range(len(tasks))]
    header = {name: value for name, value in message.header.items() if name not in ("eventUri", "response")}
    event = EVENTS[means]
    header["eventCoding"] = {"system": event.system, "code": event.code}
    if tasks:
        header["focus"] = [{"reference": url} for url in urls]
    else:
        header["focus"] = [{"reference": entry.full_url} for entry in focused(message) if entry.full_url]
    if sender := reference_to(manner.sender):
        header["sender"] = sender
    first, *others = dicts(message.bundle.get("entry"))
    kept = [item for number, item in _numbered(others) if f"Bundle.entry[{number}].resource" not in left_out]
    made = [{"fullUrl": url, "resource": task} for url, task in zip(urls, tasks, strict=True)]
    bundle = message.bundle | {"entry": [first | {"resource": header}, *made, *named, *kept]}
    return replace(message, bundle=bundle, header=header, entries=Entries(bundle), event=event)


def without_response(message: Message) -> Message:
    """A message that answers none of ours, though its network has a `response` in it."""
    if "response" not in message.header:
        return message
    header = {name: value for name, value in message.header.items() if name != "response"}
    first, *others = message.bundle["entry"]
    bundle = message.bundle | {"entry": [first | {"resource": header}, *others]}
    return replace(message, bundle=bundle, header=header, entries=Entries(bundle))


def _numbered(others: Sequence[Resource]) -> Sequence[tuple[int, Resource]]:
    return list(enumerate(others, 1))


def bundle_identifier(message: Message) -> str | None:
    """The value of `Bundle.identifier`."""
    identifier = message.bundle.get("identifier")
    return text(identifier.get("value")) or None if isinstance(identifier, dict) else None


def business_identifier(message: Message) -> tuple[str, str] | None:
    """The identifier, system and value, of the first that a message is about, as the gateway understands it."""
    about = focused(message)
    name = name_of(identifier_of(about[0].resource) or {}) if about else ("", "")
    return name if name[1] else None


def event_element(said: str | None, header: Resource) -> Resource:
    """`event[x]` of a message to a partner: `system|code`, or a uri, if it is said, else that of a header."""
    if not said:
        return same_event(header)
    system, separator, code = said.rpartition("|")
    if not separator and ":" in said:
        return {"eventUri": said}
    return {"eventCoding": {"system": system, "code": code} if system else {"code": code}}


def our_event(header: Resource) -> str | None:
    """What a message of ours means: one of EVENTS; None for any other."""
    coding = header.get("eventCoding")
    said = (coding.get("system"), coding.get("code")) if isinstance(coding, dict) else ("", "")
    return next((name for name, event in EVENTS.items() if (event.system, event.code) == said), None)


def inserted(header: Resource, event: Resource) -> Resource:
    """A header with its event in the place where FHIR has it."""
    leading = {name: header[name] for name in ("resourceType", "id", "meta", "extension") if name in header}
    return leading | event | {name: value for name, value in header.items() if name not in leading}


def made_up(message: Message, *parts: str) -> str:
    """A `urn:uuid:` that is the same for the same message and parts, and no other's."""
    said = (message.sender, message.event.code, message.bundle_id or "", message.header_id or "")
    named = (*said, bundle_identifier(message) or "", *parts)
    return f"urn:uuid:{uuid.uuid5(_SPACE, _joined(named))}"


def _joined(parts: Sequence[str]) -> str:
    return "\n".join(part.encode(errors="backslashreplace").decode().replace("\n", "\\n") for part in parts)


# --- the parties ------------------------------------------------------------------------------------------------------


def reference_to(name: str | None, kind: str | None = None) -> Resource | None:
    """The Reference by a business identifier, `system|value`; None for want of one."""
    system, _, value = (name or "").rpartition("|")
    if not value:
        return None
    identifier = {"system": system, "value": value} if system else {"value": value}
    return ({"type": kind} if kind else {}) | {"identifier": identifier}


def sender_of(message: Message, manner: Manner) -> Resource | None:
    """Who sent the message, as a Task can have it as its requester."""
    return reference_to(manner.sender) or logical(message, message.header.get("sender"))


def receiver_of(message: Message, manner: Manner) -> Resource | None:
    """Who carries out what the message orders: its only receiver, for want of one whom the registry has for it."""
    destinations = dicts(message.header.get("destination"))
    named = [party for each in destinations if (party := logical(message, each.get("receiver")))]
    return named[0] if len(named) == 1 else reference_to(manner.owner)


# --- Tasks ------------------------------------------------------------------------------------------------------------


def order(
    message: Message,
    identifiers: Sequence[Identifier],
    requests: Sequence[Entry],
    *,
    requester: Resource | None,
    owner: Resource | None,
    group: Identifier | None = None,
) -> Resource:
    """The Task of an order about Requests of the message, the first of which says for whom and when."""
    first = requests[0].resource
    extensions = [
        {"url": FOCUS_EXTENSIONS[0], "valueReference": {"reference": entry.full_url}} for entry in requests[1:]
    ]
    said = {
        "extension": extensions,
        "groupIdentifier": group,
        "priority": first.get("priority"),
        "for": first.get("subject"),
        "authoredOn": authored_on(message, first),
        "requester": requester,
        "owner": owner,
    }
    return {
        "resourceType": "Task",
        "identifier": list(identifiers),
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODES, "code": "fulfill"}]},
        "focus": {"reference": requests[0].full_url},
        **{name: value for name, value in said.items() if value},
    }


def cancellation(
    message: Message,
    order_name: Identifier,
    *,
    own: Identifier | None = None,
    requester: Resource | None = None,
    reason: Any = None,
) -> Resource:
    """The Task that asks for an order to be cancelled, which is known by its identifier."""
    said = {
        "statusReason": reason if isinstance(reason, dict) else None,
        "authoredOn": authored_on(message, {}),
        "requester": requester,
    }
    return {
        "resourceType": "Task",
        "identifier": [own or {"system": URIS, "value": made_up(message, "cancellation")}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODES, "code": "abort"}]},
        "focus": {"type": "Task", "identifier": plain(order_name)},
        **{name: value for name, value in said.items() if value},
    }


def update(order_name: Identifier, status: str, **elements: Any) -> Resource:
    """The Task of an order-update: the order known by its identifier, as it has become, with other elements of it."""
    said = {name: value for name, value in elements.items() if value}
    return {"resourceType": "Task", "identifier": [plain(order_name)], "status": status, "intent": "order", **said}


def authored_on(message: Message, resource: Resource) -> str | None:
    """When a resource was authored, for want of that when its message was written."""
    return text(resource.get("authoredOn")) or text(message.bundle.get("timestamp")) or None


def plain(identifier: Identifier) -> Identifier:
    """An Identifier as system and value alone."""
    return {name: identifier[name] for name in ("system", "value") if isinstance(identifier.get(name), str)}


def identifier_of(resource: Resource, system: str | None = None) -> Identifier | None:
    """The first Identifier of a resource that can be known by: of this system, if one is named."""
    found = resource.get("identifier")
    for identifier in dicts(found if isinstance(found, list) else [found]):
        said, value = name_of(identifier)
        is_usable = bool(value.strip()) and len(value) <= _MOST_LONG and (not said or is_uri(said))
        if is_usable and not said.startswith(OWN_SYSTEMS) and (system is None or said == system):
            return plain(identifier)
    return None


def requests_in(message: Message, *types: str) -> list[Entry]:
    """The Requests in focus (of these types), for want of any those that are in the message."""
    wanted = types or REQUESTS
    found = [entry for entry in focused(message) if entry.resource.get("resourceType") in wanted]
    return found or [entry for entry in message.entries if entry.resource.get("resourceType") in wanted]


# --- the translations that every pack can name ------------------------------------------------------------------------


def _as_it_is(message: Message, manner: Manner, rule: Rule) -> Message:
    """The event is ours, all else is as it is: a network that has Tasks already."""
    return translated(message, manner, rule.means)


def _order(message: Message, manner: Manner, rule: Rule) -> Message:
    """A Task about the Requests of the message, known by the identifier of the first."""
    requests = [entry for entry in requests_in(message) if entry.full_url]
    if not requests:
        text = (
            "The message orders nothing: put the Request that it is about into an entry with a fullUrl, and in focus."
        )
        raise Refused(Issue("required", text, f"{_HEADER}.focus"))
    name = _needed(identifier_of(requests[0].resource, rule.identifier), requests[0], rule)
    group = requests[0].resource.get("groupIdentifier", requests[0].resource.get("requisition"))
    task = order(
        message,
        [name],
        requests,
        requester=sender_of(message, manner),
        owner=receiver_of(message, manner),
        group=plain(group) if isinstance(group, dict) and name_of(group)[1] else None,
    )
    return translated(message, manner, rule.means, [task])


def _cancel(message: Message, manner: Manner, rule: Rule) -> Message:
    """A request to cancel the order that is known by the identifier of what is in focus, which says why."""
    entry = _subject(message)
    name = _needed(identifier_of(entry.resource, rule.identifier), entry, rule)
    reason = entry.resource.get("statusReason")
    task = cancellation(message, name, requester=sender_of(message, manner), reason=reason)
    return translated(message, manner, rule.means, [task], without=requests_in(message))


def _status(message: Message, manner: Manner, rule: Rule) -> Message:
    """An update of the order that is known by the identifier of what is in focus: it is what the rule says."""
    entry = _subject(message)
    name = _needed(identifier_of(entry.resource, rule.identifier), entry, rule)
    task = update(name, rule.becomes or text(entry.resource.get("status")))
    return translated(message, manner, rule.means, [task], without=[entry])


def _response(message: Message, _manner: Manner, _rule: Rule) -> Message:
    """What answers a message of ours, whether it says so in `response` or not."""
    if isinstance(message.header.get("response"), dict):
        return message
    header = message.header | {"response": {"identifier": message.quoted_id, "code": "ok"}}
    first, *others = message.bundle["entry"]
    bundle = message.bundle | {"entry": [first | {"resource": header}, *others]}
    return replace(message, bundle=bundle, header=header, entries=Entries(bundle))


def _subject(message: Message) -> Entry:
    found = [*requests_in(message), *focused(message)]
    if not found:
        raise Refused(Issue("required", "The message is about nothing: it has no focus.", f"{_HEADER}.focus"))
    return found[0]


def _needed(identifier: Identifier | None, entry: Entry, rule: Rule) -> Identifier:
    if identifier is None:
        kind = entry.resource.get("resourceType")
        of = f" of the system {rule.identifier}" if rule.identifier else ""
        said = f"The {kind} has no identifier{of}, by which later messages could mean the same. Give it one."
        raise Refused(Issue("required", said, f"{entry.path}.identifier"))
    return identifier


TRANSLATIONS: Mapping[str, Translate] = {
    "as-it-is": _as_it_is,
    "order": _order,
    "cancel": _cancel,
    "status": _status,
    "response": _response,
}
BY_MEANING: Mapping[str, str] = {
    "new-order": "order",
    "order-update": "status",
    "cancellation-request": "cancel",
    "response": "response",
}
"""The translation of a rule that names none; any other is taken as it is."""
