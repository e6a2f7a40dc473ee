"""Answers: a resource or an OperationOutcome, in the format the caller wants."""

from __future__ import annotations

from flask import Response, request

from gateway.errors import Issue, Refused
from gateway.fhir import formats
from gateway.fhir.message import Resource
from gateway.fhir.outcome import operation_outcome
from gateway.web.negotiation import Answer, Format, request_format, response_format


def wanted_answer() -> Answer:
    """How the caller of the current request wants its answer. Raises NotAcceptable."""
    return response_format(request.headers.get("Accept"), request.args.get("_format"), _sent_format())


def resource_response(status: int, resource: Resource, answer: Answer) -> Response:
    return Response(formats.serialize(resource, answer.format), status, content_type=answer.content_type)


def outcome_response(status: int, *issues: Issue) -> Response:
    """An OperationOutcome; in JSON where the caller asks for a format that there is not."""
    try:
        answer = wanted_answer()
    except Refused:
        answer = response_format(None, None, _sent_format())
    return resource_response(status, operation_outcome(issues), answer)


def _sent_format() -> Format | None:
    try:
        return request_format(request.headers.get("Content-Type"))
    except Refused:
        return None
