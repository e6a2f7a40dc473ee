"""What came of a message, as an AuditEvent: https://hl7.org/fhir/R4/auditevent.html

Composed whenever it is asked for, of the message, its reply and the versions that it made. It says who asked for what,
about which records, and what came of it; it quotes nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.fhir.json import Resource
from gateway.fhir.message import Ourselves, instant, is_uri
from gateway.fhir.provenance import Origin, message_reference, party_of

_TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_INTERACTIONS = "http://hl7.org/fhir/restful-interaction"
_ENTITIES = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_SOURCES = "http://terminology.hl7.org/CodeSystem/security-source-type"
_URIS = "urn:ietf:rfc:3986"
_REST = {"system": _TYPES, "code": "rest", "display": "RESTful Operation"}
_IMPORT = {"system": _DICOM, "code": "110107", "display": "Import"}
_OBJECT = {"system": _ENTITIES, "code": "2", "display": "System Object"}
_APPLICATION = {"system": _SOURCES, "code": "4", "display": "Application Server"}
_BY_URI = "5"
_SUCCESS, _MINOR_FAILURE = "0", "4"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a message came to.

    `versions` are the (type, id, number) that it made, `others` the (type, id) of what else it was about; `reasons` the
    issue codes of its refusal, none when it was done.
    """

    message_id: int
    origin: Origin
    done_at: datetime
    versions: Sequence[tuple[str, str, int]]
    others: Sequence[tuple[str, str]]
    reasons: Sequence[str] = ()


def audit_event(attempt: Attempt, ourselves: Ourselves) -> Resource:
    """The AuditEvent of one message that was processed."""
    about: list[Resource] = [{"reference": f"{kind}/{one}/_history/{n}"} for kind, one, n in attempt.versions]
    about += [{"reference": f"{kind}/{one}"} for kind, one in attempt.others]
    is_rest = attempt.origin.is_rest
    event: Resource = {
        "resourceType": "AuditEvent",
        "id": str(attempt.message_id),
        "meta": {"versionId": "1", "lastUpdated": instant(attempt.done_at)},
        "type": _REST if is_rest else _IMPORT,
        "subtype": [_interaction(attempt) if is_rest else _event(attempt.origin)],
        "action": _action(attempt),
        "recorded": instant(attempt.done_at),
        "outcome": _MINOR_FAILURE if attempt.reasons else _SUCCESS,
    }
    if attempt.reasons:
        event["outcomeDesc"] = ", ".join(dict.fromkeys(attempt.reasons))
    return event | {
        "agent": [_agent(attempt.origin)],
        "source": {"observer": {"display": ourselves.name, "identifier": _address(ourselves)}, "type": [_APPLICATION]},
        "entity": [{"what": what, "type": _OBJECT} for what in (message_reference(attempt.origin), *about)],
    }


def _address(ourselves: Ourselves) -> Resource:
    return {"system": _URIS, "value": ourselves.endpoint}


def _action(attempt: Attempt) -> str:
    """Create, update, or execute where nothing was changed."""
    if not attempt.versions:
        return "E"
    return "C" if any(number == 1 for _, _, number in attempt.versions) else "U"


def _interaction(attempt: Attempt) -> dict[str, Any]:
    code = "create" if attempt.origin.event_code == "new-order" else "update"
    return {"system": _INTERACTIONS, "code": code}


def _event(origin: Origin) -> dict[str, Any]:
    if origin.event_system:
        return {"system": origin.event_system, "code": origin.event_code}
    return {"code": origin.event_code}


def _agent(origin: Origin) -> Resource:
    endpoint = origin.sender.partition(" ")[0]
    network = {"network": {"address": endpoint, "type": _BY_URI}} if is_uri(endpoint) and "|" not in endpoint else {}
    return {"who": party_of(origin.sender), "requestor": True, **network}
