"""The structure check: sound resources pass, whatever is not sound is named where it is."""

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Issue
from gateway.fhir import json
from gateway.fhir.check import MAX_ISSUES, check, kinds, warm
from gateway.fhir.check.levels import Level, Levels

MESSAGE = b"""{
  "resourceType": "Bundle", "id": "b1", "type": "message", "timestamp": "2024-02-29T12:00:00.123456789Z",
  "entry": [
    {"fullUrl": "urn:uuid:0d9d7b9e-7d5a-4a1c-9b6a-0e6f1c1d2e3f", "resource": {
      "resourceType": "MessageHeader", "id": "h1", "eventCoding": {"system": "urn:e", "code": "new-order"},
      "source": {"endpoint": "https://placer.example/fhir"}, "focus": [{"reference": "Task/t1"}]}},
    {"fullUrl": "urn:uuid:1d9d7b9e-7d5a-4a1c-9b6a-0e6f1c1d2e3f", "resource": {
      "resourceType": "Task", "id": "t1", "status": "requested", "intent": "order",
      "identifier": [{"system": "urn:s", "value": "1"}], "executionPeriod": {"start": "2024-05"},
      "requester": {"reference": "#p1"},
      "contained": [{"resourceType": "Patient", "id": "p1", "birthDate": "1980"}],
      "extension": [{"url": "urn:x", "valueDecimal": 1.00}],
      "input": [{"type": {"text": "dose"}, "valueQuantity": {"value": 5e-1}}]}},
    {"resource": {
      "resourceType": "Patient", "id": "p2", "_birthDate": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]},
      "name": [{"family": "O", "given": ["A", null],
        "_given": [null, {"extension": [{"url": "urn:x", "valueCode": "?"}]}]}]}},
    {"resource": {"resourceType": "Parameters", "parameter": [
      {"name": "a", "part": [{"name": "b", "resource": {"resourceType": "Basic", "code": {"text": "c"}}}]}]}},
    {"resource": {"resourceType": "Bundle", "type": "collection", "entry": [
      {"resource": {"resourceType": "Basic", "code": {"text": "d"}}}]}}
  ]
}"""


def message() -> dict[str, Any]:
    return json.parse(MESSAGE)


def bundle_of(resource: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}


def observation(**elements: Any) -> dict[str, Any]:
    return bundle_of({"resourceType": "Observation", "status": "final", "code": {"text": "c"}, **elements})


def put(value: Any, path: list[str | int], item: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = item


def take(value: Any, path: list[str | int]) -> None:
    for step in path[:-1]:
        value = value[step]
    del value[path[-1]]


STRICT = Levels({"empty": "refuse"})


def errors(resource: dict[str, Any]) -> list[Issue]:
    return [issue for issue in check(resource, levels=STRICT) if issue.severity == "error"]


def the_issue(bundle: dict[str, Any]) -> Issue:
    (issue,) = errors(bundle)
    return issue


def test_a_sound_message_has_no_issues() -> None:
    assert errors(message()) == []


def test_the_message_is_left_as_it_is() -> None:
    bundle = message()
    before = json.serialize(bundle)

    errors(bundle)

    assert json.serialize(bundle) == before


TASK: list[str | int] = ["entry", 1, "resource"]
PATIENT: list[str | int] = ["entry", 2, "resource"]
PUTS = [
    # where, what is put there, code, expression, and what the sentence says
    (["timestamp"], "2024-02-29", "value", "Bundle.timestamp", 'Bundle.timestamp is "2024-02-29". Write an instant'),
    (["entry", 2], "x", "structure", "Bundle.entry[2]", 'Bundle.entry[2] is "x". Write an object (Bundle.entry)'),
    (["entry", 2, "resource"], [], "structure", "Bundle.entry[2].resource", "is empty"),
    (["entry", 2, "resource"], [1], "structure", "Bundle.entry[2].resource", "is an array, but may be given only"),
    ([*TASK, "status"], "in progress ", "value", "Bundle.entry[1].resource.status", "Write a code"),
    ([*TASK, "status"], None, "structure", "Bundle.entry[1].resource.status", "is null, which FHIR does not allow"),
    ([*TASK, "status"], ["a"], "structure", "Bundle.entry[1].resource.status", "is an array, but may be given only"),
    ([*TASK, "intent"], 1, "structure", "Bundle.entry[1].resource.intent", "Task.intent is 1. Write a code"),
    ([*TASK, "for"], "Patient/1", "structure", "Bundle.entry[1].resource.for", "Write an object (Reference)"),
    ([*TASK, "for"], '{"reference": "Patient/1"}', "structure", "Bundle.entry[1].resource.for", "(Reference)"),
    ([*TASK, "for"], [], "structure", "Bundle.entry[1].resource.for", "Task.for is empty"),
    ([*TASK, "identifier"], {}, "structure", "Bundle.entry[1].resource.identifier", "Write an array, even of one."),
    (
        [*TASK, "statuss"],
        "x",
        "structure",
        "Bundle.entry[1].resource.statuss",
        'no element "statuss" in FHIR R4. Did you mean',
    ),
    ([*TASK, "qqqqqqq"], "x", "structure", "Bundle.entry[1].resource.qqqqqqq", '"qqqqqqq" in FHIR R4. Remove it.'),
    ([*TASK, "fhir_comments"], "x", "structure", "Bundle.entry[1].resource.fhir_comments", "Remove it."),
    ([*TASK, "status__ext"], {}, "structure", "Bundle.entry[1].resource.status__ext", "status__ext"),
    ([*TASK, "_for"], {}, "structure", "Bundle.entry[1].resource._for", '"_for"'),
    ([*TASK, "a.`b"], {}, "structure", "Bundle.entry[1].resource.`a.\\`b`", '"a.`b"'),
    ([*TASK, "\u202eb"], {}, "structure", "Bundle.entry[1].resource.`\\u202eb`", '"\\u202eb"'),
    ([*TASK, "status"], "\u202e", "code-invalid", "Bundle.entry[1].resource.status", 'is "\\u202e"'),
    (
        [*TASK, "identifier", 0, "system"],
        "a b",
        "value",
        "Bundle.entry[1].resource.identifier[0].system",
        "Write a URI: not empty and without blanks.",
    ),
    (
        [*TASK, "input", 0, "valueQuantity", "value"],
        "5.4",
        "structure",
        "Bundle.entry[1].resource.input[0].value.value",
        'Task.input[0].valueQuantity.value is "5.4". Write a number, without quotes.',
    ),
    (
        [*TASK, "contained", 0, "birthDate"],
        "2023-02-29",
        "value",
        "Bundle.entry[1].resource.contained[0].birthDate",
        "Write a date of the calendar",
    ),
    (
        [*PATIENT, "_birthDate", "extension", 0, "valueCode"],
        "",
        "structure",
        "Bundle.entry[2].resource.birthDate.extension[0].value",
        "Patient._birthDate.extension[0].valueCode is empty",
    ),
    (
        [*PATIENT, "name", 0, "_given", 1, "id"],
        7,
        "structure",
        "Bundle.entry[2].resource.name[0].given[1].id",
        "Patient.name[0]._given[1].id is 7.",
    ),
    (
        [*PATIENT, "name", 0, "given", 0],
        None,
        "structure",
        "Bundle.entry[2].resource.name[0].given[0]",
        "Patient.name[0].given[0] is null",
    ),
    (
        ["entry", 3, "resource", "parameter", 0, "part", 0, "resource", "created"],
        "yesterday",
        "value",
        "Bundle.entry[3].resource.parameter[0].part[0].resource.created",
        'Basic.created is "yesterday".',
    ),
    (
        ["entry", 4, "resource", "entry", 0, "resource", "code"],
        True,
        "structure",
        "Bundle.entry[4].resource.entry[0].resource.code",
        "Basic.code is true. Write an object (CodeableConcept).",
    ),
    (
        ["entry", 4, "resource", "resourceType"],
        "Bundel",
        "not-supported",
        "Bundle.entry[4].resource",
        'The resourceType is "Bundel".',
    ),
    (["entry", 4, "resource", "resourceType"], ["Bundle"], "structure", "Bundle.entry[4].resource", "an array"),
    (["entry", 4, "resource", "resourceType"], "DomainResource", "not-supported", "Bundle.entry[4].resource", "type"),
    (["entry", 4, "resource", "resourceType"], "Identifier", "not-supported", "Bundle.entry[4].resource", "type"),
]


@pytest.mark.parametrize(("path", "item", "code", "expression", "sentence"), PUTS)
def test_what_does_not_belong_is_named_where_it_is(
    path: list[str | int], item: Any, code: str, expression: str, sentence: str
) -> None:
    bundle = message()
    put(bundle, path, item)

    issue = the_issue(bundle)

    assert (issue.code, issue.expression, issue.severity) == (code, expression, "error")
    assert sentence in issue.text


@pytest.mark.parametrize(
    ("path", "expression", "sentence"),
    [
        (["type"], "Bundle.type", "Bundle.type is missing, and FHIR R4 requires it. Add it."),
        ([*TASK, "status"], "Bundle.entry[1].resource.status", "Task.status is missing"),
        ([*TASK, "input", 0, "type"], "Bundle.entry[1].resource.input[0].type", "Task.input[0].type is missing"),
        (["entry", 0, "resource", "source"], "Bundle.entry[0].resource.source", "MessageHeader.source is missing"),
        ([*TASK, "extension", 0, "url"], "Bundle.entry[1].resource.extension[0].url", "extension[0].url is missing"),
        (["entry", 0, "resource", "eventCoding"], "Bundle.entry[0].resource.event", "one of eventCoding, eventUri."),
        ([*TASK, "input", 0, "valueQuantity"], "Bundle.entry[1].resource.input[0].value", "one of its"),
        (["entry", 4, "resource", "resourceType"], "Bundle.entry[4].resource", "The resourceType is missing."),
    ],
)
def test_what_is_missing_is_named_where_it_should_be(path: list[str | int], expression: str, sentence: str) -> None:
    bundle = message()
    take(bundle, path)

    issue = the_issue(bundle)

    assert (issue.code, issue.expression) == ("required", expression)
    assert sentence in issue.text


def test_two_types_of_one_choice_are_one_too_many() -> None:
    issue = the_issue(observation(effectiveDateTime="2024", effectivePeriod={"start": "2024"}))

    assert (issue.code, issue.expression) == ("structure", "Bundle.entry[0].resource.effective")
    assert issue.text == "Observation has effectiveDateTime and effectivePeriod. Keep one of them."


def test_a_value_and_its_sibling_are_one_choice() -> None:
    absent = {"extension": [{"url": "urn:x", "_valueDateTime": {"extension": [{"url": "urn:y", "valueString": "?"}]}}]}

    assert errors(observation(effectiveDateTime="2024", _effectiveDateTime=absent)) == []


def test_an_extension_can_stand_for_a_required_value() -> None:
    bundle = observation()
    resource = bundle["entry"][0]["resource"]
    del resource["status"]
    resource["_status"] = {"extension": [{"url": "urn:x", "valueCode": "unknown"}]}

    assert errors(bundle) == []


def test_a_sibling_without_extension_does_not_stand_for_a_required_value() -> None:
    bundle = observation(_status={"id": "s"})
    del bundle["entry"][0]["resource"]["status"]

    assert the_issue(bundle).expression == "Bundle.entry[0].resource.status"


def test_all_issues_are_told_at_once() -> None:
    bundle = message()
    task, patient = bundle["entry"][1]["resource"], bundle["entry"][2]["resource"]
    del task["status"], task["input"][0]["valueQuantity"]
    task["authoredOn"] = "soon"
    patient["birthDate"] = "1980-13"

    issues = errors(bundle)

    assert {issue.expression for issue in issues} == {
        "Bundle.entry[1].resource.status",
        "Bundle.entry[1].resource.authoredOn",
        "Bundle.entry[1].resource.input[0].value",
        "Bundle.entry[2].resource.birthDate",
    }


@pytest.mark.parametrize("number", [MAX_ISSUES + 1, 20_000])
def test_more_issues_than_the_most_are_cut_and_said_to_be(number: int) -> None:
    patient = {"resourceType": "Patient", "name": [{"given": [""] * number}]}

    issues = check(bundle_of(patient), levels=STRICT)

    assert len(issues) == MAX_ISSUES + 1
    assert {issue.severity for issue in issues[:-1]} == {"error"}
    assert issues[-1].severity == "information"


def test_what_is_quoted_is_cut_short() -> None:
    issue = the_issue(observation(effectiveDateTime="9" * 1000))

    assert len(issue.text) < 300


def test_an_extension_may_hold_a_meta_as_r4_has_it() -> None:
    assert errors(observation(extension=[{"url": "urn:x", "valueMeta": {"versionId": "1"}}])) == []


def test_a_resource_that_is_no_bundle_is_checked_too() -> None:
    assert the_issue({"resourceType": "Patient", "active": "true"}).expression == "Patient.active"


def test_a_body_of_unknown_type_is_one_issue() -> None:
    assert the_issue({"resourceType": "Nothing"}).expression == "Resource"


def test_warming_takes_every_name() -> None:
    warm(["Task", "MedicinalProduct", "Nothing"])


# --- anything at all -------------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(["", " ", "Bundle", "Patient", "Task/1", "2024-01-01", "x" * 2000, "\x00", "\ud800", "{}", "[]"]),
    st.text(max_size=8),
    st.sampled_from(["0.10", "1e400", "-0.0"]).map(json.Number),
)
RESOURCES = ["resourceType", "resource", "contained", "entry", "parameter", "part", "response", "outcome"]
ELEMENTS = [
    "extension",
    "url",
    "id",
    "status",
    "_status",
    "type",
    "value",
    "valueString",
    "_valueString",
    "valueDecimal",
]
NAMES = st.sampled_from([*RESOURCES, *ELEMENTS, "resource_type", "fhir_comments", ""])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4)
)


def containers(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    inner = [each for item in items for each in containers(item)]
    return [value, *inner] if isinstance(value, (dict, list)) else inner


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_nothing_that_can_be_parsed_breaks_the_check(data: st.DataObject) -> None:
    bundle = message()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(containers(bundle)))
        if isinstance(place, dict):
            name = data.draw(st.sampled_from([*place, "extension"]) | NAMES)
            place[name] = data.draw(VALUES)
        else:
            place.insert(data.draw(st.integers(0, len(place))), data.draw(VALUES))
    before = copy.deepcopy(bundle)

    issues = errors(bundle)

    assert bundle == before
    assert len(issues) <= MAX_ISSUES + 1
    assert all(issue.text and len(issue.text) < 1000 for issue in issues)
    assert all(issue.expression and issue.expression[0].isupper() for issue in issues if issue.severity == "error")


def test_what_is_nested_as_deeply_as_can_be_parsed_is_checked() -> None:
    extension: dict[str, Any] = {"url": "urn:x", "valueDate": "x"}
    for _ in range(80):
        extension = {"url": "urn:x", "extension": [extension]}
    resource: dict[str, Any] = {"resourceType": "Basic", "code": {"text": "c"}, "extension": [extension]}
    for _ in range(60):
        resource = bundle_of(resource) | {"type": "collection"}

    issue = the_issue(resource)

    assert str(issue.expression).endswith(".value")


def media_types(*types: str) -> list[Issue]:
    content = [{"attachment": {"contentType": one, "url": "urn:x:1"}} for one in types]
    return errors({"resourceType": "DocumentReference", "status": "current", "content": content})


def test_a_media_type_is_one_by_its_form() -> None:
    assert not media_types("text/plain; charset=utf-8", "application/vnd.a%2b+json", "application/x'y", "image/*")
    assert len(media_types("a/b; ;;;\n", "text", "a b/c", "/")) == 4


def test_blanks_of_other_alphabets_are_no_blanks_in_a_code() -> None:
    assert not errors(
        {"resourceType": "Basic", "code": {"coding": [{"system": "http://x/\u00a0b", "code": "a\u00a0b"}]}}
    )


@pytest.mark.parametrize(
    ("size", "is_one"), [("0", 1), ("9223372036854775807", 1), ("9223372036854775808", 0), ("-0", 0)]
)
def test_the_large_integers_of_r5_have_a_range(size: str, is_one: int) -> None:
    attachment = {"contentType": "text/plain", "url": "urn:x:1", "size": size}
    reference = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": attachment}]}

    assert bool(is_one) == (not [issue for issue in check(reference, "R5") if issue.severity == "error"])


def patients(number: int) -> list[dict[str, Any]]:
    return [{"resource": {"resourceType": "Patient", "active": True}} for _ in range(number)]


@pytest.mark.parametrize("rule", ["ignore", "warn"])
def test_what_refuses_nothing_does_not_hide_what_does(rule: Level) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [*patients(1200), {"resource": {"resourceType": "Task"}}],
    }

    issues = check(bundle, levels=Levels({"dom-6": rule}))

    assert {issue.expression for issue in issues if issue.severity == "error"} == {
        "Bundle.entry[1200].resource.status",
        "Bundle.entry[1200].resource.intent",
    }


def test_warnings_of_a_kind_are_counted_beyond_the_first() -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": patients(10)}

    issues = [issue for issue in check(bundle, most_alike=3) if issue.rule == "full-url"]

    assert len(issues) == 3
    assert "There are 7 more of this kind" in issues[-1].text


@pytest.mark.parametrize("system", [[], {}, 1, True])
def test_a_coding_of_the_wrong_shape_is_one_issue(system: Any) -> None:
    patient = {"resourceType": "Patient", "meta": {"security": [{"system": system, "code": "x"}]}}

    assert {issue.expression for issue in errors(patient)} == {"Patient.meta.security[0].system"}


def test_a_resource_that_is_empty_is_refused() -> None:
    (in_entry,) = [issue for issue in check(bundle_of({})) if issue.severity == "error"]
    (contained,) = [issue for issue in check(observation(contained=[{}])) if issue.rule == "resource-type"]

    assert (in_entry.rule, in_entry.expression) == ("resource-type", "Bundle.entry[0].resource")
    assert contained.expression == "Bundle.entry[0].resource.contained[0]"


def test_threads_that_meet_a_type_for_the_first_time_at_once_see_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_kinds", {})
    kinds.find_resource_kind.cache_clear()
    bundle = {"resourceType": "Bundle", "type": "collection", "timestamp": "2026-01-01T00:00:00Z"}
    together = Barrier(4)

    def look(_: int) -> list[str]:
        together.wait()
        return [issue.text for issue in check(bundle)]

    try:
        with ThreadPoolExecutor(4) as pool:
            assert [*pool.map(look, range(4))] == [[]] * 4
    finally:
        kinds.find_resource_kind.cache_clear()
