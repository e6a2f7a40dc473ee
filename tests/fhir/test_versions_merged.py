"""What an update in one version of FHIR leaves of a Task that parties of several versions have."""

from typing import Any

import pytest

from gateway.fhir.definitions import Version
from gateway.fhir.task.merging import merged
from gateway.fhir.versions import from_r4, to_r4
from gateway.fhir.versions.carrying import url_of
from tests.terms import ORDERS

NOW = "2026-03-02T12:00:00.000Z"
Members = dict[str, Any]


def concept(text: str) -> Members:
    return {"concept": {"text": text}}


def reference(to: str) -> Members:
    return {"reference": {"reference": f"Organization/{to}"}}


def in_r4(version: Version, elements: Members) -> Members:
    made, lost = to_r4({"resourceType": "Task", "status": "requested", "intent": "order", **elements}, version)
    assert not lost
    return made


def seen_in(version: Version, task: Members) -> Members:
    """What the Task has in the version, beyond what all of these have."""
    made, lost = from_r4(task, version)
    assert not lost
    given = ("resourceType", "status", "intent", "lastModified")
    return {name: value for name, value in made.items() if name not in given}


def updated(task: Members, version: Version, **elements: Any) -> Members:
    return merged(task, in_r4(version, elements), NOW, ORDERS, version)


ONE, TWO = reference("1"), reference("2")
BOTH = {**concept("A"), **ONE}


@pytest.mark.parametrize(
    ("element", "before", "after"),
    [
        ("requestedPerformer", [concept("t"), ONE], [TWO]),
        ("requestedPerformer", [concept("t"), ONE], [concept("t")]),
        ("requestedPerformer", [concept("t")], [ONE]),
        ("requestedPerformer", [ONE], [concept("t")]),
        ("requestedPerformer", [ONE], [concept("t"), ONE]),
        ("reason", [concept("A"), concept("B")], [concept("A")]),
        ("reason", [concept("A"), concept("B")], [concept("B"), concept("A")]),
        ("reason", [concept("A"), ONE], [concept("A")]),
        ("reason", [concept("A"), ONE], [ONE]),
        ("reason", [ONE], [concept("A")]),
        ("statusReason", BOTH, concept("A")),
        ("statusReason", BOTH, ONE),
        ("statusReason", ONE, concept("A")),
        ("doNotPerform", True, False),
    ],
)
@pytest.mark.parametrize("is_repeated", [False, True])
def test_what_an_update_in_r5_has_replaces(element: str, before: Any, after: Any, is_repeated: bool) -> None:
    others = {"requestedPeriod": {"start": "2026-03-02"}, "description": "d"}
    kept = in_r4("R5", {element: before, **others})
    repeated = others if is_repeated else {}
    assert seen_in("R5", updated(kept, "R5", **{element: after}, **repeated)) == {element: after, **others}
    noted = {"note": [{"text": "n"}]}
    assert seen_in("R5", updated(kept, "R5", **noted)) == {element: before, **noted, **others}


def test_who_took_part_earlier_is_added_to_and_never_forgotten() -> None:
    a, b = ({"actor": {"display": name}} for name in "ab")
    kept = in_r4("R5", {"performer": [a, b]})
    assert seen_in("R5", updated(kept, "R5", performer=[a])) == {"performer": [a, b]}
    assert seen_in("R5", updated(in_r4("R5", {"performer": [a]}), "R5", performer=[b])) == {"performer": [a, b]}


@pytest.mark.parametrize(
    ("element", "before", "after"),
    [
        (
            "requester",
            {"agent": {"reference": "Practitioner/1"}, "onBehalfOf": {"reference": "Organization/1"}},
            {"agent": {"reference": "Practitioner/1"}},
        ),
        ("definitionReference", {"reference": "ActivityDefinition/1"}, {"reference": "ActivityDefinition/2"}),
        ("reason", {"text": "A"}, {"text": "B"}),
    ],
)
@pytest.mark.parametrize("status", ["draft", "requested"])
def test_what_an_update_in_stu3_has_replaces(status: str, element: str, before: Any, after: Any) -> None:
    kept = in_r4("STU3", {"status": status, element: before})
    assert seen_in("STU3", updated(kept, "STU3", status=status, **{element: after})) == {element: after}
    assert seen_in("STU3", updated(kept, "STU3", status=status)) == {element: before}


def test_an_element_may_be_of_another_choice_than_it_was() -> None:
    kept = in_r4("STU3", {"definitionUri": "urn:a"})
    after = {"reference": "ActivityDefinition/1"}
    assert seen_in("STU3", updated(kept, "STU3", definitionReference=after)) == {"definitionReference": after}


R5_TASK = {
    "requestedPerformer": [concept("t"), ONE],
    "performer": [{"actor": {"display": "a"}}],
    "reason": [concept("A"), concept("B")],
}


def test_an_update_in_r4_keeps_what_is_carried_of_what_it_does_not_change() -> None:
    kept = in_r4("R5", R5_TASK)
    for same in ({}, {"reasonCode": {"text": "A"}}, {"extension": [{"url": "urn:own", "valueString": "x"}]}):
        own = {"extension": same["extension"]} if "extension" in same else {}
        noted = updated(kept, "R4", note=[{"text": "n"}], **same)
        assert seen_in("R5", noted) == {**R5_TASK, **own, "note": [{"text": "n"}]}


def test_the_value_of_an_update_in_r4_counts_in_r5() -> None:
    kept = in_r4("R5", R5_TASK)
    changed = updated(kept, "R4", reasonCode={"text": "C"}, performerType=[{"text": "nurse"}])
    assert seen_in("R5", changed) == {
        "reason": [concept("C")],
        "requestedPerformer": [concept("nurse")],
        "performer": R5_TASK["performer"],
    }
    reason_of_both = {"reasonCode": {"text": "A"}, "reasonReference": {"reference": "Condition/1"}}
    referring = updated(in_r4("R4", reason_of_both), "R4", reasonCode={"text": "B"})
    assert referring["reasonReference"] == reason_of_both["reasonReference"]


def test_what_another_version_says_otherwise_of_the_same_is_not_carried_on() -> None:
    kept = updated(in_r4("R5", R5_TASK), "STU3", reason={"text": "C"}, definitionUri="urn:a")
    assert seen_in("R5", kept)["reason"] == [concept("C")]
    again = updated(kept, "R5", reason=[concept("D"), ONE, TWO])
    assert seen_in("STU3", again)["reason"] == {"text": "D"}
    assert seen_in("STU3", again)["definitionUri"] == "urn:a"
    assert seen_in("R5", again)["reason"] == [concept("D"), ONE, TWO]


def test_extensions_that_an_update_does_not_mention_stay_whatever_it_carries() -> None:
    own = [{"url": "urn:own", "valueString": "1"}]
    kept = in_r4("R5", {**R5_TASK, "extension": own})
    changed = updated(kept, "R5", requestedPeriod={"start": "2026"})
    assert seen_in("R5", changed) == {**R5_TASK, "extension": own, "requestedPeriod": {"start": "2026"}}
    other = [{"url": "urn:own", "valueString": "2"}]
    assert seen_in("R5", updated(changed, "R5", extension=other))["extension"] == other


def test_an_update_in_r5_that_says_the_same_again_changes_nothing() -> None:
    kept = in_r4("R5", {**R5_TASK, "extension": [{"url": "urn:own", "valueString": "1"}]})
    assert updated(kept, "R5", reason=R5_TASK["reason"]) is kept
    assert updated(kept, "R5", **R5_TASK) is kept
    assert updated(kept, "R5") is kept


def test_a_carried_reason_of_a_status_goes_and_comes_with_it() -> None:
    kept = in_r4("R5", {"statusReason": BOTH})
    assert seen_in("R5", updated(kept, "R5", status="received")) == {}
    assert seen_in("R5", updated(kept, "R5", status="received", statusReason=TWO)) == {"statusReason": TWO}
    answered = updated(kept, "R4", status="received", statusReason={"text": "A"})
    assert from_r4(answered, "R5")[0]["statusReason"]["concept"] == {"text": "A"}


def test_an_extension_of_fhirs_that_carries_what_no_version_has_stays() -> None:
    kept = in_r4("R4", {"extension": [{"url": url_of("R5", "Task.unheardOf"), "valueString": "x"}]})
    assert updated(kept, "R5", performer=R5_TASK["performer"])["extension"][-1]["valueString"] == "x"
