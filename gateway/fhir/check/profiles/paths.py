"""Where a rule of a profile applies: `destination:primary.extension('http://…').value[x]`, read and followed.

The steps are those of an element's id in a StructureDefinition (https://hl7.org/fhir/R4/elementdefinition.html#id):
members of JSON, `value[x]` for a choice of whatever type, `:name` for a slice; and `extension('url')` from FHIRPath.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any, NamedTuple

from gateway.fhir import definitions
from gateway.fhir.definitions import Field, Version
from gateway.fhir.issues import shown

_STEP = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9]*)(?P<choice>\[x\])?(?:\('(?P<url>[^']+)'\))?(?::(?P<slice>[A-Za-z0-9_-]+))?(?:\.|$)"
)
_MOST_NAMED = 12
_EXTENSIONS = ("extension", "modifierExtension")


class PathError(ValueError):
    """A path that cannot be read, or that the type has not; the text says what is wrong with it."""


class Item(NamedTuple):
    """One occurrence of an element: its value, what JSON puts beside it, the member it is in, its number if of several.

    `value` is None if there is nothing but the sibling (`_status`). `element` is what FHIRPath calls it: "value" where
    the member is "valueQuantity".
    """

    value: Any
    sibling: Any = None
    name: str = ""
    element: str = ""
    number: int | None = None

    @property
    def inside(self) -> dict[str, Any] | None:
        """What its own elements are in: the value, or what is beside a primitive one."""
        if type(self.value) is dict:
            return self.value
        return self.sibling if type(self.sibling) is dict else None

    def path(self, parent: str) -> str:
        """Its FHIRPath, given that of what it is in; the same if it is no element but the resource itself."""
        if not self.element:
            return parent
        return f"{parent}.{self.element}" if self.number is None else f"{parent}.{self.element}[{self.number}]"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: the element's name, whether it is a choice, the extension's url or the slice that is meant.

    `members` are the names that the element has in JSON, each with that of what JSON puts beside it; empty if that
    depends on what is there: for a choice, and for what is in a resource inside.
    `element` is its name in FHIRPath, whose type does not show in it.
    """

    name: str
    element: str = ""
    choice: bool = False
    url: str = ""
    slice: str = ""
    members: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        url = f"('{self.url}')" if self.url else ""
        return f"{self.name}{'[x]' if self.choice else ''}{url}{':' + self.slice if self.slice else ''}"

    def items(self, parent: Mapping[str, Any]) -> list[Item]:
        """The occurrences of the element in `parent`, those of an extension only if the url is the step's."""
        found: list[Item] = []
        for name, sibling in self.members or self._members_of(parent):
            if name in parent or sibling in parent:
                found += _items(parent.get(name), parent.get(sibling), name, self.element)
        return [item for item in found if _has_url(item.value, self.url)] if self.url else found

    def _members_of(self, parent: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        if not self.choice:
            return _with_siblings([self.name])
        names = (str(name).removeprefix("_") for name in parent)
        return _with_siblings(name for name in names if self._is_choice(name))

    def _is_choice(self, name: str) -> bool:
        return name.startswith(self.name) and name[len(self.name) : len(self.name) + 1].isupper()


Path = tuple[Step, ...]


def read(text: str, kinds: frozenset[str], version: Version) -> tuple[Path, frozenset[str]]:
    """The steps of a path below any of these types, and the types of what it leads to; PathError.

    Of what is below a resource inside another one the types are not known: `kinds` is empty, and any name will do.
    """
    steps: list[Step] = []
    text, position = text.strip(), 0
    while position < len(text):
        match = _STEP.match(text, position)
        if not match or (match["url"] and match["name"] not in _EXTENSIONS):
            raise PathError(
                f"{shown(text[position:])} is no step of a path. Write elements with dots between them, like "
                "code.coding, value[x], identifier:slice or extension('url')"
            )
        fields = _fields(kinds, match, version)
        kinds = frozenset(field.type for field in fields if field.kind != "resource")
        members = () if match["choice"] else _with_siblings(field.name for field in fields)
        element = fields[0].element if fields else match["name"]
        steps.append(
            Step(match["name"], element, bool(match["choice"]), match["url"] or "", match["slice"] or "", members)
        )
        position = match.end()
    return tuple(steps), kinds


def values(parent: Any, path: Path) -> Iterator[Item]:
    """What the path leads to, wherever it leads: any number of occurrences, of whatever slice."""
    if not path:
        yield Item(parent)
        return
    if type(parent) is dict:
        for item in path[0].items(parent):
            if len(path) == 1:
                yield item
            else:
                yield from values(item.inside, path[1:])


def _with_siblings(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"_{name}") for name in dict.fromkeys(names))


def _items(value: Any, sibling: Any, name: str, element: str) -> list[Item]:
    if type(value) is not list and type(sibling) is not list:
        return [] if value is None and sibling is None else [Item(value, sibling, name, element)]
    listed = value if type(value) is list else [value]
    beside = sibling if type(sibling) is list else []
    return [
        Item(each, other, name, element, number)
        for number, (each, other) in enumerate(zip_longest(listed, beside))
        if each is not None or other is not None
    ]


def _has_url(value: Any, url: str) -> bool:
    return type(value) is dict and value.get("url") == url


def _fields(kinds: frozenset[str], match: re.Match[str], version: Version) -> list[Field]:
    """The fields that a step means in any of the types, none if no types are known; PathError if these have none."""
    found: list[Field] = []
    known: set[str] = set()
    for kind in kinds:
        for field in _members(kind, version):
            written = f"{field.element}[x]" if field.name != field.element else field.name
            known |= {written, field.name}
            if (field.element if match["choice"] else field.name) == match["name"]:
                found.append(field)
    if kinds and not found:
        wanted = match["name"] + (match["choice"] or "")
        raise PathError(
            f"{' or '.join(sorted(kinds))} has no element {wanted} in FHIR {version}. {_advice(wanted, known)}"
        )
    return found


def _advice(wanted: str, known: set[str]) -> str:
    near = [f"{wanted}[x]"] if f"{wanted}[x]" in known else get_close_matches(wanted, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"It has {', '.join(sorted(known)[:_MOST_NAMED])}"


def _members(kind: str, version: Version) -> list[Field]:
    try:
        said = definitions.get_type(kind, version)
    except KeyError:
        said = definitions.get_type("Element", version)
    return [*said.attributes.values(), *said.fields.values()]
