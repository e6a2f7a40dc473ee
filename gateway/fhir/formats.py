"""The two wire formats by name, "json" and "xml", and the media types that mean them."""

from __future__ import annotations

import re
from functools import partial

from gateway.fhir import json, xml
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.versions.carrying import NUMBERS
from gateway.fhir.versions.telling import find_header, tell

FORMATS = ("json", "xml")
_BY_NUMBER = {number: version for version, number in NUMBERS.items()}
_PARAMETER = re.compile(r'(?:[^;"]|"(?:\\.|[^"])*+"?)++', re.DOTALL)
"""What is between two semicolons; one within quotes is none."""
_NUMBER = re.compile(r"([0-9]\.[0-9])(?:\.[^\s,]*)?")
_QUOTED = re.compile(r"\\(.)", re.DOTALL)


def parse(data: bytes, name: str, version: Version = "R4") -> Resource:
    """Reads `data` as the format of this name. Raises Unreadable and NotAMessage."""
    return xml.parse(data, version) if name == "xml" else json.parse(data)


def parse_told(data: bytes, name: str, declared: Version | None) -> tuple[Resource, Version]:
    """Reads `data` in the version of FHIR that is declared; if none is, in the one that its content tells.

    Raises Unreadable, also where the content contradicts the version, and NotAMessage.
    """
    if name == "xml":
        return xml.parse_told(data, partial(tell, declared=declared))
    resource = json.parse(data)
    return resource, tell(find_header(resource), declared)


def told(resource: Resource) -> Version:
    """The version of FHIR that a resource is written in, as far as it tells: a message does, R4 if nothing does."""
    return tell(find_header(resource), None)


def serialize(resource: Resource, name: str, version: Version = "R4") -> bytes:
    """Writes `resource` in the format of this name. XML raises NotAMessage if the version does not define it so."""
    return xml.serialize(resource, version) if name == "xml" else json.serialize(resource)


def format_of(media_type: str) -> str:
    """`application/fhir+xml; charset=utf-8` is "xml"; what does not name XML is "json"."""
    return "xml" if "xml" in media_type.partition(";")[0].lower() else "json"


def declared_number(media_type: str) -> str | None:
    """The `fhirVersion` that a media type has, as it is written; None if it has none.

    Of several that mean different versions it is all of them, which is the number of none.
    https://hl7.org/fhir/R4/http.html#version-parameter, https://www.rfc-editor.org/rfc/rfc9110#section-5.6.6
    """
    numbers: list[str] = []
    for parameter in _PARAMETER.findall(media_type.partition(";")[2]):
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name.lower() == "fhirversion":
            is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
            numbers.append(_QUOTED.sub(r"\1", value[1:-1]) if is_quoted else value)
    is_one = len({version_numbered(number) for number in numbers}) == 1
    return (numbers[0] if is_one else ", ".join(numbers)) if numbers else None


def version_numbered(number: str) -> Version | None:
    """`4.0`, and `4.0.1`, is "R4"; None for a version that the gateway does not speak."""
    match = _NUMBER.fullmatch(number)
    return _BY_NUMBER.get(match[1]) if match else None


def version_of(media_type: str) -> Version | None:
    """The version that a media type names; None if it names none that the gateway speaks."""
    number = declared_number(media_type)
    return None if number is None else version_numbered(number)


def guess(data: bytes) -> str:
    """The format that `data` is most likely in, by how it begins."""
    return "xml" if data.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<") else "json"
