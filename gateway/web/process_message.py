"""POST /fhir/$process-message: https://hl7.org/fhir/R4/messageheader-operation-process-message.html"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flask import Blueprint, Response, g, request

from gateway.errors import Issue, NotAMessage
from gateway.fhir import formats
from gateway.fhir.definitions import VERSIONS
from gateway.fhir.identity import OWN_SYSTEMS
from gateway.fhir.message import Message, is_uri
from gateway.fhir.received import read_received
from gateway.receiving import Submission
from gateway.replies import write_reply
from gateway.store.inbox import Progress
from gateway.web import context
from gateway.web.answers import outcome_response, resource_response, wanted_answer
from gateway.web.body import read_body
from gateway.web.context import Context
from gateway.web.custody import failed, nudge, overdue, take, wait
from gateway.web.negotiation import Answer, alike, request_format

_ABSOLUTE = re.compile(r"https?://[^/?#]|(?!https?:)[a-z][a-z0-9+.\-]*:.", re.IGNORECASE)

endpoints = Blueprint("process_message", __name__, url_prefix="/fhir")

_RESPONSE_REQUEST = "http://hl7.org/fhir/StructureDefinition/messageheader-response-request"
# What the sender asks for, and the kinds of answer that it then does not want.
_UNWANTED = {"never": ("ok", "error"), "on-error": ("ok",), "on-success": ("error",)}


@endpoints.post("/$process-message")
def process_message() -> Response:
    """Keeps the message, has it processed, and answers with the response message, or later (`async=true`)."""
    here = context.get()
    media_type = request.headers.get("Content-Type")
    request_format(media_type)
    wanted_answer(VERSIONS)
    later, reply_to = _read_async(), _read_response_url()
    body = read_body(
        request.stream,
        request.content_length,
        request.headers.get("Content-Encoding"),
        here.settings.max_message_bytes,
    )
    message = read_received(body, media_type or "", datetime.now(UTC))
    _refuse_our_name(message)
    answer = wanted_answer(alike(message.version))
    destination = (reply_to or message.source_endpoint) if later else None
    submission = Submission(body, media_type or "", answer.format, destination, later, g.request_id)
    received = take(here, message, submission)
    if message.is_response:
        text = "This response is kept. There is no response to a response."
        return outcome_response(202, Issue("informational", text, severity="information"))
    if later:
        nudge(here, received, message)
        text = "The message is in the gateway's custody. Its answer is sent later."
        return outcome_response(202, Issue("informational", text, severity="information"))
    return _answer(here, message, answer, wait(here, received, message))


def _refuse_our_name(message: Message) -> None:
    """What the gateway sends itself, and keeps for itself alone, goes by names that nobody else may have."""
    endpoint = message.source_endpoint or ""
    if any(name.startswith(OWN_SYSTEMS) for name in (endpoint, message.sender.removeprefix(endpoint).lstrip())):
        text = f"Names that begin with {OWN_SYSTEMS} are the gateway's own. Send with your own endpoint and identifier."
        raise NotAMessage(Issue("forbidden", text, "Bundle.entry[0].resource.source.endpoint"))


def _read_async() -> bool:
    value = request.args.get("async", "false")
    if value not in ("true", "false"):
        raise NotAMessage(Issue("value", f"The parameter async is true or false, not {value[:40]}."))
    return value == "true"


def _read_response_url() -> str | None:
    value = request.args.get("response-url")
    if not value:
        return None
    if not is_uri(value) or not _ABSOLUTE.match(value):
        text = (
            "The parameter response-url is not an absolute url: give it a scheme (https://..., urn:...), no white "
            "space or control characters, and at most 2048 characters."
        )
        raise NotAMessage(Issue("value", text))
    return value


def _answer(here: Context, message: Message, answer: Answer, progress: Progress) -> Response:
    if progress.content is not None:
        if _is_unwanted(message, progress.response_code or ""):
            return Response(status=204)
        content = progress.content
        if progress.format != answer.format:
            reply, version = formats.parse_told(content, progress.format or "json", None)
            content = formats.serialize(reply, answer.format, version)
        return Response(content, 200, content_type=answer.content_type)
    if progress.state == "new":
        return outcome_response(504, overdue(here, progress))
    error = write_reply(message, "transient-error", here.ourselves, datetime.now(UTC), [failed(progress)])
    return resource_response(200, error, answer)


def _is_unwanted(message: Message, code: str) -> bool:
    """Whether the sender said in the header's extension that it wants no such answer."""
    extensions = message.header.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, dict) and extension.get("url") == _RESPONSE_REQUEST:
            kind = "ok" if code == "ok" else "error"
            return kind in _UNWANTED.get(str(extension.get("valueCode")), ())
    return False
