"""One profile, its rules made into a tree along the elements: a resource is walked once, only where a rule looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from gateway.errors import Issue
from gateway.fhir.check.profiles import paths
from gateway.fhir.check.profiles.paths import Item, Path, Step
from gateway.fhir.check.profiles.reading import Rule, Table
from gateway.fhir.check.profiles.rules import Demand, Run, Surroundings, contains, demands, described
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource

MOST_ISSUES = 1000
"""More of one resource are not worth the time."""


class Context(Protocol):
    """What the invariants of a resource refer to: %resource and %rootResource."""

    @property
    def root(self) -> Resource: ...


class Profile:
    """What a profile says beyond the base definition of its type, ready to be checked.

    Its issues have the rule `profile-<name>`, but for codes outside an extensible or preferred binding.
    """

    __slots__ = ("_nodes", "_whole", "fhir", "name", "preface", "rule", "title", "type", "url", "versions")

    def __init__(self, table: Table) -> None:
        self.url = table.url
        self.name = table.name
        self.title = table.title
        self.type = table.type
        self.versions = table.versions
        self.fhir: Version = table.fhir
        self.rule = f"profile-{table.name}"
        self.preface = f"By the profile {table.title}, "
        self._nodes: tuple[_Node, ...] = ()
        self._whole: tuple[Demand, ...] = ()

    def compile(self, rules: Sequence[Rule], profiles: Callable[[str], Profile]) -> None:
        """Take in the rules, those of the profile that this one is based on first."""
        top = _Node(Step(""))
        for rule in rules:
            top.take(rule, profiles)
        top.prune()
        self._nodes = tuple(top.children)
        self._whole = tuple(top.demands)

    def check(
        self, resource: Any, path: str, context: Context | None = None, around: Surroundings | None = None
    ) -> Iterator[Issue]:
        """What in the resource, which is at `path`, is not as the profile says, the first `MOST_ISSUES` of it.

        `around` says what its references mean; without it only their types are looked at. Never raises, whatever the
        JSON.
        """
        return islice(self._issues(resource, path, context, around), MOST_ISSUES)

    def _issues(
        self, resource: Any, path: str, context: Context | None, around: Surroundings | None
    ) -> Iterator[Issue]:
        if not isinstance(resource, dict):
            return
        if resource.get("resourceType") != self.type:
            text = f"{self.preface}this is a {self.type}. Send one, or do not claim or ask for this profile."
            yield Issue("structure", text, path, rule=self.rule)
            return
        run = Run(self, resource, resource if context is None else context.root, around or Surroundings())
        for demand in self._whole:
            yield from demand(Item(resource), path, run)
        for node in self._nodes:
            yield from node.issues(resource, path, run)


class SliceError(ValueError):
    """A path has a slice that no rule declares."""


@dataclass(slots=True, eq=False)
class _Node:
    """An element, or a slice of it, below another: how often it may be there, and what is demanded of each."""

    step: Step
    where: tuple[tuple[Path, Any], ...] = ()
    label: str = ""
    min: int = 0
    max: int | None = None
    closed: bool = False
    slices: list[_Node] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    children: list[_Node] = field(default_factory=list)

    def take(self, rule: Rule, profiles: Callable[[str], Profile]) -> None:
        """Take in a rule whose path begins here."""
        node = self
        for step in rule.path[:-1]:
            node = node.child(step)
        if rule.slice:
            node = node.declare(rule)
        elif rule.path:
            node = node.child(rule.path[-1])
        node.min = max(node.min, rule.min)
        if rule.max is not None:
            node.max = rule.max if node.max is None else min(node.max, rule.max)
        node.closed |= rule.closed
        node.demands += demands(rule, profiles)

    def child(self, step: Step) -> _Node:
        """The node of the step below this one, made if it is not there; SliceError if it is of a slice that is not."""
        for child in self.children:
            if str(child.step) == str(step):
                return child
        if step.slice:
            raise SliceError(f"there is no slice {step}. Declare it in a rule before this one, with slice and where")
        node = _Node(step, label=str(step))
        self.children.append(node)
        return node

    def declare(self, rule: Rule) -> _Node:
        """The new node of the slice that the rule declares; SliceError if there is one of this name."""
        whole = self.child(rule.path[-1])
        step = replace(rule.path[-1], slice=rule.slice)
        if any(str(child.step) == str(step) for child in self.children):
            raise SliceError(
                f'the slice {step} is declared already. Leave out slice and where, and write path = "{step}"'
            )
        said = " and ".join(f"{'.'.join(map(str, path)) or 'value'} {described(wanted)}" for path, wanted in rule.where)
        node = _Node(step, rule.where, f"{step} (with {said})")
        self.children.append(node)
        whole.slices.append(node)
        return node

    def prune(self) -> None:
        """Leave out the nodes that demand nothing, and have none below them that do."""
        for child in self.children:
            child.prune()
        self.children = [node for node in self.children if node.is_demanding]

    @property
    def is_demanding(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self.min or self.max is not None or self.closed or self.demands or self.children)

    def issues(self, parent: dict[str, Any], path: str, run: Run) -> Iterator[Issue]:
        """What is wrong with the element in `parent`, and below it."""
        items = self.step.items(parent)
        if self.where and items:
            items = [item for item in items if self.has(item)]
        if len(items) < self.min:
            yield run.issue("required", self._too_few(len(items)), f"{path}.{_bare(self.step)}")
        if self.max is not None and len(items) > self.max:
            yield run.issue("structure", self._too_many(len(items)), items[self.max].path(path))
        for item in items:
            if self.closed and not any(part.has(item) for part in self.slices):
                yield run.issue("structure", self._of_no_slice(), item.path(path))
            for demand in self.demands:
                yield from demand(item, path, run)
            if self.children and (inside := item.inside) is not None:
                where = item.path(path)
                for child in self.children:
                    yield from child.issues(inside, where, run)

    def has(self, item: Item) -> bool:
        """Whether the occurrence of the element is of this slice."""
        for path, wanted in self.where:
            parent = item.inside if path else item.value
            if not any(contains(found.value, wanted) for found in paths.values(parent, path)):
                return False
        return True

    def _too_few(self, count: int) -> str:
        if not count and self.min == 1:
            return f"{self.label} has to be here, and is not. Add it."
        return f"{self.label} has to be here at least {_times(self.min)}, and is {_times(count)}. Add what is missing."

    def _too_many(self, count: int) -> str:
        if not self.max:
            return f"{self.label} may not be here. Leave it out."
        return f"{self.label} may be here at most {_times(self.max)}, and is {_times(count)}. Leave out the others."

    def _of_no_slice(self) -> str:
        choice = ", or ".join(part.label for part in self.slices)
        return f"{self.label} has to be {choice}, and this is none of them. Correct it or leave it out."


def _bare(step: Step) -> str:
    """The step as FHIRPath has it: without what tells a choice or a slice."""
    return f"{step.name}('{step.url}')" if step.url else step.element


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
