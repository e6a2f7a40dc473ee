"""FHIR's versions: which one a body is in, and the way of each into R4, the gateway's own, and back.

https://hl7.org/fhir/R5/versions.html. What R4 has no place for is carried in extensions and comes back from there;
docs/versions.md has what is carried and what is not.
"""

from __future__ import annotations

from gateway.errors import Issue, NotAMessage
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.versions.carrying import NUMBERS
from gateway.fhir.versions.conversion import Conversion
from gateway.fhir.versions.envelope import after_to_r4, before_from_r4

__all__ = ["NUMBERS", "from_r4", "to_r4"]


def to_r4(resource: Resource, version: Version) -> tuple[Resource, list[Issue]]:
    """The resource as R4 has it, and a warning for each thing that R4 has no place for.

    Raises NotAMessage if it is nested too deeply to be converted.
    """
    if version == "R4":
        return resource, []
    conversion = Conversion(version, "R4")
    made = conversion.resource(resource, None)
    if conversion.is_too_deep:
        text = f"A resource of FHIR {version} can be nested {Conversion.DEEPEST} levels deep. Send a flatter one."
        raise NotAMessage(Issue("too-costly", text))
    return after_to_r4(made, version), conversion.issues


def from_r4(resource: Resource, version: Version) -> tuple[Resource, list[Issue]]:
    """The resource of R4 as the version has it, and a warning for each thing that has no place there."""
    if version == "R4":
        return resource, []
    conversion = Conversion("R4", version)
    made: Resource = conversion.resource(before_from_r4(resource, version), None)
    return made, conversion.issues
