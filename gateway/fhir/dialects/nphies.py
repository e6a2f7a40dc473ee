"""nphies: claims and authorizations as orders, Tasks that cancel them or ask for their status. docs/dialects/nphies.md

The order of a Claim is known by the Claim's identifier, by which all later messages name it. Answers are messages of
the business, with HTTP 200 also where they refuse; what is no message of nphies is answered by an OperationOutcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.errors import Issue, Refused
from gateway.fhir.dialects import composing
from gateway.fhir.dialects.composing import Identifier
from gateway.fhir.dialects.matching import focused, names, text
from gateway.fhir.dialects.model import Manner, Rule
from gateway.fhir.dialects.nphies_answers import answer
from gateway.fhir.dialects.nphies_telling import tell
from gateway.fhir.dialects.nphies_terms import MESSAGE_IDS, OUTPUT_TYPES, TASK_CODES, output_of
from gateway.fhir.dialects.pieces import answered_request, message_name, order_named, with_resource
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts

_STATUSES: Mapping[str, str] = {
    "queued": "received",
    "partial": "in-progress",
    "complete": "completed",
    "error": "rejected",
}
"""The order's status by `outcome` of a payer's response."""

_POLLED: Mapping[str, str] = {
    "include-message-type": "include",
    "exclude-message-type": "exclude",
    "count": "count",
}
"""The inputs of a poll, and what they are here."""


def _claim(message: Message, manner: Manner, rule: Rule) -> Message:
    """The order of a Claim: for its patient, by the provider, to the payer."""
    entry = _only(message)
    name = composing.identifier_of(entry.resource)
    if name is None:
        said = "It has no identifier, by which it could be answered or cancelled. Give it one, with system and value."
        raise Refused(Issue("required", said, f"{entry.path}.identifier"))
    resource = {key: value for key, value in entry.resource.items() if key != "priority"}
    of = Entry(entry.path, entry.full_url, resource | {"subject": entry.resource.get("patient")})
    requester, owner = composing.sender_of(message, manner), composing.receiver_of(message, manner)
    identifiers = [name, *message_name(message, MESSAGE_IDS)]
    task = composing.order(message, identifiers, [of], requester=requester, owner=owner)
    return composing.translated(message, manner, rule.means, [task])


def _adjudication(message: Message, manner: Manner, rule: Rule) -> Message:
    """What a payer answers to a Claim: the output of its order, and the status that it brings."""
    entry = _only(message)
    name = _named(message, entry, entry.resource.get("request"))
    made = {"type": _output_type("response"), "valueReference": {"reference": entry.full_url}}
    status = _STATUSES.get(text(entry.resource.get("outcome")))
    if status is None:
        said = f"outcome is none of {', '.join(_STATUSES)}."
        raise Refused(Issue("value", said, f"{entry.path}.outcome"))
    disposition = text(entry.resource.get("disposition"))
    reason = {"text": disposition} if disposition and status == "rejected" else None
    task = order_named([name], status=status, statusReason=reason, output=[made])
    return replace(composing.translated(message, manner, rule.means, [task]), skips=True)


def _cancel_request(message: Message, manner: Manner, rule: Rule) -> Message:
    """The provider cancels a Claim, or has it nullified: kept, and never shown again."""
    entry = _only(message)
    name = _named(message, entry, entry.resource.get("focus"))
    task = composing.cancellation(
        message,
        name,
        own=next(iter(message_name(message, MESSAGE_IDS)), None),
        requester=composing.sender_of(message, manner),
        reason=entry.resource.get("reasonCode"),
    )
    code = "nullify" if "nullify" in names(entry.resource.get("code")) else "cancel"
    task["code"] = {"coding": [*task["code"]["coding"], {"system": TASK_CODES, "code": code}]}
    if given := dicts(entry.resource.get("input")):
        task["input"] = given
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _cancel_response(message: Message, manner: Manner, rule: Rule) -> Message:
    """The payer has cancelled a Claim (`completed`), or says why not."""
    entry = _only(message)
    name = _named(message, entry, entry.resource.get("focus"))
    is_done = text(entry.resource.get("status")) == "completed"
    reason = None if is_done else entry.resource.get("statusReason") or output_of(entry.resource, "error")
    task = answered_request(name, "accepted" if is_done else "rejected", reason)
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _status_check(message: Message, manner: Manner, rule: Rule) -> Message:
    """A question for the status of a Claim: an update of its order that changes nothing, and so is answered by it."""
    entry = _only(message)
    task = order_named([_named(message, entry, entry.resource.get("focus"))])
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _poll(message: Message, manner: Manner, rule: Rule) -> Message:
    """Fetches what waits for the sender, so much and of such events as the Task's input says."""
    entry = _only(message)
    inputs = []
    for number, one in enumerate(dicts(entry.resource.get("input"))):
        said = next((name for name in names(one.get("type")) if name in _POLLED), None)
        if said is None:
            wanted = f"The gateway polls by {', '.join(_POLLED)}; leave any other input out."
            raise Refused(Issue("not-supported", wanted, f"{entry.path}.input[{number}]"))
        inputs += [{"type": {"text": _POLLED[said]}, **value} for value in _polled(one)]
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "input": inputs}
    return composing.translated(message, manner, rule.means, [task], without=[entry])


def _polled(given: Resource) -> list[Resource]:
    """The value of an input: a number, or the code of an event, however it is written."""
    numbers = [given[name] for name in ("valuePositiveInt", "valueInteger", "valueUnsignedInt") if name in given]
    if numbers:
        return [{"valuePositiveInt": numbers[0]}]
    codings = [given.get("valueCoding"), *dicts(_codings(given.get("valueCodeableConcept")))]
    codes = [given.get("valueCode"), given.get("valueString"), *(one.get("code") for one in dicts(codings))]
    return [{"valueCode": code} for code in codes if isinstance(code, str)]


def _codings(concept: Any) -> Any:
    return concept.get("coding") if isinstance(concept, dict) else None


def _written(message: Message, manner: Manner, rule: Rule) -> Message:
    """What one party writes to the other, or asks it to write, about a Claim."""
    entry = _only(message)
    about = [reference for name in ("about", "basedOn") for reference in dicts(entry.resource.get(name))]
    name = _named(message, entry, *about)
    about_order = [*dicts(entry.resource.get("about")), {"reference": composing.made_up(message, "task", "0")}]
    ours = with_resource(message, entry, entry.resource | {"about": about_order})
    return composing.translated(ours, manner, rule.means, [order_named([name])])


def _only(message: Message) -> Entry:
    entries = focused(message)
    if len(entries) != 1 or entries[0].full_url is None:
        said = f"A message of nphies has one resource in focus, with a fullUrl; this one has {len(entries)}."
        raise Refused(Issue("structure", said, "Bundle.entry[0].resource.focus"))
    return entries[0]


def _named(message: Message, entry: Entry, *references: Any) -> Identifier:
    """The identifier of the Claim that references mean: the one they have, or that of the entry they lead to."""
    for reference in dicts(list(references)):
        if (own := reference.get("identifier")) and (name := composing.identifier_of({"identifier": own})):
            return name
        literal = reference.get("reference")
        target = message.entries.resolve(literal, entry) if isinstance(literal, str) else None
        if target is not None and (name := composing.identifier_of(target.resource)):
            return name
    said = "It does not name the Claim that it is about. Give its identifier, with system and value."
    raise Refused(Issue("required", said, entry.path))


def _output_type(code: str) -> Resource:
    return {"coding": [{"system": OUTPUT_TYPES, "code": code}]}


MODULE = Module(
    {
        "claim": _claim,
        "adjudication": _adjudication,
        "cancel-request": _cancel_request,
        "cancel-response": _cancel_response,
        "status-check": _status_check,
        "poll": _poll,
        "written": _written,
    },
    answer,
    tell,
)
