"""How an object of one version becomes one of another: which member goes where, worked out once for each type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from gateway.fhir.definitions import Field, Type, Version, get_type, is_resource, type_names
from gateway.fhir.versions.carrying import Members, url_of
from gateway.fhir.versions.steps import Step, split
from gateway.fhir.versions.tables import RENAMES, RESOURCES, STEPS

_BASIC = "Basic"
_TYPES = "http://hl7.org/fhir/resource-types"
_IN_ANY_RESOURCE = frozenset(("id", "meta", "implicitRules", "language", "text", "contained", "identifier"))
_NAMED_ELSEWHERE = (("context", "encounter"), ("reason", "reasonCode"))
"""Elements that many types of an older version have under the first name, and those of a newer under the second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`fields` has each field of the source, and the target's that it goes to if there is one."""

    source: Type
    target: Type
    target_version: Version
    fields: Mapping[str, tuple[Field, Field | None]]
    steps: tuple[Step, ...]
    carried: Mapping[str, str]
    """The extensions that carry an element of the target, by their url."""

    def carried_by(self, extension: Any) -> str | None:
        """The element of the target that an extension carries."""
        url = extension.get("url") if isinstance(extension, dict) else None
        return self.carried.get(url) if isinstance(url, str) else None

    def can_hold(self, holder: str) -> bool:
        return holder in self.target.fields


@cache
def plan(source_type: str, target_type: str, source: Version, target: Version) -> Plan:
    """KeyError if one of the types does not exist."""
    here, there = get_type(source_type, source), get_type(target_type, target)
    other, other_type, forth = (source, source_type, True) if target == "R4" else (target, target_type, False)
    renames = RENAMES.get(other, {}).get(other_type, {})
    names = renames if forth else {theirs: name for name, theirs in renames.items()}
    steps = [step if forth else step.reversed() for step in STEPS.get(other, {}).get(other_type, ())]
    return Plan(
        source=here,
        target=there,
        target_version=target,
        fields={name: (field, _place(field, here, there, names)) for name, field in here.fields.items()},
        steps=(*steps, *_splits(here, there), *(step.reversed() for step in _splits(there, here))),
        carried={url_of(target, f"{target_type}.{field.element}"): field.element for field in there.fields.values()},
    )


@cache
def has_type(name: str, version: Version) -> bool:
    return name in type_names(version)


def types_of(value: Members, name: str, source: Version, target: Version) -> tuple[str, str, Members]:
    """The type that a resource is of and the one it becomes, and what is to be converted of it.

    What the target has no type for becomes a Basic whose code says what it is (https://hl7.org/fhir/R4/basic.html).
    """
    meant = _type_in_code(value) if name == _BASIC else None
    if meant is not None and is_resource(meant, target) and not is_resource(meant, source):
        return name, meant, {key: item for key, item in value.items() if key != "code"}
    back, mark = RESOURCES.get((target, source), {}), url_of(target, "Resource.resourceType")
    extensions = value["extension"] if isinstance(value.get("extension"), list) else []
    for number, item in enumerate(extensions):
        if isinstance(item, dict) and item.get("url") == mark and back.get(str(item.get("valueCode"))) == name:
            others = [*extensions[:number], *extensions[number + 1 :]]
            return name, item["valueCode"], {**value, "extension": others}
    becomes = RESOURCES.get((source, target), {}).get(name, name)
    return name, becomes if is_resource(becomes, target) else _BASIC, value


def marked(made: Members, name: str, source: Version, target: Version) -> Members:
    """What was made of a resource of this type, with what says so where its own type does not."""
    becomes = made["resourceType"]
    if name == _BASIC:
        return made
    if becomes == _BASIC:
        return made | {"code": {"coding": [{"system": _TYPES, "code": name}]}}
    if becomes != name and RESOURCES.get((target, source), {}).get(becomes) != name:
        mark = {"url": url_of(source, "Resource.resourceType"), "valueCode": name}
        return made | {"extension": [*made.get("extension", ()), mark]}
    return made


def _type_in_code(value: Members) -> str | None:
    match value.get("code"):
        case {"coding": [{"system": system, "code": str() as code}]} if system == _TYPES:
            return code
        case _:
            return None


def _place(field: Field, here: Type, there: Type, names: Mapping[str, str]) -> Field | None:
    """Where a field goes: to that of its name, unless the other version names it otherwise."""
    if _BASIC in (here.name, there.name) and here.name != there.name and field.name not in _IN_ANY_RESOURCE:
        return None
    if field.name in names:
        return there.fields.get(names[field.name])
    if (found := there.fields.get(field.name)) is not None:
        return found
    for pair in (*_NAMED_ELSEWHERE, *((new, old) for old, new in _NAMED_ELSEWHERE)):
        if field.name == pair[0] and pair[1] not in here.fields and field.type in ("Reference", "CodeableConcept"):
            return there.fields.get(pair[1])
    return None


def _splits(here: Type, there: Type) -> Iterator[Step]:
    """The elements that are one CodeableReference here, and a concept and a reference there."""
    for name, field in here.fields.items():
        if field.type != "CodeableReference" or name in there.fields or there.name == _BASIC:
            continue
        for concept in (f"{name}Code", f"{name}CodeableConcept"):
            one, other = there.fields.get(concept), there.fields.get(f"{name}Reference")
            if one is not None and other is not None:
                several = tuple(part.name for part in (one, other) if part.many)
                is_choice = one.order == other.order
                yield split(name, one.name, other.name, many=field.many, several=several, choice=is_choice)
