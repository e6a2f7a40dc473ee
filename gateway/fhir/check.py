"""The structure check: is every resource of a Bundle made as FHIR says? All the issues at once, each with its FHIRPath.

Elements, types, cardinality, choices and what primitives look like are checked; codes, invariants and profiles are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic_core import ErrorDetails, SchemaValidator, ValidationError

from gateway.errors import Issue
from gateway.fhir import definitions
from gateway.fhir.json import Number, Resource
from gateway.fhir.models import (
    NOT_IN_R4B,
    PRIMITIVES,
    Choice,
    Element,
    Model,
    Unfit,
    elements,
    find_resource_model,
    find_validator,
)

MAX_ISSUES = 100
_LONGEST_QUOTE = 60
_MOST_NAMES = 8
_LARGE = 10**18
_MOST_FAULTS = 10_000
"""More in one resource are counted only: to describe a million takes seconds and a gigabyte."""

Location = tuple[int | str, ...]
"""Where something is in a resource, in the names that JSON gives it: `("name", 0, "_family")`."""


_validators: dict[str, SchemaValidator] = {}
"""Those in use, by the name of the resource type."""


def warm(types: Iterable[str]) -> None:
    """Make ready to check resources of these types, which is 10 to 100 ms of work for each, before the first comes."""
    for resource_type in types:
        _find_validator(resource_type)


def check_structure(bundle: Resource) -> list[Issue]:
    """Every issue found, the first `MAX_ISSUES` if there are more; empty if the structure is sound.

    Takes whatever `gateway.fhir.json.parse` yields, and leaves it as it is.
    """
    issues = list(islice(_issues(bundle), MAX_ISSUES + 1))
    if len(issues) > MAX_ISSUES:
        text = f"There are more issues than these {MAX_ISSUES}. Correct them and send again to see the others."
        issues[MAX_ISSUES:] = [Issue("incomplete", text, severity="information")]
    return issues


def _issues(bundle: Resource) -> Iterator[Issue]:
    waiting: list[tuple[str, Any]] = [(_root(bundle.get("resourceType")), bundle)]
    while waiting:
        path, resource = waiting.pop()
        if isinstance(resource, dict):
            yield from _resource_issues(path, resource)
            waiting += reversed([*_inner_resources(path, resource)])
        else:
            text = f"A resource is an object with a resourceType, not {_quoted(resource)}. Send one."
            yield Issue("structure", text, path)


def _root(resource_type: object) -> str:
    is_type = isinstance(resource_type, str) and _find_validator(resource_type) is not None
    return str(resource_type) if is_type else "Bundle"


def _find_validator(resource_type: str) -> SchemaValidator | None:
    validator = _validators.get(resource_type) or find_validator(resource_type)
    if validator is not None:
        _validators[resource_type] = validator
    return validator


def _inner_resources(path: str, resource: Resource) -> Iterator[tuple[str, Any]]:
    if "contained" in resource:
        for index, contained in enumerate(_list(resource["contained"])):
            yield f"{path}.contained[{index}]", contained
    if resource.get("resourceType") == "Parameters":
        yield from _parameter_resources(f"{path}.parameter", resource.get("parameter"))
    elif resource.get("resourceType") == "Bundle":
        for index, entry in enumerate(_list(resource.get("entry"))):
            if isinstance(entry, dict):
                yield from _entry_resources(f"{path}.entry[{index}]", entry)


def _entry_resources(path: str, entry: Resource) -> Iterator[tuple[str, Any]]:
    if "resource" in entry:
        yield f"{path}.resource", entry["resource"]
    response = entry.get("response")
    if isinstance(response, dict) and "outcome" in response:
        yield f"{path}.response.outcome", response["outcome"]


def _parameter_resources(path: str, parameters: Any) -> Iterator[tuple[str, Any]]:
    for index, parameter in enumerate(_list(parameters)):
        if isinstance(parameter, dict):
            if "resource" in parameter:
                yield f"{path}[{index}].resource", parameter["resource"]
            yield from _parameter_resources(f"{path}[{index}].part", parameter.get("part"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _resource_issues(path: str, resource: Resource) -> Iterator[Issue]:
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str):
        yield _issue_of_type("required" if resource_type is None else "structure", path, resource_type)
    elif resource_type not in NOT_IN_R4B:
        known = _find_validator(resource_type)
        if known is None or not definitions.is_resource(resource_type):
            yield _issue_of_type("not-supported", path, resource_type)
        else:
            yield from _faults(path, resource, known)


def _issue_of_type(code: str, path: str, resource_type: object) -> Issue:
    text = f"The resourceType is {_quoted(resource_type)}. Write the name of a resource type of FHIR R4."
    return Issue(code, text, path)


def _faults(path: str, resource: Resource, validator: SchemaValidator) -> Iterator[Issue]:
    unfit: Unfit = []
    try:
        validator.validate_python(resource, context=unfit)
    except ValidationError as error:
        yield from _issues_of(path, resource, error)
    if unfit:
        yield from _issues_of_choices(path, resource, unfit)


def _issues_of(path: str, resource: Resource, error: ValidationError) -> Iterator[Issue]:
    if error.error_count() > _MOST_FAULTS:
        number, name = error.error_count(), resource["resourceType"]
        text = f"{name} has {number} faults of structure, too many to name. Check it against FHIR R4 before sending it."
        yield Issue("structure", text, path)
        return
    for fault in error.errors(include_url=False):
        if not _is_sound(resource, fault):
            yield _issue(path, resource, fault)


def _is_sound(resource: Resource, fault: ErrorDetails) -> bool:
    """Whether R4 allows what the validator, which looks at one name at a time, did not."""
    if not fault["loc"]:
        return False
    *above, last = fault["loc"]
    if fault["type"] == "missing":
        sibling = _at(resource, above).get(f"_{last}")
        return any("extension" in item for item in _dicts(sibling))
    if fault["input"] is None and isinstance(last, int):
        siblings = _list(_at(resource, above[:-1]).get(f"_{above[-1]}"))
        return any(_dicts(siblings[last : last + 1]))
    return fault["type"] == "float_type" and type(fault["input"]) is int


def _at(resource: Resource, location: Iterable[int | str]) -> Any:
    found: Any = resource
    for step in location:
        found = found[step]
    return found


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]


# --- the sentences ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a fault is: for a program (`expression`, FHIRPath), and for whoever wrote the JSON (`name`)."""

    expression: str
    name: str
    element: Element | None
    model: Model | None


def _place(path: str, resource: Resource, location: Iterable[int | str]) -> _Place:
    place = _Place(path, resource["resourceType"], None, find_resource_model(resource["resourceType"]))
    for step in location:
        if isinstance(step, int):
            index = f"[{step}]"
            place = replace(place, expression=place.expression + index, name=place.name + index)
        elif place.model is not None:
            element = elements(place.model)[step]
            place = _Place(f"{place.expression}.{element.path}", f"{place.name}.{step}", element, element.model)
    return place


def _issue(path: str, resource: Resource, fault: ErrorDetails) -> Issue:
    location = fault["loc"]
    match fault["type"]:
        case "missing":
            place = _place(path, resource, location)
            return Issue("required", f"{place.name} is missing, and FHIR R4 requires it. Add it.", place.expression)
        case "extra_forbidden":
            return _issue_of_name(_place(path, resource, location[:-1]), str(location[-1]))
        case "recursion_loop":
            place = _place(path, resource, location)
            return Issue("too-costly", f"{place.name} is nested too deeply. Send it flatter.", place.expression)
        case kind:
            place = _place(path, resource, location)
            code = "structure" if kind.endswith("_type") else "value"
            return Issue(code, _correction(place, kind, fault["input"]), place.expression)


def _correction(place: _Place, kind: str, found: Any) -> str:
    if found is None:
        return f"{place.name} is null, which FHIR does not allow. Leave it out."
    if isinstance(found, list):
        return f"{place.name} is an array, but may be given only once. Write {_wanted(place, kind)}."
    return f"{place.name} is {_quoted(found)}. Write {_wanted(place, kind)}."


def _wanted(place: _Place, kind: str) -> str:
    if kind == "list_type":
        return "an array, even of one"
    if place.element is None or place.element.primitive is None:
        return f"an object ({place.model.get_resource_type()})" if place.model else "an object"
    return PRIMITIVES[place.element.primitive].wording


def _issue_of_name(place: _Place, name: str) -> Issue:
    known = elements(place.model) if place.model else {}
    alike = get_close_matches(name[:_LONGEST_QUOTE], known, n=1, cutoff=0.75)
    advice = f"Did you mean {alike[0]}?" if alike else "Remove it."
    return Issue("structure", f"{place.name} has no element {_quoted(name)} in FHIR R4. {advice}", place.expression)


def _issues_of_choices(path: str, resource: Resource, unfit: Unfit) -> Iterator[Issue]:
    really = list(islice(((element, choice) for element, choice in unfit if choice.is_unfit(element)), MAX_ISSUES + 1))
    locations = _locations(resource, {id(element) for element, _ in really})
    for element, choice in really:
        yield _issue_of_choice(_place(path, resource, locations[id(element)]), element, choice)


def _issue_of_choice(place: _Place, element: dict[str, Any], choice: Choice) -> Issue:
    chosen = sorted(choice.chosen(element))
    if chosen:
        code, text = "structure", f"{place.name} has {' and '.join(chosen)}. Keep one of them."
    else:
        code, text = "required", f"{place.name} has no {choice.path}[x]. Give one of {_some(choice.names)}."
    return Issue(code, text, f"{place.expression}.{choice.path}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _MOST_NAMES else f"its {len(names)} types, such as {names[-1]}"


def _locations(resource: Resource, wanted: set[int]) -> dict[int, Location]:
    """Where the objects are whose identities are `wanted`."""
    found: dict[int, Location] = {}
    waiting: list[tuple[Location, Any]] = [((), resource)]
    while len(found) < len(wanted):
        location, value = waiting.pop()
        if id(value) in wanted:
            found[id(value)] = location
        items = value.items() if isinstance(value, dict) else enumerate(value)
        waiting.extend(((*location, step), item) for step, item in items if isinstance(item, (dict, list)))
    return found


def _quoted(value: object) -> str:
    """Short enough for a sentence: whoever sent it need only recognise it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'"{_shortened(value)}"'
        case Number():
            return _shortened(value.lexeme)
        case int():
            return str(value) if abs(value) < _LARGE else "a number of very many digits"
        case list():
            return "an array"
        case _:
            return "an object"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
