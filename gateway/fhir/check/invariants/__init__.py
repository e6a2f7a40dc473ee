"""The invariants of FHIR's types, in Python: what the definitions say in FHIRPath, for every resource of R4.

`LEFT_OUT` names those that are looked after elsewhere or by nobody. R4B has R4's as it has mended them; R5 and
STU3 have those that mean the same in R4.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from gateway.fhir import definitions
from gateway.fhir.check.invariants import (
    administrative,
    clinical,
    containers,
    datatypes,
    definitional,
    elements,
    questionnaires,
    scripts,
    structures,
)
from gateway.fhir.check.invariants.rules import Context, Invariant
from gateway.fhir.definitions import Version

__all__ = ["LEFT_OUT", "Context", "Invariant", "of"]

_TABLES = (
    datatypes.RULES,
    containers.RULES,
    clinical.RULES,
    administrative.RULES,
    definitional.NAME_RULES,
    definitional.RULES,
    questionnaires.RULES,
    structures.RULES,
    elements.RULES,
    scripts.RULES,
)
_QUANTITIES = ("Age", "Count", "Distance", "Duration")
_NOT_DOMAIN_RESOURCES = ("Binary", "Bundle", "DomainResource", "Parameters")
_MOST_TYPES = 8192

LEFT_OUT: Mapping[tuple[str, str], str] = {
    ("Element", "ele-1"): "What is empty is reported where it is met, as `empty`.",
    ("Reference", "ref-1"): "Reported with the other references that do not resolve.",
    ("Narrative", "txt-1"): "Reported as `narrative`: see gateway.fhir.check.narrative.",
    ("Narrative", "txt-2"): "Reported as `narrative`: see gateway.fhir.check.narrative.",
    ("AdministrableProductDefinition", "apd-1"): "Asks for a resource that the message need not have (R4B).",
    ("DomainResource", "dom-r4b"): "A warning that R4 has no such type; who declares R4B knows (R4B).",
    ("StructureDefinition.snapshot", "sdf-24"): "About profiles of CodeableReference (R4B).",
    ("StructureDefinition.snapshot", "sdf-25"): "About profiles of CodeableReference (R4B).",
}
"""Constraints of R4 and R4B that `of` does not give, by type and key, and why."""


@lru_cache(_MOST_TYPES)
def of(type_name: str, version: Version = "R4") -> tuple[Invariant, ...]:
    """The invariants of a type in a version of FHIR: those of the type that it is based on first.

    The name is that of a resource type, a data type, or an element with children of its own
    ("Observation.referenceRange"). Empty if it has none, or if there is no such type.
    """
    return tuple(
        rule.invariant
        for name in (*_bases(type_name, version), type_name)
        for table in _TABLES
        for rule in table.get(name, ())
        if version in rule.versions
    )


def _bases(type_name: str, version: Version) -> tuple[str, ...]:
    if type_name in _QUANTITIES:
        return ("Quantity",)
    is_domain_resource = type_name not in _NOT_DOMAIN_RESOURCES and definitions.is_resource(type_name, version)
    return ("DomainResource",) if is_domain_resource else ()
