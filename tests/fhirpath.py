"""The invariants of R4 as the specification writes them, in FHIRPath, evaluated by `fhirpathpy`.

A second opinion on what the gateway decides in Python. What a FHIRPath engine cannot know by itself is left out: the
rules of XHTML (`htmlChecks()`), and what a reference leads to (`resolve()`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache
from typing import Any

import fhirpathpy
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from gateway.fhir.check.invariants import Context
from gateway.fhir.definitions import Constraint, get_type
from gateway.fhir.json import Resource
from tests.fhir.check.typed import elements

Found = list[Any]

_BESIDE_A_VALUE = "Element"
"""What JSON puts beside a primitive value, which is no element of its own."""


def broken(resource: Resource, without: Collection[int] = ()) -> Iterator[str]:
    """A sentence for each invariant of severity error that does not hold: `bdl-7 at Bundle: FullUrl must be …`.

    Those of the resources in it whose `id()` is in `without` are left out: no invariant of one depends on where it is.
    Numbers are those of plain JSON. Raises what `fhirpathpy` does on a resource that is not made as R4 says.
    """
    for type_name, element, context in elements(resource):
        for constraint in get_type(type_name).constraints:
            if constraint.severity != "error" or type_name == _BESIDE_A_VALUE or id(context.root) in without:
                continue
            holds = _compiled(constraint.expression)
            variables = {"resource": context.resource, "rootResource": context.root}
            for name, item in _occurrences(type_name, element, constraint.element):
                if holds(_node(name, item), variables) not in ([True], []):
                    yield f"{constraint.key} at {name}: {constraint.human}"


def outcomes(constraint: Constraint, type_name: str, element: Resource, context: Context) -> list[Found]:
    """What the constraint evaluates to, for the element or for each of what it is about in it: `[True]`, `[]`, …"""
    holds = _compiled(constraint.expression)
    variables = {"resource": context.resource, "rootResource": context.root}
    found = _occurrences(type_name, element, constraint.element)
    return [holds(_node(name, item), variables) for name, item in found]


def _occurrences(type_name: str, element: Resource, member: str) -> list[tuple[str, Any]]:
    """What a constraint is about, with its type: the element, or each of what is in one of its members."""
    if not member:
        return [(type_name, element)]
    found = element.get(member, [])
    return [(f"{type_name}.{member}", item) for item in (found if isinstance(found, list) else [found])]


def _node(type_name: str, item: Any) -> Any:
    is_resource = isinstance(item, dict) and "resourceType" in item
    return item if is_resource else ResourceNode.create_node(item, type_name)


def _has_value(nodes: Found) -> bool:
    values = [getattr(node, "data", node) for node in nodes]
    return len(values) == 1 and values[0] is not None and not isinstance(values[0], (dict, list))


_FUNCTIONS = {
    "hasValue": {"fn": _has_value, "arity": {0: []}},
    "htmlChecks": {"fn": lambda _nodes: True, "arity": {0: []}},
    "resolve": {"fn": lambda _nodes: [], "arity": {0: []}},
}


@cache
def _compiled(expression: str) -> Callable[[Any, dict[str, Any]], Found]:
    options = {"userInvocationTable": _FUNCTIONS, "traceFn": lambda *_: None}
    # The R4 of dom-3 casts many at once; later versions of it say what is meant by it.
    expression = expression.replace(".as(", ".ofType(")
    compiled: Callable[[Any, dict[str, Any]], Found] = fhirpathpy.compile(expression, models["r4"], options)
    return compiled
