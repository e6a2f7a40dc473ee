"""How MedCom is answered: each message by an acknowledgement-message, and an acknowledgement by nothing.

`ok` is AA; `fatal-error` is AE and has an OperationOutcome; `transient-error` is AR: it is to be sent again.
"""

from __future__ import annotations

from gateway.fhir.dialects import composing
from gateway.fhir.dialects.medcom_telling import ACTIVITIES, EVENTS, primary
from gateway.fhir.dialects.model import Answer, Answering, Composed
from gateway.fhir.dialects.pieces import uuid_of
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.task.elements import dicts

_PROFILES = "http://medcomfhir.dk/ig/acknowledgement/StructureDefinition"
_SHARED = "http://medcomfhir.dk/ig/messaging/StructureDefinition"
_OWN_WAY = "full-url"
"""The rule that each message of MedCom breaks, by its own examples: nobody need be told."""
_SAID = ("resourceType", "id", "source", "destination", "sender")


def answer(message: Message, composed: Composed, _plainly: Answering) -> Answer:
    """The acknowledgement: new ids, the request's MessageHeader.id quoted, the parties exchanged, what was done."""
    sent = composing.as_sent(message)
    header = dicts(composed.reply["entry"])[0]["resource"]
    response: Resource = {"identifier": sent.quoted_id, "code": composed.code}
    entries: list[Resource] = []
    issues = [issue for issue in composed.issues if issue.rule != _OWN_WAY or issue.severity == "error"]
    if issues or composed.code != "ok":
        outcome = {"id": uuid_of(header["id"], "outcome"), **operation_outcome(issues)}
        response["details"] = {"reference": f"urn:uuid:{outcome['id']}"}
        entries.append({"fullUrl": f"urn:uuid:{outcome['id']}", "resource": outcome})
    said = {name: header[name] for name in _SAID if name in header}
    event = {"eventCoding": {"system": EVENTS, "code": "acknowledgement-message"}}
    profiled = said | {"meta": {"profile": [f"{_PROFILES}/medcom-messaging-acknowledgementHeader"]}}
    told = composing.inserted(profiled, event) | {"response": response}
    if destinations := dicts(told.get("destination")):
        told["destination"] = [primary(one) for one in destinations]
    entries += _history(sent, header, composed.reply["timestamp"])
    reply: Resource = {
        "resourceType": "Bundle",
        "id": composed.reply["id"],
        "meta": {"profile": [f"{_PROFILES}/medcom-messaging-acknowledgement"]},
        "type": "message",
        "timestamp": composed.reply["timestamp"],
        "entry": [{"fullUrl": f"urn:uuid:{header['id']}", "resource": told}, *entries],
    }
    return Answer(200, reply)


def _history(sent: Message, header: Resource, now: str) -> list[Resource]:
    """What was done, and to which message: MedCom keeps the history in each. Whom that was sent to acknowledges it."""
    header_id, who = header["id"], header.get("sender") or {"display": "The receiver of the message"}
    before = {"reference": f"MessageHeader/{sent.quoted_id}"}
    own: Resource = {
        "resourceType": "Provenance",
        "id": uuid_of(header_id, "provenance"),
        "meta": {"profile": [f"{_SHARED}/medcom-messaging-provenance"]},
        "target": [{"reference": f"urn:uuid:{header_id}"}],
        "occurredDateTime": now,
        "recorded": now,
        "activity": {"coding": [{"system": ACTIVITIES, "code": "acknowledgement"}]},
        "agent": [{"who": who}],
        "entity": [{"role": "revision", "what": before}],
    }
    return [{"fullUrl": f"urn:uuid:{own['id']}", "resource": own}]
