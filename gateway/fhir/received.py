"""A message as it comes: read in its own version of FHIR, and understood in R4, the gateway's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gateway.fhir import formats
from gateway.fhir.message import Message, read_message
from gateway.fhir.parameters import unwrap
from gateway.fhir.versions import to_r4


def read_received(body: bytes, media_type: str, received_at: datetime) -> Message:
    """The message in a body of this media type, the same for the same body.

    Raises Unreadable if it cannot be read, or not in the version that the media type names, and NotAMessage.
    """
    resource, version = formats.parse_told(body, formats.format_of(media_type), formats.version_of(media_type))
    sent = unwrap(resource)
    bundle, lost = to_r4(sent, version)
    message = read_message(bundle, received_at)
    return message if version == "R4" else replace(message, version=version, sent=sent, lost=lost)
