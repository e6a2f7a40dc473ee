"""What there is in a Bundle that a partner is told by."""

from __future__ import annotations

from gateway.fhir.references import Entries, Resource


def header_of(bundle: Resource) -> Resource:
    header: Resource = bundle["entry"][0]["resource"]
    return header


def resources_in(bundle: Resource) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in bundle["entry"]]


def focus_of(bundle: Resource) -> list[Resource]:
    """The resources in focus of a message."""
    entries = Entries(bundle)
    header = next(iter(entries))
    found = [entries.resolve(reference["reference"], header) for reference in header.resource["focus"]]
    return [entry.resource for entry in found if entry is not None]


def unresolved(bundle: Resource) -> list[str]:
    """The references that lead neither to an entry of the Bundle nor to an address."""
    entries = Entries(bundle)
    literals = [(literal, entry) for entry in entries for literal in entries.literals(entry)]
    return [
        literal
        for literal, entry in literals
        if entries.resolve(literal, entry) is None and not literal.startswith(("http://", "https://", "#"))
    ]
