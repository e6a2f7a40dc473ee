"""What each version of FHIR says of its types: their elements, order, cardinality, types, bindings and invariants.

Read from the tables that `gateway.fhir.compile_definitions` makes of the specifications' own definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal

import orjson

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"

Version = Literal["STU3", "R4", "R4B", "R5"]
VERSIONS: tuple[Version, ...] = ("STU3", "R4", "R4B", "R5")
TABLES: Mapping[Version, str] = {version: f"definitions-{version.lower()}.json" for version in VERSIONS}
"""The table of each version, beside this module."""

Kind = Literal["boolean", "integer", "decimal", "string", "xhtml", "complex", "resource"]
_PRIMITIVE = ("boolean", "integer", "decimal", "string")


@dataclass(frozen=True, slots=True)
class Binding:
    """How an element is bound to a value set: `strength` is required, extensible or preferred.

    `codes` has (system, code) pairs; empty if they cannot be told without a terminology server.
    """

    strength: str
    value_set: str
    codes: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a JSON object: an element, or one type of an element that is a choice.

    Observation.value[x] gives eleven fields: `element` "value", `name` "valueQuantity", `type` "Quantity" and so on,
    all at the same place in the `order`. `sibling` is the name of what JSON puts beside a primitive value
    ("_birthDate"), empty if it is none; `attribute` says that XML writes it as one; `required`, that the element is.
    `targets` are the resource types that a Reference may be to; empty if any.
    """

    name: str
    sibling: str
    element: str
    order: int
    type: str
    kind: Kind
    many: bool
    attribute: bool
    required: bool = False
    binding: Binding | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constraint:
    """An invariant as it is defined, in words and as FHIRPath; of the type, or of its `element`."""

    key: str
    severity: Literal["error", "warning"]
    human: str
    expression: str
    element: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """A resource type, a data type, or an element with children of its own (`Patient.contact`).

    Its fields by the names that are met: XML's attributes; the members of JSON that are none; those that JSON puts
    beside a value; the tags of XML's children. `order` is the place of every member of JSON.
    """

    name: str
    attributes: Mapping[str, Field]
    fields: Mapping[str, Field]
    siblings: Mapping[str, Field]
    tags: Mapping[str, Field]
    order: Mapping[str, int]
    constraints: tuple[Constraint, ...] = ()


@cache
def get_type(name: str, version: Version = "R4") -> Type:
    """The type of this name; KeyError if the version has none."""
    table = _table(version)
    if name not in table.types:
        raise KeyError(name)
    fields = [
        field
        for order, (element, text) in enumerate(table.inherited(name, "elements").items())
        for field in table.fields(name, element, order, text)
    ]
    names = [(field, name) for field in fields for name in (field.name, field.sibling) if name]
    return Type(
        name=name,
        attributes={field.name: field for field in fields if field.attribute},
        fields={field.name: field for field in fields if not field.attribute},
        siblings={field.sibling: field for field in fields if field.sibling},
        tags={_tag(field): field for field in fields if not field.attribute},
        order={name: field.order for field, name in names},
        constraints=table.constraints(name),
    )


@lru_cache(maxsize=4096)
def is_resource(name: str, version: Version = "R4") -> bool:
    """Whether a resource can be of this type."""
    table = _table(version)
    said = table.types.get(name)
    return said is not None and "abstract" not in said and table.is_based_on_resource(name)


def type_names(version: Version = "R4") -> tuple[str, ...]:
    """The names of all types that are not primitive, abstract ones among them."""
    return tuple(_table(version).types)


@cache
def constraint_keys(version: Version = "R4") -> frozenset[str]:
    """The keys of all constraints that the types of a version have."""
    return frozenset(text[0] for said in _table(version).types.values() for text in said.get("invariants", ()))


class _Table:
    """The table of one version as it is in its file."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.types: dict[str, dict[str, Any]] = content["types"]
        self._primitives: dict[str, Kind] = content["primitives"]
        self._codes: dict[str, dict[str, list[str]]] = content["codes"]

    def inherited(self, name: str, part: str) -> dict[str, Any]:
        """That part of what is said of the type, and of those it is based on, which come first."""
        if not name:
            return {}
        said = self.types[name]
        return {**self.inherited(said["base"], part), **said.get(part, {})}

    def constraints(self, name: str) -> tuple[Constraint, ...]:
        """Those of the types it is based on first."""
        if not name:
            return ()
        said = self.types[name]
        return (*self.constraints(said["base"]), *(Constraint(*text) for text in said.get("invariants", ())))

    def is_based_on_resource(self, name: str) -> bool:
        while name and name not in ("Resource", "CanonicalResource"):
            name = self.types[name]["base"]
        return bool(name)

    def fields(self, name: str, element: str, order: int, text: str) -> Iterator[Field]:
        cardinality, *types = text.split(" ")
        base = element.removesuffix("[x]")
        bound = self.inherited(name, "bindings").get(element)
        targets = tuple(self.inherited(name, "targets").get(element, "").split())
        for code in types:
            type_name = code.removeprefix("@")
            kind, attribute = self._kind(type_name), type_name != code
            member = base if base == element else base + type_name[0].upper() + type_name[1:]
            yield Field(
                name=member,
                sibling=f"_{member}" if kind in _PRIMITIVE and not attribute else "",
                element=base,
                order=order,
                type=type_name,
                kind=kind,
                many=cardinality.endswith("*"),
                attribute=attribute,
                required=not cardinality.startswith("0"),
                binding=self._binding(bound) if bound and type_name in _BOUND else None,
                targets=targets if type_name == "Reference" else (),
            )

    def _kind(self, type_name: str) -> Kind:
        return "resource" if type_name == "Resource" else self._primitives.get(type_name, "complex")

    def _binding(self, text: str) -> Binding:
        strength, value_set = text.split(" ")
        codes = self._codes.get(value_set, {})
        return Binding(strength, value_set, frozenset((system, code) for system in codes for code in codes[system]))


_BOUND = ("code", "uri", "string", "Coding", "CodeableConcept", "Quantity", "CodeableReference")
"""The types that a binding can be about: https://hl7.org/fhir/R4/terminologies.html#4.1"""


@cache
def _table(version: Version) -> _Table:
    return _Table(orjson.loads((files(__package__) / TABLES[version]).read_bytes()))


def _tag(field: Field) -> str:
    return f"{{{XHTML}}}{field.name}" if field.kind == "xhtml" else f"{{{FHIR}}}{field.name}"
