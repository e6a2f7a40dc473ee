"""How much each rule matters: whether what breaks it is refused, warned of, told of or left out.

A deployment may change the level of a rule, for everybody or for one sender. The rules that the gateway itself relies
on stay as they are: what breaks them can be neither kept nor written in the other format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Literal, get_args

from gateway.errors import Issue, Severity
from gateway.fhir import definitions

Level = Literal["refuse", "warn", "inform", "ignore"]
LEVELS: tuple[Level, ...] = get_args(Level)

RULES = (
    "resource-type",
    "unknown-element",
    "type",
    "cardinality-min",
    "cardinality-max",
    "choice",
    "null",
    "empty",
    "format",
    "narrative",
    "narrative-markup",
    "binding-required",
    "binding-extensible",
    "binding-preferred",
    "reference-target",
    "reference-unresolved",
    "reference-by-id",
    "full-url",
    "profile-unknown",
    "second-opinion",
)
"""All but the invariants, each of which is a rule by its key, and `profile-<name>`, the rules of a known profile."""

FIXED = frozenset({"resource-type", "unknown-element", "type", "cardinality-max", "choice", "null", "narrative-markup"})
"""The rules whose level is always refuse."""

EVERY_PROFILE, EVERY_RULE = "profile-*", "*"
"""What stands for all `profile-<name>`, and for every rule, where neither the rule nor its group is given."""

_COMPUTABLE_NAMES = (
    "adf-0 cid-0 cmd-0 cnl-0 cpb-0 cpd-0 csd-0 ees-0 esc-0 evd-0 evi-0 evv-0 gdf-0 ig-0 lib-0 mea-0 msd-0 nsd-0 opd-0"
    " pdf-0 que-0 red-0 rsd-0 rvs-0 sdf-0 smp-0 spd-0 tcp-0 tst-0 vsd-0"
)
_OF_R5 = (
    "app-6 cnl-1 cod-1 csd-2 csd-3 ctm-2 docRef-1 docRef-2 eld-24 eld-25 eld-27 exs-19 exs-20 exs-21 ident-1 mea-2"
    " mea-3 mea-4 mea-5 mea-6 pld-3 pld-4 que-14 que-15 sdf-26 sdf-29"
)
_BEST_PRACTICE = f"con-3 dom-r4b eld-20 eld-21 nor-1 que-1b {_COMPUTABLE_NAMES} {_OF_R5}"
"""The invariants that the specification itself only warns of."""

_HARMLESS = (
    "bdl-9 bdl-10 cmp-1 con-4 drt-1 empty ext-1 full-url org-1 org-2 org-3 ppc-2 ppc-3 ppc-4 ppc-5"
    " reference-by-id reference-unresolved"
)
"""What real senders break without anything becoming ambiguous by it: docs/validation.md says why, for each."""

DEFAULTS: Mapping[str, Level] = {
    **dict.fromkeys(_HARMLESS.split(), "warn"),
    **dict.fromkeys(_BEST_PRACTICE.split(), "inform"),
    "binding-extensible": "inform",
    "binding-preferred": "inform",
    "profile-unknown": "inform",
    "second-opinion": "inform",
    "dom-6": "ignore",
}
"""The rules whose level is not refuse unless it is changed."""

_SEVERITIES: Mapping[Level, Severity] = {"refuse": "error", "warn": "warning", "inform": "information"}


class Levels:
    """The levels in force: `changes` before DEFAULTS."""

    __slots__ = ("_changes", "_told")

    def __init__(self, changes: Mapping[str, Level] = {}) -> None:
        self._changes = changes
        self._told: dict[str, Level] = {}

    def of(self, rule: str) -> Level:
        """The level of the rule; of any that is not known it is refuse."""
        if rule not in self._told:
            self._told[rule] = self._find(rule)
        return self._told[rule]

    def _find(self, rule: str) -> Level:
        if rule in FIXED:
            return "refuse"
        if rule in self._changes:
            return self._changes[rule]
        if _is_of_profile(rule) and EVERY_PROFILE in self._changes:
            return self._changes[EVERY_PROFILE]
        return self._changes.get(EVERY_RULE) or DEFAULTS.get(rule, "refuse")

    def without_advice(self) -> Levels:
        """The same levels, but that what is only to be told of is ignored."""
        return _WithoutAdvice(self._changes)

    def apply(self, issues: Iterable[Issue]) -> list[Issue]:
        """The issues in their order, each as severe as its rule's level says; those to be ignored are left out.

        What names no rule, and what is fatal, stays as it is; of the rules of a profile that are to be refused, each is
        as severe as the profile makes it.
        """
        found = []
        for issue in issues:
            level = self._of_issue(issue)
            if level is None or issue.severity == _SEVERITIES.get(level):
                found.append(issue)
            elif level != "ignore":
                found.append(replace(issue, severity=_SEVERITIES[level]))
        return found

    def _of_issue(self, issue: Issue) -> Level | None:
        if not issue.rule or issue.severity == "fatal":
            return None
        level = self.of(issue.rule)
        return None if level == "refuse" and _is_of_profile(issue.rule) else level


class _WithoutAdvice(Levels):
    __slots__ = ()

    def _find(self, rule: str) -> Level:
        level = super()._find(rule)
        return "ignore" if level == "inform" else level


def find_fault(changes: Mapping[str, object]) -> str | None:
    """Why these cannot be the changes of Levels, as the end of a sentence; None if they can."""
    for rule, level in changes.items():
        if level not in LEVELS:
            return f"a level is one of {', '.join(LEVELS)} (see {rule})"
        if rule in FIXED and level != "refuse":
            return f"the gateway relies on {rule}, whose level is always refuse"
        if not _is_known(rule):
            near = get_close_matches(rule, _known_rules(), n=1, cutoff=0.6)
            return f"there is no rule {rule}" + (f" (did you mean {near[0]}?)" if near else "")
    return None


def _is_known(rule: str) -> bool:
    """A constraint is looked for in one version after the other: the first, R4, is read anyway, and has most."""
    if rule in (*RULES, EVERY_RULE) or _is_of_profile(rule):
        return True
    return any(rule in definitions.constraint_keys(version) for version in definitions.TABLES)


def _is_of_profile(rule: str) -> bool:
    return rule.startswith("profile-") and rule != "profile-unknown"


def _known_rules() -> tuple[str, ...]:
    invariants = frozenset[str]().union(*map(definitions.constraint_keys, definitions.TABLES))
    return (*RULES, EVERY_PROFILE, EVERY_RULE, *sorted(invariants))
