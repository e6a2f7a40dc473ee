"""A page of a search, by the tokens of `gateway.fhir.search`.

A search walks through the numbers that have one token, in their order, and looks up for each whether it has the others.
It takes the rarest, as far as a count that stops early can tell; where none is rare and the order is that of change, it
walks through that. What it looks at for one page is bounded: where that was not enough to fill the page, this is
shorter, and the next begins where the walk ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from gateway.fhir.identity import OWN_SENDER
from gateway.fhir.search import Cursor, Query, Span, digests_of
from gateway.store import resources
from gateway.store import search_statements as statements
from gateway.store.resources import Row

GLANCED = 400
"""Candidates that are looked at before it is found out which token is rare: most searches end there."""
EXAMINED = 3000
"""The most candidates that are looked at for a page."""
EXHAUSTED = 20_000
"""If they were not enough, and no more than this have one of the tokens, all of these are looked at."""
COUNTED = 10_000
"""The most matches that are counted."""
_BEYOND = 2**63 - 1

Groups = list[list[bytes]]
"""Tokens: a match has one of each group."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what matches, in order; `next` is the cursor of what follows, `total` how many there are, if counted."""

    rows: list[Row]
    next: Cursor | None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class _Walk:
    """The places of matches, one more than a page has where there are more; and where it was broken off, if it was."""

    places: list[Cursor]
    broken_off: Cursor | None


def find_page(connection: sa.Connection, query: Query, among: Sequence[bytes] | None = None) -> Page:
    """The page of a search that begins after its cursor; of what has one of the tokens `among`, or of all.

    It may hold fewer than are asked for, even none, though others follow. `total` is None where it is not asked for,
    and where there are too many candidates to count.
    """
    groups = _groups(connection, query)
    if among is not None:
        groups.append(list(among))
    if not all(groups):
        return Page([], None, 0 if query.wants_total else None)
    total = _total(connection, query, groups) if query.wants_total else None
    walk = _walk(connection, query, groups)
    shown = walk.places[: query.count]
    rows = resources.find_by_numbers(connection, [place.number for place in shown])
    return Page(rows, shown[-1] if len(walk.places) > query.count else walk.broken_off, total)


def find_by_digests(
    connection: sa.Connection, digests: Sequence[bytes], limit: int, among: Sequence[bytes] | None = None
) -> list[Row]:
    """What has one of these tokens, and one of those `among`, if these are given; what was created last first."""
    groups = [list(group) for group in (digests, among) if group is not None]
    if not all(groups):
        return []
    numbers = _find_numbers(connection, groups, (0, _BEYOND), limit)
    return resources.find_by_numbers(connection, numbers)


def find_few(connection: sa.Connection, digests: Sequence[bytes]) -> dict[bytes, list[Row]]:
    """What has each of these tokens, as `find_by_digests` has it; without the tokens that very many have."""
    numbers: dict[bytes, list[int]] = {digest: [] for digest in digests}
    for digest, number in statements.NEWEST.returned(connection, [(digest,) for digest in digests]):
        numbers[digest].append(number)
    few = {digest: sorted(its, reverse=True) for digest, its in numbers.items() if len(its) <= statements.FEW}
    wanted = sorted({number for its in few.values() for number in its})
    rows = {row.number: row for row in resources.find_by_numbers(connection, wanted)}
    return {digest: [rows[number] for number in its if number in rows] for digest, its in few.items()}


def _groups(connection: sa.Connection, query: Query) -> Groups:
    """The tokens that a query asks for; what is known by a business identifier is looked up."""
    keys = [key for group in query.groups for key in group.keys]
    known = resources.find_by_keys(connection, keys) if keys else {}
    terms = [
        [
            *group.terms,
            *(
                (parameter, "at", f"{known[key].type}/{known[key].id}")
                for key in group.keys
                if key in known
                for parameter in group.parameters
            ),
        ]
        for group in query.groups
    ]
    return digests_of(query.type, terms)


def _walk(connection: sa.Connection, query: Query, groups: Groups) -> _Walk:
    wanted = query.count + 1
    if query.ids is not None:
        return _Walk(_find_ids(connection, query, groups)[:wanted], None)
    is_by_creation = query.sorted_by == "newest"
    if not groups and is_by_creation:
        return _walk_type(connection, query.type, _before(query), wanted)
    walk = _walk_tokens if is_by_creation else _walk_changes
    if len(groups) < (2 if is_by_creation else 1):
        return walk(connection, query, groups, None)
    found = walk(connection, query, groups, GLANCED)
    if len(found.places) == wanted or found.broken_off is None:
        return found
    ranked, fewest = _ranked(connection, groups, EXAMINED)
    if fewest >= EXAMINED:
        found = walk(connection, query, ranked, EXAMINED)
        if len(found.places) == wanted or found.broken_off is None:
            return found
        ranked, fewest = _ranked(connection, groups, EXHAUSTED)
        if fewest >= EXHAUSTED:
            return found
    return walk(connection, query, ranked, None) if is_by_creation else _sort(connection, query, ranked)


def _ranked(connection: sa.Connection, groups: Groups, most: int) -> tuple[Groups, int]:
    """The groups, the rarest first, and how many have a token of that; no more are counted than `most`."""
    values = {name: value for n, group in enumerate(groups) for name, value in _named(f"g{n}", group).items()}
    [sizes] = statements.counted(_shape(groups)).run(connection, {**values, "examined": most})
    return [groups[n] for n in sorted(range(len(groups)), key=sizes.__getitem__)], min(sizes)


def _before(query: Query) -> int:
    return query.cursor.number if query.cursor else _BEYOND


def _walk_type(connection: sa.Connection, resource_type: str, before: int, wanted: int) -> _Walk:
    rows = statements.OF_TYPE.run(
        connection, {"type": resource_type, "before": before, "wanted": wanted, "own": OWN_SENDER}
    )
    return _Walk([Cursor("newest", row[0]) for row in rows], None)


def _walk_tokens(connection: sa.Connection, query: Query, groups: Groups, examined: int | None) -> _Walk:
    """Walks through the first of the groups, in the order of creation; looks at so many, or (None) at all."""
    floor, before, broken_off = 0, _before(query), None
    if examined is not None:
        values = {**_named("d", groups[0]), "before": before, "examined": examined - 1}
        if last := statements.token_floor(len(groups[0])).run(connection, values):
            floor, broken_off = last[0][0], Cursor("newest", last[0][0])
    numbers = _find_numbers(connection, groups, (floor, before), query.count + 1)
    return _Walk([Cursor("newest", number) for number in numbers], broken_off)


def _find_numbers(connection: sa.Connection, groups: Groups, within: tuple[int, int], wanted: int) -> list[int]:
    """Numbers from one on and before another, the highest first, each once."""
    driver, *others = groups
    statement = statements.token_walk(len(driver), _shape(others))
    values = {**_named("d", driver), **_probed(others), "wanted": wanted}
    floor, before = within
    found: dict[int, None] = {}
    while len(found) < wanted:
        rows = statement.run(connection, {**values, "floor": floor, "before": before})
        found |= dict.fromkeys(row[0] for row in rows)
        if len(rows) < wanted:
            break
        before = rows[-1][0]
    return list(found)[:wanted]


_Change = tuple[datetime, int]
"""When something was changed, and its number."""


def _bounds(query: Query) -> tuple[_Change, _Change]:
    """From which change on, and before which one: those of the span that are after the cursor."""
    span, cursor = query.span or Span(), query.cursor
    low, high = (span.start, 0), (span.end, 0)
    if cursor is None or cursor.updated_at is None:
        return low, high
    if cursor.order == "_lastUpdated":
        return max(low, (cursor.updated_at, cursor.number + 1)), high
    return low, min(high, (cursor.updated_at, cursor.number))


def _walk_changes(connection: sa.Connection, query: Query, groups: Groups, examined: int | None) -> _Walk:
    """Walks through all of a type in the order of change; looks at so many, or (None) at all."""
    (low, high), rises, of_type = _bounds(query), query.sorted_by == "_lastUpdated", {"type": query.type}
    broken_off = None
    if examined is not None:
        values = {**of_type, **_within(low, high), "examined": examined - 1}
        if last := statements.change_floor(rises).run(connection, values):
            moment, number = last[0]
            broken_off = Cursor(query.sorted_by, number, moment)
            low, high = (low, (moment, number + 1)) if rises else ((moment, number), high)
    values = {**of_type, **_within(low, high), **_probed(groups), "wanted": query.count + 1, "own": OWN_SENDER}
    rows = statements.change_walk(_shape(groups), rises).run(connection, values)
    return _Walk([Cursor(query.sorted_by, number, moment) for moment, number in rows], broken_off)


def _sort(connection: sa.Connection, query: Query, groups: Groups) -> _Walk:
    """Sorts all that has a token of the first group, in the order of change."""
    driver, *others = groups
    statement = statements.few(len(driver), _shape(others), query.sorted_by == "_lastUpdated")
    values = {**_named("d", driver), **_probed(others), **_within(*_bounds(query)), "wanted": query.count + 1}
    rows = statement.run(connection, values)
    return _Walk([Cursor(query.sorted_by, number, moment) for moment, number in rows], None)


def _find_ids(connection: sa.Connection, query: Query, groups: Groups) -> list[Cursor]:
    """Those of the ids asked for that match all else, after the cursor."""
    ids = query.ids or ()
    values = {**{f"id_{n}": one for n, one in enumerate(ids)}, **_probed(groups), **_within(*_bounds(query))}
    statement = statements.by_ids(len(ids), _shape(groups))
    rows = statement.run(connection, {**values, "type": query.type, "own": OWN_SENDER}) if ids else []
    if query.sorted_by == "newest":
        numbers = sorted((number for _, number in rows if number < _before(query)), reverse=True)
        return [Cursor("newest", number) for number in numbers]
    rows.sort(reverse=query.sorted_by != "_lastUpdated")
    return [Cursor(query.sorted_by, number, moment) for moment, number in rows]


def _total(connection: sa.Connection, query: Query, groups: Groups) -> int | None:
    """How many match in all; None where more would have to be looked at than are counted."""
    whole = replace(query, cursor=None)
    if query.ids is not None:
        return len(_find_ids(connection, whole, groups))
    values = _within(*_bounds(whole))
    if not groups:
        values |= {"type": query.type, "examined": COUNTED + 1, "own": OWN_SENDER}
        [[number]] = statements.CHANGES_COUNTED.run(connection, values)
        return number if number <= COUNTED else None
    (driver, *others), fewest = _ranked(connection, groups, COUNTED + 1)
    if fewest > COUNTED:
        return None
    statement = statements.few_counted(len(driver), _shape(others))
    rows = statement.run(connection, {**values, **_named("d", driver), **_probed(others)})
    return int(rows[0][0])


def _shape(groups: Groups) -> tuple[int, ...]:
    return tuple(map(len, groups))


def _within(low: _Change, high: _Change) -> dict[str, Any]:
    return {"low_at": low[0], "low": low[1], "high_at": high[0], "high": high[1]}


def _named(prefix: str, digests: Sequence[bytes]) -> dict[str, Any]:
    return {f"{prefix}_{n}": digest for n, digest in enumerate(digests)}


def _probed(groups: Groups) -> dict[str, Any]:
    return {name: value for n, group in enumerate(groups) for name, value in _named(f"p{n}", group).items()}
