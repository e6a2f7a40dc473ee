"""By what a dialect knows a message, where that is not what FHIR itself knows it by.

docs/dialects.md, `identity`; https://hl7.org/fhir/R4/messaging.html#reliable
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.fhir.dialects import Dialect, Manner
from gateway.fhir.dialects.composing import business_identifier
from gateway.fhir.identity import key
from gateway.fhir.message import Message

REQUEST_ID = "x-request-id"
_UUID = "urn:uuid:"
_HEADER = "Bundle.entry[0].resource"


@dataclass(frozen=True, slots=True)
class Known:
    """An identity of a message: its name, its value, and where in the message it is; `key` is that of the inbox."""

    name: str
    value: str
    path: str
    key: bytes


def find_identity(message: Message, dialect: Dialect, manner: str | None) -> Known | None:
    """What the message is known by to its sender; None: what FHIR knows it by, also for want of that in the message.

    A response and a request of one identity are two messages: some networks answer with the ids of the request. By
    `Bundle.identifier`, so are an order and its cancellation.
    """
    kind = "response" if message.is_response else "request"
    match dialect.identity:
        case "header" if message.header_id:
            name, path, value = "MessageHeader.id", f"{_HEADER}.id", [message.header_id]
        case "bundle" if message.bundle_id:
            name, path, value = "Bundle.id", "Bundle.id", [message.bundle_id]
        case "bundle-identifier" if identifier := bundle_identifier(message.sent):
            name, path, value = "Bundle.identifier", "Bundle.identifier", [message.event.code, *identifier]
        case "business" if identifier := business_identifier(message):
            name, path = "business identifier", f"{_HEADER}.focus"
            value = [message.event.code, *identifier]
        case "request-id" if manner and (given := Manner.read(manner).headers.get(REQUEST_ID)):
            name, path, value = "X-Request-Id", "", [given]
        case _:
            return None
    return Known(name, value[-1], path, key(f"{dialect.identity} of a {kind}", message.sender, *value))


def plain_id(text: str) -> str:
    """The id in a text, which may have it as a `urn:uuid:`."""
    text = text.strip()
    return text[len(_UUID) :] if text[: len(_UUID)].lower() == _UUID else text


def bundle_identifier(bundle: Any) -> tuple[str, str] | None:
    """`Bundle.identifier`, system and value."""
    identifier = bundle.get("identifier")
    if not isinstance(identifier, dict):
        return None
    system, value = identifier.get("system"), identifier.get("value")
    if not isinstance(value, str) or not value.strip():
        return None
    return (system if isinstance(system, str) else ""), value.strip()
