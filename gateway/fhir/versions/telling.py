"""Which version of FHIR a message is of: what is declared, else what its header shows.

https://hl7.org/fhir/R4/http.html#version-parameter. The versions write the header of a message each in its own way, so
that a message that declares nothing can be told, and one that declares another version than it is written in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import Issue, Unreadable
from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.json import Resource
from gateway.fhir.versions.carrying import NUMBERS

_Possible = frozenset[Version]

_ANY: _Possible = frozenset(VERSIONS)
_STU3: _Possible = frozenset(("STU3",))
_R5: _Possible = frozenset(("R5",))
_R4: _Possible = frozenset(("R4", "R4B"))
_EVENTS: Mapping[str, _Possible] = {
    "eventCoding": _R4 | _R5,
    "event": _STU3,
    "eventUri": _R4,
    "eventCanonical": _R5,
}
_ENDPOINTS: Mapping[str, _Possible] = {
    "endpoint": _ANY - _R5,
    "endpointUrl": _R5,
    "endpointReference": _R5,
}
_PREFERRED: tuple[Version, ...] = ("R4", "STU3", "R5")


def tell(header: Resource | None, declared: Version | None) -> Version:
    """The version of a message with this header; None if there is no header. R4 if nothing tells.

    Raises Unreadable if the header cannot be of the version that is declared.
    """
    possible = _possible(header) if header is not None else _ANY
    if declared is None:
        return next((version for version in _PREFERRED if version in possible), "R4")
    if possible and declared not in possible:
        meant = " or ".join(NUMBERS[version] for version in VERSIONS if version in possible)
        text = (
            f"The Content-Type declares fhirVersion={NUMBERS[declared]}, but the MessageHeader is written as FHIR "
            f"{meant} has it. Declare the version that the message is written in, or none."
        )
        raise Unreadable(Issue("invalid", text, "Bundle.entry[0].resource"))
    return declared


def find_header(resource: Any) -> Resource | None:
    """The MessageHeader of a message, also of one within a Parameters; None if there is none where it belongs."""
    match resource:
        case {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "MessageHeader"} as header}, *_]}:
            found: Resource = header
            return found
        case {"resourceType": "Parameters", "parameter": [{"resource": {"resourceType": "Bundle"} as inner}]}:
            return find_header(inner)
        case _:
            return None


def find_event_code(resource: Resource) -> str | None:
    """The code, or the uri, of the event of a message of R4; None for what is no message."""
    match find_header(resource):
        case {"eventUri": str(uri)}:
            return uri
        case {"eventCoding": {"code": str(code)}}:
            return code
        case _:
            return None


def _possible(header: Resource) -> _Possible:
    """The versions in which the header may be written; none if its parts are of different ones."""
    possible = _ANY
    for name, versions in _EVENTS.items():
        if name in header:
            possible &= versions
    destinations = header.get("destination")
    first = destinations[0] if isinstance(destinations, list) and destinations else destinations
    for address in (header.get("source"), first):
        if isinstance(address, dict):
            for name, versions in _ENDPOINTS.items():
                if name in address:
                    possible &= versions
    response = header.get("response")
    if isinstance(response, dict) and "identifier" in response:
        possible &= _R5 if isinstance(response["identifier"], dict) else _ANY - _R5
    return possible
