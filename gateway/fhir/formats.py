"""The two wire formats by name, "json" and "xml", and the media types that mean them."""

from gateway.fhir import json, xml
from gateway.fhir.json import Resource

FORMATS = ("json", "xml")


def parse(data: bytes, name: str) -> Resource:
    """Reads `data` as the format of this name. Raises Unreadable and NotAMessage."""
    return xml.parse(data) if name == "xml" else json.parse(data)


def serialize(resource: Resource, name: str) -> bytes:
    """Writes `resource` in the format of this name. XML raises NotAMessage if it is not built as R4 defines it."""
    return xml.serialize(resource) if name == "xml" else json.serialize(resource)


def format_of(media_type: str) -> str:
    """`application/fhir+xml; charset=utf-8` is "xml"; what does not name XML is "json"."""
    return "xml" if "xml" in media_type.partition(";")[0].lower() else "json"


def guess(data: bytes) -> str:
    """The format that `data` is most likely in, by how it begins."""
    return "xml" if data.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<") else "json"
