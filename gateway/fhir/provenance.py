"""Which message made a version of a resource, as a Provenance: https://hl7.org/fhir/R4/provenance.html

It is composed of what is kept anyway, whenever it is asked for: nothing else could say it more truly.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Protocol

from gateway.fhir.json import Resource
from gateway.fhir.message import instant, is_uri

_OPERATIONS = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_AGENTS = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_URIS = "urn:ietf:rfc:3986"
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ID = re.compile(r"([A-Za-z0-9\-]{1,54})\.([1-9][0-9]{0,8})")


class Origin(Protocol):
    """What the gateway knows of a message: `sender` is `Message.sender`."""

    @property
    def sender(self) -> str: ...
    @property
    def bundle_id(self) -> str | None: ...
    @property
    def header_id(self) -> str | None: ...
    @property
    def event_system(self) -> str | None: ...
    @property
    def event_code(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def is_rest(self) -> bool: ...


def provenance(kind: str, resource_id: str, number: int, updated_at: datetime, origin: Origin) -> Resource:
    """The Provenance of one version of a resource."""
    operation = "CREATE" if number == 1 else "UPDATE"
    return {
        "resourceType": "Provenance",
        "id": provenance_id(resource_id, number),
        "meta": {"versionId": "1", "lastUpdated": instant(updated_at)},
        "target": [{"reference": f"{kind}/{resource_id}/_history/{number}"}],
        "occurredDateTime": instant(origin.received_at),
        "recorded": instant(updated_at),
        "activity": {"coding": [{"system": _OPERATIONS, "code": operation}]},
        "agent": [{"type": {"coding": [{"system": _AGENTS, "code": "author"}]}, "who": party_of(origin.sender)}],
        "entity": [{"role": "source", "what": message_reference(origin)}],
    }


def provenance_id(resource_id: str, number: int) -> str:
    return f"{resource_id}.{number}"


def read_provenance_id(text: str) -> tuple[str, int] | None:
    """The resource's id and the version's number in the id of a Provenance; None for an id of anything else."""
    match = _ID.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def party_of(sender: str) -> Resource:
    """The party that `Message.sender` names, as a logical Reference: by its business identifier, else its endpoint."""
    endpoint, _, named = sender.partition(" ")
    party = named or (endpoint if "|" in endpoint else "")
    system, _, value = party.partition("|")
    if value.strip() and is_uri(system):
        return {"identifier": {"system": system, "value": value}}
    return {"identifier": {"system": _URIS, "value": endpoint} if is_uri(endpoint) else {"value": sender}}


def message_reference(origin: Origin) -> Resource:
    """A message by its Bundle's id, for want of one by its header's; with its event."""
    known_by = origin.bundle_id or origin.header_id or ""
    if _UUID.fullmatch(known_by):
        identifier = {"system": _URIS, "value": f"urn:uuid:{known_by.lower()}"}
    else:
        identifier = {"value": known_by}
    return {"type": "Bundle", "identifier": identifier, "display": f"Message: {origin.event_code}"}
