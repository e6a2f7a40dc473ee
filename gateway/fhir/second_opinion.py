"""What the models of `fhir.resources`, made by others from the same definitions, say of a resource.

They look at structure only, stop at the first kind of fault in an element, and are wrong about some of what FHIR
allows; so they are asked only where somebody wants to know what another implementation will say, and what they alone
find is told, not refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from importlib import import_module
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import Issue
from gateway.fhir.definitions import Version, is_resource
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
        return [*_issues(resource, error)]
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
    """The value as the models take it: a number with a fraction is a Decimal."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return Decimal(value.lexeme) if isinstance(value, Number) else value


def _issues(resource: Resource, error: ValidationError) -> Iterator[Issue]:
    objections = [fault for fault in error.errors(include_url=False, include_input=False) if not _is_wrong(fault)]
    for fault in objections[:_MOST]:
        yield _issue(_expression(resource, fault), fault["msg"].rstrip("."))


def _is_wrong(fault: ErrorDetails) -> bool:
    """Whether it is known to be: the models of R4B lack what stands beside some values of an Extension."""
    return fault["type"] == "extra_forbidden" and str(fault["loc"][-1]).startswith("_value")


def _issue(expression: str, said: str) -> Issue:
    text = f"fhir.resources, another implementation, objects: {said}."
    return Issue("informational", text, expression, "information", rule=RULE)


def _expression(resource: Resource, fault: ErrorDetails) -> str:
    """The place of the fault, as far as what the models say of it is in the resource."""
    expression = str(resource["resourceType"])
    value: Any = resource
    for step in fault["loc"]:
        if isinstance(step, int) and isinstance(value, list) and step < len(value):
            expression += f"[{step}]"
        elif isinstance(value, dict) and step in value:
            expression += f".{step}"
        else:
            break
        value = value[step]
    return expression
