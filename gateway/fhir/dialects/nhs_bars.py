"""NHS Booking and Referral Standard: intent by event, reason and status, and no Tasks. docs/dialects/nhs-bars.md

https://digital.nhs.uk/developer/api-catalogue/booking-and-referral-fhir. A referral (ServiceRequest) or a booking
(Appointment) is an order, known by its identifier, its id and the uuid of its fullUrl: senders leave out one or two of
them. Who carries it out is named by a header of HTTP.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from gateway.errors import Issue, Refused
from gateway.fhir import json
from gateway.fhir.dialects import composing
from gateway.fhir.dialects.matching import focused, names, text
from gateway.fhir.dialects.model import Manner, Rule
from gateway.fhir.dialects.nhs_bars_answers import MESSAGES, REQUESTS, answer, tell
from gateway.fhir.dialects.pieces import order_named, own_name, with_resource
from gateway.fhir.dialects.speaking import Module
from gateway.fhir.json import Resource
from gateway.fhir.message import URIS, Message, is_uri
from gateway.fhir.references import Entry
from gateway.fhir.task.elements import dicts, status_of

TARGET = "nhsd-target-identifier"
_OTHERS = "urn:x-nhs-bars:"
_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)
_TOKEN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:\S+)[|:]([^\s|:/]+)")
"""An identifier in the place of an address: `http://fhir.nhs.uk/Id/dos-service-id|111111111`, or with a colon."""
_HEADER = "Bundle.entry[0].resource"
_PAIRED: Mapping[str, str] = {"servicerequest-request": "ServiceRequest", "booking-request": "Appointment"}
_RESULTS: Mapping[str, str] = {
    "completed": "completed",
    "revoked": "rejected",
    "entered-in-error": "rejected",
    "on-hold": "on-hold",
    "fulfilled": "completed",
    "noshow": "failed",
    "cancelled": "rejected",
    "booked": "accepted",
    "arrived": "in-progress",
    "checked-in": "in-progress",
    "waitlist": "received",
}
"""What an order is, by the status in which its receiver sends the referral or the booking back."""
_ENCOUNTERS: Mapping[str, str] = {"finished": "completed", "cancelled": "failed", "planned": "accepted"}
"""The same by the Encounter in focus, for a referral that is active; any other means that work goes on."""


def _request(message: Message, manner: Manner, rule: Rule) -> Message:
    """An order about a referral or a booking, with the Bundle.id by which its sender knows the request."""
    entry = _subject(message, manner)
    known, kept = _kept(message, entry, manner)
    if entry.full_url is None:
        said = f"The {entry.resource['resourceType']} has no fullUrl, by which the message could refer to it."
        raise Refused(Issue("required", said, entry.path))
    task = composing.order(
        known,
        _names_of(entry, manner),
        [kept],
        requester=composing.sender_of(message, manner),
        owner=_receiver(message, manner),
    )
    if subject := _patient_of(entry.resource):
        task["for"] = subject
    if message.bundle_id:
        task["input"] = [
            {"type": {"coding": [{"system": MESSAGES, "code": "request"}]}, "valueString": message.bundle_id}
        ]
    return composing.translated(known, manner, rule.means, [task])


def _withdrawal(message: Message, manner: Manner, rule: Rule) -> Message:
    """A request to cancel a referral or a booking, known to its sender by the Bundle.id."""
    entry = _subject(message, manner)
    reason = entry.resource.get("cancelationReason")
    known_as = _names_of(entry, manner)
    task = composing.cancellation(
        message,
        known_as[0],
        own=own_name(MESSAGES, message.bundle_id),
        requester=composing.sender_of(message, manner),
        reason=reason if names(reason) else {"text": f"{entry.resource['resourceType']} {status_of(entry.resource)}"},
    )
    return composing.translated(message, manner, rule.means, [task], without=[entry], names=known_as)


def _change(message: Message, manner: Manner, rule: Rule) -> Message:
    """The referral or the booking as its sender has it now."""
    known, _ = _kept(message, _subject(message, manner), manner)
    return composing.translated(known, manner, rule.means)


def _result(message: Message, manner: Manner, rule: Rule) -> Message:
    """What the receiver of a referral or a booking says of it; about none of ours it is a response and nothing else."""
    entry = next((one for one in message.entries if one.resource.get("resourceType") in REQUESTS), None)
    if entry is None:
        return composing.TRANSLATIONS["response"](message, manner, rule)
    encounter = next((one for one in focused(message) if one.resource.get("resourceType") == "Encounter"), None)
    said = text(entry.resource.get("status"))
    status = _RESULTS.get(said)
    if status is None and encounter is not None:
        status = _ENCOUNTERS.get(text(encounter.resource.get("status")), "in-progress")
    outputs = [
        {"type": {"text": "Encounter"}, "valueReference": {"reference": one.full_url}}
        for one in ([encounter] if encounter else [])
        if one.full_url
    ]
    lasting = replace(entry, full_url=None) if text(entry.resource.get("id")) else entry
    task = order_named(_names_of(lasting, manner), status=status or "accepted", output=outputs)
    return replace(composing.translated(message, manner, rule.means, [task], without=[entry]), skips=True)


def _no_such_pair(message: Message, _manner: Manner, _rule: Rule) -> Message:
    kind = _PAIRED.get(message.event.code, "ServiceRequest")
    reasons = [name for name in names(message.header.get("reason")) if "|" not in name]
    about = next((one.resource for one in focused(message) if one.resource.get("resourceType") == kind), {})
    has = f"{' or '.join(reasons) or '(none)'} and {text(about.get('status')) or '(none)'}"
    said = (
        f"Invalid MessageHeader.reason and {kind}.status combination: {has}. A new one is new and "
        f"{'active' if kind == 'ServiceRequest' else 'booked'}; one that is cancelled is update and "
        f"{'revoked or entered-in-error' if kind == 'ServiceRequest' else 'cancelled or entered-in-error'}."
    )
    raise Refused(Issue("business-rule", said, f"{_HEADER}.reason"))


def _subject(message: Message, manner: Manner) -> Entry:
    """The one referral or booking in focus."""
    found = [entry for entry in focused(message) if entry.resource.get("resourceType") in REQUESTS]
    if len(found) != 1:
        said = f"A message is about one ServiceRequest or one Appointment; this one has {len(found)} in focus."
        raise Refused(Issue("invalid", said, f"{_HEADER}.focus"))
    if not _names_of(found[0], manner):
        kind = found[0].resource["resourceType"]
        said = f"The {kind} has neither an identifier nor an id nor a fullUrl that is a urn:uuid: give it its id."
        raise Refused(Issue("required", said, f"{found[0].path}.id"))
    return found[0]


def _kept(message: Message, entry: Entry, manner: Manner) -> tuple[Message, Entry]:
    """The message whose referral or booking has all it is known by among its identifiers, and that."""
    named = dicts(entry.resource.get("identifier"))
    also = [name for name in _names_of(entry, manner) if name not in [composing.plain(one) for one in named]]
    resource = entry.resource | {"identifier": [*named, *also]}
    return with_resource(message, entry, resource), replace(entry, resource=resource)


def _names_of(entry: Entry, manner: Manner) -> list[composing.Identifier]:
    """What a referral or a booking is known by: identifiers, its id, the uuid of its fullUrl.

    An id that is no uuid is its sender's own: another may have the same.
    """
    found = dicts(entry.resource.get("identifier"))
    usable = [composing.identifier_of({"identifier": [one]}) for one in found]
    own = [
        _as_identifier(said, entry, manner) for said in (text(entry.resource.get("id")), text(entry.full_url)) if said
    ]
    known = [one for one in (*usable, *own) if one is not None and one.get("system")]
    return [one for number, one in enumerate(known) if one not in known[:number]]


def _as_identifier(said: str, entry: Entry, manner: Manner) -> composing.Identifier | None:
    if found := _UUID.fullmatch(said):
        return {"system": URIS, "value": f"urn:uuid:{found[1].lower()}"}
    is_id = said == entry.resource.get("id")
    system = f"{_OTHERS}{entry.resource['resourceType']}:{quote(manner.sender or '', safe='')}"
    return {"system": system, "value": said} if is_id else None


def _patient_of(resource: Resource) -> Any:
    """The Patient of a booking, who takes part in it."""
    actors = [one.get("actor") for one in dicts(resource.get("participant"))]
    return next((one for one in dicts(actors) if text(one.get("reference")).startswith("Patient/")), None)


def _receiver(message: Message, manner: Manner) -> Resource | None:
    """Who carries it out: whom the header names, else the destination, else whom the registry has for the sender."""
    if TARGET in manner.headers:
        return composing.reference_to(_target(manner.headers[TARGET]))
    destination = next(iter(dicts(message.header.get("destination"))), {})
    if token := _TOKEN.fullmatch(text(destination.get("endpoint"))):
        return {"identifier": {"system": token[1], "value": token[2]}}
    return composing.receiver_of(message, manner)


def _target(said: str) -> str:
    """`system|value` of NHSD-Target-Identifier, which is that, or an Identifier as JSON in base64."""
    if "|" in said and is_uri(said):
        return said
    try:
        found = json.parse_any(base64.b64decode(said.strip(), validate=True))
    except (binascii.Error, ValueError, Refused):
        found = None
    name = composing.identifier_of({"identifier": [found]}) if isinstance(found, dict) else None
    if name is None or not name.get("system"):
        text = (
            "NHSD-Target-Identifier is no identifier. Send the JSON of one, with system and value, in base64, like "
            '{"system": "https://fhir.nhs.uk/Id/dos-service-id", "value": "111111111"}.'
        )
        raise Refused(Issue("value", text))
    return f"{name['system']}|{name['value']}"


MODULE = Module(
    {
        "request": _request,
        "withdrawal": _withdrawal,
        "change": _change,
        "result": _result,
        "no-such-pair": _no_such_pair,
    },
    answer,
    tell,
)
