"""What the gateway says it can do: its CapabilityStatement, and a MessageDefinition for each handler.

https://hl7.org/fhir/R4/capabilitystatement.html, https://hl7.org/fhir/R4/messagedefinition.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from gateway.fhir.interactions import rest
from gateway.fhir.json import Resource
from gateway.fhir.patching import MEDIA_TYPE
from gateway.fhir.topic import topic_url
from gateway.fhir.versions import NUMBERS

_FHIR_VERSION = "4.0.1"
_FORMATS = ["application/fhir+json", "application/fhir+xml", "json", "xml"]
_VERSIONED = [f"{name}; fhirVersion={number}" for name in _FORMATS[:2] for number in NUMBERS.values()]
_TRANSPORT = "http://terminology.hl7.org/CodeSystem/message-transport"
_PROCESS_MESSAGE = "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message"
_VALIDATE = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_SANDBOX = "SANDBOX: who sends is not proved. For trying it out, on this machine only."
_OPERATIONS = [
    {"name": "process-message", "definition": _PROCESS_MESSAGE},
    {"name": "validate", "definition": _VALIDATE},
]
_DOCUMENTATION = (
    "Post a message, a Bundle in JSON or XML, to the endpoint; the answer is the response message. With `async=true`"
    " it is acknowledged at once and answered later. It may be of FHIR R4, R4B, R5 or STU3, as its `fhirVersion` or its"
    " header tells, and is answered in the same version. A message that gets no answer may be sent again, unchanged,"
    " until it does: it takes effect once, and its answer is always the same."
)
_SITUATION = (
    "The answer is a message of the same event. If what was asked is done, `MessageHeader.response.code` is `ok`, and"
    " in focus are the resources as the gateway now keeps them. If not, it is `fatal-error` (do not send this again"
    " unchanged) or `transient-error` (send it again later), and `response.details` is an OperationOutcome."
)


class HandledEvent(Protocol):
    """A Coding's system and code, or a uri (`system` is None)."""

    @property
    def system(self) -> str | None: ...
    @property
    def code(self) -> str: ...


class HandlerInfo(Protocol):
    """All that is published about a handler: `name` is its function's, `focus` the resource types it takes."""

    @property
    def event(self) -> HandledEvent: ...
    @property
    def category(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def documentation(self) -> str: ...
    @property
    def focus(self) -> tuple[str, ...]: ...
    @property
    def name(self) -> str: ...


def capability_statement(
    handlers: Sequence[HandlerInfo],
    *,
    name: str,
    version: str,
    base_url: str,
    endpoint: str,
    published: str,
    reliable_cache_minutes: int,
    written: Collection[str] = (),
    token_url: str = "",
    is_sandbox: bool = False,
) -> Resource:
    """What runs at `base_url` and takes messages at `endpoint`; `published` is the date of this statement.

    Resources of the types in `written` can be written by REST, by who has an access token from `token_url`.
    """
    description = "A gateway for FHIR messages"
    return {
        "resourceType": "CapabilityStatement",
        "url": f"{base_url}/metadata",
        "version": version,
        "name": _computer_name(name),
        "title": name,
        "status": "active",
        "date": published,
        "kind": "instance",
        "software": {"name": name, "version": version},
        "implementation": {"description": f"{_SANDBOX} {description}" if is_sandbox else description, "url": base_url},
        "fhirVersion": _FHIR_VERSION,
        "format": [*_FORMATS, *_VERSIONED],
        "patchFormat": [MEDIA_TYPE],
        "rest": [rest(_OPERATIONS, written, topic_url(base_url)) | _secured(token_url)],
        "messaging": [_messaging(handlers, base_url, endpoint, reliable_cache_minutes)],
    }


def _secured(token_url: str) -> dict[str, Any]:
    return {"security": _security(token_url)} if token_url else {}


def _security(token_url: str) -> dict[str, Any]:
    """https://hl7.org/fhir/smart-app-launch/conformance.html#declaring-support-for-oauth2-endpoints"""
    uris = [{"url": "token", "valueUri": token_url}]
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": uris}],
        "service": [{"coding": [{"system": _SERVICES, "code": "SMART-on-FHIR"}], "text": "SMART Backend Services"}],
        "description": "Access tokens (SMART Backend Services, private_key_jwt), client certificates, or API keys.",
    }


def _messaging(handlers: Sequence[HandlerInfo], base_url: str, endpoint: str, minutes: int) -> dict[str, Any]:
    messaging: dict[str, Any] = {
        "endpoint": [{"protocol": {"system": _TRANSPORT, "code": "http"}, "address": endpoint}],
        "reliableCache": minutes,
        "documentation": _DOCUMENTATION,
    }
    supported = [{"mode": "receiver", "definition": _url(handler, base_url)} for handler in handlers]
    return messaging | ({"supportedMessage": supported} if supported else {})


def message_definition(handler: HandlerInfo, *, base_url: str, published: str) -> Resource:
    """The message that the handler takes; `published` is the date, and the version, of this definition."""
    definition: Resource = {
        "resourceType": "MessageDefinition",
        "id": _id(handler),
        "url": _url(handler, base_url),
        "version": published,
        "name": _computer_name(handler.name),
        "title": handler.title,
        "status": "active",
        "date": published,
        "description": handler.documentation or handler.title,
        **_event(handler.event),
        "category": handler.category,
        "responseRequired": "always",
        "allowedResponse": [{"message": _url(handler, base_url), "situation": _SITUATION}],
    }
    least = 1 if len(handler.focus) == 1 else 0
    focus = [{"code": resource_type, "min": least, "max": "*"} for resource_type in handler.focus]
    return definition | ({"focus": focus} if focus else {})


def _event(event: HandledEvent) -> dict[str, Any]:
    if event.system is None:
        return {"eventUri": event.code}
    return {"eventCoding": {"system": event.system, "code": event.code} if event.system else {"code": event.code}}


def _url(handler: HandlerInfo, base_url: str) -> str:
    return f"{base_url}/MessageDefinition/{_id(handler)}"


def _id(handler: HandlerInfo) -> str:
    return re.sub(r"[^A-Za-z0-9.]", "-", handler.name)[:64]


def _computer_name(name: str) -> str:
    """`FhirGateway` for `fhir-gateway`: names of definitions are to be usable as identifiers in programs."""
    words = re.findall("[A-Za-z0-9]+", name)
    return re.sub("^(?![A-Z])", "The", "".join(word[0].upper() + word[1:] for word in words))
