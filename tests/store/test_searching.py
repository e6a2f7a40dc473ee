"""Pages of searches, on both databases: what is found, in which order, and from page to page."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.fhir import json
from gateway.fhir.identity import OWN_SENDER, identifier_key, key
from gateway.fhir.search import Query, parse, reverse_digests
from gateway.store import resources, searching
from gateway.store.database import Database
from gateway.store.resources import Row, Version
from tests.store.filled import add_message, keep

BASE = "http://gateway.example/fhir"
START = datetime(2024, 1, 1, tzinfo=UTC)
STATUSES = ("requested", "accepted", "completed", "completed", "completed", "cancelled")
OWNERS = ("o1", "o1", "o1", "o2", "o3")


class Filled:
    """Tasks in a store, found there and, to compare, by looking at each."""

    def __init__(self, database: Database, tasks: list[dict[str, Any]], moments: list[datetime]) -> None:
        self._database = database
        self.tasks = list(zip(tasks, moments, strict=True))
        keep(database, tasks, moments)

    def page(self, query: Query) -> searching.Page:
        with self._database.reading() as connection:
            return searching.find_page(connection, query)

    def walk(self, *pairs: tuple[str, str]) -> list[str]:
        """The ids on all pages, in order."""
        query, found = parse("Task", pairs, BASE), list[str]()
        for _ in range(200):
            page = self.page(query)
            assert len(page.rows) <= query.count
            found += [row.id for row in page.rows]
            if page.next is None:
                return found
            query = parse("Task", [*query.said, ("_cursor", str(page.next))], BASE)
        raise AssertionError("the pages do not end")

    def expected(self, matches: Callable[[dict[str, Any]], bool], order: str = "newest") -> list[str]:
        found = [(moment, place, task) for place, (task, moment) in enumerate(self.tasks) if matches(task)]
        if order == "newest":
            found.sort(key=lambda one: -one[1])
        else:
            found.sort(key=lambda one: one[:2], reverse=order == "-_lastUpdated")
        return [task["id"] for _, _, task in found]


@pytest.fixture
def filled(database: Database) -> Filled:
    chance = random.Random(7)
    moments = [START + timedelta(hours=chance.randrange(100)) for _ in range(150)]
    return Filled(database, [_task(number, chance) for number in range(150)], moments)


@pytest.fixture(params=[(400, 3000, 20_000), (3, 7, 60), (3, 7, 7)])
def _bounded(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for all; with room for what is rare; and with so little that all walks are broken off."""
    for name, value in zip(("GLANCED", "EXAMINED", "EXHAUSTED"), request.param, strict=True):
        monkeypatch.setattr(searching, name, value)


def _task(number: int, chance: random.Random) -> dict[str, Any]:
    codings = [{"system": "urn:codes", "code": code} for code in chance.sample("abc", 2)]
    return {
        "resourceType": "Task",
        "id": f"t{number}",
        "identifier": [{"system": "urn:order", "value": f"ORD-{number}"}],
        "status": chance.choice(STATUSES),
        "code": {"coding": codings},
        "owner": {"reference": f"Organization/{chance.choice(OWNERS)}"},
        "intent": "order",
    }


def _has_code(task: dict[str, Any], *codes: str) -> bool:
    return any(coding["code"] in codes for coding in task["code"]["coding"])


CASES: list[tuple[list[tuple[str, str]], Callable[[dict[str, Any]], bool]]] = [
    ([], lambda task: True),
    ([("status", "completed")], lambda task: task["status"] == "completed"),
    ([("status", "requested,accepted")], lambda task: task["status"] in ("requested", "accepted")),
    ([("code", "a,b")], lambda task: _has_code(task, "a", "b")),
    ([("code", "a"), ("code", "b")], lambda task: _has_code(task, "a") and _has_code(task, "b")),
    (
        [("code", "a,b"), ("intent", "order"), ("code", "b,c")],
        lambda task: _has_code(task, "a", "b") and _has_code(task, "b", "c"),
    ),
    (
        [("owner", "o1"), ("status", "cancelled")],
        lambda task: (task["owner"]["reference"], task["status"]) == ("Organization/o1", "cancelled"),
    ),
    (
        [("owner", "o3,o2"), ("status:not", "completed"), ("code", "a")],
        lambda task: (
            task["owner"]["reference"] != "Organization/o1" and task["status"] != "completed" and _has_code(task, "a")
        ),
    ),
    ([("identifier", "urn:order|ORD-9")], lambda task: task["id"] == "t9"),
    ([("intent", "order"), ("identifier", "ORD-9,ORD-8")], lambda task: task["id"] in ("t8", "t9")),
    ([("identifier", "none")], lambda task: False),
    ([("_id", "t3,t1,none,t2"), ("intent", "order")], lambda task: task["id"] in ("t1", "t2", "t3")),
    ([("_id", "t3,t1"), ("intent", "plan")], lambda task: False),
]


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("order", ["newest", "_lastUpdated", "-_lastUpdated"])
def test_pages_have_all_that_matches_in_order_each_once(filled: Filled, order: str) -> None:
    sort = [("_sort", order)] if order != "newest" else []
    for pairs, matches in CASES:
        for count in ("200", "6"):
            found = filled.walk(*pairs, *sort, ("_count", count))
            assert found == filled.expected(matches, order), f"{pairs} {count}"


@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("order", ["_lastUpdated", "-_lastUpdated"])
def test_a_span_of_time_is_from_a_moment_on_and_before_another(filled: Filled, order: str) -> None:
    low, high = START + timedelta(hours=20), START + timedelta(hours=60)
    span = [("_lastUpdated", f"ge{low:%Y-%m-%dT%H:%M:%SZ}"), ("_lastUpdated", f"lt{high:%Y-%m-%dT%H:%M:%SZ}")]
    within = {task["id"] for task, moment in filled.tasks if low <= moment < high}
    assert 10 < len(within) < 140
    for pairs, matches in CASES:
        expected = [one for one in filled.expected(matches, order) if one in within]
        assert filled.walk(*pairs, *span, ("_sort", order), ("_count", "7")) == expected, str(pairs)


def test_matches_are_counted_where_that_is_asked_for(filled: Filled) -> None:
    for pairs, matches in CASES:
        query = parse("Task", [*pairs, ("_total", "accurate"), ("_count", "1")], BASE)
        page = filled.page(query)
        assert page.total == len(filled.expected(matches)), str(pairs)
        if page.next is not None:
            later = parse("Task", [*query.said, ("_cursor", str(page.next))], BASE)
            assert filled.page(later).total == page.total
    assert filled.page(parse("Task", [], BASE)).total is None


def test_what_is_too_much_to_count_is_not_counted(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "COUNTED", 100)
    for pairs, total in (([], None), ([("intent", "order")], None), ([("identifier", "ORD-1")], 1)):
        assert filled.page(parse("Task", [*pairs, ("_total", "accurate")], BASE)).total == total


def test_a_page_that_is_broken_off_says_where_the_next_begins(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("GLANCED", 5), ("EXAMINED", 10), ("EXHAUSTED", 10)):
        monkeypatch.setattr(searching, name, value)
    page = filled.page(parse("Task", [("intent", "order"), ("code", "a"), ("code", "b"), ("_count", "200")], BASE))
    assert len(page.rows) < 10
    assert page.next is not None


def test_what_is_kept_under_a_business_identifier_is_found_by_it(database: Database) -> None:
    patient = {"resourceType": "Patient", "id": "p1"}
    task = {"resourceType": "Task", "id": "t1", "status": "requested", "for": {"reference": "Patient/p1"}}
    logical = {
        "resourceType": "Task",
        "id": "t2",
        "status": "requested",
        "for": {"identifier": {"system": "urn:mrn", "value": "7"}},
    }
    filled = Filled(database, [task, logical], [START, START])
    keep(database, [patient], [START])
    assert filled.walk(("patient:identifier", "urn:mrn|7")) == ["t2"]
    named = identifier_key("Patient", {"system": "urn:mrn", "value": "7"}, "hospital")
    assert named is not None
    with database.transaction() as connection:
        resources.add_identifiers(connection, {named: "p1"})
    assert filled.walk(("patient:identifier", "urn:mrn|7")) == ["t2", "t1"]
    assert filled.walk(("patient.identifier", "urn:mrn|7"), ("status", "requested")) == ["t2", "t1"]
    assert filled.walk(("patient:identifier", "urn:mrn|7"), ("status", "ready")) == []


def test_what_the_gateway_keeps_for_itself_is_not_found(database: Database) -> None:
    own = {"resourceType": "Task", "id": "own", "status": "requested"}
    filled = Filled(database, [], [])
    with database.transaction() as connection:
        message_id = add_message(connection)
        row = Row("own", "Task", 1, OWN_SENDER, resources.number_of(message_id, 0), json.serialize(own))
        resources.write(connection, [Version(row, message_id, START)])
    for pairs in ([], [("_sort", "_lastUpdated")], [("_id", "own")], [("_lastUpdated", "2024")]):
        assert filled.page(parse("Task", [*pairs, ("_total", "accurate")], BASE)) == searching.Page([], None, 0)


def test_what_refers_to_a_resource_is_found(database: Database) -> None:
    tasks = [
        {"resourceType": "Task", "id": f"t{n}", "focus": {"reference": f"ServiceRequest/{n % 2}"}} for n in range(6)
    ]
    Filled(database, tasks, [START] * 6)
    [include] = parse("ServiceRequest", [("_revinclude", "Task:focus")], BASE).revincludes
    with database.reading() as connection:
        found = searching.find_by_digests(connection, reverse_digests(include, "ServiceRequest", "1"), 2)
        assert [row.id for row in found] == ["t5", "t3"]
        assert searching.find_by_digests(connection, [], 2) == []


def test_what_has_each_of_several_tokens_is_found_unless_very_much_has_it(database: Database) -> None:
    of = [*["a"] * 20, *["b"] * 21, "c"]
    Filled(
        database,
        [{"resourceType": "Task", "id": f"t{n}", "focus": {"reference": f"Task/{one}"}} for n, one in enumerate(of)],
        [START] * len(of),
    )
    tokens = {one: key("Task", "focus", "at", f"Task/{one}") for one in "abcd"}
    with database.reading() as connection:
        found = searching.find_few(connection, list(tokens.values()))
        assert searching.find_few(connection, []) == {}
        for one in "acd":
            assert found[tokens[one]] == searching.find_by_digests(connection, [tokens[one]], 100)
    assert tokens["b"] not in found
