"""One fault in the sound message: where it is made, what rule of the specification it breaks, what is to be said.

A path begins with the type of an entry's resource, with `@` and that type for the entry itself, or with `Bundle` for
the message: `Patient.name[0].given[1]`, `@Patient.fullUrl`, `Bundle.type`. The bundles within it are called
`document`, `searchset`, `transaction` and `transaction-response`. `[+]` is one more item.
"""

import copy
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gateway.errors import Issue
from gateway.fhir.json import Resource
from tests.fhir.check.mutants.findings import MESSAGE, RESOURCES

R4 = "https://hl7.org/fhir/R4"
GONE: Any = object()
"""In the place of a value: there is none."""

_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]+|\+)\]")
_ENTRIES = {
    resource["id"] if resource["resourceType"] == "Bundle" else resource["resourceType"]: index
    for index, resource in enumerate(RESOURCES)
}
_CHOICE = re.compile(
    r"\.(abatement|additive|allowed|asNeeded|author|bounds|collected|content|deceased|dose|effective|event|fastingStatus|"
    r"medication|multipleBirth|occurred|occurrence|onset|product|quantity|rate|reported|statusReason|subject|time|timing|"
    r"value)[A-Z][A-Za-z0-9]*(?=[.\[]|$)"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """A sound message with one thing wrong.

    `spec` is the rule it breaks: an element with its cardinality, the key of an invariant, or an address. `rules` are
    the ids by which it may be reported, `places` the FHIRPaths at or below which, `exactly` those at which alone.
    `severity` is the least that is to be said; `also` are rules that it breaks by the way.
    """

    name: str
    rules: tuple[str, ...]
    spec: str
    edits: Mapping[str, Any]
    places: tuple[str, ...]
    exactly: tuple[str, ...] = ()
    severity: Literal["error", "warning"] = "error"
    also: tuple[str, ...] = ()

    def message(self) -> Resource:
        """The message with the fault in it; the rest of it is everybody's, and not to be changed."""
        return edited(self.edits)

    def is_named_by(self, issue: Issue) -> bool:
        """Whether `issue` tells of this fault: by its rule and its place."""
        return issue.rule in self.rules and self.is_at(issue.expression)

    def accounts_for(self, issue: Issue) -> bool:
        """Whether `issue` is due to this fault."""
        return issue.rule in {*self.rules, *self.also} and self.is_at(issue.expression)

    def is_at(self, expression: str | None) -> bool:
        """Whether `expression` is a place where this fault may be seen."""
        if expression is None:
            return False
        found = {expression, _CHOICE.sub(r".\1", expression)}
        exact = {*self.exactly, *(_CHOICE.sub(r".\1", place) for place in self.exactly)}
        places = {*self.places, *(_CHOICE.sub(r".\1", place) for place in self.places)}
        return bool(found & exact) or any(
            path == place or path.startswith((f"{place}.", f"{place}[")) for path in found for place in places
        )


def edited(edits: Mapping[str, Any]) -> Resource:
    """The sound message with `edits` made to it one after another: a value, or GONE, by path."""
    message = MESSAGE
    for path, value in edits.items():
        message = _with(message, _steps(path), value)
    return message


def fault(
    name: str,
    rules: str | tuple[str, ...],
    spec: str,
    edits: Mapping[str, Any],
    at: str | tuple[str, ...] | None = None,
    *,
    exactly: str | tuple[str, ...] = (),
    severity: Literal["error", "warning"] = "error",
    also: str | tuple[str, ...] = (),
) -> Fault:
    """A Fault: seen at or below the first of the edited paths if neither `at` nor `exactly` says otherwise."""
    if at is None:
        at = () if exactly else next(iter(edits))
    where = _expressions(at), _expressions(exactly)
    return Fault(name, _tuple(rules), spec, edits, *where, severity=severity, also=_tuple(also))


def lacks(path: str) -> Fault:
    """A required element is left out; the place is the element, or what it is missing in."""
    name = f"{path} is required and left out"
    parent = path.rpartition(".")[0]
    most = "*" if isinstance(_at(path), list) else "1"
    return fault(name, "cardinality-min", f"{_bare(path)} 1..{most}", {path: GONE}, exactly=(path, parent))


def given(path: str, value: Any, rule: str | tuple[str, ...], spec: str, why: str) -> Fault:
    """`value` is given at `path`, where it is wrong because of `why`."""
    return fault(f"{path} {why}", rule, spec, {path: value})


def expression(path: str) -> str:
    """The FHIRPath of `path` in the message."""
    steps = _steps(path)
    words = [f"[{step}]" if isinstance(step, int) else f".{step.removeprefix('_')}" for step in steps]
    return "Bundle" + "".join(words)


def _tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _expressions(paths: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(expression(path) for path in _tuple(paths))


def _bare(path: str) -> str:
    return re.sub(r"\[[0-9+]+\]", "", path)


def _at(path: str) -> Any:
    value: Any = MESSAGE
    for step in _steps(path):
        value = value[step]
    return value


def _steps(path: str) -> list[str | int]:
    start, _, rest = path.partition(".")
    steps: list[str | int] = []
    if start != "Bundle":
        steps = ["entry", _ENTRIES[start.removeprefix("@")]]
        if not start.startswith("@"):
            steps.append("resource")
    value: Any = MESSAGE
    for step in steps:
        value = value[step]
    for name, index in _STEP.findall(rest):
        step = name or (len(value) if index == "+" else int(index))
        steps.append(step)
        value = _below(value, step)
    return steps


def _below(value: Any, step: str | int) -> Any:
    try:
        return value[step]
    except (KeyError, IndexError, TypeError):
        return []


def _with(value: Any, steps: list[str | int], item: Any) -> Any:
    """`value` with `item` at `steps`; only what lies on the way is copied."""
    step, *rest = steps
    result = copy.copy(value)
    if rest:
        below = _below(value, step) or ([] if isinstance(rest[0], int) else {})
        item = _with(below, rest, item)
    if item is GONE:
        del result[step]
    elif isinstance(result, list) and step == len(result):
        result.append(item)
    else:
        result[step] = item
    return result


def is_caught(mutant: Fault, issues: list[Issue], lowered: Container[str | None] = ()) -> bool:
    """Whether one of `issues` tells of the fault, as gravely as is due: a warning does for `lowered` rules."""
    return any(
        issue.severity == "error"
        or (issue.severity == "warning" and (mutant.severity == "warning" or issue.rule in lowered))
        for issue in issues
        if mutant.is_named_by(issue)
    )
