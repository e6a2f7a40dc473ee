"""Searches of Tasks and Requests: https://hl7.org/fhir/R4/http.html#search"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from urllib.parse import parse_qsl

from flask import Blueprint, Response, g, request
from werkzeug.http import parse_options_header

from gateway.authentication.scopes import grants
from gateway.errors import Issue, Refused
from gateway.fhir import json
from gateway.fhir.definitions import VERSIONS
from gateway.fhir.identity import OWN_SENDER
from gateway.fhir.json import Resource
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.search import SEARCHED, Query, included, parse, reverse_digests
from gateway.store import resources, searching
from gateway.store.database import Connection
from gateway.store.resources import Row
from gateway.store.searching import Page
from gateway.viewing import View, tokens
from gateway.web import context
from gateway.web.answers import versioned_response, wanted_answer
from gateway.web.authentication import largest_body, view_of
from gateway.web.body import read_body
from gateway.web.conditions import Declined, is_lenient
from gateway.web.context import Context
from gateway.web.negotiation import UnsupportedMediaType
from gateway.web.resources import with_query
from gateway.web.trail import WRITTEN_IN, audit_events_of, provenances_of
from gateway.web.writing import written_types

endpoints = Blueprint("searching", __name__, url_prefix="/fhir")

MOST_BESIDE = 500
"""The most that is shown beside the matches of a page."""
_AT_ONCE = 100
_COUNT_ONLY = (("_summary", "count"), ("_count", "0"))
"""Either asks for the number of matches alone: https://hl7.org/fhir/R4/search.html#count"""
_FORM = "application/x-www-form-urlencoded"
_TRAIL = {"Provenance": provenances_of, "AuditEvent": audit_events_of}


@endpoints.get("/<type:resource_type>")
def search(resource_type: str) -> Response:
    """What matches the query in the address."""
    return _searched(resource_type, request.query_string)


@endpoints.post("/<type:resource_type>/_search")
def search_by_form(resource_type: str) -> Response:
    """The same for a query that is sent as a form, so that it stands in no log."""
    if parse_options_header(request.headers.get("Content-Type"))[0].lower() != _FORM:
        raise UnsupportedMediaType(Issue("not-supported", f"The search parameters are sent as {_FORM}."))
    most = largest_body(context.get())
    length, coding = request.content_length, request.headers.get("Content-Encoding")
    form = read_body(request.stream, length, coding, most) if length != 0 else b""
    return _searched(resource_type, b"&".join(filter(None, (request.query_string, form))))


def _searched(resource_type: str, encoded: bytes) -> Response:
    here = context.get()
    pairs = parse_qsl(encoded.decode(errors="replace"), keep_blank_values=True)
    is_counted = any(pair in _COUNT_ONLY for pair in pairs)
    asked = [*(pair for pair in pairs if pair not in _COUNT_ONLY), ("_total", "accurate")] if is_counted else pairs
    query = _read(here, resource_type, asked)
    answer = wanted_answer([one for one in VERSIONS if all(one in WRITTEN_IN[kind] for kind in _derived(query))])
    with here.database.reading() as connection:
        page = searching.find_page(connection, query, _among(here, connection, resource_type))
        found = [] if is_counted else _entries(here, connection, query, page.rows)
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset"}
    bundle |= {} if page.total is None else {"total": page.total}
    bundle["link"] = [_self(here, query, pairs)] if is_counted else _links(here, query, page)
    return versioned_response(200, bundle | ({"entry": found} if found else {}), answer)


def _among(here: Context, connection: Connection, resource_type: str) -> list[bytes] | None:
    """The tokens of what the caller may find; None: all."""
    partner = g.identity.partner
    return tokens(connection, resource_type, partner, here.terms.policy) if partner is not None else None


def _entries(here: Context, connection: Connection, query: Query, rows: Sequence[Row]) -> list[Resource]:
    others, are_all = _beside(here, connection, query, rows)
    found = [_entry(here, json.parse_own(row.content), "match") for row in rows]
    found += [_entry(here, resource, "include") for resource in others]
    issues = [*query.ignored, *([] if are_all else [_left_out()])]
    if issues:
        found.append({"resource": operation_outcome(issues), "search": {"mode": "outcome"}})
    return found


def _left_out() -> Issue:
    text = (
        f"More than {MOST_BESIDE} resources come with these matches by _include and _revinclude; the others are left "
        "out. Ask for fewer matches at once (_count)."
    )
    return Issue("too-costly", text, severity="warning")


def _read(here: Context, resource_type: str, pairs: list[tuple[str, str]]) -> Query:
    """Raises Declined: 405 for a type that is not searched, 400 for a query that cannot be carried out."""
    if resource_type not in SEARCHED:
        text = f"There is no search for {resource_type}. Those that are searched: {', '.join(SEARCHED)}."
        is_written = request.method != "POST" and resource_type in written_types(here)
        raise Declined(405, Issue("not-supported", text), allowed=("POST",) if is_written else ())
    try:
        return parse(resource_type, pairs, here.ourselves.base_url, is_lenient(request.headers.get("Prefer")))
    except Refused as refused:
        raise Declined(400, *refused.issues) from None


def _beside(here: Context, connection: Connection, query: Query, rows: Sequence[Row]) -> tuple[list[Resource], bool]:
    """What is shown beside the matches, each once, and whether that is all of it."""
    matches = {(row.type, row.id) for row in rows}
    shown: dict[tuple[str, str], Resource] = {}
    beside = chain(_included(connection, query, rows), _referring(connection, query, rows))
    kept: Iterator[Resource] = map(json.parse_own, beside)
    view = view_of(here, connection)
    if view is not None:
        kept = _seen(view, rows, kept)
    for resource in chain(kept, _trail(here, connection, query, rows)):
        name = (resource["resourceType"], resource["id"])
        if name in matches or name in shown:
            continue
        if len(shown) == MOST_BESIDE:
            return list(shown.values()), False
        shown[name] = resource
    return list(shown.values()), True


def _seen(view: View, rows: Sequence[Row], kept: Iterator[Resource]) -> Iterator[Resource]:
    """What of it the caller may see: of what the matches refer to, what is told with them."""
    told = None
    for resource in kept:
        name = (resource["resourceType"], resource["id"])
        if not grants(g.identity.scopes, name[0], "r"):
            continue
        told = view.told_with(rows) if told is None else told
        if name in told or view.has(*name):
            yield resource


def _included(connection: Connection, query: Query, rows: Iterable[Row]) -> Iterator[bytes]:
    """What the matches refer to, in their order."""
    found = (name for row in rows for name in included(json.parse_own(row.content), query.includes))
    asked = list(dict.fromkeys(found)) if query.includes else []
    for start in range(0, len(asked), _AT_ONCE):
        names = asked[start : start + _AT_ONCE]
        kept = resources.find_by_ids(connection, [resource_id for _, resource_id in names])
        contents = {(row.type, row.id): row.content for row in kept if row.sender != OWN_SENDER}
        yield from (contents[name] for name in names if name in contents)


def _referring(connection: Connection, query: Query, rows: Iterable[Row]) -> Iterator[bytes]:
    for include in dict.fromkeys(query.revincludes):
        for row in rows if include.source not in _TRAIL else ():
            digests = reverse_digests(include, row.type, row.id)
            found = searching.find_by_digests(connection, digests, MOST_BESIDE + 1) if digests else []
            yield from (one.content for one in found)


def _trail(here: Context, connection: Connection, query: Query, rows: Iterable[Row]) -> Iterator[Resource]:
    """The Provenances and AuditEvents of the matches, where these are asked for."""
    view = view_of(here, connection)
    for kind in _derived(query):
        for row in rows if view is None else (row for row in rows if view.owns(row.type, row.id)):
            yield from _TRAIL[kind](here, connection, row.type, row.id)


def _derived(query: Query) -> list[str]:
    """Which of what is not kept, but composed, is to be shown beside the matches."""
    asked = [kind for kind in _TRAIL if any(include.source == kind for include in query.revincludes)]
    return [kind for kind in asked if grants(g.identity.scopes, kind, "r")]


def _entry(here: Context, resource: Resource, mode: str) -> Resource:
    url = f"{here.ourselves.base_url}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "search": {"mode": mode}}


def _links(here: Context, query: Query, page: Page) -> list[Resource]:
    said = list(query.said)
    current = [*said, ("_cursor", str(query.cursor))] if query.cursor else said
    links = [_self(here, query, current)]
    if page.next is not None:
        url = f"{here.ourselves.base_url}/{query.type}"
        links.append({"relation": "next", "url": with_query(url, [*said, ("_cursor", str(page.next))])})
    return links


def _self(here: Context, query: Query, pairs: list[tuple[str, str]]) -> Resource:
    return {"relation": "self", "url": with_query(f"{here.ourselves.base_url}/{query.type}", pairs)}
