"""FHIRPath for the invariants of profiles (https://hl7.org/fhirpath/N1/): compiled when first needed, true or false."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from gateway.fhir.json import Number, Resource

_ROOT = "%rootResource"
_DEEPEST = 200
_LONGEST = 40
"""Digits of a number that is taken as a decimal; what is longer or far from 1 is left out."""

Evaluated = Callable[[Any, dict[str, Any]], list[Any]]


def holds(expression: str, about: str, element: Any, resource: Resource, root: Callable[[], Resource]) -> bool:
    """Whether `expression` is true of the element `about` ("Task.input"), given %resource and %rootResource.

    All three are as `plain` makes them; `root` is called only if the expression has %rootResource. Nothing is false,
    anything else is true. An expression that cannot be evaluated on this content holds: what has the wrong shape is
    for other rules to say. Never raises.
    """
    try:
        variables = {"resource": resource}
        if _ROOT in expression:
            variables["rootResource"] = root()
        result = _compiled(expression)(_typed(element, about), variables)
        return bool(result) and result != [False]
    except Exception:  # noqa: BLE001 - the library raises whatever it meets
        return True


def fault(expression: str, about: str) -> str:
    """Why the expression cannot be used, empty if it can: tried on an element that has none of its own."""
    resource = {"resourceType": about.partition(".")[0]}
    try:
        _compiled(expression)(_typed({}, about), {"resource": resource, "rootResource": resource})
    except Exception as error:  # noqa: BLE001 - the library raises whatever it meets
        return str(error) or type(error).__name__
    return ""


def plain(value: Any, depth: int = 0) -> Any:
    """The value with each `Number` as a Decimal, as the library wants it; what is deeper than any FHIR is left."""
    kind = type(value)
    if kind is dict and depth < _DEEPEST:
        return {name: plain(each, depth + 1) for name, each in value.items()}
    if kind is list and depth < _DEEPEST:
        return [plain(each, depth + 1) for each in value]
    if kind is Number:
        is_usual = len(value.lexeme) < _LONGEST and 1e-100 < abs(value) < 1e100
        return Decimal(value.lexeme) if is_usual else Decimal(0) if value == 0 else None
    return value


def _typed(element: Any, about: str) -> Any:
    """The element as the library takes it: one that is no resource has to be told its place in one."""
    from fhirpathpy.engine.nodes import ResourceNode

    if isinstance(element, dict) and "resourceType" in element:
        return element
    return ResourceNode.create_node(element, about)  # type: ignore[no-untyped-call]


@cache
def _compiled(expression: str) -> Evaluated:
    import fhirpathpy  # which takes 0.2 s, and few deployments have profiles with invariants
    from fhirpathpy.models import models

    return fhirpathpy.compile(expression, models["r4"])
