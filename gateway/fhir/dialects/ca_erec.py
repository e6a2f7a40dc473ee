"""CA:eReC and Ontario's eReferral: referrals by ServiceRequest, their progress by Task. docs/dialects/ca-erec.md

A referral has no Task before its performer sends one: its order is known by the identifiers of the ServiceRequest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import Issue, Refused
from gateway.fhir.dialects import composing, told
from gateway.fhir.dialects.composing import Identifier
from gateway.fhir.dialects.matching import focused, text
from gateway.fhir.dialects.model import Answer, Answering, Composed, Manner, Rule, Telling
from gateway.fhir.dialects.pieces import answered_request, order_named, outcome_in, with_resource
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.json import Resource
from gateway.fhir.message import URIS, Message, is_uri, logical
from gateway.fhir.references import Entries, Entry
from gateway.fhir.task.elements import TASK_CODES, dicts, status_of
from gateway.fhir.task.outcomes import Outcome

_EVENTS = "https://ehealthontario.ca/fhir/CodeSystem/message-event-code"
_REFERRAL_IDENTIFIER = "ext-referral-identifier"
_BARE_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SAID = ("status", "businessStatus", "statusReason", "output", "note", "executionPeriod", "lastModified", "contained")
"""What a performer's Task says of the order; what it is about and for whom stands in the order's own."""
_TASK_SYSTEM = "http://ehealthontario.ca/fhir/CodeSystem/task-code"
_PROCESS = {"coding": [{"system": _TASK_SYSTEM, "code": "process-request"}]}


def _referral(message: Message, manner: Manner, rule: Rule) -> Message:
    """The order of a referral that is made, with the ServiceRequest in focus."""
    tidy = _tidied(message)
    entry = _only(tidy, "ServiceRequest")
    requester = composing.sender_of(tidy, manner) or logical(tidy, entry.resource.get("requester"))
    performer = next(iter(dicts(entry.resource.get("performer"))), None)
    owner = composing.receiver_of(tidy, manner) or logical(tidy, performer)
    task = composing.order(tidy, _named(tidy, entry), [entry], requester=requester, owner=owner)
    if text(entry.resource.get("status")) == "draft":
        task["status"] = "draft"
    return composing.translated(tidy, manner, rule.means, [task])


def _revocation(message: Message, manner: Manner, rule: Rule) -> Message:
    """The requester revokes its referral: it asks for the order to be cancelled."""
    tidy = _tidied(message)
    entry = _only(tidy, "ServiceRequest")
    names, reason = _named(tidy, entry), tidy.header.get("reason")
    task = composing.cancellation(tidy, names[0], requester=composing.sender_of(tidy, manner), reason=reason)
    based = task | {"basedOn": [{"reference": entry.full_url}]}
    return composing.translated(tidy, manner, rule.means, [based], names=names)


def _request_changed(message: Message, manner: Manner, rule: Rule) -> Message:
    """The referral as it is now, of the order that goes on as it is."""
    tidy = _tidied(message)
    entry = _only(tidy, "ServiceRequest")
    task = order_named(_named(tidy, entry), focus={"reference": entry.full_url})
    return composing.translated(tidy, manner, rule.means, [task])


def _correction(message: Message, manner: Manner, rule: Rule) -> Message:
    """The performer asks for the referral to be changed, to what it sends."""
    tidy = _tidied(message)
    entry = _only(tidy, "ServiceRequest")
    names = _named(tidy, entry)
    task = {
        "resourceType": "Task",
        "identifier": [{"system": URIS, "value": composing.made_up(tidy, "correction")}],
        "status": "requested",
        "intent": "proposal",
        "code": {"coding": [{"system": TASK_CODES, "code": "change"}]},
        "focus": {"type": "Task", "identifier": names[0]},
        "input": [{"type": {"text": "Corrected referral"}, "valueReference": {"reference": entry.full_url}}],
    }
    return composing.translated(tidy, manner, rule.means, [task], names=names)


def _process(message: Message, manner: Manner, rule: Rule) -> Message:
    """How the performer says that the order goes on."""
    tidy = _tidied(message)
    entry = _only(tidy, "Task")
    _refuse_forwarding(tidy)
    said = {name: entry.resource.get(name) for name in _SAID}
    task = order_named(_ordered(tidy, entry), **said)
    return replace(composing.translated(tidy, manner, rule.means, [task], without=[entry]), skips=True)


def _refuse_forwarding(message: Message) -> None:
    """Raises Refused when a second ServiceRequest replaces the first: it would be the performer's order to another."""
    requests = [entry for entry in message.entries if entry.resource.get("resourceType") == "ServiceRequest"]
    for entry in requests:
        replaced = dicts(entry.resource.get("replaces"))
        meant = [name for one in replaced for name in _identifiers({"identifier": [one.get("identifier")]})]
        others = [one for one in requests if one is not entry]
        is_one_of = any(name in _identifiers(one.resource) for one in others for name in meant)
        if is_one_of or any(_resolve(message, one, entry) in others for one in replaced):
            said = (
                "A referral is not forwarded here. Send the Task as rejected, with a statusReason that says to whom "
                "the referral should go; its requester refers anew."
            )
            raise Refused(Issue("not-supported", said, f"{entry.path}.replaces"))


def _process_cancelled(message: Message, manner: Manner, rule: Rule) -> Message:
    """The performer has cancelled the order, as it was asked to."""
    tidy = _tidied(message)
    entry = _only(tidy, "Task")
    names = _ordered(tidy, entry)
    task = answered_request(names[0], "accepted", entry.resource.get("statusReason"))
    return composing.translated(tidy, manner, rule.means, [task], without=[entry], names=names)


def _appointment(message: Message, manner: Manner, rule: Rule) -> Message:
    """An appointment for the referral: an output of the order."""
    tidy = _tidied(message)
    entry = _only(tidy, "Appointment")
    made = {"type": {"text": "Appointment"}, "valueReference": {"reference": entry.full_url}}
    task = order_named(_ordered(tidy, entry), output=[made])
    return composing.translated(tidy, manner, rule.means, [task])


def _communication(message: Message, manner: Manner, rule: Rule) -> Message:
    """What one party writes to the other about the referral: it is part of the order."""
    tidy = _tidied(message)
    entry = _only(tidy, "Communication")
    part_of = [*dicts(entry.resource.get("partOf")), {"reference": composing.made_up(tidy, "task", "0")}]
    ours = with_resource(tidy, entry, entry.resource | {"partOf": part_of})
    return composing.translated(ours, manner, rule.means, [order_named(_ordered(tidy, entry))])


def _tidied(message: Message) -> Message:
    """The message with a fullUrl for each entry, and with the profiles' versions after a bar."""
    items: list[Any] = []
    for number, item in enumerate(message.bundle["entry"]):
        resource = item.get("resource") if isinstance(item, dict) else None
        if not isinstance(resource, dict):
            items.append(item)
            continue
        items.append(item | {"fullUrl": _full_url(message, number, item), "resource": _without_escapes(resource)})
    bundle = message.bundle | {"entry": items}
    entries = Entries(bundle)
    return replace(message, bundle=bundle, entries=entries, header=next(iter(entries)).resource)


def _full_url(message: Message, number: int, item: Resource) -> str:
    said, resource = text(item.get("fullUrl")), item["resource"]
    if said:
        return f"urn:uuid:{said}" if _BARE_UUID.fullmatch(said) else said
    kind, own = resource.get("resourceType"), text(resource.get("id"))
    return f"{kind}/{own}" if own else composing.made_up(message, "entry", str(number))


def _without_escapes(resource: Resource) -> Resource:
    meta = resource.get("meta")
    profiles = meta.get("profile") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(profiles, list):
        return resource
    plain = [one.replace("%7C", "|").replace("%7c", "|") if isinstance(one, str) else one for one in profiles]
    return resource | {"meta": meta | {"profile": plain}}


def _only(message: Message, kind: str) -> Entry:
    """What the message is about: the first of this type in focus; others there are what it brings along."""
    found = [entry for entry in focused(message) if entry.resource.get("resourceType") == kind]
    if not found:
        said = f"The message has no {kind} in focus."
        raise Refused(Issue("required", said, "Bundle.entry[0].resource.focus"))
    return found[0]


def _named(message: Message, entry: Entry) -> list[Identifier]:
    """What the order of a referral is known by: what the ServiceRequest is, and the referral in the header."""
    own = _identifiers(entry.resource)
    extensions = dicts(message.header.get("extension"))
    said = [one.get("valueIdentifier") for one in extensions if text(one.get("url")).endswith(_REFERRAL_IDENTIFIER)]
    found = [*own, *(one for one in _identifiers({"identifier": said}) if one not in own)]
    if not found:
        missing = "The ServiceRequest has no identifier, by which later messages could mean the same. Give it one."
        raise Refused(Issue("required", missing, f"{entry.path}.identifier"))
    return found


def _ordered(message: Message, entry: Entry) -> list[Identifier]:
    """What the order is known by that something is about: a performer's Task, an appointment, a communication."""
    resource = entry.resource
    references = [
        reference
        for name in ("focus", "basedOn", "about", "reasonReference")
        for reference in dicts(resource[name] if isinstance(resource.get(name), list) else [resource.get(name)])
    ]
    requests = [_resolve(message, one, entry) for one in references]
    found = [each for each in requests if each is not None and each.resource.get("resourceType") == "ServiceRequest"]
    by_name = _identifiers({"identifier": [one.get("identifier") for one in references]})
    others = composing.requests_in(message, "ServiceRequest")
    request = next(iter(found or ([] if by_name else others)), None)
    names = _named(message, request) if request is not None else by_name
    systems = {name.get("system") for name in names}
    own = _identifiers(resource) if entry.resource.get("resourceType") == "Task" else []
    names = [*names, *(one for one in own if one.get("system") not in systems)]
    if not names:
        said = (
            f"The {resource.get('resourceType')} does not say which referral it is about: refer to the ServiceRequest, "
            "and put that into the Bundle, or name it by its identifier."
        )
        raise Refused(Issue("required", said, entry.path))
    return names


def _identifiers(resource: Resource) -> list[Identifier]:
    each = [composing.identifier_of({"identifier": [one]}) for one in dicts(resource.get("identifier"))]
    return [one for one in each if one is not None and is_uri(one.get("system", "urn:none"))]


def _resolve(message: Message, reference: Resource, source: Entry) -> Entry | None:
    literal = reference.get("reference")
    return message.entries.resolve(literal, source) if isinstance(literal, str) else None


def _answer(message: Message, composed: Composed, plainly: Answering) -> Answer:
    """HTTP alone: 202 for a revocation that the performer has yet to answer, 200 for what is done."""
    given = plainly(message, composed)
    is_open = outcome_in(composed.issues) in (Outcome.PENDING, Outcome.HELD)
    return Answer(202, None) if composed.code == "ok" and is_open else given


def _tell(bundle: Resource, _plainly: Telling) -> Resource | None:
    """The performer is told of the ServiceRequest, the requester of the Task."""
    change = told.take_apart(bundle)
    request = next(iter(change.requests("ServiceRequest")), None)
    if change.order is None or request is None:
        return None
    if change.asked == "abort":
        return _retold(change, "revoke-service-request", request, request.resource | {"status": "revoked"})
    if change.asked == "change" and (corrected := _corrected(change)):
        return _retold(change, "notify-data-correction", corrected, corrected.resource)
    if written := change.about_order("Communication", "partOf"):
        return _written(change, request, written)
    if not change.to_fulfiller:
        return _progress(change, change.order, request)
    if status_of(change.order.resource) == "cancelled":
        return _retold(change, "revoke-service-request", request, request.resource | {"status": "revoked"})
    is_new = change.event == "new-order"
    return _retold(
        change, "add-service-request" if is_new else "notify-update-service-request", request, request.resource
    )


def _progress(change: told.Told, order: Entry, request: Entry) -> Resource:
    """The order's Task as a performer sends its own: about the ServiceRequest, with what it was refused for."""
    task = {name: value for name, value in order.resource.items() if name != "text"}
    task |= {"code": _PROCESS, "focus": {"reference": told.url_of(request)}}
    asked = change.request.resource if change.request else {}
    if status_of(asked) == "rejected" and asked.get("statusReason"):
        task["statusReason"] = asked["statusReason"]
    return told.retold(change, _event("notify-update-process-request"), [(told.url_of(order), task)])


def _written(change: told.Told, request: Entry, written: Sequence[Entry]) -> Resource:
    code = "send-communication-from-requester" if change.to_fulfiller else "send-communication-from-provider"
    based_on = [{"reference": told.url_of(request)}]
    plain = [
        {name: value for name, value in one.resource.items() if name != "partOf"} | {"basedOn": based_on}
        for one in written
    ]
    focus = [(told.url_of(one), resource) for one, resource in zip(written, plain, strict=True)]
    return told.retold(change, _event(code), focus)


def _corrected(change: told.Told) -> Entry | None:
    asked = change.request
    given = dicts(asked.resource.get("input")) if asked else []
    found = [change.resolve(one.get("valueReference"), asked) for one in given] if asked else []
    return next((entry for entry in found if entry and entry.resource.get("resourceType") == "ServiceRequest"), None)


def _retold(change: told.Told, code: str, entry: Entry, resource: Resource) -> Resource:
    return told.retold(change, _event(code), [(told.url_of(entry), resource)])


def _event(code: str) -> Resource:
    return {"eventCoding": {"system": _EVENTS, "code": code}}


MODULE = Module(
    {
        "referral": _referral,
        "revocation": _revocation,
        "request-changed": _request_changed,
        "correction": _correction,
        "process": _process,
        "process-cancelled": _process_cancelled,
        "appointment": _appointment,
        "communication": _communication,
    },
    _answer,
    _tell,
)
