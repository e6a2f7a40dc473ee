"""What several dialects of networks with Tasks, or with none, have in common beside `composing`."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import Issue
from gateway.fhir.check import check
from gateway.fhir.dialects import composing
from gateway.fhir.emptiness import without_empty
from gateway.fhir.json import Resource
from gateway.fhir.message import Message
from gateway.fhir.references import Entries, Entry
from gateway.fhir.task.elements import TASK_CODES, dicts, names_of
from gateway.fhir.task.outcomes import OUTCOME_SYSTEM, Outcome

_SPACE = uuid.UUID("b4b5b8b0-7d0c-4c57-8a5e-3f7c2a1c9d10")
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def with_resource(message: Message, entry: Entry, resource: Resource) -> Message:
    """The message with another resource in the place of an entry's."""
    items = [
        item | {"resource": resource} if isinstance(item, dict) and item.get("resource") is entry.resource else item
        for item in message.bundle["entry"]
    ]
    bundle = message.bundle | {"entry": items}
    return replace(message, bundle=bundle, entries=Entries(bundle))


def answered_request(order_name: composing.Identifier, status: str, reason: Any = None) -> Resource:
    """The Task that answers the open request to cancel an order, and names no more than the order."""
    said = {"statusReason": reason} if isinstance(reason, dict) and reason else {}
    return {
        "resourceType": "Task",
        "status": status,
        "intent": "order",
        "code": {"coding": [{"system": TASK_CODES, "code": "abort"}]},
        "focus": {"type": "Task", "identifier": composing.plain(order_name)},
        **said,
    }


def order_named(names: Sequence[composing.Identifier], **elements: Any) -> Resource:
    """The Task of an order-update that says nothing of the order but its identifiers, and these elements."""
    said = {name: value for name, value in elements.items() if value}
    return {"resourceType": "Task", "identifier": [composing.plain(name) for name in names], **said}


def outcome_in(issues: Iterable[Issue]) -> Outcome | None:
    """What became of a cancellation, by the first issue that says so."""
    codes = [issue.outcome[1] for issue in issues if issue.outcome and issue.outcome[0] == OUTCOME_SYSTEM]
    return next((Outcome(code) for code in codes if code in set(Outcome)), None)


def said_again(reply: Resource, focus: Sequence[tuple[str, Resource]]) -> Resource:
    """A response message of ours, about other resources: each after its fullUrl. Its OperationOutcome stays."""
    first, *others = dicts(reply["entry"])
    header = {name: value for name, value in first["resource"].items() if name != "focus"}
    if focus:
        header["focus"] = [{"reference": url} for url, _ in focus]
    made = [{"fullUrl": url, "resource": resource} for url, resource in focus]
    outcomes = [item for item in others if item["resource"].get("resourceType") == "OperationOutcome"]
    return reply | {"entry": [first | {"resource": header}, *made, *outcomes]}


def absolute_url(message: Message, entry: Entry) -> str:
    """Where an entry of a message stands in its answer: as it did, if that is an address anywhere."""
    url = entry.full_url or ""
    return url if ":" in url else composing.made_up(message, entry.path)


def sound(resource: Resource, names: Iterable[str]) -> Resource:
    """The elements of these names that an answer can say again: in what was refused, some are not as FHIR has them."""
    said: Resource = {}
    kind = resource["resourceType"]
    for name in names:
        alone = without_empty({"resourceType": kind, **({name: resource[name]} if name in resource else {})})
        wrong = [
            one for one in check(alone) if one.severity != "information" and f"{kind}.{name}" in (one.expression or "")
        ]
        if name in alone and not wrong:
            said[name] = alone[name]
    return said


def uuid_of(*parts: str) -> str:
    """A UUID that is the same for the same parts, and no others'."""
    return str(uuid.uuid5(_SPACE, "\n".join(parts)))


def own_name(system: str, value: str | None) -> composing.Identifier | None:
    """What a message is known by, as the identifier of the request that it makes; without a system, where it is no
    UUID: it is its sender's own then, for another may have the same."""
    if not value:
        return None
    return {"system": system, "value": value} if UUID.fullmatch(value) else {"value": value}


def message_name(message: Message, system: str) -> list[composing.Identifier]:
    """The message's MessageHeader.id as an identifier of the Task that it makes; none where that is no UUID."""
    own = message.header_id or ""
    return [{"system": system, "value": f"urn:uuid:{own}"}] if UUID.fullmatch(own) else []


def message_in(task: Resource, system: str) -> str | None:
    """The id of the message that made a Task: what `message_name` has given it."""
    values = [value for said, value in names_of(task) if said == system and value.startswith("urn:uuid:")]
    return values[0].removeprefix("urn:uuid:") if values else None
