"""POST /fhir/$process-message: https://hl7.org/fhir/R4/messageheader-operation-process-message.html"""

from __future__ import annotations

from flask import Blueprint, Response, request

from gateway.fhir.definitions import VERSIONS
from gateway.web import context
from gateway.web.answers import wanted_answer
from gateway.web.authentication import largest_body
from gateway.web.body import read_body
from gateway.web.custody import nudge, wait
from gateway.web.messaging import Asked, acknowledged, answered, take_message
from gateway.web.negotiation import request_format

endpoints = Blueprint("process_message", __name__, url_prefix="/fhir")


@endpoints.post("/$process-message")
def process_message() -> Response:
    """Keeps the message, has it processed, and answers with the response message, or later (`async=true`)."""
    here = context.get()
    media_type = request.headers.get("Content-Type")
    request_format(media_type)
    wanted_answer(VERSIONS)
    asked = Asked.read(request.args)
    body = read_body(
        request.stream,
        request.content_length,
        request.headers.get("Content-Encoding"),
        largest_body(here),
    )
    headers = {name.lower(): value for name, value in request.headers.items()}
    exchange = take_message(here, body, media_type or "", asked, headers)
    if not exchange.is_waited_for:
        nudge(here, exchange.received, exchange.message)
        return acknowledged(here, exchange)
    return answered(here, exchange, wait(here, exchange.received, exchange.message))
