"""The codes of the value sets that elements are bound to, as far as a package of definitions says them.

A value set is expanded from the code systems of the same package; one that names codes which the package does not have
(LOINC, SNOMED CT, UCUM, …) is left out, for it cannot be checked without a terminology server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Definition = dict[str, Any]
Codes = dict[str, set[str]]
"""The codes by the code system they are of."""

_PARENTS = ("subsumedBy", "parent")
_HIERARCHIES = ("is-a", "descendent-of")


class _UnknownError(Exception):
    """The package does not say which codes these are."""


class ValueSets:
    """The value sets and code systems of one package, by their canonical URL."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._value_sets: dict[str, Definition] = {}
        self._code_systems: dict[str, Definition] = {}
        for definition in definitions:
            known = self._value_sets if definition["resourceType"] == "ValueSet" else self._code_systems
            known[definition["url"]] = definition

    def expand(self, canonical: str) -> Codes | None:
        """The codes of the value set with this URL; None if the package does not have all of them."""
        try:
            return self._expanded(canonical)
        except _UnknownError:
            return None

    def _expanded(self, canonical: str) -> Codes:
        value_set = self._value_sets.get(canonical.partition("|")[0], {})
        compose = value_set.get("compose")
        if compose is None:
            raise _UnknownError
        codes: Codes = {}
        for included in compose["include"]:
            for system, some in self._selected(included).items():
                codes.setdefault(system, set()).update(some)
        for excluded in compose.get("exclude", ()):
            for system, some in self._selected(excluded).items():
                codes.get(system, set()).difference_update(some)
        return codes

    def _selected(self, selection: Definition) -> Codes:
        selected = None if "system" not in selection else {selection["system"]: self._of_system(selection)}
        for canonical in selection.get("valueSet", ()):
            other = self._expanded(canonical)
            selected = other if selected is None else _intersection(selected, other)
        if selected is None:
            raise _UnknownError
        return selected

    def _of_system(self, selection: Definition) -> set[str]:
        if "concept" in selection:
            return {concept["code"] for concept in selection["concept"]}
        system = self._code_systems.get(selection["system"], {})
        if system.get("content") != "complete":
            raise _UnknownError
        parents = _parents(system)
        codes = set(parents)
        for condition in selection.get("filter", ()):
            codes &= _filtered(parents, condition)
        return codes


def _intersection(some: Codes, others: Codes) -> Codes:
    return {system: codes & others.get(system, set()) for system, codes in some.items()}


def _parents(system: Definition) -> dict[str, set[str]]:
    """Every code of the system, with those that it is a kind of."""
    parents: dict[str, set[str]] = {}
    for code, concept, above in _concepts(system.get("concept", ()), None):
        named = {str(_value(p)) for p in concept.get("property", ()) if p["code"] in _PARENTS}
        parents.setdefault(code, set()).update(named | ({above} if above else set()))
    return parents


def _value(prop: Definition) -> Any:
    return next((value for name, value in prop.items() if name.startswith("value")), None)


def _concepts(concepts: Iterable[Definition], above: str | None) -> Iterator[tuple[str, Definition, str | None]]:
    for concept in concepts:
        yield concept["code"], concept, above
        yield from _concepts(concept.get("concept", ()), concept["code"])


def _filtered(parents: dict[str, set[str]], condition: Definition) -> set[str]:
    if condition["property"] != "concept" or condition["op"] not in _HIERARCHIES:
        raise _UnknownError
    root = condition["value"]
    if root not in parents:
        raise _UnknownError
    found = {root}
    while more := {code for code, above in parents.items() if above & found} - found:
        found |= more
    return found if condition["op"] == "is-a" else found - {root}
