"""What the gateway publishes of itself: its CapabilityStatement, the messages it takes, its own codes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from flask import Blueprint, Response, abort, request

from gateway.fhir.capability import capability_statement, message_definition
from gateway.fhir.message import Resource
from gateway.fhir.terminology import code_systems, value_sets
from gateway.web import context
from gateway.web.answers import resource_response, wanted_answer
from gateway.web.resources import with_query
from gateway.web.writing import written_types

endpoints = Blueprint("metadata", __name__, url_prefix="/fhir")

PUBLISHED = "2026-11-23"
# Messages are kept for good; ten years is what the element can reasonably say of that.
RELIABLE_CACHE_MINUTES = 10 * 365 * 24 * 60


@endpoints.get("/metadata")
def metadata() -> Response:
    here = context.get()
    statement = capability_statement(
        list(here.registry),
        name=here.settings.name,
        version=version("fhir-gateway"),
        base_url=here.settings.base_url,
        endpoint=here.settings.endpoint,
        published=PUBLISHED,
        reliable_cache_minutes=RELIABLE_CACHE_MINUTES,
        written=written_types(here),
        token_url=here.settings.token_url,
        is_sandbox=here.settings.is_sandbox,
    )
    return resource_response(200, statement, wanted_answer())


@endpoints.get("/MessageDefinition")
def message_definitions() -> Response:
    return _searchset("MessageDefinition", _definitions())


@endpoints.get("/MessageDefinition/<definition_id>")
def read_message_definition(definition_id: str) -> Response:
    return _read(_definitions(), definition_id)


@endpoints.get("/CodeSystem")
def search_code_systems() -> Response:
    """The code systems of the gateway's own: what its answers say beside FHIR's codes."""
    return _searchset("CodeSystem", code_systems())


@endpoints.get("/CodeSystem/<definition_id>")
def read_code_system(definition_id: str) -> Response:
    return _read(code_systems(), definition_id)


@endpoints.get("/ValueSet")
def search_value_sets() -> Response:
    return _searchset("ValueSet", value_sets())


@endpoints.get("/ValueSet/<definition_id>")
def read_value_set(definition_id: str) -> Response:
    return _read(value_sets(), definition_id)


def _searchset(kind: str, published: Mapping[str, Resource]) -> Response:
    """All of a kind; with the parameter `url`, the one that has it."""
    url, base_url = request.args.get("url"), context.get().settings.base_url
    found = [
        {"fullUrl": f"{base_url}/{kind}/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in published.values()
        if url in (None, one["url"])
    ]
    link = [{"relation": "self", "url": with_query(f"{base_url}/{kind}", [("url", url)] if url else [])}]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": link}
    return resource_response(200, bundle | ({"entry": found} if found else {}), wanted_answer())


def _read(published: Mapping[str, Resource], definition_id: str) -> Response:
    found = published.get(definition_id)
    return resource_response(200, found, wanted_answer()) if found else abort(404)


def _definitions() -> dict[str, Resource]:
    here = context.get()
    made = (message_definition(h, base_url=here.settings.base_url, published=PUBLISHED) for h in here.registry)
    return {definition["id"]: definition for definition in made}
