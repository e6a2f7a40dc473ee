"""Profiles: those of the gateway, what is claimed, and those of a real network."""

from __future__ import annotations

import copy
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Issue
from gateway.fhir import xml
from gateway.fhir.check import check
from gateway.fhir.check.profiles import Profile, Profiles, Surroundings, claims, expressions, load
from gateway.fhir.references import Entries
from tests.conftest import ROOT

COW = "http://hl7.org/fhir/uv/cow/StructureDefinition/"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
SHIPPED = load()
REQUESTS = (
    "ServiceRequest",
    "DeviceRequest",
    "MedicationRequest",
    "NutritionOrder",
    "SupplyRequest",
    "VisionPrescription",
)
Resource = dict[str, Any]


def task(kind: str = "fulfill", about: str = "ServiceRequest/1", **elements: Any) -> Resource:
    """A Coordination Task, or whatever its elements make of it; one that is None is left out."""
    resource = {
        "resourceType": "Task",
        "identifier": [{"system": "https://placer.example/orders", "value": "1"}],
        "status": "requested",
        "intent": "order",
        "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": kind}]},
        "focus": {"reference": about},
        **elements,
    }
    return {name: value for name, value in resource.items() if value is not None}


def header(**elements: Any) -> Resource:
    event = {"system": "http://hl7.org/fhir/uv/cow/CodeSystem/temp", "code": "new-order"}
    source = {"endpoint": "https://placer.example/fhir"}
    focus = [{"reference": "Task/1"}]
    return {"resourceType": "MessageHeader", "eventCoding": event, "source": source, "focus": focus, **elements}


def status(**parameters: Any) -> Resource:
    """The status in a notification; a parameter that is None is left out."""
    event = [
        {"name": "event-number", "valueString": "3"},
        {"name": "timestamp", "valueInstant": "2025-03-28T15:44:18Z"},
        {"name": "focus", "valueReference": {"reference": "Task/1"}},
    ]
    usual: Resource = {
        "subscription": {"valueReference": {"identifier": {"system": "urn:s", "value": "7"}, "type": "Subscription"}},
        "status": {"valueCode": "active"},
        "type": {"valueCode": "event-notification"},
        "notification-event": {"part": event},
    }
    listed = [{"name": name, **value} for name, value in {**usual, **parameters}.items() if value is not None]
    return {"resourceType": "Parameters", "parameter": listed}


def notification(*resources: Resource, **elements: Any) -> Resource:
    entries = [{"fullUrl": f"urn:uuid:{number}", "resource": each} for number, each in enumerate(resources)]
    return {"resourceType": "Bundle", "type": "history", "entry": entries, **elements}


def known(url: str, profiles: Profiles = SHIPPED) -> Profile:
    profile = profiles.find(url)
    assert profile is not None
    return profile


def found(url: str, resource: Any, around: Surroundings | None = None) -> list[tuple[str, str | None]]:
    """The codes and places of the issues by a profile of the gateway."""
    return places(known(url).check(resource, known(url).type, around=around))


def places(issues: Any) -> list[tuple[str, str | None]]:
    return [(issue.code, issue.expression) for issue in issues]


# --- the gateway's own ------------------------------------------------------------------------------------------------


def test_all_profiles_of_the_guide_are_known() -> None:
    urls = {profile.url.removeprefix(COW) for profile in SHIPPED if profile.url.startswith(COW)}

    assert urls == {
        "coordination-task",
        "cancellation-request-task",
        "cow-message-header",
        "cow-subscription-notification",
        "cow-subscription-status",
    }


@pytest.mark.parametrize("request_type", REQUESTS)
def test_a_coordination_task_is_about_a_request(request_type: str) -> None:
    assert found(f"{COW}coordination-task", task(about=f"{request_type}/1")) == []
    assert found(f"{COW}coordination-task", task(about=f"https://a.example/fhir/{request_type}/1/_history/2")) == []


@pytest.mark.parametrize(
    "reference",
    [
        "ServiceRequest?identifier=http://x.example/Patient/1",
        "http://x.example/a?b=/Patient/1",
        "http://x.example/a#/Patient/1",
        "ServiceRequest/1#/Patient/1",
        "urn:x:/Patient/1",
        "ftp://x.example/Patient/1",
        "a/Patient/1",
        "/Patient/1",
        "http://Patient/1",
        "Patient/1\n",
    ],
)
def test_what_is_no_address_of_a_resource_tells_no_type(reference: str) -> None:
    assert found(f"{COW}coordination-task", task(about=reference)) == []


UNSOUND_TASKS = [
    (task(identifier=None), [("required", "Task.identifier")]),
    (task(identifier=[]), [("required", "Task.identifier")]),
    (task(code=None), [("required", "Task.code")]),
    (task(about="Patient/1"), [("structure", "Task.focus")]),
    (task(about="https://a.example/fhir/Task/1"), [("structure", "Task.focus")]),
    (
        {"resourceType": "Task"},
        [("required", "Task.identifier"), ("required", "Task.code"), ("required", "Task.focus")],
    ),
    ({"resourceType": "Patient"}, [("structure", "Task")]),
]


@pytest.mark.parametrize(("resource", "issues"), UNSOUND_TASKS)
def test_what_is_no_coordination_task_is_told(resource: Resource, issues: list[tuple[str, str]]) -> None:
    assert found(f"{COW}coordination-task", resource) == issues


def test_what_stands_beside_a_missing_value_is_there() -> None:
    absent = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]}

    assert found(f"{COW}coordination-task", task(focus=absent)) == []


def test_an_issue_says_the_profile_the_place_and_the_remedy() -> None:
    profile = known(f"{COW}coordination-task")

    first, second = profile.check(task(identifier=None, about="Patient/1"), "Bundle.entry[1].resource")

    assert first == Issue(
        "required",
        "By the profile Coordination Task, identifier has to be here, and is not. Add it.",
        "Bundle.entry[1].resource.identifier",
        rule="profile-coordination-task",
    )
    assert second.text == (
        "By the profile Coordination Task, focus has to refer to a DeviceRequest, MedicationRequest, NutritionOrder, "
        "ServiceRequest, SupplyRequest or VisionPrescription, not to a Patient. Refer to one."
    )


def test_the_code_of_a_cancellation_is_abort() -> None:
    url = f"{COW}cancellation-request-task"
    other = {"coding": [{"system": "http://site.example", "code": "stop"}]}

    assert found(url, task("abort", "Task/1")) == []
    assert found(url, task("abort", "Task/1", code={"coding": other["coding"] + task("abort")["code"]["coding"]})) == []
    assert found(url, task("fulfill", "Task/1")) == [("value", "Task.code")]
    assert found(url, task("abort", "Task/1", code=other)) == [("value", "Task.code")]
    assert found(url, task("abort", "Patient/1")) == [("structure", "Task.focus")]


def test_a_target_at_hand_is_as_its_profile_says() -> None:
    resources = {"Task/sound": task(), "urn:uuid:1": task(), "Task/unsound": task(identifier=None)}
    around = Surroundings(lambda reference, _: resources.get(reference))
    url = f"{COW}cancellation-request-task"

    assert found(url, task("abort", "Task/sound"), around) == []
    assert found(url, task("abort", "urn:uuid:1"), around) == []
    assert found(url, task("abort", "Task/elsewhere"), around) == []
    [issue] = known(url).check(task("abort", "Task/unsound"), "Task", around=around)
    assert issue.expression == "Task.focus"
    assert issue.text.endswith("By the profile Coordination Task, identifier has to be here, and is not. Add it.")


def test_a_header_has_one_task_in_focus_and_an_event_of_the_guide() -> None:
    url = f"{COW}cow-message-header"
    two = [{"reference": "Task/1"}, {"reference": "Task/2"}]

    assert found(url, header()) == []
    assert found(url, header(focus=[])) == [("required", "MessageHeader.focus")]
    assert found(url, header(focus=two)) == [("structure", "MessageHeader.focus[1]")]
    assert found(url, header(focus=[{"reference": "Patient/1"}])) == [("structure", "MessageHeader.focus[0]")]


def test_an_event_outside_the_guide_is_noted_under_the_rule_of_its_binding() -> None:
    event = {"system": "https://site.example/events", "code": "new-order"}

    [issue] = known(f"{COW}cow-message-header").check(header(eventCoding=event), "MessageHeader")

    assert (issue.severity, issue.rule, issue.expression) == (
        "information",
        "binding-extensible",
        "MessageHeader.event",
    )


def test_a_notification_is_as_the_guide_says() -> None:
    url = f"{COW}cow-subscription-notification"

    assert found(url, notification(status(), task())) == []
    assert found(url, notification(task(), status())) == [("invariant", "Bundle")]
    assert found(url, notification(status(), status())) == [("structure", "Bundle.entry[1]")]
    assert ("value", "Bundle.type") in found(url, notification(status(), type="message"))
    inner = "Bundle.entry[0].resource"
    assert found(url, notification(status(status=None))) == [("required", f"{inner}.parameter")] * 2


UNSOUND_STATUSES = [
    ({"subscription": {"valueReference": {"reference": "Subscription/1"}}}, ("required", "[0].value.identifier")),
    ({"subscription": {"valueReference": {"identifier": {}, "reference": "Task/1"}}}, ("structure", "[0].value")),
    ({"status": {"valueString": "active"}}, ("structure", "[1].value")),
    ({"type": {"valueCode": "event"}}, ("code-invalid", "[2].value")),
    ({"type": {}}, ("required", "[2].value")),
    ({"notification-event": {"part": []}}, ("required", "[3].part")),
    (
        {"notification-event": {"part": [{"name": "event-number", "valueInteger": 3}]}},
        ("structure", "[3].part[0].value"),
    ),
]


@pytest.mark.parametrize(("parameters", "issue"), UNSOUND_STATUSES)
def test_what_is_no_status_is_told(parameters: Resource, issue: tuple[str, str]) -> None:
    code, place = issue

    assert found(f"{COW}cow-subscription-status", status(**parameters)) == [(code, f"Parameters.parameter{place}")]


def test_the_focus_of_a_notified_event_is_a_task() -> None:
    number = {"name": "event-number", "valueString": "3"}
    event = {"part": [number, {"name": "focus", "valueReference": {"reference": "Patient/1"}}]}
    resource = status(**{"notification-event": event})

    assert found(f"{BACKPORT}backport-subscription-status-r4", resource) == []
    place = "Parameters.parameter[3].part[1].value"
    assert found(f"{COW}cow-subscription-status", resource) == [("structure", place)]


def test_the_expressions_of_the_gateways_own_can_be_evaluated() -> None:
    for file in (files("gateway.fhir") / "profiles").iterdir():
        for expression in re.findall(r'expression = "(.*?)"', file.read_text()):
            assert expressions.fault(expression, "Bundle") == ""


# --- claims -----------------------------------------------------------------------------------------------------------


def test_a_profile_is_found_by_its_address_and_version() -> None:
    url = f"{COW}coordination-task"

    assert SHIPPED.find(url) is SHIPPED.find(f"{url}|1.0.0") is SHIPPED.find(f"{url}|1.0.0-ballot") is not None
    assert SHIPPED.find(f"{url}|2.0") is None
    assert SHIPPED.find("https://site.example/unknown") is None


def test_the_profile_that_a_type_itself_is_adds_nothing() -> None:
    base = "http://hl7.org/fhir/StructureDefinition/"

    assert known(f"{base}Task|4.0.1").type == "Task"
    assert found(f"{base}Task", {"resourceType": "Task"}) == []
    assert found(f"{base}Task", {"resourceType": "Patient"}) == [("structure", "Task")]
    assert SHIPPED.find(f"{base}vitalsigns") is None
    assert all(not profile.url.startswith(base) for profile in SHIPPED)


def test_a_claim_is_checked_if_it_is_known_and_noted_if_it_is_not() -> None:
    url, other = f"{COW}coordination-task", "https://site.example/unknown"
    resource = task(identifier=None, meta={"profile": [other, url, f"{url}|1.0.0", f"{url}|9"]})

    issues = list(SHIPPED.check_claims(resource, "Task"))

    assert [(issue.rule, issue.severity, issue.expression) for issue in issues] == [
        ("profile-unknown", "information", "Task.meta.profile[0]"),
        ("profile-coordination-task", "error", "Task.identifier"),
        ("profile-unknown", "information", "Task.meta.profile[3]"),
    ]
    assert "version '9' of the profile" in issues[2].text
    assert "1.0.0-ballot" in issues[2].text


def test_a_claim_to_be_of_another_type_is_told_where_it_is() -> None:
    resource = {"resourceType": "Patient", "meta": {"profile": [f"{COW}coordination-task"]}}

    assert places(SHIPPED.check_claims(resource, "Patient")) == [("structure", "Patient.meta.profile[0]")]


@pytest.mark.parametrize("meta", [None, [], {"profile": None}, {"profile": "x"}, {"profile": [None, 1, {}]}])
def test_what_is_no_claim_is_none(meta: Any) -> None:
    assert list(claims({"resourceType": "Task", "meta": meta})) == []


def test_the_check_looks_at_claims_and_at_the_profile_it_is_given() -> None:
    bundle = notification(task(identifier=None, meta={"profile": [f"{COW}coordination-task"]}))
    issues = check(bundle, profile=known(f"{COW}cow-subscription-notification"))

    assert ("profile-coordination-task", "Bundle.entry[0].resource.identifier") in [
        (issue.rule, issue.expression) for issue in issues
    ]
    assert "profile-cow-subscription-notification" in [issue.rule for issue in issues]


# --- a real network ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def medcom(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    [text] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "profiles.md").read_text(), re.DOTALL)
    file = tmp_path_factory.mktemp("profiles") / "medcom.toml"
    file.write_text(text)
    return load([file])


def of_network(bundle: Resource, profiles: Profiles) -> list[tuple[str | None, str | None]]:
    """The issues of all claims in a message that are known."""
    entries = Entries(bundle)
    sources = {id(entry.resource): entry for entry in entries}

    def resolve(reference: str, source: Resource) -> Resource | None:
        entry = entries.resolve(reference, sources[id(source)])
        return entry.resource if entry else None

    places = [("Bundle", bundle), *((entry.path, entry.resource) for entry in entries)]
    around = Surroundings(resolve)
    issues = [issue for path, resource in places for issue in profiles.check_claims(resource, path, None, around)]
    return [(issue.rule, issue.expression) for issue in issues if issue.rule != "profile-unknown"]


def test_real_messages_of_a_network_are_as_its_profiles_say(medcom: Profiles, corpus: Path) -> None:
    for name in ("acknowledgement-message-response-7beeb7c1", "care-communication-message-request-b045f52d"):
        bundle = xml.parse((corpus / "medcom-dk-carecommunication" / f"{name}.xml").read_bytes())
        assert of_network(bundle, medcom) == []

        unsound = copy.deepcopy(bundle)
        of_header = unsound["entry"][0]["resource"]
        of_header["eventCoding"]["system"] = "https://other.example"
        of_header["destination"] *= 2
        for entry in unsound["entry"]:
            if entry["resource"]["resourceType"] == "Organization":
                entry["resource"]["identifier"].pop(0)

        places = {place for _, place in of_network(unsound, medcom)}
        inside = "Bundle.entry[0].resource"
        assert {f"{inside}.event", f"{inside}.destination[1]", f"{inside}.sender"} <= places
