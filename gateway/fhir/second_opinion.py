"""What the models of `fhir.resources`, made by others from the same definitions, say of a resource.

They look at structure only, stop at the first kind of fault in an element, and are wrong about some of what FHIR
allows; so they are asked only where somebody wants to know what another implementation will say, and what they alone
find is told, not refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import import_module
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import Issue
from gateway.fhir.check.kinds import find_resource_kind
from gateway.fhir.definitions import Version, is_resource
from gateway.fhir.issues import printable, step
from gateway.fhir.json import Number, Resource

RULE = "second-opinion"
_MODELS: Mapping[Version, str] = {
    "STU3": "fhir.resources.STU3",
    "R4": "fhir.resources.R4B",
    "R4B": "fhir.resources.R4B",
    "R5": "fhir.resources",
}
"""There are no models of R4; those of R4B have its structure, but for the types that R4B does not have."""
_MOST = 20
_LONGEST = 300
"""Characters of what the models say, which may quote what was sent."""
_FARTHEST = 300
"""Digits, and powers of ten, that a number may have for the models to reckon with it."""


def second_opinion(resource: Resource, version: Version = "R4") -> list[Issue]:
    """What the models object to, as information; empty if they object to nothing or have no model of it.

    Never raises: what their code stumbles over is an objection too, for it is what others who use it will see.
    """
    model = _find_model(resource.get("resourceType"), version)
    if model is None:
        return []
    try:
        model.model_validate(_plain(resource))
    except ValidationError as error:
        return [*_issues(resource, error, version)]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is about the resource
        return [_issue(str(resource["resourceType"]), f"fails on it with {type(error).__name__}")]
    return []


def _find_model(resource_type: object, version: Version) -> Any:
    if not isinstance(resource_type, str) or not is_resource(resource_type, version):
        return None
    try:
        return import_module(_MODELS[version]).get_fhir_model_class(resource_type)
    except (LookupError, ValueError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    """The value as the models take it: a number with a fraction is a Decimal.

    What they would write out to see whether it is whole, `1e1000000`, is a text, which they take for a decimal as well.
    """
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Number):
        return value.lexeme if _is_far(value.lexeme) else Decimal(value.lexeme)
    return value


def _is_far(lexeme: str) -> bool:
    return len(lexeme) > _FARTHEST or abs(int(lexeme.lower().partition("e")[2] or 0)) > _FARTHEST


def _issues(resource: Resource, error: ValidationError, version: Version) -> Iterator[Issue]:
    objections = [fault for fault in error.errors(include_url=False, include_input=False) if not _is_wrong(fault)]
    for fault in objections[:_MOST]:
        yield _issue(_expression(resource, fault, version), printable(fault["msg"][:_LONGEST]).rstrip("."))


def _is_wrong(fault: ErrorDetails) -> bool:
    """Whether it is known to be: the models of R4B lack what stands beside some values of an Extension."""
    return fault["type"] == "extra_forbidden" and str(fault["loc"][-1]).startswith("_value")


def _issue(expression: str, said: str) -> Issue:
    text = f"fhir.resources, another implementation, objects: {said}."
    return Issue("informational", text, expression, "information", rule=RULE)


def _expression(resource: Resource, fault: ErrorDetails, version: Version) -> str:
    """The place of the fault, as far as what the models say of it is in the resource."""
    kind = find_resource_kind(str(resource["resourceType"]), version)
    expression, value = str(resource["resourceType"]), cast("Any", resource)
    for each in fault["loc"]:
        if isinstance(each, int) and isinstance(value, list) and each < len(value):
            expression, value = f"{expression}[{each}]", value[each]
        elif isinstance(each, str) and isinstance(value, dict) and each in value:
            member = kind.members.get(each) if kind is not None else None
            expression = f"{expression}.{member.said.element if member is not None else step(each)}"
            kind, value = member.kind if member is not None else None, value[each]
        else:
            break
        if isinstance(value, dict) and isinstance(value.get("resourceType"), str):
            kind = find_resource_kind(value["resourceType"], version)
    return expression
