"""Every element of a resource with the name of its type, as `gateway.fhir.definitions` has it."""

from collections.abc import Iterator
from typing import Any

from gateway.fhir.check.invariants import Context
from gateway.fhir.definitions import get_type

Element = dict[str, Any]


def elements(resource: Element, root: Element | None = None) -> Iterator[tuple[str, Element, Context]]:
    """The resource itself, the elements in it that have children, and those of the resources in it."""
    yield from _elements(resource["resourceType"], resource, Context(resource, root or resource))


def _elements(type_name: str, element: Element, context: Context) -> Iterator[tuple[str, Element, Context]]:
    yield type_name, element, context
    kind = get_type(type_name)
    for name, value in element.items():
        field = kind.fields.get(name)
        if field is not None:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and field.kind == "resource":
                    yield from elements(item, context.resource if name == "contained" else None)
                elif isinstance(item, dict) and field.kind == "complex":
                    yield from _elements(field.type, item, context)
        elif name in kind.siblings:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict):
                    yield from _elements("Element", item, context)
