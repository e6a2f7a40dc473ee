"""Bodies that are a Parameters around the message, as some senders of an operation have it.

https://hl7.org/fhir/R4/messageheader-operation-process-message.html
"""

from __future__ import annotations

from typing import Any

from gateway.errors import Issue, NotAMessage
from gateway.fhir.json import Resource


def unwrap(resource: Resource) -> Resource:
    """The message inside `resource` if that is a Parameters, else `resource` itself.

    Raises NotAMessage for a Parameters that is not exactly one parameter `content` with a resource.
    """
    if resource.get("resourceType") != "Parameters":
        return resource
    content = _content(resource.get("parameter"))
    if content is None:
        text = (
            "A Parameters is to have one parameter, with the name content, whose resource is the message."
            " Send it so, or the Bundle alone; async and response-url go into the query string."
        )
        raise NotAMessage(Issue("structure", text, "Parameters.parameter"))
    return content


def _content(parameters: Any) -> Resource | None:
    match parameters:
        case [{"name": "content", "resource": {"resourceType": str()} as resource}]:
            message: Resource = resource
            return message
        case _:
            return None
