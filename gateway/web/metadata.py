"""GET /fhir/metadata and /fhir/MessageDefinition: what the gateway can do, from the registry of its handlers."""

from __future__ import annotations

from importlib.metadata import version

from flask import Blueprint, Response, abort

from gateway.fhir.capability import capability_statement, message_definition
from gateway.fhir.message import Resource
from gateway.web import context
from gateway.web.answers import resource_response, wanted_answer

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
    )
    return resource_response(200, statement, wanted_answer())


@endpoints.get("/MessageDefinition")
def message_definitions() -> Response:
    base_url = context.get().settings.base_url
    found = [
        {"fullUrl": f"{base_url}/MessageDefinition/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in _definitions().values()
    ]
    link = [{"relation": "self", "url": f"{base_url}/MessageDefinition"}]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": link}
    return resource_response(200, bundle | ({"entry": found} if found else {}), wanted_answer())


@endpoints.get("/MessageDefinition/<definition_id>")
def read_message_definition(definition_id: str) -> Response:
    definition = _definitions().get(definition_id)
    return resource_response(200, definition, wanted_answer()) if definition else abort(404)


def _definitions() -> dict[str, Resource]:
    here = context.get()
    made = (message_definition(h, base_url=here.settings.base_url, published=PUBLISHED) for h in here.registry)
    return {definition["id"]: definition for definition in made}
