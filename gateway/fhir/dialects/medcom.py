"""MedCom: what a message means stands in the activity of its Provenance, and what came before in that one's entity.

docs/dialects/medcom.md. A thread of care communications is an order about its first Communication; a stay in hospital
is one about its Encounter. What is written beside the first Communication is part of the order.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.errors import Issue, Refused
from gateway.fhir.dialects import composing
from gateway.fhir.dialects.composing import Identifier
from gateway.fhir.dialects.matching import focused, names, text
from gateway.fhir.dialects.medcom_acknowledging import answer
from gateway.fhir.dialects.medcom_telling import ACTIVITIES, tell
from gateway.fhir.dialects.model import Manner, Rule
from gateway.fhir.dialects.pieces import UUID, order_named, with_resource
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.json import Resource
from gateway.fhir.message import URIS, Message
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts

_REVISES = ("modified-message", "retract-message")
_MOST_HISTORY = 100
_COPIED = "carboncopy-message"
_NEW = ("new-message", "forward-message", _COPIED)
_FOLLOWING = ("reply-message", *_REVISES)


def _written(message: Message, manner: Manner, rule: Rule) -> Message:
    """A new thread. A copy for another receiver is one of its own."""
    entry = _only(message, "Communication")
    activity = _activity(message)
    if activity not in (None, *_NEW):
        said = f"The activity {activity} is none of a care communication: {', '.join((*_NEW, *_FOLLOWING))}."
        raise Refused(Issue("not-supported", said, "Bundle.entry.resource.ofType(Provenance).activity"))
    is_copy = activity == _COPIED
    own = _own_name(message.quoted_id)
    name = own if is_copy else _thread(entry) or own
    ours = with_resource(message, entry, _known_as(entry.resource, name))
    return _placed(ours, manner, rule, entry, name)


def _replied(message: Message, manner: Manner, rule: Rule) -> Message:
    """A reply in a thread, of whichever party: a Communication that is part of the order."""
    entry = _only(message, "Communication")
    return _beside(message, manner, rule, entry, message.quoted_id)


def _modified(message: Message, manner: Manner, rule: Rule) -> Message:
    """A Communication as it is now: the first one of its thread, or a reply."""
    entry = _only(message, "Communication")
    first, activity = _origin(message)
    if activity == "reply-message":
        return _beside(message, manner, rule, entry, first)
    name = _thread(entry) or _own_name(first)
    ours = with_resource(message, entry, _known_as(entry.resource, name))
    task = order_named([name], focus={"reference": entry.full_url}, businessStatus=_business_status(message))
    return composing.translated(ours, manner, rule.means, [task])


def _retracted(message: Message, manner: Manner, rule: Rule) -> Message:
    """A thread is retracted: its order is to be cancelled. A reply that is retracted was entered in error."""
    entry = _only(message, "Communication")
    first, activity = _origin(message)
    if activity == "reply-message":
        ours = with_resource(message, entry, entry.resource | {"status": "entered-in-error"})
        return _beside(ours, manner, replace(rule, means="order-update"), _only(ours, "Communication"), first)
    return _cancelled(message, manner, rule, entry, _thread(entry) or _own_name(first))


def _admitted(message: Message, manner: Manner, rule: Rule) -> Message:
    """A stay begins; one that follows another of the same episode (an emergency's) goes on with that one's order."""
    if any(text(entity.get("role")) == "revision" for entity in dicts(_provenance(message).get("entity"))):
        return _stay(message, manner, replace(rule, means="order-update"))
    entry = _only(message, "Encounter")
    name = _stay_name(entry)
    ours = with_resource(message, entry, _known_as(entry.resource, name))
    return _placed(ours, manner, rule, entry, name)


def _stay(message: Message, manner: Manner, rule: Rule) -> Message:
    """What has happened in a stay: its Encounter as it is now, and the activity as the order's business status."""
    entry = _only(message, "Encounter")
    name = _stay_name(entry)
    ours = with_resource(message, entry, _known_as(entry.resource, name))
    task = order_named([name], focus={"reference": entry.full_url}, businessStatus=_business_status(message))
    return composing.translated(ours, manner, rule.means, [task])


def _admission_cancelled(message: Message, manner: Manner, rule: Rule) -> Message:
    entry = _only(message, "Encounter")
    return _cancelled(message, manner, rule, entry, _stay_name(entry))


def _placed(message: Message, manner: Manner, rule: Rule, entry: Entry, name: Identifier) -> Message:
    resource = {key: value for key, value in entry.resource.items() if key not in ("priority", "authoredOn")}
    of = Entry(entry.path, entry.full_url, resource)
    requester, owner = composing.sender_of(message, manner), _receiver(message, manner)
    task = composing.order(message, [name], [of], requester=requester, owner=owner)
    if business_status := _business_status(message):
        task["businessStatus"] = business_status
    return composing.translated(message, manner, rule.means, [task])


def _cancelled(message: Message, manner: Manner, rule: Rule, entry: Entry, name: Identifier) -> Message:
    own = _own_name(message.quoted_id)
    reason = _business_status(message)
    task = composing.cancellation(message, name, own=own, requester=composing.sender_of(message, manner), reason=reason)
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _beside(message: Message, manner: Manner, rule: Rule, entry: Entry, first: str) -> Message:
    """An update of the thread's order with a Communication that is part of it, known by the message it came with."""
    thread = _thread(entry)
    if thread is None:
        said = "The Communication has no identifier: give it that of the thread which it belongs to."
        raise Refused(Issue("required", said, f"{entry.path}.identifier"))
    part_of = [*dicts(entry.resource.get("partOf")), {"reference": composing.made_up(message, "task", "0")}]
    resource = entry.resource | {"identifier": [_own_name(first)], "partOf": part_of}
    ours = with_resource(message, entry, resource)
    return composing.translated(ours, manner, rule.means, [order_named([thread])])


def _only(message: Message, kind: str) -> Entry:
    found = [entry for entry in focused(message) if entry.resource.get("resourceType") == kind and entry.full_url]
    if len(found) != 1:
        said = f"The message has {len(found)} resources of the type {kind} in focus, with a fullUrl; it has one there."
        raise Refused(Issue("structure", said, "Bundle.entry[0].resource.focus"))
    return found[0]


def _thread(entry: Entry) -> Identifier | None:
    """The identifier of the thread; a uuid has no system in MedCom's messages."""
    identifier = composing.identifier_of(entry.resource)
    if identifier is None or "system" in identifier:
        return identifier
    value = text(identifier.get("value"))
    return {"system": URIS, "value": value} if value.startswith("urn:") else identifier


def _stay_name(entry: Entry) -> Identifier:
    """The identifier of the episode of care (LPR3), for want of one that of the Encounter."""
    episodes = [one.get("identifier") for one in dicts(entry.resource.get("episodeOfCare"))]
    name = composing.identifier_of({"identifier": episodes}) or composing.identifier_of(entry.resource)
    if name is None:
        said = "The Encounter has no identifier, and no episode of care that has one. Give it the LPR3 identifier."
        raise Refused(Issue("required", said, f"{entry.path}.episodeOfCare"))
    return name


def _known_as(resource: Resource, name: Identifier) -> Resource:
    """A resource that is known by a name from message to message, whatever its id is in each."""
    return resource | {"identifier": [name]}


def _own_name(header_id: str) -> Identifier:
    """What a message is known by; its MessageHeader.id is a UUID in MedCom."""
    is_uuid = UUID.fullmatch(header_id) is not None
    return {"system": URIS, "value": f"urn:uuid:{header_id}"} if is_uuid else {"value": header_id}


def _provenance(message: Message) -> Resource:
    """The Provenance of this message itself, and not of one before it; {} for want of one."""
    header = next(iter(message.entries))
    found = [entry for entry in message.entries if entry.resource.get("resourceType") == "Provenance"]
    own = [entry for entry in found if header in [_target(message, one, entry) for one in _targets(entry)]]
    return next((entry.resource for entry in own or found[-1:]), {})


def _activity(message: Message) -> str | None:
    codes = [name for name in names(_provenance(message).get("activity")) if "|" not in name]
    return next(iter(codes), None)


def _business_status(message: Message) -> Resource | None:
    activity = _activity(message)
    return {"coding": [{"system": ACTIVITIES, "code": activity}]} if activity else None


def _origin(message: Message) -> tuple[str, str | None]:
    """The id of the message that this one changes at last, and what that one was, where the history says it."""
    history = {
        _last(one): (entry.resource, names(entry.resource.get("activity")))
        for entry in message.entries
        if entry.resource.get("resourceType") == "Provenance"
        for one in _targets(entry)
    }
    provenance, current = _provenance(message), message.quoted_id
    for _ in range(_MOST_HISTORY):
        before = [one for entity in dicts(provenance.get("entity")) if (one := _what(entity))]
        if not before:
            break
        current = before[0]
        provenance, said = history.get(current, ({}, []))
        if not any(name in _REVISES for name in said):
            return current, next((name for name in said if "|" not in name), None)
    return current, None


def _what(entity: Resource) -> str | None:
    what = entity.get("what")
    return _last(text(what.get("reference"))) if isinstance(what, dict) and text(what.get("reference")) else None


def _targets(entry: Entry) -> list[str]:
    return [text(one.get("reference")) for one in dicts(entry.resource.get("target"))]


def _target(message: Message, reference: str, entry: Entry) -> Entry | None:
    return message.entries.resolve(reference, entry)


def _last(reference: str) -> str:
    """The id in a reference to a MessageHeader."""
    return reference.removeprefix("urn:uuid:").rstrip("/").rpartition("/")[2]


def _receiver(message: Message, manner: Manner) -> Resource | None:
    """The primary receiver, and nobody who gets a copy."""
    destinations = dicts(message.header.get("destination"))
    primary = [one for one in destinations if _use(one) == "primary"]
    header = message.header | {"destination": primary[:1] or destinations[:1]}
    return composing.receiver_of(replace(message, header=header), manner)


def _use(destination: Resource) -> str:
    """`primary` or `cc`, by the extension."""
    codings = [one.get("valueCoding") for one in dicts(destination.get("extension"))]
    return next((text(one.get("code")) for one in dicts(codings)), "")


MODULE = Module(
    {
        "written": _written,
        "replied": _replied,
        "modified": _modified,
        "retracted": _retracted,
        "admitted": _admitted,
        "stay": _stay,
        "admission-cancelled": _admission_cancelled,
    },
    answer,
    tell,
)
