"""GET, POST /fhir/$poll and POST /fhir/$acknowledge: what waits for a partner that is not called, and that it has it.

docs/messages.md, "Polling"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, get_args

from flask import Blueprint, Response, request

from gateway.errors import Issue, NotAMessage
from gateway.fhir import formats, json
from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.json import Resource
from gateway.identities import plain_id
from gateway.partners import Partner
from gateway.store import outbox
from gateway.store.outbox import Queued
from gateway.web import context
from gateway.web.answers import outcome_response, wanted_answer
from gateway.web.authentication import largest_body
from gateway.web.body import read_body
from gateway.web.conditions import PARTY, Declined, read_caller
from gateway.web.context import Context
from gateway.web.messaging import blocked, caller
from gateway.web.negotiation import Format, request_format

MOST = 100
"""Of what is fetched at once, and of what is acknowledged at once ten times as much."""
_USUAL = 10
_MOST_IDS = 1000
_SYSTEM, _MORE = "urn:x-fhir-gateway:flag", "queued-messages"

endpoints = Blueprint("polling", __name__, url_prefix="/fhir")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is polled for: so many of the oldest, of these events only, of none of those."""

    count: int = _USUAL
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @staticmethod
    def read(said: Sequence[tuple[str, str]]) -> Wish:
        """From names and values. Raises NotAMessage."""
        issues = [_unknown(name) for name, _ in said if name not in ("count", "include", "exclude", "_format")]
        counts = [value for name, value in said if name == "count"] or [str(_USUAL)]
        include, exclude = (_listed(said, name) for name in ("include", "exclude"))
        count = int(counts[0]) if counts[0].isdecimal() and len(counts[0]) < 9 else 0
        if len(counts) > 1 or not 1 <= count <= MOST:
            issues.append(Issue("value", f"The parameter count is a number from 1 to {MOST}."))
        if any(json.FORBIDDEN.search(code) for code in (*include, *exclude)):
            issues.append(Issue("value", "An event to include or to exclude has control characters in it."))
        if include and exclude:
            issues.append(Issue("invalid", "Name events to include, or events to exclude; not both."))
        if issues:
            raise NotAMessage(*issues)
        return Wish(count, include, exclude)


@endpoints.get("/$poll", endpoint="poll")
@endpoints.post("/$poll", endpoint="poll")
def fetch() -> Response:
    """A Bundle of what waits for the caller, the oldest first; it comes again until it is acknowledged."""
    here = context.get()
    partner = _partner(here)
    answer = wanted_answer(VERSIONS)
    said = [*request.args.items(multi=True), *(sent_parameters(here) if request.method == "POST" else ())]
    wish = Wish.read(said)
    with here.database.reading() as connection:
        found = outbox.poll(connection, partner.name, wish.count + 1, wish.include, wish.exclude)
    fetched = [*takewhile(lambda one: one.version == found[0].version, found[: wish.count])]
    bundle: Resource = {"resourceType": "Bundle", "type": "collection"}
    if len(found) > len(fetched):
        bundle["meta"] = {"tag": [{"system": _SYSTEM, "code": _MORE}]}
    if fetched:
        bundle["entry"] = [_entry(one, answer.format) for one in fetched]
    version = _version(fetched[0]) if fetched else "R4"
    return Response(formats.serialize(bundle, answer.format, version), 200, content_type=answer.content_type)


@endpoints.post("/$acknowledge")
def acknowledge() -> Response:
    """Takes what the caller names by the ids of Bundles or MessageHeaders as delivered."""
    here = context.get()
    partner = _partner(here)
    ids = [value for name, value in sent_parameters(here) if name == "id"]
    if not ids or len(ids) > _MOST_IDS:
        text = (
            f"Send Parameters with 1 to {_MOST_IDS} parameters `id`, each with the id of a Bundle or a MessageHeader "
            "that was polled."
        )
        raise NotAMessage(Issue("required", text, "Parameters.parameter"))
    plain = {plain_id(value) for value in ids}
    known_as = [*plain, *{each.lower() for each in plain} - plain]
    with here.database.transaction() as connection:
        taken = outbox.acknowledge(connection, partner.name, known_as, datetime.now(UTC))
    text = f"{taken} of what waited for {partner.name} is delivered."
    if taken < len(plain):
        text += " What else is named waits no more, or never did."
    return outcome_response(200, Issue("informational", text, severity="information"))


def _partner(here: Context) -> Partner:
    """The partner that calls: the one that it has proved to be, or, in a sandbox, that its header names."""
    identity, partners = caller(), here.terms.partners
    said = read_caller(request.headers.get(PARTY), identity, partners)
    names = ["|".join(said.identifier)] if said.identifier else [said.endpoint]
    partner = identity.partner or partners.find(names)
    if partner is not None and partner.state == "blocked":
        raise Declined(403, blocked(partner))
    if partner is None:
        text = f"Nothing waits for who is not registered as a partner. Send the header {PARTY} with a partner's name."
        raise Declined(403, Issue("forbidden", text))
    return partner


def sent_parameters(here: Context) -> Iterator[tuple[str, str]]:
    """The parameters in the body, if there is one. Raises Refused."""
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return
    name = request_format(request.headers.get("Content-Type"))
    coding, limit = request.headers.get("Content-Encoding"), largest_body(here)
    body = read_body(request.stream, request.content_length, coding, limit)
    resource, _ = formats.parse_told(body, name, None)
    listed = resource.get("parameter", [])
    if resource.get("resourceType") != "Parameters" or not isinstance(listed, list):
        raise NotAMessage(Issue("structure", "The body of this operation is a Parameters resource.", "Parameters"))
    for number, parameter in enumerate(listed):
        yield _parameter(parameter, f"Parameters.parameter[{number}]")


def _parameter(parameter: Any, place: str) -> tuple[str, str]:
    said = parameter if isinstance(parameter, dict) else {}
    values = [value for name, value in said.items() if name.startswith("value")]
    if not isinstance(said.get("name"), str) or len(values) != 1 or not isinstance(values[0], str | int):
        raise NotAMessage(Issue("structure", "A parameter has a name and one value.", place))
    return said["name"], str(values[0])


def _listed(said: Sequence[tuple[str, str]], wanted: str) -> tuple[str, ...]:
    return tuple(code for name, value in said if name == wanted for code in value.split(",") if code)[:MOST]


def _unknown(name: str) -> Issue:
    return Issue("not-supported", f"There is no parameter {name[:64]!r}; there are count, include and exclude.")


def _entry(queued: Queued, name: Format) -> Resource:
    """As it is, byte for byte, where it is in the format of the answer and that is JSON."""
    if queued.format == name == "json":
        resource: Any = json.written(queued.content)
    else:
        resource = formats.parse(queued.content, queued.format, _version(queued))
    return {"fullUrl": f"urn:uuid:{queued.bundle_id or queued.header_id}", "resource": resource}


def _version(queued: Queued) -> Version:
    return next((version for version in get_args(Version) if version == queued.version), "R4")
