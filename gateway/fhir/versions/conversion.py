"""Converts a resource from one version of FHIR into another, by the tables of both and what `tables` says beyond them.

What both have goes across as it is. What the other has elsewhere goes there (`steps`, renames, codes). What it has not,
or what would not come back as it was, is carried in an extension (`carrying`) and comes back from there. Where that is
not possible either, an issue says so. An original that was carried comes back only if what stands for it has not been
changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from gateway.errors import Issue
from gateway.fhir.definitions import Field, Version, get_type, is_resource
from gateway.fhir.issues import Where, expression
from gateway.fhir.versions import plans, values
from gateway.fhir.versions.carrying import (
    Carrier,
    Members,
    NotCarriedError,
    Pairs,
    Taker,
    members_of,
    pairs_of,
    url_of,
)
from gateway.fhir.versions.plans import Plan
from gateway.fhir.versions.steps import Step
from gateway.fhir.versions.tables import MODIFIERS

MAX_ISSUES = 50
_HOLDERS = ("extension", "modifierExtension")


class Conversion:
    """One conversion, and the issues that it found."""

    DEEPEST = 100
    """Objects inside one another; messages have some ten."""

    def __init__(self, source: Version, target: Version, is_check: bool = False) -> None:
        self._is_check = is_check
        self.issues: list[Issue] = []
        self.is_too_deep = False
        self._source: Version = source
        self._target: Version = target
        self._where: Where | None = None
        self._depth = 0
        self._carrier = Carrier(source, target, self._inner)
        self._taker = Taker(target, self._inner)
        self._unconverted = Taker(target, lambda _, value: value)

    def resource(self, value: Any, where: Where | None) -> Any:
        """The resource as the target has it; what is no resource of the source stays as it is."""
        name = value.get("resourceType") if isinstance(value, dict) else None
        if not isinstance(name, str) or not is_resource(name, self._source):
            return value
        source, target, given = plans.types_of(value, name, self._source, self._target)
        made: Members = {"resourceType": target}
        made |= self._object(given, source, target, where or (None, name, None))
        return plans.marked(made, name, self._source, self._target)

    def _object(self, value: Any, source: str, target: str, where: Where) -> Any:
        if not isinstance(value, dict):
            return value
        if self._depth >= self.DEEPEST:
            self.is_too_deep = True
            self._lose(where)
            return {}
        outer, self._where = self._where, where
        self._depth += 1
        try:
            return _Object(self, plans.plan(source, target, self._source, self._target), where).convert(value)
        finally:
            self._depth -= 1
            self._where = outer

    def _inner(self, type_name: str, value: Any) -> Any:
        return self._object(value, type_name, type_name, self._where or (None, type_name, None))

    def value(self, value: Any, field: Field, to: Field, where: Where) -> Any:
        """What is inside a value that `values.turned` has made fit for the target's field."""
        if field.kind == "resource":
            return self.resource(value, where)
        if not isinstance(value, dict):
            return value
        if field.type == to.type or "." in field.type:
            return self._object(value, field.type, to.type, where)
        return self.settled(value, to.type, where)

    def settled(self, value: Any, type_name: str, where: Where) -> Any:
        """What is inside a value that is in the target's shape already, of the target's type of this name."""
        if not isinstance(value, dict):
            return value
        if plans.has_type(type_name, self._source):
            return self._object(value, type_name, type_name, where)
        fields = get_type(type_name, self._target).fields
        return {name: self.all_settled(item, fields.get(name), where) for name, item in value.items()}

    def all_settled(self, value: Any, field: Field | None, where: Where) -> Any:
        if field is None or field.kind != "complex":
            return value
        if isinstance(value, list):
            return [self.settled(item, field.type, (where, field.element, n)) for n, item in enumerate(value)]
        return self.settled(value, field.type, (where, field.element, None))

    def beside(self, value: Any, where: Where) -> Any:
        """What JSON has beside a primitive value."""
        return self._object(value, "Element", "Element", where) if isinstance(value, dict) else value

    def carried(self, path: str, field: Field, pairs: Pairs, where: Where) -> list[Members]:
        """Extensions that carry a field; none, and an issue, if none can."""
        outer, self._where = self._where, where
        try:
            return self._carrier.carry(url_of(self._source, path), field, pairs)
        except NotCarriedError:
            self._lose((where, field.element, None))
            return []
        finally:
            self._where = outer

    def _lose(self, where: Where) -> None:
        self.lose(where, f"This has no place in FHIR {self._target}, and is left out there.")

    def lose(self, where: Where, text: str) -> None:
        if len(self.issues) < MAX_ISSUES:
            self.issues.append(Issue("not-supported", text, expression(where), "warning"))

    def is_converted_of(self, there: Pairs, field: Field, to: Field, here: Pairs) -> bool:
        """Whether values of the target's type become those of the source."""
        if self._is_check or field.kind != "complex" or "." not in field.type or len(there) != len(here):
            return False
        check = Conversion(self._target, self._source, is_check=True)
        return [check.value(value, field, to, (None, field.element, None)) for value, _ in there] == [
            value for value, _ in here
        ]

    def as_carried(self, plan: Plan, element: str, extensions: list[Members]) -> Members | None:
        """What extensions carry, in the target's shape but with what is inside as they have it."""
        return self._unconverted.take_out(plan.target, element, extensions)

    def taken_out(self, plan: Plan, element: str, extensions: list[Members], where: Where) -> Members:
        """What extensions carry, as the target has it."""
        outer, self._where = self._where, (where, element, None)
        try:
            return self._taker.take_out(plan.target, element, extensions) or {}
        finally:
            self._where = outer


class _Object:
    """The conversion of one object: its members by the plan for its type."""

    def __init__(self, conversion: Conversion, plan: Plan, where: Where) -> None:
        self._conversion = conversion
        self._plan = plan
        self._where = where
        self._made: Members = {}
        self._carried: dict[str, list[Members]] = {name: [] for name in _HOLDERS}
        self._moved: dict[str, tuple[Field, Field, Pairs]] = {}
        """The fields that were made of others, by the element they are of."""
        self._turned: list[tuple[Step, Members, Members]] = []
        """The steps that were taken, from what and to what."""

    def convert(self, value: Members) -> Members:
        returning, held = self._returning(value)
        rest = {name: item for name, item in value.items() if name not in held and self._is_element(name)}
        for step in self._plan.steps:
            taken = {name: rest.pop(name) for name in step.takes if name in rest}
            if taken:
                self._take(step, taken, self._beside(taken, rest))
        for name, item in rest.items():
            self._member(name, item, rest)
        if returning:
            self._return(returning, held)
        self._hold(held)
        return self._made

    def _returning(self, value: Members) -> tuple[dict[str, list[Members]], dict[str, list[Any]]]:
        """The extensions that carry what is the target's, by element; and the others, by where they are held."""
        returning: dict[str, list[Members]] = {}
        held: dict[str, list[Any]] = {}
        for holder in _HOLDERS:
            items = value.get(holder)
            if not isinstance(items, list):
                continue
            held[holder] = []
            for item in items:
                element = self._plan.carried_by(item)
                if element is None:
                    held[holder].append(item)
                else:
                    returning.setdefault(element, []).append(item)
        return returning, held

    def _is_element(self, name: str) -> bool:
        """Whether it is no `resourceType`, which some elements have as a member of their own."""
        return name != "resourceType" or name in self._plan.source.fields or name in self._plan.target.fields

    def _beside(self, taken: Members, rest: Members) -> Members:
        """What is beside values that are taken, and has no place without them."""
        siblings = self._plan.target.siblings
        names = [f"_{name}" for name in taken if f"_{name}" in rest and f"_{name}" not in siblings]
        return {name: rest.pop(name) for name in names}

    def _member(self, name: str, item: Any, rest: Members) -> None:
        plain = name.removeprefix("_")
        known = self._plan.fields.get(plain)
        if known is None or (plain != name and known[0].sibling != name):
            self._made.setdefault(
                name, self._conversion.all_settled(item, self._plan.target.fields.get(name), self._where)
            )
            return
        if plain != name and plain in rest:
            return  # it goes with the value that it is beside
        field, to = known
        pairs = pairs_of(field, rest)
        turned = values.turned_pairs(pairs, field, to) if to is not None else []
        if to is None or not turned or to.element in self._moved:
            self._carry(field, pairs)
            return
        if turned is not pairs and values.turned_pairs(turned, to, field) != pairs:
            self._carry(field, pairs)
        self._moved[to.element] = (field, to, pairs)
        self._made |= members_of(to, self._inside(turned, field, to))

    def _inside(self, pairs: Pairs, field: Field, to: Field) -> Pairs:
        where = self._where
        if field.kind in ("complex", "resource"):
            places: list[Where] = [(where, field.element, n if field.many else None) for n in range(len(pairs))]
            return [
                (self._conversion.value(value, field, to, here), beside)
                for (value, beside), here in zip(pairs, places, strict=True)
            ]
        if all(beside is None for _, beside in pairs):
            return pairs
        return [(value, self._conversion.beside(beside, (where, field.element, None))) for value, beside in pairs]

    def _take(self, step: Step, taken: Members, beside: Members) -> None:
        made = step.turn(taken)
        if beside or step.back(made) != taken:
            self._carry_taken(taken | beside, made)
        self._turned.append((step, taken, made))
        for name, value in made.items():
            field = self._plan.target.fields.get(name)
            self._made[name] = self._conversion.all_settled(value, field, self._where)

    def _carry_taken(self, taken: Members, made: Members) -> None:
        for name, value in taken.items():
            field = self._plan.source.fields.get(name) or self._plan.source.siblings.get(name)
            is_done = len(taken) > 1 and name in made and made[name] == value
            if field is not None and not is_done and (name == field.name or field.name not in taken):
                self._carry(field, pairs_of(field, taken))

    def _carry(self, field: Field, pairs: Pairs) -> None:
        path = f"{self._plan.source.name}.{field.element}"
        holder = "modifierExtension" if path in MODIFIERS and self._plan.can_hold("modifierExtension") else "extension"
        if not self._plan.can_hold(holder):
            text = f"FHIR {self._plan.target_version} has no {field.element} here, and nothing that could carry it."
            self._conversion.lose((self._where, field.element, None), text)
            return
        self._carried[holder] += self._conversion.carried(path, field, pairs, self._where)

    def _return(self, returning: dict[str, list[Members]], held: dict[str, list[Any]]) -> None:
        """Puts back what was carried, unless what stands for it has been changed since."""
        fields = self._plan.target.fields
        decoded = {name: self._conversion.as_carried(self._plan, name, some) for name, some in returning.items()}
        for element, members in decoded.items():
            if members is None or not self._is_as_it_was(element, members, decoded):
                held.setdefault("extension", []).extend(returning[element])
                continue
            for name in [*self._made]:
                plain = name.removeprefix("_")
                if not {plain, f"_{plain}"} & members.keys() and plain in fields and fields[plain].element == element:
                    del self._made[name]
            self._made |= self._conversion.taken_out(self._plan, element, returning[element], self._where)

    def _is_as_it_was(self, element: str, members: Members, decoded: dict[str, Members | None]) -> bool:
        if element in self._moved:
            field, to, pairs = self._moved[element]
            if any(name.removeprefix("_") != to.name for name in members):
                return False
            turned = values.turned_pairs(pairs_of(to, members), to, field)
            return turned == pairs or self._conversion.is_converted_of(turned, to, field, pairs)
        for step, taken, made in self._turned:
            if element in {self._plan.target.fields[name].element for name in made if name in self._plan.target.fields}:
                carried = {name: some for name, some in decoded.items() if some and name in step.makes}
                together = made | {name: value for some in carried.values() for name, value in some.items()}
                return step.back(together) == taken
        return True

    def _hold(self, held: Mapping[str, list[Any]]) -> None:
        for holder in _HOLDERS:
            if not self._plan.can_hold(holder):
                if held.get(holder):
                    self._conversion.lose((self._where, holder, None), "Here is no place for a modifier extension.")
                continue
            items = [
                self._conversion.settled(item, "Extension", (self._where, holder, number))
                for number, item in enumerate(held.get(holder, ()))
            ]
            if items or self._carried[holder]:
                carried = sorted(self._carried[holder], key=itemgetter("url"))  # the same for the same content
                self._made[holder] = [*items, *carried]
