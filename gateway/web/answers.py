"""Answers: a resource or an OperationOutcome, in the format the caller wants."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response, request

from gateway.errors import Issue, Refused
from gateway.fhir import formats
from gateway.fhir.definitions import VERSIONS, Version
from gateway.fhir.message import Resource
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.versions import from_r4
from gateway.web.negotiation import R4_AND_R4B, Answer, Format, request_format, response_format


def wanted_answer(versions: Sequence[Version] = R4_AND_R4B) -> Answer:
    """How the caller of the current request wants its answer, which can be in these versions. Raises NotAcceptable."""
    headers = request.headers
    named = formats.version_of(headers.get("Content-Type", ""))
    accept, parameter = headers.get("Accept"), request.args.get("_format")
    return response_format(accept, parameter, _sent_format(), versions, named if named in versions else None)


def resource_response(status: int, resource: Resource, answer: Answer) -> Response:
    content = formats.serialize(resource, answer.format, formats.told(resource))
    return Response(content, status, content_type=answer.content_type)


def versioned_response(status: int, resource: Resource, answer: Answer) -> Response:
    """A resource of R4, in the version that the caller has asked for."""
    version = answer.version or "R4"
    made, _ = from_r4(resource, version)
    return Response(formats.serialize(made, answer.format, version), status, content_type=answer.content_type)


def outcome_response(status: int, *issues: Issue) -> Response:
    """An OperationOutcome; in JSON where the caller asks for a format that there is not."""
    try:
        answer = wanted_answer(VERSIONS)
    except Refused:
        answer = response_format(None, None, _sent_format())
    outcome, _ = from_r4(operation_outcome(issues), answer.version or "R4")
    return resource_response(status, outcome, answer)


def _sent_format() -> Format | None:
    try:
        return request_format(request.headers.get("Content-Type"))
    except Refused:
        return None
