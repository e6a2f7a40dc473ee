"""What has no place in a version, carried in an extension, and taken out of it again.

The extensions are those of https://hl7.org/fhir/R5/versions.html#extensions:
`http://hl7.org/fhir/5.0/StructureDefinition/extension-Task.performer`. What is of no type that an extension can have
is carried in parts: an extension inside for each member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

from gateway.fhir.definitions import Field, Type, Version, get_type, type_names

Members = dict[str, Any]
Pairs = list[tuple[Any, Any]]
"""The values of an element, each with what JSON has beside it (`_birthDate`)."""

NUMBERS: dict[Version, str] = {"STU3": "3.0", "R4": "4.0", "R4B": "4.3", "R5": "5.0"}
"""The versions as `fhirVersion` has them."""
_DATATYPE = "http://hl7.org/fhir/StructureDefinition/_datatype"
_INSTEAD = {"canonical": "uri", "url": "uri", "uuid": "uri", "integer64": "string"}
"""The types in which an older version carries values of those that it does not know."""


class NotCarriedError(Exception):
    """No extension can hold this."""


def url_of(version: Version, path: str) -> str:
    """The extension that carries the element at this path of that version."""
    return f"http://hl7.org/fhir/{NUMBERS[version]}/StructureDefinition/extension-{path}"


def pairs_of(field: Field, members: Members) -> Pairs:
    """The values of the field in some members, whether they are one or many."""
    value, beside = members.get(field.name), members.get(field.sibling) if field.sibling else None
    if isinstance(value, list) or (value is None and isinstance(beside, list)):
        return [*zip_longest(value or [], beside if isinstance(beside, list) else [])]
    return [(value, beside)]


def members_of(field: Field, pairs: Pairs) -> Members:
    """The reverse of `pairs_of`: one value, or many as JSON writes them."""
    values, beside = [value for value, _ in pairs], [sibling for _, sibling in pairs]
    made: Members = {}
    if any(value is not None for value in values):
        made[field.name] = values if field.many else values[0]
    if field.sibling and any(sibling is not None for sibling in beside):
        made[field.sibling] = beside if field.many else beside[0]
    return made


class Carrier:
    """Carries what is of `source` in extensions of `target`; `convert` makes a value of a type the target's."""

    def __init__(self, source: Version, target: Version, convert: Callable[[str, Any], Any]) -> None:
        self._source = source
        self._convert = convert
        self._values = get_type("Extension", target).fields
        self._known = frozenset(type_names(target))

    def carry(self, url: str, field: Field, pairs: Pairs) -> list[Members]:
        """An extension for each value. Raises NotCarriedError."""
        return [self._carried(url, field, value, beside) for value, beside in pairs]

    def _carried(self, url: str, field: Field, value: Any, beside: Any) -> Members:
        if field.sibling:
            return {"url": url, **self._primitive(field, value, beside)}
        if field.kind != "complex" or not isinstance(value, dict):
            raise NotCarriedError
        if field.type in self._known and (name := _value_name(field.type)) in self._values:
            return {"url": url, name: self._convert(field.type, value)}
        return {"url": url, "extension": [*self._parts(get_type(field.type, self._source), value)]}

    def _primitive(self, field: Field, value: Any, beside: Any) -> Members:
        name = _value_name(field.type)
        is_known = name in self._values
        name = name if is_known else _value_name(_INSTEAD.get(field.type, "string"))
        made = {key: item for key, item in ((name, value), (f"_{name}", beside)) if item is not None}
        if is_known or field.name == field.element:
            return made
        return {"extension": [{"url": _DATATYPE, "valueString": field.type}, {"url": "value", **made}]}

    def _parts(self, kind: Type, value: Members) -> Iterator[Members]:
        if "." not in kind.name:
            yield {"url": _DATATYPE, "valueString": kind.name}
        for name, item in sorted(value.items(), key=lambda member: kind.order.get(member[0], -1)):
            if name in kind.attributes:
                yield {"url": name, "valueString": item}
            elif name in ("extension", "modifierExtension"):
                yield from self._inside(name, item)
            elif (field := kind.fields.get(name)) is not None:
                yield from self.carry(field.element, field, pairs_of(field, value))
            elif (field := kind.siblings.get(name)) is None:
                raise NotCarriedError
            elif field.name not in value:
                yield from self.carry(field.element, field, pairs_of(field, value))

    def _inside(self, name: str, items: Any) -> Iterator[Members]:
        if not isinstance(items, list):
            raise NotCarriedError
        converted = [self._convert("Extension", item) for item in items]
        if name == "extension":
            yield from converted
        else:
            yield {"url": name, "extension": converted}


class Taker:
    """Takes what is of `target` out of extensions; `convert` makes what is inside, as they have it, the target's."""

    def __init__(self, target: Version, convert: Callable[[str, Any], Any]) -> None:
        self._target = target
        self._convert = convert

    def take_out(self, owner: Type, element: str, carried: list[Members]) -> Members | None:
        """The members that the element has, of extensions that carry it; None if they do not fit it."""
        found = [self._taken_out(owner, element, extension) for extension in carried]
        fields = {field.name: field for field, _, _ in found if field is not None}
        if len(fields) != 1 or any(field is None for field, _, _ in found):
            return None
        (field,) = fields.values()
        if len(found) > 1 and not field.many:
            return None
        return members_of(field, [(value, beside) for _, value, beside in found])

    def _taken_out(self, owner: Type, element: str, carried: Members) -> tuple[Field | None, Any, Any]:
        fields = [field for field in owner.fields.values() if field.element == element]
        for names in ({}, _INSTEAD):
            for field in fields:
                name = _value_name(names.get(field.type, field.type))
                if name in carried or f"_{name}" in carried:
                    return field, *self._converted(field, name, carried)
        parts = carried.get("extension")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            return None, None, None
        named = next((part.get("valueString") for part in parts if part.get("url") == _DATATYPE), None)
        for field in fields:
            if field.sibling and field.type == named and field.name != field.element:
                part: Members = next((part for part in parts if part.get("url") == "value"), {})
                return field, *self._converted(field, _value_name(_INSTEAD.get(field.type, "string")), part)
        fits = [field for field in fields if field.kind == "complex" and (len(fields) == 1 or field.type == named)]
        value = self._joined(get_type(fits[0].type, self._target), parts) if len(fits) == 1 else None
        return (None, None, None) if value is None else (fits[0], value, None)

    def _converted(self, field: Field, name: str, carried: Members) -> tuple[Any, Any]:
        value, beside = carried.get(name), carried.get(f"_{name}")
        if not field.sibling:
            return self._convert(field.type, value), None
        return value, beside if beside is None else self._convert("Element", beside)

    def _joined(self, kind: Type, parts: list[Members]) -> Members | None:
        """The object that was carried in parts."""
        value: Members = {}
        by_name: dict[str, list[Members]] = {}
        elements = {field.element for field in kind.fields.values()} - {"extension", "modifierExtension"}
        for part in parts:
            url = part.get("url")
            if url in elements:
                by_name.setdefault(str(url), []).append(part)
            elif url in kind.attributes:
                value[str(url)] = part.get("valueString")
            elif url == "modifierExtension":
                inside = part.get("extension")
                value[url] = [self._convert("Extension", item) for item in inside] if isinstance(inside, list) else []
            elif url != _DATATYPE:
                value.setdefault("extension", []).append(self._convert("Extension", part))
        for name, some in by_name.items():
            members = self.take_out(kind, name, some)
            if members is None:
                return None
            value |= members
        return value


def _value_name(type_name: str) -> str:
    return f"value{type_name[0].upper()}{type_name[1:]}"
