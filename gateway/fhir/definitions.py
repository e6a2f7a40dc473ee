"""What FHIR R4 4.0.1 says of each type: its elements, their order, cardinality and types.

Read from the table that `gateway.fhir.compile_definitions` makes of the specification's own definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import orjson

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
TABLE = files(__package__) / "definitions-r4.json"

Kind = Literal["boolean", "integer", "decimal", "string", "xhtml", "complex", "resource"]
_PRIMITIVE = ("boolean", "integer", "decimal", "string")


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a JSON object: an element, or one type of an element that is a choice.

    Observation.value[x] gives eleven fields: `element` "value", `name` "valueQuantity", `type` "Quantity" and so on,
    all at the same place in the `order`. `sibling` is the name of what JSON puts beside a primitive value
    ("_birthDate"), empty if it is none; `attribute` says that XML writes it as one.
    """

    name: str
    sibling: str
    element: str
    order: int
    type: str
    kind: Kind
    many: bool
    attribute: bool


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


@cache
def get_type(name: str) -> Type:
    """The type of this name; KeyError if R4 has none."""
    fields = [
        field
        for order, (element, said) in enumerate(_elements(name).items())
        for field in _fields(element, order, said)
    ]
    names = [(field, name) for field in fields for name in (field.name, field.sibling) if name]
    return Type(
        name=name,
        attributes={field.name: field for field in fields if field.attribute},
        fields={field.name: field for field in fields if not field.attribute},
        siblings={field.sibling: field for field in fields if field.sibling},
        tags={_tag(field): field for field in fields if not field.attribute},
        order={name: field.order for field, name in names},
    )


def is_resource(name: str) -> bool:
    """Whether a resource can be of this type."""
    said = _table()["types"].get(name)
    return said is not None and "abstract" not in said and _is_based_on_resource(name)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(TABLE.read_bytes())
    return table


def _is_based_on_resource(name: str) -> bool:
    while name and name != "Resource":
        name = _table()["types"][name]["base"]
    return bool(name)


def _elements(name: str) -> dict[str, str]:
    if not name:
        return {}
    said = _table()["types"][name]
    return {**_elements(said["base"]), **said["elements"]}


def _fields(element: str, order: int, said: str) -> Iterator[Field]:
    cardinality, *types = said.split(" ")
    many = cardinality.endswith("*")
    base = element.removesuffix("[x]")
    for code in types:
        type_name = code.removeprefix("@")
        name = base if base == element else base + type_name[0].upper() + type_name[1:]
        kind, attribute = _kind(type_name), type_name != code
        sibling = f"_{name}" if kind in _PRIMITIVE and not attribute else ""
        yield Field(name, sibling, base, order, type_name, kind, many, attribute)


def _tag(field: Field) -> str:
    return f"{{{XHTML}}}{field.name}" if field.kind == "xhtml" else f"{{{FHIR}}}{field.name}"


def _kind(type_name: str) -> Kind:
    kind: Kind = "resource" if type_name == "Resource" else _table()["primitives"].get(type_name, "complex")
    return kind
