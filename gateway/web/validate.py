"""POST /fhir/$validate: https://hl7.org/fhir/R4/resource-operation-validate.html"""

from __future__ import annotations

from flask import Blueprint, Response, abort, request

from gateway.fhir import formats
from gateway.fhir.definitions import VERSIONS, is_resource
from gateway.validation import Wish, find_issues
from gateway.web import context
from gateway.web.answers import outcome_response, wanted_answer
from gateway.web.authentication import largest_body
from gateway.web.body import read_body
from gateway.web.negotiation import request_format

endpoints = Blueprint("validate", __name__, url_prefix="/fhir")


@endpoints.post("/$validate")
def validate() -> Response:
    """Answers with every issue of the resource, or of the message, in the body; keeps nothing of it."""
    return _validated(None)


@endpoints.post("/<resource_type>/$validate")
def validate_type(resource_type: str) -> Response:
    """The same, for a resource that is to be of this type."""
    declared = formats.version_of(request.headers.get("Content-Type", ""))
    versions = VERSIONS if declared is None else (declared,)
    is_known = any(is_resource(resource_type, version) for version in versions)
    return _validated(resource_type) if is_known else abort(404)


def _validated(type_name: str | None) -> Response:
    here = context.get()
    media_type = request.headers.get("Content-Type")
    sent = request_format(media_type)
    wanted_answer(VERSIONS)
    body = read_body(
        request.stream,
        request.content_length,
        request.headers.get("Content-Encoding"),
        largest_body(here),
    )
    version = formats.version_of(media_type or "")
    wish = Wish(
        version=version, type_name=type_name, profile=request.args.get("profile"), mode=request.args.get("mode")
    )
    issues = find_issues(body, sent, here.checking, here.registry, wish, here.terms.partners)
    return outcome_response(200, *issues)
