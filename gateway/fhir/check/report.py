"""From faults to issues: where each is, as FHIRPath and in the names of JSON, and the sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from gateway.errors import Issue
from gateway.fhir.check.kinds import Kind, find_resource_kind
from gateway.fhir.check.sentences import Finding, Place, issue_of
from gateway.fhir.check.walk import Fault, Scope, Walk
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource

_Steps = tuple["_Steps", int | str] | None
"""The place of an object in a resource, in the names of JSON: that of what it is in, and its name or number there."""


class _Found(NamedTuple):
    """An object: which one of all it is, where it is, and what it is."""

    order: tuple[int, ...]
    place: Place
    kind: Kind | None


def report(walk: Walk, faults: Sequence[Fault]) -> list[Issue]:
    """An issue for each fault of the walk, in the order of the resource."""
    found = _Search(walk).find(faults)
    in_order = sorted(faults, key=lambda fault: found[id(fault.inside)].order)
    return [issue for fault in in_order for issue in _issues(fault, found[id(fault.inside)], walk.version)]


class _Search:
    """Looks for objects, in those resources only that have some of them."""

    def __init__(self, walk: Walk) -> None:
        self._version = walk.version
        self._resources = {id(scope.resource) for _, scope in walk.resources}
        self._found: dict[int, _Found] = {}

    def find(self, faults: Iterable[Fault]) -> dict[int, _Found]:
        """The objects that the faults are in, by their identity."""
        wanted: dict[int, tuple[Scope, set[int]]] = {}
        for fault in faults:
            scope: Scope | None = fault.scope
            inside = id(fault.inside)
            while scope is not None:
                inner = wanted.setdefault(id(scope), (scope, set()))[1]
                if inside in inner:
                    break
                inner.add(inside)
                inside = id(scope.resource)
                scope = scope.outer
        for scope, inner in wanted.values():
            self._find_in(scope, inner, wanted)
        return self._found

    def _find_in(self, scope: Scope, inner: set[int], wanted: dict[int, tuple[Scope, set[int]]]) -> None:
        resource = scope.resource
        if scope.outer is None:
            kind = _kind_of(resource, self._version)
            name = kind.name if kind is not None else "Resource"
            self._found[id(resource)] = _Found((), Place(name, name), kind)
        elif id(resource) not in self._found:
            self._find_in(scope.outer, wanted[id(scope.outer)][1], wanted)
        missing = inner - self._found.keys()
        base = self._found[id(resource)]
        waiting: list[tuple[_Steps, Any]] = [(None, resource)]
        number = 0
        while waiting and missing:
            steps, value = waiting.pop()
            number += 1
            if id(value) in missing:
                missing.discard(id(value))
                self._found[id(value)] = _Found((*base.order, number), *self._place(base, resource, steps))
            if steps is None or id(value) not in self._resources:
                items: Iterable[tuple[Any, Any]] = value.items() if type(value) is dict else enumerate(value)
                waiting += reversed([((steps, step), item) for step, item in items if type(item) in _CONTAINERS])

    def _place(self, base: _Found, resource: Resource, steps: _Steps) -> tuple[Place, Kind | None]:
        path: list[int | str] = []
        while steps is not None:
            steps, step = steps
            path.append(step)
        value: Any = resource
        place, kind, member = base.place, base.kind, None
        for step in reversed(path):
            value = value[step]
            if isinstance(step, int):
                place = place.at(step)
            else:
                member = kind.members.get(step) if kind is not None else None
                place = place.of(member, step)
                kind = member.kind if member is not None else None
            if member is not None and member.said.kind == "resource" and isinstance(value, dict):
                kind = _kind_of(value, self._version)
                place = Place(place.expression, kind.name if kind is not None else place.name)
        return place, kind


_CONTAINERS = (dict, list)


def _issues(fault: Fault, found: _Found, version: Version) -> Iterator[Issue]:
    place, kind = found.place, found.kind
    if isinstance(fault.about, Issue):
        yield _rooted(fault.about, place)
        return
    member = kind.members.get(fault.name) if kind is not None and fault.name else None
    here = place.of(member, fault.name).at(fault.place) if fault.name else place
    yield issue_of(Finding(fault, place, here, kind, member, version))


def _rooted(issue: Issue, place: Place) -> Issue:
    """The issue, whose expression begins at the resource, with one that begins at the outermost."""
    _, dot, rest = (issue.expression or "").partition(".")
    expression = f"{place.expression}{dot}{rest}"
    return Issue(issue.code, issue.text, expression, issue.severity, issue.outcome, issue.rule)


def _kind_of(resource: Resource, version: Version) -> Kind | None:
    name = resource.get("resourceType")
    return find_resource_kind(name, version) if type(name) is str else None
