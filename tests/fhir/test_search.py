"""What resources are found by, and how queries are read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Issue, Refused
from gateway.fhir.definitions import get_type
from gateway.fhir.search import (
    PARAMETERS,
    SEARCHED,
    Cursor,
    Include,
    Query,
    Span,
    digests_of,
    included,
    parse,
    reverse_digests,
    tokens_of,
)

_Parts = tuple[int, ...]
BASE = "http://gateway.example/fhir"
CODES = "http://hospital.example/codes"
TASK = {
    "resourceType": "Task",
    "id": "t1",
    "meta": {"tag": [{"system": CODES, "code": "urgent"}]},
    "identifier": [{"system": "urn:order", "value": "ORD|1"}, {"value": "plain"}],
    "groupIdentifier": {"system": "urn:group", "value": "G-1"},
    "status": "requested",
    "businessStatus": {"coding": [{"system": CODES, "code": "awaiting"}]},
    "intent": "order",
    "priority": "stat",
    "code": {"coding": [{"system": CODES, "code": "fulfill"}, {"code": "of-no-system"}]},
    "focus": {"reference": "ServiceRequest/s1/_history/3"},
    "extension": [
        {
            "url": "http://hl7.org/fhir/4.0/StructureDefinition/extension-Task.focus",
            "valueReference": {"reference": "ServiceRequest/s2"},
        },
        {
            "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Task.focus",
            "valueReference": {"reference": "ServiceRequest/s3"},
        },
        {"url": "http://elsewhere.example", "valueReference": {"reference": "ServiceRequest/s4"}},
    ],
    "for": {"reference": "Patient/p1"},
    "requester": {"identifier": {"system": "urn:party", "value": "HOSPITAL"}},
    "owner": {"reference": "Organization/o1"},
    "basedOn": [{"reference": "ServiceRequest/s1"}, {"reference": "http://elsewhere.example/ServiceRequest/9"}],
}
UNCLAIMED = {"resourceType": "Task", "status": "requested", "partOf": [{"reference": "Task/t1"}]}


def finds(resource: dict[str, Any], *pairs: tuple[str, str]) -> bool:
    """Whether a query finds a resource by its tokens."""
    tokens = tokens_of(resource)
    query = parse(resource["resourceType"], pairs, BASE)
    digests = digests_of(query.type, [group.terms for group in query.groups])
    assert digests, "the query asks for no token"
    return all(not tokens.isdisjoint(group) for group in digests)


def faults(*pairs: tuple[str, str], kind: str = "Task") -> list[Issue]:
    with pytest.raises(Refused) as refused:
        parse(kind, pairs, BASE)
    return list(refused.value.issues)


@pytest.mark.parametrize(
    "pair",
    [
        ("status", "requested"),
        ("status", "completed,requested"),
        ("status", "http://hl7.org/fhir/task-status|requested"),
        ("status:not", "completed"),
        ("identifier", r"urn:order|ORD\|1"),
        ("identifier", r"ORD\|1"),
        ("identifier", "urn:order|"),
        ("identifier", "|plain"),
        ("identifier", "urn:order|other,plain"),
        ("group-identifier", "urn:group|G-1"),
        ("group-or-identifier", "G-1"),
        ("group-or-identifier", r"urn:order|ORD\|1"),
        ("business-status", f"{CODES}|awaiting"),
        ("code", "fulfill"),
        ("code", "|of-no-system"),
        ("code", f"{CODES}|"),
        ("intent", "order"),
        ("priority", "stat"),
        ("_tag", f"{CODES}|urgent"),
        ("focus", "ServiceRequest/s1"),
        ("focus", "ServiceRequest/s2"),
        ("focus", "ServiceRequest/s3"),
        ("focus", "s1"),
        ("focus:ServiceRequest", "s1"),
        ("focus", f"{BASE}/ServiceRequest/s1"),
        ("patient", "p1"),
        ("patient", "Patient/p1"),
        ("subject", "Patient/p1"),
        ("requester:identifier", "urn:party|HOSPITAL"),
        ("requester.identifier", "HOSPITAL"),
        ("owner", "Organization/o1"),
        ("owner:missing", "false"),
        ("part-of:missing", "true"),
        ("based-on", "http://elsewhere.example/ServiceRequest/9"),
    ],
)
def test_a_task_is_found_by(pair: tuple[str, str]) -> None:
    assert finds(TASK, pair)
    assert finds(TASK, pair, ("status", "requested"))
    assert not finds(TASK, pair, ("status", "completed"))


@pytest.mark.parametrize(
    "pair",
    [
        ("status", "completed"),
        ("status:not", "completed,requested"),
        ("identifier", "urn:group|G-1"),
        ("identifier", "|ORD-1"),
        ("group-identifier", "ORD-1"),
        ("code", "|fulfill"),
        ("code", "urn:other|fulfill"),
        ("focus", "ServiceRequest/s4"),
        ("focus", "Task/s1"),
        ("patient", "p2"),
        ("owner", "o2"),
        ("owner:identifier", "urn:party|HOSPITAL"),
        ("owner:missing", "true"),
        ("requester", "HOSPITAL"),
        ("part-of:missing", "false"),
    ],
)
def test_a_task_is_not_found_by(pair: tuple[str, str]) -> None:
    assert not finds(TASK, pair)
    assert not finds(TASK, pair, ("status", "requested"))


def test_all_parameters_must_match() -> None:
    assert finds(TASK, ("code", "fulfill"), ("owner", "o1"), ("status", "requested"), ("intent", "order"))
    assert not finds(TASK, ("code", "fulfill"), ("owner", "o2"), ("status", "requested"))
    assert not finds(TASK, ("status", "requested"), ("status", "completed"))
    assert finds(TASK, ("status", "requested,received"), ("status", "requested,completed"), ("owner", "o1"))


def test_what_nobody_owns_is_found_by_what_it_has_not() -> None:
    assert finds(UNCLAIMED, ("owner:missing", "true"), ("status", "requested"))
    assert finds(UNCLAIMED, ("part-of", "Task/t1"))
    assert not finds(UNCLAIMED, ("owner:missing", "false"))


def test_a_status_and_what_goes_with_it_are_one_look_up() -> None:
    query = parse(
        "Task", [("owner", "Organization/o1"), ("status", "requested"), ("code", "a"), ("intent", "order")], ""
    )
    assert len(digests_of("Task", [group.terms for group in query.groups])) == 3


@pytest.mark.parametrize(
    ("resource", "pair"),
    [
        ({"resourceType": "ServiceRequest", "requisition": {"value": "R"}}, ("requisition", "R")),
        ({"resourceType": "ServiceRequest", "requisition": {"value": "R"}}, ("group-or-identifier", "R")),
        ({"resourceType": "ServiceRequest", "performer": [{"reference": "Organization/1"}]}, ("performer", "1")),
        (
            {"resourceType": "MedicationRequest", "dispenseRequest": {"performer": {"reference": "Organization/1"}}},
            ("intended-dispenser", "1"),
        ),
        (
            {"resourceType": "MedicationRequest", "medicationCodeableConcept": {"coding": [{"code": "m"}]}},
            ("code", "m"),
        ),
        (
            {"resourceType": "MedicationRequest", "priorPrescription": {"reference": "MedicationRequest/1"}},
            ("replaces", "1"),
        ),
        ({"resourceType": "NutritionOrder", "patient": {"reference": "Patient/1"}}, ("patient", "1")),
        ({"resourceType": "NutritionOrder", "identifier": [{"value": "N"}]}, ("group-or-identifier", "N")),
        ({"resourceType": "VisionPrescription", "prescriber": {"reference": "Practitioner/1"}}, ("prescriber", "1")),
        (
            {
                "resourceType": "RequestGroup",
                "action": [{"action": [{"resource": {"reference": "ServiceRequest/1"}}]}, {"title": "then"}],
            },
            ("activity-resource", "ServiceRequest/1"),
        ),
    ],
)
def test_a_request_is_found_by(resource: dict[str, Any], pair: tuple[str, str]) -> None:
    assert finds(resource, pair)
    assert not finds({"resourceType": resource["resourceType"]}, pair)


def test_each_parameter_searches_an_element_that_there_is() -> None:
    for kind, named in PARAMETERS.items():
        for parameter in named.values():
            assert parameter.element or parameter.of
            if parameter.name != "_tag" and not parameter.of:
                assert parameter.element.split(".")[0] in get_type(kind).fields, f"{kind}: {parameter.name}"
            assert all(name in named for name in parameter.of)


def test_tokens_of_one_type_are_not_those_of_another() -> None:
    same = [{"resourceType": kind, "status": "draft", "identifier": [{"value": "1"}]} for kind in SEARCHED]
    tokens = [tokens_of(resource) for resource in same]
    assert len(frozenset.union(*tokens)) == sum(map(len, tokens))


def test_separators_in_values_make_no_token_of_another_value() -> None:
    one = tokens_of({"resourceType": "Task", "identifier": [{"system": "a", "value": "b\x00c"}]})
    other = tokens_of({"resourceType": "Task", "identifier": [{"system": "a\x00b", "value": "c"}]})
    assert one & other == tokens_of({"resourceType": "Task"})


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("2024", (2024, 1, 1), (2025, 1, 1)),
        ("2024-12", (2024, 12, 1), (2025, 1, 1)),
        ("eq2024-02-29", (2024, 2, 29), (2024, 3, 1)),
        ("2024-02-29T10:05Z", (2024, 2, 29, 10, 5), (2024, 2, 29, 10, 6)),
        ("2024-02-29T10:05:01+02:00", (2024, 2, 29, 8, 5, 1), (2024, 2, 29, 8, 5, 2)),
        ("2024-02-29T10:05:01.25Z", (2024, 2, 29, 10, 5, 1, 250000), (2024, 2, 29, 10, 5, 1, 260000)),
        ("ge2024-02", (2024, 2, 1), None),
        ("gt2024-02", (2024, 3, 1), None),
        ("lt2024-02", None, (2024, 2, 1)),
        ("le2024-02", None, (2024, 3, 1)),
    ],
)
def test_a_time_is_all_that_it_could_mean(
    value: str, start: tuple[int, ...] | None, end: tuple[int, ...] | None
) -> None:
    span = parse("Task", [("_lastUpdated", value)], BASE).span
    whole = Span()
    expected = Span(_moment(start) if start else whole.start, _moment(end) if end else whole.end)
    assert span == expected


def _moment(parts: _Parts) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_two_times_are_a_span() -> None:
    query = parse("Task", [("_lastUpdated", "ge2024"), ("_lastUpdated", "lt2024-03")], BASE)
    assert query.span == Span(_moment((2024, 1, 1)), _moment((2024, 3, 1)))
    assert query.sorted_by == "-_lastUpdated"


@pytest.mark.parametrize(
    ("pair", "code", "words"),
    [
        (("colour", "blue"), "not-supported", "handling=lenient"),
        (("status", "finished"), "code-invalid", "in-progress"),
        (("status", "urn:other|completed"), "code-invalid", "http://hl7.org/fhir/task-status"),
        (("status", ""), "invalid", "empty value"),
        (("status", "requested,,ready"), "invalid", "empty value"),
        (("owner:not", "o1"), "not-supported", "status only"),
        (("owner:above", "o1"), "not-supported", ":identifier"),
        (("code:missing", "true"), "not-supported", "owner and part-of"),
        (("owner:missing", "yes"), "invalid", "true or false"),
        (("owner", "what is it?"), "invalid", "Type/id"),
        (("patient", "Organization/1"), "invalid", "Patient"),
        (("owner:identifier", "urn:x|"), "not-supported", "system|value"),
        (("identifier", "a|b|c"), "invalid", r"\|"),
        (("identifier", "|"), "invalid", "system|value"),
        (("code", ",".join(map(str, range(51)))), "too-costly", "51 values"),
        (("_lastUpdated", "yesterday"), "invalid", "2024-05-01"),
        (("_lastUpdated", "2024-02-30"), "invalid", "2024-05-01"),
        (("_lastUpdated", "2024-02-20T10:00:00 02:00"), "invalid", "%2B"),
        (("_lastUpdated", "9999-12-31"), "invalid", "2024-05-01"),
        (("_sort", "status"), "not-supported", "_lastUpdated"),
        (("_count", "many"), "invalid", "whole number"),
        (("_count", "0"), "invalid", "whole number"),
        (("_total", "yes"), "invalid", "accurate"),
        (("_id", ""), "invalid", "empty value"),
        (("_cursor", "garbage"), "invalid", "next link"),
        (("_cursor", "d1.2"), "invalid", "another order"),
        (("_include", "Task:status"), "not-supported", "reference parameter"),
        (("_include", "ServiceRequest:subject"), "not-supported", "Task:"),
        (("_revinclude", "Provenance:agent"), "not-supported", "Type:parameter"),
        (("_revinclude", "Task:focus:ServiceRequest"), "invalid", "refers to a ServiceRequest"),
    ],
)
def test_a_fault_says_what_where_and_what_now(pair: tuple[str, str], code: str, words: str) -> None:
    [issue] = faults(pair)
    assert (issue.code, issue.severity) == (code, "error")
    assert words in issue.text
    assert issue.expression == f"http.{pair[0]}"


def test_all_faults_are_told_at_once() -> None:
    assert [issue.expression for issue in faults(("a", "1"), ("status", "b"), ("owner", "Task/1"), ("_sort", "c"))] == [
        "http.a",
        "http.status",
        "http._sort",
    ]


def test_what_is_not_known_can_be_left_out() -> None:
    query = parse("Task", [("colour", "blue"), ("status", "ready"), ("_format", "json")], BASE, lenient=True)
    assert query.said == (("status", "ready"),)
    [issue] = query.ignored
    assert (issue.severity, issue.expression) == ("warning", "http.colour")
    with pytest.raises(Refused):
        parse("Task", [("status", "finished")], BASE, lenient=True)


def test_a_search_for_very_many_values_is_refused() -> None:
    [issue] = faults(("focus", ",".join(f"id-{n}" for n in range(30))))
    assert (issue.code, "Type/id" in issue.text) == ("too-costly", True)
    [issue] = faults(*[("code", str(n)) for n in range(51)])
    assert issue.code == "too-costly"


def test_how_the_answer_is_wanted() -> None:
    given = [("_count", "500"), ("_total", "accurate"), ("_sort", "_lastUpdated"), ("_id", "a,b"), ("_id", "b,c")]
    query = parse("Task", given, BASE)
    assert (query.count, query.wants_total, query.sorted_by, query.ids) == (200, True, "_lastUpdated", ("b",))
    assert parse("Task", [], BASE) == Query("Task")


def test_a_cursor_is_read_as_it_was_written() -> None:
    moment = datetime(2024, 2, 29, 10, 5, 1, 7, tzinfo=UTC)
    for cursor in (Cursor("newest", 5), Cursor("_lastUpdated", 1 << 50, moment), Cursor("-_lastUpdated", 0, moment)):
        sort = [("_sort", cursor.order)] if cursor.order != "newest" else []
        query = parse("Task", [*sort, ("_cursor", str(cursor))], BASE)
        assert query.cursor == cursor
        assert ("_cursor", str(cursor)) not in query.said


def test_what_a_resource_refers_to_is_included() -> None:
    query = parse("Task", [("_include", "Task:focus"), ("_include", "Task:patient")], BASE)
    assert included(TASK, query.includes) == [
        ("ServiceRequest", "s1"),
        ("ServiceRequest", "s2"),
        ("ServiceRequest", "s3"),
        ("Patient", "p1"),
    ]
    assert included(TASK, [Include("Task", "*", "Organization")]) == [("Organization", "o1")]
    assert included({"resourceType": "ServiceRequest"}, query.includes) == []


def test_what_refers_to_a_resource_is_found_by_its_tokens() -> None:
    [include] = parse("ServiceRequest", [("_revinclude", "Task:focus")], BASE).revincludes
    assert tokens_of(TASK).issuperset(reverse_digests(include, "ServiceRequest", "s2"))
    assert tokens_of(TASK).isdisjoint(reverse_digests(include, "ServiceRequest", "s4"))
    [typed] = parse("Task", [("_revinclude", "Task:part-of:Task")], BASE).revincludes
    assert tokens_of(UNCLAIMED).issuperset(reverse_digests(typed, "Task", "t1"))
    assert reverse_digests(typed, "ServiceRequest", "t1") == []


_MEMBERS = sorted(
    {"coding", "system", "code", "value", "reference", "identifier", "url", "valueReference", "extension", "resource"}
    | {part for named in PARAMETERS.values() for one in named.values() for part in one.element.split(".") if part}
)
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_MEMBERS), inner, max_size=6),
    max_leaves=25,
)


@given(st.sampled_from(SEARCHED), st.dictionaries(st.sampled_from(_MEMBERS), _ANY, max_size=10))
def test_odd_resources_have_tokens_too(kind: str, content: dict[str, Any]) -> None:
    assert all(len(token) == 16 for token in tokens_of({**content, "resourceType": kind}))


_NAMES = sorted({name for named in PARAMETERS.values() for name in named} | {"_id", "_lastUpdated", "_sort", "_count"})
_PAIRS = st.tuples(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from([*_NAMES, "_cursor", "_include", "_revinclude", "_total", ""]) | st.text(max_size=5),
            st.sampled_from(["", ":not", ":missing", ":identifier", ":Patient", ":", ".identifier"]),
        ),
    ),
    st.text(max_size=12)
    | st.text(alphabet="\\,|$:/aT1-.\x00\n", max_size=12)
    | st.sampled_from(["Task:*", "true", "d1.2", "ge2024", "Patient/1", "requested,ready", "urn:a|b"]),
)


@given(st.sampled_from(SEARCHED), st.lists(_PAIRS, max_size=5), st.booleans())
def test_any_query_is_read_or_refused(kind: str, pairs: list[tuple[str, str]], lenient: bool) -> None:
    query = _read(kind, pairs, lenient)
    if query is not None:
        digests = digests_of(kind, [group.terms for group in query.groups])
        assert all(len(digest) == 16 for group in digests for digest in group)
        assert parse(kind, query.said, BASE).said == query.said


def _read(kind: str, pairs: list[tuple[str, str]], lenient: bool) -> Query | None:
    try:
        return parse(kind, pairs, BASE, lenient)
    except Refused:
        return None
