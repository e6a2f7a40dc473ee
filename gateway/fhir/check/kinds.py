"""What the checker knows of each type, made once from `gateway.fhir.definitions` into the form that is quick to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from threading import RLock
from typing import Any

from gateway.fhir.check import invariants
from gateway.fhir.check.invariants import Invariant
from gateway.fhir.check.primitives import ELEMENT_ID, PRIMITIVES, SHAPES, Primitive
from gateway.fhir.definitions import Binding, Field, Type, Version, get_type, is_resource

TEXT, OBJECT, OBJECTS, REFERENCE, REFERENCES, VALUE, VALUES, RESOURCE, RESOURCES = range(9)
SIBLING, SIBLINGS, XHTML, ENTRIES, STRING = range(9, 14)
"""The shapes of a member: one text; one or several objects; one or several References; one value of another primitive
type, or several of any; one or several resources; what stands beside one or several values; the XHTML of a narrative;
the entries of a Bundle; one text that may be any."""


class Member:
    """One name that a JSON object may have. `kind` is that of the objects it holds, `primitive` that of its values."""

    __slots__ = ("bound", "fits", "json", "kind", "name", "said", "shape")

    def __init__(self, name: str, said: Field, shape: int) -> None:
        self.name = name
        self.said = said
        self.shape = shape
        self.kind: Kind = _NOTHING
        self.bound: Bound | None = None
        self.json: tuple[type, ...] = ()
        self.fits: Callable[[Any], object] = _anything

    @property
    def primitive(self) -> Primitive | None:
        """What its values look like; None if it has objects."""
        return PRIMITIVES.get(self.said.type)


class Bound:
    """A binding of Codings: `is_met` by a Coding, CodeableConcept or Quantity with one code of the value set."""

    __slots__ = ("binding", "is_met", "rule")

    def __init__(self, binding: Binding, type_name: str) -> None:
        self.binding = binding
        self.rule = f"binding-{binding.strength}"
        self.is_met: Callable[[dict[str, Any]], bool] = {
            "CodeableConcept": self._in_concept,
            "CodeableReference": self._in_codeable_reference,
        }.get(type_name, self._in_coding)

    def _in_coding(self, coding: dict[str, Any]) -> bool:
        """Whether its code is one of them; one that has no code at all says nothing that could be another."""
        code, system = coding.get("code"), coding.get("system")
        if type(code) is not str or not (system is None or type(system) is str):
            return True
        return (system, code) in self.binding.codes

    def _in_concept(self, concept: dict[str, Any]) -> bool:
        codings = concept.get("coding")
        if type(codings) is not list:
            return self.binding.strength != "required"
        codes = self.binding.codes
        return any(type(item) is dict and _pair(item) in codes for item in codings)

    def _in_codeable_reference(self, value: dict[str, Any]) -> bool:
        concept = value.get("concept")
        return type(concept) is not dict or self._in_concept(concept)


def _pair(coding: dict[str, Any]) -> tuple[Any, Any] | None:
    system, code = coding.get("system"), coding.get("code")
    return (system, code) if type(system) is str and type(code) is str else None


class Kind:
    """A type: its members by name, the names of which one must be there, of which one may be, and its invariants.

    One that has none of these three demands nothing of its members together.
    """

    __slots__ = ("choices", "invariants", "is_demanding", "is_resource", "members", "name", "required", "type")

    def __init__(self, name: str) -> None:
        self.name = name
        self.type: Type | None = None
        self.members: dict[str, Member] = {}
        self.required: tuple[str, ...] = ()
        self.choices: tuple[tuple[str, frozenset[str], bool], ...] = ()
        self.invariants: Sequence[Invariant] = ()
        self.is_resource = False
        self.is_demanding = False


_NOTHING = Kind("")


def _anything(_value: object) -> bool:
    return True


@cache
def find_resource_kind(name: str, version: Version) -> Kind | None:
    """The kind of a resource type; None if the version has no such resource."""
    with _making:
        return _kind(name, version) if is_resource(name, version) else None


_making = RLock()
"""Kinds that refer to one another are made together; no other thread may see them half made."""
_kinds: dict[tuple[str, Version], Kind] = {}


def _kind(name: str, version: Version) -> Kind:
    """The kind of a type, with those of all its elements."""
    known = _kinds.get((name, version))
    if known is not None:
        return known
    kind = _kinds[name, version] = Kind(name)
    said = kind.type = get_type(name, version)
    fields = [*said.attributes.values(), *said.fields.values()]
    for field in fields:
        kind.members[field.name] = _member(field, version)
        if field.sibling:
            kind.members[field.sibling] = _sibling(field, version)
    kind.is_resource = is_resource(name, version)
    kind.required = tuple(field.name for field in fields if field.required and field.name == field.element)
    kind.choices = tuple(_choices(fields))
    kind.invariants = invariants.of(name, version)
    kind.is_demanding = bool(kind.required or kind.choices or kind.invariants)
    return kind


def _choices(fields: Sequence[Field]) -> list[tuple[str, frozenset[str], bool]]:
    """Each choice of types: its element, the names that there are for it, and whether one is required."""
    chosen: dict[str, list[Field]] = {}
    for field in fields:
        if field.name != field.element:
            chosen.setdefault(field.element, []).append(field)
    return [
        (element, frozenset(name for field in some for name in (field.name, field.sibling) if name), some[0].required)
        for element, some in chosen.items()
    ]


def _member(field: Field, version: Version) -> Member:
    member = Member(field.name, field, _shape(field))
    if field.kind == "complex":
        member.kind = _kind(field.type, version)
        if field.binding and field.binding.codes:
            member.bound = Bound(field.binding, field.type)
    elif field.kind != "resource":
        primitive = PRIMITIVES[field.type]
        member.json, member.fits = primitive.json, _fits(field, primitive)
    return member


def _shape(field: Field) -> int:
    if field.type == "Bundle.entry":
        one = many = ENTRIES
    elif field.kind == "xhtml":
        one = many = XHTML
    elif field.kind == "resource":
        one, many = RESOURCE, RESOURCES
    elif field.type == "Reference":
        one, many = REFERENCE, REFERENCES
    elif field.kind == "complex":
        one, many = OBJECT, OBJECTS
    elif field.type in ("string", "markdown") and not field.attribute and field.binding is None:
        one, many = STRING, VALUES
    else:
        one, many = (TEXT if PRIMITIVES[field.type].json == (str,) else VALUE), VALUES
    return many if field.many else one


def _fits(field: Field, primitive: Primitive) -> Callable[[Any], object]:
    """Whether a value looks as its type does, and is one of the codes if a value set is required."""
    if field.name == "id" and field.attribute:
        return ELEMENT_ID
    if field.binding is None or field.binding.strength != "required":
        return primitive.fits
    codes = frozenset(code for _, code in field.binding.codes)
    return codes.__contains__ if codes else SHAPES.get(field.binding.value_set, primitive.fits)


def _sibling(field: Field, version: Version) -> Member:
    member = Member(field.sibling, field, SIBLINGS if field.many else SIBLING)
    member.kind = _kind("Element", version)
    return member
