"""What an invariant is, and the words that the tables of them are written in.

A constraint holds unless its FHIRPath is false for certain. Where it is empty, or is not what its sentence says and a
later version of FHIR has mended it, the sentence counts. What has the wrong shape is not judged here: it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Element = dict[str, Any]
"""An object of FHIR JSON; anything may be in it."""

UCUM = "http://unitsofmeasure.org"


@dataclass(slots=True)
class Context:
    """Where an element is: `resource` is %resource; `root`, in which that is contained if it is, %rootResource."""

    resource: Element
    root: Element
    _types: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    def share(self, other: Context) -> None:
        """Looks up what `root` contains where a context of the same root has already."""
        self._types = other._types

    def contained_type(self, local_id: str) -> str | None:
        """The resourceType of what `root` contains by this id: the first of them; None if there is none."""
        types = self._types
        if not types:
            types[""] = None
            for item in items(self.root, "contained"):
                types.setdefault(text(item, "id") or "", text(item, "resourceType"))
        return types.get(local_id)


Holds = Callable[[Element, Context], bool]
"""Whether an element is as the invariant says: for any JSON that may be inside the element, without raising."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule that the specification gives an element of some type: `key` and `human` are its own.

    `path` is the child that the specification gives the rule to, if that has no type of its own
    (Organization.address), relative to the element that `holds` takes; `severity` is the specification's.
    """

    key: str
    human: str
    holds: Holds
    path: str = ""
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Rule:
    """An invariant, and the versions of FHIR that have it with this meaning."""

    invariant: Invariant
    versions: tuple[str, ...]


Rules = Mapping[str, tuple[Rule, ...]]
"""By the name of the type: "Period", "Bundle.entry"."""

R4_ONLY = ("R4",)
R4B_ONLY = ("R4B",)
R4 = ("R4", "R4B")
SINCE_R4B = ("R4B", "R5")
SINCE_R4 = ("R4", "R4B", "R5")
ALL = ("STU3", "R4", "R4B", "R5")


def error(key: str, human: str, holds: Holds, versions: tuple[str, ...] = R4, path: str = "") -> Rule:
    """What the specification calls an error."""
    return Rule(Invariant(key, human, holds, path), versions)


def warning(key: str, human: str, holds: Holds, versions: tuple[str, ...] = R4, path: str = "") -> Rule:
    """What the specification calls a warning."""
    return Rule(Invariant(key, human, holds, path, "warning"), versions)


# --- what is there ---------------------------------------------------------------------------------------------------


def has(element: Element, name: str) -> bool:
    """FHIRPath's `name.exists()`: a value, or what JSON puts beside one."""
    return name in element or f"_{name}" in element


def has_choice(element: Element, name: str) -> bool:
    """Whether there is a `name[x]`. No other element of the type may begin like it."""
    return _begins(element, (name, f"_{name}"))


def _begins(element: Element, starts: tuple[str, str]) -> bool:
    for member in element:  # noqa: SIM110 - any() makes a generator
        if member.startswith(starts) and member not in starts:
            return True
    return False


def text(element: Element, name: str) -> str | None:
    """The string of this name, if it is one."""
    value = element.get(name)
    return value if type(value) is str else None


def items(element: Element, name: str) -> list[Element]:
    """The objects of this name, in an array or alone."""
    value = element.get(name)
    if type(value) is list:
        return [item for item in value if type(item) is dict]
    return [value] if type(value) is dict else []


def descendants(element: Element, name: str) -> Iterator[Element]:
    """The objects of this name, those of the same name in them, and so on; in no order."""
    waiting = items(element, name)
    while waiting:
        item = waiting.pop()
        waiting += items(item, name)
        yield item


def has_coding(element: Element, name: str, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept of this name has one of these codes."""
    return any(
        coding.get("system") == system and coding.get("code") in codes
        for concept in items(element, name)
        for coding in items(concept, "coding")
    )


def are_distinct(values: list[Any]) -> bool:
    """Whether no string is among the values twice."""
    strings = [value for value in values if type(value) is str]
    return len(set(strings)) == len(strings)


# --- rules of one kind -----------------------------------------------------------------------------------------------


def presence(name: str) -> Callable[[Element], bool]:
    """Tells whether an element has a child of this name; "value[x]" is one of any type."""
    if name.endswith("[x]"):
        choice = name.removesuffix("[x]")
        starts = choice, f"_{choice}"
        return lambda element: _begins(element, starts)
    sibling = f"_{name}"
    return lambda element: name in element or sibling in element


def any_of(*names: str) -> Holds:
    """At least one of them is there."""
    present = tuple(presence(name) for name in names)

    def holds(element: Element, _context: Context) -> bool:
        for is_present in present:  # noqa: SIM110 - any() makes a generator
            if is_present(element):
                return True
        return False

    return holds


def needs(name: str, other: str) -> Holds:
    """The one only if the other is there, too."""
    is_present, is_other = presence(name), presence(other)
    return lambda element, _context: not is_present(element) or is_other(element)


def not_both(name: str, other: str) -> Holds:
    """One of them at most."""
    is_present, is_other = presence(name), presence(other)
    return lambda element, _context: not (is_present(element) and is_other(element))


def just_one(*names: str) -> Holds:
    """One of them, no more and no less."""
    present = tuple(presence(name) for name in names)
    return lambda element, _context: sum([is_present(element) for is_present in present]) == 1


def together(name: str, other: str) -> Holds:
    """Both of them or neither."""
    is_present, is_other = presence(name), presence(other)
    return lambda element, _context: is_present(element) == is_other(element)


def only_if(name: str, condition: str, *codes: str) -> Holds:
    """`name` only if the code of `condition` is one of these."""
    is_present = presence(name)
    return lambda element, _context: not is_present(element) or element.get(condition) in codes


def not_if(condition: str, code: str, *names: str) -> Holds:
    """None of the names if the code of `condition` is this."""
    present = tuple(presence(name) for name in names)
    return lambda element, _context: (
        element.get(condition) != code or not any(is_present(element) for is_present in present)
    )


def if_then(condition: str, code: str, *names: str) -> Holds:
    """All of the names if the code of `condition` is this."""
    present = tuple(presence(name) for name in names)
    return lambda element, _context: (
        element.get(condition) != code or all(is_present(element) for is_present in present)
    )


def distinct(name: str, *parts: str) -> Holds:
    """No two items of this name have the same strings in these parts; without any, they are not compared."""

    def holds(element: Element, _context: Context) -> bool:
        keys = [key for item in items(element, name) if any(key := tuple([text(item, part) for part in parts]))]
        return len(set(keys)) == len(keys)

    return holds
