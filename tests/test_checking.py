"""The checker as a deployment has set it up: what the reply to a message tells of what was found."""

from pathlib import Path
from typing import Any

import pytest

from gateway.checking import Checking
from gateway.errors import Issue
from gateway.partners import Partner
from gateway.settings import Settings, SettingsError

MILD = """
[[profile]]
url = "http://site.example/StructureDefinition/mild-task"
name = "mild-task"
title = "Mild Task"
type = "Task"

[[profile.rule]]
path = "input"

[profile.rule.invariant]
key = "mild-1"
severity = "warning"
human = "An input has a Coding"
expression = "type.coding.exists()"
"""


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    header = {
        "resourceType": "MessageHeader",
        "eventUri": "urn:e",
        "source": {"endpoint": "urn:sender"},
        "destination": [{"endpoint": "urn:gateway"}],
    }
    entries = [
        {"fullUrl": f"urn:uuid:00000000-0000-4000-8000-{number:012}", "resource": resource}
        for number, resource in enumerate((header, *resources))
    ]
    return {"resourceType": "Bundle", "type": "message", "entry": entries}


def told(message: dict[str, Any], **settings: Any) -> list[Issue]:
    return Checking(Settings(**settings)).check_message(message, "R4", "urn:sender", None)


TASK = {"resourceType": "Task", "status": "draft", "intent": "order"}
LOOSE = {**TASK, "for": {"reference": "Patient/nowhere"}}


def test_a_sound_message_is_told_nothing() -> None:
    assert told(bundle(TASK)) == []


def test_advice_is_not_told() -> None:
    language = {"resourceType": "Patient", "communication": [{"language": {"coding": [{"code": "tlh"}]}}]}

    assert told(bundle(language)) == []


def test_warnings_are_told_some_times_for_each_rule() -> None:
    issues = told(bundle({**TASK, "extension": [{"url": f"urn:x:{number}"} for number in range(150)]}))

    assert [issue.rule for issue in issues] == ["ext-1"] * 3
    assert issues[-1].text.endswith("There are 147 more of this kind: $validate names them.")


def test_what_a_reference_means_is_for_the_handlers_to_say() -> None:
    assert told(bundle(LOOSE)) == []


def test_a_reference_that_is_to_be_refused_is_refused() -> None:
    (issue,) = told(bundle(LOOSE), check_levels={"reference-unresolved": "refuse"})

    assert (issue.rule, issue.severity) == ("reference-unresolved", "error")


def test_the_levels_of_a_sender_are_its_own() -> None:
    lax = {"urn:sender": {"cardinality-min": "warn"}}
    checking = Checking(Settings(check_levels_of=lax))
    message = bundle({"resourceType": "Task", "status": "draft"})

    severities = [
        checking.check_message(message, "R4", who, None)[0].severity for who in ("urn:sender", "urn:other", None)
    ]

    assert severities == ["warning", "error", "error"]


def test_the_levels_of_a_dialect_are_under_those_of_the_sender() -> None:
    checking = Checking(Settings(check_levels={"bdl-1": "refuse"}, check_levels_of={"urn:sender": {"bdl-1": "inform"}}))
    message = {**bundle(TASK), "total": 2}
    strict = Partner("strict", ("urn:x|1",), dialect="ca-erec", checking=(("bdl-1", "refuse"),))

    def severities(who: str | None, partner: Partner | None, dialect: str | None) -> list[str]:
        return [issue.severity for issue in checking.check_message(message, "R4", who, None, partner, dialect)]

    assert severities(None, None, None) == ["error"]
    assert severities(None, None, "ca-erec") == ["warning"]
    assert severities("urn:sender", None, "ca-erec") == []
    assert severities("urn:sender", strict, "ca-erec") == ["error"]


def test_the_warnings_of_a_profile_are_warnings(tmp_path: Path) -> None:
    (tmp_path / "mild.toml").write_text(MILD)
    claim = {"profile": ["http://site.example/StructureDefinition/mild-task"]}
    inputs = [{"type": {"text": "a"}, "valueString": "b"}] * 120

    issues = told(bundle({**TASK, "meta": claim, "input": inputs}), profiles=(tmp_path,))

    assert [(issue.rule, issue.severity) for issue in issues] == [("profile-mild-task", "warning")] * 3


def test_profiles_that_cannot_be_used_are_wrong_settings(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[[profile]]\nurl = 1\n")

    with pytest.raises(SettingsError, match=r"broken\.toml"):
        Checking(Settings(profiles=(tmp_path,)))


def test_the_levels_of_a_partner_come_before_those_of_its_endpoint() -> None:
    checking = Checking(Settings(check_levels={"dom-6": "warn"}, check_levels_of={"urn:a": {"bdl-7": "warn"}}))
    partner = Partner("A", ("urn:org|A",), checking=(("bdl-7", "inform"), ("bdl-9", "refuse")))
    rules = ("bdl-7", "bdl-9", "dom-6")
    assert [checking.levels_for("urn:a", partner).of(rule) for rule in rules] == ["inform", "refuse", "warn"]
    assert [checking.levels_for("urn:b", partner).of(rule) for rule in rules] == ["inform", "refuse", "warn"]
    assert [checking.levels_for("urn:a").of(rule) for rule in rules] == ["warn", "warn", "warn"]
    assert [checking.levels_for("urn:b", Partner("B", ("urn:org|B",))).of("bdl-7")] == ["refuse"]
