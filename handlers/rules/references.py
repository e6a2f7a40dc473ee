"""Whether two References mean the same resource."""

from collections.abc import Callable
from typing import Any

from gateway import Entry, Records
from gateway.fhir.message import Resource
from gateway.fhir.task.elements import identifiers_of


def same_resource(entry: Entry, records: Records) -> Callable[[Resource, Resource], bool]:
    """Whether a Reference kept and one in `entry` mean the same resource: by where they lead, else by what they say."""

    def same(kept: Resource, sent: Resource) -> bool:
        target = records.follow(sent, entry)
        if target is not None and kept.get("reference") == target.reference:
            return True
        named = name_in(kept)
        if named and target is not None:
            return named in identifiers_of(target.resource)
        if named and named == name_in(sent):
            return True
        literal = sent.get("reference")
        return target is None and literal is not None and kept.get("reference") == literal and not _is_local(literal)

    return same


def _is_local(literal: Any) -> bool:
    """Whether a reference means what its own resource contains, which tells nothing of another's."""
    return isinstance(literal, str) and literal.startswith("#")


def name_in(reference: Resource) -> str:
    """The business identifier that a Reference names ("system|value"), or ""."""
    identifier: Any = reference.get("identifier")
    return next(iter(identifiers_of({"identifier": [identifier]})), "")
