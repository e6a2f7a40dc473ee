"""How severe an issue is, by its rule and by what a deployment says of it."""

import pytest

from gateway.errors import Issue
from gateway.fhir import definitions
from gateway.fhir.check.levels import DEFAULTS, FIXED, LEVELS, RULES, Level, Levels, find_fault


def issue(rule: str | None, severity: str = "error") -> Issue:
    return Issue("invalid", "Wrong.", rule=rule, severity=severity)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "level"),
    [("binding-required", "refuse"), ("bdl-7", "refuse"), ("profile-coordination-task", "refuse"), ("dom-6", "ignore")],
)
def test_without_a_change_a_rule_has_its_default(rule: str, level: Level) -> None:
    assert Levels().of(rule) == level


def test_the_rule_itself_comes_before_its_group_and_the_group_before_all_rules() -> None:
    levels = Levels({"*": "warn", "profile-*": "ignore", "profile-a": "refuse"})

    assert levels.of("profile-a") == "refuse"
    assert levels.of("profile-b") == "ignore"
    assert levels.of("bdl-7") == levels.of("dom-6") == levels.of("ext-1") == "warn"


def test_a_profile_that_is_not_known_is_no_rule_of_a_profile() -> None:
    assert Levels({"profile-*": "refuse"}).of("profile-unknown") == "inform"


@pytest.mark.parametrize("rule", sorted(FIXED))
def test_what_the_gateway_relies_on_is_refused_whatever_is_said(rule: str) -> None:
    assert Levels({rule: "ignore", "*": "warn"}).of(rule) == "refuse"
    assert find_fault({rule: "warn"}) == f"the gateway relies on {rule}, whose level is always refuse"
    assert find_fault({rule: "refuse"}) is None


def test_issues_become_as_severe_as_their_levels_say_and_keep_their_order() -> None:
    levels = Levels({"a": "warn", "b": "inform", "c": "ignore", "dom-6": "refuse"})

    changed = levels.apply(issue(rule) for rule in ("a", "b", "c", "dom-6", "e"))

    assert [(one.rule, one.severity) for one in changed] == [
        ("a", "warning"),
        ("b", "information"),
        ("dom-6", "error"),
        ("e", "error"),
    ]


def test_what_has_no_rule_and_what_is_fatal_stays_as_it_is() -> None:
    issues = [issue(None, "warning"), issue("a", "fatal")]

    assert Levels({"*": "ignore"}).apply(issues) == issues


def test_every_default_is_of_a_rule_and_every_level_one_that_there_is() -> None:
    assert find_fault(DEFAULTS) is None
    assert {*DEFAULTS.values()} < {*LEVELS}
    assert {*RULES} > FIXED


def test_what_the_specification_only_warns_of_refuses_nothing() -> None:
    rules = {
        (rule.key, rule.severity)
        for version in definitions.TABLES
        for name in definitions.type_names(version)
        for rule in definitions.get_type(name, version).constraints
    }
    errors = {key for key, severity in rules if severity == "error"}

    assert {key for key, _ in rules if Levels().of(key) == "refuse"} <= errors


def test_what_is_only_rough_is_still_told() -> None:
    harmless = ("ext-1", "empty", "full-url", "reference-unresolved", "bdl-9", "org-1", "con-4")

    assert {Levels().of(rule) for rule in harmless} == {"warn"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"bdl7": "warn"}, "there is no rule bdl7 (did you mean bdl-7?)"),
        ({"cardinality": "warn"}, "there is no rule cardinality (did you mean cardinality-min?)"),
        ({"xyzzy": "warn"}, "there is no rule xyzzy"),
        ({"dom-6": "off"}, "a level is one of refuse, warn, inform, ignore (see dom-6)"),
        ({"dom-6": 1}, "a level is one of refuse, warn, inform, ignore (see dom-6)"),
        ({"dom-6": "ignore", "*": "warn", "profile-*": "warn", "profile-own": "warn", "per-1": "inform"}, None),
    ],
)
def test_a_change_that_cannot_be_used_is_answered_with_why(changes: dict[str, object], fault: str | None) -> None:
    assert find_fault(changes) == fault
