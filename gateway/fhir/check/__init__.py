"""The check: is a resource made as FHIR says? Every issue at once, each with its rule, its FHIRPath and a sentence.

One pass over the resource (`walk`) looks at cardinality, types, the forms of primitives, choices, required bindings and
invariants; `links` then at what refers to what; `profiles` at what the resource says it conforms to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache

from gateway.errors import Issue
from gateway.fhir.check import profiles
from gateway.fhir.check.kinds import find_resource_kind
from gateway.fhir.check.levels import Levels
from gateway.fhir.check.links import Links
from gateway.fhir.check.profiles import Profile, Profiles, Surroundings
from gateway.fhir.check.report import report
from gateway.fhir.check.walk import Fault, TooManyFaultsError, Walk
from gateway.fhir.definitions import Version
from gateway.fhir.json import Resource
from gateway.fhir.references import Entries

MAX_ISSUES = 100
_ORDER = ("fatal", "error", "warning", "information")
_BY_DEFAULT = Levels()


def warm(types: Iterable[str], version: Version = "R4") -> None:
    """Make ready to check resources of these types, which is some milliseconds of work, before the first comes."""
    for resource_type in types:
        find_resource_kind(resource_type, version)


def check(
    resource: Resource,
    version: Version = "R4",
    *,
    levels: Levels = _BY_DEFAULT,
    known: Profiles | None = None,
    profile: Profile | None = None,
    entries: Entries | None = None,
    most_alike: int = MAX_ISSUES,
) -> list[Issue]:
    """Every issue that `levels` do not ignore, the `MAX_ISSUES` most severe if there are more; empty if there is none.

    Takes whatever `gateway.fhir.json.parse` yields, and leaves it as it is. What claims a profile is checked against
    that if it is among the `known`, which are those of the gateway unless given; the resource itself against `profile`
    too. `entries` are those of the resource, if it is a Bundle and they have been read already. Of what breaks the same
    rule and is not to be refused, `most_alike` are told, and how many more there are. Never raises.
    """
    walk = Walk(version, levels, most_alike)
    with suppress(TooManyFaultsError):
        walk.start(resource)
        links = Links(walk, entries)
        links.look()
        _look_at_profiles(walk, links, known, profile)
    if not walk.faults:
        return []
    names_the_rest = "" if most_alike >= MAX_ISSUES else ": $validate names them"
    return _most_severe(levels.apply(_with_number(report(walk, walk.faults), walk.more, names_the_rest)))


def _with_number(issues: list[Issue], more: Mapping[str, int], ending: str) -> list[Issue]:
    """The issues, the last of each rule of which there are more with how many."""
    last = {issue.rule: index for index, issue in enumerate(issues) if issue.rule in more}
    for rule, index in last.items():
        text = f"{issues[index].text} There are {more[rule or '']} more of this kind{ending}."
        issues[index] = replace(issues[index], text=text)
    return issues


def _look_at_profiles(walk: Walk, links: Links, known: Profiles | None, profile: Profile | None) -> None:
    around, unknown = Surroundings(links.resolve), set[str]()
    for number, (kind, scope) in enumerate(walk.resources):
        resource, is_asked = scope.resource, number == 0 and profile is not None
        if "meta" not in resource and not is_asked:
            continue
        issues = [*(known or _shipped()).check_claims(resource, kind.name, scope, around, unknown)]
        if is_asked and profile is not None:
            issues += profile.check(resource, kind.name, scope, around)
        for issue in issues:
            walk.note(Fault(issue.rule or "", scope, resource, about=issue))


@cache
def _shipped() -> Profiles:
    return profiles.load()


def _most_severe(issues: list[Issue]) -> list[Issue]:
    """The issues as they come, if they are not too many; else as many of the most severe, and that there are more."""
    if len(issues) <= MAX_ISSUES:
        return issues
    text = f"There are more issues than these {MAX_ISSUES}. Correct them and send again to see the others."
    worst = sorted(issues, key=lambda issue: _ORDER.index(issue.severity))[:MAX_ISSUES]
    return [*worst, Issue("incomplete", text, severity="information")]
