"""What a profile demands of one occurrence of an element: each demand says what is wrong and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gateway.errors import Issue, Severity
from gateway.fhir import definitions
from gateway.fhir.check.profiles import expressions
from gateway.fhir.check.profiles.paths import Item
from gateway.fhir.check.profiles.reading import ANY, Invariant, Rule, Strength
from gateway.fhir.json import Resource

if TYPE_CHECKING:
    from gateway.fhir.check.profiles.profile import Profile

_TYPE = re.compile(r"(?:https?://[^/?#]+/(?:[^?#]*/)?)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]+(?:/_history/[A-Za-z0-9.-]+)?")
_LONGEST = 200
"""More of what a sender wrote is not looked at for the type it names."""
_ADVISED: Mapping[Strength, str] = {"extensible": "binding-extensible", "preferred": "binding-preferred"}


Resolve = Callable[[str, Resource], Resource | None]


class Surroundings:
    """What a profile may ask of the message that a resource is in; make one for each message.

    `resolve` gives the resource that a `reference` written in a resource means, None if it is not at hand.
    """

    __slots__ = ("_lacks", "_roots", "resolve")

    def __init__(self, resolve: Resolve = lambda _reference, _source: None) -> None:
        self.resolve = resolve
        self._lacks: dict[tuple[int, str], tuple[Resource, str]] = {}
        self._roots: dict[int, tuple[Resource, Resource]] = {}

    def lack(self, resource: Resource, profile: Profile) -> str:
        """What the resource lacks to be as the profile says, the first of it; empty if it lacks nothing.

        Whatever it refers to in its turn is not looked at.
        """
        key = id(resource), profile.url
        if key not in self._lacks:
            unresolving = Surroundings()
            unresolving._lacks = self._lacks
            issues = profile.check(resource, profile.type, around=unresolving)
            said = next((issue.text for issue in issues if issue.severity == "error"), "")
            self._lacks[key] = resource, said
        return self._lacks[key][1]

    def plain(self, root: Resource) -> Resource:
        """The resource as FHIRPath takes it."""
        if id(root) not in self._roots:
            self._roots[id(root)] = root, expressions.plain(root)
        return self._roots[id(root)][1]


@dataclass(slots=True)
class Run:
    """One check of one resource by one profile."""

    profile: Profile
    resource: Resource
    root: Resource
    around: Surroundings
    _plain: Resource | None = None

    @property
    def plain(self) -> Resource:
        """The resource as FHIRPath takes it."""
        if self._plain is None:
            self._plain = expressions.plain(self.resource)
        return self._plain

    def issue(self, code: str, text: str, path: str, severity: Severity = "error", rule: str = "") -> Issue:
        """An issue of the profile; `text` goes on after "By the profile …, "."""
        profile = self.profile
        return Issue(code, f"{profile.preface}{text}", path, severity, rule=rule or profile.rule)


class Demand(Protocol):
    """What is demanded of an element: the issues if it is not so. `path` is the FHIRPath of what it is in."""

    def __call__(self, item: Item, path: str, run: Run) -> Sequence[Issue] | Iterator[Issue]:
        """The issues of one occurrence of it."""
        ...


def demands(rule: Rule, profiles: Callable[[str], Profile]) -> list[Demand]:
    """Those of a rule on each occurrence of its element; `profiles` gives the profile of a url."""
    found: list[Demand] = []
    if rule.value is not None:
        found.append(_Value(rule.value, rule.exact))
    if rule.codes is not None and rule.strength != "example":
        found.append(_Codes(rule.codes, rule.strength, rule.valueset))
    if rule.types:
        found.append(_Types(rule.path[-1].name, rule.types))
    if rule.targets:
        types = tuple(target for target in rule.targets if ":" not in target)
        found.append(_Targets(types, tuple(profiles(target) for target in rule.targets if ":" in target)))
    if rule.profiles:
        found.append(_Inside(tuple(profiles(url) for url in rule.profiles)))
    if rule.invariant is not None:
        found.append(_Invariant(rule.invariant))
    return found


def contains(value: Any, pattern: Any) -> bool:
    """Whether `pattern` is in the value (https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.pattern_x_)."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(contains(value.get(name), part) for name, part in pattern.items())
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(contains(item, part) for item in value) for part in pattern)
    return _same(value, pattern)


def equals(value: Any, wanted: Any) -> bool:
    """Whether the value is this and no more."""
    if isinstance(wanted, dict):
        return (
            isinstance(value, dict)
            and value.keys() == wanted.keys()
            and all(equals(value[name], part) for name, part in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(equals(item, part) for item, part in zip(value, wanted, strict=True))
        )
    return _same(value, wanted)


def _same(value: Any, wanted: Any) -> bool:
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)


def described(value: Any) -> str:
    """What a profile wants, as a sentence names it."""
    if isinstance(value, dict):
        return " and ".join(f"{name} {described(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", and ".join(f"with {described(part)}" if isinstance(part, dict) else described(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


@dataclass(frozen=True, slots=True)
class _Value:
    wanted: Any
    exact: bool

    def __call__(self, item: Item, path: str, run: Run) -> Sequence[Issue]:
        if (equals if self.exact else contains)(item.value, self.wanted):
            return ()
        is_whole = not isinstance(self.wanted, dict | list)
        verb, rest = ("be", "") if is_whole else ("have", " and nothing else" if self.exact else "")
        text = f"{_name(item, run)} has to {verb} {described(self.wanted)}{rest}. Write that."
        return (run.issue("value", text, item.path(path)),)


class _Codes:
    __slots__ = ("_any", "_by_system", "_choice", "_strength")

    def __init__(self, codes: Mapping[str, frozenset[str]], strength: Strength, valueset: str) -> None:
        self._by_system = codes
        self._any = frozenset().union(*codes.values())
        self._strength = strength
        self._choice = f"of {valueset}" if valueset else _named(codes)

    def __call__(self, item: Item, path: str, run: Run) -> Sequence[Issue]:
        value = item.value
        if value is None or self._has(value):
            return ()
        codes = f"{_name(item, run)} has to have one of the codes {self._choice}"
        if self._strength == "required":
            return (run.issue("code-invalid", f"{codes}. Write one of them.", item.path(path)),)
        if isinstance(value, dict) and not _codings(value):
            return ()
        text = f"{codes}, if one of them fits. Write another only if none does."
        return (run.issue("code-invalid", text, item.path(path), "information", _ADVISED[self._strength]),)

    def _has(self, value: Any) -> bool:
        if isinstance(value, str):
            return value in self._any or ANY in self._any
        if not isinstance(value, dict):
            return True
        return any(self._has_coding(coding) for coding in _codings(value))

    def _has_coding(self, coding: dict[str, Any]) -> bool:
        system, code = coding.get("system"), coding.get("code")
        listed = self._by_system.get(system) if isinstance(system, str) else None
        listed = self._by_system.get("") if listed is None else listed
        return listed is not None and isinstance(code, str) and (code in listed or ANY in listed)


def _codings(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a CodeableConcept, or the Coding or Quantity itself."""
    if "coding" in value or "text" in value:
        listed = value.get("coding")
        return [coding for coding in listed if isinstance(coding, dict)] if isinstance(listed, list) else []
    return [value] if "code" in value or "system" in value else []


def _named(codes: Mapping[str, frozenset[str]]) -> str:
    named = []
    for system, its in codes.items():
        listed = ", ".join(sorted(its)[:_MOST_NAMED]) + (", …" if len(its) > _MOST_NAMED else "")
        named.append((f"those of {system}" if ANY in its else f"{listed} of {system}") if system else listed)
    return "; ".join(named)


_MOST_NAMED = 12


class _Types:
    """The type that a choice has, told from the member's name, or that of a resource inside."""

    __slots__ = ("_members", "_name", "_types")

    def __init__(self, name: str, types: Sequence[str]) -> None:
        self._name = name
        self._types = types
        self._members = {name + each[0].upper() + each[1:] for each in types}

    def __call__(self, item: Item, path: str, run: Run) -> Sequence[Issue]:
        if item.name == self._name:
            inner = item.value.get("resourceType") if isinstance(item.value, dict) else None
            is_allowed = not isinstance(inner, str) or inner in self._types
        else:
            is_allowed = item.name in self._members
        if is_allowed:
            return ()
        text = f"{_name(item, run)} has to be a {_either(self._types)}. Send that in its stead."
        return (run.issue("structure", text, item.path(path)),)


class _Targets:
    """What a Reference is to: a resource of one of the types, or one that is as one of the profiles says."""

    __slots__ = ("_known", "_profiles", "_types")

    def __init__(self, types: tuple[str, ...], profiles: tuple[Profile, ...]) -> None:
        self._types = frozenset(types)
        self._profiles = profiles
        self._known = self._types | {profile.type for profile in profiles}

    def __call__(self, item: Item, path: str, run: Run) -> Sequence[Issue]:
        value = item.value
        if not isinstance(value, dict):
            return ()
        reference = value.get("reference")
        reference = reference if isinstance(reference, str) else ""
        name = _type_of(reference) or value.get("type")
        if isinstance(name, str) and name in self._types:
            return ()
        target = run.around.resolve(reference, run.resource) if reference else None
        if isinstance(target, dict):
            name = target.get("resourceType")
        if not isinstance(name, str) or name in self._types:
            return ()
        if name not in self._known:
            return self._wrong_type(name, item, path, run) if definitions.is_resource(name, run.profile.fhir) else ()
        return self._unlike(target, item, path, run) if isinstance(target, dict) else ()

    def _wrong_type(self, name: str, item: Item, path: str, run: Run) -> Sequence[Issue]:
        choice = _either([*sorted(self._types), *(profile.title for profile in self._profiles)])
        return (
            run.issue(
                "structure",
                f"{_name(item, run)} has to refer to a {choice}, not to a {name}. Refer to one.",
                item.path(path),
            ),
        )

    def _unlike(self, target: Resource, item: Item, path: str, run: Run) -> Sequence[Issue]:
        name = target["resourceType"]
        lacks = [(profile, run.around.lack(target, profile)) for profile in self._profiles if profile.type == name]
        if not all(lack for _, lack in lacks):
            return ()
        titles = _either([profile.title for profile, _ in lacks])
        text = f"{_name(item, run)} has to refer to a {titles}, which that {name} is not. {lacks[0][1]}"
        return (run.issue("structure", text, item.path(path)),)


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def _name(item: Item, run: Run) -> str:
    return item.element or run.profile.type


def _type_of(reference: str) -> str:
    """The resource type that a reference names, relative or absolute; empty if it names none."""
    match = _TYPE.fullmatch(reference) if len(reference) < _LONGEST else None
    return match[1] if match else ""


class _Inside:
    """A resource inside, which is as one of the profiles says."""

    __slots__ = ("_profiles",)

    def __init__(self, profiles: tuple[Profile, ...]) -> None:
        self._profiles = profiles

    def __call__(self, item: Item, path: str, run: Run) -> Iterator[Issue]:
        value = item.value
        if not isinstance(value, dict):
            return
        fitting = [profile for profile in self._profiles if profile.type == value.get("resourceType")]
        if len(fitting) == 1:
            yield from fitting[0].check(value, item.path(path), run, run.around)
        elif not any(not run.around.lack(value, profile) for profile in fitting):
            titles = _either([profile.title for profile in self._profiles])
            yield run.issue(
                "structure",
                f"{_name(item, run)} has to be a {titles}, and what is here is not. Send one.",
                item.path(path),
            )


@dataclass(frozen=True, slots=True)
class _Invariant:
    said: Invariant

    def __call__(self, item: Item, path: str, run: Run) -> Sequence[Issue]:
        value = item.value
        if value is None:
            return ()
        element = run.plain if value is run.resource else expressions.plain(value)
        if expressions.holds(
            self.said.expression, self.said.about, element, run.plain, lambda: run.around.plain(run.root)
        ):
            return ()
        human = self.said.human.rstrip(".")
        text = f"{_name(item, run)} has to hold and does not: {human} ({self.said.key}). Correct it."
        return (run.issue("invariant", text, item.path(path), self.said.severity),)
