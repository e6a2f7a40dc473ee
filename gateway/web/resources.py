"""Reads of what is kept: current, by version, and its history.

https://hl7.org/fhir/R4/http.html#read, https://hl7.org/fhir/R4/http.html#vread,
https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from gateway.errors import Issue
from gateway.fhir import json
from gateway.fhir.definitions import VERSIONS
from gateway.fhir.json import Resource
from gateway.store import versions
from gateway.store.versions import Version
from gateway.web import context
from gateway.web.answers import outcome_response, versioned_response, wanted_answer
from gateway.web.authentication import may_see
from gateway.web.conditions import Declined, etag, is_known_by_caller, is_lenient, is_strict, last_modified

endpoints = Blueprint("resources", __name__, url_prefix="/fhir")

MOST_VERSIONS = 100
_READ = ("_format", "_pretty")
_HISTORY = (*_READ, "_count", "_since", "_before")
_LONGEST_NUMBER = 18
_VERSION_ID = re.compile("[1-9][0-9]{0,8}")


@endpoints.get("/<type:resource_type>/<id:resource_id>")
def read(resource_type: str, resource_id: str) -> Response:
    """The current version, with its ETag; 304 where the caller has it already."""
    refuse_unknown(_READ)
    here = context.get()
    with here.database.reading() as connection:
        found = versions.find(connection, resource_type, resource_id)
        is_seen = found is not None and may_see(here, connection, resource_type, resource_id)
    return kept_response(found) if found and is_seen else nothing(f"{resource_type}/{resource_id}")


@endpoints.get("/<type:resource_type>/<id:resource_id>/_history/<id:version_id>")
def vread(resource_type: str, resource_id: str, version_id: str) -> Response:
    """The version with this number, as it was."""
    refuse_unknown(_READ)
    here, found = context.get(), None
    if _VERSION_ID.fullmatch(version_id):
        with here.database.reading() as connection:
            if may_see(here, connection, resource_type, resource_id):
                found = versions.find(connection, resource_type, resource_id, int(version_id))
    return kept_response(found) if found else nothing(f"{resource_type}/{resource_id}/_history/{version_id}")


@endpoints.get("/<type:resource_type>/<id:resource_id>/_history")
def history(resource_type: str, resource_id: str) -> Response:
    """Its versions, the newest first, in pages of `_count`."""
    refuse_unknown(_HISTORY)
    since, before = _read_since(), read_number("_before")
    most = min(read_number("_count") or MOST_VERSIONS, MOST_VERSIONS)
    here = context.get()
    with here.database.reading() as connection:
        is_kept = versions.find(connection, resource_type, resource_id) is not None
        if not (is_kept and may_see(here, connection, resource_type, resource_id)):
            return nothing(f"{resource_type}/{resource_id}")
        found = versions.find_all(connection, resource_type, resource_id, before, since, most + 1)
        total = versions.count(connection, resource_type, resource_id, since)
    page = found[:most]
    base_url = here.settings.base_url
    here_url = f"{base_url}/{resource_type}/{resource_id}/_history"
    links = page_links(here_url, _HISTORY, page[-1].number if len(found) > most else None)
    bundle: Resource = {"resourceType": "Bundle", "type": "history", "total": total, "link": links}
    entries = [_history_entry(version, base_url) for version in page]
    return versioned_response(200, bundle | ({"entry": entries} if entries else {}), wanted_answer(VERSIONS))


def kept_response(version: Version, status: int = 200) -> Response:
    """What is kept, with what HTTP says of it."""
    resource = json.parse_own(version.content)
    answer = wanted_answer(VERSIONS)
    headers = {"ETag": etag(resource), "Last-Modified": last_modified(resource)}
    known = is_known_by_caller(request.headers.get("If-None-Match"), request.headers.get("If-Modified-Since"), resource)
    if known and request.method in ("GET", "HEAD"):
        return Response(status=304, headers=headers)
    response = versioned_response(status, resource, answer)
    response.headers.update(headers)
    return response


def refuse_unknown(parameters: Sequence[str], *, is_search: bool = False) -> None:
    """Raises Declined for a parameter that is not known, where the caller wants to be told (`handling=strict`).

    A search that left one out would find too much: it is refused but for who wants that (`handling=lenient`).
    """
    unknown, prefer = [name for name in request.args if name not in parameters], request.headers.get("Prefer")
    if unknown and (not is_lenient(prefer) if is_search else is_strict(prefer)):
        known = ", ".join(name for name in parameters if name != "_before")
        text = f"The gateway does not know the parameter {unknown[0][:60]} here. It knows {known}."
        raise Declined(400, Issue("not-supported", text))


def read_number(parameter: str) -> int | None:
    """A parameter that is a whole number, from 1. Raises Declined (400)."""
    given = request.args.get(parameter)
    if given is None:
        return None
    if not given.isdecimal() or len(given) > _LONGEST_NUMBER or int(given) < 1:
        raise Declined(400, Issue("value", f"The parameter {parameter} is a whole number from 1."))
    return int(given)


def page_links(url: str, understood: Sequence[str], last: int | None) -> list[dict[str, str]]:
    """The links of a page: to itself, by what was understood, and to what comes after its `last`, if there is more."""
    asked = [name for name in understood if name not in _READ]
    given = [(name, value) for name, value in request.args.items(multi=True) if name in asked]
    links = [{"relation": "self", "url": with_query(url, given)}]
    if last is not None:
        after = [(name, value) for name, value in given if name != "_before"]
        links.append({"relation": "next", "url": with_query(url, [*after, ("_before", str(last))])})
    return links


def with_query(url: str, parameters: list[tuple[str, str]]) -> str:
    """An address with parameters, if there are any."""
    return f"{url}?{urlencode(parameters)}" if parameters else url


def _history_entry(version: Version, base_url: str) -> Resource:
    resource = json.parse_own(version.content)
    is_first = version.number == 1
    address = f"{version.type}/{version.id}"
    return {
        "fullUrl": f"{base_url}/{address}",
        "resource": resource,
        "request": {"method": "POST" if is_first else "PUT", "url": version.type if is_first else address},
        "response": {
            "status": "201" if is_first else "200",
            "location": f"{base_url}/{address}/_history/{version.number}",
            "etag": etag(resource),
            "lastModified": resource["meta"]["lastUpdated"],
        },
    }


def nothing(address: str) -> Response:
    """Says that nothing is kept under an address."""
    text = f"The gateway keeps no {address}. Look for it by its identifier: it has an id of the gateway's own here."
    return outcome_response(404, Issue("not-found", text))


def _read_since() -> datetime | None:
    """`_since`, an instant. Raises Declined (400)."""
    given = request.args.get("_since")
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given.replace(" ", "+"))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        text = "The parameter _since is an instant, such as 2026-03-01T10:00:00Z (a + in it is written %2B)."
        raise Declined(400, Issue("value", text)) from None
