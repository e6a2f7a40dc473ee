"""A message as it comes: read in its own version of FHIR, and understood in R4, the gateway's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gateway.fhir import formats
from gateway.fhir.definitions import Version
from gateway.fhir.message import Message, read_message
from gateway.fhir.parameters import unwrap
from gateway.fhir.versions import to_r4
from gateway.fhir.wrapping import Wrapping


def read_received(
    body: bytes,
    media_type: str,
    received_at: datetime,
    wrapping: str | None = None,
    proven: str | None = None,
) -> Message:
    """The message in a body of this media type, the same for the same body; with a `wrapping`, the body is a resource.

    `proven` is the sender of one that need not say who sent it.

    Raises Unreadable if it cannot be read, or not in the version that the media type names, and NotAMessage.
    """
    around = Wrapping.read(wrapping) if wrapping is not None else None
    version: Version = "R4"
    if around is not None and around.resource is not None:
        resource = around.resource
    else:
        resource, version = formats.parse_told(body, formats.format_of(media_type), formats.version_of(media_type))
    sent = around.bundle(resource, version, received_at) if around is not None else unwrap(resource)
    bundle, lost = to_r4(sent, version)
    message = read_message(bundle, received_at, proven)
    if around is not None:
        message = replace(message, replaces=around.is_update, creates=not around.is_update)
    if version != "R4":
        message = replace(message, version=version, sent=sent, lost=lost)
    return message
