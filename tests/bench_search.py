"""How long searches take in a store of many Tasks: `python -m tests.bench_search --tasks 1000000 [--plans]`.

On PostgreSQL, from the wheel or at `--database`, where a store that is filled already is searched as it is. Each kind
of search runs RUNS times, one after the other, most with a value of its own each time; what is measured is reading the
query and finding the page, without HTTP. `first` is the slowest of the FIRST runs before these; `broken off` counts the
pages that were not full though more may follow.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from gateway.fhir import json
from gateway.fhir.search import included, parse, reverse_digests
from gateway.store import resources, searching, statements
from gateway.store.database import Connection, Database, upgrade
from tests import services
from tests.bench_search_store import (
    BUSINESS,
    CODES,
    GROUPS,
    NEVER_REJECTS,
    ORDERS,
    OWNERS,
    REQUESTERS,
    START,
    STRANGERS,
    Filling,
    fill,
)

BASE = "http://gateway.example/fhir"
RUNS = 50
FIRST = 5
"""So often a connection prepares a statement for the values at hand, before it keeps one plan for all."""
Pairs = list[tuple[str, str]]
Make = Callable[[random.Random, Filling], Pairs]


@dataclass(frozen=True)
class Case:
    """A kind of search: the query, made anew for each run, and how many pages are followed before the one measured."""

    name: str
    make: Make
    kind: str = "Task"
    pages_before: int = 0


def _fixed(name: str, *pairs: tuple[str, str], kind: str = "Task", pages_before: int = 0) -> Case:
    return Case(name, lambda chance, filling: list(pairs), kind, pages_before)


def _place(chance: random.Random, filling: Filling) -> int:
    return chance.randrange(filling.tasks)


def _rare_owner(chance: random.Random) -> str:
    return f"Organization/o{chance.randrange(OWNERS - 50, OWNERS)}"


def _rare_requester(chance: random.Random) -> str:
    return f"Organization/r{chance.randrange(REQUESTERS - 50, REQUESTERS)}"


def _day(chance: random.Random, filling: Filling) -> Pairs:
    seconds = chance.randrange(filling.tasks * 40)
    day = time.strftime("%Y-%m-%d", time.gmtime(START.timestamp() + seconds))
    return [("_lastUpdated", day)]


OWNER, REQUESTER = ("owner", "Organization/o0"), ("requester", "Organization/r0")
NOT_REJECTING = ("owner", f"Organization/o{NEVER_REJECTS}")
FULFILL = ("code", f"{CODES}|fulfill")
NEWEST_CHANGE = ("_sort", "-_lastUpdated")

CASES = [
    _fixed("all"),
    _fixed("status, common", ("status", "completed")),
    _fixed("status, rare", ("status", "ready")),
    _fixed("status, several", ("status", "requested,received,accepted,ready,in-progress")),
    _fixed("status:not", ("status:not", "completed,cancelled")),
    _fixed("owner, common", OWNER),
    Case("owner, rare", lambda chance, _: [("owner", _rare_owner(chance))]),
    Case("owner by bare id", lambda chance, _: [("owner", _rare_owner(chance).rpartition("/")[2])]),
    _fixed("owner:missing", ("owner:missing", "true")),
    _fixed("requester, common", REQUESTER),
    Case("requester, rare", lambda chance, _: [("requester", _rare_requester(chance))]),
    Case("patient", lambda chance, filling: [("patient", f"Patient/patient-{chance.randrange(filling.patients)}")]),
    Case("identifier", lambda chance, filling: [("identifier", f"{ORDERS}|ORD-{_place(chance, filling)}")]),
    Case("identifier, value alone", lambda chance, filling: [("identifier", f"ORD-{_place(chance, filling)}")]),
    Case(
        "group-or-identifier",
        lambda chance, filling: [("group-or-identifier", f"{GROUPS}|G-{_place(chance, filling) // 3}")],
    ),
    _fixed("code, common", FULFILL),
    _fixed("code, rare", ("code", f"{CODES}|change")),
    Case("business-status", lambda chance, _: [("business-status", f"{BUSINESS}|stage-{chance.randrange(19)}")]),
    _fixed("intent", ("intent", "order")),
    _fixed("priority", ("priority", "stat")),
    Case("focus", lambda chance, filling: [("focus", f"ServiceRequest/request-{_place(chance, filling)}")]),
    Case("based-on", lambda chance, filling: [("based-on", f"ServiceRequest/request-{_place(chance, filling)}")]),
    Case("part-of", lambda chance, filling: [("part-of", f"Task/task-{_place(chance, filling)}")]),
    Case("_id", lambda chance, filling: [("_id", f"task-{_place(chance, filling)}")]),
    Case("_lastUpdated, a day", _day),
    _fixed("owner and status, both common", OWNER, ("status", "completed")),
    _fixed("owner and rare status", OWNER, ("status", "ready")),
    _fixed("owner and a status that it never has", NOT_REJECTING, ("status", "rejected")),
    Case(
        "owner and what is open",
        lambda chance, _: [
            ("owner", f"Organization/o{chance.randrange(10)}"),
            ("status", "requested,received,accepted,in-progress"),
        ],
    ),
    Case(
        "patient and status",
        lambda chance, filling: [
            ("patient", f"Patient/patient-{chance.randrange(filling.patients)}"),
            ("status", "completed"),
        ],
    ),
    _fixed("owner, requester and status", OWNER, REQUESTER, ("status", "completed")),
    _fixed(
        "requester and an owner it never asks",
        ("requester", f"Organization/r{STRANGERS[0]}"),
        ("owner", f"Organization/o{STRANGERS[1]}"),
    ),
    _fixed(
        "the same and status",
        ("requester", f"Organization/r{STRANGERS[0]}"),
        ("owner", f"Organization/o{STRANGERS[1]}"),
        ("status", "completed"),
    ),
    _fixed("owner, code, priority, intent", OWNER, FULFILL, ("priority", "routine"), ("intent", "order")),
    Case(
        "rare owner, code, status", lambda chance, _: [("owner", _rare_owner(chance)), FULFILL, ("status", "completed")]
    ),
    _fixed("two rare of what is common", ("priority", "stat"), ("business-status", "stage-1"), ("intent", "proposal")),
    _fixed("all, last changed first", NEWEST_CHANGE),
    _fixed("common status, last changed first", ("status", "completed"), NEWEST_CHANGE),
    _fixed("common status, first changed first", ("status", "completed"), ("_sort", "_lastUpdated")),
    _fixed("rare status, last changed first", ("status", "on-hold"), NEWEST_CHANGE),
    _fixed("what is open, first changed first", ("status", "requested"), ("_sort", "_lastUpdated")),
    _fixed("owner, last changed first", OWNER, NEWEST_CHANGE),
    Case("rare owner, last changed first", lambda chance, _: [("owner", _rare_owner(chance)), NEWEST_CHANGE]),
    Case(
        "middling owner, last changed first",
        lambda chance, _: [("owner", f"Organization/o{chance.randrange(30, 60)}"), NEWEST_CHANGE],
    ),
    Case("owner, status and a day", lambda chance, filling: [OWNER, ("status", "completed"), *_day(chance, filling)]),
    _fixed("status, page 50", ("status", "completed"), pages_before=49),
    _fixed("owner and code, page 50", OWNER, FULFILL, pages_before=49),
    _fixed("status, last changed first, page 50", ("status", "completed"), NEWEST_CHANGE, pages_before=49),
    _fixed("200 of a status", ("status", "completed"), ("_count", "200")),
    _fixed("_include of focus and patient", OWNER, ("_include", "Task:focus"), ("_include", "Task:patient")),
    Case(
        "_revinclude of Tasks",
        lambda chance, filling: [
            ("patient", f"Patient/patient-{chance.randrange(filling.patients)}"),
            ("_revinclude", "Task:focus"),
        ],
        "ServiceRequest",
    ),
    Case(
        "Requests by requisition",
        lambda chance, filling: [("group-or-identifier", f"{GROUPS}|G-{_place(chance, filling) // 3}")],
        "ServiceRequest",
    ),
    _fixed("_total of a rare status", ("status", "ready"), ("_total", "accurate")),
    _fixed("_total of a common status", ("status", "completed"), ("_total", "accurate")),
]


@dataclass(frozen=True)
class Figures:
    """The seconds of each run; `first` are those that a connection prepares anew. `rows` of the last page."""

    first: list[float]
    seconds: list[float]
    rows: int
    broken_off: int


def measure(database: Database, filling: Filling, case: Case) -> Figures:
    chance, seconds, broken_off, rows, after = random.Random(case.name), list[float](), 0, 0, Pairs()
    with database.reading() as connection:
        for run in range(FIRST + RUNS):
            pairs = case.make(chance, filling)
            if case.pages_before and not run:
                after = [("_cursor", _after(connection, case, pairs))]
            query, began = parse(case.kind, pairs, BASE), time.perf_counter()
            page = _search(connection, case.kind, [*pairs, *after])
            seconds.append(time.perf_counter() - began)
            rows = len(page.rows)
            broken_off += page.next is not None and rows < query.count
    return Figures(seconds[:FIRST], seconds[FIRST:], rows, broken_off)


def _search(connection: Connection, kind: str, pairs: Pairs) -> searching.Page:
    query = parse(kind, pairs, BASE)
    page = searching.find_page(connection, query)
    names = {name for row in page.rows for name in included(json.parse_own(row.content), query.includes)}
    if names:
        resources.find_by_ids(connection, sorted(name for _, name in names))
    for include in query.revincludes:
        for row in page.rows:
            searching.find_by_digests(connection, reverse_digests(include, row.type, row.id), 200)
    return page


def _after(connection: Connection, case: Case, pairs: Pairs) -> str:
    """The cursor of the page to measure."""
    cursor = ""
    for _ in range(case.pages_before):
        page = _search(connection, case.kind, [*pairs, ("_cursor", cursor)] if cursor else pairs)
        assert page.next is not None, f"{case.name} has no page {case.pages_before + 1}"
        cursor = str(page.next)
    return cursor


def explain(database: Database, filling: Filling, case: Case) -> Iterator[str]:
    """The plans of the statements that the search runs."""
    seen: list[tuple[str, dict[str, Any]]] = []
    pairs = case.make(random.Random(case.name), filling)
    run = statements.execute

    def note(connection: Connection, text: str, values: dict[str, Any] | None = None) -> Any:
        seen.append((text, values or {}))
        return run(connection, text, values)

    with database.reading() as connection:
        statements.execute = note
        try:
            _search(connection, case.kind, pairs)
        finally:
            statements.execute = run
        for text, values in seen:
            cursor = run(connection, f"EXPLAIN (ANALYZE, BUFFERS) {text}", values)
            yield from ["", text, *(row[0] for row in cursor.fetchall())]
            cursor.close()


@contextmanager
def _store(given: argparse.Namespace) -> Iterator[str]:
    if given.database:
        yield given.database
        return
    with services.postgres_server() as server, services.postgres_database(server) as url:
        yield url


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="python -m tests.bench_search", description=(__doc__ or "").partition("\n")[0]
    )
    arguments.add_argument("--tasks", type=int, default=1_000_000)
    arguments.add_argument(
        "--database", help="a postgresql URL; an empty one is filled, a filled one must have --tasks"
    )
    arguments.add_argument("--only", default="", help="the kinds of search whose name has this in it")
    arguments.add_argument("--plans", action="store_true", help="show how PostgreSQL carries each out")
    given = arguments.parse_args()
    filling = Filling(given.tasks)
    with _store(given) as url:
        upgrade(url)
        began = time.perf_counter()
        with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://", 1)) as connection:
            if not connection.execute("SELECT 1 FROM resource LIMIT 1").fetchone():
                fill(connection, filling)
                print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
            for table in ("resource", "search_key"):
                size = connection.execute(
                    f"SELECT pg_size_pretty(pg_total_relation_size('{table}'))".encode()
                ).fetchone()
                print(f"{table}: {size[0] if size else ''}")
        database = Database(url)
        print(f"{'ms':>40} {'first':>8} {'p50':>8} {'p99':>8} {'rows':>6} {'broken off':>11}")
        for case in [case for case in CASES if given.only in case.name]:
            found = measure(database, filling, case)
            p50, p99 = statistics.median(found.seconds), statistics.quantiles(found.seconds, n=100)[98]
            times = " ".join(f"{seconds * 1e3:>8.2f}" for seconds in (max(found.first), p50, p99))
            print(f"{case.name:>40} {times} {found.rows:>6} {found.broken_off:>11}", flush=True)
            for line in explain(database, filling, case) if given.plans else ():
                print(f"    {line}")
        database.close()


if __name__ == "__main__":
    main()
