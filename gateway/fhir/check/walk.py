"""The one pass over a resource: every element is looked at once, and what is wrong is noted where it is.

No path is made here. A fault names the object it is in; where that is, is looked for only if there are faults.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.errors import Issue
from gateway.fhir.check import narrative
from gateway.fhir.check.invariants import Context
from gateway.fhir.check.kinds import (
    ENTRIES,
    OBJECT,
    OBJECTS,
    REFERENCE,
    REFERENCES,
    RESOURCE,
    RESOURCES,
    SIBLING,
    SIBLINGS,
    STRING,
    TEXT,
    VALUE,
    VALUES,
    XHTML,
    Kind,
    Member,
    find_resource_kind,
)
from gateway.fhir.check.levels import Levels
from gateway.fhir.check.primitives import LONGEST_STRING
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource

MOST_FAULTS = 1000
"""That refuse a resource; more are not worth the time: whoever has so many has better to do than to read them."""


class Scope(Context):
    """The resource that is looked at, the one that it is in, and its Bundle and the number of its entry there."""

    __slots__ = ("bundle", "number", "outer")

    def __init__(
        self,
        resource: Resource,
        root: Resource,
        outer: Scope | None = None,
        bundle: Resource | None = None,
        number: int = 0,
    ) -> None:
        super().__init__(resource, root)
        if outer is not None and outer.root is root:
            self.share(outer)
        self.outer = outer
        self.bundle = bundle
        self.number = number


class Fault(NamedTuple):
    """What is wrong: the rule that is broken, the object, the name and the index in it, and what else is to be said."""

    rule: str
    scope: Scope
    inside: dict[str, Any]
    name: str = ""
    place: int | None = None
    about: Any = None

    @property
    def is_error(self) -> bool:
        """Whether it is one where its rule is to be refused: a profile can be milder."""
        return not isinstance(self.about, Issue) or self.about.severity == "error"


class TooManyFaultsError(Exception):
    """There are `MOST_FAULTS`."""


class Walk:
    """One pass: the faults found, every Reference with what it may be to, and every resource.

    Faults that are to be ignored are passed over; of those that refuse nothing `most_alike` of each rule are kept, and
    `more` has how many there are beyond.
    """

    __slots__ = (
        "_counts",
        "_errors",
        "_levels",
        "_most_alike",
        "entry_number",
        "faults",
        "references",
        "resources",
        "scope",
        "version",
    )

    def __init__(self, version: Version, levels: Levels, most_alike: int) -> None:
        self.version: Version = version
        self.faults: list[Fault] = []
        self._levels = levels
        self._most_alike = most_alike
        self._counts: dict[str, int] = {}
        self._errors = 0
        self.references: list[tuple[dict[str, Any], Member, Scope]] = []
        self.resources: list[tuple[Kind, Scope]] = []
        self.scope = Scope({}, {})
        self.entry_number = 0

    def fault(
        self, rule: str, inside: dict[str, Any], name: str = "", index: int | None = None, about: Any = None
    ) -> None:
        self.note(Fault(rule, self.scope, inside, name, index, about))

    def note(self, fault: Fault) -> None:
        """Keeps a fault, if it is to be told of; raises TooManyFaultsError."""
        level = self._levels.of(fault.rule)
        if level == "refuse" and fault.is_error:
            self.faults.append(fault)
            self._errors += 1
            if self._errors >= MOST_FAULTS:
                raise TooManyFaultsError
        elif level != "ignore":
            number = self._counts[fault.rule] = self._counts.get(fault.rule, 0) + 1
            if number <= self._most_alike:
                self.faults.append(fault)

    @property
    def more(self) -> dict[str, int]:
        """By their rules, how many faults there are that are not kept."""
        return {rule: number - self._most_alike for rule, number in self._counts.items() if number > self._most_alike}

    def start(self, resource: Resource) -> None:
        """Looks at a resource that is in no other."""
        self.scope = Scope(resource, resource)
        self.resource(self.scope)

    def resource(self, scope: Scope) -> None:
        """Looks at the resource of the scope, and at those in it."""
        kind = self._kind_of(scope.resource)
        if kind is None:
            return
        outer, number = self.scope, self.entry_number
        self.scope = scope
        self.resources.append((kind, scope))
        self.element(scope.resource, kind)
        self.scope, self.entry_number = outer, number

    def _kind_of(self, resource: Resource) -> Kind | None:
        name = resource.get("resourceType")
        kind = find_resource_kind(name, self.version) if type(name) is str else None
        if kind is None:
            self.fault("resource-type", resource, about=name)
        return kind

    def element(self, value: dict[str, Any], kind: Kind) -> None:  # noqa: C901 - each call less is some per cent
        """Looks at an object and at all that is in it."""
        members = kind.members
        for name, item in value.items():
            try:
                member = members[name]
            except KeyError:
                if name != "resourceType" or not kind.is_resource:
                    self.fault("unknown-element", value, name, about=kind)
                continue
            if (shape := member.shape) == TEXT:
                if type(item) is not str or not member.fits(item):
                    self._unfit(value, member, item, None)
            elif shape == STRING:
                if (
                    type(item) is not str
                    or not (item.isprintable() and item and not item.isspace())
                    or len(item) > LONGEST_STRING
                ):
                    self._value(value, member, item)
            elif shape == OBJECT:
                if type(item) is dict and item:
                    self.element(item, member.kind)
                    if member.bound is not None and not member.bound.is_met(item):
                        self.fault(member.bound.rule, value, name, about=member)
                else:
                    self._unfit(value, member, item, None)
            elif shape == OBJECTS and type(item) is list and item:
                self._objects(value, member, item)
            else:
                _LOOKS[shape](self, value, member, item)
        if not value or (len(value) == 1 and "id" in value and not kind.is_resource):
            self.fault("ele-1" if value else "empty", value)
        elif kind.is_demanding:
            self._whole(value, kind)

    def _whole(self, value: dict[str, Any], kind: Kind) -> None:
        """What an object has to have, and what its members say together."""
        for name in kind.required:
            if name not in value and not value.get(f"_{name}"):
                self.fault("cardinality-min", value, name)
        if kind.choices:
            self._choices(value, kind)
        for invariant in kind.invariants:
            if not invariant.holds(value, self.scope):
                self.fault(invariant.key, value, invariant.path, about=invariant)

    def _choices(self, value: dict[str, Any], kind: Kind) -> None:
        for element, names, is_required in kind.choices:
            if names.isdisjoint(value):
                if is_required:
                    self.fault("cardinality-min", value, element)
            elif len({name.removeprefix("_") for name in value if name in names}) > 1:
                self.fault("choice", value, element, about=sorted(names & value.keys()))

    def _objects(self, value: dict[str, Any], member: Member, items: list[Any]) -> None:
        kind, bound = member.kind, member.bound
        for index, item in enumerate(items):
            if type(item) is not dict or not item:
                self._unfit(value, member, item, index)
                continue
            self.element(item, kind)
            if bound is not None and not bound.is_met(item):
                self.fault(bound.rule, value, member.name, index, member)

    def _many_objects(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if self._is_array(value, member, item):
            self._objects(value, member, item)

    def _is_array(self, value: dict[str, Any], member: Member, item: Any) -> bool:
        if type(item) is list and item:
            return True
        if type(item) is list or item is None:
            self._unfit(value, member, item, None)
        else:
            self.fault("type", value, member.name, about=member)
        return False

    def _reference(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if type(item) is dict and item:
            self.references.append((item, member, self.scope))
            self.element(item, member.kind)
        else:
            self._unfit(value, member, item, None)

    def _references(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if self._is_array(value, member, item):
            self.references += [(one, member, self.scope) for one in item if type(one) is dict]
            self._objects(value, member, item)

    def _value(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if type(item) not in member.json or not member.fits(item):
            self._unfit(value, member, item, None)

    def _values(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if not self._is_array(value, member, item):
            return
        json, fits = member.json, member.fits
        for index, one in enumerate(item):
            if type(one) not in json or not fits(one):
                if one is None and _says_something(value.get(member.said.sibling), index):
                    continue
                self._unfit(value, member, one, index)

    def _xhtml(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if type(item) is not str or not item:
            self._unfit(value, member, item, None)
            return
        for sentence, is_markup in narrative.faults(item):
            self.fault("narrative-markup" if is_markup else "narrative", value, member.name, about=sentence)

    def _unfit(self, value: dict[str, Any], member: Member, item: Any, index: int | None) -> None:
        """Notes why `item` cannot be what it is."""
        primitive = member.primitive if member.name == member.said.name else None
        if item is None:
            rule = "null"
        elif item in ("", [], {}) and type(item) is not bool:
            is_all = index is None or len(value[member.name]) == 1
            rule = "cardinality-min" if member.said.required and is_all else "empty"
        elif type(item) is str and item.isspace() and primitive is not None:
            rule = "empty"
        elif type(item) is list and index is None:
            rule = "cardinality-max"
        elif primitive is None or type(item) not in primitive.json:
            rule = "type"
        else:
            rule = "binding-required" if member.said.binding and primitive.fits(item) else "format"
        self.fault(rule, value, member.name, index, member)

    def _one_resource(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if type(item) is not dict:
            self._unfit(value, member, item, None)
        else:
            self.resource(self._scope_of(item))

    def _scope_of(self, resource: Resource) -> Scope:
        """That of a resource of its own: an entry's, or one that a Parameters or an entry's response has."""
        outer = self.scope
        if outer.resource.get("resourceType") == "Bundle":
            return Scope(resource, resource, outer, outer.resource, self.entry_number)
        return Scope(resource, resource, outer, outer.bundle, outer.number)

    def _entries(self, bundle: dict[str, Any], member: Member, item: Any) -> None:
        if not self._is_array(bundle, member, item):
            return
        for index, one in enumerate(item):
            self.entry_number = index
            if type(one) is dict:
                self.element(one, member.kind)
            else:
                self._unfit(bundle, member, one, index)

    def _contained(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if not self._is_array(value, member, item):
            return
        outer = self.scope
        for index, one in enumerate(item):
            if type(one) is dict:
                self.resource(Scope(one, outer.root, outer, outer.bundle, outer.number))
            else:
                self._unfit(value, member, one, index)

    def _sibling(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if type(item) is not dict:
            self._unfit(value, member, item, None)
        elif item.keys() == {"id"} and member.said.name in value:
            return
        else:
            self.element(item, member.kind)

    def _siblings(self, value: dict[str, Any], member: Member, item: Any) -> None:
        if not self._is_array(value, member, item):
            return
        values = value.get(member.said.name)
        if type(values) is list and len(values) != len(item):
            self.fault("null", value, member.name, about=len(values))
        for index, one in enumerate(item):
            if one is None:
                if type(values) is not list:
                    self.fault("null", value, member.name, index)
            elif type(one) is not dict:
                self._unfit(value, member, one, index)
            elif one.keys() != {"id"} or not _is_value(values, index):
                self.element(one, member.kind)


def _says_something(siblings: Any, index: int) -> bool:
    return type(siblings) is list and index < len(siblings) and type(siblings[index]) is dict


def _is_value(values: Any, index: int) -> bool:
    return type(values) is list and index < len(values) and values[index] is not None


_LOOKS = {
    OBJECTS: Walk._many_objects,
    REFERENCE: Walk._reference,
    REFERENCES: Walk._references,
    VALUE: Walk._value,
    VALUES: Walk._values,
    RESOURCE: Walk._one_resource,
    RESOURCES: Walk._contained,
    SIBLING: Walk._sibling,
    SIBLINGS: Walk._siblings,
    XHTML: Walk._xhtml,
    ENTRIES: Walk._entries,
}
