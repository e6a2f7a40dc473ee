"""Resources of every type of every version, made from its definitions: right in structure and form, without sense."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

from hypothesis import strategies as st

from gateway.fhir.definitions import Field, Version, get_type, is_resource, type_names
from gateway.fhir.json import Number

Members = dict[str, Any]

_DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>one</p></div>'
_STRINGS = {
    "uri": ("urn:one", "http://two.example/2"),
    "url": ("http://one.example/1",),
    "canonical": ("http://one.example/1|2",),
    "uuid": ("urn:uuid:c757873d-ec9a-4326-a141-556f43239520",),
    "oid": ("urn:oid:1.2.3",),
    "id": ("a-1", "b.2"),
    "code": ("draft", "completed", "in progress"),
    "date": ("2026", "2026-01-02"),
    "dateTime": ("2026", "2026-01-02T03:04:05.60+01:00"),
    "instant": ("2026-01-02T03:04:05.600Z",),
    "time": ("03:04:05",),
    "integer64": ("9007199254740993", "-1"),
    "base64Binary": ("YQ==",),
}
_TEXTS = ("one", "two words", '<&">\n')


def resources(version: Version, depth: int = 4) -> st.SearchStrategy[Members]:
    """Resources of any type of the version."""
    return st.tuples(st.sampled_from(resource_types(version)), st.integers(0, 2**32)).map(
        lambda made: resource_of(made[0], version, made[1], depth)
    )


@cache
def resource_types(version: Version) -> tuple[str, ...]:
    return tuple(name for name in type_names(version) if is_resource(name, version))


def resource_of(name: str, version: Version, seed: int, depth: int = 4) -> Members:
    """One resource of the type, always the same for the same seed."""
    return {"resourceType": name, **_Maker(Random(seed), version).members(name, depth, 8)}


class _Maker:
    def __init__(self, random: Random, version: Version) -> None:
        self._random = random
        self._version: Version = version

    def members(self, type_name: str, depth: int, most: int) -> Members:
        random, kind = self._random, get_type(type_name, self._version)
        made: Members = {
            name: f"urn:{random.randrange(9)}" for name in kind.attributes if name == "url" or random.random() < 0.1
        }
        fields = [field for field in kind.fields.values() if depth > 0 or field.sibling]
        orders: set[int] = set()
        for field in random.sample(fields, min(most, len(fields))):
            if field.order not in orders:
                orders.add(field.order)
                made |= self._field(field, depth)
        return made

    def _field(self, field: Field, depth: int) -> Members:
        random = self._random
        count = random.randint(1, 3) if field.many else 1
        values = [self._value(field, depth) for _ in range(count)]
        if any(value is None for value in values):
            return {}
        made: Members = {field.name: values if field.many else values[0]}
        if field.sibling and random.random() < 0.2:
            beside = [
                random.choice((None, {"id": "s"}, {"extension": [{"url": "u", "valueCode": "c"}]})) for _ in values
            ]
            if any(beside):
                made[field.sibling] = beside if field.many else beside[0]
        return made

    def _value(self, field: Field, depth: int) -> Any:
        random = self._random
        match field.kind:
            case "resource":
                name = random.choice(resource_types(self._version))
                return {"resourceType": name, **self.members(name, depth - 2, 4)} if depth > 2 else None
            case "complex":
                return self.members(field.type, depth - 1, 4) or None
            case "xhtml":
                return _DIV
            case "boolean":
                return random.random() < 0.5
            case "integer":
                return random.randint(1, 9)
            case "decimal":
                return Number(f"{random.randint(0, 9)}.{random.randint(0, 9)}0")
        return random.choice(_STRINGS.get(field.type, _TEXTS))
