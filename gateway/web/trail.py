"""Provenance and AuditEvent: which message made what, and what came of each; composed when they are asked for.

https://hl7.org/fhir/R4/provenance.html#search, https://hl7.org/fhir/R4/auditevent.html#search
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from flask import Blueprint, Response, request

from gateway.errors import Issue
from gateway.fhir import formats, json
from gateway.fhir.audit import Attempt, audit_event
from gateway.fhir.definitions import VERSIONS
from gateway.fhir.definitions import Version as FHIRVersion
from gateway.fhir.identity import identifier_keys, own_key
from gateway.fhir.json import Resource
from gateway.fhir.lanes import find_lane
from gateway.fhir.provenance import provenance, read_provenance_id
from gateway.fhir.received import read_received
from gateway.fhir.references import Entry
from gateway.store import resources, versions
from gateway.store.database import Connection
from gateway.store.versions import Processed, Version
from gateway.web import context
from gateway.web.answers import versioned_response, wanted_answer
from gateway.web.authentication import may_see, owns, view_of
from gateway.web.conditions import Declined
from gateway.web.context import Context
from gateway.web.negotiation import R4_AND_R4B
from gateway.web.resources import MOST_VERSIONS, kept_response, nothing, page_links, read_number, refuse_unknown

endpoints = Blueprint("trail", __name__, url_prefix="/fhir")

WRITTEN_IN: dict[str, Sequence[FHIRVersion]] = {"Provenance": VERSIONS, "AuditEvent": R4_AND_R4B}
"""The versions of FHIR that each can be read in: other versions require of an AuditEvent what R4 does not know."""
_PARAMETERS = {"Provenance": "target", "AuditEvent": "entity"}
_DEFAULT_COUNT = 50
_PAGING = ("_count", "_before", "_format", "_pretty")
_READ = ("_format", "_pretty")
_MESSAGE_ID = re.compile("[1-9][0-9]{0,17}")
_ADDRESS = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/([1-9][0-9]{0,8}))?")


@endpoints.get("/Provenance/<id:resource_id>")
def read_provenance(resource_id: str) -> Response:
    """The Provenance of one version; one that somebody has sent is kept, and read as any resource."""
    refuse_unknown(_READ)
    here, named = context.get(), read_provenance_id(resource_id)
    with here.database.reading() as connection:
        if named is None:
            return _kept(here, connection, "Provenance", resource_id)
        found = versions.find_by_id(connection, *named)
        is_seen = found is not None and owns(here, connection, found.type, found.id)
        made = _provenances(connection, [found]) if found and is_seen else []
    return _answer("Provenance", made[0]) if made else nothing(f"Provenance/{resource_id}")


@endpoints.get("/Provenance")
def search_provenance() -> Response:
    """The Provenances of a resource's versions (`target=Type/id`), or of one (`target=Type/id/_history/n`)."""
    kind, resource_id, number = _read_address("Provenance")
    most, before = _read_count(), read_number("_before")
    here = context.get()
    with here.database.reading() as connection:
        if not owns(here, connection, kind, resource_id):
            found = []
        elif number is not None:
            one = versions.find(connection, kind, resource_id, number)
            found = [one] if one else []
        else:
            found = versions.find_all(connection, kind, resource_id, before, None, most + 1)
        made = _provenances(connection, found[:most])
    return _searchset("Provenance", made, found[most - 1].number if len(found) > most else None)


@endpoints.get("/AuditEvent/<id:resource_id>")
def read_audit_event(resource_id: str) -> Response:
    """The AuditEvent of one message; one that somebody has sent is kept, and read as any resource."""
    refuse_unknown(_READ)
    here = context.get()
    with here.database.reading() as connection:
        if not _MESSAGE_ID.fullmatch(resource_id):
            return _kept(here, connection, "AuditEvent", resource_id)
        found = versions.find_processed(connection, 1, int(resource_id) + 1)
        of_it = [one for one in found if one.origin.id == int(resource_id)]
        made = [*_seen(here, connection, _attempts(here, connection, of_it))]
    if not made:
        return nothing(f"AuditEvent/{resource_id}")
    return _answer("AuditEvent", audit_event(made[0], here.ourselves))


@endpoints.get("/AuditEvent")
def search_audit_events() -> Response:
    """The AuditEvents about a resource (`entity=Type/id`), the newest first: each change, each refused attempt."""
    kind, resource_id, _ = _read_address("AuditEvent")
    most, before = _read_count(), read_number("_before")
    here = context.get()
    with here.database.reading() as connection:
        is_seen = owns(here, connection, kind, resource_id)
        found, last = _find_attempts(here, connection, (kind, resource_id), before, most) if is_seen else ([], None)
    return _searchset("AuditEvent", [audit_event(attempt, here.ourselves) for attempt in found], last)


def _kept(here: Context, connection: Connection, kind: str, resource_id: str) -> Response:
    """One that somebody has sent."""
    kept = versions.find(connection, kind, resource_id)
    is_seen = kept is not None and may_see(here, connection, kind, resource_id)
    return kept_response(kept) if kept and is_seen else nothing(f"{kind}/{resource_id}")


def _seen(here: Context, connection: Connection, attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    """What the caller may see of them: what is its own of what each message was about; else nothing of it."""
    view = view_of(here, connection)
    for attempt in attempts:
        if view is None:
            yield attempt
            continue
        versions = [(kind, one, number) for kind, one, number in attempt.versions if view.owns(kind, one)]
        others = [(kind, one) for kind, one in attempt.others if view.owns(kind, one)]
        if versions or others:
            yield replace(attempt, versions=versions, others=others)


def provenances_of(_here: Context, connection: Connection, kind: str, resource_id: str) -> list[Resource]:
    """The Provenances of a resource's latest versions."""
    return _provenances(connection, versions.find_all(connection, kind, resource_id, None, None, MOST_VERSIONS))


def audit_events_of(here: Context, connection: Connection, kind: str, resource_id: str) -> list[Resource]:
    """The latest AuditEvents about a resource."""
    found, _ = _find_attempts(here, connection, (kind, resource_id), None, MOST_VERSIONS)
    return [audit_event(attempt, here.ourselves) for attempt in found]


def _provenances(connection: Connection, found: Sequence[Version]) -> list[Resource]:
    origins = versions.find_origins(connection, {one.message_id for one in found})
    return [provenance(one.type, one.id, one.number, one.updated_at, origins[one.message_id]) for one in found]


def _find_attempts(
    here: Context, connection: Connection, about: tuple[str, str], before: int | None, most: int
) -> tuple[list[Attempt], int | None]:
    """What was tried with a resource, and where the next page begins, if there is more.

    A refused attempt is about what its message names. Messages about a Task are in its lane, with a few about others.
    """
    lanes, made = None, None
    if about[0] == "Task":
        row = resources.find(connection, *about)
        known_as = identifier_keys(Entry("", None, json.parse_own(row.content)), row.sender) if row else []
        lanes = versions.find_lanes(connection, *about, [*known_as, own_key(*about)])
    else:
        made = about
    found = versions.find_processed(connection, most + 1, before, lanes, made)
    attempts = _attempts(here, connection, found[:most])
    mine = [one for one in attempts if about in one.others or any(version[:2] == about for version in one.versions)]
    return [*_seen(here, connection, mine)], found[most - 1].origin.id if len(found) > most else None


def _attempts(here: Context, connection: Connection, found: Sequence[Processed]) -> list[Attempt]:
    made = versions.find_made(connection, [one.origin.id for one in found])
    return [_attempt(here, connection, one, made.get(one.origin.id, [])) for one in found]


def _attempt(
    here: Context, connection: Connection, processed: Processed, made: Sequence[tuple[str, str, int]]
) -> Attempt:
    written = {(kind, resource_id) for kind, resource_id, _ in made}
    others = [named for named in _about(here, connection, processed) if named not in written]
    return Attempt(processed.origin.id, processed.origin, processed.done_at, made, others, _reasons(processed))


def _about(here: Context, connection: Connection, processed: Processed) -> list[tuple[str, str]]:
    """The Tasks that a message is about, as far as they are kept by now."""
    origin = processed.origin
    message = read_received(processed.body, processed.media_type, origin.received_at, processed.wrapping)
    keys, own_ids = find_lane(message, here.ourselves.base_url)
    ids = {row.id for row in resources.find_by_keys(connection, keys).values() if row.type == "Task"}
    ids |= {one for one in own_ids if resources.find(connection, "Task", one)}
    return [("Task", one) for one in sorted(ids)]


def _reasons(processed: Processed) -> list[str]:
    """The issue codes of a refusal."""
    if processed.response_code == "ok":
        return []
    reply, _ = formats.parse_told(processed.reply, processed.reply_format, None)
    outcomes = [
        entry["resource"] for entry in reply["entry"] if entry["resource"]["resourceType"] == "OperationOutcome"
    ]
    issues = [issue for outcome in outcomes for issue in outcome["issue"]]
    return [issue["code"] for issue in issues if issue["severity"] in ("fatal", "error")] or ["processing"]


def _read_address(kind: str) -> tuple[str, str, int | None]:
    """The type, id and version in the parameter that refers to something kept here. Raises Declined (400)."""
    parameter = _PARAMETERS[kind]
    refuse_unknown((parameter, *_PAGING), is_search=True)
    own = f"{context.get().ourselves.base_url}/"
    named = [_ADDRESS.fullmatch(given.removeprefix(own)) for given in request.args.getlist(parameter)]
    match = named[0] if len(named) == 1 else None
    if match is None:
        text = f"Say of what, once: {parameter}=Task/[id], as the gateway has given it the id."
        raise Declined(400, Issue("required", text))
    return match[1], match[2], int(match[3]) if match[3] else None


def _read_count() -> int:
    return min(read_number("_count") or _DEFAULT_COUNT, MOST_VERSIONS)


def _answer(kind: str, resource: Resource) -> Response:
    return versioned_response(200, resource, wanted_answer(WRITTEN_IN[kind]))


def _searchset(kind: str, found: Iterable[Resource], last: int | None) -> Response:
    url = f"{context.get().ourselves.base_url}/{kind}"
    entries = [
        {"fullUrl": f"{url}/{resource['id']}", "resource": resource, "search": {"mode": "match"}} for resource in found
    ]
    links = page_links(url, (_PARAMETERS[kind], *_PAGING), last)
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "link": links}
    return _answer(kind, bundle | ({"entry": entries} if entries else {}))
