"""The message by which another party is told what a message has changed.

https://hl7.org/fhir/R4/messaging.html. The event and its reason are those of the message it comes of, and so are its
sender and who is responsible for it; everything else is new.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.fhir.definitions import Version
from gateway.fhir.emptiness import without_empty
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.json import Resource
from gateway.fhir.message import URIS, Event, Message, Ourselves, instant, logical, same_event

_DUE = Event(f"{OWN_SYSTEMS}message-event", "deadline")
_UPDATE = {"system": "http://hl7.org/fhir/uv/cow/CodeSystem/temp", "code": "order-update"}
"""What a partner is told of what happens because its time has come: it knows no deadlines of the gateway's."""


@dataclass(frozen=True, slots=True)
class Addressee:
    """Where a message goes: name and endpoint, and the identifier of who receives it, as system and value."""

    name: str
    endpoint: str
    identifier: tuple[str, str]
    version: Version


def forward(
    message: Message,
    sender: Resource | None,
    to: Addressee,
    ourselves: Ourselves,
    now: datetime,
    focus: Sequence[str],
    entries: Sequence[tuple[str, Any]],
    new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Resource:
    """A message Bundle of R4 that tells of `message`, which came from `sender`.

    `entries` are resources, each after its fullUrl; `focus` has the fullUrls of those that it is about.
    """
    header_id, bundle_id = new_id(), new_id()
    system, value = to.identifier
    receiver = {"identifier": {"system": system, "value": value}, "display": to.name}
    header: Resource = {
        "resourceType": "MessageHeader",
        "id": header_id,
        **({"eventCoding": _UPDATE} if message.event == _DUE else same_event(message.header)),
        "destination": [{"name": to.name, "endpoint": to.endpoint, "receiver": receiver}],
        **({"sender": sender} if sender else {}),
        "source": {"name": ourselves.name, "endpoint": ourselves.endpoint},
        **_said_of_it(message),
        "focus": [{"reference": url} for url in focus],
    }
    first = {"fullUrl": f"urn:uuid:{header_id}", "resource": header}
    return {
        "resourceType": "Bundle",
        "id": bundle_id,
        **({"identifier": {"system": URIS, "value": f"urn:uuid:{bundle_id}"}} if to.version == "R5" else {}),
        "type": "message",
        "timestamp": instant(now),
        "entry": [first, *({"fullUrl": url, "resource": resource} for url, resource in entries)],
    }


def _said_of_it(message: Message) -> Resource:
    """Who is responsible for the message, by an identifier, and its reason."""
    responsible, reason = logical(message, message.header.get("responsible")), message.header.get("reason")
    said = {"responsible": responsible} if responsible else {}
    return said | ({"reason": without_empty(reason)} if isinstance(reason, dict) and without_empty(reason) else {})
