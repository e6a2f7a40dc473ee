"""What is said of a resource that is only shown: what $process-message would refuse it for, each thing once."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import routing
from gateway.checking import Checking
from gateway.errors import Issue, Refused, Unreadable
from gateway.fhir import formats, xml
from gateway.fhir.check.levels import Level
from gateway.fhir.issues import step
from gateway.settings import Settings
from gateway.validation import Wish, find_issues
from tests.conftest import ROOT
from tests.fhir.generated import damaged
from tests.senders import Sender, task

ANYTHING = Wish()
CHECKING = Checking(Settings())
REGISTRY = routing.load(["handlers"])
MESSAGES = sorted((ROOT / "tests" / "messages").glob("*.json"))


def issues_of(resource: Any, wish: Wish = ANYTHING, **changes: Any) -> list[Issue]:
    body = resource if isinstance(resource, bytes) else orjson.dumps(resource)
    return find_issues(body, "json", Checking(Settings(**changes)), REGISTRY, wish)


def errors_of(resource: Any, wish: Wish = ANYTHING, **changes: Any) -> list[tuple[str, str | None]]:
    return [
        (issue.code, issue.expression)
        for issue in issues_of(resource, wish, **changes)
        if issue.severity in ("error", "fatal")
    ]


def an_order(**header: Any) -> dict[str, Any]:
    return Sender().write("new-order", task("1"), **header)


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_messages_that_are_processed_have_no_errors(path: Path) -> None:
    assert errors_of(path.read_bytes()) == []


def test_a_message_in_xml_is_judged_as_in_json() -> None:
    message = an_order()
    del message["entry"][1]["resource"]["intent"]

    [issue] = [
        i for i in find_issues(xml.serialize(message), "xml", Checking(Settings()), REGISTRY) if i.severity == "error"
    ]

    assert (issue.rule, issue.expression) == ("cardinality-min", "Bundle.entry[1].resource.intent")
    assert errors_of(message) == [(issue.code, issue.expression)]


def test_every_issue_has_its_line_and_column() -> None:
    body = b'{"resourceType": "Patient",\n "active": true,\n "birthDate": "1980-13"}'

    [issue] = [issue for issue in issues_of(body) if issue.severity == "error"]

    assert (issue.rule, issue.line, issue.column) == ("format", 3, 15)


@pytest.mark.parametrize("name", ["giben", "a.b", "a b", "a`b", "_family2", "\u202eabc"])
def test_an_element_that_is_unknown_is_told_once_and_where_it_is(name: str) -> None:
    patient = {"resourceType": "Patient", "name": [{"family": "b", name: ["c"]}]}
    body = orjson.dumps(patient, option=orjson.OPT_INDENT_2)

    [issue] = [issue for issue in issues_of(body) if (issue.expression or "").startswith("Patient.name")]

    assert (issue.rule, issue.expression) == ("unknown-element", f"Patient.name[0].{step(name)}")
    assert (issue.line, issue.column) == (6, body.decode().split("\n")[5].index("[") + 1)
    assert issue.text.isprintable()


def test_a_message_without_identity_or_sender_is_refused_for_both() -> None:
    message = an_order()
    header = message["entry"][0]["resource"]
    del message["id"], header["id"], message["entry"][0]["fullUrl"]
    header["source"]["endpoint"] = " "

    found = errors_of(message)

    assert {place for _, place in found} >= {
        "Bundle.entry[0].resource.id",
        "Bundle.entry[0].resource.source.endpoint",
    }


def test_what_the_envelope_and_the_checker_both_find_is_said_once() -> None:
    message = an_order()
    del message["entry"][0]["resource"]["source"], message["entry"][0]["resource"]["eventCoding"]

    found = errors_of(message)

    assert sorted(place for _, place in found if place) == [
        "Bundle.entry[0].resource.event",
        "Bundle.entry[0].resource.source",
    ]


def test_a_message_without_a_header_is_told_so_once() -> None:
    message = an_order()
    del message["entry"][0]

    assert len(errors_of(message)) == 1


def test_an_event_without_a_handler_is_an_error_with_the_events_there_are() -> None:
    message = Sender().write("no-such-event", task("1"))

    [issue] = [issue for issue in issues_of(message) if issue.severity == "error"]

    assert (issue.code, issue.expression) == ("not-supported", "Bundle.entry[0].resource.event")
    assert "new-order" in issue.text


def test_a_focus_that_is_not_in_the_bundle_is_told_once() -> None:
    message = an_order(focus=[{"reference": "urn:uuid:c9a646d3-9c61-4cb7-bfcd-ee2522c8f633"}])

    found = [issue for issue in issues_of(message) if (issue.expression or "").startswith("Bundle.entry[0].resource.f")]

    assert [(issue.code, issue.severity) for issue in found] == [("not-found", "error")]


def test_more_in_focus_than_can_be_put_in_order_is_an_error() -> None:
    message = an_order(focus=[{"reference": f"Task/{number}"} for number in range(101)])

    [issue] = [issue for issue in issues_of(message) if issue.code == "too-costly"]

    assert (issue.severity, issue.expression) == ("error", "Bundle.entry[0].resource.focus")
    assert "at most 100" in issue.text


def test_more_identifiers_than_can_be_put_in_order_are_an_error() -> None:
    identifiers = [{"system": "urn:a", "value": str(number)} for number in range(150)]
    message = Sender().write("new-order", task("1", identifier=identifiers))

    [issue] = [issue for issue in issues_of(message) if issue.code == "too-costly"]

    assert "150 identifiers" in issue.text


def test_a_response_needs_no_handler() -> None:
    message = Sender().write("no-such-event", task("1"), response={"identifier": "1", "code": "ok"})

    assert errors_of(message) == []


@pytest.mark.parametrize("name", ["resource", "content"])
def test_a_parameters_around_the_resource_is_looked_through(name: str) -> None:
    patient = {"resourceType": "Patient", "gender": 1}
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "mode"}, {"name": name, "resource": patient}]}

    found = issues_of(orjson.dumps(wrapped, option=orjson.OPT_INDENT_2))

    [issue] = [issue for issue in found if issue.severity == "error"]

    assert (issue.expression, issue.line, issue.column) == ("Patient.gender", 11, 19)


@pytest.mark.parametrize("format_name", ["json", "xml"])
def test_what_is_not_looked_at_in_a_parameters_has_no_issue_placed_in_it(format_name: str) -> None:
    patient, other = ({"resourceType": "Patient", "gender": gender} for gender in ("wrong", "male"))
    inner = {"resourceType": "Parameters", "parameter": [{"name": "a"}, {"name": "resource", "resource": patient}]}
    listed = [{"name": "other", "resource": other}, {"name": "resource", "resource": patient}]
    for parameters, expression in (
        ([*listed], "Patient.gender"),
        ([listed[0], {"name": "content", "resource": inner}], "Parameters.parameter[1].resource.gender"),
    ):
        body = formats.serialize({"resourceType": "Parameters", "parameter": parameters}, format_name)

        [issue] = [i for i in find_issues(body, format_name, CHECKING, REGISTRY) if i.rule == "binding-required"]

        sought = b'<gender value="wrong"' if format_name == "xml" else b'"wrong"'
        assert (issue.expression, issue.column) == (expression, body.splitlines()[-1].index(sought) + 1)


def test_a_parameters_with_nothing_in_it_is_looked_at_itself() -> None:
    assert errors_of({"resourceType": "Parameters", "parameter": [{"valueCode": "a"}]}) == [
        ("required", "Parameters.parameter[0].name")
    ]


def test_a_resource_of_another_type_than_asked_for_is_an_error() -> None:
    assert errors_of({"resourceType": "Patient"}, Wish(type_name="Task")) == [("invalid", "Patient")]
    assert errors_of({"resourceType": "Patient"}, Wish(type_name="Patient")) == []


@pytest.mark.parametrize("wish", [Wish(mode="\u202e"), Wish(profile="\u202e")])
def test_what_is_quoted_of_a_wish_cannot_turn_a_line_around(wish: Wish) -> None:
    with pytest.raises(Refused) as refused:
        issues_of({"resourceType": "Patient"}, wish)

    assert all(issue.text.isprintable() for issue in refused.value.issues)


@pytest.mark.parametrize("wish", [Wish(mode="delete"), Wish(profile="http://example.org/none")])
def test_what_cannot_be_checked_is_refused(wish: Wish) -> None:
    with pytest.raises(Refused):
        issues_of({"resourceType": "Patient"}, wish)


def test_the_wishes_in_a_parameters_count() -> None:
    profile = {"name": "profile", "valueUri": "http://example.org/none"}
    patient = {"name": "resource", "resource": {"resourceType": "Patient"}}

    with pytest.raises(Refused, match="does not know the profile"):
        issues_of({"resourceType": "Parameters", "parameter": [patient, profile]})


def test_the_profile_that_a_type_is_itself_adds_nothing() -> None:
    profile = "http://hl7.org/fhir/StructureDefinition/Patient|4.0.1"

    assert errors_of({"resourceType": "Patient"}, Wish(profile=profile, mode="create")) == []


def test_what_is_no_json_cannot_be_checked() -> None:
    with pytest.raises(Unreadable):
        issues_of(b"{")
    with pytest.raises(Unreadable) as refused:
        issues_of(b'{"resourceType": "Patient",\n "meta": {"id": "1", "id": "2"}}')
    assert [(issue.line, issue.column) for issue in refused.value.issues] == [(2, 10)]


def test_what_is_no_resource_is_told_with_what_that_leaves_open() -> None:
    *_, last = found = issues_of(b"[]")

    assert found[0].severity == "fatal"
    assert (last.code, last.severity) == ("incomplete", "information")


@settings(deadline=None)
@given(st.one_of(damaged("json").map(lambda body: (body, "json")), damaged("xml").map(lambda body: (body, "xml"))))
def test_whatever_is_shown_gets_issues_or_a_refusal(shown: tuple[bytes, str]) -> None:
    with suppress(Refused):
        for issue in find_issues(*shown, Checking(Settings()), REGISTRY):
            assert issue.text


# --- levels -----------------------------------------------------------------------------------------------------------

OBJECTED_TO = {
    "resourceType": "Task",
    "status": "draft",
    "intent": "order",
    "input": [{"type": {"text": "a"}, "_valueString": {"extension": [{"url": "urn:a", "valueString": "b"}]}}],
}
"""Sound, and yet the models of fhir.resources object."""


def test_the_levels_of_a_sender_come_before_those_of_everybody() -> None:
    checking = Checking(
        Settings(check_levels={"bdl-7": "warn", "dom-6": "ignore"}, check_levels_of={"urn:a": {"bdl-7": "inform"}})
    )

    assert [checking.levels_for("urn:a").of(rule) for rule in ("bdl-7", "dom-6")] == ["inform", "ignore"]
    for sender in ("urn:b", None):
        assert [checking.levels_for(sender).of(rule) for rule in ("bdl-7", "dom-6")] == ["warn", "ignore"]


def test_a_message_is_judged_by_the_levels_of_its_sender() -> None:
    message = an_order()
    del message["entry"][1]["resource"]["intent"]
    levels = {"http://hospital.example/fhir": {"cardinality-min": "warn"}}

    assert errors_of(message) != []
    assert errors_of(message, check_levels_of=levels) == []
    assert errors_of(message, check_levels_of={"urn:another": levels}) != []


@pytest.mark.parametrize(
    ("level", "severities"),
    [("ignore", []), ("inform", ["information"]), ("warn", ["warning"]), ("refuse", ["error"])],
)
def test_the_second_opinion_has_a_level_too(level: Level, severities: list[str]) -> None:
    found = issues_of(OBJECTED_TO, check_levels={"second-opinion": level})

    assert [issue.severity for issue in found if issue.rule == "second-opinion"] == severities


def test_what_is_no_message_is_judged_by_the_levels_of_everybody() -> None:
    patient = {"resourceType": "Patient", "birthDate": "1980-13"}

    assert errors_of(patient, check_levels={"format": "inform"}) == []
